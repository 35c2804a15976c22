import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from disobey.data.formats.files import from_path
from disobey.data.sources.text import MAX_TOKENS, UNKNOWN, Vocabulary


@given(st.lists(st.text(max_size=30), min_size=1, max_size=8), st.sampled_from(["word", "char"]))
@settings(max_examples=100, deadline=None)
def test_known_texts_come_back(texts, level):
    words = Vocabulary.of(texts, level, length=200)
    rows = words.encode(texts)
    assert rows.shape == (len(texts), 200)
    assert rows.max(initial=0) < len(words.tokens)
    assert not (rows == 1).any()
    for text, row in zip(texts, rows, strict=True):
        back = words.separator.join(words.tokens[token] for token in row if token)
        if level == "char":
            assert back == text.lower()
        else:
            assert back.replace(" ", "") == "".join(text.lower().split())


def test_length_fits_nineteen_of_twenty_and_the_rest_is_cut():
    texts = ["a b"] * 95 + ["a b c d e f"] * 5
    words = Vocabulary.of(texts)
    assert words.length == 2
    assert words.encode(["b a a"])[0].tolist() == [3, 2]
    assert Vocabulary.of(["a " * 500] * 9).length == 64
    assert Vocabulary.of(["a" * 500] * 9, "char").length == 256


def test_the_vocabulary_is_bounded_and_frequent_first():
    texts = [f"w{i} common" for i in range(MAX_TOKENS + 50)]
    words = Vocabulary.of(texts)
    assert len(words.tokens) == MAX_TOKENS
    assert words.tokens[:3] == ("", UNKNOWN, "common")


def test_the_vocabulary_knows_the_training_split_only(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("text,label\n" + "".join(f"word{i} the,{i % 2}\n" for i in range(100)))
    data = from_path(str(file))
    assert {f"word{i}" for i in data.train.ids} == set(data.vocabulary) - {"", UNKNOWN, "the"}
    assert np.all(data.test.inputs[:, 0] == 1)
    assert not (data.train.inputs == 1).any()
