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
WIDE = 240  # pixels of a sheet up to which small ones are enlarged


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
    """Two rows of pictures, see `words`, (H', W', 3) from 0 to 255; small ones are enlarged.

    Args:
        image: (H, W), (H, W, 3) or (3, H, W), from 0 to 255 or on any other scale.
        labels: true classes (H, W).
        teacher: classes (H, W).
        student: classes (H, W).
    """
    picture = np.full((*teacher.shape, 3), 128.0) if image is None else _rgb(image)
    first = [] if image is None else [picture]
    first += [] if labels is None else [colours_of(labels)]
    rows = [*first, disagreement(picture, teacher, student, labels)], [colours_of(teacher), colours_of(student)]
    height, width = teacher.shape
    columns = max(map(len, rows))
    sheet = np.full((2 * height + GAP, columns * width + (columns - 1) * GAP, 3), 255.0)
    for y, row in enumerate(rows):
        for x, part in enumerate(row):
            top, left = y * (height + GAP), x * (width + GAP)
            sheet[top : top + height, left : left + width] = part
    times = max(1, WIDE // sheet.shape[1])
    return sheet.repeat(times, axis=0).repeat(times, axis=1)


def words(image: bool, labels: bool) -> str:
    """What stands where in `panels`, for a caption.

    Args:
        image: whether the images are known.
        labels: whether the true classes are.

    >>> words(False, True)[:62]
    'Upper row: label, where they disagree; lower row: teacher, stu'
    """
    upper = [*(["image"] if image else []), *(["label"] if labels else []), "where they disagree"]
    colours = "red: the student is wrong and the teacher right; green: the other way round; yellow: both wrong"
    return (
        f"Upper row: {', '.join(upper)}; lower row: teacher, student. Where they disagree: "
        f"{colours if labels else 'yellow'}. Black is class 0, grey has no class."
    )


def _rgb(image: NDArray) -> NDArray:
    image = np.asarray(image, dtype=np.float64)
    if image.ndim == 3 and image.shape[-1] not in (1, 3):
        image = np.moveaxis(image, 0, -1)
    image = image[..., None] if image.ndim == 2 else image
    low, high = image.min(), image.max()
    if low < 0 or high <= 1 or high > 255:
        image = 255 * (image - low) / max(high - low, 1e-12)
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
