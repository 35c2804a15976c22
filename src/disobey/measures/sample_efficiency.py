"""How much data a teacher is worth: gains on four scales, their slope on log n, and how many labels would do as well.

Tables are (S, K): S paired seeds by K sizes n, ascending. All intervals are over runs. The interval of a size on a
curve is an inverted t-test (Fieller 1954): it holds the sizes at which "no difference" is not rejected. Five resampled
seeds give intervals that are too narrow: docs/measures.md has the coverage of both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit
from scipy.stats import t as student_t

from disobey.errors import refusal
from disobey.measures.inference.comparisons import ratio_over_runs
from disobey.measures.inference.crossings import (
    STEPS,
    Censored,
    linearized,
    refined,
    rising_knots,
    table_on_log_size,
    where_zero,
)
from disobey.measures.inference.policy import current
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Estimate


def scales(
    labels_accuracy: ArrayLike,
    student_accuracy: ArrayLike,
    labels_nll: ArrayLike,
    student_nll: ArrayLike,
    *,
    n_test: int,
) -> dict[str, NDArray]:
    """The gain over training on labels, on four scales; above 0 the distilled student is better.

    Args:
        labels_accuracy: accuracies of models trained on labels, from 0 to 1, of any shape.
        student_accuracy: of distilled students, the same shape.
        labels_nll: negative log-likelihoods, nats, the same shape.
        student_nll: the same of the students.
        n_test: test examples behind each accuracy.

    Returns:
        By name, arrays of that shape. "relative error change" is the share of the labels' errors that the student
        avoids; it and the logit count half an error more on either side, so that 0 and ``n_test`` errors stay finite.

    Raises:
        Refusal: ``table-shapes`` or ``not-shares``.

    >>> gains = scales([0.9], [0.95], [0.5], [0.3], n_test=1000)
    >>> {name: round(float(gain[0]), 3) for name, gain in gains.items()}
    {'accuracy gap': 0.05, 'relative error change': 0.498, 'logit-accuracy gap': 0.742, 'NLL gap': 0.2}
    """
    labels, student = np.asarray(labels_accuracy, dtype=np.float64), np.asarray(student_accuracy, dtype=np.float64)
    labels_nll, student_nll = np.asarray(labels_nll, dtype=np.float64), np.asarray(student_nll, dtype=np.float64)
    if not labels.shape == student.shape == labels_nll.shape == student_nll.shape:
        shapes = ", ".join(str(a.shape) for a in (labels, student, labels_nll, student_nll))
        raise refusal("table-shapes", "four tables of one shape (seeds, sizes)", shapes)
    _check_shares(labels, student)
    half_labels, half_student = ((a * n_test + 0.5) / (n_test + 1) for a in (labels, student))
    return {
        "accuracy gap": student - labels,
        "relative error change": 1 - (1 - half_student) / (1 - half_labels),
        "logit-accuracy gap": logit(half_student) - logit(half_labels),
        "NLL gap": labels_nll - student_nll,
    }


def slope_on_log_size(
    sizes: ArrayLike,
    values: ArrayLike,
    name: str = "slope on log n",
    *,
    decades: bool = False,
    level: float | None = None,
) -> Estimate:
    """Least-squares slope of each seed's values on log n, averaged over seeds with a t interval.

    Args:
        sizes: (K,) ascending n.
        values: (S, K).
        name: of the estimate.
        decades: per factor of ten in n, not per factor of e.
        level: of the interval; that of `inference.policy.current` where not given.

    >>> print(slope_on_log_size([10, 100, 1000], [[3, 2, 1], [3.3, 2, 1.3], [2.9, 2, 0.9]], decades=True))
    -1 [-1, -1] (95% over 3 runs)
    """
    x, table = table_on_log_size(sizes, values)
    x = x / np.log(10) if decades else x
    x = x - x.mean()
    return mean_over_runs(table @ x / (x @ x), name, level=level)


def shares_explained(
    arms: Mapping[str, ArrayLike], labels: ArrayLike, distilled: ArrayLike, *, level: float | None = None
) -> dict[str, Estimate]:
    """φ = mean gain of each arm over labels, as a share of distillation's gain, with Fieller's interval.

    "The best of these arms explains less than a tenth" needs no correction for selection if *every* arm's upper bound
    is below a tenth; "*some* arm explains more than half" does: divide 1 − level by the number of arms.

    Args:
        arms: by name, one value for each seed, (S,).
        labels: (S,) of training on labels.
        distilled: (S,) of distillation.
        level: of the intervals; that of `inference.policy.current` where not given.

    Returns:
        By name; all NaN where the interval of distillation's gain includes 0.

    >>> found = shares_explained({"smooth": [0.51, 0.52, 0.53]}, [0.5, 0.5, 0.5], [0.6, 0.61, 0.62])
    >>> print(found["smooth"])
    0.182 [-0.0569, 0.333] (95% over 3 runs)
    """
    base = np.asarray(labels, dtype=np.float64)
    gain = np.asarray(distilled, dtype=np.float64) - base
    return {
        name: ratio_over_runs(np.asarray(arm, dtype=np.float64) - base, gain, name, level=level)
        for name, arm in arms.items()
    }


@dataclass(frozen=True, eq=False)
class EquivalenceCurve:
    """At each size: how many labelled examples would reach the student's accuracy, divided by those it used.

    Attributes:
        sizes: (K,) n.
        factor: one `Estimate` for each size. An open side is 0 or infinity: the interval leaves the grid there.
        censored: "above" where the student is better than labels at every size (the value is then the least that the
            grid allows: N/n), "below" where it is worse than labels at the smallest.
        largest: see `label_equivalence`; NaN without a size with room.
        per_seed: (S, K) log factors, linearized around the fit; a column's mean is the log of its value.
    """

    sizes: NDArray
    factor: tuple[Estimate, ...]
    censored: tuple[Censored, ...]
    largest: Estimate
    per_seed: NDArray


def label_equivalence(
    sizes: ArrayLike,
    labels: ArrayLike,
    student: ArrayLike,
    *,
    level: float | None = None,
    resamples: int = 2000,
    seed: int = 0,
    room: float = 2.0,
) -> EquivalenceCurve:
    """The label-equivalence curve of two accuracy tables, paired by seed.

    The labels' mean accuracy is made to rise with log n (adjacent violators pooled) and inverted. Each bound is where a
    paired t-test just rejects that labels at that size do as well.

    The largest of noisy values is too large (winner's curse), so the largest factor is corrected for selection: each
    size is lowered by what the largest of all their errors exceeds half of the time (value) or in (1 − level) / 2 of
    the cases (lower bound), counting the sizes that may be the best one; the upper bound is the largest of theirs.
    Errors are drawn from the seeds' own, with Student's t for their small number.

    Args:
        sizes: (K,) ascending n.
        labels: (S, K) accuracies of training on labels.
        student: (S, K) accuracies of students.
        level: of the intervals; that of `inference.policy.current` where not given.
        resamples: draws of errors.
        seed: of the draws.
        room: the largest factor is sought among sizes n for which the grid reaches at least ``room`` times n.

    Raises:
        Refusal: ``sizes-not-rising``, ``table-shape``, ``not-shares`` or ``not-finite``.

    >>> labels = np.array([[0.50, 0.60, 0.70, 0.80], [0.51, 0.61, 0.71, 0.81], [0.49, 0.60, 0.69, 0.80]])
    >>> curve = label_equivalence([10, 20, 40, 80], labels, labels + 0.1)
    >>> [f"{factor.value:.2f}" for factor in curve.factor], curve.censored
    (['1.95', '2.04', '1.95', '1.00'], ('', '', '', 'above'))
    """
    x, of_labels = table_on_log_size(sizes, labels)
    _, of_student = table_on_log_size(sizes, student, seeds=len(of_labels))
    _check_shares(of_labels, of_student)
    how = current(level)
    shown, level = how.level, how.student_level(len(of_labels))
    at, points = refined(*rising_knots(x, of_labels))
    found = [_log_factor(at, of_student[:, [k]] - points, x, k, level) for k in range(len(x))]
    per_seed = np.stack([logs for _, logs, _ in found], axis=1)
    sides: tuple[Censored, ...] = tuple(side for _, _, side in found)
    with_room = np.flatnonzero(x[-1] - x >= np.log(room) - 1e-9)

    def lows(of: NDArray, at_level: float) -> float:
        return max(_log_factor(at, of_student[:, [k]] - points, x, k, at_level)[0][1] for k in with_room[of])

    highs = np.array([found[k][0][2] for k in with_room])
    is_open = np.array([sides[k] == "above" for k in with_room], dtype=bool)
    three = _largest(per_seed[:, with_room], highs, is_open, lows, level, resamples, seed)
    n = np.exp(x)
    estimates = [
        Estimate(name, *_exp(bounds), shown, len(of_labels), "runs")
        for name, bounds in [
            *((f"equivalence factor, n = {size:,.0f}", bounds) for size, (bounds, _, _) in zip(n, found, strict=True)),
            ("largest equivalence factor", three),
        ]
    ]
    return EquivalenceCurve(n, tuple(estimates[:-1]), sides, estimates[-1], per_seed)


def _exp(bounds: tuple[float, float, float]) -> tuple[float, float, float]:
    value, low, high = np.exp(bounds).tolist()
    return value, low, high


def _log_factor(
    at: NDArray, differences: NDArray, x: NDArray, k: int, level: float
) -> tuple[tuple[float, float, float], NDArray, Censored]:
    """Of size k: log factor with bounds, one linearized a seed, and the side on which it is censored.

    differences: (S, G), the student's accuracy minus the labels' at the places ``at``.
    """
    value, low, high, side = where_zero(at, differences, level)
    value = {"above": x[-1], "below": x[0], "": value}[side]
    bounds = value, x[-1] if low > at[-1] else low, x[0] if high < at[0] else high
    logs = value - x[k] + linearized(at, differences, value, side)
    return (bounds[0] - x[k], bounds[1] - x[k], bounds[2] - x[k]), logs, side


def _largest(
    logs: NDArray,
    highs: NDArray,
    is_open: NDArray,
    lows: Callable[[NDArray, float], float],
    level: float,
    resamples: int,
    seed: int,
) -> tuple[float, float, float]:
    """(value, low, high) of the largest log factor, from those of the seeds (S, R) at the R sizes with room.

    highs: (R,) upper bounds of each, infinite where the grid ends first. lows: the largest lower bound of the sizes in
    a mask (R,), at a level.
    """
    seeds = len(logs)
    if logs.shape[1] == 0:
        return np.nan, np.nan, np.nan
    mean = logs.mean(axis=0)
    if seeds == 1:
        return float(mean.max()), np.nan, np.nan
    error = logs.std(axis=0, ddof=1) / np.sqrt(seeds)
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=(resamples, seeds)) @ (logs - mean) / np.sqrt(seeds * (seeds - 1))
    drawn /= np.sqrt(rng.chisquare(seeds - 1, size=(resamples, 1)) / (seeds - 1))
    alone = float(student_t.ppf(0.5 + level / 2, seeds - 1))

    def may_be_best(errors: float) -> NDArray:
        return mean + errors * error >= (mean - errors * error).max()

    def excess(among: NDArray, share: float) -> float:
        """In errors: what the largest of these sizes' noise stays below, in this share of the draws."""
        spread = among & (error > 0)
        return float(np.quantile((drawn[:, spread] / error[spread]).max(axis=1), share)) if spread.any() else 0.0

    near, possible = may_be_best(1.0), may_be_best(alone)
    value = (mean - excess(near, 0.5) * error)[near].max()
    together = max(excess(possible, 0.5 + level / 2), alone)
    low = lows(possible, 1 - 2 * float(student_t.sf(together, seeds - 1)))
    # Where only the interval leaves the grid, not the value, the linearized bound says how far.
    high = np.where(is_open, np.inf, np.where(np.isinf(highs), mean + alone * error, highs)).max()
    return float(value), min(low, float(value)), max(float(high), float(value))


@dataclass(frozen=True)
class Crossover:
    """The size at which a gain turns into a loss.

    Attributes:
        size: with its interval, open (0 or infinity) on the side where it leaves the grid.
        censored: "above" where it is a gain at every size (the value is then the largest size, a lower limit), "below"
            where it is a loss from the smallest size on.
    """

    size: Estimate
    censored: Censored


def crossover(sizes: ArrayLike, gaps: ArrayLike, name: str = "crossover", *, level: float | None = None) -> Crossover:
    """Where the mean gap, made to fall with log n, crosses 0, by straight lines in log n.

    Args:
        sizes: (K,) ascending n.
        gaps: (S, K).
        name: of the estimate.
        level: of the interval; that of `inference.policy.current` where not given.

    >>> found = crossover([10, 100, 1000], [[0.2, 0.1, -0.1], [0.21, 0.1, -0.1], [0.2, 0.11, -0.1]])
    >>> print(found.size)
    322 [296, 347] (95% over 3 runs)
    """
    x, table = table_on_log_size(sizes, gaps)
    at, knots = rising_knots(x, -table)
    points = np.concatenate([at[:1], *(np.linspace(a, b, STEPS + 1)[1:] for a, b in pairwise(at))])
    lines = np.stack([np.interp(points, at, row) for row in -knots])
    how = current(level)
    value, low, high, side = where_zero(points, lines, how.student_level(len(table)))
    value = {"above": x[-1], "below": x[0], "": value}[side]
    low = x[-1] if low > at[-1] else low
    high = x[0] if high < at[0] else high
    value, low, high = np.exp([value, low, high]).tolist()
    return Crossover(Estimate(name, value, low, high, how.level, len(table), "runs"), side)


def _check_shares(*tables: NDArray) -> None:
    worst = [float(bound) for table in tables for bound in (table.min(), table.max())]
    if min(worst) < 0 or max(worst) > 1:
        raise refusal(
            "not-shares", "accuracies between 0 and 1", f"{min(worst)} to {max(worst)}", "dividing percents by 100"
        )
