"""The character table of a finite group from its product table, by the eigenvectors of its class sums.

Burnside's method: the class sums span the centre of the group algebra, each irreducible representation is one common
eigenvector of the matrices by which they multiply each other. Shapes: G elements, K classes and irreducible
representations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Characters:
    """The irreducible representations over the complex numbers, by rising dimension, the trivial one first.

    Attributes:
        table: ``(K, G)``, the character of every representation at every element.
        dimensions: ``(K,)``.
    """

    table: NDArray[np.complex128]
    dimensions: NDArray[np.int64]

    def multiplicities(self, traces: NDArray) -> NDArray:
        """How often traces ``(..., G)`` contain each one, ``(..., K)``: whole numbers for a representation.

        >>> import numpy as np
        >>> swap = np.array([[0, 1], [1, 0]])
        >>> characters(swap).multiplicities(np.array([3.0, 1.0])).round(6).tolist()
        [2.0, 1.0]
        """
        found = traces @ self.table.conj().T / self.table.shape[1]
        return found.real + 0.0


def conjugacy_classes(table: NDArray) -> NDArray[np.int64]:
    """The class of every element, (G,), numbered by the first element; the identity, element 0, is class 0."""
    inverse = np.argmax(table == 0, axis=1)
    elements = np.arange(len(table))
    classes = np.full(len(table), -1)
    for element in elements:
        if classes[element] < 0:
            conjugates = table[table[inverse, element], elements]
            classes[conjugates] = classes.max() + 1
    return classes


def characters(table: NDArray) -> Characters:
    """The characters of the group with this product table (G, G), whose identity is element 0.

    >>> import numpy as np
    >>> z3 = (np.arange(3)[:, None] + np.arange(3)) % 3
    >>> characters(z3).table[1:].sum(axis=0).real.round(6).tolist()
    [2.0, -1.0, -1.0]
    """
    classes = conjugacy_classes(table)
    count = classes.max() + 1
    sizes = np.bincount(classes)
    first = np.array([np.argmax(classes == k) for k in range(count)])
    # constants[i, j, k]: in how many ways the first element of class k is a product of one of i and one of j
    constants = np.zeros((count, count, count))
    inverse = np.argmax(table == 0, axis=1)
    for k, element in enumerate(first):
        pairs = classes * count + classes[table[inverse, element]]
        constants[..., k] = np.bincount(pairs, minlength=count * count).reshape(count, count)
    # One random combination has distinct eigenvalues, so its eigenvectors are those of all class sums.
    mixed = np.tensordot(np.random.default_rng(0).normal(size=count), constants, axes=1)
    _, vectors = np.linalg.eig(mixed)
    omega = (vectors / vectors[0]).T  # (K, K): class size times character over dimension
    dimensions = np.sqrt(len(table) / (np.abs(omega) ** 2 / sizes).sum(axis=1))
    found = omega * dimensions[:, None] / sizes
    order = np.lexsort((*-found.real.round(6).T[::-1], dimensions.round()))
    return Characters(found[order][:, classes], dimensions[order].round().astype(np.int64))
