"""Intervals that stay honest however often one looks: adding seeds until a claim is settled costs no error.

A fixed-n interval that is looked at after every seed, and stopped when it pleases, covers less often than it says. The
intervals here hold at every n at once: the chance that the truth *ever* lies outside is at most one minus the level.
They come from the t e-process: a Bayes factor of "the mean differs" against "the mean is this value" with the
right-Haar prior on the standard deviation and a normal prior on the standardized effect (mean over standard deviation),
which is a nonnegative martingale under the null whatever the standard deviation (Pérez-Ortiz et al. 2024, Annals of
Statistics 52; Wang and Ramdas 2025, Sequential Analysis 44). All values whose Bayes factor has not reached 1/alpha form
the interval; with a normal prior that set has a closed form.

The values are taken as independent and normal. `benchmarks/anytime.py` shows how often the intervals cover under
optional stopping for heavy-tailed, skewed and collapsing values as well, and what they cost beside Student's t.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from disobey.errors import refusal
from disobey.records.results import Estimate

PRIOR_SD = 2.0
"""Prior standard deviation of the standardized effect. Paired differences of seeds are often larger than their spread;
2 gives the first finite interval at the fourth seed and the narrowest ones near ten (benchmarks/anytime.py)."""


def log_e_value(values: ArrayLike, null: float = 0.0, *, prior_sd: float = PRIOR_SD) -> float:
    """Natural log of the evidence against "the mean is ``null``", valid at any stopping time.

    Args:
        values: (S,) one value a run, in the order in which they were taken.
        null: the mean under the null hypothesis.
        prior_sd: standard deviation of the normal prior on the standardized effect.

    Returns:
        The log e-value; reject at level 1 - alpha once it reaches log(1 / alpha), whenever that is. 0 for one value.

    >>> round(log_e_value([0.9, 1.1, 1.0, 1.2, 0.8]), 2)
    5.26
    """
    x = _checked(values)
    n = len(x)
    if n < 2:
        return 0.0
    spread = float(x.std(ddof=1))
    if spread == 0:
        return 0.0 if x[0] == null else math.inf
    u = n * (float(x.mean()) - null) ** 2 / (spread**2 * (n - 1))
    shrunk = 1 + n * prior_sd**2
    return -0.5 * math.log(shrunk) + 0.5 * n * (math.log1p(u) - math.log1p(u / shrunk))


def half_width_factor(n: int, *, level: float = 0.95, prior_sd: float = PRIOR_SD) -> float:
    """The interval's half width in standard errors of the mean: (level, n) to a factor, infinite for the first few n.

    >>> [round(half_width_factor(n), 2) for n in (3, 4, 5, 10, 40)]
    [inf, 7.21, 5.36, 3.97, 3.54]
    """
    if n < 2:
        return math.inf
    shrunk = 1 + n * prior_sd**2
    log_ratio = (math.log(shrunk) - 2 * math.log1p(-level)) / n  # the Bayes factor is 1/alpha where u has this ratio
    if log_ratio >= math.log(shrunk):
        return math.inf
    ratio = math.exp(log_ratio)
    return math.sqrt((n - 1) * (ratio - 1) / (1 - ratio / shrunk))


def half_width(
    error: float, n: int, *, level: float = 0.95, prior_sd: float = PRIOR_SD, extra_error: float = 0.0
) -> float:
    """Half the width of an interval that holds at every number of runs at once; infinite (or NaN) for the first few.

    Args:
        error: standard error of the mean over runs.
        n: runs.
        level: of the whole sequence of intervals.
        prior_sd: standard deviation of the normal prior on the standardized effect.
        extra_error: see `anytime_interval`.
    """
    spent = (1 - level) / 5 if extra_error > 0 else 0.0
    half = half_width_factor(n, level=level + spent, prior_sd=prior_sd) * error
    return half + float(ndtri(1 - spent / 2)) * extra_error if spent else half


def anytime_interval(
    values: ArrayLike, name: str, *, level: float = 0.95, prior_sd: float = PRIOR_SD, extra_error: float = 0.0
) -> Estimate:
    """Mean of one value a run with an interval that holds at every number of runs at once.

    Args:
        values: (S,) one value a run.
        name: of the estimate.
        level: of the whole sequence of intervals.
        prior_sd: standard deviation of the normal prior on the standardized effect.
        extra_error: standard error of a part that more runs do not shrink (the finite test set). A fifth of alpha is
            spent on it and the two parts are added, so that the sum covers at the level by the union bound.

    Returns:
        An `Estimate` over runs; without bounds (NaN) as long as the interval is infinite.

    >>> print(anytime_interval([0.70, 0.72, 0.74, 0.71, 0.73], "accuracy"))  # doctest: +ELLIPSIS
    0.72 [0.682, 0.758] (95... over 5 runs)
    """
    x = _checked(values)
    n, value = len(x), float(x.mean())
    error = float(x.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    half = half_width(error, n, level=level, prior_sd=prior_sd, extra_error=extra_error)
    if not math.isfinite(half):
        return Estimate(name, value, math.nan, math.nan, level, n, "runs")
    return Estimate(name, value, value - half, value + half, level, n, "runs")


def anytime_path(values: ArrayLike, name: str, *, level: float = 0.95, prior_sd: float = PRIOR_SD) -> list[Estimate]:
    """`anytime_interval` after each run from the second on: what somebody saw who looked every time."""
    x = _checked(values)
    return [anytime_interval(x[:n], name, level=level, prior_sd=prior_sd) for n in range(2, len(x) + 1)]


def _checked(values: ArrayLike) -> NDArray:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or len(x) == 0 or not np.isfinite(x).all():
        raise refusal("run-values", "one finite value for each of at least one run", f"an array of shape {x.shape}")
    return x
