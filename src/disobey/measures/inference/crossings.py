"""Where a curve over log n reaches another one, with an interval over runs by an inverted t-test.

A place belongs to the interval if a paired t-test over seeds does not find the two curves different there (Fieller
1954): exact for straight lines and normal seeds, however few, which a bootstrap over seeds is not.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student_t

from disobey.errors import refusal

Censored: TypeAlias = Literal["", "above", "below"]

STEPS = 40  # points between two sizes; bounds are interpolated between points
_NEAR = 1e-6  # mean errors below this are taken for this: their logarithm is noise


def table_on_log_size(sizes: ArrayLike, values: ArrayLike, *, seeds: int | None = None) -> tuple[NDArray, NDArray]:
    """(log sizes (K,), values (S, K)), checked."""
    n, table = np.asarray(sizes, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if n.ndim != 1 or len(n) < 2 or (n <= 0).any() or (np.diff(n) <= 0).any():
        raise refusal("sizes-not-rising", "at least two positive, ascending sizes", n.tolist())
    if table.ndim != 2 or table.shape[1] != len(n) or len(table) == 0 or seeds not in (None, len(table)):
        expected = "seeds" if seeds is None else seeds
        raise refusal("table-shape", f"a table of shape ({expected}, {len(n)}), one row a seed", table.shape)
    if not np.isfinite(table).all():
        raise refusal(
            "not-finite", "finite values in every cell", "NaN or infinity", "the sizes of which every seed is finished"
        )
    return np.log(n), table


def rising_knots(x: NDArray, table: NDArray) -> tuple[NDArray, NDArray]:
    """Isotonic fit of the column means by pooling adjacent violators: knots' places (B,) and seeds' values (S, B).

    A pooled block is one knot in its middle: a step would put every accuracy at one of its ends.
    """
    blocks: list[list[int]] = []
    means = table.mean(axis=0)
    for k in range(len(x)):
        blocks.append([k])
        while len(blocks) > 1 and means[blocks[-2]].mean() >= means[blocks[-1]].mean():
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    return np.array([x[b].mean() for b in blocks]), np.stack([table[:, b].mean(axis=1) for b in blocks], axis=1)


def refined(at: NDArray, knots: NDArray) -> tuple[NDArray, NDArray]:
    """More points between the knots of an accuracy curve: places (G,) and seeds' values (S, G).

    Values between two knots are mixtures of the two, so differences from them stay normal. The place of a mixture on
    log n is that of the mean curve, whose *error* falls as a power of n from knot to knot: less biased than straight
    lines through accuracies, and less noisy at the ends than a cubic.
    """
    mixture = np.arange(STEPS * (len(at) - 1) + 1) / STEPS
    left = np.minimum(mixture.astype(int), max(len(at) - 2, 0))
    weight, right = mixture - left, np.minimum(left + 1, len(at) - 1)
    values = knots[:, left] * (1 - weight) + knots[:, right] * weight
    coarse, fine = (-np.log(np.maximum(1 - v.mean(axis=0), _NEAR)) for v in (knots, values))
    if (np.diff(coarse) <= 0).any():  # two knots without errors
        return np.interp(mixture, np.arange(len(at)), at), values
    return np.interp(fine, coarse, at), values


def where_zero(x: NDArray, differences: NDArray, level: float) -> tuple[float, float, float, Censored]:
    """(value, low, high, side) of the place where differences (S, G) with a falling mean cross 0; ±inf off the grid.

    Bounds: going out from the value, the first place where a t-test finds the mean different from 0 in the sign that
    it must have there.
    """
    mean, seeds = differences.mean(axis=0), len(differences)
    side: Censored = "above" if mean[-1] > 0 else "below" if mean[0] < 0 else ""
    value = {"above": np.inf, "below": -np.inf}.get(side, 0.0)
    if not side:
        after = int(np.argmax(mean <= 0))
        value = x[0] if after == 0 else _between(x[after - 1], x[after], mean[after - 1], mean[after])
    if seeds == 1:
        return value, np.nan, np.nan, side
    error = differences.std(axis=0, ddof=1) / np.sqrt(seeds)
    limit = float(student_t.ppf(0.5 + level / 2, seeds - 1)) * error
    above, below = mean - limit, mean + limit  # the two ends of the mean's own interval
    sure = np.flatnonzero((above > 0) & (x <= value))
    low = -np.inf if len(sure) == 0 else np.inf if sure[-1] == len(x) - 1 else _cross(x, above, sure[-1])
    sure = np.flatnonzero((below < 0) & (x >= value))
    high = np.inf if len(sure) == 0 else -np.inf if sure[0] == 0 else _cross(x, below, sure[0] - 1)
    return value, min(low, value), max(high, value), side


def _cross(x: NDArray, y: NDArray, i: int) -> float:
    return _between(x[i], x[i + 1], y[i], y[i + 1])


def _between(x0: float, x1: float, y0: float, y1: float) -> float:
    """Where the straight line through two points of falling height is 0."""
    return float(x0 + (x1 - x0) * np.clip(y0 / (y0 - y1), 0.0, 1.0)) if y0 > y1 else float(x0)


def linearized(x: NDArray, differences: NDArray, found: float, side: Censored) -> NDArray:
    """Each seed's shift of the crossing, to first order: its own difference there over the mean's fall."""
    if side or len(x) == 1:
        return np.zeros(len(differences))
    i = int(np.clip(np.searchsorted(x, found) - 1, 0, len(x) - 2))
    weight = (found - x[i]) / (x[i + 1] - x[i])
    there = differences[:, i] * (1 - weight) + differences[:, i + 1] * weight
    mean = differences.mean(axis=0)
    return there * (x[i + 1] - x[i]) / (mean[i] - mean[i + 1])
