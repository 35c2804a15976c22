"""Is a student only at another temperature than its teacher, or than the labels ask for? Temperatures fitted to either.

Shapes: N examples, C classes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

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
    for _ in range(60):
        slope, curvature = (part.mean() for part in _newton_columns(predictions, beta, to))
        if not np.isfinite(slope):
            return np.nan
        low, high = (low, beta) if slope > 0 else (beta, high)
        step = beta - slope / curvature if curvature > 0 else np.nan
        following = step if low < step < high else float(np.sqrt(low * high))
        if abs(following - beta) <= 1e-12 * beta:
            break
        beta = following
    at_the_end = not 1.01e-3 < beta < 0.99e3
    return np.nan if at_the_end else float(1.0 / beta)


def _newton_columns(predictions: Predictions, beta: float, to: Target) -> Columns:
    """First and second derivative in β = 1/T of every example's objective, each (N,)."""
    first, second = [], []
    for chunk in predictions.chunks(max(1, 2**22 // predictions.n_classes)):
        slope, curvature = _derivatives(chunk, beta, to)
        first.append(slope)
        second.append(curvature)
    return np.concatenate(first), np.concatenate(second)


def _derivatives(chunk: Predictions, beta: float, to: Target) -> Columns:
    """Of −β E_target[log p] + logsumexp(β log p): a mean difference and a variance of log p."""
    student = chunk.student
    tempered = softmax(beta * student, axis=1)
    if to == "labels":
        assert chunk.labels is not None
        wanted = student[np.arange(len(chunk)), chunk.labels]
    else:
        wanted = (np.exp(chunk.teacher) * student).sum(axis=1)
    average = (tempered * student).sum(axis=1)
    return average - wanted, (tempered * (student - average[:, None]) ** 2).sum(axis=1)


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

    measure = Measure(name, lambda chunk: _derivatives(chunk, beta, to), one_step)
    return over_examples(measure, predictions, resamples=resamples, level=level, seed=seed)


def tempered(measure: Measure, temperature: float) -> Measure:
    """The measure on the student at a temperature: what deviation remains once that is its teacher's?"""

    def columns(predictions: Predictions) -> Columns:
        return measure.columns(predictions.with_student(log_softmax(predictions.student / temperature, axis=1)))

    return replace(measure, name=f"{measure.name}.at_T{temperature:.3g}", columns=columns)
