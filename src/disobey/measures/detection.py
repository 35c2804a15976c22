"""Measures of classes of boxes: average precision, what each image adds to it, and the answer for a true box.

A true box is an example and its image the cluster of every interval. Class 0 is "nothing", classes 1 to C are
objects. A box is left, top, right, bottom in pixels. Shapes: K true boxes, M found ones, T thresholds of overlap.

Reference:
    Lin et al. 2014, ECCV (COCO and its evaluation). Jaeckel 1972 (the infinitesimal jackknife).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disobey.measures.boxes import PAIRS, Boxes, near, overlaps, pairs_of

THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10))  # of intersection over union, COCO's
RECALLS = np.linspace(0, 1, 101)
MOST = 100  # boxes of one image and class that count, the best ones
FLOOR = 1e-3  # of every class's share before shares are made probabilities


def box_iou(a: NDArray, b: NDArray) -> NDArray:
    """Intersection over union of every box of ``a`` (M, 4) with every box of ``b`` (K, 4), (M, K).

    >>> box_iou(np.array([[0, 0, 2, 2]]), np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]])).round(3)
    array([[1.   , 0.333, 0.   ]])
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return overlaps(a[:, None], b[None], np.zeros(len(b), bool))


def suppressed(boxes: NDArray, scores: NDArray, classes: NDArray, iou: float = 0.5) -> NDArray:
    """Non-maximum suppression by class: the rows that remain, best score first.

    Args:
        boxes: (M, 4) of one image.
        scores: (M,).
        classes: (M,); a box suppresses those of its own class only.
        iou: a box goes if a better one overlaps it by more.

    Example:
        >>> boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 5], [9, 9, 12, 12]])
        >>> suppressed(boxes, np.array([0.6, 0.9, 0.3]), np.array([1, 1, 1]))
        array([1, 2])
    """
    boxes, classes = np.asarray(boxes, dtype=np.float64), np.asarray(classes)
    left, kept = np.argsort(-np.asarray(scores), kind="stable"), []
    while len(left):
        best, rest = left[0], left[1:]
        kept.append(best)
        near = (box_iou(boxes[best : best + 1], boxes[rest])[0] > iou) & (classes[rest] == classes[best])
        left = rest[~near]
    return np.array(kept, dtype=np.int64)


def average_precision(truth: Boxes, found: Boxes, *, thresholds: Sequence[float] = THRESHOLDS) -> float:
    """COCO's average precision: the mean over thresholds of overlap and over the classes that occur in the truth.

    Found boxes are matched greedily by score, in each image and class; of equal scores the earlier image's comes
    first, then the earlier row. Precision is read at 101 recalls. The best 100 boxes an image and class count.

    Args:
        truth: K boxes.
        found: M boxes with scores.
        thresholds: T of them; ``(0.5,)`` gives AP50.

    Returns:
        From 0 to 1; NaN where the truth has no box.

    Example:
        >>> truth = Boxes(np.array([[0, 0, 4, 4], [6, 6, 9, 9]]), np.array([1, 1]), np.array([0, 0]))
        >>> boxes, scores = np.array([[0, 0, 4, 4], [6, 0, 9, 3]]), np.array([0.9, 0.8])
        >>> found = Boxes(boxes, np.array([1, 1]), np.array([0, 0]), scores)
        >>> round(average_precision(truth, found), 3)
        0.505
    """
    each = [ranked.average_precision() for ranked in ranked_by_class(truth, found, thresholds)]
    return float(np.mean(each)) if each else np.nan


def ap_by_image(truth: Boxes, found: Boxes, images: int, *, thresholds: Sequence[float] = THRESHOLDS) -> NDArray:
    """What each image adds to the average precision of all, (images,): their mean is it, their spread its error's.

    The average precision plus the influence function of the area under the precision that never rises (the
    infinitesimal jackknife over images); the 101 recalls are a step function of that area.

    Args:
        truth: K boxes whose ``images`` are rows below ``images``.
        found: M boxes, likewise, with scores.
        images: how many images there are, with boxes or without.
        thresholds: T of them.

    Example:
        >>> truth = Boxes(np.array([[0, 0, 4, 4], [6, 6, 9, 9]]), np.array([1, 1]), np.array([0, 1]))
        >>> found = Boxes(np.array([[0, 0, 4, 4]]), np.array([1]), np.array([0]), np.array([0.9]))
        >>> ap_by_image(truth, found, 2).round(3)
        array([1.005, 0.005])
    """
    return by_image(list(ranked_by_class(truth, found, thresholds)), images)


def by_image(classes: Sequence[Ranked], images: int) -> NDArray:
    """`ap_by_image` of boxes that are matched and ranked already."""
    if not classes:
        return np.full(images, np.nan)
    total = sum(ranked.average_precision() for ranked in classes)
    influence = np.sum([ranked.influence(images) for ranked in classes], axis=0)
    return (total + images * influence) / len(classes)


@dataclass(frozen=True, eq=False)
class Ranked:
    """One class: its n found boxes by score, the best first, and its true ones.

    Attributes:
        hits: (T, n) whether a found box has a true one.
        wrong: (T, n) whether it has none; neither where a crowd is around it.
        images: (n,) its image.
        objects: (p,) the image of every true box.
    """

    hits: NDArray
    wrong: NDArray
    images: NDArray
    objects: NDArray

    def on(self, images: NDArray) -> Ranked:
        """The same on some of the images, by a mask over all of them."""
        own = images[self.images]
        return Ranked(self.hits[:, own], self.wrong[:, own], self.images[own], self.objects[images[self.objects]])

    def average_precision(self) -> float:
        """The mean over thresholds and recalls of the precision."""
        if not len(self.images):
            return 0.0
        right, _, _, best = self._curve()
        recall = right / len(self.objects)
        at = [np.searchsorted(row, RECALLS) for row in recall]
        padded = np.concatenate([best, np.zeros((len(best), 1))], axis=1)
        return float(np.mean([row[places] for row, places in zip(padded, at, strict=True)]))

    def influence(self, images: int) -> NDArray:
        """(images,) how the area under the precision changes with the weight of each image; they sum to 0.

        A hit at rank i adds the best precision P(j) of a rank j >= i, so an image adds its hits' precision, what it
        takes from the shares of its true boxes, and what its boxes up to rank j change of P(j) for all hits i.
        """
        own = np.bincount(self.objects, minlength=images).astype(np.float64)
        if not len(self.images):
            return np.zeros(images)
        _, ranks, source, best = self._curve()
        at = np.take_along_axis(ranks, source, axis=1)
        slope = np.divide(1.0, at, out=np.zeros(at.shape), where=self.hits)
        # Ranks j(i) never fall with i: the hits whose precision a box at rank d changes are those with j(i) >= d.
        spread = np.zeros((2, *slope.shape))
        rows = np.broadcast_to(np.arange(len(slope))[:, None], slope.shape)
        np.add.at(spread[0], (rows, source), slope * (1 - best))
        np.add.at(spread[1], (rows, source), slope * best)
        later = np.cumsum(spread[:, :, ::-1], axis=2)[:, :, ::-1]
        each = self.hits * (best + later[0]) - self.wrong * later[1]
        area = float((self.hits * best).sum(axis=1).mean()) / len(self.objects)
        changed = np.bincount(self.images, each.mean(axis=0), minlength=images)
        return (changed - area * own) / len(self.objects)

    def _curve(self) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """(T, n) each: hits so far, boxes so far, the rank of the best precision from here on, and that precision."""
        right = np.cumsum(self.hits, axis=1, dtype=np.float64)
        ranks = right + np.cumsum(self.wrong, axis=1)
        precision = right / np.maximum(ranks, np.spacing(1))
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        n = best.shape[1]
        places = np.where(precision >= best, np.arange(n), n)
        source = np.minimum.accumulate(places[:, ::-1], axis=1)[:, ::-1]
        return right, ranks, source, best


def ranked_by_class(truth: Boxes, found: Boxes, thresholds: Sequence[float]) -> Iterator[Ranked]:
    """Every class that occurs in the truth, in the order of numbers."""
    assert found.scores is not None, "found boxes have scores"
    order = np.lexsort((-found.scores, found.classes, found.images))
    group, _ = _runs(found.images[order], found.classes[order])
    place = np.arange(len(order)) - group
    order = order[place < MOST]
    found, place = found.take(order), place[place < MOST]
    hits, aside = _matches(truth, found, np.asarray(thresholds, dtype=np.float64))
    assert found.scores is not None
    ranks = np.argsort(-found.scores, kind="stable")
    of_class = ranks[np.argsort(found.classes[ranks], kind="stable")]
    numbers = np.unique(truth.classes[truth.counted])
    starts = np.searchsorted(found.classes[of_class], numbers)
    ends = np.searchsorted(found.classes[of_class], numbers, side="right")
    for number, start, end in zip(numbers, starts, ends, strict=True):
        rows = of_class[start:end]
        objects = truth.images[(truth.classes == number) & truth.counted]
        yield Ranked(hits[:, rows], ~(hits | aside)[:, rows], found.images[rows], objects)


def _runs(*keys: NDArray) -> tuple[NDArray, NDArray]:
    """Of sorted rows: where each one's run of equal keys begins, (n,), and its run's number, (n,)."""
    n = len(keys[0])
    new = np.ones(n, bool)
    if n:
        new[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    number = np.cumsum(new) - 1
    return np.flatnonzero(new)[number], number


def _matches(truth: Boxes, found: Boxes, thresholds: NDArray) -> tuple[NDArray, NDArray]:
    """Which found boxes, sorted by image, class and falling score, have a true box of their own, (T, M); which a crowd.

    The best box of every image and class chooses first, all images and classes at once; then the second, and so on.
    """
    classes = int(max(truth.classes.max(initial=0), found.classes.max(initial=0))) + 1
    key = [part.images.astype(np.int64) * classes + part.classes for part in (truth, found)]
    crowd = ~truth.counted
    sorted_truth = np.lexsort((crowd, key[0]))
    truth, crowd = truth.take(sorted_truth), crowd[sorted_truth]
    least = np.minimum(thresholds, 1 - 1e-10)[:, None]
    hits, aside = (np.zeros((len(thresholds), len(found)), bool) for _ in range(2))
    own, other, iou = pairs_of(found.boxes, key[1], truth.boxes, key[0][sorted_truth], crowd, float(least.min()))
    choosing, segment = np.unique(own, return_inverse=True)
    turn = (np.arange(len(choosing)) - _runs(key[1][choosing])[0])[segment]
    taken = np.zeros((len(thresholds), len(truth)), bool)
    order = np.argsort(turn, kind="stable")
    ends = np.cumsum(np.bincount(turn))
    for start, end in zip(ends - np.diff(ends, prepend=0), ends, strict=True):
        pairs = order[start:end]
        rows, columns, overlap = own[pairs], other[pairs], iou[pairs]
        usable = (overlap >= least) & (crowd[columns] | ~taken[:, columns])
        single, several = usable & ~crowd[columns], usable & crowd[columns]
        begins = np.flatnonzero(np.diff(rows, prepend=-1))
        best = _last_best(np.where(single, overlap, -1.0), begins)
        level, place = np.nonzero(best >= 0)
        hits[level, rows[begins[place]]] = True
        taken[level, columns[best[level, place]]] = True
        if several.any():
            aside[:, rows[begins]] |= np.logical_or.reduceat(several, begins, axis=1) & (best < 0)
    return hits, aside


def _last_best(values: NDArray, begins: NDArray) -> NDArray:
    """(T, S) where the last of the largest values of every segment of (T, P) is; -1 where none is above 0."""
    most = np.maximum.reduceat(values, begins, axis=1)
    lengths = np.diff(begins, append=values.shape[1])
    at = np.where(values >= np.repeat(most, lengths, axis=1), np.arange(values.shape[1]), -1)
    return np.where(most >= 0, np.maximum.reduceat(at, begins, axis=1), -1)


def matched(
    truth: Boxes, found_boxes: NDArray, found_log_probs: NDArray, images: NDArray, *, iou: float = 0.5
) -> NDArray:
    """A model's answer for every true box: log-probabilities over "nothing" and the C classes.

    A class's share is the largest probability that a found box gives it among those that overlap the true one by
    ``iou`` or more, and 0 without such a box; the share of "nothing" is one minus the largest of those. Shares are at
    least 0.001 and are then made to sum to one.

    Args:
        truth: K boxes.
        found_boxes: (M, 4).
        found_log_probs: (M, C + 1) or, of classes with scores, any (M, C + 1) whose first column is not read.
        images: (M,) the row of each found box's image.
        iou: overlap from which a found box speaks of a true one.

    Returns:
        (K, C + 1).

    Example:
        >>> truth = Boxes(np.array([[0, 0, 4, 4], [6, 6, 9, 9]]), np.array([1, 2]), np.array([0, 0]))
        >>> found = np.log([[0.1, 0.8, 0.1]])
        >>> np.exp(matched(truth, np.array([[0, 0, 4, 4]]), found, np.array([0]))).round(3)
        array([[0.182, 0.727, 0.091],
               [0.998, 0.001, 0.001]])
    """
    shares = np.zeros((len(truth), found_log_probs.shape[1]))
    own, other, _ = near(truth, Boxes(found_boxes, np.ones(len(images), np.int64), images), iou)
    step = max(1, PAIRS // shares.shape[1])
    for start in range(0, len(own), step):
        rows, columns = own[start : start + step], other[start : start + step]
        np.maximum.at(shares, rows, np.exp(found_log_probs[columns].astype(np.float64)))
    return log_shares(shares)


def matched_scores(
    truth: Boxes, found: Boxes, classes: int, scores: NDArray | None = None, *, iou: float = 0.5
) -> NDArray:
    """`matched` of found boxes that have one class and its score: log-probabilities (K, classes + 1).

    Args:
        truth: K boxes.
        found: M boxes with scores from 0 to 1.
        classes: C.
        scores: (M, C) of all classes, where they are known.
        iou: overlap from which a found box speaks of a true one.
    """
    assert found.scores is not None
    shares = np.zeros((len(truth), classes + 1))
    own, other, _ = near(truth, found, iou)
    if scores is None:
        np.maximum.at(shares, (own, found.classes[other]), found.scores[other])
        return log_shares(shares)
    step = max(1, PAIRS // classes)
    for start in range(0, len(own), step):
        np.maximum.at(shares[:, 1:], own[start : start + step], scores[other[start : start + step]])
    return log_shares(shares)


def log_shares(shares: NDArray) -> NDArray:
    """Log-probabilities (K, C + 1) of classes' shares; the first column, of "nothing", is written over."""
    shares[:, 0] = 1 - shares[:, 1:].max(axis=1, initial=0)
    shares = np.maximum(shares, FLOOR)
    return np.log(shares / shares.sum(axis=1, keepdims=True))


def unfounded(truth: Boxes, found: Boxes, *, iou: float = 0.5, score: float = 0.5) -> NDArray:
    """(M,) found boxes with this score or more that overlap no true box and no crowd of their image by ``iou``."""
    assert found.scores is not None
    order = np.argsort(truth.images, kind="stable")
    crowd = ~truth.counted[order]
    own, _, _ = pairs_of(found.boxes, found.images, truth.boxes[order], truth.images[order], crowd, iou)
    return (np.bincount(own, minlength=len(found)) == 0) & (found.scores >= score)
