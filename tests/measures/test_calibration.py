from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import t as student_t
from sklearn.metrics import log_loss

from disobey.measures.calibration import (
    LEAN,
    MEASURES,
    SPLIT,
    calibration_error,
    debiased_error,
    debiased_spread,
    mass_bins,
    reliability_curve,
    scores,
    signed_gaps,
    squared_error,
    width_bins,
)
from disobey.measures.inference.examples import over_examples, paired_over_examples
from disobey.measures.inference.measure import minus_twin
from disobey.records.predictions import Predictions
from tests.support.refusals import refuses


def pair(n=300, classes=4, seed=0) -> Predictions:
    rng = np.random.default_rng(seed)
    teacher = 1.5 * rng.normal(size=(n, classes))
    labels = np.array([rng.choice(classes, p=np.exp(row)) for row in log_softmax(teacher, axis=1)])
    return Predictions.from_logits(teacher, 2 * teacher + rng.normal(size=teacher.shape), labels)


def test_scores_are_those_of_others():
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    p = pair()
    probs, hot = np.exp(p.student), np.eye(4)[p.labels]
    assert MEASURES["nll"](p) == pytest.approx(log_loss(p.labels, probs))
    assert MEASURES["brier"](p) == pytest.approx(((probs - hot) ** 2).sum(axis=1).mean())
    oracle = multiclass_calibration_error(torch.tensor(probs), torch.tensor(p.labels), 4, n_bins=15, norm="l1")
    assert MEASURES["ece"](p) == pytest.approx(float(oracle), abs=1e-6)


def test_equally_filled_bins_are_those_of_sorted_rows():
    p = pair(n=300)
    _, _, confidence, right = scores(p)
    order = np.argsort(confidence)
    slow = np.mean([abs((right - confidence)[part].mean()) for part in np.array_split(order, 15)])
    assert MEASURES["ece_mass"](p) == pytest.approx(slow)


def test_bins_share_equal_confidences_and_hold_the_edges():
    assert width_bins(np.array([0.0, 1 / 15, 0.5, 1.0])).tolist() == [0, 0, 7, 14]
    tied = np.repeat([0.5, 0.9], [70, 30])
    assert len(set(mass_bins(tied)[:70])) == 1
    right = (np.arange(100) % 2).astype(float)
    value = float(calibration_error(tied, right, binning=mass_bins))
    shuffle = np.random.default_rng(0).permutation(100)
    assert value == pytest.approx(float(calibration_error(tied[shuffle], right[shuffle], binning=mass_bins)))


def test_brier_parts_add_up_exactly():
    p = pair()
    _, _, confidence, right = scores(p)
    reliability, resolution, uncertainty = (MEASURES[name](p) for name in ("reliability", "resolution", "uncertainty"))
    assert reliability - resolution + uncertainty == pytest.approx(((confidence - right) ** 2).mean())
    assert uncertainty == pytest.approx(right.mean() * (1 - right.mean()))
    assert min(reliability, resolution) > 0


def test_the_bias_is_taken_off():
    """A calibrated model: the plain error is far from 0, the debiased ones are not."""
    rng = np.random.default_rng(1)
    plain, absolute, squared = [], [], []
    for _ in range(300):
        confidence = rng.uniform(0.4, 1, size=200)
        right = (rng.random(200) < confidence) * 1.0
        plain.append(float(calibration_error(confidence, right, binning=mass_bins)))
        absolute.append(float(debiased_error(confidence, right)))
        squared.append(float(squared_error(confidence, right)))
    error = np.std(squared) / np.sqrt(300)
    assert np.mean(squared) == pytest.approx(0, abs=4 * error)
    assert np.mean(absolute) == pytest.approx(0, abs=4 * np.std(absolute) / np.sqrt(300))
    assert np.mean(plain) > 20 * np.std(absolute) / np.sqrt(300)  # the uncorrected one would have failed
    assert np.mean(np.square(plain)) > 100 * error**2  # the uncorrected one would have failed


def test_a_clear_miscalibration_is_measured_without_bias():
    rng = np.random.default_rng(2)
    values = []
    for _ in range(200):
        confidence = rng.uniform(0.5, 1, size=500)
        right = (rng.random(500) < confidence - 0.15) * 1.0
        values.append(float(debiased_error(confidence, right)))
    assert np.mean(values) == pytest.approx(0.15, abs=4 * np.std(values) / np.sqrt(200) + 0.002)


def test_signed_gaps_are_what_two_halves_of_the_noise_give():
    """The closed form against drawing the split, sign from one part and gap from the other."""
    gap, error = np.array([0.02, -0.01, 0.005, 0.03, -0.04, 0.0]), np.array([0.02, 0.01, 0.02, 0.01, 0.03, 0.01])
    z = np.clip(gap / error, -3, 3)
    padded = np.concatenate([[0, 0], z, [0, 0]])
    beside = sum(padded[i : i + 6] for i in (0, 1, 3, 4))
    draws = np.random.default_rng(5).normal(size=(400_000, 6))
    signs = np.sign(gap + SPLIT * error * draws + error * LEAN * np.tanh(beside / LEAN))
    counted = signs * (gap - error / SPLIT * draws)
    noise = counted.std(axis=0) / np.sqrt(len(draws))
    assert (np.abs(counted.mean(axis=0) - signed_gaps(gap, error)) < 4 * noise).all()


@pytest.mark.parametrize("size", [0.0, 0.5, 1.0, 2.0, 6.0])
def test_signed_gaps_never_err_upwards(size):
    """Fifteen bins of one sign: no bias without a gap, below it where signs are in doubt, none where they are not."""
    draws = np.random.default_rng(6).normal(size=(20_000, 15))
    values = signed_gaps(size + draws, np.ones(15)).mean(axis=1)
    off, noise = values.mean() - size, values.std() / np.sqrt(len(values))
    assert -0.2 - 4 * noise < off < 4 * noise
    if size in (0.0, 6.0):
        assert abs(off) < 4 * noise + 0.002


def test_gaps_without_an_error_count_as_they_are():
    """Bins of one example, and bins whose examples agree; a weight of nothing takes a bin away."""
    assert signed_gaps(np.array([-0.3, 0.0, 0.2]), np.zeros(3)).tolist() == [0.3, 0.0, 0.2]
    confidence, right = np.array([0.6, 0.7, 0.8]), np.array([1.0, 0.0, 1.0])
    assert float(debiased_error(confidence, right)) == pytest.approx((0.4 + 0.7 + 0.2) / 3)
    weights = np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 2.0]])
    assert debiased_error(confidence, right, weights=weights) == pytest.approx([1.3 / 3, 0.3])


def _two_models(rng, n, too_sure=(0.1, 0.0)):
    """(confidence, right) twice: answers that agree more than chance would have it."""
    confidence, luck = rng.uniform(0.45, 1, size=n), rng.random(n)
    other = np.clip(confidence + 0.02 * rng.normal(size=n), 0.01, 1)
    sides = [(c, (luck < c - by) * 1.0) for c, by in zip((confidence, other), too_sure, strict=True)]
    return (*sides[0], *sides[1])


@pytest.mark.parametrize("too_sure", [(0.1, 0.0), (0.2, 0.12)])
def test_the_known_spread_is_that_of_other_examples(too_sure):
    """Of one model and of a difference, against the spread over fresh draws; a calibrated model included."""
    rng = np.random.default_rng(7)
    values, spreads = [], []
    for _ in range(250):
        columns = _two_models(rng, 1500, too_sure)
        a, b = (float(debiased_error(*columns[i : i + 2])) for i in (0, 2))
        values.append((a, b, a - b))
        spreads.append((debiased_spread(*columns[:2]), debiased_spread(*columns[2:]), debiased_spread(*columns)))
    ratios = np.std(values, axis=0) / np.sqrt(np.mean(np.square(spreads), axis=0))
    assert (np.abs(ratios - 1) < 0.17).all(), ratios  # 4 % is the noise of 250 draws; .13 what curvature costs at most
    if min(too_sure) > 0:  # both sides go up and down with the same labels
        assert np.std(values, axis=0)[2] < 0.7 * np.hypot(*np.std(values, axis=0)[:2])


def test_a_difference_to_itself_has_no_spread():
    columns = _two_models(np.random.default_rng(8), 400)
    assert debiased_spread(*columns[:2], *columns[:2]) == pytest.approx(0, abs=1e-7)
    assert np.isnan(debiased_spread(*(column[:59] for column in columns)))


def test_an_interval_takes_the_known_spread():
    p = pair(n=400)
    measure = MEASURES["ece_debiased"]
    estimate = over_examples(measure, p)
    _, _, confidence, right = scores(p)
    half = student_t.ppf(0.975, 399) * debiased_spread(confidence, right)
    assert (estimate.low, estimate.high) == pytest.approx((estimate.value - half, estimate.value + half))
    assert over_examples(measure, p, resamples=7) == estimate  # nothing is resampled
    warmer = p.with_student(log_softmax(p.student / 2, axis=1))
    both = paired_over_examples(measure, p, warmer)
    half = student_t.ppf(0.975, 399) * debiased_spread(confidence, right, *scores(warmer)[2:])
    assert both.high - both.value == pytest.approx(half)
    assert both.value == pytest.approx(measure(p) - measure(warmer))
    with_twin = replace(p, twin=warmer.student)
    assert over_examples(minus_twin(measure), with_twin).high == pytest.approx(both.high)
    few = over_examples(measure, p.take(np.arange(50)), resamples=100)  # too few for a known spread: resampled
    assert few.known
    assert few.low < few.value < few.high


def test_reliability_curve_counts_every_example():
    p = pair()
    curve = reliability_curve(p)
    assert curve.n.sum() == len(p)
    _, _, confidence, right = scores(p)
    assert curve.n @ curve.accuracy == pytest.approx(right.sum())
    assert curve.n @ curve.confidence == pytest.approx(confidence.sum())
    assert ((curve.low <= curve.accuracy) & (curve.accuracy <= curve.high)).all()
    with refuses("missing-labels"):
        reliability_curve(Predictions.from_logits(p.teacher, p.student))


def test_invariances():
    p = pair()
    order = np.array([2, 0, 3, 1])
    other = Predictions.from_logits(p.teacher[:, order] + 5, p.student[:, order] - 3, np.argsort(order)[p.labels])
    for name, measure in MEASURES.items():
        assert measure(other) == pytest.approx(measure(p), abs=1e-9), name
        assert over_examples(measure, p, resamples=50).known, name
