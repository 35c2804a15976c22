"""Which model is more biased towards the top direction, once both have learned the top direction equally well?

A comparison of a student with its teacher at equal time says little, because the student is behind on every direction.
The claim of arXiv:2301.12923 (eigenspace theorem) compares them at equal progress on direction 1: there the student is
strictly behind the teacher on direction 2. A teacher with unlearned fraction ``E_1`` on direction 1 has ``E_1^r`` left
on direction 2, with ``r = lambda_2 / lambda_1``. So the whole comparison is the sign of

    gap = log E_2 - r log E_1        (nats; > 0: the student is behind on the lower direction, "top-biased")

Why the code does not compute it as written: the two logarithms share the term ``-lambda_2 min(t, T)``, which can be
hundreds of nats, and subtracting them would show false violations of the theorem from rounding. The term is cancelled
analytically here. The proof, by Chebyshev's association inequality, is in docs/theory.md, section 2.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disobey.errors import refusal


@dataclass(frozen=True)
class PairCases:
    """Random pairs of directions and times, in units in which the top eigenvalue is 1.

    Attributes:
        lower: the lower eigenvalue (cases,).
        teacher_time: (cases,).
        student_time: (cases,).
    """

    lower: NDArray
    teacher_time: NDArray
    student_time: NDArray


def matched_progress_gap(
    top: ArrayLike,
    lower: ArrayLike,
    teacher_time: ArrayLike,
    student_time: ArrayLike,
    *,
    kd_weight: float = 1.0,
) -> NDArray:
    """``log E_2 - r log E_1`` of a student, against a teacher that has learned direction 1 equally far.

    All arguments broadcast. Under pure distillation the gap is always positive; under a mixed loss it may be negative.
    One of the two times may be infinite; the gap is then 0.

    Args:
        top: eigenvalue of the upper direction (`rates` converts those of gradient descent).
        lower: eigenvalue of the lower direction, below ``top``.
        teacher_time: when the teacher was stopped.
        student_time: how long the student was trained from 0.
        kd_weight: w of the loss ``(1 - w) one-hot + w KD``.

    Returns:
        The gap in nats.

    Raises:
        Refusal: ``eigenvalue-order``, ``time-range`` or ``kd-weight-range``.

    Example:
        >>> float(matched_progress_gap(1.0, 0.5, 2.0, 2.0).round(4))
        0.1783
        >>> float(matched_progress_gap(1.0, 0.5, 1.0, 4.0, kd_weight=0.5).round(4))
        -0.1149
    """
    top, lower, teacher, student = np.broadcast_arrays(
        *(np.asarray(value, float) for value in (top, lower, teacher_time, student_time))
    )
    if not np.all((lower > 0) & (top >= lower)):
        raise refusal("eigenvalue-order", "eigenvalues with top >= lower > 0", "others")
    if not np.all((teacher >= 0) & (student >= 0) & (np.isfinite(teacher) | np.isfinite(student))):
        raise refusal("time-range", "times >= 0, at most one of the two infinite", "others")
    if not 0 <= kd_weight <= 1:
        raise refusal("kd-weight-range", "a distillation weight in [0, 1]", kd_weight)
    if kd_weight == 0:
        return np.zeros(top.shape)  # the path of the labels, for every teacher
    ratio = lower / top
    # Early in training the linear parts cancel between the learned fractions, later between the exponents.
    early = np.log1p(-_learned(lower, teacher, student, kd_weight))
    early = early - ratio * np.log1p(-_learned(top, teacher, student, kd_weight))
    late = _log_rest(lower, teacher, student, kd_weight) - ratio * _log_rest(top, teacher, student, kd_weight)
    return np.where(top * np.maximum(teacher, student) < 1, early, late)


def path_gap(top: ArrayLike, lower: ArrayLike, unlearned_top: ArrayLike, unlearned_lower: ArrayLike) -> NDArray:
    """The same gap for any path, from its unlearned fractions on the two directions (`linear_flow.trajectory`).

    A positive gap means: behind the teacher's own path at equal progress on the top direction.

    Args:
        top: eigenvalue of the upper direction.
        lower: eigenvalue of the lower direction.
        unlearned_top: unlearned fraction of the upper direction.
        unlearned_lower: unlearned fraction of the lower direction.

    Returns:
        The gap in nats.

    Raises:
        Refusal: ``learned-exactly`` if a fraction is not positive: no teacher has equal progress there.

    Example:
        >>> float(path_gap(1.0, 0.5, 0.25, 0.5))  # on the teacher's path: 0.25 ** 0.5 = 0.5
        0.0
    """
    unlearned_top, unlearned_lower = np.asarray(unlearned_top, float), np.asarray(unlearned_lower, float)
    if not (np.all(unlearned_top > 0) and np.all(unlearned_lower > 0)):
        got = "one of 0 or less, where no teacher has equal progress"
        raise refusal("learned-exactly", "unlearned fractions > 0", got)
    return np.log(unlearned_lower) - np.asarray(lower, float) / np.asarray(top, float) * np.log(unlearned_top)


def lower_deficit(gap: ArrayLike, ratio: ArrayLike, unlearned_top: ArrayLike) -> NDArray:
    """A gap as a learned fraction: how much less of direction 2 the student has learned, ``E_2 - E_1^r``.

    The deficit decays as ``exp(-lambda_2 s)`` once training continues on labels; the gap in nats stays constant.

    Args:
        gap: in nats.
        ratio: lower eigenvalue divided by the top one.
        unlearned_top: unlearned fraction of the upper direction.

    Returns:
        Differences of learned fractions.

    Example:
        >>> float(lower_deficit(np.log(1.2), 0.5, 0.25).round(12))
        0.1
    """
    return np.asarray(unlearned_top, float) ** np.asarray(ratio, float) * np.expm1(gap)


def equal_time_excess(top: ArrayLike, lower: ArrayLike, teacher_time: ArrayLike) -> NDArray:
    """The student's ratio of learned fractions (top / lower), divided by the teacher's at equal time.

    It is ``f_1(T) / f_2(T)`` at every time: from ``top / lower`` for an early-stopped teacher down to 1 for a late one.

    Args:
        top: eigenvalue of the upper direction.
        lower: eigenvalue of the lower direction.
        teacher_time: when the teacher was stopped, above 0.

    Returns:
        The factor.

    Raises:
        Refusal: ``untrained-teacher``.

    Example:
        >>> float(equal_time_excess(1.0, 0.25, 4.0).round(4))
        1.553
    """
    top, lower, time = np.asarray(top, float), np.asarray(lower, float), np.asarray(teacher_time, float)
    if not np.all(time > 0):
        raise refusal("untrained-teacher", "teacher times > 0", "a teacher that has learned nothing and has no ratio")
    return np.expm1(-top * time) / np.expm1(-lower * time)


def random_cases(
    generator: np.random.Generator,
    count: int,
    *,
    smallest_ratio: float = 0.01,
    times: tuple[float, float] = (0.01, 10.0),
) -> PairCases:
    """Random cases: a log-uniform ratio of eigenvalues and log-uniform times.

    Shares such as `share_not_top_biased` depend on this choice, so state it beside every such share.

    Args:
        generator: of the random numbers.
        count: number of cases.
        smallest_ratio: lower end of the ratio of eigenvalues; the upper end is 1.
        times: range of both training times, in units of 1 / top eigenvalue.

    Returns:
        The cases.

    Raises:
        Refusal: ``random-case-range``.

    Example:
        >>> random_cases(np.random.default_rng(0), 2).lower.round(3)
        array([0.188, 0.035])
    """
    if not (0 < smallest_ratio < 1 and 0 < times[0] < times[1]):
        got = f"smallest_ratio {smallest_ratio}, times {times}"
        raise refusal("random-case-range", "0 < smallest_ratio < 1 and 0 < times[0] < times[1]", got)
    lower = np.exp(generator.uniform(np.log(smallest_ratio), 0.0, count))
    teacher, student = np.exp(generator.uniform(np.log(times[0]), np.log(times[1]), (2, count)))
    return PairCases(lower, teacher, student)


def share_not_top_biased(cases: PairCases, kd_weight: float) -> float:
    """Share of the cases whose student is *not* behind on the lower direction; 0 for pure distillation.

    >>> share_not_top_biased(random_cases(np.random.default_rng(0), 1000), 1.0)
    0.0
    """
    gap = matched_progress_gap(1.0, cases.lower, cases.teacher_time, cases.student_time, kd_weight=kd_weight)
    return float(np.mean(gap <= 0))


def _learned(rate: NDArray, teacher: NDArray, student: NDArray, weight: float) -> NDArray:
    """The learned fraction ``f(t) (1 - w + w f(T))`` of one direction."""
    a, b = np.minimum(rate * student, 1.0), np.minimum(rate * teacher, 1.0)  # values beyond 1 are not used
    return -np.expm1(-a) * ((1 - weight) - weight * np.expm1(-b))


def _log_rest(rate: NDArray, teacher: NDArray, student: NDArray, weight: float) -> NDArray:
    """``log E + rate * min(t, T)``: the logarithm of the unlearned fraction without its large linear part.

    E = e^-a + w e^-b (1 - e^-a) with a = rate * student and b = rate * teacher. The exponents below are never positive.
    """
    a, b = rate * student, rate * teacher
    first, lag = np.minimum(a, b), np.exp(-np.abs(a - b))
    student_first = np.log1p(weight * lag * -np.expm1(-first))
    scaled = lag * ((1 - weight) - weight * np.expm1(-first))
    rest = weight + scaled
    # rest >= weight > 0; log1p where rest is near 1, which is the only place where log would lose digits.
    teacher_first = np.where(rest < 0.5, np.log(rest), np.log1p(np.maximum(scaled - (1 - weight), -0.5)))
    return np.where(a <= b, student_first, teacher_first)
