"""From a weighted statistic to an interval over examples: bootstrap where data are few, jackknife where they are many.

``evaluate`` maps weights (B, N) to values (B,). Nothing here knows about models or predictions.

Which interval was chosen, and its measured coverage, is in docs/measures.md (benchmarks/coverage.py makes the table).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from disobey.measures.inference.quantiles import student_t

Evaluate = Callable[[NDArray], NDArray]

MANY = 5_000  # examples above which the grouped jackknife replaces the bootstrap
GROUPS = 100  # of the jackknife, and of random groups
LARGEST_GROUP = 2_500  # more examples in a random group cost time and sharpen nothing: 100 groups bound what is known
_BLOCK = 2**20  # weights held at once: 8 MiB, near a core's cache


def resample_counts(n: int, resamples: int, rng: np.random.Generator) -> NDArray:
    """How often each of n examples was drawn, n draws with replacement: (resamples, n) floats, rows sum to n.

    Balanced: over all rows each example is drawn equally often, so the resampled means average to the mean itself
    and centring adds no noise (Davison, Hinkley and Schechtman 1986, Biometrika 73).

    >>> counts = resample_counts(3, 4, np.random.default_rng(0))
    >>> counts.sum(axis=1), counts.sum(axis=0)
    (array([3., 3., 3., 3.]), array([4., 4., 4.]))
    """
    draws = np.tile(np.arange(n, dtype=np.int32), resamples)
    rng.shuffle(draws)
    cells = draws.reshape(resamples, n) + n * np.arange(resamples)[:, None]
    return np.bincount(cells.ravel(), minlength=resamples * n).reshape(resamples, n).astype(np.float64)


def bootstrap(evaluates: Sequence[Evaluate], n: int, resamples: int, seed: np.random.Generator | int) -> NDArray:
    """Values of each statistic on the same resamples of the n examples: (statistics, resamples)."""
    blocks = _drawn(n, resamples, seed) if isinstance(seed, int) else _blocks(n, resamples, seed)
    values = []
    for counts in blocks:
        weights = counts.astype(np.float64, copy=False)
        values.append([evaluate(weights) for evaluate in evaluates])
    return np.concatenate(values, axis=1)


def _blocks(n: int, resamples: int, rng: np.random.Generator) -> Iterator[NDArray]:
    rows = max(1, _BLOCK // n)
    return (resample_counts(n, min(rows, resamples - start), rng) for start in range(0, resamples, rows))


@lru_cache(maxsize=16)
def _drawn(n: int, resamples: int, seed: int) -> tuple[NDArray, ...]:
    """Counts in small integers, kept: drawing them takes as long as a statistic, and many are asked for one n."""
    blocks = _blocks(n, resamples, np.random.default_rng(seed))
    return tuple(block.astype(np.uint8 if block.max() < 256 else np.uint16) for block in blocks)


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

    Every example is used, so rare events count. Valid for statistics that are asymptotically normal, medians included,
    because the groups are large.

    Args:
        value: of all examples.
        left_out: (groups,) values without each group.
        level: of the interval.

    Reference:
        Shao and Wu 1989, Annals of Statistics 17.
    """
    groups = len(left_out)
    error = np.sqrt((groups - 1) / groups * np.sum((left_out - left_out.mean()) ** 2))
    half = float(student_t.ppf(0.5 + level / 2, groups - 1)) * float(error)
    return value - half, value + half


def error_interval(value: float, error: float, n: int, level: float) -> tuple[float, float]:
    """Value and standard error of a statistic of n examples as an interval: Student t."""
    half = float(student_t.ppf(0.5 + level / 2, n - 1)) * error
    return value - half, value + half


def t_interval(values: NDArray, level: float) -> tuple[float, float, float]:
    """(mean, low, high) of values (n,) by Student's t; NaN bounds for a single value, NaN for none."""
    n = len(values)
    value = float(values.mean()) if n else np.nan
    if n < 2:
        return value, np.nan, np.nan
    half = float(student_t.ppf(0.5 + level / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return value, value - half, value + half


def centred_interval(value: float, replicates: NDArray, n: int, level: float) -> tuple[float, float]:
    """Percentiles of the resampled values, moved so that their mean is the value, and widened for small n.

    Resampling adds the statistic's bias a second time (calibration errors grow with every source of noise); the move
    removes it. Widened as the t interval of a mean is against plain percentiles.

    Args:
        value: of all examples.
        replicates: (B,) values on resamples.
        n: examples.
        level: of the interval.

    Reference:
        Hesterberg 2015, American Statistician 69, section 3.3.
    """
    quantile = student_t.ppf(0.5 + level / 2, n - 1) / ndtri(0.5 + level / 2)
    widen = float(quantile * np.sqrt(n / (n - 1)))
    low, high = np.quantile(replicates, [0.5 - level / 2, 0.5 + level / 2]) - replicates.mean()
    return value + widen * min(float(low), 0.0), value + widen * max(float(high), 0.0)


def blocked_interval(
    value: float, group_values: Sequence[float], size: int, n: int, level: float
) -> tuple[float, float, float]:
    """(value, low, high): a statistic of n examples, and its spread over random groups of ``size`` of them.

    An error falls as one over the root of the number of examples, so that of a group is scaled to that of all. For
    means, and smooth functions of means, this is the bootstrap's standard error at a thousandth of its cost. NaN bounds
    where the statistic is undefined on a group.
    """
    if not np.isfinite(group_values).all():
        return value, np.nan, np.nan
    groups = len(group_values)
    half = student_t.ppf(0.5 + level / 2, groups - 1) * np.std(group_values, ddof=1) * np.sqrt(size / n)
    return value, value - float(half), value + float(half)


def random_groups(n: int, seed: int, *, groups: int = GROUPS, largest: int = LARGEST_GROUP) -> NDArray:
    """(groups, size): which of n examples stand in which of some equally large groups, none in two."""
    return _random_groups(n, seed, groups, min(n // groups, largest))


@lru_cache(maxsize=4)
def _random_groups(n: int, seed: int, groups: int, size: int) -> NDArray:
    """Ascending in each group: kind to memory, and to statistics that sort what lies in order already."""
    rows = np.random.default_rng(seed).choice(n, groups * size, replace=False).astype(np.int32)
    return np.sort(rows.reshape(groups, size), axis=1)


def wilson_interval(share: float, n: float, level: float) -> tuple[float, float]:
    """Interval of a share of n examples (Wilson 1927): sensible where nothing, or everything, was counted.

    >>> [round(bound, 3) for bound in wilson_interval(1.0, 100, 0.95)]
    [0.963, 1.0]
    """
    z = float(ndtri(0.5 + level / 2))
    middle, half = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)
    return (0.0 if share == 0 else float(low)), (1.0 if share == 1 else float(high))


def example_intervals(
    evaluates: Sequence[Evaluate],
    n: int,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    minus: Sequence[tuple[int, int]] = (),
) -> list[tuple[float, float, float]]:
    """Bootstrap up to `MANY` examples, grouped jackknife beyond, of several statistics on the same resamples.

    Args:
        evaluates: each from weights (B, n) to values (B,).
        n: examples.
        resamples: of the bootstrap.
        level: of the intervals.
        seed: of resamples and groups.
        minus: pairs of places among ``evaluates``, whose differences are wanted too: they need no other evaluation.

    Returns:
        (value, low, high) of each statistic, then of each difference. NaN bounds with fewer than two examples, or where
        more than one resample in twenty leaves the statistic undefined.
    """
    if n < 2:
        values = np.array([float(evaluate(np.ones((1, n)))[0]) for evaluate in evaluates])
        return [(value, np.nan, np.nan) for value in _and_differences(values, minus).tolist()]
    values = np.concatenate([evaluate(np.ones((1, n))) for evaluate in evaluates])
    many = n > MANY
    if many:
        drawn = jackknife(evaluates, n, GROUPS, np.random.default_rng(seed))
    else:
        drawn = bootstrap(evaluates, n, resamples, seed)
    found = []
    both = zip(_and_differences(values, minus).tolist(), _and_differences(drawn, minus), strict=True)
    for value, replicates in both:
        defined = np.isfinite(replicates)
        if not np.isfinite(value) or defined.mean() < (1.0 if many else 0.95):
            found.append((value, np.nan, np.nan))
        elif many:
            found.append((value, *jackknife_interval(value, replicates, level)))
        else:
            found.append((value, *centred_interval(value, replicates[defined], n, level)))
    return found


def _and_differences(values: NDArray, minus: Sequence[tuple[int, int]]) -> NDArray:
    """(statistics + differences, ...): the values, and one's minus another's for each pair of places."""
    return np.concatenate([values, [values[a] - values[b] for a, b in minus]]) if minus else values
