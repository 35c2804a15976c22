"""Regression problems for the closed forms of `linear_risk`: spectra, signals and random cases.

Shapes: D directions last.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disobey.errors import refusal


@dataclass(frozen=True)
class RiskCase:
    """One regression problem.

    Attributes:
        spectrum: eigenvalues (D,).
        signal: true coefficients (D,).
        noise_variance: of the labels.
        examples: N.
    """

    spectrum: NDArray
    signal: NDArray
    noise_variance: float
    examples: int


def power_law_spectrum(dimensions: int, exponent: float) -> NDArray:
    """Eigenvalues ``k ** -exponent`` for k = 1..dimensions.

    >>> power_law_spectrum(4, 1.0).round(3)
    array([1.   , 0.5  , 0.333, 0.25 ])
    """
    return np.arange(1, dimensions + 1, dtype=float) ** -exponent


def aligned_signal(spectrum: ArrayLike, alignment: float, *, variance: float = 1.0) -> NDArray:
    """True coefficients whose share of the label variance is proportional to ``lambda_k ** alignment``.

    Args:
        spectrum: eigenvalues (D,), all above 0.
        alignment: 1 puts equal coefficients on all directions (most variance at the top), 0 equal variance, below 0
            most variance at the bottom.
        variance: the total ``sum lambda_k beta_k^2``.

    Returns:
        Coefficients (D,), all positive.

    Raises:
        Refusal: ``zero-eigenvalue``.

    Example:
        >>> aligned_signal([1.0, 0.25], 0.0, variance=2.0)
        array([1., 2.])
    """
    spectrum = np.asarray(spectrum, float)
    if not np.all(spectrum > 0):
        raise refusal("zero-eigenvalue", "eigenvalues > 0, since data must carry the label variance", spectrum.min())
    share = spectrum**alignment
    return np.sqrt(variance * share / share.sum() / spectrum)


def top_signal(dimensions: int, count: int) -> NDArray:
    """Coefficient 1 on the first ``count`` directions and 0 on the others: (dimensions,).

    >>> top_signal(4, 2)
    array([1., 1., 0., 0.])
    """
    return (np.arange(dimensions) < count).astype(float)


def random_case(generator: np.random.Generator, *, dimensions: int = 50) -> RiskCase:
    """A random regression problem with a power-law spectrum and a signal variance of 1.

    The exponent is uniform in [0.5, 2.5] and the alignment in [-1, 2]; N is log-uniform in [D, 10 D] and the noise
    variance in [0.01, 1].

    Args:
        generator: of the random numbers.
        dimensions: D.

    Returns:
        The problem.

    Example:
        >>> random_case(np.random.default_rng(0)).examples
        51
    """
    spectrum = power_law_spectrum(dimensions, generator.uniform(0.5, 2.5))
    signal = aligned_signal(spectrum, generator.uniform(-1.0, 2.0))
    noise = float(np.exp(generator.uniform(np.log(0.01), 0.0)))
    examples = int(dimensions * np.exp(generator.uniform(0.0, np.log(10.0))))
    return RiskCase(spectrum, signal, noise, examples)
