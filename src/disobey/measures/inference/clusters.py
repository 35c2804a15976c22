"""Intervals over clusters: the tokens of a text, the pixels of an image, the questions of a passage go together.

Examples of one cluster resemble each other, so a thousand tokens of ten texts know little more than ten texts. Here
clusters are left out, not examples: a jackknife over up to 100 groups of whole clusters, with Student's t. It serves
any statistic, needs no equal sizes, and with few clusters it is the most cautious of the usual estimators.

Reference:
    MacKinnon, Nielsen and Webb 2023, Journal of Econometrics 232 (the cluster jackknife, CV3); Korn and Graubard 1998,
    Survey Methodology 24 (shares by their effective number of examples).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from disobey.errors import refusal
from disobey.measures.inference.quantiles import student_t
from disobey.measures.inference.resampling import GROUPS, wilson_interval

FEWEST = 5  # clusters below which there is no interval
KNOWN = 50_000  # examples that the spread is found from; more of them cost time and sharpen nothing
_BLOCK = 2**20  # weights held at once

Bounds = tuple[float, float, float]


def codes_of(clusters: NDArray) -> NDArray:
    """Numbers 0, 1, … of clusters that are named by anything.

    >>> codes_of(np.array(["b", "a", "b"]))
    array([1, 0, 1])
    """
    return np.unique(clusters, return_inverse=True)[1].astype(np.int64)


def refuse_few(clusters: NDArray, where: str = "cluster") -> None:
    """Refuses fewer than `FEWEST` clusters (``few-clusters``): nothing can be said about others of their kind."""
    found = len(np.unique(clusters))
    if found < FEWEST:
        hint = "more texts, or no 'cluster' and intervals that hold for these texts only"
        raise refusal("few-clusters", f"at least {FEWEST} clusters", f"{found:,}", hint, where=where)


@dataclass(frozen=True)
class Parts:
    """Clusters in the groups that are left out together.

    Attributes:
        rows: the examples that the spread is found from, ascending.
        group: (rows,) the group of each.
        groups: how many.
        clusters: of all examples.
        scale: of the spread among ``rows`` to that of all examples: the root of their share of the clusters.
        effective: clusters of one size that would know as much: 1 / Σ share².
    """

    rows: NDArray
    group: NDArray
    groups: int
    clusters: int
    scale: float
    effective: float

    @property
    def df(self) -> float:
        """Degrees of freedom of the spread: of a few large clusters among small ones, few."""
        return max(1.0, min(self.groups, self.effective) - 1)


def parts_of(codes: NDArray, seed: int, *, known: int = KNOWN, groups: int = GROUPS) -> Parts | None:
    """Deals clusters into groups; None for fewer than `FEWEST`.

    Args:
        codes: (n,) the cluster's number of each example.
        seed: of the dealing.
        known: examples from which the spread is found, about.
        groups: at most.
    """
    sizes = np.bincount(codes) if len(codes) else np.empty(0, np.int64)
    present = np.flatnonzero(sizes)
    if len(present) < FEWEST:
        return None
    shares = sizes[present] / len(codes)
    dealt = np.random.default_rng(seed).permutation(present)
    if len(codes) > known:  # whole clusters, and no fewer than would fill the groups
        enough = int(np.searchsorted(np.cumsum(sizes[dealt]), known)) + 1
        dealt = dealt[: max(enough, groups)]
    count = min(groups, len(dealt))
    group_of = np.full(len(sizes), -1)
    group_of[dealt] = np.arange(len(dealt)) % count
    own = group_of[codes]
    rows = np.flatnonzero(own >= 0)
    scale = float(np.sqrt(len(dealt) / len(present)))
    return Parts(rows, own[rows], count, len(present), scale, float(1 / (shares**2).sum()))


def error_over(evaluate: Callable[[NDArray], NDArray], parts: Parts) -> float:
    """Standard error over clusters of a statistic, NaN where it is undefined without one of the groups.

    Args:
        evaluate: weights (B, rows) of the examples ``parts.rows`` to values (B,).
        parts: the groups.
    """
    n, found = len(parts.rows), []
    step = max(1, _BLOCK // n)
    for start in range(0, parts.groups, step):
        left_out = np.arange(start, min(start + step, parts.groups))[:, None]
        found.append(evaluate((parts.group != left_out).astype(np.float64)))
    values = np.concatenate(found)
    if not np.isfinite(values).all():
        return np.nan
    spread = np.sum((values - values.mean()) ** 2)
    return float(parts.scale * np.sqrt((parts.groups - 1) / parts.groups * spread))


def bounds_over(value: float, error: float, parts: Parts, level: float) -> Bounds:
    """(value, low, high) by Student's t."""
    half = float(student_t.ppf(0.5 + level / 2, parts.df)) * error
    return value, value - half, value + half


def share_bounds(value: float, error: float, n: float, parts: Parts, level: float) -> Bounds:
    """Wilson's interval of a share of n examples, by the number of independent ones that would have this error.

    Where all or none were counted clusters say nothing of how alike their examples are: each then counts as one.
    """
    if not 0 <= value <= 1 or np.isnan(error):
        return value, np.nan, np.nan
    independent = value * (1 - value) / error**2 if error > 0 else float(parts.clusters)
    if not 0 < value < 1:
        independent = float(parts.clusters)
    narrower = float(ndtri(0.5 + level / 2)) / float(student_t.ppf(0.5 + level / 2, parts.df))
    return value, *wilson_interval(value, max(1.0, min(independent * narrower**2, n)), level)


def mean_error(column: NDArray, codes: NDArray) -> float:
    """Standard error over clusters of the mean of a column (n,), in closed form: residuals add up within clusters.

    >>> rng = np.random.default_rng(0)
    >>> round(mean_error(np.repeat(rng.normal(size=50), 20), np.repeat(np.arange(50), 20)), 3)
    0.13
    """
    sums = np.bincount(codes, np.asarray(column, np.float64) - np.mean(column, dtype=np.float64))
    present = np.count_nonzero(np.bincount(codes))
    return float(np.sqrt(present / max(present - 1, 1) * np.sum(sums**2)) / len(codes))


def design_effect(column: NDArray, codes: NDArray) -> float:
    """How many times the variance of a mean is what independent examples would give; 1 where clusters do not matter.

    >>> rng = np.random.default_rng(0)
    >>> round(design_effect(np.repeat(rng.normal(size=50), 20), np.repeat(np.arange(50), 20)), 1)
    20.4
    """
    alone = float(np.std(column, dtype=np.float64)) / np.sqrt(len(column))
    return float((mean_error(column, codes) / alone) ** 2) if alone > 0 else np.nan
