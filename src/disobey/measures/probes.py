"""Probes: what can be predicted from a network's features without training a network.

`logistic_probe`: multinomial logistic regression on standardized features, to convergence, its strength chosen on
validation. `neighbour_probe`: a vote among the 20 nearest training examples. Arrays in, predictions out; float64.

A probe trained for a few epochs on raw features depends on their scale: it takes a larger norm for better features.
Both probes here are invariant to the scale of the features, the logistic one also to any invertible affine map of
single features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.optimize import minimize

from disobey.errors import refusal

STRENGTHS: tuple[float, ...] = tuple(float(10.0**power) for power in np.arange(-4.5, 2, 0.75))
_CHUNK = 1024  # test rows whose distances to all training rows are held at once


@dataclass(frozen=True, eq=False)
class Probe:
    """What a probe predicts.

    Attributes:
        test_answers: (M,) predicted classes.
        validation_answers: (V,) predicted classes.
        setting: the C of logistic regression, or the number of neighbours; the chosen one of ``settings``.
        settings: the R that were tried.
        validation_accuracies: (R,).
        iterations: of the optimizer at each setting; at the limit it has not converged.
    """

    test_answers: NDArray
    validation_answers: NDArray
    setting: float
    settings: tuple[float, ...]
    validation_accuracies: NDArray
    iterations: tuple[int, ...] = ()

    def accuracy(self, labels: NDArray) -> float:
        """Share of the test labels (M,) that the probe predicts."""
        return float((self.test_answers == labels).mean())

    @property
    def at_edge(self) -> bool:
        """Whether the choice is at the end of a grid of several, so that a wider grid might do better."""
        return len(self.settings) > 1 and self.setting in (min(self.settings), max(self.settings))


def logistic_probe(
    train: NDArray,
    labels: NDArray,
    validation: NDArray,
    validation_labels: NDArray,
    test: NDArray,
    *,
    strengths: Sequence[float] = STRENGTHS,
    patience: int = 2,
    tolerance: float = 1e-5,
    limit: int = 1000,
) -> Probe:
    """Logistic regression, with the C that is right most often on validation.

    Minimizes mean cross-entropy + ‖W‖² / (2 C n), the objective of scikit-learn's ``LogisticRegression``, with a free
    intercept, on features standardized by the training mean and deviation (constant features are left out). Of equally
    good C the smallest, the strongest penalty, is taken.

    Args:
        train: (n, D) features.
        labels: (n,) classes.
        validation: (V, D) features, on which C is chosen.
        validation_labels: (V,) classes.
        test: (M, D) features.
        strengths: the C that are tried, from the smallest on.
        patience: after so many settings in a row below the best one the weaker penalties, which take longest, are not
            tried.
        tolerance: largest entry of the preconditioned gradient at which the optimizer stops.
        limit: iterations at most.

    Raises:
        Refusal: ``feature-shapes``, ``label-shape``, ``not-finite`` or ``strengths``.

    >>> x = np.random.default_rng(0).normal(size=(300, 3))
    >>> y = (x[:, 0] > 0).astype(int)
    >>> logistic_probe(x[:100], y[:100], x[100:200], y[100:200], x[200:]).accuracy(y[200:]) > 0.9
    True
    """
    (train, validation, test), (labels, validation_labels) = _checked(
        (train, validation, test), (labels, validation_labels)
    )
    chosen = sorted(float(strength) for strength in strengths)
    if not chosen or chosen[0] <= 0:
        raise refusal("strengths", "at least one strength C, all above 0", strengths)
    classes, codes = np.unique(labels, return_inverse=True)
    inner, outer, last = _standardized(train, validation, test)
    spread, directions = _principal(inner)
    inner, outer, last = (side @ directions for side in (inner, outer, last))
    weights, intercept = np.zeros((inner.shape[1], len(classes))), np.zeros(len(classes))
    best, accuracies, iterations = None, [], []
    for strength in chosen:  # from the strongest penalty on, each from the solution before
        penalty = 1 / (strength * len(inner))
        weights, intercept, count = _solved(inner, codes, spread, penalty, weights, intercept, tolerance, limit)
        answers = classes[(outer @ weights + intercept).argmax(axis=1)]
        accuracies.append(float((answers == validation_labels).mean()))
        iterations.append(count)
        if best is None or accuracies[-1] > best[0]:
            best = (accuracies[-1], strength, answers, classes[(last @ weights + intercept).argmax(axis=1)])
        if len(accuracies) > patience and max(accuracies[-patience:]) < best[0]:
            break
    assert best is not None
    tried = tuple(chosen[: len(accuracies)])
    return Probe(best[3], best[2], best[1], tried, np.array(accuracies), tuple(iterations))


def neighbour_probe(
    train: NDArray,
    labels: NDArray,
    validation: NDArray,
    validation_labels: NDArray,
    test: NDArray,
    *,
    neighbours: int = 20,
    metric: Literal["euclidean", "cosine"] = "euclidean",
) -> Probe:
    """The most frequent class among the nearest training examples; of tied classes the one with the nearest member.

    Nothing is chosen: validation is predicted, not used.

    Args:
        train: (n, D) features.
        labels: (n,) classes.
        validation: (V, D) features.
        validation_labels: (V,) classes.
        test: (M, D) features.
        neighbours: that vote; all training examples where these are fewer.
        metric: of the distance between features.

    Raises:
        Refusal: ``feature-shapes``, ``label-shape``, ``not-finite`` or ``neighbours``.

    >>> x = np.array([[0.0], [0.1], [5.0], [5.1]])
    >>> neighbour_probe(x, np.array([0, 0, 1, 1]), x, np.array([0, 0, 1, 1]), x + 0.2, neighbours=2).test_answers
    array([0, 0, 1, 1])
    """
    (train, validation, test), (labels, validation_labels) = _checked(
        (train, validation, test), (labels, validation_labels)
    )
    if neighbours < 1 or metric not in ("euclidean", "cosine"):
        raise refusal("neighbours", "neighbours >= 1 and 'euclidean' or 'cosine'", f"{neighbours} and {metric!r}")
    if metric == "cosine":
        train, validation, test = (_directions(side) for side in (train, validation, test))
    count = min(neighbours, len(train))
    answers = [_votes(side, train, labels, count) for side in (validation, test)]
    accuracy = np.array([(answers[0] == validation_labels).mean()])
    return Probe(answers[1], answers[0], float(count), (float(count),), accuracy)


def _standardized(train: NDArray, *others: NDArray) -> tuple[NDArray, ...]:
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    varies = deviation > 1e-8 * np.maximum(np.abs(train).max(axis=0), 1e-300)
    return tuple((side[:, varies] - mean[varies]) / deviation[varies] for side in (train, *others))


def _principal(inner: NDArray) -> tuple[NDArray, NDArray]:
    """(mean squares (r,), orthonormal directions (D, r)) of the standardized features, those of rounding left out.

    The optimum lies in their span, so nothing is lost; and along them the curvature of the loss is nearly diagonal.
    """
    examples, features = inner.shape
    if features <= examples:
        squares, directions = eigh(inner.T @ inner / examples, driver="evd", check_finite=False)
    else:
        squares, sides = eigh(inner @ inner.T / examples, driver="evd", check_finite=False)
        directions = inner.T @ sides / np.sqrt(np.maximum(squares, 1e-300) * examples)
    kept = squares > 1e-12 * (squares[-1] if features else 1.0)
    return squares[kept], directions[:, kept]


def _solved(
    inner: NDArray,
    codes: NDArray,
    spread: NDArray,
    penalty: float,
    weights: NDArray,
    intercept: NDArray,
    tolerance: float,
    limit: int,
) -> tuple[NDArray, NDArray, int]:
    """(weights (r, C), intercept (C,), iterations): L-BFGS in coordinates in which the loss curves about equally.

    Its Hessian is at most half the second moment of the features, plus the penalty (Boehning 1992), diagonal in
    principal directions: dividing by a root of this kind takes the spread of the features out of the problem.
    """
    scale = np.append(1 / np.sqrt(0.1 * spread + penalty), 1.0)  # 0.1: what p (1 - p) is on average for tens of classes
    design = np.append(inner * scale[:-1], np.ones((len(inner), 1)), axis=1)
    rows = np.arange(len(inner))
    shrink = (penalty * np.append(scale[:-1] ** 2, 0.0))[:, None]
    shape = (design.shape[1], weights.shape[1])

    def loss(flat: NDArray) -> tuple[float, NDArray]:
        point = flat.reshape(shape)
        logits = design @ point
        logits -= logits.max(axis=1, keepdims=True)
        own = logits[rows, codes]
        np.exp(logits, out=logits)
        total = logits.sum(axis=1, keepdims=True)
        value = float((np.log(total[:, 0]) - own).mean())
        logits /= total
        logits[rows, codes] -= 1
        gradient = design.T @ logits
        gradient /= len(rows)
        decay = shrink * point
        gradient += decay
        return value + 0.5 * float((decay * point).sum()), gradient.ravel()

    start = np.append(weights, intercept[None], axis=0) / scale[:, None]
    options = {"maxiter": limit, "maxfun": 10 * limit, "gtol": tolerance, "ftol": 0.0, "maxcor": 20}
    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    point = found.x.reshape(shape) * scale[:, None]
    return point[:-1], point[-1], int(found.nit)


def _votes(side: NDArray, train: NDArray, labels: NDArray, count: int) -> NDArray:
    classes, codes = np.unique(labels, return_inverse=True)
    lengths = (train**2).sum(axis=1)
    answers = []
    for start in range(0, len(side), _CHUNK):
        part = side[start : start + _CHUNK]
        squares = lengths - 2 * part @ train.T  # less the own length, the same for all neighbours
        nearest = np.argpartition(squares, count - 1, axis=1)[:, :count] if count < len(train) else None
        near = squares if nearest is None else np.take_along_axis(squares, nearest, axis=1)
        who = np.broadcast_to(codes, near.shape) if nearest is None else codes[nearest]
        votes = np.zeros((len(part), len(classes)))
        np.add.at(votes, (np.arange(len(part))[:, None], who), 1.0)
        closest = np.full(votes.shape, np.inf)
        np.minimum.at(closest, (np.arange(len(part))[:, None], who), near)
        tied = votes == votes.max(axis=1, keepdims=True)
        answers.append(classes[np.where(tied, closest, np.inf).argmin(axis=1)])
    return np.concatenate(answers) if answers else classes[:0]


def _directions(side: NDArray) -> NDArray:
    length = np.linalg.norm(side, axis=1, keepdims=True)
    return np.divide(side, length, out=np.zeros_like(side), where=length > 0)


def _checked(
    sides: tuple[NDArray, ...], labels: tuple[NDArray, ...]
) -> tuple[tuple[NDArray, ...], tuple[NDArray, ...]]:
    sides = tuple(np.asarray(side, np.float64) for side in sides)
    labels = tuple(np.asarray(column) for column in labels)
    if any(side.ndim != 2 or side.shape[1] != sides[0].shape[1] for side in sides) or not sides[0].size:
        raise refusal("feature-shapes", "features (examples, D) with one D", ", ".join(str(s.shape) for s in sides))
    if any(column.shape != (len(side),) or not len(column) for column, side in zip(labels, sides[:2], strict=True)):
        expected = (
            f"a label for each of {len(sides[0])} training and {len(sides[1])} validation rows, at least one each"
        )
        raise refusal("label-shape", expected, f"{labels[0].shape} and {labels[1].shape}")
    if not all(np.isfinite(side).all() for side in sides):
        raise refusal("not-finite", "finite features", "NaN or infinity", "a network that has not diverged")
    return sides, labels
