"""What distillers of language models log: overlap of likely tokens, acceptance, entropy gap, what was forgotten.

Every function is about single tokens: (N, V) natural log-probabilities of teacher and student at the same N positions
of text, in the same vocabulary, to one number a position. With a control (twin) read the difference: two models of one
language overlap without any distillation. Tokens of one text are not independent: give `cluster` for intervals.

Reference:
    "Rethinking On-Policy Distillation of Large Language Models" (arXiv 2604.13016) for overlap ratio, mass, advantage
    and entropy gap; Leviathan, Kalman and Matias 2023 (arXiv 2211.17192), for acceptance.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from disobey.measures.deviation import best_classes
from disobey.measures.inference.measure import Columns, Measure
from disobey.measures.inference.statistics import mean
from disobey.records.predictions import Predictions

K = 16  # tokens in a list, where nothing else is said
SURE = 0.5  # probability from which a model counts as sure of a token


def overlap_ratio(teacher: NDArray, student: NDArray, k: int = K) -> NDArray:
    """|top-k of the teacher ∩ top-k of the student| / k.

    Args:
        teacher: (N, V) log-probabilities.
        student: (N, V).
        k: tokens in each list; V where that is fewer.

    Returns:
        (N,) from 0 to 1. It counts tokens whatever they weigh: `overlap_mass` says what they weigh.

    >>> t, s = np.log([[0.6, 0.3, 0.1]]), np.log([[0.5, 0.1, 0.4]])
    >>> overlap_ratio(t, s, k=2)
    array([0.5])
    """
    return _shared(teacher, student, k).sum(axis=1) / min(k, teacher.shape[1])


def overlap_mass(teacher: NDArray, student: NDArray, k: int = K) -> tuple[NDArray, NDArray]:
    """Probability of the tokens that are on both lists, under either side and not renormalized.

    Args:
        teacher: (N, V) log-probabilities.
        student: (N, V).
        k: tokens in each list.

    Returns:
        (teacher's, student's), each (N,).

    >>> t, s = np.log([[0.6, 0.3, 0.1]]), np.log([[0.5, 0.1, 0.4]])
    >>> [side.round(2).tolist() for side in overlap_mass(t, s, k=2)]
    [[0.6], [0.5]]
    """
    shared = _shared(teacher, student, k)
    return _mass(teacher, shared), _mass(student, shared)


def overlap_advantage(teacher: NDArray, student: NDArray, k: int = K) -> NDArray:
    """Mean advantage log p_teacher − log p_student of the student's tokens, on the shared list alone.

    Both sides are renormalized to the tokens that are on both lists: −KL(student ‖ teacher) there, so never above 0,
    and 0 where the two agree on what they share. It goes to 0, too, where they share one token only: read it beside
    `overlap_ratio`.

    Args:
        teacher: (N, V) log-probabilities.
        student: (N, V).
        k: tokens in each list.

    Returns:
        (N,) in nats; NaN where no token is on both lists.

    >>> t, s = np.log([[0.6, 0.3, 0.1]]), np.log([[0.4, 0.4, 0.2]])
    >>> overlap_advantage(t, s, k=2).round(4)
    array([-0.0589])
    """
    return _advantage(teacher, student, _shared(teacher, student, k))


def entropy_gap(teacher: NDArray, student: NDArray) -> NDArray:
    """Entropy of the teacher minus that of the student.

    Args:
        teacher: (N, V) log-probabilities.
        student: (N, V).

    Returns:
        (N,) in nats; above 0 where the student is surer than its teacher.

    >>> entropy_gap(np.log([[0.5, 0.5]]), np.log([[0.9, 0.1]])).round(3)
    array([0.368])
    """
    return _entropy(teacher) - _entropy(student)


def log_prob_gap(teacher: NDArray, student: NDArray, tokens: NDArray) -> NDArray:
    """Log-probability of given tokens under the teacher minus under the student.

    Of the true tokens: is there anything to learn here? Of tokens that the student drew itself: its advantage in
    on-policy distillation, whose mean is −KL(student ‖ teacher).

    Args:
        teacher: (N, V) log-probabilities.
        student: (N, V).
        tokens: (N,) token numbers.

    Returns:
        (N,) in nats.

    >>> log_prob_gap(np.log([[0.8, 0.2]]), np.log([[0.4, 0.6]]), np.array([0])).round(3)
    array([0.693])
    """
    rows = np.arange(len(tokens))
    return teacher[rows, tokens] - student[rows, tokens]


def mass_on_list(teacher: NDArray, student: NDArray, k: int = K) -> NDArray:
    """Probability of the student on its teacher's k most likely tokens.

    It collapses where a truncated reverse KL pushes the student off the list, which nothing on the list shows.

    Args:
        teacher: (N, V) log-probabilities.
        student: (N, V).
        k: tokens on the list.

    Returns:
        (N,) from 0 to 1.

    >>> mass_on_list(np.log([[0.6, 0.3, 0.1]]), np.log([[0.1, 0.1, 0.8]]), k=2).round(2)
    array([0.2])
    """
    return _mass(student, _listed(teacher, k))


def acceptance(teacher: NDArray, student: NDArray) -> NDArray:
    """Chance that speculative sampling keeps a token that the student drafts and the teacher verifies: 1 − TV.

    Args:
        teacher: (N, V) log-probabilities.
        student: (N, V).

    Returns:
        (N,) sums of min(p, q), from 0 to 1. A draft is at other positions than saved text: drafts that go astray see
        harder ones.

    >>> acceptance(np.log([[0.6, 0.4]]), np.log([[0.9, 0.1]])).round(2)
    array([0.7])
    """
    return np.exp(np.minimum(teacher, student)).sum(axis=1)


def forgotten(student: NDArray, before: NDArray, tokens: NDArray, sure: float = SURE) -> tuple[NDArray, NDArray]:
    """Tokens that ``before`` was sure and right about, and which of them the student is not any more.

    Args:
        student: (N, V) log-probabilities.
        before: (N, V), of the control (twin), or of the student before it was distilled.
        tokens: (N,) the true tokens.
        sure: probability of the true token from which a model knows it; above one half it is the most likely one.

    Returns:
        (known, lost), each (N,) bool; lost only where known.

    >>> before, student = np.log([[0.9, 0.1], [0.8, 0.2]]), np.log([[0.3, 0.7], [0.6, 0.4]])
    >>> forgotten(student, before, np.array([0, 0]))
    (array([ True,  True]), array([ True, False]))
    """
    rows, border = np.arange(len(tokens)), np.log(sure)
    known = before[rows, tokens] >= border
    return known, known & (student[rows, tokens] < border)


def top_k_lost(teacher: NDArray, k: int = K) -> tuple[NDArray, NDArray]:
    """What a list of the k most likely tokens leaves out of the teacher.

    Args:
        teacher: (N, V) log-probabilities.
        k: tokens kept.

    Returns:
        (mass, share of the entropy −Σ p log p), each (N,) from 0 to 1. A small mass can be much of the entropy.

    >>> [side.round(3).tolist() for side in top_k_lost(np.log([[0.9, 0.06, 0.04]]), k=1)]
    [[0.1], [0.758]]
    """
    p = np.exp(teacher)
    terms = -xlogy(p, p)
    listed = best_classes(teacher, min(k, teacher.shape[1]))
    whole = terms.sum(axis=1)
    for part in (p, terms):
        np.put_along_axis(part, listed, 0.0, axis=1)
    return p.sum(axis=1), np.divide(terms.sum(axis=1), whole, out=np.zeros(len(p)), where=whole > 0)


def _listed(side: NDArray, k: int) -> NDArray:
    """(N, V) bool: a side's k most likely tokens."""
    member = np.zeros(side.shape, dtype=bool)
    np.put_along_axis(member, best_classes(side, min(k, side.shape[1])), True, axis=1)
    return member


def _shared(teacher: NDArray, student: NDArray, k: int) -> NDArray:
    """(N, V) bool: tokens on both lists."""
    return _listed(teacher, k) & _listed(student, k)


def _mass(side: NDArray, member: NDArray) -> NDArray:
    return np.exp(np.where(member, side, -np.inf)).sum(axis=1)


def _advantage(teacher: NDArray, student: NDArray, shared: NDArray) -> NDArray:
    """−KL(student ‖ teacher) on the shared tokens: with their log-masses P, Q: mean gap + Q − P."""
    q = np.exp(np.where(shared, student, -np.inf))
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.where(q > 0, teacher - student, 0.0)
        total = q.sum(axis=1)
        return (q * gap).sum(axis=1) / total + np.log(total) - np.log(_mass(teacher, shared))


def _entropy(logs: NDArray) -> NDArray:
    p = np.exp(logs)
    return -xlogy(p, p).sum(axis=1)


@cache
def lists(k: int) -> Callable[[Predictions], Columns]:
    """Columns (overlap ratio, overlap mass of teacher and student, advantage, mass on the list), each (N,)."""

    def columns(p: Predictions) -> Columns:
        of_teacher, of_student = _listed(p.teacher, k), _listed(p.student, k)
        shared = of_teacher & of_student
        return (
            shared.sum(axis=1) / min(k, p.n_classes),
            _mass(p.teacher, shared),
            _mass(p.student, shared),
            _advantage(p.teacher, p.student, shared),
            _mass(p.student, of_teacher),
        )

    return columns


def spread(p: Predictions) -> Columns:
    """Columns (acceptance, entropy gap), each (N,)."""
    return acceptance(p.teacher, p.student), entropy_gap(p.teacher, p.student)


def true_tokens(p: Predictions) -> Columns:
    """Columns of one: the log-probability gap of the labels, (N,)."""
    assert p.labels is not None
    return (log_prob_gap(p.teacher, p.student, p.labels),)


def memory(p: Predictions) -> Columns:
    """Columns (known by the twin, lost by the student, known by the student, lost by the twin), each (N,)."""
    assert p.labels is not None
    assert p.twin is not None
    return *forgotten(p.student, p.twin, p.labels), *forgotten(p.twin, p.student, p.labels)


@cache
def kept(k: int) -> Callable[[Predictions], Columns]:
    """Columns of `top_k_lost`."""
    return lambda p: top_k_lost(p.teacher, k)


def _pick(index: int, *columns: NDArray, weights: NDArray | None = None) -> NDArray:
    return mean(columns[index], weights=weights)


def _is(index: int, *columns: NDArray) -> NDArray:
    return columns[index].astype(bool)


def _defined(index: int, *columns: NDArray) -> NDArray:
    return np.isfinite(columns[index])


def list_measures(k: int) -> tuple[Measure, ...]:
    """The measures of a teacher's and a student's k most likely tokens, named ``overlap_ratio.k16`` and so on."""
    abouts = {
        "overlap_ratio": f"share of the {k} most likely tokens that are on both lists",
        "teacher_overlap_mass": "teacher's probability of the tokens on both lists",
        "student_overlap_mass": "student's probability of the tokens on both lists",
        "overlap_advantage": "−KL(student ‖ teacher) on the renormalized shared list, nats (at most 0)",
        "mass_on_list": f"student's probability of its teacher's {k} most likely tokens: near 0 it collapsed",
    }
    return tuple(
        Measure(f"{name}.k{k}", lists(k), partial(_pick, i), partial(_defined, i), about=about)
        for i, (name, about) in enumerate(abouts.items())
    )


def lost_measures(k: int) -> tuple[Measure, ...]:
    """What a cache of the teacher's k most likely tokens lost, named ``lost_mass.k16`` and ``lost_entropy.k16``."""
    return (
        Measure(f"lost_mass.k{k}", kept(k), partial(_pick, 0), about=f"teacher's probability beyond its top {k}"),
        Measure(f"lost_entropy.k{k}", kept(k), partial(_pick, 1), about=f"share of its entropy beyond its top {k}"),
    )


ACCEPTANCE = Measure(
    "acceptance", spread, partial(_pick, 0), about="chance that speculative sampling keeps a drafted token: 1 − TV"
)
ENTROPY_GAP = Measure(
    "entropy_gap", spread, partial(_pick, 1), about="entropy of the teacher minus the student's, nats"
)
LOG_PROB_GAP = Measure(
    "log_prob_gap",
    true_tokens,
    partial(_pick, 0),
    partial(_defined, 0),
    ("labels",),
    "log-probability of the true token, teacher minus student, nats: what is left to learn",
)
FORGOTTEN = Measure(
    "forgotten",
    memory,
    partial(_pick, 1),
    partial(_is, 0),
    ("labels", "twin"),
    "of the tokens that the control gives more than 0.5, share that the student does not",
    1.0,
)
GAINED = Measure(
    "gained",
    memory,
    partial(_pick, 3),
    partial(_is, 2),
    ("labels", "twin"),
    "the other way round: of the student's, share that the control does not",
    1.0,
)
MEASURES = {
    m.name: m
    for m in (
        *list_measures(K),
        ACCEPTANCE,
        ENTROPY_GAP,
        LOG_PROB_GAP,
        FORGOTTEN,
        GAINED,
        *lost_measures(K),
        *lost_measures(64),
    )
}
