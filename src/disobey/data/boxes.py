"""Boxes of images as one array: a row a box, padded, so that a data set of boxes has labels like any other.

Shapes: N images, K the most boxes of one of them, M boxes of all. A row is left, top, right, bottom (pixels; the last
two lie outside) and the class, from 1; all five are `VOID` where an image has fewer boxes. Class 0 is "nothing".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import VOID

NOTHING = "nothing"  # the class of what is no box


def packed(boxes: NDArray, classes: NDArray, images: NDArray, count: int, most: int = 0) -> NDArray:
    """Boxes in lists as one array.

    Args:
        boxes: (M, 4).
        classes: (M,) from 1.
        images: (M,) the row of each one's image.
        count: N.
        most: K where it must be larger than the boxes need; at least 1.

    Returns:
        (N, K, 5) float32; the boxes of an image are in the order in which they came.

    Example:
        >>> packed(np.array([[0, 0, 2, 2]]), np.array([3]), np.array([1]), 2).tolist()
        [[[-1.0, -1.0, -1.0, -1.0, -1.0]], [[0.0, 0.0, 2.0, 2.0, 3.0]]]
    """
    order = np.argsort(images, kind="stable")
    own = np.asarray(images)[order]
    place = np.arange(len(own)) - np.searchsorted(own, own)
    result = np.full((count, max(most, int(place.max(initial=0)) + 1), 5), VOID, np.float32)
    result[own, place, :4] = np.asarray(boxes).reshape(-1, 4)[order]
    result[own, place, 4] = np.asarray(classes)[order]
    return result


def present(labels: NDArray) -> NDArray:
    """Which rows of (N, K, 5) are boxes and no padding, (N, K) bool."""
    return labels[..., 4] > 0


def padded(labels: NDArray, most: int) -> NDArray:
    """(N, K, 5) with rows of padding up to ``most`` an image."""
    return np.pad(labels, ((0, 0), (0, most - labels.shape[1]), (0, 0)), constant_values=VOID)
