"""Labels first or teacher first, and when to switch."""
