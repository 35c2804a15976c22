"""Plain vectors equal what networks see, and counts equal counting."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from disobey.data.dataset import DataSpec
from disobey.data.flat import flat_inputs, token_counts
from disobey.data.load import load
from disobey.data.tensors import inputs_tensor


@pytest.mark.parametrize("name", ["digits-8x8", "mnist-5k", "modular-addition#p=7", "synthetic:overlap#examples=300"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_images_and_features_as_networks_see_them(name, split):
    data = load(DataSpec(name, train=30), 0)
    tensor = inputs_tensor(data, split).flatten(1).double().numpy()
    np.testing.assert_allclose(flat_inputs(data, split), tensor, atol=1e-5)


def test_texts_are_counts_of_letters_and_pairs():
    data = load(DataSpec("languages", train=40), 0)
    found, tokens = flat_inputs(data, "train") ** 2, len(data.vocabulary)
    assert found.shape == (40, tokens - 1 + tokens**2 - 1)
    for row, inputs in zip(found, data.train.inputs, strict=True):
        word = [int(token) for token in inputs if token]
        letters, pairs = Counter(word), Counter(pairwise([0, *word, 0]))
        assert sum(row) == pytest.approx(2 * len(word) + 1)
        for token, count in letters.items():
            assert row[token - 1] == pytest.approx(count)
        for (left, right), count in pairs.items():
            assert row[tokens - 1 + left * tokens + right - 1] == pytest.approx(count)


def test_large_vocabularies_are_counted_one_by_one():
    ids = np.array([[5, 5, 99, 0], [1, 0, 0, 0]])
    counts = token_counts(ids, 100)
    assert counts.shape == (2, 99)
    assert counts[0, 4] == 2
    assert counts.sum() == 4


def test_a_full_row_has_an_end_too():
    assert token_counts(np.array([[1, 2]]), 3).sum() == 2 + 3
