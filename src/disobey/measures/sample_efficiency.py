"""How much data a teacher is worth: gains on four scales, their slope on log n, and how many labels would do as well.

Tables are (S, K): S paired seeds by K sizes n, ascending. Everything is over runs. Where a size is looked for on a
curve, the interval is a t-test turned around (Fieller 1954): it holds the sizes at which "no difference" is not
rejected. Five seeds are too few to resample: docs/measures.md has the coverage of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit

from disobey.measures.comparisons import ratio_over_runs
from disobey.measures.crossings import STEPS, Censored, refined, rising_knots, table_on_log_size, where_zero
from disobey.measures.intervals import mean_over_runs
from disobey.records.results import Estimate, Verdict


def scales(
    labels_accuracy: ArrayLike,
    student_accuracy: ArrayLike,
    labels_nll: ArrayLike,
    student_nll: ArrayLike,
    *,
    n_test: int,
) -> dict[str, NDArray]:
    """The gain over labels on four scales, each of the shape that came in; above 0 the distilled student is better.

    "relative error change" is the share of the labels' errors that is gone. It and the logit count half an error more
    on either side, so that 0 and 1 of ``n_test`` examples stay finite. NLL in nats.

    >>> gains = scales([0.9], [0.95], [0.5], [0.3], n_test=1000)
    >>> {name: round(float(gain[0]), 3) for name, gain in gains.items()}
    {'accuracy gap': 0.05, 'relative error change': 0.498, 'logit-accuracy gap': 0.742, 'NLL gap': 0.2}
    """
    labels, student = np.asarray(labels_accuracy, dtype=np.float64), np.asarray(student_accuracy, dtype=np.float64)
    labels_nll, student_nll = np.asarray(labels_nll, dtype=np.float64), np.asarray(student_nll, dtype=np.float64)
    if not labels.shape == student.shape == labels_nll.shape == student_nll.shape:
        shapes = ", ".join(str(a.shape) for a in (labels, student, labels_nll, student_nll))
        raise ValueError(f"expected four tables of one shape (seeds, sizes), came {shapes}")
    _check_shares(labels, student)
    half_labels, half_student = ((a * n_test + 0.5) / (n_test + 1) for a in (labels, student))
    return {
        "accuracy gap": student - labels,
        "relative error change": 1 - (1 - half_student) / (1 - half_labels),
        "logit-accuracy gap": logit(half_student) - logit(half_labels),
        "NLL gap": labels_nll - student_nll,
    }


def slope_on_log_size(
    sizes: ArrayLike, values: ArrayLike, name: str = "slope on log n", *, decades: bool = False, level: float = 0.95
) -> Estimate:
    """Least-squares slope of each seed's values (S, K) on the natural log of n (or per ``decades``), with a t interval.

    >>> print(slope_on_log_size([10, 100, 1000], [[3, 2, 1], [3.3, 2, 1.3], [2.9, 2, 0.9]], decades=True))
    -1 [-1, -1] (95 % over 3 runs)
    """
    x, table = table_on_log_size(sizes, values)
    x = x / np.log(10) if decades else x
    x = x - x.mean()
    return mean_over_runs(table @ x / (x @ x), name, level=level)


def shares_explained(
    arms: Mapping[str, ArrayLike], labels: ArrayLike, distilled: ArrayLike, *, level: float = 0.95
) -> dict[str, Estimate]:
    """φ = mean gain of each arm over labels, as a share of distillation's gain: values (S,), paired by seed.

    Fieller's interval; all NaN where the gain of distillation is not surely different from 0. "The best of these arms
    explains less than a tenth" needs no correction for choosing if *every* arm's upper bound is below a tenth; that
    *some* arm explains more than half does: divide 1 − level by the number of arms.

    >>> found = shares_explained({"smooth": [0.51, 0.52, 0.53]}, [0.5, 0.5, 0.5], [0.6, 0.61, 0.62])
    >>> print(found["smooth"])
    0.182 [-0.0569, 0.333] (95 % over 3 runs)
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

    factor: one `Estimate` a size. An open side is 0 or infinity: the interval leaves the grid there. censored:
    "above" where the student is better than labels at every size (``value`` and ``low`` are then what the grid
    allows at least: N/n), "below" where it is worse than labels at the smallest. per_seed: (S, K) log factors,
    linearized around the fit; a column's mean is the log of its value. room: sizes that N is at least this many
    times larger than: only they can show a large factor, so only they take part in `largest`.
    """

    sizes: NDArray
    factor: tuple[Estimate, ...]
    censored: tuple[Censored, ...]
    per_seed: NDArray
    room: float

    @property
    def roomy(self) -> NDArray:
        """Mask (K,) of the sizes that take part in `largest`."""
        return self.sizes[-1] >= self.room * self.sizes

    @property
    def largest(self) -> Estimate:
        """The largest factor over the sizes with room, without the luck of having been chosen.

        Each seed is read at the size that the *other* seeds say is best; the largest of noisy values would be too
        large. Open above (infinity) where a size with room is censored above.
        """
        name, level, seeds = "largest equivalence factor", self.factor[0].level, len(self.per_seed)
        if not self.roomy.any():
            return Estimate(name, np.nan, np.nan, np.nan, level, seeds, "runs")
        logs = self.per_seed[:, self.roomy]
        if seeds == 1:
            return Estimate(name, float(np.exp(logs.max())), np.nan, np.nan, level, 1, "runs")
        best = (logs.sum(axis=0) - logs).argmax(axis=1)  # of the other seeds' sums
        chosen = mean_over_runs(logs[np.arange(seeds), best], name, level=level)
        value, low, high = np.exp([chosen.value, chosen.low, chosen.high]).tolist()
        is_open = any(side == "above" for side, room in zip(self.censored, self.roomy, strict=True) if room)
        return Estimate(name, value, low, np.inf if is_open else high, level, seeds, "runs")

    def verdict(self, *, supports: float = 1.5, refutes: float = 1.2) -> Verdict:
        """Supported: the largest factor's lower bound is above ``supports``. Refuted: no size with room, by the upper
        bound of its own interval, can be above ``refutes``."""
        if self.largest.low > supports:
            return "supported"
        highs = [factor.high for factor, room in zip(self.factor, self.roomy, strict=True) if room]
        return "refuted" if highs and max(highs) <= refutes else "inconclusive"  # NaN refutes nothing


def label_equivalence(
    sizes: ArrayLike, labels: ArrayLike, student: ArrayLike, *, level: float = 0.95, room: float = 2.0
) -> EquivalenceCurve:
    """The label-equivalence curve of two accuracy tables (S, K), paired by seed.

    The labels' mean accuracy is made to rise with log n (adjacent violators pooled), a monotone cubic through its
    logits is turned around. Each bound is where a paired t-test just rejects that labels at that size do as well.

    >>> labels = np.array([[0.50, 0.60, 0.70, 0.80], [0.51, 0.61, 0.71, 0.81], [0.49, 0.60, 0.69, 0.80]])
    >>> curve = label_equivalence([10, 20, 40, 80], labels, labels + 0.1)
    >>> [f"{factor.value:.2f}" for factor in curve.factor], curve.censored
    (['1.95', '2.05', '1.96', '1.00'], ('', '', '', 'above'))
    """
    x, of_labels = table_on_log_size(sizes, labels)
    _, of_student = table_on_log_size(sizes, student, seeds=len(of_labels))
    _check_shares(of_labels, of_student)
    at, knots = rising_knots(x, of_labels)  # (B,), (S, B)
    at, knots = refined(at, knots)
    mean = knots.mean(axis=0)
    factors, sides, per_seed = [], [], []
    for k, (start, n) in enumerate(zip(x, np.exp(x), strict=True)):
        difference = of_student[:, [k]] - knots
        found, low, high, side = where_zero(at, difference, level)
        found = {"above": x[-1], "below": x[0], "": found}[side]
        per_seed.append(found - start + _linearized(at, mean, difference, found, side))
        low = x[-1] if low > at[-1] else low  # surely better than at every size
        high = x[0] if high < at[0] else high
        name = f"equivalence factor, n = {n:,.0f}"
        value, low, high = np.exp([found - start, low - start, high - start]).tolist()
        factors.append(Estimate(name, value, low, high, level, len(of_labels), "runs"))
        sides.append(side)
    table = np.stack(per_seed, axis=1)
    return EquivalenceCurve(np.exp(x).round(6), tuple(factors), tuple(sides), table, room)


@dataclass(frozen=True)
class Crossover:
    """The size at which a gain turns into a loss. censored: "above" where it is a gain at every size of the grid
    (the value is then the largest size: at least that), "below" where it is a loss from the smallest on."""

    size: Estimate
    censored: Censored


def crossover(sizes: ArrayLike, gaps: ArrayLike, name: str = "crossover", *, level: float = 0.95) -> Crossover:
    """Where the mean of gaps (S, K), made to fall with log n, crosses 0, by straight lines in log n.

    The interval is open (0 or infinity) on the side where it leaves the grid.

    >>> found = crossover([10, 100, 1000], [[0.2, 0.1, -0.1], [0.21, 0.1, -0.1], [0.2, 0.11, -0.1]])
    >>> print(found.size)
    322 [296, 347] (95 % over 3 runs)
    """
    x, table = table_on_log_size(sizes, gaps)
    at, knots = rising_knots(x, -table)
    points = np.concatenate([at[:1], *(np.linspace(a, b, STEPS + 1)[1:] for a, b in pairwise(at))])
    lines = np.stack([np.interp(points, at, row) for row in -knots])
    value, low, high, side = where_zero(points, lines, level)
    value = {"above": x[-1], "below": x[0], "": value}[side]
    low = x[-1] if low > at[-1] else low
    high = x[0] if high < at[0] else high
    value, low, high = np.exp([value, low, high]).tolist()
    return Crossover(Estimate(name, value, low, high, level, len(table), "runs"), side)


def _check_shares(*tables: NDArray) -> None:
    worst = [float(bound) for table in tables for bound in (table.min(), table.max())]
    if min(worst) < 0 or max(worst) > 1:
        raise ValueError(
            f"expected accuracies between 0 and 1, came {min(worst)} to {max(worst)}; divide percents by 100"
        )


def _linearized(x: NDArray, mean: NDArray, differences: NDArray, found: float, side: Censored) -> NDArray:
    """Each seed's shift of the crossing, to first order: its own difference there over the mean curve's slope."""
    if side or len(x) == 1:
        return np.zeros(len(differences))
    i = int(np.clip(np.searchsorted(x, found) - 1, 0, len(x) - 2))
    weight = (found - x[i]) / (x[i + 1] - x[i])
    there = differences[:, i] * (1 - weight) + differences[:, i + 1] * weight
    return there * (x[i + 1] - x[i]) / (mean[i + 1] - mean[i])
