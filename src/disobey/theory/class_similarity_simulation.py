"""The model of similar classes, simulated: what the closed forms of ``class_similarity`` are checked against.

Directions ``e_k`` are the first C coordinates, which is no restriction (the noise is isotropic). Axes: N examples,
D features, C classes. The same ``(model, seed)`` always gives the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from disobey.theory.class_similarity import SimilarClasses, SnrRatios


@dataclass(frozen=True)
class Sample:
    """One draw: ``inputs`` (N, D), ``labels`` and ``secondary`` classes (N,)."""

    inputs: NDArray
    labels: NDArray
    secondary: NDArray


@dataclass(frozen=True)
class TeacherAge:
    """SNR (not ratios) under a softmax teacher of ``steps`` gradient steps.

    ``distilled`` holds one value per temperature. ``accuracy`` and ``loss`` (nats) are the teacher's on its own
    training examples.
    """

    steps: int
    one_hot: float
    teacher_weights: float
    distilled: tuple[float, ...]
    accuracy: float
    loss: float


def draw(model: SimilarClasses, generator: np.random.Generator) -> Sample:
    """One balanced sample: every ordered pair (label, secondary) equally often.

    >>> draw(SimilarClasses(6, 3, 4, 0.5, 0.1), np.random.default_rng(0)).labels
    array([0, 0, 1, 1, 2, 2])
    """
    pairs = model.classes * (model.classes - 1)
    if model.examples % pairs:
        raise ValueError(
            f"expected examples to be a multiple of C(C-1) = {pairs} (balanced pairs); got {model.examples}"
        )
    labels, secondary = np.nonzero(~np.eye(model.classes, dtype=bool))
    labels, secondary = (np.repeat(side, model.examples // pairs) for side in (labels, secondary))
    inputs = model.noise * generator.standard_normal((model.examples, model.features))
    rows = np.arange(model.examples)
    inputs[rows, labels] += model.own
    inputs[rows, secondary] += model.similarity
    return Sample(inputs, labels, secondary)


def one_hot_residuals(labels: NDArray, classes: int) -> NDArray:
    """Label minus uniform prediction: (N, C), rows sum to 0.

    >>> one_hot_residuals(np.array([1]), 2)
    array([[-0.5,  0.5]])
    """
    return np.eye(classes)[labels] - 1 / classes


def gradient_snr(gradient: NDArray) -> float:
    """SNR of a gradient (D, C): squared part along the true directions over squared rest, mean over classes out.

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
    """One simulated sample with its measured SNR ratios and flip rate; about a second at N 4,500, D 900.

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
    """A full softmax teacher trained by gradient descent from zero, looked at after each number of ``steps``.

    Beyond one small step there is no closed form: the teacher memorizes its sample, and the distillation gradient
    (at the student's zero weights) loses what it had gained, less so at a higher temperature.

    >>> ages = simulate_softmax_teacher(SimilarClasses(360, 4, 100, 0.6, 0.2), 0, steps=(1, 5))
    >>> [age.steps for age in ages]
    [1, 5]
    """
    wanted = sorted(set(steps))
    if not wanted or wanted[0] < 1:
        raise ValueError(f"expected numbers of steps >= 1; got {list(steps)}")
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
            ages.append(_look(sample, weights, step, plain, temperatures))
    return ages


def _look(sample: Sample, weights: NDArray, step: int, plain: float, temperatures: Sequence[float]) -> TeacherAge:
    logits = sample.inputs @ weights
    rows = np.arange(len(logits))
    # Subtracting the student's uniform prediction is left to gradient_snr, which takes the mean over classes out.
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
