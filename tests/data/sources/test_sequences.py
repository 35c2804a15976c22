"""Sequence tasks against independent implementations: sympy's groups, Python's own arithmetic."""

import itertools

import numpy as np
import pytest
from sympy.combinatorics import (
    AlternatingGroup,
    CyclicGroup,
    DirectProduct,
    Permutation,
    PermutationGroup,
    SymmetricGroup,
)

from disobey.data.sources.sequences import (
    IGNORED,
    arithmetic_tokens,
    constant_words,
    copying,
    evaluate,
    generated,
    group,
    modular_arithmetic,
    parity,
    word_problem,
)
from tests.support.refusals import refuses

GROUPS = {
    "Z2": CyclicGroup(2),
    "Z7": CyclicGroup(7),
    "S3": SymmetricGroup(3),
    "A4": AlternatingGroup(4),
    "S4": SymmetricGroup(4),
    "A5": AlternatingGroup(5),
    "S5": SymmetricGroup(5),
    "A4xZ5": DirectProduct(AlternatingGroup(4), CyclicGroup(5)),
}


@pytest.mark.parametrize("name", GROUPS)
def test_groups_are_sympys(name):
    ours, theirs = group(name), GROUPS[name]
    assert len(ours) == theirs.order()
    points = len(ours.elements[0])
    expected = sorted(tuple(Permutation(p, size=points).array_form) for p in theirs.elements)
    assert list(ours.elements) == expected  # the documented order: lexicographic, identity first
    assert ours.elements[0] == tuple(range(points))
    # sympy multiplies from left to right as well: (p * q)(i) = q(p(i))
    random = np.random.default_rng(0)
    for a, b in random.integers(len(ours), size=(200, 2)):
        product = Permutation(ours.elements[a]) * Permutation(ours.elements[b])
        assert tuple(product.array_form) == ours.elements[ours.table[a, b]]
    for g in range(0, len(ours), 7):
        assert ours.order(g) == Permutation(ours.elements[g]).order()


@pytest.mark.parametrize("name", ["S3", "A4", "A4xZ5", "A5"])
def test_prefix_products_against_sympy(name):
    words = word_problem(name, 3, 15, seed=4)
    ours = group(name)
    for word, target in zip(words.inputs, words.targets, strict=True):
        state = Permutation(list(range(len(ours.elements[0]))))
        for g, expected in zip(word, target, strict=True):
            state = state * Permutation(ours.elements[g])
            assert tuple(state.array_form) == ours.elements[expected]


def test_words_are_uniform_and_seeded():
    words = word_problem("S3", 4000, 10, seed=0)
    for column in (words.inputs[:, 0], words.inputs[:, 9], words.targets[:, 9]):
        counts = np.bincount(column, minlength=6)
        assert ((counts - 4000 / 6) ** 2 / (4000 / 6)).sum() < 25  # chi-square, 5 degrees: 1e-4
    assert words.chance == 1 / 6
    assert np.array_equal(words.inputs, word_problem("S3", 4000, 10, seed=0).inputs)
    assert not np.array_equal(words.inputs, word_problem("S3", 4000, 10, seed=1).inputs)


def test_constant_words_return_to_the_identity():
    words = constant_words("A5", 60)
    ours = group("A5")
    for row in range(len(words.inputs)):
        period = ours.order(int(words.inputs[row, 0]))
        assert np.array_equal(words.targets[row] == 0, (np.arange(60) + 1) % period == 0)


def test_generated_rejects_other_points():
    assert (
        len(generated("D4", [(1, 2, 3, 0), (2, 1, 0, 3)]))
        == PermutationGroup(Permutation([1, 2, 3, 0]), Permutation([2, 1, 0, 3])).order()
    )
    with refuses("permutations", "[(0, 2)]"):
        generated("bad", [(0, 2)])
    with refuses("unknown-group", "A4xZ5", "'Q8'"):
        group("Q8")


def test_parity_and_copying():
    bits = parity(50, 30, seed=0)
    assert np.array_equal(bits.targets[:, -1], bits.inputs.sum(1) % 2)
    copies = copying(20, 9, seed=0, symbols=5)
    assert copies.inputs.shape == (20, 19)
    assert (copies.inputs[:, 9] == 5).all()
    assert (copies.inputs[:, 10:] == 6).all()
    assert (copies.targets[:, :10] == IGNORED).all()
    assert np.array_equal(copies.targets[:, 10:], copies.inputs[:, :9])


@pytest.mark.parametrize("brackets", [False, True])
@pytest.mark.parametrize("length", [6, 8, 25, 40])
@pytest.mark.parametrize("modulus", [2, 5])
def test_arithmetic_against_python(brackets, length, modulus):
    batch = modular_arithmetic(60, length, seed=length, brackets=brackets, modulus=modulus)
    alphabet = arithmetic_tokens(modulus)
    assert batch.tokens == len(alphabet)
    for tokens, targets in zip(batch.inputs, batch.targets, strict=True):
        text = "".join(alphabet[i] for i in tokens).lstrip("_")
        assert text[-1] == "="
        assert "_" not in text
        assert targets[-1] == eval(text[:-1]) % modulus
        assert (targets[:-1] == IGNORED).all()
    answers = np.bincount(batch.targets[:, -1], minlength=modulus)
    assert (answers > 0).all()


def test_evaluate_precedence():
    for digits in itertools.product(range(5), repeat=3):
        for signs in itertools.product("+-*", repeat=2):
            text = f"{digits[0]}{signs[0]}{digits[1]}{signs[1]}{digits[2]}"
            assert evaluate(text, 5) == eval(text) % 5


def test_sizes_are_checked():
    with refuses("arithmetic-size", "length 3"):
        modular_arithmetic(1, 3, seed=0)
