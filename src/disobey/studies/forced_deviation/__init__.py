"""Students whose deviation from their teacher is set."""
