"""Which pixels of dense predictions are written down, and which of them lie at a boundary between classes.

Shapes: N images of H x W pixels. A negative class is void: nobody labelled that pixel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PER_IMAGE = 256  # pixels of an image that records and diagnoses keep: its pixels know little that fewer do not


def boundary(masks: NDArray) -> NDArray:
    """Where one of a pixel's four neighbours has another class, (N, H, W) bool; void neighbours do not count.

    >>> boundary(np.array([[[0, 0, 0, 1]]]))[0, 0]
    array([False, False,  True,  True])
    """
    found = np.zeros(masks.shape, bool)
    for axis in (1, 2):
        first, second = [slice(None)] * 3, [slice(None)] * 3
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        a, b = masks[tuple(first)], masks[tuple(second)]
        differ = (a != b) & (a >= 0) & (b >= 0)
        found[tuple(first)] |= differ
        found[tuple(second)] |= differ
    return found


def chosen(valid: NDArray, ids: NDArray, count: int = PER_IMAGE) -> NDArray:
    """Places (M,), in N·H·W, of at most ``count`` valid pixels of each image: a function of the image's id alone.

    Args:
        valid: (N, H, W) bool, pixels that have a class.
        ids: (N,) whole numbers.
        count: pixels an image.

    Example:
        >>> places = chosen(np.ones((2, 4, 4), bool), np.array([5, 9]), 3)
        >>> (places // 16).tolist()
        [0, 0, 0, 1, 1, 1]
    """
    flat = valid.reshape(len(valid), -1)
    size = flat.shape[1]
    found = []
    for row, (own, id) in enumerate(zip(flat, ids, strict=True)):
        places = np.flatnonzero(own)
        if len(places) > count:
            order = np.random.default_rng([int(id), size]).permutation(size)  # void pixels move no other's draw
            places = np.sort(order[own[order]][:count])
        found.append(row * size + places)
    return np.concatenate(found) if found else np.empty(0, np.int64)
