"""Rendered colour shapes: small images on which a probe of raw pixels leaves room, without a download.

What they are good for, and what not. A class is a shape; place, size and both colours are random (the shape is the
lighter one), the angle within limits, and every pixel has noise, so that neither colours nor single pixels say much.
Labels are exact: a good network comes near 1. But there are no textures and no natural statistics here, and a
convolution is made for such data: findings about natural images must be made on natural images (a path, or the hub).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import Dataset
from disobey.data.subsets import base_splits, stream
from disobey.errors import refusal

SIDE = 16


def _box(u: NDArray, v: NDArray, a: float, b: float) -> NDArray:
    return np.maximum(np.abs(u) - a, np.abs(v) - b)


# Below 0 inside of the shape, in units of its size; u and v are turned coordinates around its centre.
SHAPES: dict[str, Callable[[NDArray, NDArray], NDArray]] = {
    "disc": lambda u, v: np.hypot(u, v) - 0.9,
    "square": lambda u, v: _box(u, v, 0.78, 0.78),
    "triangle": lambda u, v: np.maximum(np.abs(u) * 0.87 + v * 0.5, -v) - 0.55,
    "ring": lambda u, v: np.abs(np.hypot(u, v) - 0.72) - 0.24,
    "frame": lambda u, v: np.abs(_box(u, v, 0.65, 0.65)) - 0.22,
    "cross": lambda u, v: np.minimum(_box(u, v, 0.95, 0.3), _box(u, v, 0.3, 0.95)),
    "bar": lambda u, v: _box(u, v, 1.0, 0.32),
    "half disc": lambda u, v: np.maximum(np.hypot(u, v) - 1.0, v - 0.1),
}


def colour_shapes(*, examples: int = 5000, noise: float = 0.08, seed: int = 0) -> Dataset:
    """16x16 colour pictures of 8 shapes: 3,500 training, 500 validation, 1,000 test (rendered, nothing to download).

    Args:
        examples: of all splits.
        noise: standard deviation of the pixels' noise, where colours count from 0 to 1.
        seed: of the data.

    Returns:
        The data set.

    Raises:
        Refusal: ``shapes-size``.

    Example:
        >>> data = colour_shapes(examples=200)
        >>> data.train.inputs.shape, len(data.classes)
        ((140, 16, 16, 3), 8)
    """
    if examples < 10 * len(SHAPES) or not 0 <= noise <= 1:
        raise refusal("shapes-size", f"{10 * len(SHAPES)} examples or more and noise in [0, 1]", (examples, noise))
    rng = stream(seed, "colour shapes")
    labels = rng.permutation(np.arange(examples) % len(SHAPES))
    size, angle = rng.uniform(4.0, 6.5, examples), rng.uniform(-0.3, 0.3, examples)
    centre = rng.uniform(-1, 1, (examples, 2)) * (SIDE / 2 + 0.5 - size)[:, None]
    colours = rng.random((examples, 2, 3)) * 0.5
    colours[:, 0] += 0.45
    axis = np.arange(SIDE) - (SIDE - 1) / 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    dx, dy = (x - centre[:, :1, None]) / size[:, None, None], (y - centre[:, 1:, None]) / size[:, None, None]
    turn = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    u, v = turn[0] * dx + turn[1] * dy, turn[0] * dy - turn[1] * dx
    inside = np.empty((examples, SIDE, SIDE))
    for place, shape in enumerate(SHAPES.values()):
        rows = labels == place
        inside[rows] = np.clip(0.5 - shape(u[rows], v[rows]) * size[rows, None, None], 0, 1)  # one pixel of edge
    shade = inside[..., None]
    pictures = shade * colours[:, 0, None, None] + (1 - shade) * colours[:, 1, None, None]
    pictures += noise * rng.normal(size=pictures.shape)
    images = (np.clip(pictures, 0, 1) * 255).round().astype(np.uint8)
    splits = base_splits(images, labels, validation=examples // 10, test=examples // 5)
    return Dataset("colour-shapes", "image", tuple(SHAPES), *splits, source="rendered from a seed")
