"""The same measures on somebody else's teacher and student."""
