"""Lottery tickets in the student of a random teacher."""
