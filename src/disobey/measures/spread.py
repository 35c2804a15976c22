"""How features spread: effective rank, dead units, and features with another set's spectrum.

Shapes: N examples, D features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.errors import refusal


def effective_rank(features: NDArray) -> float:
    """Exponential of the entropy of the variances along principal directions: how many directions are in use.

    Roy and Vetterli (2007) take singular values; here it is their squares, so that the number counts variance.

    Args:
        features: (N, D).

    Returns:
        From 1 to min(N, D); 0 for features that do not vary.

    Raises:
        Refusal: ``feature-matrix``.

    Example:
        >>> round(effective_rank(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])), 3)
        2.0
    """
    values = np.linalg.svd(_centred(features), compute_uv=False) ** 2
    total = values.sum()
    if total <= 0:
        return 0.0
    shares = values[values > 1e-15 * total] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def dead_share(features: NDArray) -> float:
    """Share of the features that never vary over the examples: units that are always off, say.

    >>> dead_share(np.array([[0.0, 1.0], [0.0, 2.0]]))
    0.5
    """
    return float((np.ptp(_checked(features), axis=0) == 0).mean())


def with_spectrum(features: NDArray, like: NDArray) -> NDArray:
    """Features mapped linearly so that their covariance has the eigenvalues of another set's.

    Principal directions stay, in their order; only the variances along them change. So what a probe gains on the
    result over the features themselves is due to scale and conditioning, and not to any new direction.

    Args:
        features: (N, D), centred on the way.
        like: (M, D), whose spectrum is taken over.

    Returns:
        (N, D). Directions along which the features do not vary stay empty.

    Example:
        >>> x = np.array([[1.0, 0], [-1, 0], [0, 2], [0, -2]])
        >>> np.linalg.eigvalsh(np.cov(with_spectrum(x, x[:, ::-1] * 3).T)).round(6).tolist()
        [6.0, 24.0]
    """
    maps = spectrum_map(features, like)
    return _centred(features) @ maps


def spectrum_map(features: NDArray, like: NDArray) -> NDArray:
    """The matrix (D, D) behind `with_spectrum`, for mapping held-out examples (centred by the training mean) too."""
    if features.shape[1] != like.shape[1]:
        raise refusal("feature-matrix", "as many features on both sides", f"{features.shape[1]} and {like.shape[1]}")
    own, directions = np.linalg.eigh(np.cov(_checked(features).T).reshape(features.shape[1], -1))
    wanted = np.linalg.eigvalsh(np.cov(_checked(like).T).reshape(like.shape[1], -1))
    alive = own > 1e-12 * own[-1]
    factor = np.where(alive, np.sqrt(np.maximum(wanted, 0) / np.where(alive, own, 1.0)), 0.0)
    return (directions * factor) @ directions.T


def _checked(features: NDArray) -> NDArray:
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise refusal("feature-matrix", "features (N, D) of at least two examples", f"shape {features.shape}")
    return features


def _centred(features: NDArray) -> NDArray:
    features = _checked(features)
    return features - features.mean(axis=0)
