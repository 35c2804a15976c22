"""Students of teachers that never learned anything."""
