"""Which teacher? Teachers by age, size and kind, what is known of them before distilling, and what to do."""
