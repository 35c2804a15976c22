"""A teacher's saved answers: what is read, and what is refused."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from disobey.data.dataset import DataSpec
from disobey.data.formats.answers import fingerprint, read_answers
from disobey.data.load import load
from tests.support.refusals import refuses

LOGITS = {"train": (1257, 10), "validation": (180, 10), "test": (360, 10)}


@pytest.fixture(scope="module")
def digits():
    return load(DataSpec("digits-8x8"), 0)


@pytest.fixture
def logits():
    rng = np.random.default_rng(0)
    return {split: 3 * rng.normal(size=shape) for split, shape in LOGITS.items()}


def test_logits_log_probabilities_and_probabilities_are_the_same_answers(tmp_path, digits, logits):
    forms = {
        "logits": lambda z: z,
        "log": lambda z: log_softmax(z, axis=1).astype(np.float32),
        "probabilities": lambda z: softmax(z, axis=1),
        "half": lambda z: softmax(z, axis=1).astype(np.float16),
    }
    for name, form in forms.items():
        path = tmp_path / f"{name}.npz"
        np.savez(path, **{split: form(z) for split, z in logits.items()})
        found = read_answers(str(path), digits)
        assert set(found) == {"train", "validation"}
        wanted = softmax(logits["train"], axis=1)
        np.testing.assert_allclose(np.exp(found["train"]), wanted, atol=1e-6 if name != "half" else 1e-3)


def test_a_folder_of_arrays_and_that_of_a_run_are_read(tmp_path, digits, logits):
    for folder in (tmp_path / "plain", tmp_path / "run" / "predictions"):
        folder.mkdir(parents=True)
        for split, z in logits.items():
            np.save(folder / f"{split}.npy", z)
    one, other = (read_answers(str(tmp_path / name), digits) for name in ("plain", "run"))
    np.testing.assert_array_equal(one["validation"], other["validation"])
    assert fingerprint(tmp_path / "plain") == fingerprint(tmp_path / "run")


def test_changed_answers_are_noticed(tmp_path, digits, logits):
    path = tmp_path / "a.npz"
    np.savez(path, **logits)
    planned = fingerprint(path)
    read_answers(str(path), digits, planned)
    np.savez(path, **{split: -z for split, z in logits.items()})
    with refuses("changed-answers"):
        read_answers(str(path), digits, planned)


@pytest.mark.parametrize(
    ("id", "change"),
    [
        ("answer-arrays", {"train": None}),
        ("answer-shape", {"train": np.zeros((5, 10))}),
        ("answer-shape", {"validation": np.zeros((180, 3))}),
        ("answer-shape", {"validation": np.zeros(180)}),
        ("answer-numbers", {"train": np.full((1257, 10), np.nan)}),
        ("answer-numbers", {"train": np.full((1257, 10), -np.inf)}),
        ("answer-numbers", {"train": np.full((1257, 10), "a")}),
    ],
)
def test_what_is_refused(tmp_path, digits, logits, id, change):
    path = tmp_path / "a.npz"
    np.savez(path, **{split: z for split, z in {**logits, **change}.items() if z is not None})
    with refuses(id):
        read_answers(str(path), digits)


def test_no_answers(tmp_path, digits):
    (tmp_path / "w.pt").write_bytes(b"x")
    for name in ("nowhere", "w.pt", "."):
        with refuses("no-answers"):
            read_answers(str(tmp_path / name), digits)
    (tmp_path / "train.npy").write_bytes(b"no array")
    with refuses("answer-numbers"):
        read_answers(str(tmp_path), digits)
