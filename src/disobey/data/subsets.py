"""Which examples: named random streams, nested stratified subsets, cross-fitting parts, fixed base splits.

The training examples have one order per seed, and a subset is a prefix of it. So the subset of 500 is part of the
subset of 1,000, and a difference between sizes is not a difference between draws.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import Split


def stream(seed: int, name: str) -> np.random.Generator:
    """An independent generator for every seed and purpose; a new purpose never changes the draws of another one.

    Args:
        seed: of the run.
        name: of the purpose.

    Returns:
        A numpy generator.

    Example:
        >>> int(stream(0, "subset").integers(1000)), int(stream(0, "noise").integers(1000))
        (13, 965)
    """
    constant = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.random.default_rng(np.random.SeedSequence([seed, constant]))


def stratified_order(labels: NDArray, generator: np.random.Generator, *, each_first: bool = True) -> NDArray:
    """All rows in a random order whose every prefix contains the classes in proportion.

    A prefix of n contains every class at least once if n >= classes (with ``each_first``), and each class in proportion
    beyond that. Which examples of a class come first is random.

    Args:
        labels: classes (N,).
        generator: of the random numbers.
        each_first: whether the order begins with one example of every class.

    Returns:
        Row numbers (N,).

    Example:
        >>> labels = np.array([0, 0, 0, 0, 1, 1])
        >>> order = stratified_order(labels, stream(0, "subset"))
        >>> np.bincount(labels[order[:3]]), np.bincount(labels[order])
        (array([2, 1]), array([4, 2]))
    """
    shuffled = generator.permutation(len(labels))
    position, counts = _position_in_class(labels[shuffled])
    due = (position + 0.5) / counts  # position in (0, 1) at which this example of its class comes
    if each_first:
        due[position == 0] = 0.0
    return shuffled[np.argsort(due, kind="stable")]


def stratified_parts(labels: NDArray, order: NDArray, parts: int, generator: np.random.Generator) -> NDArray:
    """Divides the rows into parts with equal numbers of each class in each part (within one).

    The parts are dealt along an order, so they are balanced within every prefix of it, and an example stays in its part
    for every size of the subset.

    Args:
        labels: classes (N,).
        order: row numbers (N,), from `stratified_order`.
        parts: number of parts.
        generator: of the random numbers.

    Returns:
        The part of every row, 0 .. parts - 1, (N,) int64.

    Example:
        >>> labels = np.array([0, 0, 0, 0, 1, 1])
        >>> parts = stratified_parts(labels, np.arange(6), 2, stream(0, "fold"))
        >>> np.bincount(parts[:4]), np.bincount(parts[4:])
        (array([2, 2]), array([1, 1]))
    """
    position, _ = _position_in_class(labels[order])
    # Classes start at different parts, otherwise all small classes would fill part 0 first.
    classes = int(labels.max()) + 1 if len(labels) else 0
    start = generator.permutation(classes) % parts if classes else np.zeros(0, np.int64)
    result = np.empty(len(labels), np.int64)
    result[order] = (position + start[labels[order]]) % parts
    return result


def _position_in_class(labels: NDArray) -> tuple[NDArray, NDArray]:
    """For every row: how many rows of its class come before it, and how many rows its class has."""
    by_class = np.argsort(labels, kind="stable")
    _, starts, inverse, counts = np.unique(labels[by_class], return_index=True, return_inverse=True, return_counts=True)
    position = np.empty(len(labels), np.int64)
    position[by_class] = np.arange(len(labels)) - starts[inverse]
    total = np.empty(len(labels), np.int64)
    total[by_class] = counts[inverse]
    return position, total


def carve(labels: NDArray, size: int, name: str) -> tuple[NDArray, NDArray]:
    """Cuts rows out, stratified and always the same.

    Args:
        labels: classes (N,).
        size: number of rows to cut out.
        name: ``validation`` or ``test``; it selects the random stream. The seed is always 0, because base splits do not
            depend on the run.

    Returns:
        Rows cut out and rows left, both ascending.

    Example:
        >>> carve(np.array([0, 0, 0, 1, 1, 1]), 2, "test")
        (array([2, 3]), array([0, 1, 4, 5]))
    """
    order = stratified_order(labels, stream(0, name), each_first=False)  # rare classes stay in the training split
    return np.sort(order[:size]), np.sort(order[size:])


def split_off(split: Split, size: int, name: str) -> tuple[Split, Split]:
    """(``size`` examples cut out of a split, the rest); see `carve`."""
    rows, rest = carve(split.labels, size, name)
    return split.take(rows), split.take(rest)


def base_splits(inputs: NDArray, labels: NDArray, *, validation: int, test: int) -> tuple[Split, Split, Split]:
    """Splits of a source that has none of its own; the ids number its rows.

    Args:
        inputs: (N, ...).
        labels: classes (N,).
        validation: size of the validation split.
        test: size of the test split.

    Returns:
        (train, validation, test).
    """
    held, rest = split_off(Split(inputs, labels, np.arange(len(labels))), test, "test")
    chosen, train = split_off(rest, validation, "validation")
    return train, chosen, held
