"""Learning from token sequences, whose loss is a mean over positions."""
