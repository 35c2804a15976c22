"""From a weighted statistic to an interval over examples: bootstrap where data are few, jackknife where they are many.

``evaluate`` maps weights (B, N) to values (B,). Nothing here knows about models or predictions.

Which interval was chosen, and its measured coverage, is in docs/measures.md (benchmarks/coverage.py makes the table).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import t as student_t

Evaluate = Callable[[NDArray], NDArray]

MANY = 5_000  # examples above which the grouped jackknife replaces the bootstrap
GROUPS = 100  # of the jackknife
_BLOCK = 2**20  # weights held at once: 8 MiB, near a core's cache


def resample_counts(n: int, resamples: int, rng: np.random.Generator) -> NDArray:
    """How often each of n examples was drawn, n draws with replacement: (resamples, n) floats, rows sum to n."""
    draws = rng.integers(n, size=(resamples, n))
    draws += n * np.arange(resamples)[:, None]
    return np.bincount(draws.ravel(), minlength=resamples * n).reshape(resamples, n).astype(np.float64)


def bootstrap(evaluates: Sequence[Evaluate], n: int, resamples: int, rng: np.random.Generator) -> NDArray:
    """Values of each statistic on the same resamples of the n examples: (statistics, resamples)."""
    rows = max(1, _BLOCK // n)
    values = []
    for start in range(0, resamples, rows):
        weights = resample_counts(n, min(rows, resamples - start), rng)
        values.append([evaluate(weights) for evaluate in evaluates])
    return np.concatenate(values, axis=1)


def leave_group_out(n: int, groups: int, rng: np.random.Generator) -> Iterator[NDArray]:
    """Weights that leave out one of ``groups`` random, equally large groups each, in blocks (B, n)."""
    group = np.empty(n, dtype=np.int64)
    group[rng.permutation(n)] = np.arange(n) % groups
    rows = max(1, _BLOCK // n)
    for start in range(0, groups, rows):
        left_out = np.arange(start, min(start + rows, groups))[:, None]
        yield (group != left_out).astype(np.float64)


def jackknife(evaluates: Sequence[Evaluate], n: int, groups: int, rng: np.random.Generator) -> NDArray:
    """Values of each statistic without each group: (statistics, groups)."""
    blocks = [[evaluate(weights) for evaluate in evaluates] for weights in leave_group_out(n, groups, rng)]
    return np.concatenate(blocks, axis=1)


def jackknife_interval(value: float, left_out: NDArray, level: float) -> tuple[float, float]:
    """Delete-a-group jackknife with a Student t quantile: as many passes over the data as groups, not a thousand.

    Every example is used, so rare events count. Valid for statistics that are asymptotically normal, medians
    included, because the groups are large (Shao and Wu 1989, Annals of Statistics 17).
    """
    groups = len(left_out)
    error = np.sqrt((groups - 1) / groups * np.sum((left_out - left_out.mean()) ** 2))
    half = float(student_t.ppf(0.5 + level / 2, groups - 1)) * float(error)
    return value - half, value + half


def bca_interval(value: float, replicates: NDArray, left_out: NDArray, level: float) -> tuple[float, float]:
    """Bias-corrected and accelerated percentile interval (Efron 1987, JASA 82; acceleration from the jackknife)."""
    below = np.mean(replicates < value) + 0.5 * np.mean(replicates == value)
    if not 0 < below < 1:
        return float(replicates.min()), float(replicates.max())
    bias = ndtri(below)
    influence = left_out.mean() - left_out
    scale = np.sum(influence**2) ** 1.5
    acceleration = np.sum(influence**3) / (6 * scale) if scale > 0 else 0.0
    z = bias + ndtri(np.array([0.5 - level / 2, 0.5 + level / 2]))
    low, high = np.quantile(replicates, ndtr(bias + z / (1 - acceleration * z)))
    return float(low), float(high)


def example_intervals(
    evaluates: Sequence[Evaluate], n: int, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> list[tuple[float, float, float]]:
    """(value, low, high) of each statistic over the same n examples; NaN bounds where no interval can be given.

    That is with fewer than two examples, or where more than one resample in twenty leaves the statistic undefined.
    """
    if n < 2:
        values = [float(evaluate(np.ones((1, n)))[0]) for evaluate in evaluates]
        return [(value, np.nan, np.nan) for value in values]
    rng = np.random.default_rng(seed)
    values = np.concatenate([evaluate(np.ones((1, n))) for evaluate in evaluates])
    left_out = jackknife(evaluates, n, min(n, GROUPS), rng)
    replicates = left_out if n > MANY else bootstrap(evaluates, n, resamples, rng)
    found = []
    for value, left, drawn in zip(values, left_out, replicates, strict=True):
        low = high = np.nan
        defined = np.isfinite(drawn)
        if np.isfinite(value) and np.isfinite(left).all() and defined.mean() >= 0.95:
            if n > MANY:
                low, high = jackknife_interval(value, left, level)
            else:
                low, high = bca_interval(value, drawn[defined], left, level)
        found.append((float(value), low, high))
    return found
