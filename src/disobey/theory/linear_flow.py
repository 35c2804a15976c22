"""Gradient descent on a linear model, for teachers, students and any chain of them.

Setting: ``h(x) = beta . x``, squared loss, eigenvalues ``lambda_k`` of the Hessian of the loss (the second moment of
the inputs). In the eigenbasis the directions are independent: training for time ``t`` towards a fixed target leaves the
share ``exp(-lambda_k t)`` of the distance to it. So a teacher has learned ``f_k(t) = 1 - exp(-lambda_k t)`` of
direction ``k``, a student of the teacher stopped at ``T`` has learned ``f_k(t) f_k(T)``, and every schedule of targets
is a chain of such steps. Gradient descent with step size ``eta`` replaces the exponential by ``(1 - eta
lambda_k)^steps``.

The functions work on coefficients or on **unlearned fractions** ``1 - coefficient / solution``. Unlearned fractions are
numerically better: all their terms are positive, so they keep their relative accuracy when a direction is learned to
within 1e-300, where ``1 - learned`` would round to 0.

Shapes: D directions last, time before it. Time is in units of 1/eigenvalue, or in steps if ``step_size`` is given.
Source: arXiv:2301.12923, section on gradient flow in linear models. Derivations: docs/theory.md, section 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disobey.errors import refusal


@dataclass(frozen=True)
class Phase:
    """A stretch of training towards one fixed target.

    Attributes:
        target: one number per direction (D,), or one for all.
        duration: training time.
    """

    target: ArrayLike
    duration: float


@dataclass(frozen=True)
class LinearProblem:
    """Least squares in its eigenbasis.

    Attributes:
        spectrum: eigenvalues (D,), descending.
        basis: eigenvectors (features, D).
        solution: least-squares coefficients (D,).
    """

    spectrum: NDArray
    basis: NDArray
    solution: NDArray

    @classmethod
    def from_data(cls, inputs: NDArray, labels: NDArray, *, reduction: Literal["sum", "mean"] = "sum") -> Self:
        """The eigenbasis of a data set. Directions that the inputs do not span are left out: they are never learned.

        Args:
            inputs: (N, features).
            labels: (N,).
            reduction: whether the loss is half the sum or half the mean of the squared errors; this decides the unit of
                time.

        Returns:
            The problem.

        Raises:
            Refusal: ``regression-shapes``.

        Example:
                >>> LinearProblem.from_data(np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([6.0, 1.0])).spectrum
                array([4., 1.])
        """
        if inputs.ndim != 2 or labels.shape != (len(inputs),):
            got = f"{inputs.shape} and {labels.shape}"
            raise refusal("regression-shapes", "inputs (N, features) and labels (N,)", got)
        left, singular, right = np.linalg.svd(np.asarray(inputs, float), full_matrices=False)
        kept = singular > singular[0] * max(inputs.shape) * np.finfo(float).eps
        scale = 1.0 if reduction == "sum" else 1.0 / len(inputs)
        solution = (left.T @ labels)[kept] / singular[kept]
        return cls(singular[kept] ** 2 * scale, right[kept].T, solution)

    def weights(self, coefficients: NDArray) -> NDArray:
        """Coefficients in the eigenbasis as weights of the features: ``(..., D)`` to ``(..., features)``."""
        return coefficients @ self.basis.T


def decay(spectrum: ArrayLike, time: ArrayLike, *, step_size: float | None = None) -> NDArray:
    """Share of the distance to a fixed target that is left after a training time.

    Args:
        spectrum: eigenvalues (D,).
        time: training times of any shape, or numbers of steps if ``step_size`` is given.
        step_size: of gradient descent; None means gradient flow.

    Returns:
        ``time.shape + (D,)``.

    Raises:
        Refusal: ``spectrum``, ``negative-time``, ``diverging-step`` or ``fractional-steps``.

    Example:
        >>> decay([1.0, 0.5], 2.0).round(3)
        array([0.135, 0.368])
        >>> decay([1.0, 0.5], 2, step_size=0.1)  # two steps of gradient descent
        array([0.81  , 0.9025])
    """
    spectrum, time = _checked(spectrum, time)
    if step_size is None:
        return np.exp(-_product(spectrum, time))
    scaled, steps = _stable(step_size * spectrum), _whole(time)
    size = np.exp(_product(_log_abs(scaled), steps))
    return np.where((scaled > 1) & (steps[..., None] % 2 == 1), -size, size)


def progress(spectrum: ArrayLike, time: ArrayLike, *, step_size: float | None = None) -> NDArray:
    """Learned fraction ``f_k(t) = 1 - decay``, accurate even if it is tiny.

    Args:
        spectrum: eigenvalues (D,).
        time: training times of any shape, or numbers of steps if ``step_size`` is given.
        step_size: of gradient descent; None means gradient flow.

    Returns:
        ``time.shape + (D,)``.

    Example:
        >>> float(progress([1e-20], 1.0)[0])
        1e-20
    """
    spectrum, time = _checked(spectrum, time)
    if step_size is None:
        return -np.expm1(-_product(spectrum, time))
    scaled, left = step_size * spectrum, decay(spectrum, time, step_size=step_size)
    return np.where(scaled < 1, -np.expm1(_product(_log_abs(scaled), _whole(time))), 1.0 - left)


def rates(spectrum: ArrayLike, step_size: float | None = None) -> NDArray:
    """The eigenvalues with which gradient flow would follow gradient descent: ``-log(1 - eta lambda)`` per step.

    Args:
        spectrum: eigenvalues (D,).
        step_size: eta; None returns the spectrum.

    Returns:
        Rates (D,).

    Raises:
        Refusal: ``overshooting-step`` if ``eta lambda >= 1``: such a direction overshoots, and no flow does that.

    Example:
        >>> rates([1.0, 0.5], 0.1).round(4)
        array([0.1054, 0.0513])
    """
    spectrum = np.asarray(spectrum, float)
    if step_size is None:
        return spectrum
    if step_size * spectrum.max() >= 1:
        got, attempt = f"{step_size * spectrum.max():.3g}", f"a step size below {1 / spectrum.max():.3g}"
        raise refusal("overshooting-step", "step_size * eigenvalue < 1", got, attempt)
    return -np.log1p(-step_size * spectrum)


def flow(
    spectrum: ArrayLike,
    target: ArrayLike,
    time: ArrayLike,
    *,
    start: ArrayLike = 0.0,
    step_size: float | None = None,
) -> NDArray:
    """Where training towards a target arrives after a training time.

    Coefficients usually start at 0. Unlearned fractions start at 1; their target is 0 for labels and the teacher's
    unlearned fraction for distillation.

    Args:
        spectrum: eigenvalues (D,).
        target: (D,) or one number.
        time: training times of any shape, or numbers of steps if ``step_size`` is given.
        start: (D,) or one number.
        step_size: of gradient descent; None means gradient flow.

    Returns:
        ``time.shape + (D,)``.

    Example:
        >>> flow([1.0, 0.5], [3.0, 3.0], 2.0).round(3)
        array([2.594, 1.896])
    """
    left = decay(spectrum, time, step_size=step_size)
    return np.asarray(start) * left + np.asarray(target) * progress(spectrum, time, step_size=step_size)


def mixed_target(labels: ArrayLike, teacher: ArrayLike, kd_weight: float) -> NDArray:
    """The effective target of the loss ``(1 - w) one-hot + w KD`` (squared losses add up to one squared loss).

    Args:
        labels: target of the labels, (D,) or one number.
        teacher: target of distillation, (D,) or one number.
        kd_weight: w in [0, 1].

    Returns:
        (D,) or one number.

    Raises:
        Refusal: ``kd-weight-range``.

    Example:
        >>> mixed_target(0.0, [0.5, 0.1], 0.9)
        array([0.45, 0.09])
    """
    if not 0 <= kd_weight <= 1:
        raise refusal("kd-weight-range", "a distillation weight in [0, 1]", kd_weight)
    return (1 - kd_weight) * np.asarray(labels, float) + kd_weight * np.asarray(teacher, float)


def generations(
    spectrum: ArrayLike,
    times: Sequence[float],
    *,
    kd_weight: float = 1.0,
    step_size: float | None = None,
) -> NDArray:
    """Unlearned fractions of every generation in a chain of students.

    The first generation is the teacher, trained on labels. Every later one starts from 0 and is distilled from the one
    before with the loss ``(1 - kd_weight) one-hot + kd_weight KD``.

    Args:
        spectrum: eigenvalues (D,).
        times: training time of every generation.
        kd_weight: weight of distillation.
        step_size: of gradient descent; None means gradient flow.

    Returns:
        ``(len(times), D)``.

    Raises:
        Refusal: ``no-generations``.

    Example:
        >>> generations([1.0, 0.5], [2.0, 2.0]).round(4)
        array([[0.1353, 0.3679],
               [0.2524, 0.6004]])
    """
    if len(times) == 0:
        raise refusal("no-generations", "at least one training time", "none")
    rows: list[NDArray] = []
    for time in times:
        target = mixed_target(0.0, rows[-1], kd_weight) if rows else 0.0
        rows.append(flow(spectrum, target, time, start=1.0, step_size=step_size))
    return np.stack(rows)


def trajectory(
    spectrum: ArrayLike,
    phases: Sequence[Phase],
    times: ArrayLike,
    *,
    start: ArrayLike = 0.0,
    step_size: float | None = None,
) -> NDArray:
    """A path through several phases, such as loss switching: labels first and then a teacher, or the reverse.

    After the last phase the path continues towards the last target.

    Args:
        spectrum: eigenvalues (D,).
        phases: in order; all but the last have finite durations.
        times: of any shape, counted from the beginning.
        start: (D,) or one number.
        step_size: of gradient descent; None means gradient flow.

    Returns:
        ``times.shape + (D,)``.

    Raises:
        Refusal: ``no-phases`` or ``endless-phase``.

    Example:
        >>> to_teacher, to_labels = Phase(0.5, 1.0), Phase(0.0, 1.0)  # unlearned fractions
        >>> trajectory([1.0], [to_teacher, to_labels], [0.0, 1.0, 2.0], start=1.0).round(3).ravel()
        array([1.   , 0.684, 0.252])
    """
    if not phases:
        raise refusal("no-phases", "at least one phase", "none")
    if not np.all(np.isfinite([phase.duration for phase in phases[:-1]])):
        raise refusal("endless-phase", "finite durations of all phases but the last", "an infinite one")
    spectrum, times = _checked(spectrum, times)
    point = np.broadcast_to(np.asarray(start, float), spectrum.shape)
    path = np.empty((*times.shape, *spectrum.shape))
    begins = 0.0
    for index, phase in enumerate(phases):
        ends = np.inf if index == len(phases) - 1 else begins + phase.duration
        inside = (times >= begins) & (times <= ends)
        path[inside] = flow(spectrum, phase.target, times[inside] - begins, start=point, step_size=step_size)
        point = flow(spectrum, phase.target, phase.duration, start=point, step_size=step_size)
        begins = ends
    return path


def _checked(spectrum: ArrayLike, time: ArrayLike) -> tuple[NDArray, NDArray]:
    spectrum, time = np.asarray(spectrum, float), np.asarray(time, float)
    if spectrum.ndim != 1 or not np.all(spectrum >= 0):
        got = f"shape {spectrum.shape}" if spectrum.ndim != 1 else f"{spectrum.min()}"
        raise refusal("spectrum", "a one-dimensional spectrum of eigenvalues >= 0", got)
    if not np.all(time >= 0):
        raise refusal("negative-time", "training times >= 0", "a negative time or NaN")
    return spectrum, time


def _product(spectrum: NDArray, time: NDArray) -> NDArray:
    """``spectrum * time`` with 0 * inf = 0: a direction without data is never learned, however long one trains."""
    still = (spectrum == 0) | (time[..., None] == 0)
    with np.errstate(invalid="ignore"):
        return np.where(still, 0.0, time[..., None] * spectrum)


def _log_abs(scaled: NDArray) -> NDArray:
    """``log |1 - x|``, accurate for small x, and -inf at x = 1, where one step reaches the target."""
    with np.errstate(divide="ignore"):
        return np.where(scaled < 1, np.log1p(-np.minimum(scaled, 1.0)), np.log(np.abs(1.0 - scaled)))


def _stable(scaled: NDArray) -> NDArray:
    if scaled.size and scaled.max() >= 2:
        got = f"{scaled.max():.3g}, with which gradient descent diverges"
        raise refusal("diverging-step", "step_size * eigenvalue < 2", got, "a smaller step size")
    return scaled


def _whole(steps: NDArray) -> NDArray:
    if np.any((steps != np.round(steps)) & np.isfinite(steps)):
        raise refusal("fractional-steps", "whole numbers of steps", "fractions", "gradient flow: no step_size")
    return steps
