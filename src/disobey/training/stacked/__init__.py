"""Many small runs of one shape, trained as one batched program."""
