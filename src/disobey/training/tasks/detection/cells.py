"""Which cell answers for which box, and from the answers of cells back to boxes.

Shapes: N images of h x w cells, K boxes an image (see `data.boxes`), C classes without "nothing". Cells are numbered
row by row. Sides are distances from a cell's centre to the left, top, right and bottom, in cells.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.data.boxes import present
from disobey.models.detector import STRIDE

NONE = -1  # a cell that answers for no box
CANDIDATES = 100  # cells of an image whose boxes are looked at, the surest
MOST = 20  # boxes of an image that are kept
LEAST = 0.01  # score of a box that is kept
OVERLAP = 0.5  # with a surer box of the same class, above which a box is left out


def grid(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width in cells of a picture of the shape (channels, H, W)."""
    return shape[1] // STRIDE, shape[2] // STRIDE


def centres(height: int, width: int) -> NDArray:
    """The centres of all cells in pixels, (h·w, 2): x, y."""
    y, x = np.divmod(np.arange(height * width), width)
    return (np.stack([x, y], axis=1) + 0.5) * STRIDE


def own_cells(labels: NDArray, height: int, width: int) -> NDArray:
    """The cell that holds the centre of each box, (N, K); 0 in rows that are no boxes.

    >>> own_cells(np.array([[[0, 0, 2, 2, 1], [4, 4, 8, 12, 2]]]), 8, 8)
    array([[ 0, 17]])
    """
    middle = (labels[..., :2] + labels[..., 2:4]) / 2
    x = np.clip(middle[..., 0] // STRIDE, 0, width - 1).astype(np.int64)
    y = np.clip(middle[..., 1] // STRIDE, 0, height - 1).astype(np.int64)
    return np.where(present(labels), y * width + x, 0)


def assigned(labels: NDArray, height: int, width: int) -> NDArray:
    """The box that each cell answers for, (N, h·w): its place in K, or `NONE`.

    A box has the cell of its centre and those whose centres lie in its middle half; of several boxes the smallest has
    a cell.

    Example:
        >>> labels = np.array([[[0, 0, 16, 16, 1], [4, 4, 8, 8, 2]]], np.float32)
        >>> assigned(labels, 4, 4).reshape(4, 4)
        array([[-1, -1, -1, -1],
               [-1,  1,  0, -1],
               [-1,  0,  0, -1],
               [-1, -1, -1, -1]])
    """
    boxes = present(labels)
    sides = labels[..., 2:4] - labels[..., :2]
    area = np.where(boxes, sides.prod(axis=-1), np.inf)
    middle, own = (labels[..., :2] + labels[..., 2:4]) / 2, own_cells(labels, height, width)
    places, result = centres(height, width), np.full((len(labels), height * width), NONE, np.int64)
    rows = np.arange(len(labels))
    for place in np.argsort(-area, axis=1, kind="stable").T:  # the smallest comes last; padding, infinite, first
        near = np.abs(places - middle[rows, place][:, None]) <= sides[rows, place][:, None] / 4
        inside = np.asarray(near.all(axis=-1))
        inside[rows, own[rows, place]] = True
        inside &= boxes[rows, place][:, None]
        result = np.where(inside, place[:, None], result)
    return result


def sides_to(labels: NDArray, cells: NDArray, height: int, width: int) -> NDArray:
    """From each cell's centre to the sides of its box, (N, h·w, 4) float32; 1 where it answers for none."""
    box = np.take_along_axis(labels[..., :4], np.maximum(cells, 0)[..., None], axis=1)
    places = centres(height, width)
    sides = np.concatenate([places - box[..., :2], box[..., 2:] - places], axis=-1) / STRIDE
    return np.where(cells[..., None] == NONE, 1.0, sides).astype(np.float32)


def boxes_at(sides: NDArray, height: int, width: int) -> NDArray:
    """Boxes (N, h·w, 4) in pixels of all cells from their sides, within the cells."""
    places, end = centres(height, width), np.array([width, height]) * STRIDE
    low, high = places - sides[..., :2] * STRIDE, places + sides[..., 2:] * STRIDE
    return np.concatenate([np.clip(low, 0, end), np.clip(high, 0, end)], axis=-1)


def decoded(log_probs: NDArray, boxes: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """What is found in each image: the likeliest object of every cell, without those beside a surer one of its class.

    Args:
        log_probs: (N, h·w, C + 1).
        boxes: (N, h·w, 4).

    Returns:
        Images (F,), boxes (F, 4), classes (F,) and scores (F,), image by image with falling scores; at most 20 an
        image, with scores of 0.01 or more.
    """
    of_all = log_probs[..., 1:].argmax(axis=-1)
    score = np.exp(np.take_along_axis(log_probs[..., 1:], of_all[..., None], axis=-1)[..., 0])
    order = np.argsort(-score, axis=1, kind="stable")[:, :CANDIDATES]
    score, kinds = np.take_along_axis(score, order, axis=1), np.take_along_axis(of_all, order, axis=1) + 1
    places = np.take_along_axis(boxes, order[..., None], axis=1)
    beside = (_overlaps(places) > OVERLAP) & (kinds[:, :, None] == kinds[:, None])
    kept = np.asarray(score >= LEAST)
    for rank in range(kept.shape[1]):
        kept[:, rank + 1 :] &= ~(kept[:, rank, None] & beside[:, rank, rank + 1 :])
    kept &= np.cumsum(kept, axis=1) <= MOST
    images, ranks = np.nonzero(kept)
    return images, places[images, ranks], kinds[images, ranks], score[images, ranks]


def _overlaps(boxes: NDArray) -> NDArray:
    """Intersection over union of all pairs within each image, (N, R, 4) to (N, R, R)."""
    low = np.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = np.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    area = (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1)
    return shared / np.maximum(area[:, :, None] + area[:, None] - shared, 1e-9)
