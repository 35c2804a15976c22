"""Which examples: named random streams, nested stratified subsets, cross-fitting parts, fixed base splits.

One order of the training examples exists per seed; a subset is a prefix of it, so a subset of 500 lies within the
subset of 1,000, and a difference between sizes is not a difference between draws.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from .dataset import Split


def stream(seed: int, name: str) -> np.random.Generator:
    """A generator of its own for every (seed, purpose): one more purpose never shifts another one's draws.

    >>> int(stream(0, "subset").integers(1000)), int(stream(0, "noise").integers(1000))
    (13, 965)
    """
    constant = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.random.default_rng(np.random.SeedSequence([seed, constant]))


def stratified_order(labels: NDArray, generator: np.random.Generator) -> NDArray:
    """All rows in an order whose every prefix has the classes in proportion: (N,) labels to (N,) row numbers.

    A prefix of n holds every class at least once where n >= classes, and each class within one example of its share
    beyond that. Which examples of a class come first, and which class first among equals, is random.

    >>> labels = np.array([0, 0, 0, 0, 1, 1])
    >>> order = stratified_order(labels, stream(0, "subset"))
    >>> np.bincount(labels[order[:3]]), np.bincount(labels[order])
    (array([2, 1]), array([4, 2]))
    """
    shuffled = generator.permutation(len(labels))
    position, counts = _position_in_class(labels[shuffled])
    due = (position + 0.5) / counts  # when, in (0, 1), this example of its class is due
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
    order = stratified_order(labels, stream(0, name))
    return np.sort(order[:size]), np.sort(order[size:])


def base_splits(
    inputs: NDArray,
    labels: NDArray,
    *,
    test: tuple[NDArray, NDArray] | None = None,
    sizes: tuple[int, int] | None = None,
) -> tuple[Split, Split, Split]:
    """(train, validation, test): the source's own ``test`` where given, else a stratified share.

    sizes: examples in (validation, test); a tenth and a fifth of all where not given. ids number the rows in the order
    of the source, its own test split after the rest.
    """
    total = len(labels)
    size_validation, size_test = sizes or (max(total // 10, 1), max(total // 5, 1))
    rest = np.arange(total)
    if test is None:
        rows, rest = carve(labels, size_test, "test")
        test_split = Split(inputs[rows], labels[rows], rows)
    else:
        test_split = Split(test[0], test[1], total + np.arange(len(test[1])))
    rows, left = carve(labels[rest], size_validation, "validation")
    validation, train = rest[rows], rest[left]
    return (
        Split(inputs[train], labels[train], train),
        Split(inputs[validation], labels[validation], validation),
        test_split,
    )
