"""Linear CKA: how alike two representations of the same examples are, whatever their widths and axes.

Kornblith, Norouzi, Lee and Hinton 2019 (ICML), with the unbiased HSIC of Song et al. 2012 (JMLR 13) in place of the
biased one, which is near 1 for *any* two representations with more features than examples (Murphy, Zylberberg and
Fyshe 2024, arXiv 2405.01012). Never an (N, N) matrix: everything is in sums over examples, at N · D1 · D2 operations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disobey.errors import refusal
from disobey.measures.inference.clusters import parts_of
from disobey.measures.inference.resampling import GROUPS, jackknife_interval

FEWEST = 4  # examples that the unbiased estimate needs


def cka(x: ArrayLike, y: ArrayLike) -> float:
    """Debiased linear CKA: how alike two representations of the same examples are.

    Args:
        x: (N, ...) features, flattened to (N, D1).
        y: (N, ...) features of the same examples, flattened to (N, D2).

    Returns:
        1 for a rotation or scaling of each other, around 0 (and slightly negative half the time) for unrelated ones.
        NaN where one side does not vary.

    Raises:
        Refusal: ``feature-rows``, where rows do not match or there are fewer than 4.

    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    >>> round(cka(x, 7 * x @ rotation + 2), 6)
    1.0
    """
    x, y = _prepared(x, y)
    return float(_ratio(*(_hsic(a, b) for a, b in ((x, y), (x, x), (y, y)))))


def cka_interval(
    x: ArrayLike,
    y: ArrayLike,
    *,
    twin: ArrayLike | None = None,
    codes: NDArray | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float, float]:
    """`cka` with its interval over examples, or the difference of two.

    A delete-a-group jackknife over up to 100 random groups: resampling with replacement would repeat examples, and
    every repeated pair looks perfectly alike in both representations.

    Args:
        x: (N, ...) features.
        y: (N, ...) features.
        twin: (N, ...) features of the control: then the value is CKA(x, y) − CKA(x, twin).
        codes: (N,) the number of each example's cluster: whole clusters are then left out together.
        level: of the interval.
        seed: of the groups.

    Returns:
        (value, low, high); NaN bounds for fewer than 20 examples, or five clusters.
    """
    first, second = _prepared(x, y)
    sides = [(first, second)] if twin is None else [(first, second), _prepared(x, twin)]
    n = len(first)
    value = _difference([_ratio(*(_hsic(a, b) for a, b in ((p, q), (p, p), (q, q)))) for p, q in sides])
    if n < 20:
        return value, np.nan, np.nan
    groups = min(GROUPS, n // 2)
    if codes is None:
        group = np.empty(n, dtype=np.int64)
        group[np.random.default_rng(seed).permutation(n)] = np.arange(n) % groups
    else:
        parts = parts_of(codes, seed, known=n, groups=groups)
        if parts is None:
            return value, np.nan, np.nan
        group, groups = parts.group, parts.groups
    members = [np.flatnonzero(group == g) for g in range(groups)]
    found = [[_left_out(a, b, members) for a, b in ((p, q), (p, p), (q, q))] for p, q in sides]
    left_out = _difference([_ratio(*parts) for parts in found])
    if not np.isfinite(left_out).all():
        return value, np.nan, np.nan
    return (value, *jackknife_interval(value, left_out, level))


def _difference(values: list):
    return values[0] if len(values) == 1 else values[0] - values[1]


def _prepared(x: ArrayLike, y: ArrayLike) -> tuple[NDArray, NDArray]:
    """Centred float64 features, rotated into at most N dimensions: neither changes any inner product that counts."""
    out = []
    for side in (x, y):
        side = np.asarray(side, dtype=np.float64)
        side = side.reshape(len(side), -1)
        side = side - side.mean(axis=0)
        scale = np.abs(side).max(initial=0.0)
        side = side / scale if scale > 0 else side
        out.append(_triangle(side) if side.shape[1] > len(side) else side)
    if len(out[0]) != len(out[1]) or len(out[0]) < FEWEST:
        got = f"{len(out[0])} and {len(out[1])}"
        raise refusal(
            "feature-rows", f"{FEWEST} or more matching rows", got, "saving both from the same loop", where="features"
        )
    return out[0], out[1]


def _triangle(side: NDArray) -> NDArray:
    """(N, N) with the inner products of (N, D)."""
    triangle: Any = np.linalg.qr(side.T, mode="r")  # an array in this mode, which its type does not say
    return triangle.T


def _sums(x: NDArray, y: NDArray) -> tuple[NDArray, ...]:
    """What HSIC needs of the examples: cross moment, totals, squared norms and their products, summed over rows."""
    a, b = (x * x).sum(axis=1), (y * y).sum(axis=1)
    return x.T @ y, x.sum(axis=0), y.sum(axis=0), a.sum(), b.sum(), a @ b, b @ x, a @ y


def _hsic(x: NDArray, y: NDArray) -> float:
    return float(_from_sums(_sums(x, y), len(x)))


def _from_sums(sums: tuple[NDArray, ...], n: int) -> float:
    """Unbiased HSIC of linear kernels K = XXᵀ, L = YYᵀ with their diagonals taken out.

    With K̃ = K − diag a and L̃ = L − diag b: tr K̃L̃ = ‖XᵀY‖² − a·b; row sums K̃1 = X(Xᵀ1) − a.
    """
    cross, sx, sy, a, b, ab, bx, ay = sums
    trace = (cross * cross).sum() - ab
    rows = (sx @ cross) @ sy - bx @ sx - ay @ sy + ab  # (K̃1)·(L̃1)
    totals = (sx @ sx - a) * (sy @ sy - b)
    return float((trace + totals / ((n - 1) * (n - 2)) - 2 * rows / (n - 2)) / (n * (n - 3)))


def _left_out(x: NDArray, y: NDArray, members: list[NDArray]) -> NDArray:
    """HSIC without each group, by taking the group's sums off the whole's."""
    whole = _sums(x, y)
    values = []
    for rows in members:
        part = _sums(x[rows], y[rows])
        values.append(_from_sums(tuple(w - p for w, p in zip(whole, part, strict=True)), len(x) - len(rows)))
    return np.array(values)


def _ratio(xy, xx, yy):
    """CKA of three HSICs; NaN where a representation does not vary (its unbiased HSIC may even be negative)."""
    xy, own = np.asarray(xy), np.asarray(xx) * np.asarray(yy)
    usable = (np.asarray(xx) > 1e-12) & (np.asarray(yy) > 1e-12)
    ratio = np.where(usable, xy / np.sqrt(np.where(usable, own, 1.0)), np.nan)
    return float(ratio) if ratio.ndim == 0 else ratio
