"""CKA against (N, N) matrices centred by hand, its invariances, planted truth, and what its interval covers."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import ortho_group

from disobey.measures.similarity import cka, cka_interval
from tests.support.refusals import refuses


def _u_centred(points):
    """U-centring (Székely and Rizzo 2014) of minus half the squared distances, which is the linear kernel up to
    terms that the centring takes away: an inner product of two such matrices is the unbiased HSIC."""
    kernel = -squareform(pdist(points, "sqeuclidean")) / 2
    n = len(kernel)
    rows = kernel.sum(axis=1, keepdims=True) / (n - 2)
    centred = kernel - rows - rows.T + kernel.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(centred, 0.0)
    return centred


def slow_cka(x, y):
    a, b = _u_centred(x), _u_centred(y)
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


@pytest.mark.parametrize(("n", "first", "second"), [(4, 2, 3), (30, 5, 2), (40, 100, 7), (25, 60, 60), (200, 1, 1)])
def test_agrees_with_centred_matrices(n, first, second):
    rng = np.random.default_rng(n)
    x = 100 + 3 * rng.normal(size=(n, first))
    y = np.tanh(x[:, :1]) + rng.normal(size=(n, second))
    assert cka(x, y) == pytest.approx(slow_cka(x, y), rel=1e-8, abs=1e-10)


def test_invariances():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 6)), rng.normal(size=(80, 4))
    y[:, 0] += x[:, 0]
    order = rng.permutation(80)
    turned = -5 * x @ ortho_group.rvs(6, random_state=1) + 9
    assert cka(x, y) == pytest.approx(cka(y, x), rel=1e-12)
    assert cka(turned, y) == pytest.approx(cka(x, y), rel=1e-9)
    assert cka(x[order], y[order]) == pytest.approx(cka(x, y), rel=1e-9)
    assert cka(1e-9 * x, 1e9 * y) == pytest.approx(cka(x, y), rel=1e-9)
    assert cka(x.reshape(80, 2, 3), y) == pytest.approx(cka(x, y), rel=1e-12)


def test_unrelated_features_are_unrelated_however_wide():
    """The biased estimate is above .9 here."""
    rng = np.random.default_rng(0)
    found = [cka(rng.normal(size=(50, 800)), rng.normal(size=(50, 800))) for _ in range(40)]
    assert abs(np.mean(found)) < 0.02


def test_planted_population_value():
    """Two independent parts of unit variance, one shared: CKA = 1 / (√2 · √2) in the population."""
    rng = np.random.default_rng(3)
    shared, own, other = rng.normal(size=(3, 20_000))
    assert cka(np.stack([shared, own], 1), np.stack([shared, other], 1)) == pytest.approx(0.5, abs=0.02)


def test_interval_covers_the_population():
    rng = np.random.default_rng(5)
    hits, differences = 0, 0
    for seed in range(100):
        shared, own, other, third = rng.normal(size=(4, 300))
        x, y = np.stack([shared, own], 1), np.stack([shared, other], 1)
        _, low, high = cka_interval(x, y, seed=seed)
        hits += low <= 0.5 <= high
        _, low, high = cka_interval(x, y, twin=np.stack([third, shared], 1), seed=seed)
        differences += low <= 0.0 <= high
    assert 89 <= hits <= 100, hits
    assert 89 <= differences <= 100, differences


def test_left_out_groups_are_left_out():
    """With as many groups as pairs of examples, the jackknife is that of separate computations."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(24, 3))
    y = x[:, :2] + rng.normal(size=(24, 2))
    value, low, high = cka_interval(x, y, seed=4)
    group = np.empty(24, dtype=int)
    group[np.random.default_rng(4).permutation(24)] = np.arange(24) % 12
    left = np.array([slow_cka(x[group != g], y[group != g]) for g in range(12)])
    error = np.sqrt(11 / 12 * ((left - left.mean()) ** 2).sum())
    assert value == pytest.approx(slow_cka(x, y), rel=1e-9)
    assert high - low == pytest.approx(2 * 2.200985 * error, rel=1e-5)  # t with 11 degrees of freedom


def test_what_has_no_answer():
    x = np.random.default_rng(0).normal(size=(30, 2))
    assert np.isnan(cka(x, np.ones((30, 3))))
    assert np.isnan(cka_interval(x, np.ones((30, 3)))[1])
    assert np.isnan(cka_interval(x[:10], x[:10])[1])
    with refuses("feature-rows", "30 and 29"):
        cka(x, x[:29])
    with refuses("feature-rows", "4"):
        cka(x[:3], x[:3])
