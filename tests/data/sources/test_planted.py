"""The planted generator: what was planted is there; options that cannot be are refused."""

import numpy as np
import pytest

from disobey.data.dataset import DataSpec
from disobey.data.load import load
from disobey.data.sources.planted import class_frame, orthonormal, planted
from tests.support.refusals import refuses


def in_frame(data, seed=0):
    """All inputs with class k along coordinate k, and all labels."""
    splits = data.train, data.validation, data.test
    x = np.concatenate([s.inputs for s in splits]).astype(float)
    return x @ class_frame(x.shape[1], seed), np.concatenate([s.labels for s in splits])


@pytest.mark.parametrize("similarity", [0.0, 0.6])
def test_own_and_secondary_class_have_their_weights(similarity):
    z, y = in_frame(planted(examples=6000, classes=5, features=8, similarity=similarity, sigma=0.2))
    means = np.stack([z[y == k].mean(axis=0) for k in range(5)])
    expected = np.full((5, 5), similarity / 4)
    np.fill_diagonal(expected, 1.0)
    np.testing.assert_allclose(means[:, :5], expected, atol=0.05)
    np.testing.assert_allclose(means[:, 5:], 0, atol=0.05)


def test_noise_has_the_planted_size_and_spectrum():
    z, y = in_frame(planted(examples=40_000, classes=3, features=12, similarity=0.0, sigma=0.5, slope=1.2))
    values = np.linalg.eigvalsh(np.cov(z - np.eye(3, 12)[y], rowvar=False))[::-1]
    assert values.mean() == pytest.approx(0.25, rel=0.03)
    assert -np.polyfit(np.log(np.arange(1, 13)), np.log(values), 1)[0] == pytest.approx(1.2, abs=0.05)


def test_a_seed_is_a_truth_and_names_carry_options():
    first, again, other = (planted(examples=200, seed=seed).train.inputs for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    data = load(DataSpec("synthetic:planted#examples=400,classes=4,features=6,similarity=0.3", train=80, noise=0.25), 0)
    assert (len(data.train), len(data.classes), data.train.inputs.shape[1]) == (80, 4, 6)
    assert int(data.train.mislabelled.sum()) == 20
    turn = orthonormal(np.random.default_rng(0), 5)
    np.testing.assert_allclose(turn @ turn.T, np.eye(5), atol=1e-12)


@pytest.mark.parametrize(
    "wrong", [{"similarity": 1.0}, {"classes": 2}, {"features": 5}, {"sigma": 0.0}, {"slope": -1.0}]
)
def test_impossible_options_are_refused(wrong):
    with refuses("planted-range"):
        planted(**{"examples": 200, **wrong})
