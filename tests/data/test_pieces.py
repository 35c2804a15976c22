"""Word pieces and running text."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from disobey.data.dataset import DataSpec
from disobey.data.pieces import FEWEST, Pieces, words_of
from disobey.data.sources.passages import SHORTEST, passages, resolved
from tests.support.refusals import refuses

TEXTS = ["low lower lowest, slow", "new newer newest 10 (widest)", "slow news: lower rates"]
SMALL = DataSpec("text:jinja2#128")


def learned_slowly(counts, size):
    """Counts all pairs of all words anew for each merge."""
    spelled, merges = {word: list(word) for word in counts}, []
    while len(merges) < size - FEWEST:
        pairs = Counter()
        for word, letters in spelled.items():
            for pair in pairwise(letters):
                pairs[pair] += counts[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for word, letters in spelled.items():
            joined = []
            for letter in letters:
                if joined and (joined[-1], letter) == best:
                    joined[-1] += letter
                else:
                    joined.append(letter)
            spelled[word] = joined
    return tuple(merges)


def test_pieces_are_those_of_the_slow_way():
    counts = Counter(word for text in (*TEXTS, "aaaa aaa aabaa bab") for word in words_of(text))
    assert Pieces.of(counts, FEWEST + 20).merges == learned_slowly(counts, FEWEST + 20)


def test_text_comes_back_from_its_pieces():
    pieces = Pieces.of(Counter(word for text in TEXTS for word in words_of(text)), FEWEST + 15)
    ids = pieces.encode(TEXTS)
    assert "".join(pieces.vocabulary[i] or "\n" for i in ids).splitlines() == TEXTS
    assert ids.count(0) == len(TEXTS)
    assert len(pieces.vocabulary) == FEWEST + 15 > max(ids)


def test_too_few_pieces_and_too_little_text_are_refused():
    with refuses("piece-count"):
        Pieces.of(Counter({"low": 1}), FEWEST - 1)
    with refuses("piece-count"):
        Pieces.of(Counter({"low": 1}), FEWEST + 10)


def test_windows_ask_for_every_token_once():
    text = passages(SMALL)
    windows = text.windows("test", 16)
    answers = windows[:, 1:].ravel()
    np.testing.assert_array_equal(answers, text.test[1 : len(answers) + 1])
    np.testing.assert_array_equal(windows[1:, 0], windows[:-1, -1])
    assert len(text.test) - 1 - len(answers) < 16
    assert len(text.train) > 5 * len(text.test) > 5 * SHORTEST / 4


def test_other_text_is_refused():
    found = resolved(SMALL)
    assert found.fingerprint == passages(found).fingerprint
    with refuses("changed-data"):
        passages(DataSpec(SMALL.name, fingerprint="0" * 16))


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("text:jinja2", "text-name"),
        ("text:../x#99", "text-name"),
        ("text:no_such_package#128", "no-data-package"),
        ("text:json#128", "little-text"),
    ],
)
def test_names_that_are_no_text(name, id):
    with refuses(id):
        passages(DataSpec(name))
