"""Boxes of many images, and which of them overlap.

A box is left, top, right, bottom in pixels. Shapes: K true boxes, M found ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PAIRS = 1 << 22  # pairs of boxes that are compared at once


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of many images, in any order.

    Attributes:
        boxes: (M, 4) left, top, right, bottom.
        classes: (M,) 1 to C.
        images: (M,) the row of each one's image.
        scores: (M,), of found boxes.
        crowd: (M,) bool, where a true box holds many objects: found boxes in it count neither for nor against.
    """

    boxes: NDArray
    classes: NDArray
    images: NDArray
    scores: NDArray | None = None
    crowd: NDArray | None = None

    def __len__(self) -> int:
        return len(self.classes)

    def take(self, rows: NDArray) -> Boxes:
        """Some of them."""
        scores, crowd = (None if part is None else part[rows] for part in (self.scores, self.crowd))
        return Boxes(self.boxes[rows], self.classes[rows], self.images[rows], scores, crowd)

    @property
    def counted(self) -> NDArray:
        """(M,) whether a box is one object and no crowd."""
        return np.ones(len(self), bool) if self.crowd is None else ~self.crowd.astype(bool)


def overlaps(a: NDArray, b: NDArray, crowd: NDArray) -> NDArray:
    """Intersection over union of boxes (..., 4) one by one; over the first's own area where the other is a crowd."""
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.where((sides > 0).all(axis=-1), sides[..., 0] * sides[..., 1], 0.0)
    own, other = ((box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1]) for box in (a, b))
    whole = np.where(crowd, own, own + other - shared)
    return np.divide(shared, whole, out=np.zeros(np.broadcast(shared, whole).shape), where=whole > 0)


def pairs_of(
    a: NDArray, a_keys: NDArray, b: NDArray, b_keys: NDArray, crowd: NDArray, least: float
) -> tuple[NDArray, NDArray, NDArray]:
    """Boxes of equal keys whose overlap is ``least`` or more: rows of ``a`` ascending, of ``b``, and the overlap.

    ``b_keys`` are sorted. As many pairs are held as overlap, not as there are.
    """
    low, high = (np.searchsorted(b_keys, a_keys, side=side) for side in ("left", "right"))
    ends = np.cumsum(high - low)
    parts, start = [], 0
    while start < len(a):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + PAIRS, side="right")))
        counts = high[start:stop] - low[start:stop]
        rows = np.repeat(np.arange(start, stop), counts)
        columns = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts) + low[rows]
        overlap = overlaps(a[rows].astype(np.float64), b[columns].astype(np.float64), crowd[columns])
        near = overlap >= least
        parts.append((rows[near], columns[near], overlap[near]))
        start = stop
    empty = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    rows, columns, overlap = (np.concatenate(part) for part in zip(empty, *parts, strict=True))
    return rows, columns, overlap


def near(truth: Boxes, found: Boxes, iou: float = 0.5) -> tuple[NDArray, NDArray, NDArray]:
    """Pairs of one image that overlap by ``iou`` or more, whatever their classes: rows of each, and the overlap."""
    order = np.argsort(found.images, kind="stable")
    crowd = np.zeros(len(found), bool)
    own, other, overlap = pairs_of(truth.boxes, truth.images, found.boxes[order], found.images[order], crowd, iou)
    return own, order[other], overlap


def crowded(truth: Boxes, iou: float = 0.1) -> NDArray:
    """(K,) whether a true box overlaps another one of its image by ``iou`` or more.

    >>> crowded(Boxes(np.array([[0, 0, 4, 4], [1, 1, 5, 5], [8, 8, 9, 9]]), np.ones(3, int), np.zeros(3, int)))
    array([ True,  True, False])
    """
    own, other, _ = near(truth, truth, iou)
    return np.bincount(own[own != other], minlength=len(truth)) > 0
