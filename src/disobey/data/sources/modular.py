"""Modular addition: (a, b) to (a + b) mod p for all p * p pairs, as two one-hot vectors side by side.

The task is invariant under (a, b) -> (u a + s, u b + t), y -> u y + s + t, for every u other than 0. For a prime p
these maps carry any two different classes to any other two, so no class is closer to a second class than to a third:
whatever similarity of classes a teacher finds is its own invention. If a teacher has the symmetry of the task, its
class means are uniform outside the label, and everything that it knows beyond the label belongs to the single pair.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import Dataset
from disobey.data.subsets import base_splits
from disobey.errors import refusal

MAX_MODULUS = 199  # 39,601 pairs of 398 numbers: 63 MB


def modular_addition(*, p: int = 31) -> Dataset:
    """What is (a + b) mod p? All pairs, one-hot (2p features); p = 31, or another prime as in ``#p=97``.

    A tenth of the pairs is for validation and a fifth for test, stratified by sum and equal for all seeds. The pair (b,
    a) of a held-out pair (a, b) may be in training: commutativity must be learned, and can be.

    Args:
        p: a prime from 5 to 199.

    Returns:
        The data set.

    Raises:
        Refusal: ``no-prime``.

    Example:
        >>> data = modular_addition(p=5)
        >>> data.train.inputs.shape, len(data.validation), len(data.test)
        ((18, 10), 2, 5)
    """
    if not (5 <= p <= MAX_MODULUS and all(p % divisor for divisor in range(2, int(p**0.5) + 1))):
        raise refusal("no-prime", f"a prime p from 5 to {MAX_MODULUS}", p, "31, 53 or 97")
    pairs = all_pairs(p)
    labels = pairs.sum(axis=1) % p
    splits = base_splits(one_hot_pairs(pairs, p), labels, validation=round(p * p / 10), test=p * p // 5)
    return Dataset("modular-addition", "features", tuple(map(str, range(p))), *splits, source="all pairs, made")


def all_pairs(p: int) -> NDArray:
    """All pairs (p * p, 2) int64 in the order of the examples' ids: id = p * a + b."""
    return np.stack(np.divmod(np.arange(p * p), p), axis=1)


def one_hot_pairs(pairs: NDArray, p: int) -> NDArray:
    """Pairs (N, 2) to one-hot vectors (N, 2p) float32: a in the first half, b in the second.

    >>> one_hot_pairs(np.array([[0, 2]]), 3)
    array([[1., 0., 0., 0., 0., 1.]], dtype=float32)
    """
    inputs = np.zeros((len(pairs), 2 * p), np.float32)
    rows = np.arange(len(pairs))
    inputs[rows, pairs[:, 0]] = 1
    inputs[rows, p + pairs[:, 1]] = 1
    return inputs
