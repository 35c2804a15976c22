"""Language models by the teacher's k most likely tokens: the same columns from lists of (token, log-probability).

What the lists leave out is kept as one event, "another token", whose mass is one minus the mass of the list, on both
sides. Divergences over the k tokens and that event are *lower bounds* of the full ones (merging events cannot increase
a divergence), exact where the rest mass is 0. Shapes: N tokens, k listed ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.errors import row_list
from disobey.diagnosis.evidence.streaming import FINITE, forward_and_reverse, widened
from disobey.diagnosis.input.matrices import side_by_side
from disobey.diagnosis.input.pair import Pair, TopK
from disobey.errors import refusal
from disobey.measures.agreement import choices
from disobey.measures.calibration import scores
from disobey.measures.deviation import confidence
from disobey.measures.inference.measure import Columns, ColumnsOf, columns_beside, columns_on
from disobey.measures.information import softness
from disobey.records.predictions import Predictions

SAMPLE = 2**21  # listed log-probabilities that the sample holds
_BLOCK = 2**19  # listed log-probabilities in a block
_SLACK = 2e-2  # how far rounding in half precision may lift the mass of a list above 1


NAMES = (
    "x",
    "y",
    "agree",
    "undecided",
    "kl",
    "reverse_kl",
    "entropy",
    "beyond",
    "teacher_mass",
    "student_mass",
    "unknown_mass",
)
LABELLED = ("teacher_right", "student_right", "nll", "confidence")
TEACHERS = {"x", "undecided", "entropy", "beyond", "teacher_mass", "student_mass", "unknown_mass", "teacher_right"}
KINDS = {"agree": np.int8, "undecided": np.int8, "teacher_right": np.int8, "student_right": np.int8}


@dataclass(frozen=True)
class Lists:
    """A block of lists, by their logs and probabilities; unknown student entries have probability 0 in both.

    gap: log p − log q, 0 where either is infinite or unknown. lost: rows in which the student rules out what the
    teacher allows. unknown: the teacher's mass on entries that the student's are not known of.
    """

    log_teacher: NDArray
    teacher: NDArray
    log_student: NDArray
    student: NDArray
    gap: NDArray
    lost: NDArray
    unknown: NDArray
    top: NDArray  # place of the teacher's most likely token


@dataclass(frozen=True)
class TopKColumns:
    """What one pass over lists gives.

    Attributes:
        sample: coarse predictions on ``rows``, with "another token" as the last class.
        rows: the tokens that were sampled.
        columns: of all tokens, by the function that a measure has for them.
        masses: of all tokens: teacher's and student's on the list, and the unknown part.
    """

    sample: Predictions
    rows: NDArray
    columns: dict[ColumnsOf, Columns]
    masses: dict[str, NDArray]


def read_top_k(pair: Pair, seed: int) -> TopKColumns:
    """Reads all lists of a pair once, block by block."""
    topk, n = pair.topk, pair.shape[0]
    assert topk is not None
    k = topk.ids.shape[1]
    rows = np.sort(np.random.default_rng(seed).choice(n, min(n, max(1000, SAMPLE // k)), replace=False))
    sides = {"student": topk} if topk.twin is None else {"student": topk, "twin": topk.of_twin}
    names = (*NAMES, *(LABELLED if pair.labels is not None else ()))
    arrays = {
        side: {
            name: np.empty(n, KINDS.get(name, np.float32))
            for name in names
            if side == "student" or name not in TEACHERS
        }
        for side in sides
    }
    coarse = {who: np.empty((len(rows), k + 1)) for who in ("teacher", *sides)}
    places = None if pair.labels is None else np.full(len(rows), k)  # of the true token; k: beyond the list

    def work(start: int, blocks: tuple[NDArray, ...]) -> None:
        ids, of_teacher, *of_students = blocks
        part = slice(start, start + len(ids))
        first, last = np.searchsorted(rows, [part.start, part.stop])
        mine, teacher = rows[first:last] - start, _probabilities(of_teacher)
        for (side, own), block in zip(sides.items(), of_students, strict=True):
            lists = _lists(teacher, _probabilities(block), start, own)
            columns = _columns(ids, lists, own, pair.labels, part)
            for name, column in arrays[side].items():
                column[part] = columns[name]
            if last > first:
                coarse["teacher"][first:last], coarse[side][first:last] = _coarse(lists, mine)
        if last > first and places is not None and pair.labels is not None:
            order = np.argsort(-teacher[1][mine], axis=1, kind="stable")
            hit = np.take_along_axis(ids[mine], order, axis=1) == pair.labels[rows[first:last], None]
            places[first:last] = np.where(hit.any(axis=1), hit.argmax(axis=1), k)

    matrices = (topk.ids, topk.teacher, *(own.student for own in sides.values()))
    side_by_side(matrices, max(1, min(n, _BLOCK // k)), work)
    sample = Predictions(
        coarse["teacher"],
        coarse["student"],
        places,
        rows if pair.ids is None else pair.ids[rows],
        pair.split,
        coarse.get("twin"),
        groups=None if pair.groups is None else pair.groups[rows],
        cluster=None if pair.cluster is None else pair.cluster[rows],
    )
    return TopKColumns(sample, rows, _all_columns(arrays, pair), arrays["student"])


def _lists(of_teacher: tuple[NDArray, NDArray], of_student: tuple[NDArray, NDArray], start: int, topk: TopK) -> Lists:
    (log_teacher, p), (log_student, q) = of_teacher, of_student
    lost, unknown = np.zeros(len(p), bool), np.zeros(len(p), p.dtype)
    with np.errstate(invalid="ignore"):
        gap = log_teacher - log_student
    if not np.isfinite([gap.min(), gap.max()]).all():
        missing = np.isnan(log_student)
        lost = np.any((p > 0) & np.isneginf(log_student), axis=1)
        unknown = np.where(missing, p, 0).sum(axis=1)
        q[missing], log_student[missing] = 0, -np.inf
        gap[~np.isfinite(gap)] = 0
    for probs, matrix in ((p, topk.teacher), (q, topk.student)):
        mass = _summed(probs)
        bad = np.flatnonzero(~(mass <= 1 + _SLACK) | ~np.isfinite(mass))
        if len(bad):
            raise refusal(
                "top-k-mass",
                "natural log-probabilities, whose list sums to at most 1",
                f"a sum of {mass[bad[0]]:.4g} in {row_list(bad + start)}",
                "subtract logsumexp over the whole vocabulary before taking the top k",
                where=matrix.where or "top-k",
            )
    return Lists(log_teacher, p, log_student, q, gap, lost, unknown, p.argmax(axis=1))


def _summed(lists: NDArray) -> NDArray:
    return np.vecdot(lists, np.ones(lists.shape[1], lists.dtype))


def _probabilities(block: NDArray) -> tuple[NDArray, NDArray]:
    """(logs, probabilities), float32 unless stored in more."""
    if block.dtype == np.float16:
        logs = widened(block, np.empty(block.shape, np.float32))
        odd = np.abs(logs) > FINITE
        if odd.any():  # −inf for unused entries, NaN for unknown ones
            logs[odd] = block[odd]
    else:
        logs = block.astype(np.float32 if block.dtype == np.float32 else np.float64)
    with np.errstate(over="ignore"):
        return logs, np.exp(logs)


def _columns(ids: NDArray, lists: Lists, topk: TopK, labels: NDArray | None, part: slice) -> dict[str, NDArray]:
    rows = np.arange(len(ids))
    p, q, top, unknown = lists.teacher, lists.student, lists.top, lists.unknown
    mass, student_mass = _summed(p), _summed(q)
    rest = np.maximum(1 - mass, 0)
    student_rest = np.maximum(1 - student_mass, 0)
    best = q.argmax(axis=1)
    if topk.student_top is not None:
        own = topk.student_top[part]
        agree, undecided = own == ids[rows, top], np.zeros(len(ids), bool)
    else:
        own = ids[rows, best]
        undecided = q[rows, best] < student_rest
        agree = (best == top) & ~undecided
    with np.errstate(divide="ignore", invalid="ignore"):
        kl = np.vecdot(p, lists.gap) + _event(rest + unknown, student_rest)
        reverse = _event(student_rest, rest + unknown) - np.vecdot(q, lists.gap)
        logs = np.where(p > 0, lists.log_teacher, 0) if p.min() == 0 else lists.log_teacher
        entropy = -np.vecdot(p, logs) - _xlogx(rest)
        x = _log_odds(lists.log_teacher, p, top, rows, rest)
        y = _log_odds(lists.log_student, q, top, rows, student_rest)
    out = {
        "x": x,
        "y": y,
        "agree": agree,
        "undecided": undecided,
        "kl": np.where(lists.lost, np.inf, np.maximum(kl, 0)),
        "reverse_kl": np.maximum(reverse, 0),
        "entropy": entropy,
        "beyond": 1 - p[rows, top],
        "teacher_mass": mass,
        "student_mass": student_mass,
        "unknown_mass": unknown,
    }
    if labels is None:
        return out
    return out | {
        "teacher_right": ids[rows, top] == labels[part],
        "student_right": own == labels[part],
        "nll": np.nan if topk.label_student is None else -topk.label_student[part],
        "confidence": q[rows, best],
    }


def _log_odds(logs: NDArray, probs: NDArray, place: NDArray, rows: NDArray, rest: NDArray) -> NDArray:
    """Of the listed token at ``place``. ``probs`` comes back as it was."""
    chosen = probs[rows, place]
    probs[rows, place] = 0
    others = _summed(probs)
    probs[rows, place] = chosen
    return logs[rows, place] - np.log(others + rest)


def _event(p: NDArray, q: NDArray) -> NDArray:
    """The term p log(p/q) of the event "another token"; rest masses below rounding count as 0."""
    return np.where((p > 1e-6) & (q > 1e-6), p * (np.log(p) - np.log(q)), 0)


def _xlogx(p: NDArray) -> NDArray:
    return np.where(p > 0, p * np.log(p), 0)


def _coarse(lists: Lists, rows: NDArray) -> tuple[NDArray, NDArray]:
    """Log-probabilities of these rows' listed tokens, best first, and of "another token"."""
    order = np.argsort(-lists.teacher[rows], axis=1, kind="stable")
    out = []
    for logs, probs in ((lists.log_teacher, lists.teacher), (lists.log_student, lists.student)):
        rest = np.maximum(1 - probs[rows].astype(np.float64).sum(axis=1), 1e-9)
        listed = np.take_along_axis(logs[rows].astype(np.float64), order, axis=1)
        joined = np.concatenate([listed, np.log(rest)[:, None]], axis=1)
        out.append(joined - np.log(np.exp(joined).sum(axis=1, keepdims=True)))
    return out[0], out[1]


def _all_columns(arrays: dict[str, dict[str, NDArray]], pair: Pair) -> dict[ColumnsOf, Columns]:
    """The student's columns; where there is a twin, its own and both side by side."""
    own = _as_columns(arrays["student"], pair)
    if "twin" not in arrays:
        return own
    columns = _as_columns(arrays["student"] | arrays["twin"], pair)
    twin = {function: found for function, found in columns.items() if function is not softness(1.0)}
    theirs = {columns_on(f, "twin"): columns for f, columns in twin.items()}
    both = {columns_beside(f, "twin"): (*own[f], *columns) for f, columns in twin.items()}
    return own | theirs | both


def _as_columns(arrays: dict[str, NDArray], pair: Pair) -> dict[ColumnsOf, Columns]:
    n, has = pair.shape[0], pair.labels is not None
    nowhere, nothing = np.broadcast_to(False, n), np.broadcast_to(np.float32(np.nan), n)
    right = arrays["teacher_right"].view(bool) if has else nowhere
    columns: dict[ColumnsOf, Columns] = {
        confidence: (arrays["x"], arrays["y"], right, nowhere),
        choices: (
            arrays["x"],
            arrays["agree"],
            arrays.get("teacher_right", nothing),
            arrays.get("student_right", nothing),
        ),
        forward_and_reverse: (arrays["kl"], arrays["reverse_kl"]),
        softness(1.0): (arrays["entropy"], arrays["beyond"]),
    }
    if has:
        columns[scores] = (arrays["nll"], nothing, arrays["confidence"], arrays["student_right"])
    return columns
