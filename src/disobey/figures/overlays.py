"""Pictures of dense predictions: what teacher and student make of every pixel, and where they differ.

Shapes: an image of H x W pixels. Classes are colours; class 0, the ground, is black.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

COLOURS = np.array(
    [
        [0, 0, 0],
        [0, 114, 178],
        [230, 159, 0],
        [0, 158, 115],
        [204, 121, 167],
        [86, 180, 233],
        [213, 94, 0],
        [240, 228, 66],
    ],
    dtype=np.float64,
)
VOID = np.array([128.0, 128.0, 128.0])
BOTH, STUDENT, OTHER = np.array([230.0, 0.0, 0.0]), np.array([0.0, 190.0, 0.0]), np.array([255.0, 220.0, 0.0])
GAP = 2  # white pixels between panels
PANELS = "image; label; teacher; student; where they disagree"


def colours_of(classes: NDArray) -> NDArray:
    """Colours (H, W, 3) of a map of classes; a negative class is void, and grey.

    >>> colours_of(np.array([[0, -1]])).astype(int).tolist()
    [[[0, 0, 0], [128, 128, 128]]]
    """
    chosen = COLOURS[np.where(classes > 0, 1 + (classes - 1) % (len(COLOURS) - 1), 0)]
    return np.where((classes < 0)[..., None], VOID, chosen)


def disagreement(image: NDArray, teacher: NDArray, student: NDArray, labels: NDArray | None = None) -> NDArray:
    """The grey image with the pixels of other classes on it, (H, W, 3) from 0 to 255.

    Red: the teacher is right and the student is not; green: the student is right and the teacher is not; yellow: they
    differ and neither is right, or nobody knows.

    Args:
        image: (H, W, 3), from 0 to 255.
        teacher: classes (H, W).
        student: classes (H, W).
        labels: true classes (H, W).
    """
    shown = np.repeat(image.mean(axis=-1, keepdims=True), 3, axis=-1) * 0.6 + 60
    differ = teacher != student
    shown[differ] = OTHER
    if labels is not None:
        shown[differ & (teacher == labels)] = BOTH
        shown[differ & (student == labels)] = STUDENT
    return shown


def panels(image: NDArray | None, labels: NDArray | None, teacher: NDArray, student: NDArray) -> NDArray:
    """Side by side what there is of `PANELS`, (H, W', 3) from 0 to 255, each pixel enlarged where images are small.

    Args:
        image: (H, W), (H, W, 3) or (3, H, W), from 0 to 255 or on any other scale.
        labels: true classes (H, W).
        teacher: classes (H, W).
        student: classes (H, W).
    """
    picture = np.full((*teacher.shape, 3), 128.0) if image is None else _rgb(image)
    parts = [] if image is None else [picture]
    parts += [] if labels is None else [colours_of(labels)]
    parts += [colours_of(teacher), colours_of(student), disagreement(picture, teacher, student, labels)]
    white = np.full((teacher.shape[0], GAP, 3), 255.0)
    joined = np.concatenate([piece for part in parts for piece in (part, white)][:-1], axis=1)
    return joined


def _rgb(image: NDArray) -> NDArray:
    image = np.asarray(image, dtype=np.float64)
    if image.ndim == 3 and image.shape[-1] not in (1, 3):
        image = np.moveaxis(image, 0, -1)
    image = image[..., None] if image.ndim == 2 else image
    low, high = image.min(), image.max()
    if low < 0 or high <= 1 or high > 255:
        image = 255 * (image - low) / max(high - low, 1e-12)
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
