"""The eigenspace theorem, its limits and rates, and the negative controls that must break it."""

import mpmath
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import binom

from disobey.theory.linear_flow import Phase, decay, flow, generations, progress, rates, trajectory
from disobey.theory.matched_progress import (
    PairCases,
    equal_time_excess,
    lower_deficit,
    matched_progress_gap,
    path_gap,
    random_cases,
    share_not_top_biased,
)
from tests.support.refusals import refuses


def wide_cases(seed: int, count: int) -> PairCases:
    return random_cases(np.random.default_rng(seed), count, smallest_ratio=1e-4, times=(1e-6, 1e2))


def slow_gap(lower, teacher_time, student_time, kd_weight):
    """The definition, in 100 digits."""
    with mpmath.workdps(100):
        lower, teacher_time, student_time, kd_weight = map(mpmath.mpf, (lower, teacher_time, student_time, kd_weight))

        def log_unlearned(rate):
            left, teacher = mpmath.exp(-rate * student_time), mpmath.exp(-rate * teacher_time)
            return mpmath.log(left + kd_weight * teacher * (1 - left))

        return log_unlearned(lower) - lower * log_unlearned(mpmath.mpf(1))


def naive_gap(cases: PairCases):
    def log_unlearned(rate):
        t, T = rate * cases.student_time, rate * cases.teacher_time
        return np.log(np.exp(-t) + np.exp(-T) - np.exp(-t - T))

    return log_unlearned(cases.lower) - cases.lower * log_unlearned(1.0)


def test_theorem_holds_without_a_single_false_violation():
    usual, wide = random_cases(np.random.default_rng(0), 10_000), wide_cases(1, 10_000)
    for cases in (usual, wide):
        assert np.all(matched_progress_gap(1.0, cases.lower, cases.teacher_time, cases.student_time) > 0)
    # The positive control: the formula computed as it is written does show violations.
    assert np.mean(naive_gap(wide) <= 0) > 0.001


def test_theorem_holds_for_gradient_descent():
    generator = np.random.default_rng(2)
    eigenvalues = np.sort(generator.uniform(0.01, 0.99, (10_000, 2)), axis=1)
    fast, slow = rates(eigenvalues[:, 1], 1.0), rates(eigenvalues[:, 0], 1.0)
    teacher, student = generator.integers(1, 60, (2, 10_000)).astype(float)
    gap = matched_progress_gap(fast, slow, teacher, student)
    assert np.all(gap > 0)
    unlearned = [
        generations(pair[::-1], (int(a), int(b)), step_size=1.0)[-1]
        for pair, a, b in zip(eigenvalues[:50], teacher, student, strict=False)
    ]
    direct = [path_gap(f, s, *u) for f, s, u in zip(fast, slow, unlearned, strict=False)]
    assert gap[:50] == pytest.approx(np.array(direct), abs=1e-12)


@pytest.mark.parametrize(("kd_weight", "count"), [(1.0, 200), (0.9, 100), (0.1, 100), (0.0, 20)])
def test_gap_equals_its_definition_in_many_digits(kd_weight, count):
    cases = wide_cases(3, count)
    fast = matched_progress_gap(1.0, cases.lower, cases.teacher_time, cases.student_time, kd_weight=kd_weight)
    for gap, *case in zip(fast, cases.lower, cases.teacher_time, cases.student_time, strict=True):
        slow = slow_gap(*case, kd_weight)
        if kd_weight == 1.0:
            assert abs(gap / slow - 1) < 1e-12
        assert abs(gap - slow) < 1e-14


def test_gap_compares_with_a_teacher_found_by_search():
    top, lower, teacher_time, student_time = 2.0, 0.3, 1.5, 0.8
    student = generations([top, lower], [teacher_time, student_time])[-1]
    matched_time = brentq(lambda t: decay([top], t)[0] - student[0], 0, 10, xtol=1e-14)
    deficit = student[1] - decay([lower], matched_time)[0]
    gap = matched_progress_gap(top, lower, teacher_time, student_time)
    assert gap == pytest.approx(path_gap(top, lower, *student), abs=1e-14)
    assert lower_deficit(gap, lower / top, student[0]) == pytest.approx(deficit, rel=1e-10)
    assert deficit > 0


def test_equal_eigenvalues_and_infinite_times_leave_no_bias():
    assert matched_progress_gap(1.0, 1.0, 2.0, 3.0) == pytest.approx(0.0, abs=1e-16)
    assert matched_progress_gap(1.0, 0.5, np.inf, 3.0) == 0
    assert matched_progress_gap(1.0, 0.5, 3.0, np.inf) == 0
    # The deviation is transient: past the shorter time the gap decays as exp(-lambda_2 |t - T|).
    gaps = matched_progress_gap(1.0, 0.5, 3.0, np.array([20.0, 22.0, 24.0]))
    assert gaps[1:] / gaps[:-1] == pytest.approx(np.exp(-0.5 * 2.0), rel=1e-3)
    assert matched_progress_gap(1.0, 0.5, np.array([20.0, 22.0]), 3.0) == pytest.approx(gaps[:2], rel=1e-12)


def test_equal_time_ratio_exceeds_the_teachers_by_a_factor_free_of_time():
    spectrum, teacher_time = np.array([1.0, 0.2]), 1.7
    for time in (0.1, 1.7, 40.0):
        teacher = progress(spectrum, time)
        student = teacher * progress(spectrum, teacher_time)
        excess = (student[0] / student[1]) / (teacher[0] / teacher[1])
        assert excess == pytest.approx(equal_time_excess(1.0, 0.2, teacher_time), rel=1e-12)
    assert equal_time_excess(1.0, 0.2, 1e-9) == pytest.approx(5.0, rel=1e-6)
    assert equal_time_excess(1.0, 0.2, 500.0) == pytest.approx(1.0, rel=1e-12)


def test_every_round_is_more_top_biased_than_its_own_teacher():
    generator = np.random.default_rng(5)
    for _ in range(60):
        spectrum = np.array([1.0, np.exp(generator.uniform(-4, -0.05))])
        times = list(np.exp(generator.uniform(-1.5, 1.5, 4)))
        chain = generations(spectrum, times)
        assert abs(path_gap(*spectrum, *chain[0])) < 1e-13
        for child in range(1, len(times)):
            assert chain[child, 1] > matched_parent(spectrum, times, child, chain[child, 0])[1]


def matched_parent(spectrum, times, child, unlearned_top):
    """The child's teacher's generation, stopped when its direction 1 is where the child's is."""

    def parent(time):
        return generations(spectrum, [*times[: child - 1], time])[-1]

    return parent(brentq(lambda time: parent(time)[0] - unlearned_top, 1e-12, 100.0, xtol=1e-13))


def test_labels_after_distillation_wash_the_deficit_out_at_the_lower_rate():
    top, lower, teacher_time, kd_time = 1.0, 0.3, 2.0, 1.0
    spectrum = np.array([top, lower])
    teacher = decay(spectrum, teacher_time)
    after = np.array([0.0, 1.0, 5.0, 20.0])
    path = trajectory(spectrum, [Phase(teacher, kd_time), Phase(0.0, 20.0)], kd_time + after, start=1.0)
    gap = path_gap(top, lower, path[:, 0], path[:, 1])
    from_the_start = float(matched_progress_gap(top, lower, teacher_time, kd_time))
    assert gap == pytest.approx(from_the_start, rel=1e-10)  # labels leave it as it is, in nats
    deficit = lower_deficit(gap, lower / top, path[:, 0])
    assert deficit[0] > 0
    assert deficit / deficit[0] == pytest.approx(np.exp(-lower * after), rel=1e-9)


def test_distillation_after_labels_forgets_and_undershoots_if_overtrained():
    top, lower, teacher_time = 1.0, 0.3, 1.0
    spectrum = np.array([top, lower])
    teacher = decay(spectrum, teacher_time)
    after = np.linspace(0.0, 40.0, 200)

    def switched(first):
        return trajectory(spectrum, [Phase(0.0, first), Phase(teacher, 40.0)], first + after, start=1.0)

    over, fresh = switched(4.0), flow(spectrum, teacher, after, start=1.0)
    # What is left of the early phase: f_k(t0) exp(-lambda_k s) more learned than pure distillation has.
    remembered = progress(spectrum, 4.0) * decay(spectrum, after)
    assert fresh - over == pytest.approx(remembered, abs=1e-14)
    gap = path_gap(top, lower, over[:, 0], over[:, 1])
    assert abs(gap[0]) < 1e-12
    assert np.all(gap[1:-1] < 0)
    assert gap.min() < -0.1
    assert abs(gap[-1]) < 1e-4
    # Not over-trained (t0 < T): no such negative stretch.
    early = switched(0.5)
    assert path_gap(top, lower, early[:, 0], early[:, 1]).min() > -1e-12


def test_negative_control_a_head_start_on_the_lower_direction_breaks_the_theorem():
    spectrum, teacher = np.array([1.0, 0.3]), decay(np.array([1.0, 0.3]), 2.0)
    from_zero = flow(spectrum, teacher, 1.0, start=1.0)
    head_start = flow(spectrum, teacher, 1.0, start=[1.0, 0.2])
    assert path_gap(*spectrum, *from_zero) > 0
    assert path_gap(*spectrum, *head_start) < 0


def test_negative_control_a_head_start_breaks_nearly_every_random_case_and_none_from_zero():
    cases = random_cases(np.random.default_rng(7), 2000)
    fails = {}
    for start in (1.0, 0.5):  # unlearned share of direction 2 before the student begins
        gaps = []
        for lower, teacher_time, student_time in zip(cases.lower, cases.teacher_time, cases.student_time, strict=True):
            spectrum = np.array([1.0, lower])
            student = flow(spectrum, decay(spectrum, teacher_time), student_time, start=[1.0, start])
            gaps.append(path_gap(1.0, lower, *student))
        fails[start] = np.mean(np.array(gaps) <= -1e-14)
    assert fails[1.0] == 0
    assert fails[0.5] > 0.95


@pytest.mark.parametrize(("kd_weight", "expected"), [(1.0, 0.0), (0.99, 0.05), (0.9, 0.19), (0.5, 0.34), (0.1, 0.41)])
def test_negative_control_mixed_losses_break_the_theorem_in_known_shares(kd_weight, expected):
    cases = random_cases(np.random.default_rng(6), 20_000)  # standard error of a share: at most 0.0035
    assert share_not_top_biased(cases, kd_weight) == pytest.approx(expected, abs=0.015 if expected else 0.0)


def test_proof_ingredients():
    ratio, terms = 0.4, np.arange(1, 4000)
    weights = -((-1.0) ** terms) * binom(ratio, terms)
    assert np.all(weights > 0)
    u = 0.7
    assert np.sum(weights * u**terms) == pytest.approx(1 - (1 - u) ** ratio, rel=1e-12)
    tail = terms[-1] ** -ratio / np.exp(np.log(np.pi) - np.log(np.sin(np.pi * ratio)))  # order of the tail's mass
    assert 0 < 1 - weights.sum() < 10 * tail


def test_errors():
    with refuses("eigenvalue-order"):
        matched_progress_gap(1.0, 2.0, 1.0, 1.0)
    with refuses("time-range"):
        matched_progress_gap(1.0, 0.5, np.inf, np.inf)
    with refuses("kd-weight-range", "-0.1"):
        matched_progress_gap(1.0, 0.5, 1.0, 1.0, kd_weight=-0.1)
    with refuses("learned-exactly"):
        path_gap(1.0, 0.5, -0.1, 0.5)
    with refuses("untrained-teacher"):
        equal_time_excess(1.0, 0.5, 0.0)
    with refuses("random-case-range", "2.0"):
        random_cases(np.random.default_rng(0), 1, smallest_ratio=2.0)
