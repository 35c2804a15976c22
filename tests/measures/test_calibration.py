import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.metrics import log_loss

from disobey.measures.calibration import (
    MEASURES,
    best_temperature,
    calibration_error,
    debiased_error,
    fitted_temperature,
    mass_bins,
    reliability_curve,
    scores,
    squared_error,
    tempered,
    width_bins,
)
from disobey.measures.deviation import MEASURES as DEVIATIONS
from disobey.measures.intervals import over_examples
from disobey.records.predictions import Predictions


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
    """A calibrated model: the plain error is far from 0, the debiased one less, the squared one not at all."""
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
    assert np.mean(absolute) < 0.65 * np.mean(plain)
    assert np.mean(np.square(plain)) > 100 * error**2  # the uncorrected one would have failed


def test_a_clear_miscalibration_is_measured_without_bias():
    rng = np.random.default_rng(2)
    values = []
    for _ in range(200):
        confidence = rng.uniform(0.5, 1, size=500)
        right = (rng.random(500) < confidence - 0.15) * 1.0
        values.append(float(debiased_error(confidence, right)))
    assert np.mean(values) == pytest.approx(0.15, abs=4 * np.std(values) / np.sqrt(200) + 0.002)


def test_reliability_curve_counts_every_example():
    p = pair()
    curve = reliability_curve(p)
    assert curve.n.sum() == len(p)
    _, _, confidence, right = scores(p)
    assert curve.n @ curve.accuracy == pytest.approx(right.sum())
    assert curve.n @ curve.confidence == pytest.approx(confidence.sum())
    assert ((curve.low <= curve.accuracy) & (curve.accuracy <= curve.high)).all()
    with pytest.raises(ValueError, match="with labels"):
        reliability_curve(Predictions.from_logits(p.teacher, p.student))


@pytest.mark.parametrize("planted", [0.05, 0.5, 1.0, 3.0, 40.0])
def test_planted_temperature_is_found(planted):
    logits = np.random.default_rng(3).normal(size=(200, 5))
    p = Predictions.from_logits(logits, planted * logits)
    assert best_temperature(p) == pytest.approx(planted, rel=1e-9)
    left = tempered(DEVIATIONS["mean_deviation"], planted)
    assert left(p) == pytest.approx(0, abs=1e-9)
    assert abs(DEVIATIONS["mean_deviation"](p)) > 0.1 or planted == 1


@pytest.mark.parametrize("to", ["teacher", "labels"])
def test_temperature_is_the_minimum(to):
    p = pair()

    def objective(temperature):
        student = log_softmax(p.student / temperature, axis=1)
        if to == "labels":
            return -student[np.arange(len(p)), p.labels].mean()
        return (np.exp(p.teacher) * (p.teacher - student)).sum(axis=1).mean()

    oracle = minimize_scalar(objective, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-9})
    assert best_temperature(p, to) == pytest.approx(oracle.x, rel=1e-5)


def test_temperature_interval_is_that_of_refitting():
    p = pair(n=250)
    estimate = fitted_temperature(p, "labels")
    rng = np.random.default_rng(4)
    refits = [best_temperature(p.take(rng.integers(250, size=250)), "labels") for _ in range(200)]
    assert estimate.low < estimate.value < estimate.high
    assert (estimate.high - estimate.low) / (2 * 1.96) == pytest.approx(np.std(refits), rel=0.25)


def test_no_temperature_where_there_is_no_minimum():
    logits = 5 * np.eye(3)
    p = Predictions.from_logits(logits, logits, np.arange(3))  # always right: the sharper the better
    assert np.isnan(best_temperature(p, "labels"))
    assert not fitted_temperature(p, "labels").known
    with pytest.raises(ValueError, match="with labels"):
        fitted_temperature(Predictions.from_logits(logits, logits), "labels")


def test_invariances():
    p = pair()
    order = np.array([2, 0, 3, 1])
    other = Predictions.from_logits(p.teacher[:, order] + 5, p.student[:, order] - 3, np.argsort(order)[p.labels])
    for name, measure in MEASURES.items():
        assert measure(other) == pytest.approx(measure(p), abs=1e-9), name
        assert over_examples(measure, p, resamples=50).known, name
