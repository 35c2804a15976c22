"""Is a student only at another temperature than its teacher, or than the labels ask for? Temperatures fitted to either.

Shapes: N examples, C classes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from disobey.errors import refusal
from disobey.measures.inference.examples import over_examples
from disobey.measures.inference.measure import Columns, Measure
from disobey.measures.inference.statistics import mean
from disobey.records.predictions import Predictions
from disobey.records.results import Estimate

Target = Literal["teacher", "labels"]


def best_temperature(predictions: Predictions, to: Target = "teacher") -> float:
    """The temperature at which the student comes closest to its teacher (forward KL), or to the labels (NLL).

    The student's logits are divided by it. The objective is convex in 1/T; Newton's method with bisection finds its
    only minimum.

    Args:
        predictions: N examples.
        to: what to come close to.

    Returns:
        Above 1 the student is over-confident. NaN where the minimum lies at the end of [1/1000, 1000] (a perfect
        classifier wants T → 0) and for infinite log-probabilities.

    >>> logits = np.random.default_rng(0).normal(size=(50, 4))
    >>> round(best_temperature(Predictions.from_logits(logits, 2.5 * logits)), 6)
    2.5
    """
    low, high, beta = 1e-3, 1e3, 1.0
    chunks = [(chunk, _wanted(chunk, to)) for chunk in predictions.chunks(max(1, 2**19 // predictions.n_classes))]
    for _ in range(60):
        parts = [_derivatives(chunk.student, wanted, beta) for chunk, wanted in chunks]
        slope, curvature = (np.concatenate(side).mean() for side in zip(*parts, strict=True))
        if not np.isfinite(slope):
            return np.nan
        low, high = (low, beta) if slope > 0 else (beta, high)
        step = beta - slope / curvature if curvature > 0 else np.nan
        following = step if low < step < high else float(np.sqrt(low * high))
        settled = following == step and abs(following - beta) <= 1e-8 * beta  # Newton: twice as many digits are right
        beta = following
        if settled or high - low <= 1e-12 * beta:
            break
    at_the_end = not 1.01e-3 < beta < 0.99e3
    return np.nan if at_the_end else float(1.0 / beta)


def _wanted(chunk: Predictions, to: Target) -> NDArray:
    """(N,): the expectation of the student's log p under what it should come close to."""
    if to == "labels":
        assert chunk.labels is not None
        return chunk.student[np.arange(len(chunk)), chunk.labels]
    return np.einsum("ij,ij->i", np.exp(chunk.teacher), chunk.student)


def _derivatives(student: NDArray, wanted: NDArray, beta: float) -> Columns:
    """In β = 1/T, each (N,), of −β wanted + logsumexp(β log p): a mean difference and a variance of log p (N, C)."""
    weights = beta * student
    weights -= weights.max(axis=1, keepdims=True)
    np.exp(weights, out=weights)
    total = weights.sum(axis=1)
    average = np.einsum("ij,ij->i", weights, student) / total
    apart = student - average[:, None]
    apart *= apart
    return average - wanted, np.einsum("ij,ij->i", weights, apart) / total


def fitted_temperature(
    predictions: Predictions, to: Target = "teacher", *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Estimate:
    """`best_temperature` with its interval over examples.

    Resamples take one Newton step from the full sample's optimum, which is exact to second order, instead of fitting
    anew.

    Args:
        predictions: N examples.
        to: what to come close to.
        resamples: of the bootstrap.
        level: of the interval.
        seed: of the resamples.

    Raises:
        Refusal: ``missing-labels``, where they are needed.
    """
    name = f"temperature_to_{to}"
    if to == "labels" and predictions.labels is None:
        raise refusal("missing-labels", "predictions with labels to fit a temperature to them", "none")
    temperature = best_temperature(predictions, to)
    if not np.isfinite(temperature):
        return Estimate(name, np.nan, np.nan, np.nan, level, len(predictions), "examples")
    beta = 1 / temperature

    def one_step(slope: NDArray, curvature: NDArray, *, weights: NDArray | None = None) -> NDArray:
        return 1 / (beta - mean(slope, weights=weights) / mean(curvature, weights=weights))

    measure = Measure(name, lambda chunk: _derivatives(chunk.student, _wanted(chunk, to), beta), one_step)
    return over_examples(measure, predictions, resamples=resamples, level=level, seed=seed)


def tempered(measure: Measure, temperature: float) -> Measure:
    """The measure on the student at a temperature: what deviation remains once that is its teacher's?"""

    def columns(predictions: Predictions) -> Columns:
        return measure.columns(predictions.with_student(log_softmax(predictions.student / temperature, axis=1)))

    return replace(measure, name=f"{measure.name}.at_T{temperature:.3g}", columns=columns)
