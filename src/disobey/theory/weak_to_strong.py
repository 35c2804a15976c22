"""When is a strong student better than its weak teacher? The exact linear case.

A weak teacher has learned the fractions w_k of the directions of a linear problem from N labels with noise variance v:
a *subset of the features* has w_k = 1 on some directions and 0 elsewhere, early stopping w_k = 1 - exp(-lambda_k T).
Its student sees all features and learns the fractions s_k of the teacher's answers, hence w_k s_k of the truth, with
the teacher's noise. With m_k = lambda_k beta_k^2 the excess risk of direction k is

    R_k(phi) = m_k (1 - phi)^2 + (v / N) phi^2,   phi = w for the teacher and phi = w s for the student.

R_k is smallest at the Wiener share w*_k = m_k / (m_k + v / N). Since s <= 1, a student can only shrink:

    some student beats its teacher  <=>  w_k > w*_k for some direction: there the teacher learned too much noise;
    where w_k <= w*_k nothing helps: what the weak teacher did not learn, no student of it can learn.

So in a linear model all that weak-to-strong training recovers is the variance of the teacher. The formula is exact
where the sample's second moment equals the population's, as in `linear_risk`. D directions last; risks in squared
labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disobey.errors import refusal
from disobey.theory.linear_flow import progress
from disobey.theory.linear_problems import RiskCase
from disobey.theory.linear_risk import excess_risk, time_grid


@dataclass(frozen=True)
class WeakToStrong:
    """Excess risks of a weak teacher, its strong student, and the strong model on labels."""

    weak: float
    student: float
    ceiling: float

    @property
    def recovered(self) -> float:
        """Performance gap recovered: 0 at the teacher, 1 at the ceiling; NaN where the ceiling is not better.

        >>> round(WeakToStrong(0.3, 0.2, 0.1).recovered, 6)
        0.5
        """
        gap = self.weak - self.ceiling
        return (self.weak - self.student) / gap if gap > 0 else np.nan


def wiener_share(case: RiskCase) -> NDArray:
    """The fraction of each direction that has the lowest risk, (D,)."""
    missed = np.asarray(case.spectrum, float) * np.asarray(case.signal, float) ** 2
    total = missed + case.noise_variance / case.examples
    return np.divide(missed, total, out=np.zeros_like(missed), where=total > 0)


def can_be_beaten(case: RiskCase, weak: ArrayLike) -> NDArray:
    """In which directions a student can have a lower risk than its teacher, (D,) bool.

    >>> case = RiskCase(np.ones(2), np.array([1.0, 0.0]), 0.1, 10)
    >>> can_be_beaten(case, [0.9, 1.0])
    array([False,  True])
    """
    return np.asarray(weak, float) > wiener_share(case)


def best_student(case: RiskCase, weak: ArrayLike) -> NDArray:
    """The fractions of its teacher that the best of all students learns, (D,): 1 where nothing can be gained.

    >>> case = RiskCase(np.ones(2), np.array([1.0, 0.0]), 0.1, 10)
    >>> best_student(case, [0.9, 1.0])
    array([1., 0.])
    """
    weak = np.asarray(weak, float)
    share = wiener_share(case)
    return np.divide(share, weak, out=np.ones_like(share), where=weak > share)


def weak_to_strong(case: RiskCase, weak: ArrayLike, student: ArrayLike, ceiling: ArrayLike) -> WeakToStrong:
    """The three risks for given fractions.

    Args:
        case: spectrum, signal, noise and number of examples.
        weak: fractions that the teacher learned of the truth (D,), in [0, 1].
        student: fractions that the student learns of its teacher (D,), in [0, 1].
        ceiling: fractions that the strong model learns from labels (D,), in [0, 1].

    Raises:
        Refusal: ``fractions`` outside [0, 1].

    Example:
        >>> case = RiskCase(np.ones(2), np.array([1.0, 0.0]), 0.1, 10)
        >>> found = weak_to_strong(case, [1.0, 1.0], [1.0, 0.0], [1.0, 0.0])
        >>> round(found.weak, 3), round(found.student, 3), found.recovered
        (0.02, 0.01, 1.0)
    """
    parts = [np.asarray(part, float) for part in (weak, student, ceiling)]
    if any(not np.all((part >= 0) & (part <= 1)) for part in parts):
        raise refusal("fractions", "learned fractions in [0, 1]", "some outside")
    problem = case.spectrum, case.signal, case.noise_variance, case.examples
    of_truth = parts[0], parts[0] * parts[1], parts[2]
    return WeakToStrong(*(float(excess_risk(*problem, learned)) for learned in of_truth))


def features(case: RiskCase, count: int) -> NDArray:
    """A fully trained teacher on the ``count`` leading features: fractions (D,)."""
    return (np.arange(len(np.asarray(case.spectrum))) < count).astype(float)


def best_stopped(case: RiskCase, weak: ArrayLike | None = None, points: int = 400) -> tuple[float, NDArray]:
    """The best training time of a strong model under a teacher (labels where None), and what it learns by then.

    Args:
        case: the problem.
        weak: fractions that the teacher learned (D,).
        points: of the logarithmic grid of times; infinity is one more.

    Returns:
        (time, fractions of its targets (D,)).
    """
    teacher = np.ones_like(np.asarray(case.spectrum, float)) if weak is None else np.asarray(weak, float)
    times = np.append(time_grid(case.spectrum, points), np.inf)
    learned = progress(case.spectrum, times)
    risks = excess_risk(case.spectrum, case.signal, case.noise_variance, case.examples, teacher * learned)
    best = len(times) - 1 if risks[-1] <= risks.min() * (1 + 1e-12) else int(risks.argmin())
    return float(times[best]), learned[best]
