"""Linear regression over settings: coefficients with intervals that allow unequal spread, and predictions of the rest.

A setting (a data set, a condition) is the unit: what is regressed is one number a setting, a mean over seeds, say. So
seeds within a setting count as one cluster, whatever their number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disobey.errors import refusal
from disobey.measures.inference.policy import current
from disobey.records.estimates import Estimate


@dataclass(frozen=True, eq=False)
class Fit:
    """Coefficients of a regression.

    Attributes:
        names: of the P regressors.
        coefficients: (P,), in the outcome's unit for one standard deviation of each regressor.
        errors: (P,) standard errors.
        freedom: (P,) degrees of freedom of the standard errors.
        settings: how many were regressed.
        explained: share of the outcome's spread (within groups) that the regressors explain.
    """

    names: tuple[str, ...]
    coefficients: NDArray
    errors: NDArray
    freedom: NDArray
    settings: int
    explained: float

    def estimate(self, name: str, words: str = "") -> Estimate:
        """One coefficient with its interval over settings, at the level of `policy.current`."""
        i, how = self.names.index(name), current()
        value, error, freedom = (float(part[i]) for part in (self.coefficients, self.errors, self.freedom))
        half = how.factor(self.settings, freedom) * error if freedom > 0 else math.nan
        title = words or f"{name}, per standard deviation"
        return Estimate(title, value, value - half, value + half, how.level, self.settings, "settings")


def regress(outcome: ArrayLike, regressors: ArrayLike, names: Sequence[str], groups: ArrayLike | None = None) -> Fit:
    """Least squares on standardized regressors, with a mean of its own for every group.

    Standard errors are CR2 for clusters of one setting (equal to HC2), with Bell and McCaffrey's degrees of freedom:
    they hold for unequal spread, and for few settings, of which one may have much leverage.

    Args:
        outcome: (N,), one number a setting.
        regressors: (N, P); each is divided by its standard deviation, within groups where there are any.
        names: of the P regressors.
        groups: (N,) which mean each setting has; one for all where not given.

    Raises:
        Refusal: ``few-settings`` for fewer than three settings more than coefficients; ``constant-regressor``.

    Reference:
        Bell and McCaffrey 2002, Survey Methodology 28; Imbens and Kolesár 2016, Review of Economics and Statistics 98.

    Example:
        >>> x = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])
        >>> print(regress([0.0, 1.1, 1.9, 3.1, 3.9], x, ["x"]).estimate("x"))
        1.55 [1.35, 1.75] (95% over 5 settings)
    """
    y, x = np.asarray(outcome, np.float64), np.asarray(regressors, np.float64)
    codes = np.zeros(len(y), int) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    means = np.eye(codes.max() + 1)[codes]
    if len(y) < x.shape[1] + means.shape[1] + 3:
        expected = f"at least {x.shape[1] + means.shape[1] + 3} settings for so many coefficients"
        raise refusal("few-settings", expected, len(y), "fewer properties")
    within = x - means @ np.linalg.lstsq(means, x, rcond=None)[0]
    scale = np.sqrt((within**2).sum(axis=0) / (len(y) - means.shape[1]))
    flat = [name for name, s in zip(names, scale, strict=True) if not s > 1e-12]
    if flat:
        raise refusal("constant-regressor", "regressors that vary within groups", f"constant: {', '.join(flat)}")
    design = np.concatenate([within / scale, means], axis=1)
    inverse = np.linalg.pinv(design.T @ design)
    solution = inverse @ design.T @ y
    hat = design @ inverse @ design.T
    left, free = y - design @ solution, np.maximum(1 - np.diagonal(hat), 1e-9)
    rows = (inverse @ design.T)[: x.shape[1]]  # (P, N)
    errors = np.sqrt((rows**2 * left**2 / free).sum(axis=1))
    spread = y - means @ np.linalg.lstsq(means, y, rcond=None)[0]
    total = float((spread**2).sum())
    return Fit(
        tuple(names),
        solution[: x.shape[1]],
        errors,
        np.array([_freedom(row, hat, free) for row in rows]),
        len(y),
        1 - float((left**2).sum()) / total if total > 0 else 0.0,
    )


def _freedom(row: NDArray, hat: NDArray, free: NDArray) -> float:
    """Satterthwaite degrees of freedom of a squared standard error where the spread is equal."""
    weights = row / np.sqrt(free)
    moments = weights[:, None] * (np.eye(len(hat)) - hat) * weights
    return float(np.trace(moments) ** 2 / (moments**2).sum())


def ridge_predictions(outcome: ArrayLike, regressors: ArrayLike, new: ArrayLike, *, penalty: float) -> NDArray:
    """Predictions of new settings by ridge regression on regressors standardized over the known settings.

    Args:
        outcome: (N,) of the known settings.
        regressors: (N, P) of the known settings.
        new: (M, P) of the others.
        penalty: in settings: so many that say "no effect" beside the N known ones.

    Returns:
        (M,) in the outcome's unit.

    >>> ridge_predictions([0.0, 1.0, 2.0], [[0.0], [1.0], [2.0]], [[3.0]], penalty=0.0).round(6)
    array([3.])
    """
    y, x = np.asarray(outcome, np.float64), np.asarray(regressors, np.float64)
    center, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 1e-12, scale, np.inf)
    z = (x - center) / scale
    weights = np.linalg.pinv(z.T @ z + penalty * np.eye(x.shape[1])) @ z.T @ (y - y.mean())
    return y.mean() + (np.asarray(new, np.float64) - center) / scale @ weights
