"""Are the numbers what they are said to be, and does every row say something of its own?"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.temperature import fitted as fitted_to
from disobey.errors import printable
from disobey.measures.deviation import confidence
from disobey.measures.inference.examples import share
from disobey.records.results import Finding

SEED_ROWS = 500  # rows on which seeds are compared with one another
FLAT = 1.02  # nats: within a row, log of softmax(softmax(z)) spans at most 1


def stated_values(evidence: Evidence) -> Finding | None:
    """Logits, log-probabilities or probabilities, as detected; softmax taken twice, or values tempered."""
    if evidence.sparse is not None:
        return None
    kinds = evidence.pair.values
    told = "; ".join(f"{name}: {kind}" for name, kind in kinds.items())
    for name, log_probs in _sides(evidence).items():
        finite = np.where(np.isfinite(log_probs), log_probs, np.nan)
        span = np.nanmax(finite, axis=1) - np.nanmin(finite, axis=1)
        if np.mean(span <= FLAT) > 0.99 and span.max() > 0.05 and evidence.sample.n_classes > 2:
            flat = share(f"{name}: rows within {FLAT:g} nats", float((span <= FLAT).sum()), len(span), evidence.level)
            message = (
                f"Every class of a row has nearly the same probability in {name} (at most a factor e between them), "
                "as after a softmax of probabilities."
            )
            advice = (
                "Save the logits before the last softmax; check for a softmax inside the model and another outside."
            )
            return Finding("stated values", "warning", message, (flat,), advice)
    if evidence.labels is not None and evidence.pair.split != "train":  # what it was fitted to, it gets right anyway
        tempered = _tempered(evidence)
        if tempered is not None:
            return tempered
    if len({kind for name, kind in kinds.items()}) > 1:
        return Finding(
            "stated values",
            "note",
            f"The sides hold different kinds of values ({told}).",
            (),
            "Correct if that is what was saved; else give --values.",
        )
    return Finding("stated values", "ok", f"Read as {told}.")


def _tempered(evidence: Evidence) -> Finding | None:
    """A model that is right far more often than it says: its logits were divided, or its training labels were noisy, or it is underfit.

    All look alike from outside. A twin that is as flat was made so by its training, and only from about T = 2.8 on is
    division the likelier cause (20 % wrong labels of ten classes look like T = 2.2, a short training like 2.4).
    """
    fitted = fitted_to(evidence, "labels", "teacher", level=0.99)
    if not fitted.known or fitted.high >= 0.55:
        return None
    flat = (
        f"The teacher's probabilities are far too flat for how often it is right: dividing its logits by "
        f"{fitted.value:.2f} fits the labels best"
    )
    if fitted.high >= 0.36 or _twin_as_flat(evidence, fitted.value):
        message = f"{flat}. Wrong or smoothed training labels or short training do that, and so does a temperature of about {1 / fitted.value:.1f}."
        advice = "Nothing to mend where training explains it; else save the logits without the temperature."
        return Finding("stated values", "note", message, (fitted,), advice)
    message = f"{flat}, as if they had been divided by about {1 / fitted.value:.1f} before saving."
    advice = "Save the logits without the temperature; temperature belongs in the loss."
    return Finding("stated values", "warning", message, (fitted,), advice)


def _twin_as_flat(evidence: Evidence, teacher: float) -> bool:
    """Would the twin, too, fit the labels best after nearly the same division?"""
    if evidence.sample.twin is None:
        return False
    twin = fitted_to(evidence, "labels", "twin", level=0.99)
    return bool(twin.known and twin.value < 1.5 * teacher)


def _sides(evidence: Evidence) -> dict[str, NDArray]:
    sample = evidence.sample
    sides = {"teacher": sample.teacher, "student": sample.student}
    return sides if sample.twin is None else {**sides, "twin": sample.twin}


def finite_values(evidence: Evidence) -> Finding:
    """Probabilities of exactly 0 and 1 have infinite log-odds: they leave slopes and means. (NaN is refused.)"""
    x, y = evidence.of(confidence)[:2]
    infinite = int((~(np.isfinite(x) & np.isfinite(y))).sum())
    seen = share("rows with infinite log-odds", infinite, len(x), evidence.level)
    if infinite == 0:
        return Finding("finite values", "ok", "All log-odds are finite.", (seen,))
    status = "warning" if seen.value > 0.05 else "note"
    message = f"{infinite:,} of {len(x):,} rows have a probability of exactly 0 or 1; slopes and means leave them out."
    advice = "Save logits (or log-probabilities) instead of probabilities, in float32 or better."
    return Finding("finite values", status, message, (seen,), advice)


def saturated_rows(evidence: Evidence) -> Finding:
    """Rows whose whole probability sits on one class to within rounding teach no more than a label."""
    x = evidence.of(confidence)[0]
    saturated = float((x > 25).sum())  # 1 − p below 1.4e-11
    seen = share("saturated teacher rows", saturated, len(x), evidence.level)
    if seen.value <= 0.2:
        return Finding("saturated rows", "ok", f"{seen.value:.1%} of the teacher's rows are saturated.", (seen,))
    message = f"{seen.value:.1%} of the teacher's rows put all but 1e-11 of the probability on one class."
    advice = "Were scores scaled before saving, or is the teacher interpolating these very examples?"
    return Finding("saturated rows", "warning", message, (seen,), advice)


def constant_rows(evidence: Evidence) -> Finding:
    """A model whose output does not depend on the input."""
    for name, log_probs in _sides(evidence).items():
        probs = np.exp(log_probs)
        spread = float(probs.std(axis=0).max())
        one_class = len(np.unique(log_probs.argmax(axis=1))) == 1 and len(log_probs) >= 30
        if spread < 1e-4:
            message = f"The {name} gives every example the same probabilities (spread {spread:.1e})."
            return Finding("constant rows", "warning", message, (), "Is it fed the same batch, or a constant?")
        varied = len(np.unique(evidence.sample.teacher.argmax(axis=1))) > 1 and evidence.sparse is None
        if one_class and varied:
            message = f"The {name} chooses the same class for every example, where the teacher does not."
            return Finding("constant rows", "warning", message, (), "A collapsed model: lower the learning rate?")
    return Finding("constant rows", "ok", "Outputs vary with the examples.")


def duplicated_rows(evidence: Evidence) -> Finding | None:
    """The same example counted several times: teacher and student both repeat a row exactly.

    Not for language models: the same few tokens before a position are nothing unusual there.
    """
    if evidence.sparse is not None:
        return None
    sample = evidence.sample
    rows = np.concatenate([sample.teacher, sample.student], axis=1).astype(np.float32) + 0.0
    keys = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    again = int((counts - 1).sum())
    seen = share("repeated rows", again, len(rows), evidence.level)
    if seen.value <= 0.01:
        return Finding("duplicated rows", "ok", f"{again:,} rows repeat another one on both sides.", (seen,))
    worst = np.argsort(-counts)[:3]
    numbers = ", ".join(f"{int(evidence.rows[first[i]]):,} ({int(counts[i])} times)" for i in worst)
    message = f"{again:,} of {len(rows):,} rows repeat another row of both models exactly; most often rows {numbers}."
    advice = "Remove repeated examples: intervals treat them as independent. Padding of the last batch?"
    return Finding("duplicated rows", "warning", message, (seen,), advice)


def identical_models(evidence: Evidence) -> Finding:
    """The student's rows are the teacher's own (a leak), or the twin's, or two seeds are one."""
    sample = evidence.sample
    for a, b, what, hint in (
        ("student", "teacher", "a copy of the teacher", "Was the teacher's output saved twice?"),
        ("student", "twin", "its twin: the control is not another model", "Train the twin from another seed."),
        ("twin", "teacher", "the teacher in the twin's place", "The twin is trained without the teacher."),
    ):
        first, second = getattr(sample, a), getattr(sample, b)
        if first is None or second is None:
            continue
        equal = same_rows(first, second)
        seen = share(f"rows where {a} = {b}", float(equal.sum()), len(equal), evidence.level)
        if seen.value > 0.2:
            message = f"In {seen.value:.1%} of the rows the {a} equals the {b} to rounding: the {a} is {what}."
            return Finding("identical models", "warning", message, (seen,), hint)
        factor = one_factor(first[:SEED_ROWS], second[:SEED_ROWS])
        if factor is not None:
            message = (
                f"The {a} equals the {b} at another temperature, its logits times {factor:.3g}: the {a} is {what}."
            )
            return Finding("identical models", "warning", message, (), hint)
    for kind, held in (("student", evidence.students), ("twin", evidence.twins)):
        for (a, first), (b, second) in combinations(held.items(), 2):
            if same_rows(first[:SEED_ROWS], second[:SEED_ROWS]).mean() > 0.2:
                message = f"{printable(a, 40)} and {printable(b, 40)} are one model: seeds that do not differ show nothing over seeds."
                hint = f"Was one {kind} saved under two names, or the seed never set?"
                return Finding("identical models", "warning", message, (), hint)
    return Finding("identical models", "ok", "The models differ in their rows.")


def one_factor(a: NDArray, b: NDArray) -> float | None:
    """The factor of b's log-probabilities (N, C) that gives a's in nine rows of ten, to rounding; None where none does."""
    told = (np.minimum(a, b) > -50).all(axis=1)
    if told.sum() < 20:
        return None
    a, b = a[told].astype(np.float64), b[told].astype(np.float64)
    left, right = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    factor = float((left * right).sum() / max((right * right).sum(), 1e-300))
    return factor if same_rows(log_softmax(factor * b, axis=1), a).mean() > 0.9 else None


def same_rows(a: NDArray, b: NDArray) -> NDArray:
    """(N,) bool: log-probabilities equal up to half precision, over all classes together."""
    a, b = np.maximum(a, -50), np.maximum(b, -50)
    return np.abs(a - b).mean(axis=1) <= 5e-4 * (1 + np.abs(a).mean(axis=1))
