"""Which classes a fast model confuses: ridge regression on the classes, every example answered by a fit without it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import Dataset
from disobey.data.flat import flat_inputs
from disobey.data.subsets import stratified_order, stratified_parts, stream
from disobey.errors import refusal

PARTS = 5
MOST = 256  # features; more are projected to so many random directions
PENALTIES = tuple(10.0**k for k in range(-4, 3))  # in units of the mean variance of the features, times N


def cross_fitted_scores(inputs: NDArray, labels: NDArray, classes: int, *, parts: int = PARTS) -> NDArray:
    """Scores of every class by least squares on one-hot labels; each example by a model that was fitted without it.

    The penalty is the one of seven with the smallest cross-fitted squared error.

    Args:
        inputs: (N, D).
        labels: (N,), the observed ones.
        classes: C.
        parts: of the cross-fitting.

    Returns:
        (N, C) float64; about the probability of each class, as far as it is linear in the inputs.

    Raises:
        Refusal: ``few-examples`` for fewer than two examples a part.
    """
    if len(inputs) < 2 * parts:
        raise refusal("few-examples", f"at least {2 * parts} examples to cross-fit {parts} parts", len(inputs))
    part = stratified_parts(labels, stratified_order(labels, stream(0, "confusion")), parts, stream(0, "fold"))
    targets, scores = np.eye(classes)[labels], np.empty((len(PENALTIES), len(labels), classes))
    for k in range(parts):
        rows, out = part != k, part == k
        mean, base = inputs[rows].mean(axis=0), targets[rows].mean(axis=0)
        x = inputs[rows] - mean
        values, vectors = np.linalg.eigh(x.T @ x)
        along, seen = vectors.T @ (x.T @ (targets[rows] - base)), (inputs[out] - mean) @ vectors
        unit = max(float(values.mean()), 1e-12)
        for i, penalty in enumerate(PENALTIES):
            scores[i, out] = base + seen @ (along / (np.maximum(values, 0) + penalty * unit)[:, None])
    return scores[((scores - targets) ** 2).sum(axis=(1, 2)).argmin()]


def fast_features(dataset: Dataset, most: int = MOST) -> NDArray:
    """The training inputs as vectors: more than so many numbers are projected to fixed random directions.

    Returns:
        (N, D) float64.
    """
    inputs = flat_inputs(dataset, "train")
    if inputs.shape[1] <= most:
        return inputs
    return inputs @ (stream(0, "fast features").normal(size=(inputs.shape[1], most)) / np.sqrt(most))


def confusions(dataset: Dataset) -> NDArray:
    """How often examples of one class look like another to the fast model, on the training split.

    Returns:
        (C, C) symmetric shares, 0 on the diagonal.
    """
    labels, count = dataset.train.observed, len(dataset.classes)
    guessed = cross_fitted_scores(fast_features(dataset), labels, count).argmax(axis=1)
    table = np.zeros((count, count))
    np.add.at(table, (labels, guessed), 1.0)
    table /= np.maximum(table.sum(axis=1, keepdims=True), 1.0)
    np.fill_diagonal(table, 0.0)
    return (table + table.T) / 2
