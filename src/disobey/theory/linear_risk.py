"""Does it pay? The exact population risk of linear teachers and students, and when to stop training.

A model that has learned the fraction ``phi_k`` of direction k, from N labels with noise variance v, has the excess risk

    sum_k lambda_k (1 - phi_k)^2 beta_k^2  +  (v / N) sum_k phi_k^2

``lambda_k`` are the eigenvalues of the second moment of the inputs (the mean, not the sum), ``beta`` the true
coefficients. The first sum is the signal that was not learned, the second the noise that was. The formula is exact if
the sample's second moment equals the population's (a fixed design, or N >> D); `design_risk` is exact for any sample.

Shapes: D directions last. Risk is in units of the squared label and does not include the irreducible v.
Source: the setting of arXiv:2301.12923. Derivation: docs/theory.md, section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize, minimize_scalar

from disobey.errors import refusal
from disobey.theory.linear_flow import progress
from disobey.theory.linear_problems import RiskCase, aligned_signal, power_law_spectrum, random_case, top_signal

__all__ = [
    "RiskCase",
    "Stopping",
    "aligned_signal",
    "design_risk",
    "does_it_pay_map",
    "excess_risk",
    "optimal_pair",
    "optimal_stopping",
    "oracle_risk",
    "power_law_spectrum",
    "random_case",
    "risk_map",
    "time_grid",
    "top_signal",
]


@dataclass(frozen=True)
class Stopping:
    """The best stopping time and its risk.

    Attributes:
        teacher_time: training time of the teacher; inf means labels.
        student_time: the best training time of the student; inf means never stop.
        risk: excess risk at these times.
    """

    teacher_time: float
    student_time: float
    risk: float


def excess_risk(
    spectrum: ArrayLike, signal: ArrayLike, noise_variance: float, examples: int, learned: ArrayLike
) -> NDArray:
    """Excess risk of a model that has learned given fractions of the directions.

    Args:
        spectrum: eigenvalues (D,).
        signal: true coefficients (D,).
        noise_variance: of the labels.
        examples: N.
        learned: fractions ``(..., D)``.

    Returns:
        ``(...)``, in squared labels.

    Raises:
        Refusal: ``risk-inputs``.

    Example:
        >>> float(excess_risk([1.0, 0.5], [1.0, 0.0], 0.1, 10, [0.9, 0.5]).round(6))
        0.0206
    """
    missed = np.asarray(spectrum, float) * np.asarray(signal, float) ** 2
    learned = np.asarray(learned, float)
    if noise_variance < 0 or examples < 1:
        got = f"noise_variance {noise_variance}, examples {examples}"
        raise refusal("risk-inputs", "noise_variance >= 0 and examples >= 1", got)
    return (1 - learned) ** 2 @ missed + noise_variance / examples * (learned**2).sum(axis=-1)


def oracle_risk(spectrum: ArrayLike, signal: ArrayLike, noise_variance: float, examples: int) -> float:
    """The lowest excess risk of any learned fractions (the Wiener filter): no training schedule can go below it.

    Args:
        spectrum: eigenvalues (D,).
        signal: true coefficients (D,).
        noise_variance: of the labels.
        examples: N.

    Returns:
        Excess risk, in squared labels.

    Example:
        >>> oracle_risk([1.0], [1.0], 0.1, 10)
        0.009900990099009901
    """
    missed = np.asarray(spectrum, float) * np.asarray(signal, float) ** 2
    noise = noise_variance / examples
    total = missed + noise
    return float(np.sum(np.divide(missed * noise, total, out=np.zeros_like(total), where=total > 0)))


def design_risk(
    inputs: NDArray,
    truth: NDArray,
    covariance: NDArray,
    noise_variance: float,
    times: Sequence[float],
    *,
    step_size: float | None = None,
) -> float:
    """Exact excess risk for one sample of inputs, averaged over label noise only: any sample, any population.

    Args:
        inputs: (N, D).
        truth: true coefficients (D,).
        covariance: second moment of the population (D, D).
        noise_variance: of the labels.
        times: training times of a chain of generations, of which the last one's risk is returned; one time is a plain
            teacher. Time belongs to the mean loss.
        step_size: of gradient descent; None means gradient flow.

    Returns:
        Excess risk, in squared labels.

    Example:
        >>> x = np.diag([2.0, 1.0]) * np.sqrt(2)  # second moment diag(4, 1)
        >>> round(design_risk(x, np.ones(2), np.diag([4.0, 1.0]), 0.1, [1.0]), 5)
        0.20484
    """
    singular, right = np.linalg.svd(inputs, full_matrices=False)[1:]
    spectrum = singular**2 / len(inputs)
    learned = np.prod([progress(spectrum, time, step_size=step_size) for time in times], axis=0)
    bias = right.T @ (learned * (right @ truth)) - truth
    reach = np.einsum("kd,de,ke->k", right, covariance, right)
    spread = np.divide(learned**2, spectrum, out=np.zeros_like(spectrum), where=spectrum > 0)
    return float(bias @ covariance @ bias + noise_variance / len(inputs) * spread @ reach)


def risk_map(
    spectrum: ArrayLike,
    signal: ArrayLike,
    noise_variance: float,
    examples: int,
    teacher_times: ArrayLike,
    student_times: ArrayLike,
) -> NDArray:
    """Excess risk of students on a grid of training times.

    Args:
        spectrum: eigenvalues (D,).
        signal: true coefficients (D,).
        noise_variance: of the labels.
        examples: N.
        teacher_times: one row each; inf means labels.
        student_times: one column each.

    Returns:
        (teachers, students), in squared labels.

    Example:
        >>> risk_map([1.0, 0.1], [1.0, 0.0], 0.1, 10, [1.0, np.inf], [1.0, 9.0]).round(4)
        array([[0.3621, 0.1394],
               [0.1394, 0.0135]])
    """
    students = progress(spectrum, student_times)
    rows = [students * progress(spectrum, time) for time in np.ravel(teacher_times)]
    # Row by row, because an array of the whole grid times D would be large.
    return np.stack([excess_risk(spectrum, signal, noise_variance, examples, row) for row in rows])


def does_it_pay_map(
    spectrum: ArrayLike,
    signal: ArrayLike,
    noise_variance: float,
    examples: int,
    teacher_times: ArrayLike,
    student_times: ArrayLike,
    *,
    against: Literal["teacher", "twin", "best"] = "teacher",
) -> NDArray:
    """How much lower the student's risk is than a reference, on a grid of training times; positive means it pays.

    The three references have different answers: a student of an over-trained teacher easily beats its teacher, and
    seldom the best early-stopped model.

    Args:
        spectrum: eigenvalues (D,).
        signal: true coefficients (D,).
        noise_variance: of the labels.
        examples: N.
        teacher_times: one row each; inf means labels.
        student_times: one column each.
        against: ``teacher`` (its own), ``twin`` (the one-hot control with equal training time) or ``best`` (the best
            early-stopped one-hot model).

    Returns:
        Differences of risk (teachers, students).

    Raises:
        Refusal: ``unknown-reference``.

    Example:
        >>> does_it_pay_map([1.0, 0.1], [1.0, 0.0], 0.1, 10, [3.0, 90.0], [3.0, 90.0]).round(4)
        array([[-0.0054,  0.    ],
               [ 0.0078,  0.    ]])
    """
    problem = (spectrum, signal, noise_variance, examples)
    students = risk_map(*problem, teacher_times, student_times)
    if against == "teacher":
        return excess_risk(*problem, progress(spectrum, np.ravel(teacher_times)))[:, None] - students
    if against == "twin":
        return excess_risk(*problem, progress(spectrum, np.ravel(student_times)))[None] - students
    if against == "best":
        return optimal_stopping(*problem).risk - students
    raise refusal("unknown-reference", "'teacher', 'twin' or 'best' for against", repr(against))


def optimal_stopping(
    spectrum: ArrayLike,
    signal: ArrayLike,
    noise_variance: float,
    examples: int,
    *,
    teacher_time: float = np.inf,
    points: int = 400,
) -> Stopping:
    """The training time with the lowest risk, with labels or under a teacher.

    The risk has several minima if the spectrum has gaps. So a logarithmic grid comes first, and the best minimum is
    then refined. 0 and inf are candidates.

    Args:
        spectrum: eigenvalues (D,).
        signal: true coefficients (D,).
        noise_variance: of the labels.
        examples: N.
        teacher_time: training time of the teacher; inf means labels.
        points: size of the grid.

    Returns:
        The best stopping time and its risk.

    Example:
        >>> best = optimal_stopping([1.0, 0.01], [1.0, 0.0], 0.1, 10)
        >>> round(best.student_time, 2), round(best.risk, 5)
        (4.57, 0.00992)
    """
    problem = (spectrum, signal, noise_variance, examples)
    teacher = progress(spectrum, teacher_time)

    def risk(time: ArrayLike) -> NDArray:
        return excess_risk(*problem, teacher * progress(spectrum, time))

    grid = np.concatenate([[0.0], time_grid(spectrum, points), [np.inf]])
    risks = risk(grid)
    best = int(np.argmin(risks))
    if risks[-1] <= risks[best] * (1 + 1e-12):
        best = len(grid) - 1  # tied with training forever: the finite time is only an effect of rounding
    if 1 < best < len(grid) - 2:
        limits = np.log(grid[[best - 1, best + 1]])
        found: Any = minimize_scalar(  # type checkers know no attributes of scipy's result
            lambda log_time: float(risk(np.exp(log_time))), bounds=limits, method="bounded", options={"xatol": 1e-10}
        )
        if found.fun < risks[best]:
            return Stopping(teacher_time, float(np.exp(found.x)), float(found.fun))
    return Stopping(teacher_time, float(grid[best]), float(risks[best]))


def optimal_pair(
    spectrum: ArrayLike, signal: ArrayLike, noise_variance: float, examples: int, *, points: int = 60
) -> Stopping:
    """The best training times of teacher and student together.

    The result is never worse than the best early-stopped model (a teacher at inf). The risk is symmetric in the two
    times; the shorter one is reported as the student's.

    Args:
        spectrum: eigenvalues (D,).
        signal: true coefficients (D,).
        noise_variance: of the labels.
        examples: N.
        points: size of the grid in each direction.

    Returns:
        Both times and the risk.

    Example:
        >>> best = optimal_pair([1.0, 0.1], [1.0, 0.0], 0.1, 10)
        >>> round(best.risk, 5) <= round(optimal_stopping([1.0, 0.1], [1.0, 0.0], 0.1, 10).risk, 5)
        True
    """
    problem = (spectrum, signal, noise_variance, examples)
    alone = optimal_stopping(*problem)
    grid = time_grid(spectrum, points)
    risks = risk_map(*problem, grid, grid)
    row, column = np.unravel_index(np.argmin(risks), risks.shape)

    def risk(log_times: NDArray) -> float:
        return float(excess_risk(*problem, np.prod(progress(spectrum, np.exp(log_times)), axis=0)))

    found = minimize(
        risk, np.log([grid[row], grid[column]]), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-16}
    )
    if found.fun < alone.risk * (1 - 1e-9):  # a smaller gain is rounding, and labels alone are simpler
        student, teacher = np.sort(np.exp(found.x))
        return Stopping(float(teacher), float(student), float(found.fun))
    return alone


def time_grid(spectrum: ArrayLike, points: int) -> NDArray:
    """Times on a logarithmic scale, from "nothing is learned" to "everything is learned".

    Args:
        spectrum: eigenvalues (D,), at least one above 0.
        points: number of times.

    Returns:
        (points,), increasing.

    Raises:
        Refusal: ``no-eigenvalue``.

    Example:
        >>> time_grid([1.0, 0.1], 3).round(3)
        array([1.00e-03, 6.32e-01, 4.00e+02])
    """
    spectrum = np.asarray(spectrum, float)
    positive = spectrum[spectrum > 0]
    if positive.size == 0:
        raise refusal("no-eigenvalue", "at least one eigenvalue > 0", "none, so nothing can be learned")
    return np.geomspace(1e-3 / positive.max(), 40.0 / positive.min(), points)
