"""Character tables against the theory's identities and known values."""

import numpy as np
import pytest

from disobey.data.sources.sequences import group
from disobey.theory.characters import characters, conjugacy_classes

DIMENSIONS = {"S3": [1, 1, 2], "A4": [1, 1, 1, 3], "A5": [1, 3, 3, 4, 5], "S5": [1, 1, 4, 4, 5, 5, 6], "Z5": [1] * 5}


@pytest.mark.parametrize("name", DIMENSIONS)
def test_dimensions_and_orthogonality(name):
    found = characters(group(name).table)
    assert found.dimensions.tolist() == DIMENSIONS[name]
    products = found.table @ found.table.conj().T / len(group(name))
    assert np.allclose(products, np.eye(len(products)), atol=1e-10)
    classes = conjugacy_classes(group(name).table)
    assert len(found.table) == classes.max() + 1
    assert np.allclose(found.table[:, 0], found.dimensions)


def test_icosahedral_characters_hold_the_golden_ratio():
    values = set(characters(group("A5").table).table[1:3].real.round(6).ravel())
    golden = (1 + 5**0.5) / 2
    assert values == {3.0, 0.0, -1.0, round(golden, 6), round(1 - golden, 6)}


def test_multiplicities_of_the_permutation_representation():
    on = group("S5")
    fixed = np.array([sum(i == p for i, p in enumerate(element)) for element in on.elements], dtype=float)
    found = characters(on.table)
    shares = found.multiplicities(fixed)
    assert np.allclose(shares.sum(), 2)  # the trivial and the standard one
    assert np.allclose(sorted(found.dimensions[shares > 0.5]), [1, 4])
