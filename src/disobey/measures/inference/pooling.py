"""One claim on several data sets: the mean effect, how much it varies, and what to expect on the next data set.

Random effects: every data set has its own true effect, drawn around a mean. The between-data-set variance is Paule and
Mandel's, the interval of the mean Knapp and Hartung's with their variance factor not below 1 (Röver et al. 2015). The
prediction interval lets the between variance, and standard errors from few runs, be as uncertain as they are: it draws
both (Nagashima, Noma and Furukawa 2019, Statistical Methods in Medical Research 28, with the distribution of the
generalized Q of Viechtbauer 2007, Statistics in Medicine 26). The usual one with k - 2 degrees of freedom held the next
data set in only 0.87 to 0.91 of cases of six or eight data sets (`benchmarks/pooling.py`). K data sets; standard errors
are those of each data set's own mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import chi2
from scipy.stats import f as fisher_f
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
    """how surprising the spread would be if all effects were equal: Welch's test where the numbers of runs are known,
    else Cochran's, which rejects too often where standard errors come from few runs"""
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


DRAWS = 5000  # for the prediction interval
STEPS = 10  # of Newton's method, for all draws at once


def pool(
    values: ArrayLike,
    errors: ArrayLike,
    name: str = "pooled effect",
    *,
    runs: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Pooled:
    """Joins one effect of K data sets by a random-effects model.

    Args:
        values: (K,) the effect on each data set.
        errors: (K,) its standard error, above 0.
        name: of the estimates.
        runs: (K,) how many runs each standard error comes from, two or more; where not given it is known exactly.
        level: of the confidence and the prediction interval.
        draws: for the prediction interval; 0: none is wanted.
        seed: of the draws.

    Raises:
        Refusal: `pool-too-few` for fewer than two data sets, `pool-errors` where a standard error is not above 0,
            `pool-runs` where it comes from fewer than two runs.

    >>> p = pool([0.010, 0.020, 0.015, 0.030], [0.004, 0.005, 0.003, 0.006])
    >>> round(p.mean.value, 4), round(p.mean.low, 4), round(p.mean.high, 4), round(p.between_sd, 4)
    (0.0179, 0.0049, 0.0308, 0.0068)
    """
    y, s = np.asarray(values, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape or len(y) < 2:
        raise refusal("pool-too-few", "effects and standard errors of at least two data sets", f"{y.shape}, {s.shape}")
    if not (np.isfinite(y).all() and np.isfinite(s).all() and (s > 0).all()):
        raise refusal("pool-errors", "finite effects with standard errors above 0", f"{y.tolist()}, {s.tolist()}")
    df = None if runs is None else np.asarray(runs, dtype=np.float64) - 1
    if df is not None and (df.shape != y.shape or not (df >= 1).all()):
        raise refusal("pool-runs", "two or more runs for each standard error", f"{runs}")
    k = len(y)
    between = _paule_mandel(y, s**2)
    weights = 1 / (s**2 + between)
    mean = float(weights @ y / weights.sum())
    factor = max(1.0, float(weights @ (y - mean) ** 2 / (k - 1)))
    error = math.sqrt(factor / float(weights.sum()))
    half = float(student_t.ppf(0.5 + level / 2, k - 1)) * error
    low = high = math.nan
    if k > 2 and draws:
        low, high = _next(y, s**2, df, level, draws, np.random.default_rng(seed))
    q = _spread(y, 1 / s**2)
    return Pooled(
        mean=Estimate(name, mean, mean - half, mean + half, level, k, "cases"),
        prediction=Estimate(f"{name}, next data set", mean, low, high, level, k, "cases"),
        between_sd=math.sqrt(between),
        heterogeneity_p=float(chi2.sf(q, k - 1)) if df is None else _welch(y, s, df),
        share_between=max(0.0, 1 - (k - 1) / q) if q > 0 else 0.0,
        weights=tuple(float(w) for w in weights / weights.sum()),
    )


def leave_one_out(
    values: Sequence[float], errors: Sequence[float], name: str = "", *, level: float = 0.95
) -> list[Pooled]:
    """The pooled effect without each data set in turn, without prediction intervals. Needs three data sets."""
    keep = [[j for j in range(len(values)) if j != i] for i in range(len(values))]
    return [pool([values[j] for j in js], [errors[j] for j in js], name, level=level, draws=0) for js in keep]


def _spread(y: NDArray, weights: NDArray) -> float:
    return float(weights @ (y - weights @ y / weights.sum()) ** 2)


def _welch(y: NDArray, s: NDArray, df: NDArray) -> float:
    """P-value of equal effects where variances are unequal and estimated (Welch 1951, Biometrika 38)."""
    k, weights = len(y), 1 / s**2
    uneven = float(((1 - weights / weights.sum()) ** 2 / df).sum())
    ratio = _spread(y, weights) / (k - 1) / (1 + 2 * (k - 2) / (k**2 - 1) * uneven)
    return float(fisher_f.sf(ratio, k - 1, (k**2 - 1) / (3 * uneven)))


def _next(
    y: NDArray, variances: NDArray, df: NDArray | None, level: float, draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Where the true effect on one more data set lies: draws of the variances, then of the mean and of the effect."""
    k = len(y)
    own = np.broadcast_to(variances, (draws, k))
    if df is not None:
        own = own * df / rng.chisquare(df, size=(draws, k))
    target = rng.chisquare(k - 1, size=draws)  # what the generalized Q is at the true between variance

    def weighed(between: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """Total weight, mean, Q and how fast Q falls with the variance between, of every draw."""
        weights = 1 / (own + between[:, None])
        total = weights.sum(axis=1)
        mean = (weights * y).sum(axis=1) / total
        squares = weights * (y - mean[:, None]) ** 2
        return total, mean, squares.sum(axis=1), (weights * squares).sum(axis=1)

    between = np.zeros(draws)
    for _ in range(STEPS):  # Newton on 1/Q, which is a straight line where all errors are equal
        _, _, q, fall = weighed(between)
        step = np.where(q > 0, (q**2 / target - q) / np.where(fall > 0, fall, 1.0), 0.0)
        between = np.maximum(between + step, 0.0)
    total, mean, q, _ = weighed(between)
    error = np.sqrt(np.maximum(q / (k - 1), 1.0) / total)
    effects = mean + rng.normal(size=draws) * np.sqrt(between) - rng.standard_t(k - 1, size=draws) * error
    bounds = np.quantile(effects, [0.5 - level / 2, 0.5 + level / 2])
    return float(bounds[0]), float(bounds[1])


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
