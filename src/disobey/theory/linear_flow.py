"""Gradient descent on a linear model, for teachers, students and any chain of them.

Setting: ``h(x) = beta . x``, squared loss, eigenvalues ``lambda_k`` of the loss's Hessian (the input second
moment). In the eigenbasis the directions never mix: training for time ``t`` toward a fixed target keeps the
share ``exp(-lambda_k t)`` of the distance to it. So a teacher has learned ``f_k(t) = 1 - exp(-lambda_k t)`` of
direction ``k``, a student of the teacher stopped at ``T`` has learned ``f_k(t) f_k(T)``, and every schedule of
targets is a chain of such moves. Gradient descent with step size ``eta`` is the same with
``(1 - eta lambda_k)^steps`` in place of the exponential.

Everything here moves either coefficients or **unlearned fractions** ``1 - coefficient / solution``. The second
is the better currency: all its terms are positive, so it keeps its relative accuracy when a direction is
learned to within 1e-300, where ``1 - learned`` would have become 0.

Shapes: D directions last, time before it. Time is in units of 1/eigenvalue, or in steps where ``step_size`` is
given. Source: arXiv 2301.12923, section on gradient flow in linear models; derivations in docs/theory.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Phase:
    """A stretch of training toward one fixed target: ``target`` per direction (or one number), for ``duration``."""

    target: ArrayLike
    duration: float


@dataclass(frozen=True)
class LinearProblem:
    """Least squares in its eigenbasis: ``spectrum`` (D,) descending, ``basis`` (features, D), ``solution`` (D,)."""

    spectrum: NDArray
    basis: NDArray
    solution: NDArray

    @classmethod
    def from_data(cls, inputs: NDArray, labels: NDArray, *, reduction: Literal["sum", "mean"] = "sum") -> Self:
        """The eigenbasis of a data set: inputs (N, features) and labels (N,).

        ``reduction`` says whether the loss is half the sum or half the mean of the squared errors, which decides
        the unit of time. Only the directions that the inputs span are kept; the rest never move.

        >>> LinearProblem.from_data(np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([6.0, 1.0])).spectrum
        array([4., 1.])
        """
        if inputs.ndim != 2 or labels.shape != (len(inputs),):
            raise ValueError(f"expected inputs (N, features) and labels (N,); got {inputs.shape} and {labels.shape}")
        left, singular, right = np.linalg.svd(np.asarray(inputs, float), full_matrices=False)
        kept = singular > singular[0] * max(inputs.shape) * np.finfo(float).eps
        scale = 1.0 if reduction == "sum" else 1.0 / len(inputs)
        solution = (left.T @ labels)[kept] / singular[kept]
        return cls(singular[kept] ** 2 * scale, right[kept].T, solution)

    def weights(self, coefficients: NDArray) -> NDArray:
        """Back from the eigenbasis: ``(..., D)`` to ``(..., features)``."""
        return coefficients @ self.basis.T


def decay(spectrum: ArrayLike, time: ArrayLike, *, step_size: float | None = None) -> NDArray:
    """Share of the distance to a fixed target that is left after ``time``: ``time.shape + (D,)``.

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
    """Learned fraction ``f_k(t) = 1 - decay``, exact also where it is tiny: ``time.shape + (D,)``.

    >>> float(progress([1e-20], 1.0)[0])
    1e-20
    """
    spectrum, time = _checked(spectrum, time)
    if step_size is None:
        return -np.expm1(-_product(spectrum, time))
    scaled, left = step_size * spectrum, decay(spectrum, time, step_size=step_size)
    return np.where(scaled < 1, -np.expm1(_product(_log_abs(scaled), _whole(time))), 1.0 - left)


def rates(spectrum: ArrayLike, step_size: float | None = None) -> NDArray:
    """The eigenvalues that gradient flow would need to repeat gradient descent: ``-log(1 - eta lambda)`` per step.

    Raises where ``eta lambda >= 1``: such a direction overshoots, and no flow does that.

    >>> rates([1.0, 0.5], 0.1).round(4)
    array([0.1054, 0.0513])
    """
    spectrum = np.asarray(spectrum, float)
    if step_size is None:
        return spectrum
    if step_size * spectrum.max() >= 1:
        raise ValueError(
            f"expected step_size * eigenvalue < 1; got {step_size * spectrum.max():.3g}: "
            f"use a step below {1 / spectrum.max():.3g}"
        )
    return -np.log1p(-step_size * spectrum)


def flow(
    spectrum: ArrayLike,
    target: ArrayLike,
    time: ArrayLike,
    *,
    start: ArrayLike = 0.0,
    step_size: float | None = None,
) -> NDArray:
    """Where training toward ``target`` arrives after ``time``: ``time.shape + (D,)``.

    For coefficients the usual start is 0. For unlearned fractions start at 1; the target is 0 for labels and the
    teacher's unlearned fraction for distillation.

    >>> flow([1.0, 0.5], [3.0, 3.0], 2.0).round(3)
    array([2.594, 1.896])
    """
    left = decay(spectrum, time, step_size=step_size)
    return np.asarray(start) * left + np.asarray(target) * progress(spectrum, time, step_size=step_size)


def mixed_target(labels: ArrayLike, teacher: ArrayLike, kd_weight: float) -> NDArray:
    """The one target that the loss ``(1 - w) one-hot + w KD`` has in effect (squared losses add up to one).

    >>> mixed_target(0.0, [0.5, 0.1], 0.9)
    array([0.45, 0.09])
    """
    if not 0 <= kd_weight <= 1:
        raise ValueError(f"expected a distillation weight in [0, 1]; got {kd_weight}")
    return (1 - kd_weight) * np.asarray(labels, float) + kd_weight * np.asarray(teacher, float)


def generations(
    spectrum: ArrayLike,
    times: Sequence[float],
    *,
    kd_weight: float = 1.0,
    step_size: float | None = None,
) -> NDArray:
    """Unlearned fraction of every generation in a chain of students: ``(len(times), D)``.

    Row 0 is the teacher, trained on labels for ``times[0]``; row ``j`` starts from 0 and is distilled from row
    ``j - 1`` for ``times[j]`` with the loss ``(1 - kd_weight) one-hot + kd_weight KD``.

    >>> generations([1.0, 0.5], [2.0, 2.0]).round(4)
    array([[0.1353, 0.3679],
           [0.2524, 0.6004]])
    """
    if len(times) == 0:
        raise ValueError("expected at least one training time; got none")
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
    """A path through several phases, sampled at ``times`` from its beginning: ``times.shape + (D,)``.

    This is loss switching: labels first and then a teacher, or the reverse, or anything else. After the last
    phase the path goes on toward the last target.

    >>> to_teacher, to_labels = Phase(0.5, 1.0), Phase(0.0, 1.0)  # unlearned fractions
    >>> trajectory([1.0], [to_teacher, to_labels], [0.0, 1.0, 2.0], start=1.0).round(3).ravel()
    array([1.   , 0.684, 0.252])
    """
    if not phases:
        raise ValueError("expected at least one phase; got none")
    if not np.all(np.isfinite([phase.duration for phase in phases[:-1]])):
        raise ValueError("expected finite durations before the last phase; an endless phase has no successor")
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
        raise ValueError(f"expected a one-dimensional spectrum of eigenvalues >= 0; got shape {spectrum.shape}")
    if not np.all(time >= 0):
        raise ValueError("expected training times >= 0; got a negative one or NaN")
    return spectrum, time


def _product(spectrum: NDArray, time: NDArray) -> NDArray:
    """``spectrum * time`` with 0 * inf = 0: a direction without data never moves, however long one trains."""
    still = (spectrum == 0) | (time[..., None] == 0)
    with np.errstate(invalid="ignore"):
        return np.where(still, 0.0, time[..., None] * spectrum)


def _log_abs(scaled: NDArray) -> NDArray:
    """``log |1 - x|``, exact for small x and -inf at x = 1, where one step arrives."""
    with np.errstate(divide="ignore"):
        return np.where(scaled < 1, np.log1p(-np.minimum(scaled, 1.0)), np.log(np.abs(1.0 - scaled)))


def _stable(scaled: NDArray) -> NDArray:
    if scaled.size and scaled.max() >= 2:
        raise ValueError(f"expected step_size * eigenvalue < 2; got {scaled.max():.3g}: gradient descent diverges")
    return scaled


def _whole(steps: NDArray) -> NDArray:
    if np.any((steps != np.round(steps)) & np.isfinite(steps)):
        raise ValueError("expected whole numbers of steps with step_size; got fractions: leave step_size out for flow")
    return steps
