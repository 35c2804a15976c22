"""From anybody's files and arrays to a `Pair`."""
