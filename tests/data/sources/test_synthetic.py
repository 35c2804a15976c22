import numpy as np
import pytest

from disobey.data.dataset import DataSpec
from disobey.data.load import load
from disobey.data.sources.synthetic import overlap, overlap_log_probs, similarity, spectrum, spectrum_log_probs
from tests.support.refusals import refuses


def pooled(data):
    splits = (data.train, data.validation, data.test)
    return np.concatenate([s.inputs for s in splits]), np.concatenate([s.labels for s in splits])


def assert_calibrated(log_probs, labels):
    """The true probabilities predict the labels: mean log-likelihood and accuracy as the law itself says."""
    probabilities = np.exp(log_probs)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    hit = log_probs[np.arange(len(labels)), labels]
    entropy = -(probabilities * log_probs).sum(1)
    assert abs((hit + entropy).mean()) < 4 * hit.std() / np.sqrt(len(labels))
    top = probabilities.max(1)
    right = log_probs.argmax(1) == labels
    assert abs(right.mean() - top.mean()) < 4 / np.sqrt(len(labels))
    return right.mean()


def test_spectrum_has_the_planted_decay_and_truth():
    x, y = pooled(spectrum(examples=20_000, features=16, decay=1.5))
    np.testing.assert_allclose(x.var(0), np.arange(1, 17) ** -1.5, rtol=0.06)
    accuracy = assert_calibrated(spectrum_log_probs(x, decay=1.5), y)
    assert 0.5 < accuracy < 0.95
    assert (spectrum_log_probs(x, decay=1.5, seed=1).argmax(1) == y).mean() < 0.3  # positive control: another truth


def test_overlap_has_the_planted_truth():
    x, y = pooled(overlap(examples=20_000, classes=4, distance=2.0))
    accuracy = assert_calibrated(overlap_log_probs(x, classes=4, distance=2.0), y)
    assert 0.6 < accuracy < 0.95
    assert np.bincount(y).tolist() == [5000] * 4


def test_similarity_plants_one_other_class():
    x, y = pooled(similarity(examples=4000, classes=5, features=8, own=2.0, shared=1.0, sigma=0.01))
    x = x.round()
    assert (x[np.arange(4000), y] == 2).all()
    assert ((x == 1).sum(1) == 1).all()
    assert (x.sum(1) == 3).all()
    other = (x == 1).argmax(1)
    counts = np.bincount((other - y) % 5, minlength=5)
    assert counts[0] == 0
    assert np.abs(counts[1:] - 1000).max() < 5 * np.sqrt(750)


def test_names_carry_parameters_and_the_seed_of_a_run_changes_no_truth():
    spec = DataSpec("synthetic:overlap#examples=400,classes=4,distance=1.5,seed=3")
    data = load(spec, 0)
    assert data.fingerprint == load(spec, 1).fingerprint
    assert (
        data.fingerprint
        == load(DataSpec("synthetic:overlap#seed=3,distance=1.5,classes=4,examples=400"), 0).fingerprint
    )
    assert data.fingerprint != load(DataSpec("synthetic:overlap#examples=400,classes=4,distance=1.5"), 0).fingerprint


@pytest.mark.parametrize(
    ("tail", "id"),
    [
        ("colour=1", "synthetic-parameter"),
        ("classes=x", "synthetic-parameter"),
        ("classes=1", "synthetic-size"),
        ("examples=10", "synthetic-size"),
        ("features=0", "synthetic-size"),
        ("classes", "synthetic-parameter"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(tail, id):
    with refuses(id):
        load(DataSpec(f"synthetic:overlap#{tail}"), 0)
    with refuses("few-features", "10", "3"):
        similarity(classes=10, features=3)
