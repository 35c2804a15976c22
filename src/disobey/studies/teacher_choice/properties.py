"""What is known of a teacher before anything is distilled from it, on validation examples alone.

Each property has a side that is expected to be better for the student, written down before the runs: `PROPERTIES`
signs them so that more should be better. N examples, C classes; entropies in nats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from disobey.measures.calibration import debiased_error
from disobey.measures.information import dark_knowledge
from disobey.records.predictions import Predictions
from disobey.theory.kernel_students import KernelProblem, problem

KERNEL_ROWS = 1000  # of the supervision complexity: an eigendecomposition of so many rows takes a fraction of a second
RIDGE = 0.01  # in mean diagonal entries of the kernel: without one, rounding of tiny eigenvalues would decide


def nll(p: Predictions) -> float:
    """Mean negative log-likelihood of the labels."""
    assert p.labels is not None
    return -float(p.teacher[np.arange(len(p)), p.labels].mean(dtype=np.float64))


def accuracy(p: Predictions) -> float:
    """Share of labels that are most likely."""
    return float((p.teacher.argmax(axis=1) == p.labels).mean())


def calibration_error(p: Predictions) -> float:
    """Expected calibration error of the most likely class, debiased."""
    confidence = np.exp(np.asarray(p.teacher.max(axis=1), dtype=np.float64))
    return float(debiased_error(confidence, (p.teacher.argmax(axis=1) == p.labels).astype(np.float64)))


def entropies(p: Predictions) -> NDArray:
    """Of every prediction, (N,)."""
    log_probs = np.asarray(p.teacher, dtype=np.float64)
    return -np.where(np.isfinite(log_probs), np.exp(log_probs) * log_probs, 0.0).sum(axis=1)


def entropy(p: Predictions) -> float:
    """Mean entropy."""
    return float(entropies(p).mean())


def entropy_shape(p: Predictions) -> float:
    """Share of all entropy that lies in the quarter of the examples with most: 1/4 where all are equally unsure."""
    found = np.sort(entropies(p))
    total = found.sum()
    return float(found[-max(len(found) // 4, 1) :].sum() / total) if total > 0 else 1.0


def non_target_information(p: Predictions) -> float:
    """Variance over the examples of a class of how the rest of the probability is shared (dark knowledge)."""
    return dark_knowledge(p).within


def supervision_complexity(p: Predictions, kernel: KernelProblem) -> float:
    """How hard the teacher's answers are for a kernel: y' (K + r)⁻¹ y / n, y its centred probabilities.

    The kernel is the Laplace kernel of the inputs, a cheap proxy for the tangent kernel of a ReLU network, with which
    it shares its spectrum; K has a mean diagonal of 1.

    Reference:
        Harutyunyan and others, "Supervision complexity and its role in knowledge distillation", 2023.
    """
    targets = np.exp(np.asarray(p.teacher[: len(kernel.vectors)], dtype=np.float64))
    coordinates = kernel.vectors.T @ (targets - targets.mean(axis=0))
    return float(((coordinates**2) / (kernel.values + RIDGE)[:, None]).sum() / len(targets))


def kernel_of(inputs: NDArray) -> KernelProblem:
    """The kernel of the first `KERNEL_ROWS` inputs (N, D)."""
    rows = inputs[:KERNEL_ROWS]
    return problem(rows, rows[:1], rows[:1])


Property = Callable[[Predictions, KernelProblem], float]
PROPERTIES: Mapping[str, Property] = {
    "accuracy": lambda p, _: accuracy(p),
    "NLL": lambda p, _: -nll(p),
    "calibration": lambda p, _: -calibration_error(p),
    "entropy": lambda p, _: entropy(p),
    "non-target information": lambda p, _: non_target_information(p),
    "supervision complexity": lambda p, k: -supervision_complexity(p, k),
    "entropy shape": lambda p, _: -entropy_shape(p),
}
"""Signed so that more is expected to be better: lower NLL, calibration error and complexity, more entropy, less of it
in a few examples, more information about the single example."""
