"""Weak to strong in linear models: closed form, simulation, and when a student can gain at all."""

import numpy as np
import pytest

from disobey.theory.linear_flow import progress
from disobey.theory.linear_problems import RiskCase, power_law_spectrum, random_case
from disobey.theory.linear_risk import excess_risk, oracle_risk
from disobey.theory.weak_to_strong import best_stopped, best_student, can_be_beaten, features, weak_to_strong
from tests.support.refusals import refuses


def risk(case, learned):
    return excess_risk(case.spectrum, case.signal, case.noise_variance, case.examples, learned)


def case():
    spectrum = power_law_spectrum(12, 1.5)
    return RiskCase(spectrum, np.where(np.arange(12) < 4, 1.0, 0.1), 0.3, 40)


def test_the_closed_form_is_the_mean_of_simulated_trainings():
    """Gradient flow on an orthogonal design whose second moment is the population's: teacher, student and ceiling."""
    problem, rng = case(), np.random.default_rng(0)
    n, d = problem.examples, len(problem.spectrum)
    basis = np.linalg.qr(rng.normal(size=(n, d)))[0]
    inputs = basis * np.sqrt(n * problem.spectrum)
    weak, time = features(problem, 6), 3.0
    found = {name: [] for name in ("weak", "student", "ceiling")}
    for _ in range(4000):
        labels = inputs @ problem.signal + np.sqrt(problem.noise_variance) * rng.normal(size=n)
        teacher = weak * (inputs.T @ labels / n / problem.spectrum)  # least squares on its features
        student = np.zeros(d)
        for target, name in ((inputs @ teacher, "student"), (labels, "ceiling")):
            student = progress(problem.spectrum, time) * (inputs.T @ target / n / problem.spectrum)
            found[name].append(problem.spectrum @ (student - problem.signal) ** 2)
        found["weak"].append(problem.spectrum @ (teacher - problem.signal) ** 2)
    learned = progress(problem.spectrum, time)
    exact = weak_to_strong(problem, weak, learned, learned)
    for name, values in found.items():
        error = np.std(values) / np.sqrt(len(values))
        assert abs(np.mean(values) - getattr(exact, name)) < 4 * error, name


@pytest.mark.parametrize("seed", range(20))
def test_a_student_gains_exactly_where_its_teacher_learned_more_than_the_wiener_share(seed):
    rng = np.random.default_rng(seed)
    problem = random_case(rng)
    weak = rng.uniform(size=len(problem.spectrum))
    best = best_student(problem, weak)
    beaten = can_be_beaten(problem, weak)
    assert np.array_equal(best < 1, beaten)
    gained = risk(problem, weak) - risk(problem, weak * best)
    assert (gained > 0) == bool(beaten.any())
    for _ in range(20):  # no other student is better
        other = rng.uniform(size=len(weak))
        assert risk(problem, weak * best) <= risk(problem, weak * other) + 1e-12


def test_a_teacher_that_learned_everything_leaves_its_best_student_the_oracle():
    problem = case()
    everything = np.ones(12)
    reached = risk(problem, best_student(problem, everything))
    assert reached == pytest.approx(oracle_risk(*(getattr(problem, f) for f in problem.__dataclass_fields__)))


def test_what_the_teacher_did_not_learn_its_student_cannot():
    problem = RiskCase(np.ones(4), np.ones(4), 0.0, 10)
    weak = features(problem, 2)
    assert not can_be_beaten(problem, weak).any()
    found = weak_to_strong(problem, weak, np.ones(4), np.ones(4))
    assert (found.student, found.recovered) == (found.weak, 0.0)


def test_stopping_early_beats_an_overfitted_teacher_and_may_pass_the_ceiling_where_its_features_are_the_right_ones():
    problem = case()
    weak = features(problem, 8)
    time, learned = best_stopped(problem, weak)
    found = weak_to_strong(problem, weak, learned, best_stopped(problem)[1])
    assert np.isfinite(time)
    assert found.student < found.ceiling < found.weak
    assert found.recovered > 1


def test_refusals():
    with refuses("fractions"):
        weak_to_strong(case(), np.full(12, 1.5), np.ones(12), np.ones(12))
