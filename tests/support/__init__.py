"""What several tests share: planted pairs, sample results, slow twins, and the comparison of whole results."""
