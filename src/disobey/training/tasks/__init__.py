"""Kinds of learning: one folder each, behind one protocol."""
