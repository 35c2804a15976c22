"""Tests and comparisons over runs: what three to twenty seeds can and cannot show.

Values are one number a run, (S,); differences are paired by seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import chi2, rankdata
from scipy.stats import t as student_t

from disobey.measures.inference.policy import current
from disobey.measures.inference.runs import mean_over_runs, paired
from disobey.records.results import Estimate

EXACT_PAIRS = 12  # 4,096 sign patterns; above, Monte Carlo


def sign_flip_p(differences: ArrayLike, *, draws: int = 99_999, seed: int = 0) -> float:
    """Two-sided p-value that paired differences are symmetric around 0: no normality assumed.

    Every pattern of signs for up to 12 pairs, else ``draws`` random ones (the observed one counted among them, so
    the p-value is valid and never 0). The smallest possible p-value is 2 / 2**n: 0.25 for 3 pairs, 0.0625 for 5.

    >>> sign_flip_p([1.0, 2.0, 3.0])
    0.25
    """
    differences = np.asarray(differences, dtype=np.float64)
    n = len(differences)
    observed = abs(differences.sum()) * (1 - 1e-12)  # equal sums in another order of addition are ties
    if n <= EXACT_PAIRS:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float(np.mean(np.abs(signs @ differences) >= observed))
    rng = np.random.default_rng(seed)
    extreme, left = 0, draws
    while left:
        block = min(left, max(1, 2**20 // n))
        signs = 1.0 - 2.0 * rng.integers(2, size=(block, n))
        extreme += int(np.sum(np.abs(signs @ differences) >= observed))
        left -= block
    return (1 + extreme) / (1 + draws)


def holm(p_values: ArrayLike) -> NDArray:
    """P-values adjusted for being several (Holm 1979): reject where the adjusted one is below the level.

    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


@dataclass(frozen=True)
class Equivalence:
    """Result of two one-sided tests: is the effect smaller than ``margin``, in either direction?"""

    estimate: Estimate  # at level 1 − 2α: equivalence is this interval inside ±margin
    margin: float
    p_value: float
    equivalent: bool


def equivalent(values: ArrayLike, margin: float, *, name: str = "difference", level: float = 0.95) -> Equivalence:
    """Two one-sided t-tests (Schuirmann 1987) that the mean of paired differences lies within ±margin.

    "No significant difference" is no evidence of equality; this is. A single run is never enough.

    >>> equivalent([0.001, -0.002, 0.000, 0.001], margin=0.01).equivalent
    True
    """
    values = np.asarray(values, dtype=np.float64)
    estimate = mean_over_runs(values, name, level=2 * level - 1)
    if not estimate.known:
        return Equivalence(estimate, margin, 1.0, False)
    room = margin - abs(estimate.value)
    error = values.std(ddof=1) / np.sqrt(len(values))
    p_value = float(student_t.sf(room / error, len(values) - 1)) if error > 0 else float(room <= 0)
    return Equivalence(estimate, margin, p_value, p_value < 1 - level)


def ratio_over_runs(
    numerator: ArrayLike | Mapping, denominator: ArrayLike | Mapping, name: str = "ratio", *, level: float | None = None
) -> Estimate:
    """Ratio of two paired means with Fieller's interval (1954): a share of the gain recovered, for instance.

    Undefined (value and bounds NaN) where the denominator's own interval includes 0: then no finite interval holds
    the ratio, and a number would only look like a result.

    >>> print(ratio_over_runs([1.0, 1.2, 0.9], [2.0, 2.3, 1.9], "share recovered"))
    0.5 [0.421, 0.549] (95% over 3 runs)
    """
    a, b = paired(numerator, denominator)
    n, how = len(a), current(level)
    level = how.level
    factor = how.factor(n) if n > 1 else np.inf
    if not np.isfinite(factor):
        return Estimate(name, np.nan, np.nan, np.nan, level, n, "runs")
    (aa, ab), (_, bb) = np.cov(a, b) * factor**2 / n
    mean_a, mean_b = a.mean(), b.mean()
    if mean_b**2 <= bb:
        return Estimate(name, np.nan, np.nan, np.nan, level, n, "runs")
    middle, scale = mean_a * mean_b - ab, mean_b**2 - bb
    half = np.sqrt(max(middle**2 - scale * (mean_a**2 - aa), 0.0))
    bounds = (middle - half) / scale, (middle + half) / scale
    return Estimate(name, float(mean_a / mean_b), float(bounds[0]), float(bounds[1]), level, n, "runs")


def correlation_over_runs(
    x: ArrayLike | Mapping,
    y: ArrayLike | Mapping,
    name: str = "correlation",
    *,
    method: Literal["pearson", "spearman"] = "pearson",
    level: float = 0.95,
) -> Estimate:
    """Correlation of two values a run, with an interval by Fisher's transformation.

    Spearman's standard error is that of Bonett and Wright (2000). No interval for fewer than four runs; NaN where
    one side does not vary.

    >>> print(correlation_over_runs([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 3.0, 2.0, 5.0, 4.0]))
    0.8 [-0.28, 0.986] (95% over 5 runs)
    """
    a, b = paired(x, y)
    if method == "spearman":
        a, b = rankdata(a), rankdata(b)
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    n = len(a)
    if scale == 0:
        return Estimate(name, np.nan, np.nan, np.nan, level, n, "runs")
    r = float(np.clip((a @ b) / scale, -1.0, 1.0))
    if n < 4:
        return Estimate(name, r, np.nan, np.nan, level, n, "runs")
    error = np.sqrt((1 + r**2 / 2 if method == "spearman" else 1.0) / (n - 3))
    with np.errstate(divide="ignore"):
        z = np.arctanh(r)
    half = float(student_t.ppf(0.5 + level / 2, np.inf)) * error
    return Estimate(name, r, float(np.tanh(z - half)), float(np.tanh(z + half)), level, n, "runs")


def noncentral_t_cdf(t: float, df: int, shift: float) -> float:
    """P(T ≤ t) of a noncentral t variable: the normal probability averaged over the estimated standard deviation.

    scipy.stats.nct gives NaN in its tails (seen in scipy 1.17), where interval searches go. Accurate to about 1e-6.

    >>> round(noncentral_t_cdf(2.0, 10, 1.0), 5)
    0.80761
    """
    spread, weights = _spreads(df)
    return float(weights @ ndtr(t * spread - shift))


@cache
def _spreads(df: int) -> tuple[NDArray, NDArray]:
    """Quadrature of the estimated over the true standard deviation: nodes and weights, (200,) each."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    return np.sqrt(chi2.ppf(0.5 * (nodes + 1), df) / df), 0.5 * weights


def power(effect: float, sd: float, n: int, *, level: float = 0.95) -> float:
    """Chance that a two-sided t-test over n paired runs detects a mean difference of ``effect``.

    >>> round(power(effect=1.0, sd=1.0, n=10), 3)
    0.803
    """
    critical = float(student_t.ppf(0.5 + level / 2, n - 1))
    shift = float(effect * np.sqrt(n) / sd)
    return 1 - noncentral_t_cdf(critical, n - 1, shift) + noncentral_t_cdf(-critical, n - 1, shift)


def minimum_detectable_effect(differences: ArrayLike, *, level: float = 0.95, chance: float = 0.8) -> float:
    """Smallest true mean difference that this many runs with this spread would detect with the given ``chance``.

    In the unit of the differences; infinite for a single run, 0 where they do not vary. An effect that was not
    detected and is smaller than this was not contradicted.

    >>> round(minimum_detectable_effect([0.01, -0.01, 0.02, 0.00, 0.03]), 4)
    0.0266
    """
    differences = np.asarray(differences, dtype=np.float64)
    n = len(differences)
    return smallest_effect(float(differences.std(ddof=1)), n, level=level, chance=chance) if n > 1 else np.inf


def smallest_effect(sd: float, n: int, *, level: float = 0.95, chance: float = 0.8) -> float:
    """`minimum_detectable_effect` from a standard deviation: what n runs to come will see, say.

    Args:
        sd: of one run's difference.
        n: runs.
        level: of the two-sided t-test.
        chance: with which the effect is found.

    Returns:
        In the unit of ``sd``; infinite for a single run, 0 where nothing varies.

    >>> round(smallest_effect(0.01, 5), 4), round(smallest_effect(0.01, 20), 4)
    (0.0168, 0.0066)
    """
    if n < 2:
        return np.inf
    if sd == 0:
        return 0.0
    scale = sd / np.sqrt(n)
    top = scale
    while power(top, sd, n, level=level) < chance:
        top *= 2
    found = brentq(lambda effect: power(effect, sd, n, level=level) - chance, 0.0, top, xtol=1e-6 * scale)
    return float(found)  # type: ignore


def effect_size(
    a: ArrayLike | Mapping, b: ArrayLike | Mapping, name: str = "effect size", *, level: float = 0.95
) -> Estimate:
    """Standardized paired difference, mean over standard deviation of a − b, corrected for few runs (Hedges' g).

    The interval inverts the noncentral t distribution. NaN bounds for a single run or no spread.

    >>> print(effect_size([3.0, 4.0, 5.0, 6.0], [2.0, 2.5, 4.0, 4.0]))
    2.09 [0.361, 3.82] (95% over 4 runs)
    """
    first, second = paired(a, b)
    d, n = first - second, len(first)
    sd = float(d.std(ddof=1)) if n > 1 else 0.0
    if sd == 0:
        return Estimate(name, np.nan, np.nan, np.nan, level, n, "runs")
    statistic = float(d.mean() / sd * np.sqrt(n))
    reach = abs(statistic) + 10 + 10 * abs(statistic) / np.sqrt(n - 1)

    def shift_with(tail: float) -> float:
        return float(brentq(lambda shift: noncentral_t_cdf(statistic, n - 1, shift) - tail, -reach, reach))  # type: ignore

    unit = float((1 - 3 / (4 * (n - 1) - 1)) / np.sqrt(n))
    low, high = shift_with(0.5 + level / 2) * unit, shift_with(0.5 - level / 2) * unit
    return Estimate(name, statistic * unit, low, high, level, n, "runs")


def smallest_p(pairs: int) -> float:
    """The smallest p-value that a sign-flip test over this many pairs can give: say it before the runs are made.

    >>> smallest_p(5)
    0.0625
    """
    return 2.0 ** (1 - pairs)


def verdicts(p_values: Mapping[str, float] | Sequence[tuple[str, float]], *, level: float = 0.95) -> dict[str, bool]:
    """Which of several named effects remain after Holm's adjustment.

    >>> verdicts({"train": 0.001, "test": 0.04, "noisy": 0.03})
    {'train': True, 'test': False, 'noisy': False}
    """
    named = dict(p_values)
    return dict(zip(named, (holm(list(named.values())) < 1 - level).tolist(), strict=True))
