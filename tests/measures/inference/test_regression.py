"""Regression over settings against known coefficients: bias, coverage with unequal spread and leverage, predictions."""

import numpy as np
import pytest

from disobey.measures.inference.policy import current
from disobey.measures.inference.regression import regress, ridge_predictions
from tests.support.refusals import refuses

TRUTH = np.array([0.5, -0.3])  # for one standard deviation


def standardized(x):
    return (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)


def fits(count, settings, *, leverage=0.0, unequal=False, seed=0):
    """Regressions of a known outcome on two regressors, and in every one whether the intervals hold the truth."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(settings, 2))
    x[0, 0] += leverage
    spread = 0.3 * (0.5 + np.abs(x[:, 0])) if unequal else np.full(settings, 0.3)
    found, held = [], []
    for _ in range(count):
        fit = regress(1.0 + standardized(x) @ TRUTH + spread * rng.normal(size=settings), x, ["a", "b"])
        found.append(fit.coefficients)
        estimates = [fit.estimate(name) for name in ("a", "b")]
        held.append([e.low <= truth <= e.high for e, truth in zip(estimates, TRUTH, strict=True)])
    return np.array(found), np.mean(held, axis=0)


def test_exact_coefficients_are_found_for_one_standard_deviation():
    x = np.random.default_rng(1).normal(size=(12, 2)) * [1.0, 50.0]
    fit = regress(standardized(x) @ TRUTH, x, ["a", "b"])
    assert fit.coefficients == pytest.approx(TRUTH)
    assert fit.explained == pytest.approx(1.0)
    assert (fit.settings, fit.estimate("b").n, fit.estimate("b").over) == (12, 12, "settings")


@pytest.mark.parametrize(
    ("settings", "leverage", "unequal"), [(12, 0.0, False), (24, 0.0, True), (24, 5.0, True), (12, 5.0, True)]
)
def test_coefficients_are_unbiased_and_intervals_hold_them(settings, leverage, unequal):
    found, held = fits(400, settings, leverage=leverage, unequal=unequal)
    error = found.std(axis=0) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - TRUTH) < 4 * error).all()
    assert (held > current().level - 0.05).all()


def test_a_mean_for_every_group_removes_what_groups_share():
    rng = np.random.default_rng(2)
    groups = np.repeat(["x", "y", "z"], 8)
    shift = np.repeat([0.0, 10.0, -20.0], 8)
    x = rng.normal(size=(24, 1)) + shift[:, None]
    within = x[:, 0] - shift
    fit = regress(0.4 * within + 3 * shift, x, ["a"], groups)
    inside = np.concatenate([part - part.mean() for part in within.reshape(3, 8)])
    assert fit.coefficients[0] == pytest.approx(0.4 * np.sqrt((inside**2).sum() / 21))
    assert abs(regress(0.4 * within + 3 * shift, x, ["a"]).coefficients[0]) > 10  # without groups the shift decides


def test_equal_spread_and_balance_have_the_classical_freedom():
    x = np.tile([-1.0, 1.0], 6)[:, None]
    fit = regress(np.random.default_rng(3).normal(size=12), x, ["a"])
    assert fit.freedom[0] == pytest.approx(10, abs=1e-6)  # two means of six: Welch's with equal parts


def test_too_few_settings_and_constant_regressors_are_refused():
    x = np.arange(10.0).reshape(5, 2) ** 2
    with refuses("few-settings", "6 settings"):
        regress(np.arange(5.0), x, ["a", "b"])
    with refuses("constant-regressor", "b"):
        regress(np.arange(8.0), np.stack([np.arange(8.0), np.ones(8)], axis=1), ["a", "b"])
    groups = np.repeat([0, 1], 5)
    with refuses("constant-regressor", "a"):  # constant within groups
        regress(np.arange(10.0), groups[:, None], ["a"], groups)


def test_predictions_are_exact_without_a_penalty_and_the_mean_with_a_large_one():
    rng = np.random.default_rng(4)
    x, new = rng.normal(size=(20, 3)), rng.normal(size=(5, 3))
    weights = np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(ridge_predictions(2 + x @ weights, x, new, penalty=0.0), 2 + new @ weights)
    y = rng.normal(size=20)
    np.testing.assert_allclose(ridge_predictions(y, x, new, penalty=1e12), y.mean(), atol=1e-9)
    constant = np.concatenate([x, np.ones((20, 1))], axis=1)
    assert np.isfinite(ridge_predictions(y, constant, np.ones((2, 4)), penalty=1.0)).all()
