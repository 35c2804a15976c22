"""Linear flow against twins that know nothing of eigenbases: matrix exponentials, an ODE solver, a training loop."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from disobey.theory.linear_flow import (
    LinearProblem,
    Phase,
    decay,
    flow,
    generations,
    mixed_target,
    progress,
    rates,
    trajectory,
)
from tests.support.refusals import refuses


def random_data(seed: int, examples: int = 30, features: int = 8):
    generator = np.random.default_rng(seed)
    mixing = generator.standard_normal((features, features)) * np.linspace(0.2, 1.0, features)
    inputs = generator.standard_normal((examples, features)) @ mixing / np.sqrt(examples)
    return inputs, inputs @ generator.standard_normal(features) + 0.3 * generator.standard_normal(examples)


def relative_error(found, expected) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def exponential_flow(inputs, targets, time, start):
    """Gradient flow, beta' = -X'(X beta - y), as one matrix exponential of the system with a constant coordinate."""
    features = inputs.shape[1]
    system = np.zeros((features + 1, features + 1))
    system[:features, :features] = -inputs.T @ inputs
    system[:features, features] = inputs.T @ targets
    return (expm(system * time) @ np.append(start, 1.0))[:features]


def descend(inputs, labels, step_size, steps, start, teacher=None, kd_weight=0.0):
    """Gradient descent on (1 - w) half squared error to the labels + w half squared error to the teacher's outputs."""
    weights = start.copy()
    for _ in range(steps):
        gradient = (1 - kd_weight) * inputs.T @ (inputs @ weights - labels)
        if teacher is not None:
            gradient += kd_weight * inputs.T @ (inputs @ weights - inputs @ teacher)
        weights = weights - step_size * gradient
    return weights


@pytest.mark.parametrize("seed", range(10))
def test_student_of_a_stopped_teacher_is_the_simulated_flow(seed):
    inputs, labels = random_data(seed)
    generator = np.random.default_rng(100 + seed)
    teacher_time, student_time = np.exp(generator.uniform(-2, 3, 2))
    start = generator.standard_normal(inputs.shape[1])
    problem = LinearProblem.from_data(inputs, labels)
    teacher = exponential_flow(inputs, labels, teacher_time, np.zeros_like(start))
    student = exponential_flow(inputs, inputs @ teacher, student_time, start)
    closed_teacher = flow(problem.spectrum, problem.solution, teacher_time)
    closed = flow(problem.spectrum, closed_teacher, student_time, start=start @ problem.basis)
    assert relative_error(problem.weights(closed_teacher), teacher) < 1e-10
    assert relative_error(problem.weights(closed), student) < 1e-10


def test_flow_is_what_an_ode_solver_finds():
    inputs, labels = random_data(3)
    problem = LinearProblem.from_data(inputs, labels)

    def velocity(_, state):
        teacher, student = np.split(state, 2)  # both at once: the teacher is still learning while it teaches
        return np.concatenate(
            [-inputs.T @ (inputs @ teacher - labels), -inputs.T @ (inputs @ student - inputs @ teacher)]
        )

    solved = solve_ivp(velocity, (0, 2.0), np.zeros(16), method="DOP853", rtol=1e-12, atol=1e-14)
    assert relative_error(problem.weights(flow(problem.spectrum, problem.solution, 2.0)), solved.y[:8, -1]) < 1e-10
    # A moving teacher is no fixed target: the closed form must not pretend to cover it.
    stopped = flow(problem.spectrum, flow(problem.spectrum, problem.solution, 2.0), 2.0)
    assert relative_error(problem.weights(stopped), solved.y[8:, -1]) > 0.01


@pytest.mark.parametrize("kd_weight", [1.0, 0.9, 0.3, 0.0])
def test_three_rounds_of_gradient_descent_with_mixed_losses(kd_weight):
    inputs, labels = random_data(1)
    problem = LinearProblem.from_data(inputs, labels)
    step = 0.5 / problem.spectrum.max()
    rounds, zero = (40, 60, 25), np.zeros(8)
    model = descend(inputs, labels, step, rounds[0], zero)
    for steps in rounds[1:]:
        model = descend(inputs, labels, step, steps, zero, model, kd_weight)
    unlearned = generations(problem.spectrum, rounds, kd_weight=kd_weight, step_size=step)
    assert relative_error(problem.weights((1 - unlearned[-1]) * problem.solution), model) < 1e-8


@pytest.mark.parametrize("order", ["labels first", "teacher first"])
def test_switched_losses_from_any_start(order):
    inputs, labels = random_data(2)
    problem = LinearProblem.from_data(inputs, labels)
    step = 1.3 / problem.spectrum.max()  # the top direction overshoots and comes back at every step
    start = np.random.default_rng(0).standard_normal(8)
    teacher = descend(inputs, labels, step, 7, np.zeros(8))
    to_labels, to_teacher = Phase(problem.solution, 31), Phase(teacher @ problem.basis, 31)
    weights = (0.0, 1.0) if order == "labels first" else (1.0, 0.0)
    phases = [to_labels, to_teacher] if order == "labels first" else [to_teacher, to_labels]
    slow = start
    for kd_weight in weights:
        slow = descend(inputs, labels, step, 31, slow, teacher, kd_weight)
    path = trajectory(problem.spectrum, phases, [0, 62], start=start @ problem.basis, step_size=step)
    assert relative_error(problem.weights(path[0]), start) < 1e-12
    assert relative_error(problem.weights(path[1]), slow) < 1e-8


def test_trajectory_is_continuous_at_the_switch_and_goes_on_after_the_end():
    phases = [Phase(0.3, 2.0), Phase(0.0, 1.0)]
    path = trajectory([1.0, 0.1], phases, [2.0 - 1e-9, 2.0, 2.0 + 1e-9, 50.0], start=1.0)
    assert np.abs(np.diff(path[:3], axis=0)).max() < 1e-8
    assert path[3] == pytest.approx(path[1] * decay([1.0, 0.1], 48.0))


def test_fewer_examples_than_features_stay_in_their_span():
    inputs, labels = random_data(4, examples=5)
    problem = LinearProblem.from_data(inputs, labels)
    assert problem.spectrum.shape == (5,)
    expected = exponential_flow(inputs, labels, 3.0, np.zeros(8))
    found = problem.weights(flow(problem.spectrum, problem.solution, 3.0))
    assert relative_error(found, expected) < 1e-10


def test_mean_loss_is_the_summed_loss_with_slower_time():
    inputs, labels = random_data(5)
    mean, total = (LinearProblem.from_data(inputs, labels, reduction=kind) for kind in ("mean", "sum"))
    slow = flow(mean.spectrum, mean.solution, 30 * 2.0)
    assert slow == pytest.approx(flow(total.spectrum, total.solution, 2.0), rel=1e-12)


def test_descent_is_flow_with_its_own_rates():
    spectrum = np.array([3.0, 1.0, 1e-6])
    assert decay(rates(spectrum, 0.2), 17) == pytest.approx(decay(spectrum, 17, step_size=0.2), rel=1e-13)
    assert progress(rates(spectrum, 0.2), 17) == pytest.approx(progress(spectrum, 17, step_size=0.2), rel=1e-13)
    assert rates(spectrum, 1e-9) / 1e-9 == pytest.approx(spectrum, rel=1e-8)


def test_steps_that_arrive_overshoot_and_do_nothing():
    assert decay([1.0], [0, 1, 2], step_size=1.0).ravel() == pytest.approx([1, 0, 0])
    assert decay([1.0], [0, 1, 2], step_size=1.5).ravel() == pytest.approx([1, -0.5, 0.25])
    assert progress([1.0], [0, 1, 2], step_size=1.5).ravel() == pytest.approx([0, 1.5, 0.75])
    assert decay([0.0], np.inf) == 1.0
    assert decay([2.0], np.inf) == 0.0


def test_nearly_everything_and_nearly_nothing_learned_keep_their_digits():
    unlearned = generations([1.0], [600.0, 600.0])[-1, 0]
    assert unlearned == pytest.approx(2 * np.exp(-600.0), rel=1e-12)  # 1 - learned would be 0
    assert progress([1e-12], 3.0)[0] == pytest.approx(3e-12, rel=1e-11)
    assert progress([1e-12], 3, step_size=0.1)[0] == pytest.approx(3e-13, rel=1e-11)


def test_generations_multiply_their_filters():
    spectrum, times = np.array([2.0, 0.7, 0.1]), (0.5, 2.0, 3.0, 1.0)
    product = np.prod([progress(spectrum, time) for time in times], axis=0)
    assert 1 - generations(spectrum, times)[-1] == pytest.approx(product, rel=1e-13)


def test_errors_say_what_to_do():
    with refuses("fractional-steps"):
        decay([1.0], 2.5, step_size=0.1)
    with refuses("diverging-step", "2"):
        decay([1.0], 2, step_size=2.0)
    with refuses("overshooting-step", "below 0.5"):
        rates([2.0], 0.6)
    with refuses("kd-weight-range", "1.1"):
        mixed_target(0.0, 1.0, 1.1)
    with refuses("endless-phase"):
        trajectory([1.0], [Phase(0.0, np.inf), Phase(0.0, 1.0)], [1.0])
    with refuses("no-phases"):
        trajectory([1.0], [], [1.0])
    with refuses("negative-time"):
        decay([1.0], -1.0)
    with refuses("spectrum", "-1.0"):
        decay([-1.0], 1.0)
    with refuses("regression-shapes", "(3, 2)", "(2,)"):
        LinearProblem.from_data(np.ones((3, 2)), np.ones(2))
    with refuses("no-generations"):
        generations([1.0], [])
