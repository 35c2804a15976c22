"""Kernel students against scikit-learn, against one linear system per ridge, and against their symmetries."""

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.preprocessing import KernelCenterer

from disobey.theory.kernel_students import (
    RIDGES,
    centred_logits,
    fit,
    kernel_ridge,
    one_hot,
    problem,
    soft_targets,
)
from tests.support.refusals import refuses

N, V, M, C = 40, 25, 30, 3
SOME = (0.003, 0.1, 2.0)


def example(features=6, seed=0):
    generator = np.random.default_rng(seed)
    weights = generator.normal(size=(features, C))
    inputs = generator.normal(size=(N + V + M, features)) + 3
    labels = (np.tanh(inputs - 3) @ weights + 0.3 * generator.normal(size=(len(inputs), C))).argmax(1)
    x, y = np.split(inputs, [N, N + V]), np.split(labels, [N, N + V])
    return x, y, generator.normal(size=(N, C))


def slow_path(x, targets, kernel, ridges, bandwidth=1.0):
    """Explicit kernel matrices, centred by multiplying with I - 11'/n, one linear system a ridge."""
    everything = np.concatenate(x)
    distances = np.sqrt(((everything[:, None] - everything[None]) ** 2).sum(-1))
    h = bandwidth * np.median(distances[:N, :N][np.triu_indices(N, 1)])
    full = {
        "linear": everything @ everything.T,
        "rbf": np.exp(-(distances**2) / (2 * h**2)),
        "laplace": np.exp(-distances / h),
    }[kernel]
    mean = np.zeros((len(everything), 1))
    mean[:N] = 1 / N
    take = np.eye(len(everything)) - np.ones((len(everything), 1)) @ mean.T  # feature - mean training feature
    full = take @ full @ take.T
    unit = np.trace(full[:N, :N]) / N
    offset = targets.mean(0)
    found = []
    for ridge in ridges:
        dual = np.linalg.solve(full[:N, :N] + ridge * unit * np.eye(N), targets - offset)
        found.append(full[N:, :N] @ dual + offset)
    return np.split(np.array(found), [V], axis=1)


@pytest.mark.parametrize("features", [6, 70])
@pytest.mark.parametrize("kernel", ["linear", "rbf", "laplace"])
def test_path_equals_one_system_a_ridge(kernel, features):
    x, _, targets = example(features)
    ours = problem(*x, kernel=kernel, bandwidth=0.8).path(targets, SOME)
    slow = slow_path(x, targets, kernel, SOME, 0.8)
    for found, exact in zip(ours, slow, strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kernel", ["rbf", "laplace"])
def test_path_equals_kernel_ridge_of_scikit_learn(kernel):
    x, _, targets = example()
    ours = problem(*x, kernel=kernel)
    distances = [euclidean_distances(side, x[0]) for side in x]
    matrices = [
        np.exp(-d / ours.bandwidth if kernel == "laplace" else -(d**2) / 2 / ours.bandwidth**2) for d in distances
    ]
    centerer = KernelCenterer().fit(matrices[0])
    inner, _, outer = (centerer.transform(matrix) for matrix in matrices)
    for ridge, found in zip(SOME, ours.path(targets, SOME)[1], strict=True):
        theirs = KernelRidge(alpha=ridge * np.trace(inner) / N, kernel="precomputed")
        theirs.fit(inner, targets - targets.mean(0))
        np.testing.assert_allclose(found, theirs.predict(outer) + targets.mean(0), rtol=1e-7, atol=1e-9)


def test_linear_equals_ridge_regression_with_a_free_intercept():
    x, _, targets = example()
    unit = ((x[0] - x[0].mean(0)) ** 2).sum() / N
    for ridge, found in zip(SOME, problem(*x, kernel="linear").path(targets, SOME)[1], strict=True):
        np.testing.assert_allclose(found, Ridge(alpha=ridge * unit).fit(x[0], targets).predict(x[2]), rtol=1e-8)


@pytest.mark.parametrize("features", [6, 70])
def test_linear_without_ridge_is_the_minimum_norm_fit(features):
    x, _, targets = example(features)
    centre = x[0].mean(0)
    slope = np.linalg.lstsq(x[0] - centre, targets - targets.mean(0), rcond=None)[0]
    exact = (x[2] - centre) @ slope + targets.mean(0)
    kernels = problem(*x, kernel="linear")
    np.testing.assert_allclose(kernels.path(targets, [0.0])[1][0], exact, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(kernels.path(targets, [1e-9])[1][0], exact, rtol=1e-4, atol=1e-5)
    assert kernels.effective_dimension(0.0) == pytest.approx(min(features, N - 1))


def test_a_repeated_example_does_no_harm():
    x, _, targets = example()
    x[0][1] = x[0][0]
    slow = slow_path(x, targets, "linear", [1e-8])[1]
    np.testing.assert_allclose(problem(*x, kernel="linear").path(targets, [0.0])[1], slow, rtol=1e-4, atol=1e-5)
    assert np.abs(problem(*x, kernel="laplace").path(targets, [0.0])[1]).max() < 100


@pytest.mark.parametrize("kernel", ["linear", "rbf", "laplace"])
def test_invariances(kernel):
    x, _, targets = example()
    generator = np.random.default_rng(1)
    base = problem(*x, kernel=kernel).path(targets, SOME)[1]
    rotation = np.linalg.qr(generator.normal(size=(6, 6)))[0]
    moved = problem(*(7 * side @ rotation + 2 for side in x), kernel=kernel).path(targets, SOME)[1]
    np.testing.assert_allclose(moved, base, rtol=1e-6, atol=1e-8)
    order = generator.permutation(N)
    shuffled = problem(x[0][order], *x[1:], kernel=kernel).path(targets[order], SOME)[1]
    np.testing.assert_allclose(shuffled, base, rtol=1e-6, atol=1e-8)
    shifted = problem(*x, kernel=kernel).path(3 * targets + [1, -2, 5], SOME)[1]
    np.testing.assert_allclose(shifted, 3 * base + [1, -2, 5], rtol=1e-6, atol=1e-8)


def test_large_ridges_answer_the_mean_and_small_ones_repeat_the_targets():
    x, _, targets = example()
    kernels = problem(x[0], x[0], x[2], kernel="laplace")
    repeated, _ = kernels.path(targets, [1e-10])
    np.testing.assert_allclose(repeated[0], targets, atol=1e-6)
    _, far = kernels.path(targets, [1e9])
    np.testing.assert_allclose(far[0], np.tile(targets.mean(0), (M, 1)), atol=1e-6)
    assert kernels.effective_dimension(1e-10) == pytest.approx(N - 1, abs=1e-4)
    assert kernels.effective_dimension(1e9) < 1e-6


def test_ridge_is_chosen_on_validation_and_ties_go_to_the_largest():
    x, y, _ = example()
    kernels = problem(*x)
    student = fit(kernels, one_hot(y[0], C), y[1])
    validation, test = kernels.path(one_hot(y[0], C))
    accuracies = (validation.argmax(2) == y[1]).mean(1)
    assert np.array_equal(student.validation_accuracies, accuracies)
    best = np.flatnonzero(accuracies == accuracies.max())[-1]
    assert student.ridge == RIDGES[best]
    assert np.array_equal(student.test_scores, test[best])
    assert student.accuracy(y[2]) == (test[best].argmax(1) == y[2]).mean()
    nothing = fit(kernels, np.tile([0.5, 0.3, 0.2], (N, 1)), y[1])
    assert nothing.ridge == max(RIDGES)
    assert nothing.at_edge
    at_once = kernel_ridge(x[0], one_hot(y[0], C), x[1], y[1], x[2])
    assert np.array_equal(at_once.test_scores, student.test_scores)


def test_a_teacher_saves_a_linear_student_its_label_noise():
    """Planted: noisy labels of a linear truth against the truth itself; a gain with noise, none without."""
    generator = np.random.default_rng(0)
    truth = generator.normal(size=(20, C))
    gains = {}
    for noise in (0.0, 0.4):
        found = []
        for _ in range(20):
            inputs = generator.normal(size=(1200, 20))
            logits = inputs @ truth
            labels = logits.argmax(1)
            told = np.where(generator.random(80) < noise, generator.integers(0, C, 80), labels[:80])
            kernels = problem(inputs[:80], inputs[80:400], inputs[400:], kernel="linear")
            pair = [fit(kernels, t, labels[80:400]) for t in (one_hot(told, C), centred_logits(logits[:80]))]
            found.append(pair[1].accuracy(labels[400:]) - pair[0].accuracy(labels[400:]))
        gains[noise] = np.mean(found)
    assert gains[0.4] > gains[0.0] + 0.1
    assert gains[0.0] > 0  # one-hot labels hide the margin, which linear regression would like to know


def test_targets():
    logits = np.random.default_rng(0).normal(size=(5, C)) * 4
    slow = np.array([np.exp(row / 3) / np.exp(row / 3).sum() for row in logits])
    np.testing.assert_allclose(soft_targets(logits, 3.0), slow)
    np.testing.assert_allclose(centred_logits(logits - 7), logits - logits.mean(1, keepdims=True))
    hot = soft_targets(logits, 1e6)  # 1/C + centred / (C T)
    np.testing.assert_allclose((hot - 1 / C) * C * 1e6, centred_logits(logits), rtol=1e-4)


def test_high_temperature_answers_as_centred_logits():
    x, _, _ = example()
    logits = 3 * np.random.default_rng(2).normal(size=(N, C))
    kernels = problem(*x)
    hot, exact = (kernels.path(t, SOME)[1].argmax(2) for t in (soft_targets(logits, 1e5), centred_logits(logits)))
    assert np.array_equal(hot, exact)


def test_errors():
    x, y, targets = example()
    with refuses("input-shapes", "(40, 6, 1)"):
        problem(x[0][:, :, None], x[1], x[2])
    with refuses("unknown-kernel", "'laplace'", "'cubic'"):
        problem(*x, kernel="cubic")  # type: ignore[arg-type]
    with refuses("equal-inputs", "4"):
        problem(np.ones((4, 6)), x[1], x[2])
    with refuses("bandwidth-range", "0"):
        problem(*x, bandwidth=0)
    kernels = problem(*x)
    with refuses("target-shape", "one_hot"):
        fit(kernels, y[0], y[1])
    with refuses("ridge-range", "-1.0"):
        fit(kernels, targets, y[1], ridges=[-1.0])
    with refuses("label-count", "25"):
        fit(kernels, targets, y[2])
    with refuses("temperature-range", "0.0"):
        soft_targets(targets, 0.0)
