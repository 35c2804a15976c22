"""Students in closed form: kernel ridge regression on labels or on a teacher's predictions, with fixed features.

A network may gain from a teacher because it learns other features, or because it fits less noise with the same
features. A kernel student has fixed features: any gain is of the second kind. There are three kernels of x and y:

    linear    (x - m) . (y - m), m the training mean: ridge regression
    rbf       exp(-|x - y|^2 / 2 h^2)
    laplace   exp(-|x - y| / h), the default: its kink at 0 gives it the power-law spectrum of the neural tangent
    kernels
              of ReLU networks (Geifman et al. 2020), and its bandwidth h matters little

h is the median distance between training examples, times ``bandwidth``. The intercept is not penalized: the kernel is
centred in feature space and targets are centred over the examples, so adding a constant to the targets of a class
changes nothing else. Ridges are in units of the mean diagonal entry of the centred kernel, so rescaling the inputs
changes nothing.

`problem` costs O(n^3) once, for one eigendecomposition (O(n D^2) for the linear kernel if D < n). After that a set of
targets costs O(n^2 C) per ridge, and all ridges of the path use the same eigenvectors. Everything is float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from disobey.errors import refusal

KernelName = Literal["linear", "rbf", "laplace"]
RIDGES: tuple[float, ...] = tuple(float(10.0**power) for power in np.arange(-6, 3.5, 0.5))


@dataclass(frozen=True, eq=False)
class KernelProblem:
    """Inputs without targets: n training, V validation and M test examples; r <= n directions that the kernel sees.

    Attributes:
        values: eigenvalues of the centred training kernel (r,), in mean diagonal entries.
        vectors: eigenvectors (n, r).
        validation: centred kernel against the training examples (V, n), in the same unit.
        test: the same for test examples (M, n).
        bandwidth: h; 0 for the linear kernel.
        dual: (n, D') if ``validation`` and ``test`` hold centred inputs instead of kernels (linear kernel with D < n).
    """

    values: NDArray
    vectors: NDArray
    validation: NDArray
    test: NDArray
    bandwidth: float
    dual: NDArray | None = None

    def path(self, targets: NDArray, ridges: Sequence[float] = RIDGES) -> tuple[NDArray, NDArray]:
        """Scores on validation and test examples at every ridge.

        A ridge of 0 is the minimum-norm fit: directions whose eigenvalues are rounding error are left out.

        Args:
            targets: (n, C).
            ridges: R ridges, 0 or above.

        Returns:
            Scores (R, V, C) and (R, M, C).

        Raises:
            Refusal: ``target-shape`` or ``ridge-range``.
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
    """A fitted student at the ridge with the highest validation accuracy.

    Scores are regressed targets and not probabilities; the predicted class is their argmax.

    Attributes:
        test_scores: (M, C).
        validation_scores: (V, C).
        ridge: the chosen ridge.
        ridges: all ridges (R,).
        validation_accuracies: (R,).
        effective_dimension: see `KernelProblem.effective_dimension`.
    """

    test_scores: NDArray
    validation_scores: NDArray
    ridge: float
    ridges: tuple[float, ...]
    validation_accuracies: NDArray
    effective_dimension: float

    @property
    def at_edge(self) -> bool:
        """Whether the chosen ridge is the smallest or the largest, so that a wider grid might be better."""
        return self.ridge in (min(self.ridges), max(self.ridges))

    def accuracy(self, labels: NDArray) -> float:
        """Share of test labels (M,) that the student predicts."""
        return float((self.test_scores.argmax(axis=1) == labels).mean())


def problem(
    train_inputs: NDArray,
    validation_inputs: NDArray,
    test_inputs: NDArray,
    *,
    kernel: KernelName = "laplace",
    bandwidth: float = 1.0,
) -> KernelProblem:
    """Kernels and eigenvectors of inputs, for any number of targets on them.

    Args:
        train_inputs: (n, D).
        validation_inputs: (V, D).
        test_inputs: (M, D).
        kernel: ``laplace``, ``rbf`` or ``linear``.
        bandwidth: h, in median distances between training examples.

    Returns:
        The problem, to be used with `fit`.

    Raises:
        Refusal: ``input-shapes``, ``unknown-kernel``, ``bandwidth-range`` or ``equal-inputs``.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(30, 4))
        >>> problem(x[:20], x[20:25], x[25:], kernel="linear").values.shape
        (4,)
    """
    train, validation, test = (
        np.asarray(inputs, np.float64) for inputs in (train_inputs, validation_inputs, test_inputs)
    )
    if any(inputs.ndim != 2 or inputs.shape[1:] != train.shape[1:] for inputs in (train, validation, test)):
        got = f"{train.shape}, {validation.shape} and {test.shape}"
        attempt = "flattened images, or counts of the tokens of texts"
        raise refusal("input-shapes", "inputs (examples, D) with one D", got, attempt)
    if kernel not in ("linear", "rbf", "laplace"):
        raise refusal("unknown-kernel", "the kernel 'linear', 'rbf' or 'laplace'", repr(kernel))
    if not bandwidth > 0:
        raise refusal("bandwidth-range", "a bandwidth above 0, in median distances", bandwidth)
    if not len(train) or not np.any(train != train[0]):
        raise refusal("equal-inputs", "at least two different training inputs", f"{len(train)} equal ones")
    # Distances and centred products do not depend on the origin, but their rounding errors do.
    centre = train.mean(axis=0)
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
    """The student of given targets, at the ridge with the highest validation accuracy (ties: the largest ridge).

    Args:
        kernels: the inputs, from `problem`.
        targets: (n, C): `one_hot` labels, `soft_targets` or `centred_logits`.
        validation_labels: (V,).
        ridges: candidates, 0 or above.

    Returns:
        The fitted student.

    Raises:
        Refusal: ``label-count``, ``target-shape`` or ``ridge-range``.
    """
    labels = np.asarray(validation_labels)
    if labels.shape != kernels.validation.shape[:1] or not len(labels):
        expected = f"{len(kernels.validation)} validation labels, at least one"
        raise refusal("label-count", expected, f"shape {labels.shape}")
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
    """`problem` and `fit` in one call, for one set of targets.

    Args:
        train_inputs: (n, D).
        targets: (n, C).
        validation_inputs: (V, D).
        validation_labels: (V,).
        test_inputs: (M, D).
        kernel: as in `problem`.
        bandwidth: as in `problem`.
        ridges: as in `fit`.

    Returns:
        The fitted student.

    Example:
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
    """A teacher's probabilities at a temperature.

    For a high temperature they tend to a constant plus `centred_logits` / (C T). A kernel student is linear in its
    targets, so it then predicts the same classes as the student of the centred logits.

    Args:
        log_probs: log-probabilities or logits (n, C).
        temperature: T.

    Returns:
        Probabilities (n, C).

    Raises:
        Refusal: ``temperature-range``.
    """
    if not temperature > 0:
        raise refusal("temperature-range", "a temperature above 0", temperature)
    scaled = np.asarray(log_probs, np.float64) / temperature
    scaled = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return scaled / scaled.sum(axis=1, keepdims=True)


def centred_logits(log_probs: NDArray) -> NDArray:
    """Log-probabilities or logits (n, C) minus their mean over classes."""
    log_probs = np.asarray(log_probs, np.float64)
    return log_probs - log_probs.mean(axis=1, keepdims=True)


def _linear(train: NDArray, validation: NDArray, test: NDArray) -> KernelProblem:
    """The linear kernel with fewer directions than examples: its eigenvectors come from those of the covariance."""
    unit = (train**2).sum() / len(train)
    values, directions = eigh(train.T @ train / unit, driver="evd", overwrite_a=True, check_finite=False)
    kept = values > _smallest(values, max(train.shape))
    values, directions = values[kept], directions[:, kept]
    vectors = train @ directions / np.sqrt(unit * values)
    return KernelProblem(values, vectors, validation / unit, test / unit, 0.0, dual=train)


def _kernels(
    train: NDArray, validation: NDArray, test: NDArray, kernel: KernelName, bandwidth: float
) -> tuple[float, tuple[NDArray, NDArray, NDArray]]:
    """The bandwidth h, and the kernels of the three sets against the training inputs."""
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
    """Median distance between examples that differ, on at most 2,000 evenly spaced ones."""
    some = np.unique(np.linspace(0, len(squares) - 1, 2000).astype(int))
    part = squares[np.ix_(some, some)]
    distances = np.sqrt(part[np.triu_indices(len(part), 1)])
    largest = np.sqrt(squares.max())
    apart = distances[distances > 1e-6 * largest]
    return float(np.median(apart)) if len(apart) else float(largest)


def _centred(inner: NDArray, *outer: NDArray) -> tuple[float, tuple[NDArray, ...]]:
    """The mean diagonal entry, and the kernels of features from which the mean training feature is subtracted."""
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
    """Eigenvalues up to this size are rounding error."""
    return float(values[-1]) * size * np.finfo(np.float64).eps * 10


def _inverse(values: NDArray, ridges: NDArray) -> NDArray:
    """1 / (value + ridge), (R, r); 0 if a ridge of 0 meets an eigenvalue that is rounding error."""
    total = values + ridges[:, None]
    lost = (values <= _smallest(values, len(values))) & (ridges[:, None] == 0)
    return np.divide(1.0, total, out=np.zeros_like(total), where=~lost)


def _targets(targets: NDArray, examples: int) -> NDArray:
    targets = np.asarray(targets, np.float64)
    if targets.ndim != 2 or len(targets) != examples or not np.isfinite(targets).all():
        got = f"shape {targets.shape}" if np.isfinite(targets).all() else "NaN or infinity"
        raise refusal("target-shape", f"finite targets ({examples}, classes)", got, "one_hot for labels")
    return targets


def _checked_ridges(ridges: Sequence[float]) -> NDArray:
    ridges_ = np.asarray(ridges, np.float64)
    if ridges_.ndim != 1 or not len(ridges_) or not (ridges_ >= 0).all():
        raise refusal("ridge-range", "at least one ridge, none below 0", ridges)
    return ridges_
