"""How a student's confidence deviates from its teacher's.

For each example, c is the teacher's most likely class, x the teacher's log-odds of c and y the student's. A student
that obeys has y = x. Shapes: N examples, C classes. Log-odds are in nats.

Every measure is about `Predictions.student`; `inference.measure.on_twin` and `minus_twin` give the control (twin) and
the difference. **Read the difference**: choosing the teacher's best class makes any independent model look less
confident where the teacher is confident, and noise pulls the least-squares slope towards 0, with no distillation at
all.

Infinite log-odds (a probability of exactly 0) have no mean: such examples are left out of slopes and means, n says how
many were used and `infinite_share` how many were not. They count in `share_below`, where only the order matters.

After Nagarajan et al. 2023, "On student-teacher deviations in distillation: does it pay to disobey?" (arXiv
2301.12923), section 3; the twin, the slopes beyond least squares and the quartile statistics are this package's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.measure import Columns, Measure
from disobey.measures.inference.statistics import (
    correlation_coefficient,
    mean,
    ols_slope,
    sd_ratio,
    swapped_slope,
    tail_mean,
    tls_slope,
)
from disobey.records.predictions import Predictions


def log_odds(log_probs: NDArray, classes: NDArray) -> NDArray:
    """Log-odds of one class per example.

    Taken against the other classes, not as ``log p - log(1 - p)``: the second term is infinite once ``p`` rounds to 1,
    as it does for confident teachers. Infinite only where a probability is exactly 0 (or all the others are).

    Args:
        log_probs: (N, C) natural log-probabilities.
        classes: (N,) the class of each example.

    Returns:
        (N,) in nats.

    >>> log_odds(np.log([[0.8, 0.2], [0.1, 0.9]]), np.array([0, 0])).round(3)
    array([ 1.386, -2.197])
    """
    rows = np.arange(len(log_probs))
    others = np.array(log_probs, dtype=np.float64)
    chosen = others[rows, classes]
    others[rows, classes] = -np.inf
    # By hand and in place: three times as fast as scipy's logsumexp on a thousand classes.
    largest = others.max(axis=1)
    others -= np.where(np.isfinite(largest), largest, 0.0)[:, None]
    np.exp(others, out=others)
    with np.errstate(divide="ignore"):  # log 0 where all the others are impossible
        return chosen - (largest + np.log(others.sum(axis=1)))


def confidence(predictions: Predictions) -> Columns:
    """The two axes of the logit plot, and which kind of example each is.

    Args:
        predictions: N examples.

    Returns:
        (x, y, right, mislabelled), each (N,). x, y: the teacher's and the student's log-odds of the teacher's most
        likely class, nats. right: that class is the label. mislabelled: training used another label. Both masks are
        False where the predictions do not say.
    """
    top = predictions.teacher.argmax(axis=1)
    nowhere = np.zeros(len(predictions), dtype=bool)
    right = nowhere if predictions.labels is None else top == predictions.labels
    mislabelled = nowhere if predictions.mislabelled is None else predictions.mislabelled.astype(bool)
    return log_odds(predictions.teacher, top), log_odds(predictions.student, top), right, mislabelled


def best_classes(log_probs: NDArray, k: int) -> NDArray:
    """The k most likely classes of every row, best first, ties to the lower number: quick for small k.

    Args:
        log_probs: (N, C).
        k: at most C.

    Returns:
        (N, k) class numbers.

    >>> best_classes(np.log([[0.2, 0.3, 0.3, 0.2]]), 3)
    array([[1, 2, 0]])
    """
    left = np.maximum(log_probs, np.finfo(np.float64).min)  # impossible classes can be chosen, once
    rows, found = np.arange(len(left)), np.empty((len(left), k), dtype=np.int64)
    for place in found.T:
        place[:] = left.argmax(axis=1)
        left[rows, place] = -np.inf
    return found


@cache
def top_confidence(k: int) -> Callable[[Predictions], Columns]:
    """Columns (x, y) of shape (N, k): log-odds of the teacher's k most likely classes, best first.

    The k points of an example are resampled together. k is at most the number of classes.
    """

    def columns(predictions: Predictions) -> Columns:
        rank = best_classes(predictions.teacher, min(k, predictions.n_classes))
        pairs = (predictions.teacher, predictions.student)
        return tuple(np.stack([log_odds(p, classes) for classes in rank.T], axis=1) for p in pairs)

    return columns


def _on_pair(statistic: Callable) -> Callable:
    """A statistic of (x, y) as a statistic of the columns of `confidence`."""

    def of_columns(*columns, weights=None):
        return statistic(*columns[:2], weights=weights)

    return of_columns


def mean_deviation(x: NDArray, y: NDArray, *, weights: NDArray | None = None) -> NDArray:
    """Mean of y − x, nats: below 0 the student is less confident than its teacher."""
    return mean(y - x, weights=weights)


def tail_deviation(x, y, right, mislabelled, *, upper: bool, subset: str = "", weights=None) -> NDArray:
    """Mean y − x in the bottom or top quartile of x; the quartile is the full sample's, the mean a subset's."""
    return tail_mean(x, y - x, _members(subset, right, mislabelled), share=0.25, upper=upper, weights=weights)


def tail_below(x, y, right, mislabelled, *, upper: bool, subset: str = "", weights=None) -> NDArray:
    """Share of examples with y < x in the bottom or top quartile of x; exact ties count one half."""
    below = 0.5 * (1.0 - np.sign(_gap(x, y)))
    return tail_mean(x, below, _members(subset, right, mislabelled), share=0.25, upper=upper, weights=weights)


def below(x: NDArray, y: NDArray, *, weights: NDArray | None = None) -> NDArray:
    """Share of examples with y < x; exact ties count one half."""
    return mean(0.5 * (1.0 - np.sign(_gap(x, y))), weights=weights)


def _gap(x: NDArray, y: NDArray) -> NDArray:
    """Sign of y − x, also where both are infinite."""
    return (y > x).astype(np.float64) - (y < x)


def infinite(x: NDArray, y: NDArray, *, weights: NDArray | None = None) -> NDArray:
    """Share of examples of which a log-odds is infinite."""
    return mean(~_finite(x, y), weights=weights)


def _finite(x: NDArray, y: NDArray, *_) -> NDArray:
    both = np.isfinite(x) & np.isfinite(y)
    return np.all(both.reshape(len(x), -1), axis=1)


SUBSETS = {"teacher_right": ("labels",), "teacher_wrong": ("labels",), "mislabelled": ("mislabelled",)}


def _members(subset: str, right: NDArray, mislabelled: NDArray) -> NDArray | None:
    if not subset:
        return None
    return {"teacher_right": right, "teacher_wrong": ~right, "mislabelled": mislabelled}[subset]


def _in_subset(subset: str, finite: bool) -> Callable[..., NDArray]:
    def where(x, y, right, mislabelled):
        members = _members(subset, right, mislabelled)
        allowed = _finite(x, y) if finite else np.ones(len(x), dtype=bool)
        return allowed if members is None else allowed & members

    return where


_SLOPES = {
    "ols_slope": (ols_slope, "least-squares slope of the student's log-odds on the teacher's; above 1: exaggerates"),
    "tls_slope": (tls_slope, "total-least-squares slope (principal axis) of the log-odds"),
    "swapped_slope": (swapped_slope, "one over the least-squares slope of the teacher's log-odds on the student's"),
    "sd_ratio": (sd_ratio, "standard deviation of the student's log-odds over the teacher's"),
    "mean_deviation": (mean_deviation, "mean of student minus teacher log-odds, nats"),
}
_TAILS = {
    "low_deviation": (tail_deviation, False, "mean y − x in the bottom quartile of the teacher's log-odds, nats"),
    "high_deviation": (tail_deviation, True, "mean y − x in the top quartile of the teacher's log-odds, nats"),
    "low_below": (tail_below, False, "share of the bottom quartile where the student is less confident"),
    "high_below": (tail_below, True, "share of the top quartile where the student is less confident"),
}


def _measures() -> dict[str, Measure]:
    made = []
    for subset in ("", *SUBSETS):
        ending, needs = f".{subset}" if subset else "", SUBSETS.get(subset, ())
        for name, (statistic, about) in _SLOPES.items():
            where = _in_subset(subset, finite=True)
            made.append(Measure(name + ending, confidence, _on_pair(statistic), where, needs, about))
        for name, (statistic, upper, about) in _TAILS.items():
            # The quartile is the full sample's, so only infinite values are left out before it is taken.
            where = _in_subset("", finite=statistic is tail_deviation)
            chosen = partial(statistic, upper=upper, subset=subset)
            share = 0.0 if statistic is tail_deviation else 0.25
            made.append(Measure(name + ending, confidence, chosen, where, needs, about, share))
        about = "share of examples where the student is less confident in the teacher's class"
        made.append(
            Measure("share_below" + ending, confidence, _on_pair(below), _in_subset(subset, False), needs, about, 1.0)
        )
    made.append(
        Measure(
            "infinite_share",
            confidence,
            _on_pair(infinite),
            about="share of examples with infinite log-odds: left out",
            share_of=1.0,
        )
    )
    made += [top_slope(2), top_slope(5)]
    return {measure.name: measure for measure in made}


def top_slope(k: int) -> Measure:
    """Least-squares slope over the teacher's k most likely classes, k points an example."""
    about = f"least-squares slope of log-odds over the teacher's {k} most likely classes"
    return Measure(f"ols_slope.top{k}", top_confidence(k), ols_slope, _finite, about=about)


MEASURES = _measures()


CLOSENESS = Measure(
    "log_odds_correlation",
    confidence,
    _on_pair(correlation_coefficient),
    _finite,
    about="correlation of teacher and student log-odds of the teacher's choice",
)
"""How closely a student follows its teacher, whatever the slope: what `diagnose` compares with the control (twin)."""


@dataclass(frozen=True)
class Bins:
    """Quantiles of y in equally filled bins of x: a line with a band. All (bins,)."""

    x: NDArray  # median of x
    low: NDArray  # lower quartile of y
    median: NDArray
    high: NDArray  # upper quartile of y
    n: NDArray


def binned_medians(x: NDArray, y: NDArray, bins: int = 20) -> Bins:
    """Medians and quartiles of y in equally filled bins of x.

    Args:
        x: (N,).
        y: (N,).
        bins: at most; as many as examples where these are fewer.

    >>> binned_medians(np.arange(8.0), 2 * np.arange(8.0), bins=2).median
    array([ 3., 11.])
    """
    parts = np.array_split(np.argsort(x, kind="stable"), max(1, min(bins, len(x))))
    low, median, high = np.transpose([np.quantile(y[part], [0.25, 0.5, 0.75]) for part in parts])
    return Bins(
        np.array([np.median(x[part]) for part in parts]), low, median, high, np.array([len(part) for part in parts])
    )


def fitted_line(x: NDArray, y: NDArray) -> tuple[float, float]:
    """(slope, intercept) of the least-squares line through finite points, to be drawn over the logit plot."""
    finite = _finite(x, y)
    x, y = x[finite], y[finite]
    slope = float(ols_slope(x, y))
    return slope, float(y.mean() - slope * x.mean())
