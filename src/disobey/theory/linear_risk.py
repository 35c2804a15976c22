"""Does it pay? The exact population risk of linear teachers and students, and when to stop.

Whoever has learned the fraction ``phi_k`` of direction k, from N labels with noise variance v, has excess risk

    sum_k lambda_k (1 - phi_k)^2 beta_k^2  +  (v / N) sum_k phi_k^2

``lambda_k`` are the eigenvalues of the input second moment (mean, not sum), ``beta`` the true coefficients. The first
sum is what was not learned, the second the noise that was. It holds exactly where the sample's second moment
equals the population's (a fixed design, or N >> D); ``design_risk`` is exact for any sample.

Shapes: D directions last. Risk is in units of the squared label and leaves out the irreducible v.
Source: the setting of arXiv 2301.12923; derivation in docs/theory.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize, minimize_scalar

from disobey.theory.linear_flow import progress


@dataclass(frozen=True)
class Stopping:
    """The best student time (inf: never stop) under a teacher of the given time (inf: labels), and its risk."""

    teacher_time: float
    student_time: float
    risk: float


@dataclass(frozen=True)
class RiskCase:
    """One regression problem: ``spectrum`` and ``signal`` (D,), the label noise's variance, the number of examples."""

    spectrum: NDArray
    signal: NDArray
    noise_variance: float
    examples: int


def power_law_spectrum(dimensions: int, exponent: float) -> NDArray:
    """Eigenvalues ``k ** -exponent``, k = 1..dimensions.

    >>> power_law_spectrum(4, 1.0).round(3)
    array([1.   , 0.5  , 0.333, 0.25 ])
    """
    return np.arange(1, dimensions + 1, dtype=float) ** -exponent


def aligned_signal(spectrum: ArrayLike, alignment: float, *, variance: float = 1.0) -> NDArray:
    """True coefficients whose share of the labels' variance goes as ``lambda_k ** alignment``: (D,), all positive.

    1 puts equal coefficients on all directions (most variance at the top), 0 equal variance (flat), below 0 most
    variance at the bottom. ``variance`` is the total ``sum lambda_k beta_k^2``.

    >>> aligned_signal([1.0, 0.25], 0.0, variance=2.0)
    array([1., 2.])
    """
    spectrum = np.asarray(spectrum, float)
    if not np.all(spectrum > 0):
        raise ValueError("expected eigenvalues > 0: a direction without data carries no label variance")
    share = spectrum**alignment
    return np.sqrt(variance * share / share.sum() / spectrum)


def top_signal(dimensions: int, count: int) -> NDArray:
    """Coefficient 1 on the first ``count`` directions and 0 on the others: (dimensions,).

    >>> top_signal(4, 2)
    array([1., 1., 0., 0.])
    """
    return (np.arange(dimensions) < count).astype(float)


def random_case(generator: np.random.Generator, *, dimensions: int = 50) -> RiskCase:
    """A random regression problem with a power-law spectrum and labels of signal variance 1.

    Spectrum slope uniform in [.5, 2.5], alignment in [-1, 2]; N log-uniform in [D, 10 D], noise variance in [.01, 1].

    >>> random_case(np.random.default_rng(0)).examples
    51
    """
    spectrum = power_law_spectrum(dimensions, generator.uniform(0.5, 2.5))
    signal = aligned_signal(spectrum, generator.uniform(-1.0, 2.0))
    noise = float(np.exp(generator.uniform(np.log(0.01), 0.0)))
    examples = int(dimensions * np.exp(generator.uniform(0.0, np.log(10.0))))
    return RiskCase(spectrum, signal, noise, examples)


def excess_risk(
    spectrum: ArrayLike, signal: ArrayLike, noise_variance: float, examples: int, learned: ArrayLike
) -> NDArray:
    """Excess risk of whoever learned the fractions ``learned`` (..., D): shape (...).

    >>> float(excess_risk([1.0, 0.5], [1.0, 0.0], 0.1, 10, [0.9, 0.5]).round(6))
    0.0206
    """
    missed = np.asarray(spectrum, float) * np.asarray(signal, float) ** 2
    learned = np.asarray(learned, float)
    if noise_variance < 0 or examples < 1:
        raise ValueError(f"expected noise_variance >= 0 and examples >= 1; got {noise_variance}, {examples}")
    return (1 - learned) ** 2 @ missed + noise_variance / examples * (learned**2).sum(axis=-1)


def oracle_risk(spectrum: ArrayLike, signal: ArrayLike, noise_variance: float, examples: int) -> float:
    """The least excess risk of any learned fractions at all (Wiener filter): no schedule goes below it.

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
    """Exact excess risk for one sample of inputs (N, D), over label noise only: any sample, any population.

    ``times`` are the training times of a chain of generations, the last one's risk is given; one time is a plain
    teacher. Time belongs to the mean loss. ``covariance`` (D, D) is the population's second moment.

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
    """Excess risk of students on a grid of times: (teachers, students). A teacher time of inf means labels.

    >>> risk_map([1.0, 0.1], [1.0, 0.0], 0.1, 10, [1.0, np.inf], [1.0, 9.0]).round(4)
    array([[0.3621, 0.1394],
           [0.1394, 0.0135]])
    """
    students = progress(spectrum, student_times)
    rows = [students * progress(spectrum, time) for time in np.ravel(teacher_times)]
    # A row at a time: the grid times D would be the only large array.
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
    """How much lower the student's risk is, on a grid of times: (teachers, students); positive: it pays.

    ``against`` its own teacher, its one-hot twin of equal time, or the best early-stopped one-hot model. The three
    questions have different answers: a student of an over-trained teacher beats it easily, and seldom beats "best".

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
    raise ValueError(f"expected against 'teacher', 'twin' or 'best'; got {against!r}")


def optimal_stopping(
    spectrum: ArrayLike,
    signal: ArrayLike,
    noise_variance: float,
    examples: int,
    *,
    teacher_time: float = np.inf,
    points: int = 400,
) -> Stopping:
    """When to stop: the training time of least risk, with labels or under a teacher of ``teacher_time``.

    The risk has several valleys where the spectrum has gaps, so a log grid of ``points`` times comes first and the
    best valley is then refined. 0 and inf are candidates.

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
        best = len(grid) - 1  # a tie with training forever: the finite time only shows where rounding ends
    if 1 < best < len(grid) - 2:
        limits = np.log(grid[[best - 1, best + 1]])
        found: Any = minimize_scalar(  # scipy's result has no attributes to a type checker
            lambda log_time: float(risk(np.exp(log_time))), bounds=limits, method="bounded", options={"xatol": 1e-10}
        )
        if found.fun < risks[best]:
            return Stopping(teacher_time, float(np.exp(found.x)), float(found.fun))
    return Stopping(teacher_time, float(grid[best]), float(risks[best]))


def optimal_pair(
    spectrum: ArrayLike, signal: ArrayLike, noise_variance: float, examples: int, *, points: int = 60
) -> Stopping:
    """The best teacher and student times together; never worse than the best early-stopped model (teacher at inf).

    The risk is symmetric in the two times, so exchanging them is equally good; the student's is given as the shorter.

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
    if found.fun < alone.risk * (1 - 1e-9):  # below that it is rounding, and labels alone are the simpler answer
        student, teacher = np.sort(np.exp(found.x))
        return Stopping(float(teacher), float(student), float(found.fun))
    return alone


def time_grid(spectrum: ArrayLike, points: int) -> NDArray:
    """Times on a log scale, from "nothing is learned" to "everything is": (points,).

    >>> time_grid([1.0, 0.1], 3).round(3)
    array([1.00e-03, 6.32e-01, 4.00e+02])
    """
    spectrum = np.asarray(spectrum, float)
    positive = spectrum[spectrum > 0]
    if positive.size == 0:
        raise ValueError("expected at least one eigenvalue > 0: nothing can be learned")
    return np.geomspace(1e-3 / positive.max(), 40.0 / positive.min(), points)
