"""How features spread, with planted spectra; and the published probe's weakness for scale."""

import numpy as np
import pytest

from disobey.measures.probes import logistic_probe
from disobey.measures.short_probe import short_probe
from disobey.measures.spread import dead_share, effective_rank, with_spectrum
from tests.support.refusals import refuses

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(400, 6)) @ np.diag([4.0, 3.0, 2.0, 1.0, 0.5, 0.1])


def test_the_effective_rank_counts_directions():
    equal = RNG.normal(size=(20_000, 8))
    assert effective_rank(equal) == pytest.approx(8, abs=0.02)
    assert effective_rank(equal[:, :1] * np.ones(8)) == pytest.approx(1)
    assert effective_rank(np.ones((5, 3))) == 0
    assert effective_rank(7 * FEATURES + 3) == pytest.approx(effective_rank(FEATURES))


def test_features_take_over_a_spectrum_and_keep_their_directions():
    other = RNG.normal(size=(300, 6))
    found = with_spectrum(FEATURES, other)
    assert np.allclose(np.linalg.eigvalsh(np.cov(found.T)), np.linalg.eigvalsh(np.cov(other.T)))
    own, new = (np.linalg.eigh(np.cov(side.T))[1] for side in (FEATURES, found))
    assert np.allclose(np.abs((own * new).sum(axis=0)), 1, atol=1e-6)
    assert np.allclose(with_spectrum(FEATURES, FEATURES), FEATURES - FEATURES.mean(axis=0))


def test_dead_units_and_bad_shapes():
    x = FEATURES.copy()
    x[:, 2] = 0.7
    assert dead_share(x) == pytest.approx(1 / 6)
    assert np.isfinite(with_spectrum(x, FEATURES)).all()
    with refuses("feature-matrix"):
        effective_rank(np.ones(3))
    with refuses("feature-matrix"):
        with_spectrum(FEATURES, FEATURES[:, :2])


def test_the_published_probe_rewards_scale_and_the_converged_one_does_not():
    labels = np.arange(400) % 3
    x = RNG.normal(size=(400, 6)) + np.eye(6)[labels]
    sides = x[:200], x[200:300], x[300:]
    y = labels[:200], labels[200:300]
    small, large = [
        float((short_probe(scale * sides[0], y[0], scale * sides[2]) == labels[300:]).mean()) for scale in (0.01, 10)
    ]
    assert large > small + 0.1
    converged = [
        logistic_probe(s * sides[0], y[0], s * sides[1], y[1], s * sides[2]).accuracy(labels[300:]) for s in (0.01, 10)
    ]
    assert converged[0] == pytest.approx(converged[1], abs=0.011)
