"""Students in closed form: kernel ridge regression on labels or on a teacher's answers, features fixed once for all.

A network may gain from a teacher because it learns other features, or because less noise is fitted on the same ones. A
kernel student has no features to learn: what it gains is of the second kind. Three kernels of x, y:

    linear    (x - m) . (y - m), m the training mean: ridge regression
    rbf       exp(-|x - y|^2 / 2 h^2)
    laplace   exp(-|x - y| / h), the default: a kink at 0 gives the power-law spectrum of the neural tangent kernels of
              ReLU networks (Geifman et al. 2020), and its bandwidth h matters little

h is the median distance between training examples, times ``bandwidth``. The intercept is free: the kernel is centred in
feature space and targets are centred over the examples, so that adding a constant to a class's targets changes nothing
else. Ridges are counted in mean diagonal entries of the centred kernel, so that rescaling the inputs changes nothing.

`problem` pays O(n^3) once, by one eigendecomposition (O(n D^2) for the linear kernel where D < n); after that a set of
targets costs O(n^2 C) a ridge, and every ridge of the path is had from the same eigenvectors. float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

KernelName = Literal["linear", "rbf", "laplace"]
RIDGES: tuple[float, ...] = tuple(float(10.0**power) for power in np.arange(-6, 3.5, 0.5))


@dataclass(frozen=True, eq=False)
class KernelProblem:
    """Inputs without targets: n training, V validation, M test examples; r <= n directions that the kernel sees.

    values (r,): eigenvalues of the centred training kernel, in mean diagonal entries. vectors (n, r). validation
    (V, n) and test (M, n): centred kernels against the training examples, in the same unit; for the linear kernel the
    factors to the training examples' side are kept instead, see ``_scores``. ``bandwidth``: h, 0 for linear.
    """

    values: NDArray
    vectors: NDArray
    validation: NDArray
    test: NDArray
    bandwidth: float
    dual: NDArray | None = None  # (n, D') where validation and test hold centred inputs instead of kernels

    def path(self, targets: NDArray, ridges: Sequence[float] = RIDGES) -> tuple[NDArray, NDArray]:
        """Validation (R, V, C) and test scores (R, M, C) for targets (n, C) at every one of R ridges.

        A ridge of 0 is the minimum-norm fit: directions with eigenvalues of rounding size are left out.
        """
        targets = _targets(targets, len(self.vectors))
        weights = _checked_ridges(ridges)
        offset = targets.mean(axis=0)
        coordinates = self.vectors.T @ (targets - offset)
        shrunk = coordinates * _inverse(self.values, weights)[:, :, None]  # (R, r, C)
        coefficients = self.vectors @ np.moveaxis(shrunk, 0, 1).reshape(len(self.values), -1)
        if self.dual is not None:
            coefficients = self.dual.T @ coefficients
        shape = len(weights), targets.shape[1]

        def scores(side: NDArray) -> NDArray:
            return np.moveaxis((side @ coefficients).reshape(len(side), *shape), 0, 1) + offset

        return scores(self.validation), scores(self.test)

    def effective_dimension(self, ridge: float) -> float:
        """How many directions a ridge leaves free: the trace of the smoother, without the intercept."""
        return float((self.values * _inverse(self.values, _checked_ridges([ridge]))[0]).sum())


@dataclass(frozen=True, eq=False)
class KernelStudent:
    """A fitted student at the ridge that validation chose.

    Scores (V, C) and (M, C): regressed targets, no probabilities; the answer is their argmax. validation_accuracies
    (R,) belong to ``ridges`` (R,); at_edge: the choice fell on the end of the grid, so a wider one might be better.
    """

    test_scores: NDArray
    validation_scores: NDArray
    ridge: float
    ridges: tuple[float, ...]
    validation_accuracies: NDArray
    effective_dimension: float

    @property
    def at_edge(self) -> bool:
        return self.ridge in (min(self.ridges), max(self.ridges))

    def accuracy(self, labels: NDArray) -> float:
        """Share of test labels (M,) that are the largest score."""
        return float((self.test_scores.argmax(axis=1) == labels).mean())


def problem(
    train_inputs: NDArray,
    validation_inputs: NDArray,
    test_inputs: NDArray,
    *,
    kernel: KernelName = "laplace",
    bandwidth: float = 1.0,
) -> KernelProblem:
    """Kernels and eigenvectors of inputs (n, D), (V, D), (M, D), for any number of targets on them.

    Raises `ValueError` for inputs that do not fit together or do not differ.

    >>> x = np.random.default_rng(0).normal(size=(30, 4))
    >>> problem(x[:20], x[20:25], x[25:], kernel="linear").values.shape
    (4,)
    """
    train, validation, test = (
        np.asarray(inputs, np.float64) for inputs in (train_inputs, validation_inputs, test_inputs)
    )
    if any(inputs.ndim != 2 or inputs.shape[1:] != train.shape[1:] for inputs in (train, validation, test)):
        raise ValueError(
            f"expected inputs (examples, D) with one D, came {train.shape}, {validation.shape} and {test.shape}; "
            "flatten images, count the tokens of texts"
        )
    if kernel not in ("linear", "rbf", "laplace"):
        raise ValueError(f"expected kernel 'linear', 'rbf' or 'laplace'; came {kernel!r}")
    if not bandwidth > 0:
        raise ValueError(f"expected a bandwidth above 0, in median distances; came {bandwidth}")
    if not len(train) or not np.any(train != train[0]):
        raise ValueError(f"expected at least two different training inputs, came {len(train)} without a difference")
    centre = train.mean(axis=0)  # distances and centred products do not depend on it; float64 does
    train, validation, test = train - centre, validation - centre, test - centre
    if kernel == "linear" and train.shape[1] < len(train):
        return _linear(train, validation, test)
    width, kernels = _kernels(train, validation, test, kernel, bandwidth)
    unit, (inner, outer, last) = _centred(*kernels)
    values, vectors = eigh(inner, driver="evd", overwrite_a=True, check_finite=False)
    return KernelProblem(np.maximum(values, 0.0) / unit, vectors, outer / unit, last / unit, width)


def fit(
    kernels: KernelProblem,
    targets: NDArray,
    validation_labels: NDArray,
    *,
    ridges: Sequence[float] = RIDGES,
) -> KernelStudent:
    """The student of targets (n, C) whose ridge is right most often on validation labels (V,); ties: the largest ridge."""
    labels = np.asarray(validation_labels)
    if labels.shape != kernels.validation.shape[:1] or not len(labels):
        raise ValueError(f"expected {len(kernels.validation)} validation labels, at least one; came {labels.shape}")
    validation, test = kernels.path(targets, ridges)
    accuracies = (validation.argmax(axis=2) == labels).mean(axis=1)
    best = max(range(len(ridges)), key=lambda index: (accuracies[index], ridges[index]))
    ridge = float(ridges[best])
    freedom = kernels.effective_dimension(ridge)
    return KernelStudent(test[best], validation[best], ridge, tuple(map(float, ridges)), accuracies, freedom)


def kernel_ridge(
    train_inputs: NDArray,
    targets: NDArray,
    validation_inputs: NDArray,
    validation_labels: NDArray,
    test_inputs: NDArray,
    *,
    kernel: KernelName = "laplace",
    bandwidth: float = 1.0,
    ridges: Sequence[float] = RIDGES,
) -> KernelStudent:
    """`problem` and `fit` at once, for one set of targets.

    >>> x = np.random.default_rng(0).normal(size=(300, 2))
    >>> y = (x[:, 0] > 0).astype(int)
    >>> student = kernel_ridge(x[:100], one_hot(y[:100], 2), x[100:200], y[100:200], x[200:])
    >>> student.accuracy(y[200:]) > 0.9
    True
    """
    kernels = problem(train_inputs, validation_inputs, test_inputs, kernel=kernel, bandwidth=bandwidth)
    return fit(kernels, targets, validation_labels, ridges=ridges)


def one_hot(labels: NDArray, classes: int) -> NDArray:
    """Labels (n,) as targets (n, C) float64."""
    return np.eye(classes)[np.asarray(labels)]


def soft_targets(log_probs: NDArray, temperature: float = 1.0) -> NDArray:
    """A teacher's probabilities at a temperature: log-probabilities or logits (n, C) to (n, C).

    For a high temperature they tend to a constant plus `centred_logits` over C T: a kernel student, being linear in its
    targets, then answers as that of the centred logits.
    """
    if not temperature > 0:
        raise ValueError(f"expected a temperature above 0; came {temperature}")
    scaled = np.asarray(log_probs, np.float64) / temperature
    scaled = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return scaled / scaled.sum(axis=1, keepdims=True)


def centred_logits(log_probs: NDArray) -> NDArray:
    """Log-probabilities or logits (n, C) less their mean over classes."""
    log_probs = np.asarray(log_probs, np.float64)
    return log_probs - log_probs.mean(axis=1, keepdims=True)


def _linear(train: NDArray, validation: NDArray, test: NDArray) -> KernelProblem:
    """Inputs already centred, fewer directions than examples: eigenvectors of the kernel from those of the covariance."""
    unit = (train**2).sum() / len(train)
    values, directions = eigh(train.T @ train / unit, driver="evd", overwrite_a=True, check_finite=False)
    kept = values > _smallest(values, max(train.shape))
    values, directions = values[kept], directions[:, kept]
    vectors = train @ directions / np.sqrt(unit * values)
    return KernelProblem(values, vectors, validation / unit, test / unit, 0.0, dual=train)


def _kernels(
    train: NDArray, validation: NDArray, test: NDArray, kernel: KernelName, bandwidth: float
) -> tuple[float, tuple[NDArray, NDArray, NDArray]]:
    """(h, kernels of the three sets against the training inputs)."""
    if kernel == "linear":
        return 0.0, (train @ train.T, validation @ train.T, test @ train.T)
    squares = [_squared_distances(inputs, train) for inputs in (train, validation, test)]
    np.fill_diagonal(squares[0], 0.0)
    width = bandwidth * _median_distance(squares[0])
    for square in squares:
        if kernel == "laplace":
            np.sqrt(square, out=square)
        square *= -1 / width if kernel == "laplace" else -0.5 / width**2
        np.exp(square, out=square)
    return width, (squares[0], squares[1], squares[2])


def _squared_distances(left: NDArray, right: NDArray) -> NDArray:
    products = left @ right.T
    products *= -2
    products += (left**2).sum(axis=1)[:, None]
    products += (right**2).sum(axis=1)
    return np.maximum(products, 0.0, out=products)


def _median_distance(squares: NDArray) -> float:
    """Of different examples that differ; on at most 2,000 of them, evenly spaced."""
    some = np.unique(np.linspace(0, len(squares) - 1, 2000).astype(int))
    part = squares[np.ix_(some, some)]
    distances = np.sqrt(part[np.triu_indices(len(part), 1)])
    largest = np.sqrt(squares.max())
    apart = distances[distances > 1e-6 * largest]
    return float(np.median(apart)) if len(apart) else float(largest)


def _centred(inner: NDArray, *outer: NDArray) -> tuple[float, tuple[NDArray, ...]]:
    """Kernels as if the mean training feature were taken off every feature; (mean diagonal entry, the kernels)."""
    columns, overall = inner.mean(axis=0), inner.mean()
    sides = []
    for side in (inner, *outer):
        rows = side.mean(axis=1, keepdims=True)
        side = side - rows
        side -= columns
        side += overall
        sides.append(side)
    return float(np.trace(sides[0]) / len(inner)), tuple(sides)


def _smallest(values: NDArray, size: int) -> float:
    """Eigenvalues up to here are rounding."""
    return float(values[-1]) * size * np.finfo(np.float64).eps * 10


def _inverse(values: NDArray, ridges: NDArray) -> NDArray:
    """1 / (value + ridge), (R, r); 0 where a ridge of 0 meets a value of rounding size."""
    total = values + ridges[:, None]
    lost = (values <= _smallest(values, len(values))) & (ridges[:, None] == 0)
    return np.divide(1.0, total, out=np.zeros_like(total), where=~lost)


def _targets(targets: NDArray, examples: int) -> NDArray:
    targets = np.asarray(targets, np.float64)
    if targets.ndim != 2 or len(targets) != examples or not np.isfinite(targets).all():
        raise ValueError(f"expected finite targets ({examples}, classes), came {targets.shape}; labels: use one_hot")
    return targets


def _checked_ridges(ridges: Sequence[float]) -> NDArray:
    ridges_ = np.asarray(ridges, np.float64)
    if ridges_.ndim != 1 or not len(ridges_) or not (ridges_ >= 0).all():
        raise ValueError(f"expected at least one ridge, none below 0; came {ridges}")
    return ridges_
