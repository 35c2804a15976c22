"""Intervals over runs: what other seeds would have given on the same examples. Differences are paired by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disobey.errors import refusal
from disobey.measures.inference.measure import Measure, qualified, read
from disobey.measures.inference.quantiles import student_t
from disobey.measures.inference.resampling import resample_counts, t_interval
from disobey.records.predictions import Predictions
from disobey.records.results import Estimate, Over

FEWEST_CROSSED = 5  # runs below which drawing runs and examples anew gives too narrow an interval


def over_runs(
    measure: Measure, runs: Sequence[Predictions], *, minus: Sequence[Predictions] | None = None, level: float = 0.95
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


def mean_over_runs(values: ArrayLike, name: str, *, level: float = 0.95, over: Over = "runs") -> Estimate:
    """Mean of one value a run, with a Student t interval; NaN bounds for a single run.

    Args:
        values: (S,), one value a run.
        name: of the estimate.
        level: of the interval.
        over: what the values are one each of; ``draws`` for simulations that train nothing.

    Raises:
        Refusal: ``no-runs`` for an empty array or one of another shape.

    Example:
        >>> print(mean_over_runs([0.70, 0.72, 0.74], "accuracy"))
        0.72 [0.67, 0.77] (95% over 3 runs)
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise refusal("no-runs", "one value for each of at least one run", f"an array of shape {values.shape}")
    return Estimate(name, *t_interval(values, level), level, len(values), over)


def paired_difference(
    a: ArrayLike | Mapping,
    b: ArrayLike | Mapping,
    name: str = "difference",
    *,
    level: float = 0.95,
    over: Over = "runs",
) -> Estimate:
    """Mean of a − b over runs that share their seeds, with a Student t interval of the differences.

    Args:
        a: (S,) values, paired by position; or a mapping from seed to value, paired by seed.
        b: the same of the other side.
        name: of the estimate.
        level: of the interval.
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
