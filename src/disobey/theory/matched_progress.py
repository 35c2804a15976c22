"""Who is more biased toward the top direction, once both have learned the top direction equally well?

Comparing a student with its teacher at equal time says little: the student is behind everywhere. The claim of
arXiv 2301.12923 (eigenspace theorem) is about equal progress on direction 1: there the student's direction 2 is
strictly behind the teacher's. A teacher whose direction 1 has unlearned fraction ``E_1`` has ``E_1^r`` left on
direction 2, ``r = lambda_2 / lambda_1``. So the whole comparison is the sign of

    gap = log E_2 - r log E_1        (nats; > 0: the student's lower direction is behind, "top-biased")

The two logarithms share the part ``-lambda_2 min(t, T)``, which can be hundreds of nats; subtracting them as they
stand shows false violations of the theorem from rounding. Here that part is cancelled on paper.
Proof, by Chebyshev's association inequality, in docs/theory.md.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class PairCases:
    """Random pairs of directions and times, in units where the top eigenvalue is 1: arrays of shape (cases,)."""

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
    """``log E_2 - r log E_1`` of a student against a teacher that has learned direction 1 as far; nats.

    ``top`` > ``lower`` are the eigenvalues of the two directions (``rates`` turns those of gradient descent into
    them), ``teacher_time`` is when the teacher was stopped, ``student_time`` how long the student was trained from 0
    with ``(1 - kd_weight) one-hot + kd_weight KD``. All broadcast. Pure distillation is positive always;
    a mixed loss is not (it leaves no theorem). One of the two times may be infinite, and the gap is then 0.

    >>> float(matched_progress_gap(1.0, 0.5, 2.0, 2.0).round(4))
    0.1783
    >>> float(matched_progress_gap(1.0, 0.5, 1.0, 4.0, kd_weight=0.5).round(4))
    -0.1149
    """
    top, lower, teacher, student = np.broadcast_arrays(
        *(np.asarray(value, float) for value in (top, lower, teacher_time, student_time))
    )
    if not np.all((lower > 0) & (top >= lower)):
        raise ValueError("expected eigenvalues top >= lower > 0")
    if not np.all((teacher >= 0) & (student >= 0) & (np.isfinite(teacher) | np.isfinite(student))):
        raise ValueError("expected times >= 0, at most one of the two infinite")
    if not 0 <= kd_weight <= 1:
        raise ValueError(f"expected a distillation weight in [0, 1]; got {kd_weight}")
    if kd_weight == 0:
        return np.zeros(top.shape)  # the labels' own path, whatever the teacher
    ratio = lower / top
    # Early on the linear parts cancel between the learned fractions, later between the exponents.
    early = np.log1p(-_learned(lower, teacher, student, kd_weight))
    early = early - ratio * np.log1p(-_learned(top, teacher, student, kd_weight))
    late = _log_rest(lower, teacher, student, kd_weight) - ratio * _log_rest(top, teacher, student, kd_weight)
    return np.where(top * np.maximum(teacher, student) < 1, early, late)


def path_gap(top: ArrayLike, lower: ArrayLike, unlearned_top: ArrayLike, unlearned_lower: ArrayLike) -> NDArray:
    """The same gap for any path, from its unlearned fractions on the two directions (``linear_flow.trajectory``).

    Positive: behind the teacher's own path at equal progress on the top direction. Raises where a fraction is not
    positive: a direction that is learned exactly, or past its solution, has no teacher to be matched with.

    >>> float(path_gap(1.0, 0.5, 0.25, 0.5))  # on the teacher's path: .25 ** .5 = .5
    0.0
    """
    unlearned_top, unlearned_lower = np.asarray(unlearned_top, float), np.asarray(unlearned_lower, float)
    if not (np.all(unlearned_top > 0) and np.all(unlearned_lower > 0)):
        raise ValueError("expected unlearned fractions > 0: past the solution no teacher has equal progress")
    return np.log(unlearned_lower) - np.asarray(lower, float) / np.asarray(top, float) * np.log(unlearned_top)


def lower_deficit(gap: ArrayLike, ratio: ArrayLike, unlearned_top: ArrayLike) -> NDArray:
    """A gap as learned fraction: how much less of direction 2 the student has learned, ``E_2 - E_1^r``.

    ``ratio`` is lower / top eigenvalue. This is what decays as ``exp(-lambda_2 s)`` once labels take over, while the
    gap in nats stays as it is.

    >>> float(lower_deficit(np.log(1.2), 0.5, 0.25).round(12))
    0.1
    """
    return np.asarray(unlearned_top, float) ** np.asarray(ratio, float) * np.expm1(gap)


def equal_time_excess(top: ArrayLike, lower: ArrayLike, teacher_time: ArrayLike) -> NDArray:
    """By what factor the student's ratio of learned fractions (top / lower) exceeds the teacher's at equal time.

    ``f_1(T) / f_2(T)``, whatever that time is; from ``top / lower`` for an early teacher down to 1 for a late one.

    >>> float(equal_time_excess(1.0, 0.25, 4.0).round(4))
    1.553
    """
    top, lower, time = np.asarray(top, float), np.asarray(lower, float), np.asarray(teacher_time, float)
    if not np.all(time > 0):
        raise ValueError("expected teacher times > 0: a teacher that has learned nothing has no ratio")
    return np.expm1(-top * time) / np.expm1(-lower * time)


def random_cases(
    generator: np.random.Generator,
    count: int,
    *,
    smallest_ratio: float = 0.01,
    times: tuple[float, float] = (0.01, 10.0),
) -> PairCases:
    """Random cases: the ratio of eigenvalues log-uniform in [smallest_ratio, 1), both times log-uniform in ``times``.

    Times are in units of 1 / top eigenvalue. Shares such as ``share_not_top_biased`` depend on this choice, so it is
    part of every statement about them.

    >>> random_cases(np.random.default_rng(0), 2).lower.round(3)
    array([0.188, 0.035])
    """
    if not (0 < smallest_ratio < 1 and 0 < times[0] < times[1]):
        raise ValueError("expected 0 < smallest_ratio < 1 and 0 < times[0] < times[1]")
    lower = np.exp(generator.uniform(np.log(smallest_ratio), 0.0, count))
    teacher, student = np.exp(generator.uniform(np.log(times[0]), np.log(times[1]), (2, count)))
    return PairCases(lower, teacher, student)


def share_not_top_biased(cases: PairCases, kd_weight: float) -> float:
    """Share of the cases whose student is *not* behind on the lower direction: 0 for pure distillation.

    >>> share_not_top_biased(random_cases(np.random.default_rng(0), 1000), 1.0)
    0.0
    """
    gap = matched_progress_gap(1.0, cases.lower, cases.teacher_time, cases.student_time, kd_weight=kd_weight)
    return float(np.mean(gap <= 0))


def _learned(rate: NDArray, teacher: NDArray, student: NDArray, weight: float) -> NDArray:
    """``f(t) (1 - w + w f(T))`` of one direction."""
    a, b = np.minimum(rate * student, 1.0), np.minimum(rate * teacher, 1.0)  # beyond 1 it is not used
    return -np.expm1(-a) * ((1 - weight) - weight * np.expm1(-b))


def _log_rest(rate: NDArray, teacher: NDArray, student: NDArray, weight: float) -> NDArray:
    """``log E + rate * min(t, T)``: the logarithm of the unlearned fraction without its large linear part.

    E = e^-a + w e^-b (1 - e^-a) with a = rate * student, b = rate * teacher; exponents below are never positive.
    """
    a, b = rate * student, rate * teacher
    first, lag = np.minimum(a, b), np.exp(-np.abs(a - b))
    student_first = np.log1p(weight * lag * -np.expm1(-first))
    scaled = lag * ((1 - weight) - weight * np.expm1(-first))
    rest = weight + scaled
    # rest >= weight > 0; log1p where rest is near 1, which is the only place where log would lose digits.
    teacher_first = np.where(rest < 0.5, np.log(rest), np.log1p(np.maximum(scaled - (1 - weight), -0.5)))
    return np.where(a <= b, student_first, teacher_first)
