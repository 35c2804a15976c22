"""Which examples: named random streams, nested stratified subsets, cross-fitting parts, fixed base splits.

One order of the training examples exists per seed; a subset is a prefix of it, so a subset of 500 lies within the
subset of 1,000, and a difference between sizes is not a difference between draws.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import Split


def stream(seed: int, name: str) -> np.random.Generator:
    """A generator of its own for every (seed, purpose): one more purpose never shifts another one's draws.

    >>> int(stream(0, "subset").integers(1000)), int(stream(0, "noise").integers(1000))
    (13, 965)
    """
    constant = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.random.default_rng(np.random.SeedSequence([seed, constant]))


def stratified_order(labels: NDArray, generator: np.random.Generator, *, each_first: bool = True) -> NDArray:
    """All rows in an order whose every prefix has the classes in proportion: (N,) labels to (N,) row numbers.

    A prefix of n holds every class at least once where n >= classes (``each_first``), and each class about in its
    share beyond that. Which examples of a class come first, and which class first among equals, is random.

    >>> labels = np.array([0, 0, 0, 0, 1, 1])
    >>> order = stratified_order(labels, stream(0, "subset"))
    >>> np.bincount(labels[order[:3]]), np.bincount(labels[order])
    (array([2, 1]), array([4, 2]))
    """
    shuffled = generator.permutation(len(labels))
    position, counts = _position_in_class(labels[shuffled])
    due = (position + 0.5) / counts  # when, in (0, 1), this example of its class is due
    if each_first:
        due[position == 0] = 0.0
    return shuffled[np.argsort(due, kind="stable")]


def stratified_parts(labels: NDArray, order: NDArray, parts: int, generator: np.random.Generator) -> NDArray:
    """The part (0 .. parts - 1) of every row, equal numbers of each class in each (within one): (N,) int64.

    Dealt along ``order``, so that the parts are balanced within every prefix of it too and an example keeps its part
    whatever the size of the subset.

    >>> labels = np.array([0, 0, 0, 0, 1, 1])
    >>> parts = stratified_parts(labels, np.arange(6), 2, stream(0, "fold"))
    >>> np.bincount(parts[:4]), np.bincount(parts[4:])
    (array([2, 2]), array([1, 1]))
    """
    position, _ = _position_in_class(labels[order])
    # Each class starts one part further than the one before, or small classes would all fill part 0 first.
    classes = int(labels.max()) + 1 if len(labels) else 0
    start = generator.permutation(classes) % parts if classes else np.zeros(0, np.int64)
    result = np.empty(len(labels), np.int64)
    result[order] = (position + start[labels[order]]) % parts
    return result


def _position_in_class(labels: NDArray) -> tuple[NDArray, NDArray]:
    """For every row: how many of its class came before it, and how many its class has in all."""
    by_class = np.argsort(labels, kind="stable")
    _, starts, inverse, counts = np.unique(labels[by_class], return_index=True, return_inverse=True, return_counts=True)
    position = np.empty(len(labels), np.int64)
    position[by_class] = np.arange(len(labels)) - starts[inverse]
    total = np.empty(len(labels), np.int64)
    total[by_class] = counts[inverse]
    return position, total


def carve(labels: NDArray, size: int, name: str) -> tuple[NDArray, NDArray]:
    """(rows carved out, rows left), each ascending: stratified, the same for everybody at all times.

    ``name`` ("validation", "test") picks the stream; the seed is fixed at 0, because base splits are no run's affair.

    >>> carve(np.array([0, 0, 0, 1, 1, 1]), 2, "test")
    (array([2, 3]), array([0, 1, 4, 5]))
    """
    order = stratified_order(labels, stream(0, name), each_first=False)  # what is rare stays where it can be learned
    return np.sort(order[:size]), np.sort(order[size:])


def split_off(split: Split, size: int, name: str) -> tuple[Split, Split]:
    """(``size`` examples carved out of a split, the rest): see `carve`."""
    rows, rest = carve(split.labels, size, name)
    return split.take(rows), split.take(rest)


def base_splits(inputs: NDArray, labels: NDArray, *, validation: int, test: int) -> tuple[Split, Split, Split]:
    """(train, validation, test) of a source without splits of its own; ids number its rows."""
    held, rest = split_off(Split(inputs, labels, np.arange(len(labels))), test, "test")
    chosen, train = split_off(rest, validation, "validation")
    return train, chosen, held
