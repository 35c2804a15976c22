"""From planned runs to finished records: checks, queue, worker processes."""
