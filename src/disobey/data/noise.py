"""Label noise whose positions are known, so that memorization and denoising can be measured.

For every training example it is drawn once per seed when it is flipped and to which class. So subsets of different
sizes share their wrong labels, except for the few examples at the edge of the share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disobey.errors import refusal


@dataclass(frozen=True, eq=False)
class NoisePlan:
    """Which labels to flip, for every share of noise.

    Attributes:
        priority: (N,); smaller ones are flipped first.
        wrong: (N,), the class that replaces the label.
    """

    priority: NDArray
    wrong: NDArray

    def take(self, rows: NDArray) -> NoisePlan:
        """The plan of the examples in these rows."""
        return NoisePlan(self.priority[rows], self.wrong[rows])


def symmetric(labels: NDArray, classes: int, generator: np.random.Generator) -> NoisePlan:
    """Noise to any other class with equal probability.

    The share of noise counts labels that are wrong, so with a share of 0.4 a fraction of 0.6 stays right. If a paper
    draws the new label among all classes, its rate r is a share of ``r * (classes - 1) / classes`` here.

    Args:
        labels: true classes (N,).
        classes: C.
        generator: of the random numbers.

    Returns:
        The plan.
    """
    shift = generator.integers(1, classes, len(labels))
    return NoisePlan(generator.random(len(labels)), (labels + shift) % classes)


def class_dependent(labels: NDArray, partner: NDArray, generator: np.random.Generator) -> NoisePlan:
    """Noise to one fixed other class.

    Args:
        labels: true classes (N,).
        partner: the class that replaces every class (C,); see `most_similar` and `cyclic`.
        generator: of the random numbers.

    Returns:
        The plan.

    Raises:
        Refusal: ``noise-partner`` if a class is its own partner.
    """
    if np.any(partner == np.arange(len(partner))):
        raise refusal("noise-partner", "another class as the partner of every class", partner.tolist())
    return NoisePlan(generator.random(len(labels)), partner[labels])


def plant(labels: NDArray, plan: NoisePlan, share: float) -> NDArray:
    """Labels with noise: exactly ``round(share * N)`` of them are wrong.

    Args:
        labels: true classes (N,).
        plan: from `symmetric` or `class_dependent`.
        share: share of wrong labels, in [0, 1).

    Returns:
        Observed labels (N,).

    Raises:
        Refusal: ``noise-range``.

    Example:
        >>> labels = np.arange(10) % 2
        >>> observed = plant(labels, symmetric(labels, 2, np.random.default_rng(0)), 0.3)
        >>> int((observed != labels).sum())
        3
    """
    if not 0 <= share < 1:
        raise refusal("noise-range", "a share of wrong labels in [0, 1)", share)
    flipped = np.argsort(plan.priority, kind="stable")[: round(share * len(labels))]
    observed = labels.copy()
    observed[flipped] = plan.wrong[flipped]
    return observed


def cyclic(classes: int) -> NDArray:
    """Partners (C,) that replace every class by the next one, if nothing is known about similarity.

    >>> cyclic(3)
    array([1, 2, 0])
    """
    return (np.arange(classes) + 1) % classes


def most_similar(similarity: NDArray) -> NDArray:
    """The most similar other class of every class.

    Args:
        similarity: (C, C); among equals the lowest class number wins.

    Returns:
        Partners (C,).

    Raises:
        Refusal: ``similarity-shape``.

    Example:
        >>> most_similar(np.array([[9, 1, 2], [1, 9, 0], [2, 0, 9]]))
        array([2, 0, 0])
    """
    similarity = np.array(similarity, dtype=np.float64)
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1] or len(similarity) < 2:
        raise refusal("similarity-shape", "a square matrix of at least two classes", f"shape {similarity.shape}")
    np.fill_diagonal(similarity, -np.inf)
    return similarity.argmax(axis=1)


def mean_similarity(means: NDArray) -> NDArray:
    """Minus the squared distance between class means. It needs no model and so no teacher.

    Args:
        means: (C, D); a row of NaN stands for a class without examples, to which no class is similar.

    Returns:
        Similarity (C, C).

    Example:
        >>> mean_similarity(np.array([[0.0, 0.0], [3.0, 4.0]]))
        array([[  0., -25.],
               [-25.,   0.]])
    """
    squares = (means**2).sum(axis=1)
    similarity = 2 * means @ means.T - squares[:, None] - squares[None, :]
    return np.where(np.isnan(similarity), -np.inf, similarity)


def wrong_boxes(labels: NDArray, classes: int, share: float, generator: np.random.Generator) -> NDArray:
    """Boxes with noise: a share of all boxes get another class; none becomes nothing, none moves.

    Args:
        labels: boxes and their true classes (N, K, 5), see `boxes`.
        classes: C and "nothing": at least 3.
        share: share of wrong boxes, in [0, 1).
        generator: of the random numbers.

    Returns:
        Observed labels (N, K, 5).

    Raises:
        Refusal: ``noise-range``, or ``few-classes`` where there is no other class.

    Example:
        >>> labels = np.ones((4, 1, 5), np.float32)
        >>> wrong_boxes(labels, 3, 0.5, np.random.default_rng(0))[:, 0, 4]
        array([1., 1., 2., 2.], dtype=float32)
    """
    if classes < 3:
        raise refusal("few-classes", "two classes of boxes for wrong labels", classes - 1)
    boxes = labels[..., 4] > 0
    true = labels[boxes][:, 4].astype(np.int64) - 1
    observed = labels.copy()
    observed[boxes, 4] = plant(true, symmetric(true, classes - 1, generator), share) + 1
    return observed


def wrong_regions(masks: NDArray, classes: int, share: float, generator: np.random.Generator) -> NDArray:
    """Masks with noise: a share of all regions (the pixels of a class in an image) get another class.

    Class 0, the ground, is no region, and no region becomes ground. Every region is drawn once, whatever the share.

    Args:
        masks: true classes (N, H, W).
        classes: C, at least 3.
        share: share of wrong regions, in [0, 1).
        generator: of the random numbers.

    Returns:
        Observed masks (N, H, W).

    Raises:
        Refusal: ``noise-range``, or ``few-classes`` where there is no other class than the ground.

    Example:
        >>> masks = np.zeros((4, 2, 2), int)
        >>> masks[:, 0] = 1
        >>> observed = wrong_regions(masks, 3, 0.5, np.random.default_rng(0))
        >>> int((observed == 2).any(axis=(1, 2)).sum()), int(observed[:, 1].max())
        (2, 0)
    """
    if classes < 3:
        raise refusal("few-classes", "two classes besides the ground for wrong labels", classes - 1)
    images, found = np.divmod(np.unique(np.arange(len(masks))[:, None, None] * classes + np.maximum(masks, 0)), classes)
    images, found = images[found > 0], found[found > 0]
    wrong = plant(found - 1, symmetric(found - 1, classes - 1, generator), share) + 1
    to = np.tile(np.arange(classes), (len(masks), 1))
    to[images, found] = wrong
    named = to[np.arange(len(masks))[:, None, None], np.maximum(masks, 0)]
    return np.where(masks < 0, masks, named).astype(masks.dtype)
