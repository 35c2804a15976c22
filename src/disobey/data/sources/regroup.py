"""The same examples with other classes: merged, split or grouped.

``merged:NAME`` joins similar classes in pairs, ``split:NAME`` divides each class in two, and ``grouped:NAME`` joins the
classes of a known hierarchy (the 20 superclasses of CIFAR-100). Joining removes class similarity and splitting adds it,
while the images stay the same: a control for every effect that is said to need similar classes. All of them depend on
the training split only and are equal for every seed.

N examples, C classes, D numbers per example.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import Dataset, Split
from disobey.data.noise import mean_similarity
from disobey.data.sources.hierarchies import hierarchy_of
from disobey.errors import refusal


def merged(base: Dataset) -> Dataset:
    """Joins the most similar classes in pairs, nearest means first; with an odd number one class stays alone."""
    groups = similar_pairs(mean_similarity(_class_means(base)))
    names = tuple("+".join(base.classes[c] for c in np.flatnonzero(groups == g)) for g in range(groups.max() + 1))
    return _relabelled(base, names, lambda split: groups[split.labels])


def split(base: Dataset) -> Dataset:
    """Divides every class at the median of its own first principal component: 2c and 2c + 1 come from class c."""
    cuts = [_cut(_rows(base.train.inputs[base.train.labels == c])) for c in range(len(base.classes))]
    names = tuple(f"{name}{half}" for name in base.classes for half in "ab")

    def halves(of: Split) -> NDArray:
        labels = 2 * of.labels
        for c, (direction, threshold) in enumerate(cuts):
            rows = np.flatnonzero(of.labels == c)
            labels[rows] += _rows(of.inputs[rows]) @ direction > threshold
        return labels

    return _relabelled(base, names, halves)


def grouped(base: Dataset) -> Dataset:
    """Joins the classes of each group of a known hierarchy; see `hierarchies`.

    Args:
        base: the data set.

    Returns:
        The data set with groups as classes.

    Raises:
        Refusal: ``no-hierarchy``.
    """
    found = hierarchy_of(base.name, base.classes)
    if found is None:
        known = "fashion-mnist, CIFAR-100 with its 100 classes and split data"
        expected, attempt = f"classes with a known hierarchy ({known})", f"merged:{base.name}"
        raise refusal("no-hierarchy", expected, base.name, attempt)
    groups = np.array(found.groups, dtype=np.int64)
    return _relabelled(base, found.names, lambda split: groups[split.labels])


REGROUPED: dict[str, Callable[[Dataset], Dataset]] = {"merged": merged, "split": split, "grouped": grouped}


def similar_pairs(similarity: NDArray) -> NDArray:
    """Pairs of similar classes: the most similar two first, then the most similar two of the rest.

    Args:
        similarity: (C, C).

    Returns:
        The group number of every class (C,).

    Example:
        >>> similar_pairs(np.array([[0, 1, 9, 2], [1, 0, 3, 4], [9, 3, 0, 5], [2, 4, 5, 0]]))
        array([0, 1, 0, 1])
    """
    left = np.array(similarity, dtype=np.float64)
    np.fill_diagonal(left, -np.inf)
    partner = np.arange(len(left))
    for _ in range(len(left) // 2):
        a, b = np.unravel_index(left.argmax(), left.shape)
        partner[[a, b]] = min(a, b)
        left[[a, b]], left[:, [a, b]] = -np.inf, -np.inf
    return np.unique(partner, return_inverse=True)[1].astype(np.int64)


def _relabelled(base: Dataset, names: tuple[str, ...], relabel: Callable[[Split], NDArray]) -> Dataset:
    if base.kind == "text":
        raise refusal("regroup-text", "images or features to merge or split", "text", where=base.name)
    splits = {
        name: Split(part.inputs, relabel(part).astype(np.int64), part.ids)
        for name, part in (("train", base.train), ("validation", base.validation), ("test", base.test))
    }
    return replace(base, classes=names, **splits)


def _class_means(base: Dataset) -> NDArray:
    return np.stack([_rows(base.train.inputs[base.train.labels == c]).mean(0) for c in range(len(base.classes))])


def _rows(inputs: NDArray) -> NDArray:
    return inputs.reshape(len(inputs), -1).astype(np.float64)


def _cut(rows: NDArray) -> tuple[NDArray, float]:
    """The first principal direction (with a positive largest entry) and the median along it."""
    if len(rows) < 2:
        raise refusal("small-class", "at least 2 training examples of every class to split it", len(rows))
    centred = rows - rows.mean(0)
    if len(rows) < rows.shape[1]:  # the smaller of the two Gram matrices
        direction = np.linalg.eigh(centred @ centred.T)[1][:, -1] @ centred
    else:
        direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    direction = direction / max(float(np.linalg.norm(direction)), 1e-300)
    direction = direction * np.sign(direction[np.abs(direction).argmax()] or 1.0)
    return direction, float(np.median(rows @ direction))
