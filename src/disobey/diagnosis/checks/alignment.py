"""Do teacher, student and labels speak of the same rows and the same classes?

A distillation run with shuffled rows or permuted classes raises no error; it trains on nonsense. These checks read only
the most likely classes, so they use all examples of a pair of any size. Thresholds are in standard errors of what a
pair without the fault gives; docs/guides/diagnose-validation.md says how often each check is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.checks.findings import note, ok, warning
from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.intervals import share_of
from disobey.diagnosis.input.pair import class_name
from disobey.errors import printable
from disobey.measures.inference.examples import share
from disobey.records.results import Estimate, Finding

FEWEST_ROWS = 30  # below which no order of rows can be told from another
BLOCKS = 20  # consecutive parts in which rows are compared
MATCHED_CLASSES = 2_000  # classes up to which a permutation is searched for
SHIFT_ERRORS = 6  # standard errors by which a shift must agree better
CHANCE_ERRORS = 4  # standard errors above shuffled rows that corresponding rows must have
NAMED_CLASSES = 6  # classes of a permutation that a message lists


def row_alignment(evidence: Evidence) -> Finding | None:
    """Teacher and student agree more on their common rows than on shuffled ones, everywhere in the file."""
    return _first_warning(
        _rows_of_two(evidence, a, b, "row-alignment", who) for who, a, b in _models(evidence, "student")
    )


def twin_alignment(evidence: Evidence) -> Finding | None:
    """The same for the control (twin): beside a control in another order any student looks close to its teacher."""
    return _first_warning(
        _rows_of_two(evidence, a, b, "twin-alignment", who) for who, a, b in _models(evidence, "twin")
    )


def _models(evidence: Evidence, side: str) -> Iterator[tuple[str, NDArray, NDArray]]:
    """(name, the teacher's choices, the model's) of the student and its seeds, or of the twin and its own.

    The first of them over all examples, the others on the rows that `Evidence` holds. Of the checkpoints of one run
    only the first, the last of training: the others answer the same rows, and the early ones agree with nobody.
    """
    if side not in evidence.tops:
        return
    held = evidence.students if side == "student" else evidence.twins
    names = list(held)
    yield names[0] if len(names) > 1 else side, evidence.tops["teacher"], evidence.tops[side]
    for name in names[1:] if evidence.runs else ():
        yield printable(name, 40), evidence.tops["teacher"][evidence.rows], held[name].argmax(axis=1)


def _first_warning(findings: Iterable[Finding]) -> Finding | None:
    """The first that warns, else the first."""
    every = list(findings)
    return next((f for f in every if f.status == "warning"), every[0] if every else None)


def label_alignment(evidence: Evidence) -> Finding | None:
    """The same for teacher and labels: labels may be in another order than the predictions."""
    labels = evidence.pair.labels
    if labels is None or "teacher" not in evidence.tops:
        return None
    return _rows_of_two(evidence, evidence.tops["teacher"], labels, "label-alignment", "labels")


def _rows_of_two(evidence: Evidence, a: NDArray, b: NDArray, id: str, other: str) -> Finding:
    n, level = len(a), evidence.level
    observed = share_of(evidence, f"teacher and {other} agree", a == b)
    chance = chance_agreement(a, b)
    shown = (observed, Estimate("on shuffled rows", chance, np.nan, np.nan, level, n, "examples"))
    error = np.sqrt(chance * (1 - chance) / n)
    if n < FEWEST_ROWS or possible_agreement(a, b) - chance < CHANCE_ERRORS * error or chance > 1 - 1e-9:
        message = "Too few rows, or one class for nearly all of them: aligned and shuffled rows look the same."
        return note(id, message, *shown, case="undecidable")
    shift, shifted = best_shift(a, b)
    if shift and (shifted - observed.value) / np.sqrt(_variance(observed.value, n) + error**2) > SHIFT_ERRORS:
        verb = "are" if other == "labels" else "is"
        message = (
            f"Teacher and {other} agree on {observed.value:.1%} of the rows as they stand, and on {shifted:.1%} if "
            f"{other} {verb} moved by {shift:+,} rows."
        )
        advice = f"Move {other} by {shift:+,} rows; look for a dropped first batch or a header read as a row."
        return warning(id, message, *shown, advice=advice, case="shifted", invalidates=True)
    if (observed.value - chance) / error < CHANCE_ERRORS:
        message = (
            f"Teacher and {other} agree on {observed.value:.1%} of the rows; shuffled rows would give {chance:.1%}. "
            "The rows do not correspond."
        )
        advice = "Check that both were saved in the same order (a shuffling loader?), or save ids to join rows by."
        return warning(id, message, *shown, advice=advice, case="shuffled", invalidates=True)
    broken = broken_blocks(a, b)
    if broken:
        first, last = broken[0][0], broken[-1][1]
        message = f"Teacher and {other} agree in the file, except in rows {first:,} to {last:,}."
        advice = "Check how these rows were saved: a shard in another order, a failed worker, two runs in one file?"
        return warning(id, message, *shown, advice=advice, case="broken-block", invalidates=True)
    return ok(id, f"Rows correspond: {observed.value:.1%} agreement, {chance:.1%} on shuffled rows.", *shown)


def _variance(share: float, n: int) -> float:
    return share * (1 - share) / n


def chance_agreement(a: NDArray, b: NDArray) -> float:
    """Expected agreement of two columns of classes once one of them is shuffled.

    >>> chance_agreement(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
    0.5
    """
    top = int(max(a.max(), b.max())) + 1
    return float(np.bincount(a, minlength=top) @ np.bincount(b, minlength=top) / len(a) ** 2)


def possible_agreement(a: NDArray, b: NDArray) -> float:
    """The highest agreement that any order of the rows of b could have with a.

    >>> possible_agreement(np.array([0, 0, 1]), np.array([1, 1, 0]))
    0.6666666666666666
    """
    top = int(max(a.max(), b.max())) + 1
    return float(np.minimum(np.bincount(a, minlength=top), np.bincount(b, minlength=top)).sum() / len(a))


def best_shift(a: NDArray, b: NDArray, projections: int = 8) -> tuple[int, float]:
    """(k, agreement) of the cyclic shift with the highest agreement of a[i] and b[i + k]; (0, 0) where none leads.

    Classes become signs, half of them of each, so that one Fourier transform a projection finds all shifts in N log N.
    The more rows, the clearer the lead, and the fewer projections are needed.

    >>> a = np.random.default_rng(0).integers(10, size=500)
    >>> best_shift(a, np.roll(a, 3))
    (-3, 1.0)
    """
    n, classes = len(a), int(max(a.max(), b.max())) + 1
    rng = np.random.default_rng(0)
    score = np.zeros(n)
    for _ in range(min(projections, max(2, 2**21 // n))):
        signs = rng.permutation(np.resize(np.array([-1, 1], np.float32), classes))
        first, second = (np.fft.rfft(signs[rows] - signs[rows].mean()) for rows in (a, b))
        score += np.fft.irfft(np.conj(first) * second, n)
    best = int(score.argmax())
    if best == 0:
        return 0, 0.0
    shift = best if best <= n // 2 else best - n
    return -shift, float((a == np.roll(b, -best)).mean())


def broken_blocks(a: NDArray, b: NDArray) -> list[tuple[int, int]]:
    """Consecutive parts that agree no more than if shuffled inside, in a file that otherwise agrees."""
    n = len(a)
    chance = chance_agreement(a, b)
    excess = ((a == b).mean() - chance) / (1 - chance)
    found = []
    for start, stop in zip(*(np.linspace(0, n, BLOCKS + 1).astype(int)[k : BLOCKS + k] for k in (0, 1)), strict=True):
        x, y = a[start:stop], b[start:stop]
        if len(x) < FEWEST_ROWS:
            continue
        own = chance_agreement(x, y)
        # In a file sorted by class a part may hold one label only: no order of its rows can agree better.
        expected = own + excess * (possible_agreement(x, y) - own)
        error = np.sqrt(max(own * (1 - own), 1 / len(x)) / len(x))
        agree = float((x == y).mean())
        if expected - agree > 5 * error and agree - own < 3 * error:
            found.append((int(start), int(stop - 1)))
    return found


def class_order(evidence: Evidence) -> Finding | None:
    """No reordering of the student's classes would make it agree better with its teacher."""
    return _orders(evidence, "student", "class-order")


def twin_class_order(evidence: Evidence) -> Finding | None:
    """No reordering of the control's classes would make it agree better with the teacher."""
    return _orders(evidence, "twin", "twin-class-order")


def _orders(evidence: Evidence, side: str, id: str) -> Finding | None:
    advice = "Compare the label maps (id2label) of both models."
    return _first_warning(
        _order_of_two(evidence, a, b, id, f"teacher and {who}", f"{who}'s", advice)
        for who, a, b in _models(evidence, side)
    )


def label_order(evidence: Evidence) -> Finding | None:
    """No renumbering of the labels (off by one, another map) would make the teacher more accurate."""
    labels = evidence.pair.labels
    if labels is None or "teacher" not in evidence.tops:
        return None
    advice = "Compare the data's class list with the model's label map."
    return _order_of_two(
        evidence, evidence.tops["teacher"], labels, "label-order", "teacher and labels", "labels'", advice
    )


def _order_of_two(evidence: Evidence, a: NDArray, b: NDArray, id: str, who: str, whose: str, advice: str) -> Finding:
    classes, n, level = evidence.pair.shape[1], len(a), evidence.level
    observed = share_of(evidence, f"{who} agree", a == b)
    if classes > MATCHED_CLASSES:
        return note(id, f"{classes:,} classes are too many to search for a permutation.", observed, case="many-classes")
    half = np.random.default_rng(evidence.seed).random(n) < 0.5
    order = matched_classes(a[half], b[half], classes)
    x, y = a[~half], b[~half]
    gain = (order[y] == x).astype(float) - (y == x)
    error = max(float(gain.std()), 1 / np.sqrt(max(1, len(x)))) / np.sqrt(max(1, len(x)))
    if gain.mean() <= CHANCE_ERRORS * error:
        return ok(id, f"No renumbering of classes makes {who} agree better.", observed)
    better = share("after matching classes", float((order[y] == x).sum()), len(x), level)
    message = (
        f"Renumbering the {whose} classes raises agreement from {observed.value:.1%} to {better.value:.1%} "
        f"on the half of the rows that was not used to find the numbering; {_renumbering(evidence, order)}."
    )
    return warning(id, message, observed, better, advice=advice, invalidates=True)


def _renumbering(evidence: Evidence, order: NDArray) -> str:
    """How an order (C,) of classes differs from 0, 1, 2, …, in words."""
    classes = len(order)
    moved = np.flatnonzero(order != np.arange(classes))
    shifts = np.unique((order[moved] - moved) % classes)
    if len(shifts) == 1 and len(moved) == classes:
        return f"all numbers are shifted by {int(shifts[0])}"
    pairs = [
        f"{class_name(evidence.pair, int(c))} → {class_name(evidence.pair, int(order[c]))}"
        for c in moved[:NAMED_CLASSES]
    ]
    return f"{len(moved)} classes differ: " + ", ".join(pairs) + (" …" if len(moved) > NAMED_CLASSES else "")


def matched_classes(a: NDArray, b: NDArray, classes: int) -> NDArray:
    """(C,): for each class of b, the class of a that it goes with (Kuhn–Munkres on the counts, ties to itself).

    >>> matched_classes(np.array([0, 1, 2, 0]), np.array([1, 2, 0, 1]), 3)
    array([2, 0, 1])
    """
    counts = np.bincount(b.astype(np.int64) * classes + a, minlength=classes * classes).reshape(classes, classes)
    # Counts above what independence would give, so that a frequent class does not draw every rare one.
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / max(1, counts.sum())
    score = counts - expected + 1e-6 * np.eye(classes)
    unseen = np.minimum(counts.sum(axis=1)[:, None], counts.sum(axis=0)[None, :]) == 0
    score = np.where(unseen & ~np.eye(classes, dtype=bool), -1e-3, score)
    if (np.diag(score) == score.max(axis=1)).all():  # every class goes best with itself: nothing to search
        return np.arange(classes)
    from scipy.optimize import linear_sum_assignment  # its import takes longer than all checks

    _, columns = linear_sum_assignment(score, maximize=True)
    return columns
