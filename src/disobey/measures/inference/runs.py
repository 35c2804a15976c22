"""Intervals over runs: what other seeds would have given on the same examples. Differences are paired by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, betaincinv

from disobey.errors import refusal
from disobey.measures.inference.measure import Measure, qualified, read
from disobey.measures.inference.policy import Intervals, current
from disobey.measures.inference.quantiles import student_t
from disobey.measures.inference.resampling import resample_counts
from disobey.measures.inference.sequential import half_width
from disobey.records.estimates import Estimate, Over
from disobey.records.predictions import Predictions

FEWEST_CROSSED = 5  # runs below which drawing runs and examples anew gives too narrow an interval


def over_runs(
    measure: Measure,
    runs: Sequence[Predictions],
    *,
    minus: Sequence[Predictions] | None = None,
    level: float | None = None,
) -> Estimate:
    """Mean of the measure over runs with a Student t interval: other seeds, the same examples.

    Args:
        measure: what is measured.
        runs: the predictions of each run.
        minus: other runs whose measure is subtracted, in the same order of seeds: differences within a seed.
        level: of the interval.

    Raises:
        Refusal: ``unpaired-runs``, where ``minus`` has another number of runs; ``no-runs`` for none.
    """
    own = [measure(run) for run in runs]
    if minus is None:
        return mean_over_runs(own, measure.name, level=level)
    return paired_difference(own, [measure(run) for run in minus], measure.name, level=level)


def over_runs_and_examples(
    measure: Measure, runs: Sequence[Predictions], *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Estimate:
    """Mean over runs with an interval over other seeds *and* other examples: both are drawn anew, crossed.

    All runs must have predicted the same examples. The crossed bootstrap errs on the wide side.

    Args:
        measure: what is measured.
        runs: at least five, all on the same examples.
        resamples: crossed draws of runs and examples.
        level: of the interval.
        seed: of the draws.

    Raises:
        Refusal: ``few-runs`` for fewer than five runs, where it would err on the narrow side; ``other-examples`` where
            the runs' ids differ.

    Reference:
        Owen 2007, Annals of Applied Statistics 1; the widening for few runs is that of Hesterberg 2015, American
        Statistician 69, section 3.3.
    """
    if len(runs) < FEWEST_CROSSED:
        raise refusal(
            "few-runs", f"at least {FEWEST_CROSSED} runs to resample runs and examples", len(runs), "over_runs"
        )
    if any(not np.array_equal(run.ids, runs[0].ids) for run in runs):
        raise refusal("other-examples", "the same examples in the same order in every run", "different ids")
    samples = []
    for run in runs:
        ((columns, _),) = read([measure], run)
        samples.append(qualified(measure, columns))
    rng = np.random.default_rng(seed)
    n, block = len(runs[0]), max(1, 2**20 // len(runs[0]))
    means = []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        examples, drawn = resample_counts(n, size, rng), resample_counts(len(runs), size, rng)
        values = [s.evaluate(examples if s.rows is None else examples[:, s.rows]) for s in samples]
        means.append((np.stack(values, axis=1) * drawn).sum(axis=1) / len(runs))
    # Centred as in `centred_interval`; runs drawn anew spread too little by sqrt(1 − 1/S).
    value = float(np.mean([sample.evaluate(None)[0] for sample in samples]))
    drawn_means = np.concatenate(means)
    spread = np.quantile(drawn_means, [0.5 - level / 2, 0.5 + level / 2]) - drawn_means.mean()
    widen = student_t.ppf(0.5 + level / 2, len(runs) - 1) / student_t.ppf(0.5 + level / 2, np.inf)
    low, high = value + spread * widen * np.sqrt(len(runs) / (len(runs) - 1))
    return Estimate(measure.name, value, float(low), float(high), level, len(runs), "runs")


def mean_over_runs(
    values: ArrayLike, name: str, *, level: float | None = None, over: Over = "runs", example_error: float = 0.0
) -> Estimate:
    """Mean of one value a run, with a Student t interval; NaN bounds for a single run.

    Args:
        values: (S,), one value a run.
        name: of the estimate.
        level: of the interval; that of `policy.current` where not given, which also says whether the interval holds at
            every number of runs and around which average it lies.
        over: what the values are one each of; ``draws`` for simulations that train nothing.
        example_error: standard error of the mean that comes from the examples, which all runs share (`example_error`
            computes it): the interval is then over runs *and* examples.

    Raises:
        Refusal: ``no-runs`` for an empty array or one of another shape.

    Example:
        >>> print(mean_over_runs([0.70, 0.72, 0.74], "accuracy"))
        0.72 [0.67, 0.77] (95% over 3 runs)
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise refusal("no-runs", "one value for each of at least one run", f"an array of shape {values.shape}")
    how = current(level)
    unit: Over = "runs and examples" if over == "runs" and example_error > 0 else over
    return Estimate(name, *_bounds(values, how, example_error), how.level, len(values), unit)


def share_over_runs(holds: ArrayLike, name: str, *, level: float | None = None) -> Estimate:
    """Share of runs in which something holds, with the exact interval of Clopper and Pearson (1934).

    For what a mean over few runs cannot say: a number that is nearly 0 in most runs and large in a few has a Student
    interval that misses the few. A share above one half is that of the median, and needs six runs to be sure at 95%.

    Args:
        holds: (S,), whether it does.
        name: of the estimate.
        level: of the interval; that of `policy.current` where not given.

    Raises:
        Refusal: ``no-runs`` for an empty array or one of another shape.

    Reference:
        Clopper and Pearson 1934, Biometrika 26.

    Example:
        >>> print(share_over_runs([True] * 6, "stable"))
        1 [0.541, 1] (95% over 6 runs)
    """
    found = np.asarray(holds, dtype=bool)
    if found.ndim != 1 or len(found) == 0:
        raise refusal("no-runs", "one answer for each of at least one run", f"an array of shape {found.shape}")
    how = current(level)
    n, hits, outside = len(found), int(found.sum()), (1 - how.student_level(len(found))) / 2
    low = float(betaincinv(hits, n - hits + 1, outside)) if hits else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - outside)) if hits < n else 1.0
    return Estimate(name, hits / n, low, high, how.level, n, "runs")


def _bounds(values: NDArray, how: Intervals, example_error: float) -> tuple[float, float, float]:
    """(value, low, high) of the average that is asked for; NaN bounds for a single value, NaN for an unknown one."""
    n = len(values)
    if how.center == "median":
        return median_interval(values, how.level)
    value, variance, kept = float(values.mean()), float(values.var(ddof=1)) / n if n > 1 else np.nan, n
    if how.center == "midmean" and n > 3:
        value, variance, kept = _midmean(values)
    if n < 2:
        return value, np.nan, np.nan
    if how.anytime:
        half = half_width(float(np.sqrt(variance)), n, level=how.level, extra_error=example_error)
    else:
        whole = variance + example_error**2
        # Satterthwaite: the examples' part is known as if from infinitely many degrees of freedom.
        df = (kept - 1) * (whole / variance) ** 2 if example_error > 0 and variance > 0 else kept - 1
        half = how.factor(n, df) * np.sqrt(whole)
    return (value, value - float(half), value + float(half)) if np.isfinite(half) else (value, np.nan, np.nan)


def _midmean(values: NDArray) -> tuple[float, float, int]:
    """Mean of the middle half, its variance (winsorized, Tukey and McLaughlin 1963) and how many values it keeps."""
    n, cut = len(values), len(values) // 4
    ordered = np.sort(values)
    kept = ordered[cut : n - cut]
    winsorized = np.clip(ordered, kept[0], kept[-1])
    return float(kept.mean()), float(winsorized.var(ddof=1)) / (n * (len(kept) / n) ** 2), len(kept)


def median_interval(values: NDArray, level: float) -> tuple[float, float, float]:
    """(median, low, high) between two order statistics: valid whatever the distribution (the sign test inverted).

    NaN bounds where even the smallest and the largest value hold the median less often than the level: below six
    values at 95%.

    >>> median_interval(np.array([5.0, 1.0, 2.0, 3.0, 4.0, 9.0]), 0.95)
    (3.5, 1.0, 9.0)
    """
    n = len(values)
    ordered = np.sort(values)
    outside = 0  # how many values can be left out on each side
    while outside < n // 2 and bdtr(outside, n, 0.5) <= (1 - level) / 2:
        outside += 1
    middle = float(np.median(ordered))
    if outside == 0:
        return middle, np.nan, np.nan
    return middle, float(ordered[outside - 1]), float(ordered[n - outside])


def example_error(differences: ArrayLike) -> float:
    """Standard error of a mean over runs and examples that is due to the examples alone, which all runs share.

    More runs do not shrink it: with one test set for all seeds, a gain is only known for *these* examples. The spread
    of the examples' means over runs, less what the runs' own noise on single examples adds to it (crossed random
    effects), so that with the spread of the runs' means it makes the whole variance.

    Args:
        differences: (S, N) one number for each run and example: right or wrong, or student minus control of it.

    Returns:
        In the unit of the numbers; 0 for a single example, or where the examples differ less than chance makes them.

    >>> example_error([[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    0.25
    """
    table = np.asarray(differences, dtype=np.float64)
    runs, n = table.shape
    if n < 2:
        return 0.0
    by_example, by_run = table.mean(axis=0), table.mean(axis=1)
    of_examples = float(by_example.var(ddof=1)) / n
    if runs > 1:
        left = table - by_example - by_run[:, None] + by_run.mean()
        of_examples -= float((left**2).sum()) / ((runs - 1) * (n - 1)) / (runs * n)
    return float(np.sqrt(max(of_examples, 0.0)))


def paired_difference(
    a: ArrayLike | Mapping,
    b: ArrayLike | Mapping,
    name: str = "difference",
    *,
    level: float | None = None,
    over: Over = "runs",
) -> Estimate:
    """Mean of a − b over runs that share their seeds, with a Student t interval of the differences.

    Args:
        a: (S,) values, paired by position; or a mapping from seed to value, paired by seed.
        b: the same of the other side.
        name: of the estimate.
        level: of the interval; that of `policy.current` where not given.
        over: what the values are one each of; ``draws`` for simulations that train nothing.

    Raises:
        Refusal: ``unpaired-runs``, where the seeds or the numbers of runs differ.

    Example:
        >>> print(paired_difference({0: 0.75, 1: 0.71, 2: 0.80}, {1: 0.70, 0: 0.73, 2: 0.79}, "gain"))
        0.0133 [-0.00101, 0.0277] (95% over 3 runs)
    """
    first, second = paired(a, b)
    return mean_over_runs(first - second, name, level=level, over=over)


def paired(a: ArrayLike | Mapping, b: ArrayLike | Mapping) -> tuple[NDArray, NDArray]:
    """Two equally long float arrays: by seed where both are mappings, by position otherwise."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if a.keys() != b.keys():
            raise refusal("unpaired-runs", "the same seeds on both sides", f"{sorted(a)} and {sorted(b)}")
        a, b = [a[key] for key in a], [b[key] for key in a]
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        got = f"arrays of shapes {first.shape} and {second.shape}"
        raise refusal("unpaired-runs", "two values for each run", got)
    return first, second
