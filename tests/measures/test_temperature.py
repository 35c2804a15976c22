"""Fitted temperatures: planted ones are found, and the minimum is that of a plain search."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from disobey.measures.deviation import MEASURES as DEVIATIONS
from disobey.measures.temperature import best_temperature, fitted_temperature, tempered
from disobey.records.predictions import Predictions
from tests.support.refusals import refuses


def pair(n=300, classes=4, seed=0) -> Predictions:
    rng = np.random.default_rng(seed)
    teacher = 1.5 * rng.normal(size=(n, classes))
    labels = np.array([rng.choice(classes, p=np.exp(row)) for row in log_softmax(teacher, axis=1)])
    return Predictions.from_logits(teacher, 2 * teacher + rng.normal(size=teacher.shape), labels)


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
    with refuses("missing-labels"):
        fitted_temperature(Predictions.from_logits(logits, logits), "labels")
