"""Bounded readers of local files."""
