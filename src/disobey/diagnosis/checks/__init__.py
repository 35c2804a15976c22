"""One question a function: what was seen, how bad it is, and what to try."""
