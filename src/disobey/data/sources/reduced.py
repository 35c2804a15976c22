"""Less of a data set: half of its classes, alike or unlike, and its inputs in few dimensions.

``similar:NAME`` and ``distinct:NAME`` keep the half of the classes that a fast model confuses most and least.
``projected:NAME`` keeps the leading principal directions, ``whitened:NAME`` the same ones with equal variances. All of
them depend on the training split only and are equal for every seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from disobey.data.confusion import confusions
from disobey.data.dataset import Dataset, Split
from disobey.data.flat import flat_inputs
from disobey.data.moments import moments
from disobey.data.sources.planted import orthonormal
from disobey.data.subsets import stream
from disobey.errors import refusal

DIRECTIONS = 16


def similar(base: Dataset) -> Dataset:
    """The half of the classes (rounded up) that are confused most with each other."""
    return _kept(base, alike(confusions(base), _half(base)))


def distinct(base: Dataset) -> Dataset:
    """The half of the classes (rounded up) that are confused least with each other."""
    return _kept(base, alike(-confusions(base), _half(base)))


def projected(base: Dataset) -> Dataset:
    """The leading principal directions of the inputs, turned at random: scaling each number leaves the spectrum."""
    return _turned(base, whiten=False)


def whitened(base: Dataset) -> Dataset:
    """The same directions with equal variances, turned in the same way: a spectrum without a slope."""
    return _turned(base, whiten=True)


REDUCED: dict[str, Callable[[Dataset], Dataset]] = {
    "similar": similar,
    "distinct": distinct,
    "projected": projected,
    "whitened": whitened,
}


def alike(similarity: NDArray, size: int) -> NDArray:
    """Classes that are similar to each other: the most similar two, then always the one most similar to those so far.

    Args:
        similarity: (C, C), symmetric.
        size: how many classes.

    Returns:
        (size,) class numbers, ascending.

    Example:
        >>> alike(np.array([[0, 1, 9, 2], [1, 0, 3, 4], [9, 3, 0, 5], [2, 4, 5, 0]]), 3)
        array([0, 2, 3])
    """
    apart = np.where(np.eye(len(similarity), dtype=bool), -np.inf, similarity)
    chosen = list(map(int, np.unravel_index(apart.argmax(), apart.shape)))
    while len(chosen) < size:
        total = similarity[chosen].sum(axis=0).astype(np.float64)
        total[chosen] = -np.inf
        chosen.append(int(total.argmax()))
    return np.sort(chosen[:size])


def _half(base: Dataset) -> int:
    count = len(base.classes)
    if count < 5:
        raise refusal("few-classes", "at least five classes, of which half are kept", count, where=base.name)
    return (count + 1) // 2


def _kept(base: Dataset, classes: NDArray) -> Dataset:
    number = np.full(len(base.classes), -1)
    number[classes] = np.arange(len(classes))

    def part(split: Split) -> Split:
        kept = split.take(np.flatnonzero(number[split.labels] >= 0))
        return Split(kept.inputs, number[kept.labels], kept.ids)

    new = replace(
        base,
        classes=tuple(base.classes[c] for c in classes),
        train=part(base.train),
        validation=part(base.validation),
        test=part(base.test),
    )
    return replace(new, moments=moments(new))


def _turned(base: Dataset, *, whiten: bool) -> Dataset:
    if base.kind == "text":
        raise refusal("project-text", "images or features to project", "text", where=base.name)
    flat = {name: flat_inputs(base, name) for name in ("train", "validation", "test")}
    values, vectors = np.linalg.eigh(np.cov(flat["train"], rowvar=False))
    count = min(DIRECTIONS, len(values))
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    turn = orthonormal(stream(0, "turn"), count)
    onto = (vectors / np.sqrt(np.maximum(values, 1e-12)) if whiten else vectors) @ turn
    parts = {
        name: Split((x @ onto).astype(np.float32), base.split(name).labels, base.split(name).ids)
        for name, x in flat.items()
    }
    new = replace(base, kind="features", **parts)
    return replace(new, moments=moments(new))
