"""The same examples with other classes: ``merged:NAME`` joins similar classes in pairs, ``split:NAME`` cuts each in two,
``grouped:NAME`` joins what a known hierarchy holds together (the 20 superclasses of CIFAR-100).

Joining takes class similarity away, splitting puts it in, with the images as they are: a control for whatever is said to
need similar classes. All are functions of the training split alone and the same for every seed.

N examples, C classes, D numbers an example.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import Dataset, Split
from disobey.data.noise import mean_similarity
from disobey.data.sources.hierarchies import hierarchy_of


def merged(base: Dataset) -> Dataset:
    """Most similar classes joined in pairs, nearest means first; of an odd number one stays alone."""
    groups = similar_pairs(mean_similarity(_class_means(base)))
    names = tuple("+".join(base.classes[c] for c in np.flatnonzero(groups == g)) for g in range(groups.max() + 1))
    return _relabelled(base, names, lambda split: groups[split.labels])


def split(base: Dataset) -> Dataset:
    """Every class cut at the median of its own first principal component: classes 2c and 2c + 1 come from c."""
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
    """Classes of one group of a known hierarchy joined: see `hierarchies`."""
    found = hierarchy_of(base.name, base.classes)
    if found is None:
        known = "fashion-mnist, CIFAR-100 with its 100 classes and split data"
        raise ValueError(f"expected classes with a known hierarchy ({known}); came {base.name}; try merged:{base.name}")
    groups = np.array(found.groups, dtype=np.int64)
    return _relabelled(base, found.names, lambda split: groups[split.labels])


REGROUPED: dict[str, Callable[[Dataset], Dataset]] = {"merged": merged, "split": split, "grouped": grouped}


def similar_pairs(similarity: NDArray) -> NDArray:
    """Group number of every class, (C, C) to (C,): the most similar two classes first, then of the rest.

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
        raise ValueError(f"expected images or features to merge or split the classes of; {base.name} holds text")
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
    """First principal direction (its largest entry positive) and the median along it."""
    if len(rows) < 2:
        raise ValueError(f"expected at least 2 training examples of every class to split it, came {len(rows)}")
    centred = rows - rows.mean(0)
    if len(rows) < rows.shape[1]:  # the smaller of the two Gram matrices
        direction = np.linalg.eigh(centred @ centred.T)[1][:, -1] @ centred
    else:
        direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    direction = direction / max(float(np.linalg.norm(direction)), 1e-300)
    direction = direction * np.sign(direction[np.abs(direction).argmax()] or 1.0)
    return direction, float(np.median(rows @ direction))
