"""Planted label noise: which labels are wrong is known, so memorizing and denoising can be measured.

Who is flipped first and to what is drawn once per seed for every training example: subsets of different sizes share
their wrong labels, but for the few examples at the edge of the share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class NoisePlan:
    """``priority`` (N,): smaller is flipped first. ``wrong`` (N,): the class it is then said to be."""

    priority: NDArray
    wrong: NDArray

    def take(self, rows: NDArray) -> NoisePlan:
        return NoisePlan(self.priority[rows], self.wrong[rows])


def symmetric(labels: NDArray, classes: int, generator: np.random.Generator) -> NoisePlan:
    """To any other class with equal probability.

    The share counts labels that are wrong, so 0.4 with 10 classes leaves .6 right; where a paper draws among all
    classes, its rate r is a share of ``r * (classes - 1) / classes`` here.
    """
    shift = generator.integers(1, classes, len(labels))
    return NoisePlan(generator.random(len(labels)), (labels + shift) % classes)


def class_dependent(labels: NDArray, partner: NDArray, generator: np.random.Generator) -> NoisePlan:
    """To one fixed other class: ``partner`` (C,) gives it for every class (see `most_similar`, `cyclic`)."""
    if np.any(partner == np.arange(len(partner))):
        raise ValueError(f"expected for every class another class to be mistaken for; came {partner.tolist()}")
    return NoisePlan(generator.random(len(labels)), partner[labels])


def plant(labels: NDArray, plan: NoisePlan, share: float) -> NDArray:
    """The labels training is told, (N,): exactly ``round(share * N)`` of them wrong.

    >>> labels = np.arange(10) % 2
    >>> given = plant(labels, symmetric(labels, 2, np.random.default_rng(0)), 0.3)
    >>> int((given != labels).sum())
    3
    """
    if not 0 <= share < 1:
        raise ValueError(f"expected a share of wrong labels in [0, 1), came {share}")
    flipped = np.argsort(plan.priority, kind="stable")[: round(share * len(labels))]
    given = labels.copy()
    given[flipped] = plan.wrong[flipped]
    return given


def cyclic(classes: int) -> NDArray:
    """Every class mistaken for the next one: (C,) partners, where nothing is known about similarity.

    >>> cyclic(3)
    array([1, 2, 0])
    """
    return (np.arange(classes) + 1) % classes


def most_similar(similarity: NDArray) -> NDArray:
    """The most similar other class of every class: (C, C) to (C,); the lowest number among equals.

    >>> most_similar(np.array([[9, 1, 2], [1, 9, 0], [2, 0, 9]]))
    array([2, 0, 0])
    """
    similarity = np.array(similarity, dtype=np.float64)
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1] or len(similarity) < 2:
        raise ValueError(f"expected a square matrix over at least two classes, came shape {similarity.shape}")
    np.fill_diagonal(similarity, -np.inf)
    return similarity.argmax(axis=1)


def mean_similarity(means: NDArray) -> NDArray:
    """Minus the squared distance between class means: (C, D) to (C, C). Needs no model, hence no teacher.

    A row of NaN stands for a class without examples, which nothing is similar to.

    >>> mean_similarity(np.array([[0.0, 0.0], [3.0, 4.0]]))
    array([[  0., -25.],
           [-25.,   0.]])
    """
    squares = (means**2).sum(axis=1)
    similarity = 2 * means @ means.T - squares[:, None] - squares[None, :]
    return np.where(np.isnan(similarity), -np.inf, similarity)
