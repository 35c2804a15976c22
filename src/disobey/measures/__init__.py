"""Evidence in, numbers out: per-example columns, statistics and their intervals."""
