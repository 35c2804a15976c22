"""Pictures of found boxes: the true ones and a model's on the grey image, teacher beside student.

Shapes: an image of H x W pixels; M boxes of left, top, right, bottom.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.figures.overlays import GAP

TRUE, TEACHER, STUDENT = np.array([255.0] * 3), np.array([230.0, 159.0, 0.0]), np.array([86.0, 180.0, 233.0])
WIDE = 200  # pixels of a picture's longer side up to which small ones are enlarged
LONGEST = 200  # and beyond which large ones are thinned


def beside(image: NDArray | None, size: tuple[int, int], truth: NDArray, teacher: NDArray, student: NDArray) -> NDArray:
    """Two pictures with true boxes in white: the teacher's in orange, the student's in blue; (H', W', 3).

    Args:
        image: (H, W), (H, W, 3) or (3, H, W), from 0 to 255 or on any other scale; none for an empty canvas.
        size: H and W.
        truth: (K, 4) true boxes.
        teacher: (M, 4) boxes.
        student: (M, 4) boxes.

    >>> beside(None, (40, 80), np.empty((0, 4)), np.empty((0, 4)), np.empty((0, 4))).shape
    (80, 322, 3)
    """
    height, width = size
    scale = max(1, WIDE // max(size)) if max(size) <= LONGEST else LONGEST / max(size)
    shape = max(1, round(height * scale)), max(1, round(width * scale))
    canvas = np.full((*shape, 3), 60.0) if image is None else _resized(_grey(image), shape)
    halves = [
        _outlined(canvas, scale, truth, found, colour) for found, colour in ((teacher, TEACHER), (student, STUDENT))
    ]
    return np.concatenate([halves[0], np.full((shape[0], GAP, 3), 255.0), halves[1]], axis=1)


def _grey(image: NDArray) -> NDArray:
    """(H, W) from 0 to 160, so that colours stand out."""
    image = np.asarray(image, dtype=np.float64)
    if image.ndim == 3:
        image = image.mean(axis=-1 if image.shape[-1] in (1, 3) else 0)
    low, high = image.min(), image.max()
    return 160 * (image - min(low, 0)) / max(high - min(low, 0), 1e-12)


def _resized(image: NDArray, shape: tuple[int, int]) -> NDArray:
    rows, columns = (np.arange(new) * old // new for new, old in zip(shape, image.shape, strict=True))
    return np.repeat(image[rows][:, columns][..., None], 3, axis=-1)


def _outlined(canvas: NDArray, scale: float, truth: NDArray, found: NDArray, colour: NDArray) -> NDArray:
    """True boxes two pixels wide, the model's one pixel wide and a pixel further inside."""
    drawn = canvas.copy()
    for boxes, inside, wide, shade in ((truth, 0, 2, TRUE), (found, 2, 2, colour)):
        corners = np.clip(np.round(boxes * scale), -1e6, 1e6).astype(np.int64)
        for left, top, right, bottom in corners:
            for step in range(inside, inside + wide):
                _rectangle(drawn, left + step, top + step, right - 1 - step, bottom - 1 - step, shade)
    return drawn


def _rectangle(drawn: NDArray, left: int, top: int, right: int, bottom: int, shade: NDArray) -> None:
    """An outline, one pixel wide, of what lies within the picture."""
    height, width = drawn.shape[:2]
    if right < left or bottom < top:
        return
    rows, columns = slice(max(top, 0), max(bottom + 1, 0)), slice(max(left, 0), max(right + 1, 0))
    for row in (top, bottom):
        if 0 <= row < height:
            drawn[row, columns] = shade
    for column in (left, right):
        if 0 <= column < width:
            drawn[rows, column] = shade
