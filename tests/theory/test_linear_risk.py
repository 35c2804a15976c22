"""Exact risk against Monte Carlo over label noise, the reference numbers, and where distillation pays."""

import numpy as np
import pytest
from scipy.optimize import brentq

from disobey.theory.linear_flow import progress
from disobey.theory.linear_risk import (
    aligned_signal,
    design_risk,
    does_it_pay_map,
    excess_risk,
    optimal_pair,
    optimal_stopping,
    oracle_risk,
    power_law_spectrum,
    random_case,
    risk_map,
    time_grid,
    top_signal,
)
from tests.support.refusals import refuses

SPECTRUM = power_law_spectrum(100, 1.5)
REFERENCE = (SPECTRUM, top_signal(100, 10), 0.1, 200)


def teacher_risk(time, problem=REFERENCE):
    return float(excess_risk(*problem, progress(problem[0], time)))


def self_student_risk(time, problem=REFERENCE):
    return float(excess_risk(*problem, progress(problem[0], time) ** 2))


def descend_twice(inputs, labels, step_size, steps):
    """Mean risk's slow twin: train on labels, then a fresh student on the teacher's outputs. labels (N, draws)."""
    for _ in range(2):
        weights = np.zeros((inputs.shape[1], labels.shape[1]))
        for _ in range(steps):
            weights -= step_size * inputs.T @ (inputs @ weights - labels) / len(inputs)
        labels = inputs @ weights
    return weights


@pytest.mark.parametrize("steps", [3, 30, 300])
def test_design_risk_is_the_simulated_mean(steps):
    generator = np.random.default_rng(steps)
    scale = np.linspace(1.5, 0.3, 6)
    inputs, truth, noise, draws = generator.standard_normal((20, 6)) * scale, np.ones(6), 0.5, 4000
    labels = (inputs @ truth)[:, None] + np.sqrt(noise) * generator.standard_normal((20, draws))
    error = descend_twice(inputs, labels, 0.2, steps) - truth[:, None]
    risks = scale**2 @ error**2
    exact = design_risk(inputs, truth, np.diag(scale**2), noise, (steps, steps), step_size=0.2)
    standard_error = risks.std(ddof=1) / np.sqrt(draws)
    assert abs(risks.mean() - exact) < 4 * standard_error
    assert standard_error < 0.05 * exact


def test_diagonal_formula_is_the_design_risk_where_sample_and_population_agree():
    generator = np.random.default_rng(0)
    basis = np.linalg.qr(generator.standard_normal((40, 5)))[0]
    spectrum, truth = np.array([4.0, 2.0, 1.0, 0.3, 0.1]), generator.standard_normal(5)
    inputs = basis * np.sqrt(40 * spectrum)
    exact = design_risk(inputs, truth, np.diag(spectrum), 0.3, (1.5, 0.7))
    learned = progress(spectrum, 1.5) * progress(spectrum, 0.7)
    assert excess_risk(spectrum, truth, 0.3, 40, learned) == pytest.approx(exact, rel=1e-12)


def test_reference_an_overtrained_teachers_student_improves():
    time = brentq(lambda time: teacher_risk(time) - 0.0329, 100, 5000)
    assert self_student_risk(time) == pytest.approx(0.0259, abs=5e-5)


def test_reference_an_undertrained_teachers_student_worsens():
    # At exactly 0.2100 the student of equal time has 0.3966; 0.398 belongs to a teacher at 0.2109.
    time = brentq(lambda time: teacher_risk(time) - 0.210, 1, 20)
    assert self_student_risk(time) == pytest.approx(0.398, rel=0.005)


@pytest.mark.parametrize("alignment", [-1.0, -0.5, 0.0, 0.5, 1.0])
def test_flat_and_bottom_heavy_signals_gain_nothing_over_early_stopping(alignment):
    problem = (SPECTRUM, aligned_signal(SPECTRUM, alignment), 0.1, 200)
    alone = optimal_stopping(*problem)
    assert optimal_pair(*problem) == alone
    grid = time_grid(SPECTRUM, 60)
    assert does_it_pay_map(*problem, grid, grid, against="best").max() <= 1e-12


@pytest.mark.parametrize(("alignment", "least"), [(2.0, 0.02), (3.0, 0.08)])
def test_top_heavy_signals_do_gain(alignment, least):
    problem = (SPECTRUM, aligned_signal(SPECTRUM, alignment), 0.1, 200)
    alone, pair = optimal_stopping(*problem), optimal_pair(*problem)
    assert pair.risk < (1 - least) * alone.risk
    assert oracle_risk(*problem) < pair.risk
    assert does_it_pay_map(*problem, [pair.teacher_time], [pair.student_time], against="best") == pytest.approx(
        alone.risk - pair.risk, rel=1e-9
    )


def test_optimal_stopping_beats_a_dense_search_also_with_two_valleys():
    # Signal at the top and at the bottom, noise between: the risk falls, rises and falls again.
    spectrum = np.concatenate([[1.0], np.full(40, 0.03), [1e-3]])
    signal = np.concatenate([[1.0], np.zeros(40), [60.0]])
    problem = (spectrum, signal, 1.0, 40)
    times = np.concatenate([[0.0], np.geomspace(1e-2, 1e5, 20_001)])
    risks = excess_risk(*problem, progress(spectrum, times))
    coarse = risks[:17_000:100]  # up to 10,000, before everything is learned and only rounding is left
    assert np.sum(np.diff(np.sign(np.diff(coarse))) > 0) == 2
    best = optimal_stopping(*problem)
    assert risks.min() * (1 - 1e-6) < best.risk <= risks.min() * (1 + 1e-12)


@pytest.mark.parametrize("teacher_time", [0.5, 20.0, np.inf])
def test_optimal_student_under_a_given_teacher(teacher_time):
    best = optimal_stopping(*REFERENCE, teacher_time=teacher_time)
    others = risk_map(*REFERENCE, [teacher_time], np.geomspace(1e-2, 1e6, 2000))
    assert best.risk <= others.min() * (1 + 1e-12)
    assert teacher_risk(best.student_time) == pytest.approx(best.risk) if teacher_time == np.inf else True


def test_a_poor_teachers_student_should_never_stop():
    # With signal everywhere and little noise, all that the teacher knows is under-learned: less of it is never better.
    problem = (SPECTRUM, np.ones(100), 1e-6, 200)
    assert optimal_stopping(*problem, teacher_time=1.0).student_time == np.inf
    assert np.isfinite(optimal_stopping(*REFERENCE, teacher_time=1.0).student_time)


def test_the_three_maps_agree_with_each_other():
    case = random_case(np.random.default_rng(1))
    problem = (case.spectrum, case.signal, case.noise_variance, case.examples)
    teachers, students = np.geomspace(0.1, 1e4, 7), np.geomspace(0.3, 1e5, 5)
    risks = risk_map(*problem, teachers, students)
    assert risks[2, 3] == pytest.approx(
        excess_risk(*problem, progress(case.spectrum, teachers[2]) * progress(case.spectrum, students[3]))
    )
    for against, reference in (
        ("teacher", risk_map(*problem, teachers, [np.inf])),
        ("twin", risk_map(*problem, [np.inf], students)),
        ("best", np.full((1, 1), optimal_stopping(*problem).risk)),
    ):
        gain = does_it_pay_map(*problem, teachers, students, against=against)
        assert gain == pytest.approx(reference - risks, abs=1e-14)
        assert gain.shape == (7, 5)


def test_nobody_beats_the_oracle_and_pairs_never_lose_to_stopping():
    generator = np.random.default_rng(2)
    for _ in range(10):
        case = random_case(generator, dimensions=20)
        problem = (case.spectrum, case.signal, case.noise_variance, case.examples)
        assert np.sum(case.spectrum * case.signal**2) == pytest.approx(1.0)
        alone, pair = optimal_stopping(*problem), optimal_pair(*problem)
        assert oracle_risk(*problem) <= pair.risk <= alone.risk


def test_a_linear_filter_that_is_wiener_reaches_the_oracle():
    missed = SPECTRUM * REFERENCE[1] ** 2
    filter_ = missed / (missed + 0.1 / 200)
    assert excess_risk(*REFERENCE, filter_) == pytest.approx(oracle_risk(*REFERENCE), rel=1e-12)


def test_errors():
    with refuses("unknown-reference", "'me'"):
        does_it_pay_map(*REFERENCE, [1.0], [1.0], against="me")  # pyright: ignore[reportArgumentType]
    with refuses("risk-inputs", "-0.1"):
        excess_risk([1.0], [1.0], -0.1, 10, [0.5])
    with refuses("zero-eigenvalue", "0.0"):
        aligned_signal([1.0, 0.0], 1.0)
    with refuses("no-eigenvalue"):
        time_grid([0.0], 3)
