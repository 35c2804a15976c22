"""Language models by the teacher's k most likely tokens: the same columns from lists of (token, log-probability).

What the lists leave out is kept as one event, "another token", whose mass is one minus the mass of the list, on both
sides. Divergences over the k tokens and that event are *lower bounds* of the full ones (merging events cannot increase
a divergence), exact where the rest mass is 0. Shapes: N tokens, k listed ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.one_pass import asking, forward_and_reverse
from disobey.diagnosis.pairs import Pair, TopK
from disobey.diagnosis.problems import problem, row_list
from disobey.measures.agreement import choices
from disobey.measures.calibration import scores
from disobey.measures.deviation import confidence
from disobey.measures.information import softness
from disobey.measures.intervals import minus_twin, on_twin
from disobey.records.predictions import Predictions

SAMPLE = 2**21  # listed log-probabilities that the sample holds
_BLOCK = 2**17
_SLACK = 2e-2  # how far rounding in half precision may lift the mass of a list above 1


NAMES = ("x", "y", "agree", "undecided", "teacher_right", "student_right", "kl", "reverse_kl", "entropy", "beyond",
         "teacher_mass", "student_mass", "unknown_mass", "nll", "confidence")  # fmt: skip
OF_TWIN = ("y", "agree", "kl", "reverse_kl", "student_right", "nll", "confidence")  # the others are the teacher's own


@dataclass(frozen=True)
class Lists:
    """A block of lists, by their logs and probabilities; unknown student entries have probability 0 in both."""

    log_teacher: NDArray
    teacher: NDArray
    log_student: NDArray
    student: NDArray
    top: NDArray  # place of the teacher's most likely token
    known: NDArray | None  # None: all


def read_top_k(pair: Pair, seed: int) -> tuple[Predictions, NDArray, dict[Callable, tuple], dict[str, NDArray]]:
    """(coarse sample with "another token" as the last class, its rows, columns of all tokens, masses by name)."""
    topk, n = pair.topk, pair.shape[0]
    assert topk is not None
    k = topk.ids.shape[1]
    rows = np.sort(np.random.default_rng(seed).choice(n, min(n, max(1000, SAMPLE // k)), replace=False))
    sides = {"student": topk} if topk.twin is None else {"student": topk, "twin": topk.of_twin}
    arrays = {
        side: {name: np.empty(n, np.float32) for name in (NAMES if side == "student" else OF_TWIN)} for side in sides
    }
    coarse = {who: np.empty((len(rows), k + 1)) for who in ("teacher", *sides)}
    places = None if pair.labels is None else np.full(len(rows), k)  # of the true token; k: beyond the list
    start, per_block = 0, max(1, min(n, _BLOCK // k))
    streams = (m.blocks(per_block) for m in (topk.ids, topk.teacher, *(s.student for s in sides.values())))
    for ids, of_teacher, *of_students in zip(*streams, strict=True):
        part = slice(start, start + len(ids))
        first, last = np.searchsorted(rows, [part.start, part.stop])
        for (side, own), block in zip(sides.items(), of_students, strict=True):
            lists = _lists(of_teacher, block, start, own)
            columns = _columns(ids, lists, own, pair.labels, part)
            for name, column in arrays[side].items():
                column[part] = columns[name]
            if last > first:
                coarse["teacher"][first:last], coarse[side][first:last] = _coarse(lists, rows[first:last] - start)
        if last > first and places is not None and pair.labels is not None:
            mine = rows[first:last] - start
            order = np.argsort(-_probabilities(of_teacher)[1][mine], axis=1, kind="stable")
            hit = np.take_along_axis(ids[mine], order, axis=1) == pair.labels[rows[first:last], None]
            places[first:last] = np.where(hit.any(axis=1), hit.argmax(axis=1), k)
        start = part.stop
    sample = Predictions(coarse["teacher"], coarse["student"], places, rows if pair.ids is None else pair.ids[rows], pair.split,
                         coarse.get("twin"), groups=None if pair.groups is None else pair.groups[rows])  # fmt: skip
    return sample, rows, _all_columns(arrays, pair), arrays["student"]


def _lists(of_teacher: NDArray, of_student: NDArray, start: int, topk: TopK) -> Lists:
    log_teacher, teacher = _probabilities(of_teacher)
    log_student, student = _probabilities(of_student)
    known = None
    unknown = np.isnan(student)
    if unknown.any():
        known = ~unknown
        student[unknown], log_student[unknown] = 0, -np.inf
    for probs, matrix in ((teacher, topk.teacher), (student, topk.student)):
        mass = probs.sum(axis=1)
        bad = np.flatnonzero(~(mass <= 1 + _SLACK) | ~np.isfinite(mass))
        if len(bad):
            raise problem(
                matrix.where or "top-k", "natural log-probabilities, whose list sums to at most 1",
                f"a sum of {mass[bad[0]]:.4g} in {row_list(bad + start)}",
                "subtract logsumexp over the whole vocabulary before taking the top k",
            )  # fmt: skip
    return Lists(log_teacher, teacher, log_student, student, teacher.argmax(axis=1), known)


def _probabilities(block: NDArray) -> tuple[NDArray, NDArray]:
    """(logs, probabilities), float32."""
    logs = block.astype(np.float32 if block.dtype.itemsize <= 4 else np.float64)
    with np.errstate(over="ignore"):
        return logs, np.exp(logs)


def _columns(ids: NDArray, lists: Lists, topk: TopK, labels: NDArray | None, part: slice) -> dict[str, NDArray]:
    rows = np.arange(len(ids))
    p, q, top = lists.teacher, lists.student, lists.top
    mass, student_mass = p.sum(axis=1), q.sum(axis=1)
    rest = np.maximum(1 - mass, 0)
    student_rest = np.maximum(1 - student_mass, 0)
    unknown = np.zeros(len(ids)) if lists.known is None else (p * ~lists.known).sum(axis=1)
    best = q.argmax(axis=1)
    if topk.student_top is not None:
        own = topk.student_top[part]
        agree, undecided = own == ids[rows, top], np.zeros(len(ids))
    else:
        own = ids[rows, best]
        undecided = q[rows, best] < student_rest
        agree = (best == top) & ~undecided
    weighed = np.where(q > 0, p, 0) if lists.known is None else p * lists.known
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.where((p > 0) | (q > 0), lists.log_teacher - lists.log_student, 0)
        finite_gap = np.where(np.isfinite(gap), gap, 0)
        forward = _event(rest + unknown, student_rest)
        kl = (weighed * finite_gap).sum(axis=1) + forward
        lost = (p * (q == 0)).sum(axis=1) if lists.known is None else (p * ((q == 0) & lists.known)).sum(axis=1)
        kl = np.where(lost > 0, np.inf, kl)
        reverse = -(q * finite_gap).sum(axis=1) + _event(student_rest, rest + unknown)
        entropy = -(p * np.where(p > 0, lists.log_teacher, 0)).sum(axis=1) - _xlogx(rest)
        x = _log_odds(lists.log_teacher, p, top, rows, rest)
        y = _log_odds(lists.log_student, q, top, rows, student_rest)
    out = {
        "x": x, "y": y, "agree": agree, "undecided": undecided, "kl": np.maximum(kl, 0),
        "reverse_kl": np.maximum(reverse, 0), "entropy": entropy, "beyond": 1 - p[rows, top], "teacher_mass": mass,
        "student_mass": student_mass, "unknown_mass": unknown, "confidence": q[rows, best],
        "nll": np.nan if topk.label_student is None else -topk.label_student[part],
    }  # fmt: skip
    has = labels is not None
    return out | {
        "teacher_right": ids[rows, top] == labels[part] if has else np.full(len(ids), np.nan),
        "student_right": own == labels[part] if has else np.full(len(ids), np.nan),
    }


def _log_odds(logs: NDArray, probs: NDArray, place: NDArray, rows: NDArray, rest: NDArray) -> NDArray:
    others = probs.copy()
    others[rows, place] = 0
    return logs[rows, place] - np.log(others.sum(axis=1) + rest)


def _event(p: NDArray, q: NDArray) -> NDArray:
    """p log(p/q) of the event "another token"; rest masses below rounding count as 0."""
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


def _all_columns(arrays: dict[str, dict[str, NDArray]], pair: Pair) -> dict[Callable, tuple]:
    """The student's columns; where there is a twin, its own and both side by side."""
    own = _as_columns(arrays["student"], pair)
    if "twin" not in arrays:
        return own
    columns = _as_columns(arrays["student"] | arrays["twin"], pair)
    twin = {function: found for function, found in columns.items() if function is not softness(1.0)}
    theirs = {on_twin(asking(f)).columns: columns for f, columns in twin.items()}
    both = {minus_twin(asking(f)).columns: (*own[f], *columns) for f, columns in twin.items()}
    return own | theirs | both


def _as_columns(arrays: dict[str, NDArray], pair: Pair) -> dict[Callable, tuple]:
    right = arrays["teacher_right"] == 1 if pair.labels is not None else np.zeros(pair.shape[0], bool)
    columns: dict[Callable, tuple] = {
        confidence: (arrays["x"], arrays["y"], right, np.zeros(pair.shape[0], bool)),
        choices: (arrays["x"], arrays["agree"], arrays["teacher_right"], arrays["student_right"]),
        forward_and_reverse: (arrays["kl"], arrays["reverse_kl"]),
        softness(1.0): (arrays["entropy"], arrays["beyond"]),
    }
    if pair.labels is not None:
        nothing = np.full(pair.shape[0], np.nan, np.float32)
        columns[scores] = (arrays["nll"], nothing, arrays["confidence"], arrays["student_right"])
    return columns
