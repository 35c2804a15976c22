"""Are the numbers what they are said to be, and does every row say something of its own?"""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from disobey.diagnosis.checks.findings import note, ok, warning
from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.intervals import share_of
from disobey.diagnosis.evidence.temperature import fitted
from disobey.errors import printable
from disobey.measures.deviation import confidence
from disobey.measures.inference.examples import share
from disobey.records.results import Finding

SEED_ROWS = 500  # rows on which seeds are compared with one another
ROUNDING = 2e-3  # by which half precision puts a probability below 0
CLEAR, CLEAR_ROWS = 0.4, 0.1  # by which a favourite exceeds an equal share, and the share of rows that have one
TEMPERED, SURELY_TEMPERED = (
    0.55,
    0.36,
)  # temperatures that fit a teacher to the labels: suspicious; only division does it
EQUAL_ROWS = 0.2  # share of equal rows from which two models are one
INFINITE_ROWS = 0.05  # share of infinite log-odds from which slopes are about too few examples
SATURATED, SATURATED_ROWS = 25.0, 0.2  # nats of log-odds: 1 − p below 1.4e-11; share of such rows
REPEATED_ROWS = 0.01  # share of repeated rows
CONSTANT_SPREAD = 1e-4  # standard deviation of a probability over examples below which an output is constant


def stated_values(evidence: Evidence) -> Finding | None:
    """Logits, log-probabilities or probabilities as detected; no second softmax, no division by a temperature."""
    if evidence.sparse is not None:
        return None
    id, kinds = "stated-values", evidence.pair.values
    stated = "; ".join(f"{name}: {kind}" for name, kind in kinds.items())
    for name, log_probs in _sides(evidence).items():
        twice = softmax_twice(log_probs)
        if np.mean(twice) > 0.99:
            flat = share_of(evidence, f"{name}: rows like that", twice)
            message = (
                f"{name}: a softmax was taken twice. Undone once, the rows still lie in [0, 1] and sum to 1, as "
                "probabilities do."
            )
            advice = (
                "Save the logits before the last softmax; check for a softmax inside the model and another outside."
            )
            return warning(id, message, flat, advice=advice, case="softmax-twice", invalidates=True)
    if evidence.labels is not None and evidence.pair.split != "train":  # what it was fitted to, it gets right anyway
        tempered = _tempered(evidence, id)
        if tempered is not None:
            return tempered
    if len(set(kinds.values())) > 1:
        message = f"The sides hold different kinds of values ({stated})."
        return note(id, message, advice="Correct if that is what was saved; otherwise give --values.", case="mixed")
    return ok(id, f"Read as {stated}.")


def softmax_twice(log_probs: NDArray) -> NDArray:
    """(N,) bool: rows whose numbers before the last softmax were probabilities themselves.

    The last softmax leaves its input up to a constant, and probabilities sum to 1: that fixes the constant. Raw logits
    of an undertrained student may span as little, but go below 0 then. Where all rows are nearly uniform anything looks
    like probabilities, so some must have a clear favourite.

    >>> p = np.array([[0.9, 0.1, 0.0]])
    >>> softmax_twice(log_softmax(p, axis=1)), softmax_twice(log_softmax(p + 1, axis=1))
    (array([ True]), array([ True]))
    >>> softmax_twice(log_softmax(np.array([[0.4, -0.5, 0.1]]), axis=1))
    array([False])
    """
    n, classes = log_probs.shape
    with np.errstate(invalid="ignore"):
        inside = log_probs - log_probs.mean(axis=1, keepdims=True) + 1 / classes
        rows = inside.min(axis=1) >= -ROUNDING  # never of infinite ones
    clear = rows & (inside.max(axis=1) > CLEAR + 1 / classes)
    return rows if classes > 2 and np.mean(clear) > CLEAR_ROWS else np.zeros(n, dtype=bool)


def _tempered(evidence: Evidence, id: str) -> Finding | None:
    """A teacher that is far more accurate than it is confident.

    Its logits were divided by a temperature, or its training labels were noisy, or it was trained for too short a time:
    all look alike from outside. A control (twin) that is as flat was made so by its training, and only from about
    T = 2.8 on is division the likelier cause (20% wrong labels of ten classes look like T = 2.2, a short training 2.4).
    """
    best = fitted(evidence, "labels", "teacher", level=0.99)
    if not best.known or best.high >= TEMPERED:
        return None
    flat = (
        f"The teacher's probabilities are far too flat for its accuracy: dividing its logits by "
        f"{best.value:.2f} fits the labels best"
    )
    if best.high >= SURELY_TEMPERED or _twin_as_flat(evidence, best.value):
        message = (
            f"{flat}. Wrong or smoothed training labels or a short training have this effect, and so has a temperature "
            f"of about {1 / best.value:.1f}."
        )
        advice = "Nothing, if the training explains it; otherwise save the logits without the temperature."
        return note(id, message, best, advice=advice, case="flat")
    message = f"{flat}, as if they had been divided by about {1 / best.value:.1f} before saving."
    advice = "Save the logits without the temperature, which belongs in the loss."
    return warning(id, message, best, advice=advice, case="tempered", invalidates=True)


def _twin_as_flat(evidence: Evidence, teacher: float) -> bool:
    """Whether the control (twin), too, fits the labels best after nearly the same division."""
    if evidence.sample.twin is None:
        return False
    twin = fitted(evidence, "labels", "twin", level=0.99)
    return bool(twin.known and twin.value < 1.5 * teacher)


def _sides(evidence: Evidence) -> dict[str, NDArray]:
    """Log-probabilities on the sample by name: the teacher, every student and every control."""
    held = {**evidence.students, **evidence.twins}
    return {"teacher": evidence.sample.teacher} | {printable(name, 40): array for name, array in held.items()}


def finite_values(evidence: Evidence) -> Finding:
    """Probabilities of exactly 0 and 1 have infinite log-odds: slopes and means leave such rows out. NaN is refused."""
    sides = [run.of(confidence)[:2] for run in evidence.each]
    x = sides[0][0]
    lost, id = ~np.all([np.isfinite(side) for pair in sides for side in pair], axis=0), "finite-values"
    infinite, observed = int(lost.sum()), share_of(evidence, "rows with infinite log-odds", lost)
    if infinite == 0:
        return ok(id, "All log-odds are finite.", observed)
    message = f"{infinite:,} of {len(x):,} rows have a probability of exactly 0 or 1; slopes and means leave them out."
    advice = "Save logits (or log-probabilities) instead of probabilities, in float32 or better."
    return (warning if observed.value > INFINITE_ROWS else note)(id, message, observed, advice=advice)


def saturated_rows(evidence: Evidence) -> Finding:
    """Rows whose whole probability is on one class, to within rounding, teach no more than a label."""
    x, id = evidence.of(confidence)[0], "saturated-rows"
    observed = share_of(evidence, "saturated teacher rows", x > SATURATED)
    if observed.value <= SATURATED_ROWS:
        return ok(id, f"{observed.value:.1%} of the teacher's rows are saturated.", observed)
    message = f"In {observed.value:.1%} of the teacher's rows all but 1e-11 of the probability is on one class."
    advice = "Were scores multiplied before saving, or does the teacher interpolate these very examples?"
    return warning(id, message, observed, advice=advice)


def constant_rows(evidence: Evidence) -> Finding:
    """A model whose output does not depend on the input."""
    id = "constant-rows"
    varied = len(np.unique(evidence.sample.teacher.argmax(axis=1))) > 1 and evidence.sparse is None
    for name, log_probs in _sides(evidence).items():
        spread = float(np.exp(log_probs).std(axis=0).max())
        if spread < CONSTANT_SPREAD:
            message = f"The {name} gives every example the same probabilities (standard deviation {spread:.1e})."
            advice = "Does it get the same batch again, or a constant?"
            return warning(id, message, advice=advice, case="probabilities", invalidates=True)
        if varied and len(log_probs) >= 30 and len(np.unique(log_probs.argmax(axis=1))) == 1:
            message = f"The {name} predicts the same class for every example, and the teacher does not."
            advice = "Has it collapsed? Lower the learning rate."
            return warning(id, message, advice=advice, case="class", invalidates=True)
    return ok(id, "Outputs vary with the examples.")


def duplicated_rows(evidence: Evidence) -> Finding | None:
    """The same example counted several times: teacher and student both repeat a row exactly.

    Not for language models: the same few tokens before a position are nothing unusual there.
    """
    if evidence.sparse is not None:
        return None
    sample, id = evidence.sample, "duplicated-rows"
    rows = np.concatenate([sample.teacher, sample.student], axis=1).astype(np.float32) + 0.0
    keys = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    again = int((counts - 1).sum())
    observed = share("repeated rows", again, len(rows), evidence.level)
    if observed.value <= REPEATED_ROWS:
        return ok(id, f"{again:,} of {len(rows):,} rows are the same as another one in both models.", observed)
    worst = np.argsort(-counts)[:3]
    numbers = ", ".join(f"{int(evidence.rows[first[i]]):,} ({int(counts[i])} times)" for i in worst)
    message = f"{again:,} of {len(rows):,} rows repeat another row of both models exactly; most often rows {numbers}."
    advice = "Remove repeated examples: intervals treat them as independent. Is it padding of the last batch?"
    return warning(id, message, observed, advice=advice)


PAIRS = (
    ("student", "teacher", "a copy of the teacher", "Was the teacher's output saved twice?"),
    ("student", "twin", "its control (twin), which must be another model", "Train the twin from another seed."),
    ("twin", "teacher", "the teacher in the control's place", "The control (twin) is trained without the teacher."),
)


def identical_models(evidence: Evidence) -> Finding:
    """The student's rows are the teacher's own (a leak), or the twin's, or two seeds are one model."""
    id = "identical-models"
    for run, (a, b, what, advice) in product(evidence.each, PAIRS):
        first, second = getattr(run.sample, a), getattr(run.sample, b)
        if first is None or second is None:
            continue
        equal = same_rows(first, second)
        observed = share_of(evidence, f"rows where {a} = {b}", equal)
        if observed.value > EQUAL_ROWS:
            message = f"In {observed.value:.1%} of the rows the {a} equals the {b} to rounding: the {a} is {what}."
            return warning(id, message, observed, advice=advice, case=f"{a}-{b}", invalidates=True)
        factor = one_factor(first[:SEED_ROWS], second[:SEED_ROWS])
        if factor is not None:
            message = (
                f"The {a} equals the {b} at another temperature, its logits times {factor:.3g}: the {a} is {what}."
            )
            return warning(id, message, advice=advice, case=f"{a}-{b}-scaled", invalidates=True)
    return _identical_seeds(evidence, id) or ok(id, "The models differ in their rows.")


def _identical_seeds(evidence: Evidence, id: str) -> Finding | None:
    for kind, held in (("student", evidence.students), ("twin", evidence.twins)):
        for (a, first), (b, second) in combinations(held.items(), 2):
            if same_rows(first[:SEED_ROWS], second[:SEED_ROWS]).mean() > EQUAL_ROWS:
                message = (
                    f"{printable(a, 40)} and {printable(b, 40)} are one model: "
                    "seeds that do not differ show no seed variation."
                )
                advice = f"Was one {kind} saved under two names, or the seed never set?"
                return warning(id, message, advice=advice, case="seeds", invalidates=True)
    return None


def one_factor(a: NDArray, b: NDArray) -> float | None:
    """The factor of b's log-probabilities (N, C) that gives a's in nine rows of ten, to rounding; None without one."""
    usable = (np.minimum(a, b) > -50).all(axis=1)
    if usable.sum() < 20:
        return None
    a, b = a[usable].astype(np.float64), b[usable].astype(np.float64)
    left, right = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    factor = float((left * right).sum() / max((right * right).sum(), 1e-300))
    return factor if same_rows(log_softmax(factor * b, axis=1), a).mean() > 0.9 else None


def same_rows(a: NDArray, b: NDArray) -> NDArray:
    """(N,) bool: log-probabilities equal up to half precision, over all classes together."""
    a, b = np.maximum(a, -50), np.maximum(b, -50)
    return np.abs(a - b).mean(axis=1) <= 5e-4 * (1 + np.abs(a).mean(axis=1))
