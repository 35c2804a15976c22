"""Classification with planted properties: class similarity, overlap, dimension, and the spectrum of the noise.

The model of similar classes (`theory.class_similarity`) with two changes: its class directions lie in a random
orthonormal frame, and its noise may have a power-law spectrum along other random directions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import Dataset
from disobey.data.subsets import base_splits, stream
from disobey.errors import refusal


def planted(
    *,
    examples: int = 5000,
    classes: int = 10,
    features: int = 32,
    similarity: float = 0.5,
    sigma: float = 0.3,
    slope: float = 0.0,
    seed: int = 0,
) -> Dataset:
    """Similar classes: x = e_y + similarity * e_s + noise, where s is another class, drawn anew for every example.

    Half of the examples are for training, a tenth for validation, the rest for test. Wrong labels and smaller training
    sets are asked for like those of all data, by `DataSpec`.

    Args:
        examples: N, all splits together.
        classes: C, at least 3.
        features: D, at least C.
        similarity: weight of the secondary class, from 0 to below 1, the weight of the own class.
        sigma: root mean square of the noise over directions; above 0.
        slope: of the noise's spectrum: variance in proportion to k^-slope in direction k.
        seed: of the data.

    Returns:
        The data set.

    Raises:
        Refusal: ``planted-range``.

    Example:
        >>> data = planted(examples=100, classes=4, features=8)
        >>> data.train.inputs.shape, len(data.validation), len(data.test)
        ((50, 8), 10, 40)
    """
    if not (classes >= 3 and features >= classes and 0 <= similarity < 1 and sigma > 0 and slope >= 0):
        expected = "classes >= 3, features >= classes, 0 <= similarity < 1, sigma > 0 and slope >= 0"
        got = f"{classes}, {features}, {similarity:g}, {sigma:g} and {slope:g}"
        raise refusal("planted-range", expected, got)
    rng = stream(seed, "synthetic planted")
    directions = class_frame(features, seed)[:, :classes].T  # (C, D)
    y = rng.permutation(np.arange(examples) % classes)
    s = (y + rng.integers(1, classes, examples)) % classes
    variances = np.arange(1, features + 1) ** -float(slope)
    scales = sigma * np.sqrt(variances / variances.mean())
    noise = (rng.normal(size=(examples, features)) * scales) @ orthonormal(rng, features).T
    x = directions[y] + similarity * directions[s] + noise
    splits = base_splits(x.astype(np.float32), y, validation=examples // 10, test=2 * examples // 5)
    names = tuple(map(str, range(classes)))
    return Dataset("synthetic:planted", "features", names, *splits, source="made from a seed")


def class_frame(features: int, seed: int) -> NDArray:
    """The rotation (D, D) of `planted`: column k is the direction of class k, as far as there are classes."""
    return orthonormal(stream(seed, "synthetic planted frame"), features)


def orthonormal(generator: np.random.Generator, size: int) -> NDArray:
    """A random rotation (size, size), uniformly distributed: the signs of QR are made unique first."""
    q, r = np.linalg.qr(generator.normal(size=(size, size)))
    return q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
