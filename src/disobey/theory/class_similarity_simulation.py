"""Simulations of the model of similar classes, which test the closed forms of `class_similarity`.

The directions ``e_k`` are the first C coordinates; this is no restriction, because the noise is isotropic. Shapes: N
examples, D features, C classes. The same ``(model, seed)`` always gives the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from disobey.errors import refusal
from disobey.theory.class_similarity import SimilarClasses, SnrRatios


@dataclass(frozen=True)
class Sample:
    """One sample: ``inputs`` (N, D), ``labels`` (N,) and ``secondary`` classes (N,)."""

    inputs: NDArray
    labels: NDArray
    secondary: NDArray


@dataclass(frozen=True)
class TeacherAge:
    """SNRs (not ratios) with a softmax teacher after a number of gradient steps.

    Attributes:
        steps: gradient steps of the teacher.
        one_hot: SNR of the one-hot gradient.
        teacher_weights: SNR of the teacher's weights.
        distilled: SNR of the distillation gradient, one value per temperature.
        accuracy: the teacher's accuracy on its own training examples.
        loss: the teacher's loss on its own training examples, in nats.
    """

    steps: int
    one_hot: float
    teacher_weights: float
    distilled: tuple[float, ...]
    accuracy: float
    loss: float


def draw(model: SimilarClasses, generator: np.random.Generator) -> Sample:
    """One balanced sample: every ordered pair (label, secondary class) is equally frequent.

    Args:
        model: the parameters; N must be a multiple of C(C-1).
        generator: for the noise.

    Returns:
        The sample.

    Raises:
        Refusal: ``unbalanced-pairs``.

    Example:
        >>> draw(SimilarClasses(6, 3, 4, 0.5, 0.1), np.random.default_rng(0)).labels
        array([0, 0, 1, 1, 2, 2])
    """
    pairs = model.classes * (model.classes - 1)
    if model.examples % pairs:
        raise refusal("unbalanced-pairs", f"examples to be a multiple of C(C-1) = {pairs}", model.examples)
    labels, secondary = np.nonzero(~np.eye(model.classes, dtype=bool))
    labels, secondary = (np.repeat(side, model.examples // pairs) for side in (labels, secondary))
    inputs = model.noise * generator.standard_normal((model.examples, model.features))
    rows = np.arange(model.examples)
    inputs[rows, labels] += model.own
    inputs[rows, secondary] += model.similarity
    return Sample(inputs, labels, secondary)


def one_hot_residuals(labels: NDArray, classes: int) -> NDArray:
    """Label minus uniform prediction: (N,) to (N, C), rows sum to 0.

    >>> one_hot_residuals(np.array([1]), 2)
    array([[-0.5,  0.5]])
    """
    return np.eye(classes)[labels] - 1 / classes


def gradient_snr(gradient: NDArray) -> float:
    """SNR of a gradient (D, C).

    It is the squared part along the true directions divided by the squared rest, after the mean over classes is
    removed.

    >>> gradient_snr(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
    2.0
    """
    count = gradient.shape[1]
    gradient = gradient - gradient.mean(axis=1, keepdims=True)
    block = gradient[:count]
    along = np.diagonal(block) - block.mean(axis=0)  # gradient . (e_k - mean), before unit length
    signal = float(np.sum(along**2) / (1 - 1 / count))
    return signal / (float(np.sum(gradient**2)) - signal)


def simulate_snr(model: SimilarClasses, seed: int) -> SnrRatios:
    """One simulated sample with its measured SNR ratios and flip rate; about a second at N = 4,500, D = 900.

    Args:
        model: the parameters.
        seed: of the sample.

    Returns:
        Measured ratios, to be compared with `predicted_ratios`.

    Example:
        >>> simulate_snr(SimilarClasses(360, 4, 100, 0.6, 0.2), 0).cross_fitted > 1
        True
    """
    generator = np.random.default_rng(seed)
    sample, other = draw(model, generator), draw(model, generator)
    rows = np.arange(model.examples)
    residuals = one_hot_residuals(sample.labels, model.classes)
    zeroed = residuals.copy()
    zeroed[rows, sample.secondary] = 0.0
    weights = sample.inputs.T @ residuals / model.examples
    other_weights = other.inputs.T @ one_hot_residuals(other.labels, model.classes) / model.examples
    logits = sample.inputs @ weights
    plain = gradient_snr(weights)
    return SnrRatios(
        distilled=gradient_snr(sample.inputs.T @ logits) / plain,
        cross_fitted=gradient_snr(sample.inputs.T @ (sample.inputs @ other_weights)) / plain,
        zeroed=gradient_snr(sample.inputs.T @ zeroed) / plain,
        flip_rate=float(np.mean(logits[rows, sample.secondary] > 0)),
    )


def simulate_softmax_teacher(
    model: SimilarClasses,
    seed: int,
    *,
    steps: Sequence[int] = (1, 100, 3000),
    step_size: float = 2.0,
    temperatures: Sequence[float] = (1.0, 4.0),
) -> list[TeacherAge]:
    """A softmax teacher trained by gradient descent from zero, measured after each number of steps.

    Beyond one small step there is no closed form. The teacher memorizes its sample, and the distillation gradient (at
    the student's zero weights) loses its gain, more slowly at a higher temperature.

    Args:
        model: the parameters.
        seed: of the sample.
        steps: numbers of steps after which to measure.
        step_size: of gradient descent on the mean cross-entropy.
        temperatures: of the distillation gradients.

    Returns:
        One `TeacherAge` per number of steps, in increasing order.

    Raises:
        Refusal: ``teacher-steps``.

    Example:
        >>> ages = simulate_softmax_teacher(SimilarClasses(360, 4, 100, 0.6, 0.2), 0, steps=(1, 5))
        >>> [age.steps for age in ages]
        [1, 5]
    """
    wanted = sorted(set(steps))
    if not wanted or wanted[0] < 1:
        raise refusal("teacher-steps", "one or more numbers of steps, each at least 1", list(steps))
    sample = draw(model, np.random.default_rng(seed))
    targets = np.eye(model.classes)[sample.labels]
    plain = gradient_snr(sample.inputs.T @ (targets - 1 / model.classes))
    transposed = np.ascontiguousarray(sample.inputs.T)
    weights = np.zeros((model.features, model.classes))
    ages = []
    for step in range(1, wanted[-1] + 1):
        probabilities = softmax(sample.inputs @ weights, axis=1)
        weights += step_size / model.examples * (transposed @ (targets - probabilities))
        if step in wanted:
            ages.append(_age_of(sample, weights, step, plain, temperatures))
    return ages


def _age_of(sample: Sample, weights: NDArray, step: int, plain: float, temperatures: Sequence[float]) -> TeacherAge:
    logits = sample.inputs @ weights
    rows = np.arange(len(logits))
    # gradient_snr removes the mean over classes, so the student's uniform prediction need not be subtracted here.
    distilled = tuple(
        gradient_snr(sample.inputs.T @ softmax(logits / temperature, axis=1)) for temperature in temperatures
    )
    return TeacherAge(
        steps=step,
        one_hot=plain,
        teacher_weights=gradient_snr(weights),
        distilled=distilled,
        accuracy=float(np.mean(logits.argmax(axis=1) == sample.labels)),
        loss=float(-np.mean(log_softmax(logits, axis=1)[rows, sample.labels])),
    )
