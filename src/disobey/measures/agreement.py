"""How far a student's answers are its teacher's: choices, flips, ranks and divergences.

Divergences are in nats, forward means KL(teacher ‖ student). KL is infinite where one side gives probability 0 to what
the other allows, and is then reported as infinite without an interval; Jensen–Shannon and total variation stay finite.
Ties for the most likely class go to the lower class number, on both sides. Shapes: N examples, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from scipy.stats import rankdata

from disobey.measures.deviation import best_classes, log_odds
from disobey.measures.inference.measure import Columns, Measure
from disobey.measures.inference.statistics import mean, tail_mean
from disobey.records.predictions import Predictions


def choices(predictions: Predictions) -> Columns:
    """(x, agree, teacher_right, student_right), each (N,): x is the teacher's log-odds of its own choice.

    Both "right" columns are NaN without labels.
    """
    teacher, student = predictions.teacher.argmax(axis=1), predictions.student.argmax(axis=1)
    right = (np.full(len(teacher), np.nan),) * 2
    if predictions.labels is not None:
        right = (teacher == predictions.labels).astype(float), (student == predictions.labels).astype(float)
    return log_odds(predictions.teacher, teacher), (teacher == student).astype(float), *right


# What is averaged, as a function of the columns of `choices`.
def _agree(x, agree, teacher, student):
    return agree


def _teacher(x, agree, teacher, student):
    return teacher


def _student(x, agree, teacher, student):
    return student


def _gap(x, agree, teacher, student):
    return student - teacher


def _positive(x, agree, teacher, student):
    return student * (1 - teacher)


def _negative(x, agree, teacher, student):
    return teacher * (1 - student)


def _average(column: Callable, *columns: NDArray, weights: NDArray | None = None) -> NDArray:
    return mean(column(*columns), weights=weights)


def _low_average(column: Callable, *columns: NDArray, weights: NDArray | None = None) -> NDArray:
    """In the quarter of the examples where the teacher is least confident: where students deviate."""
    return tail_mean(columns[0], column(*columns), share=0.25, weights=weights)


def _share(column: Callable) -> float:
    """1 where the column holds zeros and ones only."""
    return 0.0 if column is _gap else 1.0


_CHOICES = {
    "teacher_accuracy": (_teacher, ("labels",), "share of examples that the teacher gets right"),
    "student_accuracy": (_student, ("labels",), "share of examples that the student gets right"),
    "accuracy_gap": (_gap, ("labels",), "student minus teacher accuracy, paired by example"),
    "agreement": (_agree, (), "share of examples where teacher and student choose the same class"),
    "positive_flips": (_positive, ("labels",), "share of examples: teacher wrong, student right"),
    "negative_flips": (_negative, ("labels",), "share of examples: teacher right, student wrong"),
}
_WHERE = {
    "agreement.teacher_right": (_agree, lambda x, a, t, s: t == 1, "agreement where the teacher is right"),
    "agreement.teacher_wrong": (_agree, lambda x, a, t, s: t == 0, "agreement where the teacher is wrong"),
    "student_right_where_they_differ": (_student, lambda x, a, t, s: a == 0, "student accuracy where they disagree"),
    "teacher_right_where_they_differ": (_teacher, lambda x, a, t, s: a == 0, "teacher accuracy where they disagree"),
    "gap_where_they_differ": (_gap, lambda x, a, t, s: a == 0, "student minus teacher accuracy where they disagree"),
}


@cache
def top_overlap(k: int) -> Callable[[Predictions], Columns]:
    """Column (N,): share of the teacher's k most likely classes that are among the student's k."""

    def columns(predictions: Predictions) -> Columns:
        kept = min(k, predictions.n_classes)
        members = []
        for log_probs in (predictions.teacher, predictions.student):
            member = np.zeros(log_probs.shape, dtype=bool)
            np.put_along_axis(member, best_classes(log_probs, kept), True, axis=1)
            members.append(member)
        return ((members[0] & members[1]).sum(axis=1) / kept,)

    return columns


def rank_agreement(predictions: Predictions) -> Columns:
    """Column (N,): Spearman correlation of the classes other than the teacher's choice.

    NaN (left out) where one side gives all of them the same probability, and with fewer than three classes.
    """
    n, classes = predictions.teacher.shape
    if classes < 3:
        return (np.full(n, np.nan),)
    others = np.arange(classes) != predictions.teacher.argmax(axis=1)[:, None]
    pair = (predictions.teacher, predictions.student)
    a, b = (rankdata(p[others].reshape(n, classes - 1), axis=1) - classes / 2 for p in pair)
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return (np.divide((a * b).sum(axis=1), scale, out=np.full(n, np.nan), where=scale > 0),)


@cache
def divergences(temperature: float) -> Callable[[Predictions], Columns]:
    """Columns (forward KL, reverse KL, Jensen–Shannon, total variation), each (N,), both sides at ``temperature``."""

    def columns(predictions: Predictions) -> Columns:
        t, s = (
            p if temperature == 1 else log_softmax(p / temperature, axis=1)
            for p in (predictions.teacher, predictions.student)
        )
        p, q = np.exp(t), np.exp(s)
        with np.errstate(divide="ignore"):
            middle = np.log(0.5 * (p + q))
        shannon = 0.5 * (_expected_gap(p, t, middle) + _expected_gap(q, s, middle))
        p -= q
        variation = 0.5 * np.abs(p, out=p).sum(axis=1)
        return kl_divergence(t, s), _expected_gap(q, s, t), shannon, variation

    return columns


def kl_divergence(p: NDArray, q: NDArray) -> NDArray:
    """KL(p ‖ q) of log-probabilities (N, C), in nats: (N,). Classes with p = 0 add nothing; q = 0 < p adds infinity.

    >>> kl_divergence(np.log([[0.5, 0.5]]), np.log([[0.9, 0.1]])).round(4)
    array([0.5108])
    """
    return _expected_gap(np.exp(p), p, q)


def _expected_gap(mass: NDArray, p: NDArray, q: NDArray) -> NDArray:
    with np.errstate(invalid="ignore"):  # inf − inf where both are impossible, not used
        gap = p - q
        if not np.isfinite(gap.sum()):
            gap[mass == 0] = 0.0
    return np.einsum("ij,ij->i", mass, gap)


def _pick(index: int, *columns: NDArray, weights: NDArray | None = None) -> NDArray:
    return mean(columns[index], weights=weights)


def _defined(column: NDArray) -> NDArray:
    return np.isfinite(column)


def divergence_measures(temperature: float) -> tuple[Measure, ...]:
    """Forward KL, reverse KL, Jensen–Shannon and total variation, both sides at one temperature.

    The T² factor of distillation losses is *not* applied: these are divergences, not losses.
    """
    ending = "" if temperature == 1 else f".T{temperature:g}"
    abouts = {
        "kl": "KL(teacher ‖ student), nats",
        "reverse_kl": "KL(student ‖ teacher), nats",
        "jensen_shannon": "Jensen–Shannon divergence, nats (at most .693)",
        "total_variation": "half the sum of absolute differences of probabilities",
    }
    return tuple(
        Measure(name + ending, divergences(temperature), partial(_pick, index), about=about)
        for index, (name, about) in enumerate(abouts.items())
    )


def overlap_measure(k: int) -> Measure:
    """`top_overlap` of k classes as a measure."""
    about = f"share of the teacher's {k} most likely classes among the student's {k}"
    return Measure(f"top{k}_overlap", top_overlap(k), mean, about=about)


def _measures() -> dict[str, Measure]:
    made = []
    for name, (column, needs, about) in _CHOICES.items():
        made.append(Measure(name, choices, partial(_average, column), None, needs, about, _share(column)))
    for name, (column, needs, about) in _CHOICES.items():
        about = f"{about}, in the quarter where the teacher is least confident"
        made.append(
            Measure(f"{name}.low", choices, partial(_low_average, column), None, needs, about, 0.25 * _share(column))
        )
    for name, (column, where, about) in _WHERE.items():
        made.append(Measure(name, choices, partial(_average, column), where, ("labels",), about, _share(column)))
    about = "Spearman correlation of the classes other than the teacher's choice, mean over examples"
    made += [overlap_measure(5), Measure("rank_correlation", rank_agreement, mean, _defined, about=about)]
    made += [*divergence_measures(1.0), *divergence_measures(4.0)]
    return {measure.name: measure for measure in made}


MEASURES = _measures()
