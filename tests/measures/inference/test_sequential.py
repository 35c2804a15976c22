"""The anytime-valid interval against quadrature, against its own inversion, and under optional stopping."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import nct, norm
from scipy.stats import t as student_t

from disobey.measures.inference.sequential import (
    anytime_interval,
    anytime_path,
    half_width_factor,
    log_e_value,
)
from tests.support.refusals import refuses


@pytest.mark.parametrize("prior_sd", [0.5, 2.0])
@pytest.mark.parametrize("shift", [0.0, 0.4, 2.0])
def test_the_e_value_is_the_bayes_factor_of_its_definition(shift, prior_sd):
    """The mixture of noncentral t densities over the prior, by quadrature, over the central one."""
    x = np.random.default_rng(3).normal(shift, 1.0, size=8)
    n = len(x)
    t = x.mean() / (x.std(ddof=1) / math.sqrt(n))
    mixture, _ = quad(
        lambda d: nct.pdf(t, n - 1, d * math.sqrt(n)) * norm.pdf(d, scale=prior_sd),
        -6 * prior_sd,
        6 * prior_sd,
        limit=400,
    )
    assert log_e_value(x, prior_sd=prior_sd) == pytest.approx(math.log(mixture / student_t.pdf(t, n - 1)), rel=1e-4)


def test_the_interval_is_where_the_e_value_reaches_one_over_alpha():
    x = np.random.default_rng(0).normal(0.3, 1.0, size=12)
    estimate = anytime_interval(x, "x", level=0.9)
    for edge in (estimate.low, estimate.high):
        assert log_e_value(x, edge) == pytest.approx(math.log(10), rel=1e-9)
    assert log_e_value(x, estimate.value) < 0


def test_no_interval_before_the_fourth_value_and_wider_than_student_after():
    assert math.isinf(half_width_factor(3))
    for n in (4, 5, 10, 40, 1000):
        assert half_width_factor(n) > student_t.ppf(0.975, n - 1)
    path = anytime_path([0.1, 0.2, 0.15, 0.12, 0.2], "gain")
    assert [e.known for e in path] == [False, False, True, True]
    assert [e.n for e in path] == [2, 3, 4, 5]


def test_scale_and_shift_carry_over():
    x = np.random.default_rng(1).normal(size=9)
    one, other = anytime_interval(x, "x"), anytime_interval(3 - 5 * x, "y")
    assert other.low == pytest.approx(3 - 5 * one.high)
    assert other.high == pytest.approx(3 - 5 * one.low)


def test_equal_values_and_single_ones():
    assert log_e_value([0.5]) == 0.0
    assert log_e_value([0.5, 0.5, 0.5], null=0.5) == 0.0
    assert math.isinf(log_e_value([0.5, 0.5, 0.5]))
    with refuses("run-values"):
        anytime_interval([0.1, math.nan], "x")


def test_the_part_of_the_examples_is_added():
    x = np.random.default_rng(2).normal(size=30)
    plain, with_examples = anytime_interval(x, "x"), anytime_interval(x, "x", extra_error=0.5)
    assert with_examples.high - plain.high > 0.5 * norm.ppf(0.995) - 1e-9


def test_looking_after_every_seed_keeps_the_error():
    """1,500 null studies of up to 40 seeds, stopped at the first exclusion of 0. Student's t is the control."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(1500, 40))
    n = np.arange(1, 41)
    mean = x.cumsum(axis=1) / n
    sd = np.sqrt(np.maximum((x**2).cumsum(axis=1) - n * mean**2, 0) / np.maximum(n - 1, 1))
    error = sd / np.sqrt(n)
    anytime = np.array([half_width_factor(int(k)) for k in n])
    student = np.array([math.inf, math.inf, *student_t.ppf(0.975, n[2:] - 1)])
    with np.errstate(invalid="ignore"):
        wrong = (np.abs(mean) > anytime * error).any(axis=1).mean()
        peeked = (np.abs(mean) > student * error).any(axis=1).mean()
    assert wrong <= 0.05
    assert peeked > 0.15  # the same looks at Student's interval are wrong several times as often
