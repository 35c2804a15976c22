"""Eigen-directions of layers: planted gradient flow, invariances, and slow twins entry by entry."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from disobey.measures.eigenspace import (
    Spectrum,
    band_norms,
    bands,
    direction_norms,
    matched_bias,
    patches,
    spectrum,
    top_bias,
)
from disobey.theory.linear_flow import LinearProblem, progress
from disobey.theory.matched_progress import equal_time_excess
from tests.support.refusals import refuses

RNG = torch.Generator().manual_seed(0)
X = torch.randn(200, 6, generator=RNG, dtype=torch.float64) * torch.tensor([3.0, 2.0, 1.5, 1.0, 0.5, 0.2]).double()


def test_flow_of_teacher_and_student_shows_the_bias_of_the_theory():
    """Planted: the student of a stopped teacher is log f1(T)/fk(T) more top-biased than its twin, at equal times."""
    x = (X - X.mean(0)).numpy()
    problem = LinearProblem.from_data(x, x @ np.arange(1.0, 7.0), reduction="mean")
    of, within = spectrum(X), [slice(k, k + 1) for k in range(6)]
    teacher_time = 0.3
    for time in (0.1, 1.0, 5.0):
        learned = progress(problem.spectrum, time)
        twin = problem.weights(learned * problem.solution)
        student = problem.weights(learned * progress(problem.spectrum, teacher_time) * problem.solution)
        found = top_bias(*(band_norms(torch.from_numpy(w[None]), of, within) for w in (student, twin)))
        expected = np.log(equal_time_excess(problem.spectrum[0], problem.spectrum[1:], teacher_time))
        np.testing.assert_allclose(found, expected, rtol=1e-8)
        assert (found > 0).all()


def test_the_theorem_is_seen_at_matched_progress():
    """Paths of flow: at equal top the student is behind below; a twin beside itself is not."""
    rates, times = np.array([4.0, 1.0]), np.geomspace(0.01, 3, 60)
    twin = progress(rates, times)
    student = twin * progress(rates, 0.5)
    assert matched_bias(student, twin)[0] > 0.1
    assert matched_bias(twin, twin)[0] == pytest.approx(0)
    assert np.isnan(matched_bias(student * 100, twin)).all()


def test_scale_does_not_matter_direction_does():
    norms = np.array([[3.0, 2.0, 1.0], [5.0, 1.0, 0.5]])
    np.testing.assert_allclose(top_bias(7 * norms, norms), 0, atol=1e-12)
    assert (top_bias(norms * [2, 1, 1], norms) > 0.69).all()


def test_spectrum_equals_numpy_and_turns_with_the_inputs():
    of = spectrum(X)
    values = np.linalg.eigvalsh(np.cov(X.numpy().T, bias=True))[::-1]
    np.testing.assert_allclose(of.values, values)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=RNG, dtype=torch.float64))[0]
    weights = torch.randn(3, 6, generator=RNG, dtype=torch.float64)
    turned = spectrum(X @ turn.T + 5.0)  # a shift is the mean, which is taken out
    torch.testing.assert_close(direction_norms(weights @ turn.T, turned), direction_norms(weights, of))


def test_norms_equal_the_slow_twin():
    of, weights = spectrum(X), torch.randn(4, 3, 6, generator=RNG)
    within = (slice(0, 2), slice(2, 5))
    found = band_norms(weights, of, within)
    for t in range(4):
        for k, band in enumerate(within):
            total = 0.0
            for j in range(6)[band]:
                for row in weights[t].double():
                    total += float(row @ of.directions[:, j]) ** 2
            assert found[t, k] == pytest.approx(total**0.5)


def test_patches_times_weights_is_the_convolution():
    images = torch.randn(3, 2, 7, 7, generator=RNG)
    weights = torch.randn(5, 2, 3, 3, generator=RNG)
    seen = patches(images, 3, stride=2, padding=1) @ weights.flatten(1).T
    expected = F.conv2d(images, weights, stride=2, padding=1)
    torch.testing.assert_close(seen, expected.flatten(2).transpose(1, 2).reshape(-1, 5))


def test_bands_hold_their_shares_and_leave_nobody_empty():
    values = torch.arange(100, 0, -1).double()
    held = values.cumsum(0) / values.sum()
    for share, band in zip((0.5, 0.9, 0.99), bands(values), strict=True):
        assert held[band.stop - 1] >= share > held[band.stop - 2]
    assert bands(torch.tensor([100.0, 1e-3, 1e-4])) == (slice(0, 1), slice(1, 2), slice(2, 3))
    assert [b.stop - b.start for b in bands(torch.ones(3))] == [1, 1, 1]


@pytest.mark.parametrize(
    ("id", "wrong"),
    [
        ("input-rows", lambda: spectrum(torch.ones(5))),
        ("band-shares", lambda: bands(torch.ones(2))),
        ("band-shares", lambda: bands(torch.ones(9), (0.9, 0.5))),
    ],
)
def test_bad_inputs_are_refused(id, wrong):
    with refuses(id):
        wrong()


def test_a_direction_can_be_anybodys():
    own = Spectrum(torch.tensor([1.0, 1.0]).double(), torch.eye(2).double())
    assert band_norms(torch.tensor([[0.0, 2.0]]), own, (slice(0, 1), slice(1, 2))).tolist() == [0.0, 2.0]
