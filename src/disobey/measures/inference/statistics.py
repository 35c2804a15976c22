"""Weighted statistics: one number from per-example columns, for many weightings at once.

Every function takes columns of N rows and ``weights`` of shape (..., N), one row of weights for each resample, and
returns an array of shape (...). A bootstrap then needs no copies of the data: a resample is a row of counts.
``weights=None`` weighs every example once. Columns of shape (N, K) count K points an example, resampled together.
Where a statistic is not defined (no spread in x, no weight left) it is NaN, without a warning.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import numpy as np
from numpy.typing import NDArray

Statistic = Callable[..., NDArray]


def quiet(statistic: Callable) -> Callable:
    """Statistics may be undefined (0/0) on a resample: then NaN, without a warning."""

    @wraps(statistic)
    def wrapped(*columns, **options):
        with np.errstate(divide="ignore", invalid="ignore"):
            return statistic(*columns, **options)

    return wrapped


def ones_if_none(weights: NDArray | None, column: NDArray) -> NDArray:
    """The weights in float64; one for each row of the column where there are none."""
    return np.ones(len(column)) if weights is None else np.asarray(weights, dtype=np.float64)


@quiet
def mean(x: NDArray, *, weights: NDArray | None = None) -> NDArray:
    """Weighted mean of a column, (N,) or (N, K).

    >>> mean(np.array([1.0, 4.0]), weights=np.array([[1, 1], [3, 1]]))
    array([2.5 , 1.75])
    """
    if weights is None:
        return np.asarray(np.mean(x, dtype=np.float64))
    weights = np.asarray(weights, dtype=np.float64)
    per_row = np.asarray(x, dtype=np.float64)
    points = 1
    if per_row.ndim == 2:
        points = per_row.shape[1]
        per_row = per_row.sum(axis=1)
    return weights @ per_row / (points * weights.sum(axis=-1))


def second_moments(x: NDArray, y: NDArray, weights: NDArray | None) -> tuple[NDArray, NDArray, NDArray]:
    """Weighted variances and covariance (sxx, syy, sxy), each of shape (...).

    Sums are taken around the unweighted means: around zero they would cancel where the spread is small.
    """
    x, y = (column - np.mean(column, dtype=np.float64) for column in (x, y))
    if weights is None:
        return tuple(np.einsum("i,i", a.ravel(), b.ravel()) / x.size for a, b in ((x, x), (y, y), (x, y)))
    weights = np.asarray(weights, dtype=np.float64)
    features = np.stack([x, y, x * x, y * y, x * y])  # (5, N) or (5, N, K)
    points = 1
    if features.ndim == 3:
        points = features.shape[2]
        features = features.sum(axis=2)
    mx, my, xx, yy, xy = np.moveaxis(weights @ features.T, -1, 0) / (points * weights.sum(axis=-1))
    return xx - mx**2, yy - my**2, xy - mx * my


@quiet
def ols_slope(x: NDArray, y: NDArray, *, weights: NDArray | None = None) -> NDArray:
    """Least-squares slope of y on x. Noise in x pulls it towards 0.

    >>> float(ols_slope(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0])))
    2.0
    """
    xx, _, xy = second_moments(x, y, weights)
    return xy / xx


@quiet
def swapped_slope(x: NDArray, y: NDArray, *, weights: NDArray | None = None) -> NDArray:
    """One over the least-squares slope of x on y: the same orientation as `ols_slope`, pushed *up* by noise in y.

    With noise on both axes the two bracket the structural slope; their geometric mean is `sd_ratio`.

    >>> x, y = np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.0, 3.0])
    >>> float(ols_slope(x, y)), float(swapped_slope(x, y))
    (1.5, 2.0)
    """
    _, yy, xy = second_moments(x, y, weights)
    return yy / xy


@quiet
def tls_slope(x: NDArray, y: NDArray, *, weights: NDArray | None = None) -> NDArray:
    """Total-least-squares slope: the principal axis, which treats x and y alike (equal noise on both axes).

    >>> x, y = np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.0, 3.0])
    >>> round(float(tls_slope(x, y)), 4), round(float(tls_slope(y, x)), 4)
    (1.8685, 0.5352)
    """
    xx, yy, xy = second_moments(x, y, weights)
    slope = np.tan(0.5 * np.arctan2(2 * xy, xx - yy))
    return np.where((xx == 0) & (yy == 0), np.nan, slope)


@quiet
def sd_ratio(x: NDArray, y: NDArray, *, weights: NDArray | None = None) -> NDArray:
    """Standard deviation of y over that of x: spread alone, whatever the correlation.

    >>> float(sd_ratio(np.array([0.0, 1.0]), np.array([3.0, 0.0])))
    3.0
    """
    xx, yy, _ = second_moments(x, y, weights)
    return np.sqrt(yy / xx)


@quiet
def correlation_coefficient(x: NDArray, y: NDArray, *, weights: NDArray | None = None) -> NDArray:
    """Pearson correlation.

    >>> round(float(correlation_coefficient(np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.0, 3.0]))), 4)
    0.866
    """
    xx, yy, xy = second_moments(x, y, weights)
    return xy / np.sqrt(xx * yy)


@quiet
def tail_mean(
    x: NDArray,
    d: NDArray,
    keep: NDArray | None = None,
    *,
    share: float,
    upper: bool = False,
    weights: NDArray | None = None,
) -> NDArray:
    """Mean of d over the lowest (or highest) ``share`` of x, over the rows in ``keep`` only where it is given.

    The share is of *all* the weight, so the threshold is the full sample's; the example that straddles it counts in
    part, which makes the statistic continuous in the weights. Ties in x are broken by d: no dependence on row order.

    >>> x = np.array([3.0, 1.0, 2.0, 4.0])
    >>> float(tail_mean(x, 10 * x, share=0.5)), float(tail_mean(x, 10 * x, share=0.25, upper=True))
    (15.0, 40.0)
    """
    if weights is None:
        return _whole_tail_mean(x, d, keep, share, upper)
    weights = np.asarray(weights, dtype=np.float64)
    whole, total = np.lexsort((d, x))[:: -1 if upper else 1], weights.sum(axis=-1, keepdims=True)
    # Of nearly all resamples the tail ends soon after its share of the rows: what lies beyond weighs nothing.
    near = min(len(x), int(share * len(x) + 8 * np.sqrt(len(x)) + 8))
    for order in (whole[:near], whole):
        sorted_weights = weights[..., order]
        room = np.cumsum(sorted_weights, axis=-1)
        if len(order) == len(x) or (room[..., -1:] >= share * total).all():
            break
    np.subtract(share * total + sorted_weights, room, out=room)  # weight that still fits before each row
    inside = np.clip(room, 0.0, sorted_weights, out=room)
    kept = np.ones(len(order)) if keep is None else np.asarray(keep, dtype=np.float64)[order]
    sums = inside @ np.stack([np.where(kept > 0, np.asarray(d, dtype=np.float64)[order], 0.0), kept]).T
    return sums[..., 0] / sums[..., 1]


def _whole_tail_mean(x: NDArray, d: NDArray, keep: NDArray | None, share: float, upper: bool) -> NDArray:
    """`tail_mean` of rows that all weigh one: they need not be sorted to know which are in the tail."""
    room = share * len(x)
    last = max(int(np.ceil(room)), 1) - 1
    edge = np.partition(x, len(x) - 1 - last if upper else last)[len(x) - 1 - last if upper else last]
    inside, tied = np.flatnonzero(x > edge if upper else x < edge), np.flatnonzero(x == edge)
    tied = tied[np.argsort(d[tied], kind="stable")[:: -1 if upper else 1]]
    rows = np.concatenate([inside, tied])
    weights = np.ones(len(rows))
    weights[len(inside) :] = np.clip(room - len(inside) - np.arange(len(tied)), 0, 1)
    if keep is not None:
        kept = keep[rows] > 0
        rows, weights = rows[kept], weights[kept]
    return weights @ d[rows].astype(np.float64) / weights.sum()
