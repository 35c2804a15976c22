"""Where a student deviates from its teacher, and whether it pays."""
