"""How far a student's predictions are its teacher's: choices, flips, ranks and divergences.

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

from disobey.measures.deviation import best_classes, log_odds
from disobey.measures.inference.measure import Columns, Measure
from disobey.measures.inference.statistics import mean, tail_mean
from disobey.records.predictions import Predictions


def choices(predictions: Predictions) -> Columns:
    """What each side chooses, example by example.

    Args:
        predictions: N examples.

    Returns:
        (x, agree, teacher_right, student_right), each (N,). x: the teacher's log-odds of its own choice, nats; the
        others are 0 or 1, the last two NaN without labels.
    """
    teacher, student = predictions.teacher.argmax(axis=1), predictions.student.argmax(axis=1)
    right = (np.full(len(teacher), np.nan),) * 2
    if predictions.labels is not None:
        right = (teacher == predictions.labels).astype(float), (student == predictions.labels).astype(float)
    return log_odds(predictions.teacher, teacher), (teacher == student).astype(float), *right


AGREE, TEACHER, STUDENT = 1, 2, 3  # places among the columns of `choices`


# What is averaged, as a function of those columns.
def _agree(*columns: NDArray) -> NDArray:
    return columns[AGREE]


def _teacher(*columns: NDArray) -> NDArray:
    return columns[TEACHER]


def _student(*columns: NDArray) -> NDArray:
    return columns[STUDENT]


def _gap(*columns: NDArray) -> NDArray:
    return columns[STUDENT] - columns[TEACHER]


def _positive(*columns: NDArray) -> NDArray:
    return columns[STUDENT] * (1 - columns[TEACHER])


def _negative(*columns: NDArray) -> NDArray:
    return columns[TEACHER] * (1 - columns[STUDENT])


def _equals(place: int, value: float, *columns: NDArray) -> NDArray:
    return columns[place] == value


def _average(column: Callable, *columns: NDArray, weights: NDArray | None = None) -> NDArray:
    return mean(column(*columns), weights=weights)


def _low_average(column: Callable, *columns: NDArray, weights: NDArray | None = None) -> NDArray:
    """In the quarter of the examples where the teacher is least confident: where students deviate."""
    return tail_mean(columns[0], column(*columns), share=0.25, weights=weights)


def _share(column: Callable) -> float:
    """1 where the column holds zeros and ones only."""
    return 0.0 if column is _gap else 1.0


_CHOICES = {
    "teacher_accuracy": (_teacher, ("labels",), "share of examples that the teacher predicts right"),
    "student_accuracy": (_student, ("labels",), "share of examples that the student predicts right"),
    "accuracy_gap": (_gap, ("labels",), "student minus teacher accuracy, paired by example"),
    "agreement": (_agree, (), "share of examples where teacher and student choose the same class"),
    "positive_flips": (_positive, ("labels",), "share of examples: teacher wrong, student right"),
    "negative_flips": (_negative, ("labels",), "share of examples: teacher right, student wrong"),
}
_DIFFER = partial(_equals, AGREE, 0)
_WHERE = {
    "agreement.teacher_right": (_agree, partial(_equals, TEACHER, 1), "agreement where the teacher is right"),
    "agreement.teacher_wrong": (_agree, partial(_equals, TEACHER, 0), "agreement where the teacher is wrong"),
    "student_right_where_they_differ": (_student, _DIFFER, "student accuracy where they disagree"),
    "teacher_right_where_they_differ": (_teacher, _DIFFER, "teacher accuracy where they disagree"),
    "gap_where_they_differ": (_gap, _DIFFER, "student minus teacher accuracy where they disagree"),
}


@cache
def top_overlap(k: int) -> Callable[[Predictions], Columns]:
    """Columns of one: (N,), the share of the teacher's k most likely classes that are among the student's k."""

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
    """Columns of one: (N,), the Spearman correlation of the classes other than the teacher's choice.

    NaN (left out) where one side gives all of them the same probability, and with fewer than three classes.
    """
    n, classes = predictions.teacher.shape
    if classes < 3:
        return (np.full(n, np.nan),)
    others = np.arange(classes) != predictions.teacher.argmax(axis=1)[:, None]
    pair = (predictions.teacher, predictions.student)
    a, b = (_ranks(p[others].reshape(n, classes - 1)) - classes / 2 for p in pair)
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return (np.divide((a * b).sum(axis=1), scale, out=np.full(n, np.nan), where=scale > 0),)


def _ranks(values: NDArray) -> NDArray:
    """Ranks (N, K) in each row from 1, equal ones averaged; what `scipy.stats.rankdata` gives, without its import.

    >>> _ranks(np.array([[3.0, 1.0, 3.0], [5.0, 6.0, 4.0]]))
    array([[2.5, 1. , 2.5],
           [2. , 3. , 1. ]])
    """
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    first = np.ones(values.shape, dtype=bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    starts = np.flatnonzero(first)
    sizes = np.diff(starts, append=values.size)
    average = np.repeat(starts % values.shape[1] + (sizes + 1) / 2, sizes).reshape(values.shape)
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, average, axis=1)
    return ranks


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
    """Kullback–Leibler divergence of every row.

    Args:
        p: (N, C) log-probabilities that the expectation is over; classes of probability 0 add nothing.
        q: (N, C) log-probabilities; a class with q = 0 < p adds infinity.

    Returns:
        KL(p ‖ q), (N,), in nats.

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

    Without the T² factor of distillation losses: these are divergences, not losses.

    Args:
        temperature: above 0; the names end in ``.T4`` for 4, and have no ending for 1.
    """
    ending = "" if temperature == 1 else f".T{temperature:g}"
    abouts = {
        "kl": "KL(teacher ‖ student), nats",
        "reverse_kl": "KL(student ‖ teacher), nats",
        "jensen_shannon": "Jensen–Shannon divergence, nats (at most 0.693)",
        "total_variation": "half the sum of absolute differences of probabilities",
    }
    return tuple(
        Measure(name + ending, divergences(temperature), partial(_pick, index), about=about)
        for index, (name, about) in enumerate(abouts.items())
    )


def overlap_measure(k: int) -> Measure:
    """`top_overlap` as a measure, named ``top5_overlap`` for k = 5."""
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
