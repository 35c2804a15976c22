"""One claim on several data sets: the mean effect, how much it varies, and what to expect on the next data set.

Random effects: every data set has its own true effect, drawn around a mean. The between-data-set variance is Paule and
Mandel's, the interval of the mean Knapp and Hartung's with their variance factor not below 1 (Röver et al. 2015), the
prediction interval that of Higgins et al. (2009) with k - 2 degrees of freedom. K data sets; standard errors are those
of each data set's own mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import chi2
from scipy.stats import t as student_t

from disobey.errors import refusal
from disobey.records.results import Estimate


@dataclass(frozen=True)
class Pooled:
    """What K data sets say together."""

    mean: Estimate
    """the average effect over data sets like these, with its confidence interval"""
    prediction: Estimate
    """where the effect on one more such data set is expected; no bounds for fewer than three"""
    between_sd: float
    """standard deviation of true effects between data sets, in the effect's unit"""
    heterogeneity_p: float
    """p-value of Cochran's Q: how surprising the spread would be if all effects were equal"""
    share_between: float
    """I squared: the share of the observed spread that is not noise of the single estimates, from 0 to 1"""
    weights: tuple[float, ...]
    """of the data sets in the mean; they sum to 1"""


def standard_error(estimate: Estimate) -> float:
    """The standard error behind a Student t interval over runs; NaN where there is no interval.

    >>> round(standard_error(Estimate("gain", 1.0, 0.0, 2.0, 0.95, 5, "runs")), 3)
    0.36
    """
    if not estimate.known or estimate.n < 2:
        return math.nan
    return (estimate.high - estimate.low) / 2 / float(student_t.ppf(0.5 + estimate.level / 2, estimate.n - 1))


def pool(values: ArrayLike, errors: ArrayLike, name: str = "pooled effect", *, level: float = 0.95) -> Pooled:
    """Joins one effect of K data sets by a random-effects model.

    Args:
        values: (K,) the effect on each data set.
        errors: (K,) its standard error, above 0.
        name: of the estimates.
        level: of the confidence and the prediction interval.

    Raises:
        Refusal: `pool-too-few` for fewer than two data sets, `pool-errors` where a standard error is not above 0.

    >>> p = pool([0.010, 0.020, 0.015, 0.030], [0.004, 0.005, 0.003, 0.006])
    >>> round(p.mean.value, 4), round(p.mean.low, 4), round(p.mean.high, 4), round(p.between_sd, 4)
    (0.0179, 0.0049, 0.0308, 0.0068)
    """
    y, s = np.asarray(values, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape or len(y) < 2:
        raise refusal("pool-too-few", "effects and standard errors of at least two data sets", f"{y.shape}, {s.shape}")
    if not (np.isfinite(y).all() and np.isfinite(s).all() and (s > 0).all()):
        raise refusal("pool-errors", "finite effects with standard errors above 0", f"{y.tolist()}, {s.tolist()}")
    k = len(y)
    between = _paule_mandel(y, s**2)
    weights = 1 / (s**2 + between)
    mean = float(weights @ y / weights.sum())
    factor = max(1.0, float(weights @ (y - mean) ** 2 / (k - 1)))
    error = math.sqrt(factor / float(weights.sum()))
    half = float(student_t.ppf(0.5 + level / 2, k - 1)) * error
    estimate = Estimate(name, mean, mean - half, mean + half, level, k, "cases")
    low = high = math.nan
    if k > 2:
        reach = float(student_t.ppf(0.5 + level / 2, k - 2)) * math.sqrt(between + error**2)
        low, high = mean - reach, mean + reach
    fixed = 1 / s**2
    q = float(fixed @ (y - fixed @ y / fixed.sum()) ** 2)
    return Pooled(
        mean=estimate,
        prediction=Estimate(f"{name}, next data set", mean, low, high, level, k, "cases"),
        between_sd=math.sqrt(between),
        heterogeneity_p=float(chi2.sf(q, k - 1)),
        share_between=max(0.0, 1 - (k - 1) / q) if q > 0 else 0.0,
        weights=tuple(float(w) for w in weights / weights.sum()),
    )


def leave_one_out(
    values: Sequence[float], errors: Sequence[float], name: str = "", *, level: float = 0.95
) -> list[Pooled]:
    """The pooled effect without each data set in turn: whether one of them carries the answer. Needs three."""
    keep = [[j for j in range(len(values)) if j != i] for i in range(len(values))]
    return [pool([values[j] for j in js], [errors[j] for j in js], name, level=level) for js in keep]


def _paule_mandel(y: NDArray, variances: NDArray) -> float:
    """The between variance at which the weighted spread is what k - 1 degrees of freedom expect; 0 if it is less."""

    def excess(between: float) -> float:
        w = 1 / (variances + between)
        return float(w @ (y - w @ y / w.sum()) ** 2) - (len(y) - 1)

    if excess(0.0) <= 0:
        return 0.0
    top = float(y.var(ddof=1)) + float(variances.max())
    while excess(top) > 0:
        top *= 2
    root, _ = brentq(excess, 0.0, top, xtol=1e-15, full_output=True)
    return float(root)
