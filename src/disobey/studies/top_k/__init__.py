"""What a cached top-k teacher costs its student."""
