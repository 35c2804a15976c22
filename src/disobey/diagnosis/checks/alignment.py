"""Do teacher, student and labels speak of the same rows and the same classes?

A distillation run with shuffled rows or permuted classes raises no error; it trains on nonsense. These checks look at
most likely classes only, so they see all examples of a pair of any size. Thresholds are in standard errors of what a
pair without the fault gives; docs/diagnose.md has how often each check is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.input.pair import class_name
from disobey.errors import printable
from disobey.measures.inference.examples import share
from disobey.records.results import Estimate, Finding

BLOCKS = 20  # consecutive parts in which rows are compared
MATCHED_CLASSES = 2_000  # classes up to which a permutation is searched for


def row_alignment(evidence: Evidence) -> Finding | None:
    """Teacher and student agree more on their common rows than on shuffled ones, everywhere in the file."""
    return _first_warning(
        _rows_of_two(evidence, a, b, "row alignment", who) for who, a, b in _models(evidence, "student")
    )


def twin_alignment(evidence: Evidence) -> Finding | None:
    """The same for the twin: any student is closer to its teacher than a twin whose rows are others."""
    return _first_warning(
        _rows_of_two(evidence, a, b, "twin alignment", who) for who, a, b in _models(evidence, "twin")
    )


def _models(evidence: Evidence, side: str) -> Iterator[tuple[str, NDArray, NDArray]]:
    """(name, the teacher's choices, the model's) of the student and its seeds, or of the twin and its own.

    The first of them over all examples, the others on the rows that `Evidence` holds.
    """
    if side not in evidence.tops:
        return
    held = evidence.students if side == "student" else evidence.twins
    names = list(held)
    yield names[0] if len(names) > 1 else side, evidence.tops["teacher"], evidence.tops[side]
    for name in names[1:]:
        yield printable(name, 40), evidence.tops["teacher"][evidence.rows], held[name].argmax(axis=1)


def _first_warning(findings: Iterable[Finding]) -> Finding | None:
    """The first that warns, else the first."""
    every = list(findings)
    return next((f for f in every if f.status == "warning"), every[0] if every else None)


def label_alignment(evidence: Evidence) -> Finding | None:
    """The same for teacher and labels: labels may come from another order than the predictions."""
    labels = evidence.pair.labels
    if labels is None or "teacher" not in evidence.tops:
        return None
    return _rows_of_two(evidence, evidence.tops["teacher"], labels, "label alignment", "labels")


def _rows_of_two(evidence: Evidence, a: NDArray, b: NDArray, name: str, other: str) -> Finding:
    n, level = len(a), evidence.level
    seen, chance = share(f"teacher and {other} agree", float((a == b).sum()), n, level), chance_agreement(a, b)
    evidences = (seen, Estimate("on shuffled rows", chance, np.nan, np.nan, level, n, "examples"))
    error = np.sqrt(chance * (1 - chance) / n)
    if n < 30 or possible_agreement(a, b) - chance < 4 * error or chance > 1 - 1e-9:
        message = "Too few rows, or one class for nearly all of them: aligned and shuffled rows look the same."
        return Finding(name, "note", message, evidences)
    shift, shifted = best_shift(a, b)
    if shift and (shifted - seen.value) / np.sqrt(seen.value * (1 - seen.value) / n + error**2) > 6:
        message = (
            f"Teacher and {other} agree on {seen.value:.1%} of the rows as they stand, and on {shifted:.1%} when "
            f"{other} {'are' if other == 'labels' else 'is'} moved by {shift:+,} rows."
        )
        advice = f"Move {other} by {shift:+,} rows; look for a dropped first batch or a header read as a row."
        return Finding(name, "warning", message, evidences, advice)
    if (seen.value - chance) / error < 4:
        message = (
            f"Teacher and {other} agree on {seen.value:.1%} of the rows; shuffled rows would give {chance:.1%}. "
            "Row by row they have nothing in common."
        )
        advice = "Check that both were saved in the same order (a shuffling loader?), or give ids to join rows by."
        return Finding(name, "warning", message, evidences, advice)
    broken = broken_blocks(a, b)
    if broken:
        first, last = broken[0][0], broken[-1][1]
        message = f"Teacher and {other} agree in the file except in rows {first:,} to {last:,}, where they do not."
        advice = "Look at how these rows were saved: a shard in another order, a failed worker, two runs joined?"
        return Finding(name, "warning", message, evidences, advice)
    message = f"Rows correspond: {seen.value:.1%} agreement, {chance:.1%} on shuffled rows."
    return Finding(name, "ok", message, evidences)


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
        if len(x) < 30:
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
    return _orders(evidence, "student", "class order")


def twin_class_order(evidence: Evidence) -> Finding | None:
    """No reordering of the twin's classes would make it agree better with the teacher."""
    return _orders(evidence, "twin", "twin class order")


def _orders(evidence: Evidence, side: str, name: str) -> Finding | None:
    advice = "Compare the label maps (id2label) of both models."
    return _first_warning(
        _order_of_two(evidence, a, b, name, f"teacher and {who}", f"{who}'s", advice)
        for who, a, b in _models(evidence, side)
    )


def label_order(evidence: Evidence) -> Finding | None:
    """No renumbering of the labels (off by one, another map) would make the teacher more accurate."""
    labels = evidence.pair.labels
    if labels is None or "teacher" not in evidence.tops:
        return None
    what = ("label order", "teacher and labels", "labels'", "Compare the data's class list with the model's label map.")
    return _order_of_two(evidence, evidence.tops["teacher"], labels, *what)


def _order_of_two(evidence: Evidence, a: NDArray, b: NDArray, name: str, who: str, whose: str, advice: str) -> Finding:
    classes, n, level = evidence.pair.shape[1], len(a), evidence.level
    seen = share(f"{who} agree", float((a == b).sum()), n, level)
    if classes > MATCHED_CLASSES:
        return Finding(name, "note", f"{classes:,} classes are too many to search for a permutation.", (seen,))
    half = np.random.default_rng(evidence.seed).random(n) < 0.5
    order = matched_classes(a[half], b[half], classes)
    x, y = a[~half], b[~half]
    gain = (order[y] == x).astype(float) - (y == x)
    error = max(float(gain.std()), 1 / np.sqrt(max(1, len(x)))) / np.sqrt(max(1, len(x)))
    if gain.mean() > 4 * error:
        moved = np.flatnonzero(order != np.arange(classes))
        if len(np.unique((order[moved] - moved) % classes)) == 1 and len(moved) == classes:
            how = f"all numbers are shifted by {int((order[moved[0]] - moved[0]) % classes)}"
        else:
            pairs = [
                f"{class_name(evidence.pair, int(c))} → {class_name(evidence.pair, int(order[c]))}" for c in moved[:6]
            ]
            how = f"{len(moved)} classes differ: " + ", ".join(pairs) + (" …" if len(moved) > 6 else "")
        better = share("after matching classes", float((order[y] == x).sum()), len(x), level)
        message = (
            f"Renumbering the {whose} classes raises agreement from {seen.value:.1%} to {better.value:.1%} "
            f"on the half of the rows that was not used to find the numbering; {how}."
        )
        return Finding(name, "warning", message, (seen, better), advice)
    return Finding(name, "ok", f"No renumbering makes {who} agree better.", (seen,))


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
    _, columns = linear_sum_assignment(np.where(unseen & ~np.eye(classes, dtype=bool), -1e-3, score), maximize=True)
    return columns
