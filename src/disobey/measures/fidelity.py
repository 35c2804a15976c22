"""How the gap between fidelity on training and on test examples closes with n: c·n^−b, with or without an offset.

Fitted to the mean over seeds, where single cells that are 0 or below do no harm: no logarithm of a gap is ever taken.
Each seed's contribution to a parameter, to first order, is one number; intervals are t intervals of those.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, minimize_scalar

from disobey.errors import refusal
from disobey.measures.inference.crossings import table_on_log_size
from disobey.measures.inference.policy import current
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Estimate

STEEPEST = 5.0  # exponents beyond ±this are not searched


@dataclass(frozen=True)
class FidelityLaw:
    """A power law, and one with an offset, fitted to the same gaps.

    Attributes:
        sizes: (K,) n.
        exponent: b of c·n^−b.
        constant: c of c·n^−b.
        offset: d of c·n^−b + d; NaN where the search ended at a border (an offset and a flatter law look alike).
        exponent_with_offset: b of that.
        constant_with_offset: c of that.
        aicc: corrected Akaike criterion of the two, on the mean curve with errors in proportion to the gap; the smaller
            one fits better, its parameters paid for.
        preferred: see `fidelity_law`.
        r2: share of the variance of the log mean gap over sizes that the law without offset explains; NaN where a mean
            gap is not above 0.
        not_positive: how many cells are 0 or below; they take part with the value they have.
    """

    sizes: NDArray
    exponent: Estimate
    constant: Estimate
    offset: Estimate
    exponent_with_offset: Estimate
    constant_with_offset: Estimate
    aicc: tuple[float, float]
    preferred: Literal["power law", "offset", "none"]
    r2: float
    not_positive: int

    def at(self, n: ArrayLike) -> NDArray:
        """The preferred law's gap at n examples."""
        n = np.asarray(n, dtype=np.float64)
        if self.preferred == "offset":
            return self.constant_with_offset.value * n**-self.exponent_with_offset.value + self.offset.value
        return self.constant.value * n**-self.exponent.value

    @property
    def best_exponent(self) -> Estimate:
        """The exponent of the preferred law."""
        return self.exponent_with_offset if self.preferred == "offset" else self.exponent


def fidelity_law(sizes: ArrayLike, gaps: ArrayLike, *, level: float | None = None) -> FidelityLaw:
    """Fits gaps as c·n^−b and as c·n^−b + d.

    Every size weighs the same *relative* error (quasi-likelihood with the spread in proportion to the mean): the mean
    of g / (c·n^−b) is 1 and does not correlate with log n. The offset model keeps these weights. It is preferred where
    the interval of d over runs excludes 0; "none" where no law could be fitted.

    Args:
        sizes: (K,) ascending n, three or more.
        gaps: (S, K), one row a seed.
        level: of the intervals; that of `inference.policy.current` where not given.

    Raises:
        Refusal: ``few-sizes``, ``table-shape``, ``sizes-not-rising`` or ``not-finite``.

    >>> n = np.array([20, 60, 200, 600, 2000])
    >>> law = fidelity_law(n, [[0.2, 0.12, 0.08, 0.04, 0.02], [0.26, 0.13, 0.07, 0.04, 0.025]])
    >>> print(law.exponent, law.preferred, sep="; ")
    0.503 [0.417, 0.588] (95% over 2 runs); power law
    """
    x, table = table_on_log_size(sizes, gaps)
    if len(x) < 3:
        raise refusal("few-sizes", "at least three sizes to tell a power law from another", len(x))
    seeds, mean = len(table), table.mean(axis=0)
    none = Estimate("", np.nan, np.nan, np.nan, current(level).level, seeds, "runs")
    exponent, constant = replace(none, name="exponent b"), replace(none, name="constant c")
    offset, other_exponent = replace(none, name="offset d"), replace(none, name="exponent b beside an offset")
    other_constant = replace(none, name="constant c beside an offset")
    aicc, r2, preferred = (np.nan, np.nan), np.nan, "none"
    found = _power_law(x, mean)
    if found is not None:
        c, b = found
        fitted = c * np.exp(-b * x)
        spread = x - x.mean()
        relative = table / fitted
        # The estimating equation Σ (g/μ)(x − x̄) = 0 and its slope in b.
        exponents = b - (relative @ spread) / (mean / fitted @ (spread * x))
        log_constants = np.log(c) + (relative - 1).mean(axis=1) + (exponents - b) * x.mean()
        exponent = mean_over_runs(exponents, exponent.name, level=level)
        logs = mean_over_runs(log_constants, constant.name, level=level)
        constant = replace(
            logs, value=float(np.exp(logs.value)), low=float(np.exp(logs.low)), high=float(np.exp(logs.high))
        )
        preferred = "power law"
        if (mean > 0).all():
            r2 = 1 - float(np.var(np.log(mean / fitted)) / np.var(np.log(mean)))
        plain, bent = _offset_law(x, table, 1 / fitted, b)
        aicc = (_aicc(plain, len(x), 3), _aicc(bent.error, len(x), 4))
        if bent.parameters is not None:
            other_constant, other_exponent, offset = (
                mean_over_runs(values, estimate.name, level=level)
                for values, estimate in zip(bent.parameters.T, (other_constant, other_exponent, offset), strict=True)
            )
            if offset.known and offset.low * offset.high > 0:
                preferred = "offset"
    count = int((table <= 0).sum())
    return FidelityLaw(
        np.exp(x), exponent, constant, offset, other_exponent, other_constant, aicc, preferred, r2, count
    )


def _power_law(x: NDArray, mean: NDArray) -> tuple[float, float] | None:
    """(c, b): the gaps times n^b have no slope on log n; None where no exponent in reach does that."""

    def tilt(b: float) -> float:
        return float((mean * np.exp(b * (x - x.mean()))) @ (x - x.mean()))

    steps = np.linspace(-STEEPEST, STEEPEST, 201)
    tilts = np.array([tilt(b) for b in steps])
    turns = np.flatnonzero((tilts[:-1] <= 0) & (tilts[1:] > 0))
    if len(turns) == 0:
        return None
    b = float(brentq(tilt, steps[turns[0]], steps[turns[0] + 1]))  # type: ignore
    c = float((mean * np.exp(b * x)).mean())
    return (c, b) if c > 0 else None


@dataclass(frozen=True)
class _Bent:
    """error: weighted sum of squares of the mean curve. parameters: (S, 3) of c, b, d; None at a border."""

    error: float
    parameters: NDArray | None


def _offset_law(x: NDArray, table: NDArray, weights: NDArray, start: float) -> tuple[float, _Bent]:
    """Weighted least squares of the mean curve: the error without an offset, and all of the fit with one."""
    mean = table.mean(axis=0) * weights

    def solve(b: float, offset: bool) -> tuple[float, NDArray]:
        columns = np.stack([np.exp(-b * x), np.ones(len(x))][: 2 if offset else 1], axis=1) * weights[:, None]
        found = np.linalg.lstsq(columns, mean, rcond=None)[0]
        return float(np.sum((mean - columns @ found) ** 2)), found

    def search(offset: bool, low: float, high: float) -> float:
        steps = np.linspace(low, high, 101)
        best = steps[int(np.argmin([solve(b, offset)[0] for b in steps]))]
        step = steps[1] - steps[0]
        bounds = (max(low, best - step), min(high, best + step))
        return float(minimize_scalar(lambda b: solve(b, offset)[0], bounds=bounds, method="bounded").x)  # type: ignore

    plain = solve(search(False, start - 1, start + 1), False)[0]
    low, high = 0.02, STEEPEST
    b = search(True, low, high)
    error, (c, d) = solve(b, True)
    if len(x) < 4 or not low + 0.01 < b < high - 0.01 or c <= 0:
        return plain, _Bent(error, None)
    power = np.exp(-b * x)
    slopes = np.stack([power, -c * x * power, np.ones(len(x))], axis=1) * weights[:, None]
    shifts = (table - c * power - d) * weights @ np.linalg.pinv(slopes).T
    return plain, _Bent(error, np.array([c, b, d]) + shifts)


def _aicc(error: float, points: int, parameters: int) -> float:
    """Corrected Akaike criterion of least squares; parameters with the error's own variance. NaN for too few points."""
    spare = points - parameters - 1
    if spare <= 0:
        return np.nan
    penalty = 2 * parameters + 2 * parameters * (parameters + 1) / spare
    return points * float(np.log(max(error, 1e-300) / points)) + penalty
