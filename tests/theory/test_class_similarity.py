"""Closed forms of the similar-classes model against simulation, and the simulation against a slow twin."""

import numpy as np
import pytest

from disobey.theory.class_similarity import (
    REFERENCE_MODELS,
    SimilarClasses,
    best_strength,
    corrected_ratio,
    cross_fitted_ratio,
    distillation_helps,
    distilled_ratio,
    flip_rate,
    one_hot_snr,
    predicted_ratios,
    zeroed_ratio,
)
from disobey.theory.class_similarity_simulation import (
    draw,
    gradient_snr,
    one_hot_residuals,
    simulate_snr,
    simulate_softmax_teacher,
)
from tests.support.refusals import refuses

GRADIENTS = ("distilled", "cross_fitted", "zeroed")


def random_model(generator, *, aspect=(0.2, 1.0), width=(100, 130)) -> SimilarClasses:
    """A model with C/D <= 0.01: C in 3..7, D / N log-uniform, similarity in 0..0.95, noise log-uniform in 0.05..0.5."""
    classes = int(generator.integers(3, 8))
    features = classes * int(generator.integers(*width))
    pairs = classes * (classes - 1)
    examples = round(features / np.exp(generator.uniform(*np.log(aspect))) / pairs) * pairs
    noise = float(np.exp(generator.uniform(np.log(0.05), np.log(0.5))))
    return SimilarClasses(examples, classes, features, float(generator.uniform(0, 0.95)), noise)


def mean_log_ratios(model, seeds):
    runs = [simulate_snr(model, seed) for seed in seeds]
    ratios = np.array([[getattr(run, name) for name in GRADIENTS] for run in runs])
    return np.log(ratios).mean(axis=0), np.mean([run.flip_rate for run in runs])


def slow_gradients(model, seed):
    """The same draws, example by example and class by class."""
    generator = np.random.default_rng(seed)
    samples = [draw(model, generator) for _ in range(2)]
    weights = []
    for sample in samples:
        total = np.zeros((model.features, model.classes))
        for x, label in zip(sample.inputs, sample.labels, strict=True):
            for k in range(model.classes):
                total[:, k] += x * (float(k == label) - 1 / model.classes)
        weights.append(total / model.examples)
    found = {"one_hot": weights[0]} | {name: np.zeros_like(weights[0]) for name in GRADIENTS}
    flips = 0
    for x, label, secondary in zip(samples[0].inputs, samples[0].labels, samples[0].secondary, strict=True):
        for k in range(model.classes):
            found["distilled"][:, k] += x * (x @ weights[0][:, k])
            found["cross_fitted"][:, k] += x * (x @ weights[1][:, k])
            found["zeroed"][:, k] += x * (0.0 if k == secondary else float(k == label) - 1 / model.classes)
        flips += x @ weights[0][:, secondary] > 0
    return found, flips / model.examples


def slow_snr(gradient):
    features, count = gradient.shape
    signal = rest = 0.0
    for k in range(count):
        column = gradient[:, k] - gradient.mean(axis=1)
        direction = np.zeros(features)
        direction[:count] = -1 / count
        direction[k] += 1
        direction /= np.linalg.norm(direction)
        signal += (column @ direction) ** 2
        rest += np.sum((column - (column @ direction) * direction) ** 2)
    return signal / rest


def test_simulation_is_its_slow_twin():
    model = SimilarClasses(60, 4, 30, 0.6, 0.3)
    gradients, flips = slow_gradients(model, 7)
    fast = simulate_snr(model, 7)
    plain = slow_snr(gradients["one_hot"])
    for name in GRADIENTS:
        assert getattr(fast, name) == pytest.approx(slow_snr(gradients[name]) / plain, rel=1e-10)
    assert fast.flip_rate == flips


def test_snr_ignores_what_softmax_ignores():
    gradient = np.random.default_rng(0).standard_normal((12, 4))
    shifted = gradient + np.random.default_rng(1).standard_normal((12, 1))
    assert gradient_snr(shifted) == pytest.approx(gradient_snr(gradient), rel=1e-12)
    assert gradient_snr(3 * gradient) == pytest.approx(gradient_snr(gradient), rel=1e-12)


# Reference values of this construction: limits of the same-sample and the cross-fitted ratio, and flips.
REFERENCE = [(1.158, 1.645, 0.985), (0.835, 1.231, 0.292), (1.637, 2.220, 1.000)]


@pytest.mark.parametrize(("model", "expected"), list(zip(REFERENCE_MODELS, REFERENCE, strict=True)))
def test_reference_predictions(model, expected):
    found = predicted_ratios(model, limit=True)
    assert (found.distilled, found.cross_fitted, found.flip_rate) == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize(
    ("model", "measured"),
    list(
        zip(
            REFERENCE_MODELS,
            [(1.128, 1.593, 1.121, 0.987), (0.823, 1.211, 0.990, 0.287), (1.579, 2.125, 1.197, 1.0)],
            strict=True,
        )
    ),
)
def test_reference_simulations(model, measured):
    ratios, flips = mean_log_ratios(model, range(3))
    assert np.exp(ratios) == pytest.approx(np.array(measured[:3]), rel=0.03)
    assert flips == pytest.approx(measured[3], abs=0.01)
    predicted = predicted_ratios(model)
    assert np.exp(ratios) == pytest.approx([getattr(predicted, name) for name in GRADIENTS], rel=0.03)


def check_predictions(generator, models, seeds):
    for _ in range(models):
        model = random_model(generator)
        measured, flips = mean_log_ratios(model, range(seeds))
        predicted = predicted_ratios(model)
        logs = np.log([getattr(predicted, name) for name in GRADIENTS])
        assert np.abs(np.expm1(measured - logs)).max() < 0.1, model
        clear = np.abs(logs) > 0.05
        assert np.all(np.sign(measured[clear]) == np.sign(logs[clear])), model
        assert abs(flips - predicted.flip_rate) < 0.02, model


def test_random_models_agree_with_simulation():
    check_predictions(np.random.default_rng(11), 10, 4)


@pytest.mark.slow
def test_many_random_models_agree_with_simulation():
    check_predictions(np.random.default_rng(6), 60, 8)


def test_the_limit_alone_is_too_high_where_classes_nearly_coincide():
    # The positive control of the first-order term: without it this model is off by more than 10%.
    model = SimilarClasses(564, 3, 348, 0.8763, 0.0795)
    measured = np.exp(mean_log_ratios(model, range(20))[0])
    assert distilled_ratio(model, limit=True) > 1.1 * measured[0]
    assert distilled_ratio(model) == pytest.approx(measured[0], rel=0.05)
    assert cross_fitted_ratio(model) == pytest.approx(measured[1], rel=0.06)


def test_zeroed_gradient_has_the_derived_mean_and_power():
    """No noise, every pair once: mean gradient and mean squared residual by counting."""
    model = SimilarClasses(20, 5, 5, 0.7, 1e-12)
    sample = draw(model, np.random.default_rng(0))
    residuals = one_hot_residuals(sample.labels, 5)
    residuals[np.arange(20), sample.secondary] = 0.0
    residuals -= residuals.mean(axis=1, keepdims=True)
    gradient = sample.inputs.T @ residuals / 20
    expected = model.gradient + (model.similarity - model.own / 4) / 25
    assert gradient == pytest.approx(expected * (np.eye(5) - 1 / 5), abs=1e-10)
    assert np.mean(residuals**2) == pytest.approx((1 - 1 / 5 - 1 / 25 - 1 / 125) / 5, rel=1e-12)
    plain = np.mean(one_hot_residuals(sample.labels, 5) ** 2)
    by_hand = (expected / model.gradient) ** 2 * plain / np.mean(residuals**2)
    assert zeroed_ratio(model) == pytest.approx(by_hand, rel=1e-12)


def test_any_correction_agrees_with_simulation_and_the_best_is_one_over_purity():
    model = SimilarClasses(2880, 10, 900, 0.6, 0.2)
    generator = np.random.default_rng(3)
    ratios = {strength: [] for strength in (0.0, 3.0, 6.0, 9.0)}
    for _ in range(3):
        sample = draw(model, generator)
        plain = one_hot_residuals(sample.labels, 10)
        for strength, found in ratios.items():
            residuals = plain.copy()
            residuals[np.arange(2880), sample.secondary] += strength / 10
            found.append(gradient_snr(sample.inputs.T @ residuals) / gradient_snr(sample.inputs.T @ plain))
    for strength, found in ratios.items():
        assert np.mean(found) == pytest.approx(corrected_ratio(model, strength), rel=0.03)
    assert best_strength(model) == 6.0
    assert corrected_ratio(model, 6.0) == pytest.approx(1 / model.purity, rel=1e-12)
    assert all(corrected_ratio(model, other) < 1 / model.purity for other in (5.9, 6.1))


def test_without_similarity_the_teacher_always_hurts_and_with_it_the_criterion_is_the_ratio():
    generator = np.random.default_rng(4)
    for _ in range(2000):
        model = random_model(generator, aspect=(0.01, 10.0))
        alone = SimilarClasses(model.examples, model.classes, model.features, 0.0, model.noise)
        assert alone.purity == pytest.approx(1.0)
        assert not distillation_helps(alone)
        assert not distillation_helps(alone, limit=True)
        q, c, lam, pure = model.noise**2, model.aspect, model.eigenvalue, model.purity
        criterion = (1 - pure) * lam**2 + lam * q * (2 * (1 + c) - pure * (3 + 2 * c)) > c * q**2
        assert distillation_helps(model, limit=True) == criterion
        assert distilled_ratio(model) < distilled_ratio(model, limit=True)


def test_cross_fitting_flips_more():
    model = REFERENCE_MODELS[1]
    assert flip_rate(model, cross_fitted=True) > flip_rate(model)
    generator = np.random.default_rng(5)
    sample, other = draw(model, generator), draw(model, generator)
    weights = other.inputs.T @ one_hot_residuals(other.labels, 10)
    flips = np.mean((sample.inputs @ weights)[np.arange(4500), sample.secondary] > 0)
    assert flips == pytest.approx(flip_rate(model, cross_fitted=True), abs=0.02)


def test_absolute_snr_of_the_one_hot_gradient():
    model = REFERENCE_MODELS[0]
    sample = draw(model, np.random.default_rng(8))
    snr = gradient_snr(sample.inputs.T @ one_hot_residuals(sample.labels, 10))
    assert snr == pytest.approx(one_hot_snr(model), rel=0.03)


def test_softmax_teacher_of_one_small_step_is_the_linear_one():
    model = SimilarClasses(360, 4, 200, 0.6, 0.2)
    (age,) = simulate_softmax_teacher(model, 3, steps=(1,), step_size=1e-4, temperatures=(1.0,))
    assert age.teacher_weights == pytest.approx(age.one_hot, rel=1e-9)
    assert age.distilled[0] / age.one_hot == pytest.approx(simulate_snr(model, 3).distilled, rel=1e-3)


def test_softmax_teacher_loses_its_gain_by_memorizing_and_temperature_restores_it():
    model = SimilarClasses(720, 10, 360, 0.6, 0.2)
    first, last = simulate_softmax_teacher(model, 0, steps=(1, 400))
    assert last.accuracy == 1.0
    assert last.loss < 0.1 < first.loss
    assert last.teacher_weights < 0.7 * last.one_hot
    assert last.distilled[1] > 1.02 * last.distilled[0]
    assert last.distilled[0] / last.one_hot < first.distilled[0] / first.one_hot


@pytest.mark.slow
def test_softmax_teacher_reference():
    """Reference SNR [one-hot | weights | KD τ=1 | KD τ=4] of one draw; step size 2 reproduces it.

    Ratios to the one-hot SNR repeat to 4% from draw to draw, SNRs themselves to 6%.
    """
    model = SimilarClasses(1800, 10, 900, 0.6, 0.2)
    reference = {1: (4.47, 4.47, 5.11, 5.07), 100: (4.47, 2.68, 4.70, 5.14), 3000: (4.47, 1.58, 4.48, 4.78)}
    for age in simulate_softmax_teacher(model, 0):
        found, expected = np.array([age.one_hot, age.teacher_weights, *age.distilled]), np.array(reference[age.steps])
        assert found == pytest.approx(expected, rel=0.06)
        assert found / found[0] == pytest.approx(expected / expected[0], rel=0.04)
        assert (age.accuracy == 1.0) == (age.steps > 1)
    assert reference[1][0] == pytest.approx(one_hot_snr(model), rel=0.03)


def test_softmax_teacher_equals_a_loop_over_examples():
    """The slow twin of training and measuring, with plain sums and no array operation over examples."""
    model = SimilarClasses(12, 3, 5, 0.6, 0.3)
    sample = draw(model, np.random.default_rng(4))
    weights = np.zeros((5, 3))
    for _ in range(6):
        step = np.zeros_like(weights)
        for x, label in zip(sample.inputs, sample.labels, strict=True):
            exponents = np.exp(x @ weights)
            for k in range(3):
                step[:, k] += x * (float(k == label) - exponents[k] / exponents.sum()) / 12
        weights = weights + 2.0 * step
    soft = np.zeros_like(weights)
    for x in sample.inputs:
        exponents = np.exp(x @ weights / 4.0)
        for k in range(3):
            soft[:, k] += x * (exponents[k] / exponents.sum() - 1 / 3)
    (age,) = simulate_softmax_teacher(model, 4, steps=(6,))
    assert age.teacher_weights == pytest.approx(slow_snr(weights), rel=1e-9)
    assert age.distilled[1] == pytest.approx(slow_snr(soft), rel=1e-9)


def test_errors():
    with refuses("similarity-range", "1.0"):
        SimilarClasses(90, 10, 20, 1.0, 0.1)
    with refuses("similar-classes-size", "features 5"):
        SimilarClasses(90, 10, 5, 0.5, 0.1)
    with refuses("unbalanced-pairs", "90", "100"):
        simulate_snr(SimilarClasses(100, 10, 20, 0.5, 0.1), 0)
    with refuses("teacher-steps", "[0]"):
        simulate_softmax_teacher(SimilarClasses(90, 10, 20, 0.5, 0.1), 0, steps=(0,))
