"""A recipe and a seed in, a record out."""
