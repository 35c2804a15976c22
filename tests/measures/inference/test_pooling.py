"""Pooling over data sets against planted truth and against its limits."""

import math

import numpy as np
import pytest
from scipy.stats import t as student_t

from disobey.measures.inference.pooling import leave_one_out, pool, standard_error
from disobey.measures.inference.runs import mean_over_runs
from tests.support.refusals import refuses


def test_equal_errors_without_heterogeneity_are_the_plain_mean():
    p = pool([1.0, 1.1, 0.9, 1.0], [1.0, 1.0, 1.0, 1.0])
    assert p.mean.value == pytest.approx(1.0)
    assert p.between_sd == 0.0
    assert p.share_between == 0.0
    assert p.weights == pytest.approx((0.25,) * 4)
    # the variance factor is held at 1, so agreement by luck does not narrow the interval
    assert p.mean.high - p.mean.value == pytest.approx(student_t.ppf(0.975, 3) / 2)


def test_tiny_errors_leave_a_one_sample_t_interval():
    y = np.array([0.01, 0.03, 0.02, 0.06, 0.04])
    p = pool(y, np.full(5, 1e-6))
    half = student_t.ppf(0.975, 4) * y.std(ddof=1) / math.sqrt(5)
    assert p.mean.low == pytest.approx(y.mean() - half, rel=1e-4)
    assert p.between_sd == pytest.approx(y.std(ddof=1), rel=1e-4)
    assert p.heterogeneity_p < 1e-9
    assert p.prediction.high > p.mean.high


def test_between_variance_solves_its_equation():
    y, s = np.array([0.1, 0.4, -0.2, 0.6]), np.array([0.1, 0.2, 0.1, 0.3])
    p = pool(y, s)
    w = 1 / (s**2 + p.between_sd**2)
    assert w @ (y - w @ y / w.sum()) ** 2 == pytest.approx(3, rel=1e-9)


def test_standard_error_of_a_student_interval():
    values = [0.70, 0.72, 0.74, 0.71]
    assert standard_error(mean_over_runs(values, "x")) == pytest.approx(np.std(values, ddof=1) / 2)


def test_leave_one_out_finds_the_one_that_carries_the_answer():
    left = leave_one_out([0.0, 0.01, -0.01, 0.3], [0.01, 0.01, 0.01, 0.01])
    assert left[3].mean.high < 0.05
    assert all(p.mean.value > 0.05 for p in left[:3])


def test_refusals():
    with refuses("pool-too-few"):
        pool([0.1], [0.1])
    with refuses("pool-errors"):
        pool([0.1, 0.2], [0.1, 0.0])
    assert math.isnan(pool([0.1, 0.2], [0.1, 0.1]).prediction.low)


@pytest.mark.parametrize("between", [0.0, 0.02])
def test_intervals_cover_planted_means_and_next_data_sets(between):
    """600 pools of seven data sets; coverage within three standard errors of the level, or above it."""
    rng = np.random.default_rng(5)
    covered = predicted = 0
    for _ in range(600):
        s = rng.uniform(0.004, 0.02, size=7)
        y = 0.01 + between * rng.normal(size=7) + s * rng.normal(size=7)
        p = pool(y, s, draws=1000)
        covered += p.mean.low <= 0.01 <= p.mean.high
        predicted += p.prediction.low <= 0.01 + between * rng.normal() <= p.prediction.high
    floor = 0.95 - 3 * math.sqrt(0.95 * 0.05 / 600)
    assert covered / 600 > floor
    assert predicted / 600 > floor - 0.02  # of seven data sets that differ much they are known to be a little short


def test_equal_effects_measured_on_few_runs_are_not_called_different():
    """Cochran's test rejects in a fifth of such pools, Welch's in about 5%."""
    rng = np.random.default_rng(8)
    runs, n, welch, cochran = 5, 400, 0, 0
    for _ in range(n):
        x = 0.01 + 0.01 * rng.normal(size=(6, runs))
        y, s = x.mean(axis=1), x.std(axis=1, ddof=1) / math.sqrt(runs)
        welch += pool(y, s, runs=[runs] * 6, draws=0).heterogeneity_p < 0.05
        cochran += pool(y, s, draws=0).heterogeneity_p < 0.05
    assert welch / n < 0.05 + 3 * math.sqrt(0.05 * 0.95 / n)
    assert cochran / n > 0.12


def test_many_runs_are_as_good_as_known_errors():
    y, s = [0.1, 0.4, -0.2, 0.6], [0.1, 0.2, 0.1, 0.3]
    known, many = pool(y, s), pool(y, s, runs=[10**6] * 4)
    assert many.mean == known.mean
    assert many.prediction.low == pytest.approx(known.prediction.low, rel=0.1)
    assert many.heterogeneity_p == pytest.approx(known.heterogeneity_p, abs=0.05)
    with refuses("pool-runs"):
        pool(y, s, runs=[5, 5, 5, 1])


def test_the_next_data_set_is_less_sure_than_the_average():
    p = pool([0.1, 0.4, -0.2, 0.6], [0.1, 0.2, 0.1, 0.3], runs=[5] * 4)
    assert p.prediction.low < p.mean.low
    assert p.prediction.high > p.mean.high
    assert p == pool([0.1, 0.4, -0.2, 0.6], [0.1, 0.2, 0.1, 0.3], runs=[5] * 4)
