"""Columns whose examples are alike within clusters, by a known correlation."""

import numpy as np


def planted(clusters, size, correlation, seed, *, unequal=False):
    """(column, codes): mean 0, variance 1, two examples of a cluster correlated by ``correlation``.

    unequal: sizes from an exponential law around ``size`` instead of all the same.
    """
    rng = np.random.default_rng([clusters, size, seed])
    sizes = np.maximum(1, rng.exponential(size, clusters).astype(int)) if unequal else np.full(clusters, size)
    codes = np.repeat(np.arange(clusters), sizes)
    shared = np.sqrt(correlation) * rng.normal(size=clusters)[codes]
    return shared + np.sqrt(1 - correlation) * rng.normal(size=len(codes)), codes
