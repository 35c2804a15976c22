"""Do teacher and student mean what they say, and on the same scale?"""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.intervals import estimates
from disobey.diagnosis.evidence.temperature import fitted as fitted_to
from disobey.measures import calibration
from disobey.measures.inference.examples import share
from disobey.measures.inference.measure import on_teacher, on_twin
from disobey.measures.information import softness
from disobey.records.results import Estimate, Finding

IMPLAUSIBLE = 0.3  # confidence minus accuracy that no sound evaluation of a usable teacher shows
MISCALIBRATED = 0.15
NOTABLE = 0.05


def plausible_teacher(evidence: Evidence) -> Finding | None:
    """The teacher is about as right as it is sure; otherwise its evaluation went wrong, not its training."""
    gap = None if evidence.sparse else _gap(evidence, on_teacher(calibration.MEASURES["overconfidence"]))
    if gap is None:
        return None
    if gap.low > IMPLAUSIBLE:
        message = f"The teacher is {gap.value:.2f} surer than it is right: too far for a sound evaluation."
        advice = "Check input normalization, eval() mode (batch norm, dropout), the tokenizer and the label map."
        return Finding("plausible teacher", "warning", message, (gap,), advice)
    if gap.high < -IMPLAUSIBLE:
        message = f"The teacher is right {-gap.value:.2f} more often than it says."
        advice = "Were its logits divided by a temperature, averaged over views, or smoothed before saving?"
        twin = None if evidence.sample.twin is None else _gap(evidence, on_twin(calibration.MEASURES["overconfidence"]))
        if twin is not None and twin.value < gap.value / 2:  # it never saw the teacher: the training labels did it
            return Finding(
                "plausible teacher", "note", message + " So is its student's twin: were labels noisy?", (gap, twin)
            )
        return Finding("plausible teacher", "warning", message, (gap,), advice)
    return Finding("plausible teacher", "ok", f"Teacher's confidence minus accuracy: {gap.value:+.3f}.", (gap,))


def calibrated_student(evidence: Evidence) -> Finding | None:
    """Over- or under-confidence of the student, and the temperature that would take it away."""
    gap = _gap(evidence, calibration.MEASURES["overconfidence"])
    if gap is None:
        return None
    side = "over" if gap.value > 0 else "under"
    extent = min(abs(gap.low), abs(gap.high)) if gap.low * gap.high > 0 else 0.0
    if extent < NOTABLE:
        return Finding("calibrated student", "ok", f"Student's confidence minus accuracy: {gap.value:+.3f}.", (gap,))
    advice = "Rescale its logits by one temperature fitted on held-out labels; accuracy does not change."
    evidence_of: tuple[Estimate, ...] = (gap,)
    if evidence.sparse is None:
        fitted = fitted_to(evidence, "labels")
        if fitted.known:
            evidence_of, advice = (gap, fitted), f"Divide its logits by {fitted.value:.2f} (fitted to these labels)."
    message = f"The student is {side}-confident: confidence minus accuracy {gap.value:+.3f}."
    teacher = (
        None if evidence.sparse is not None else _gap(evidence, on_teacher(calibration.MEASURES["overconfidence"]))
    )
    if teacher is not None and teacher.value * gap.value > 0 and abs(teacher.value) > abs(gap.value) / 2:
        message += f" So is its teacher ({teacher.value:+.3f})"
        message += (
            ", as after noisy or smoothed training labels, or short training."
            if side == "under"
            else ": it may be inherited."
        )
        evidence_of = (*evidence_of, teacher)
    status = "warning" if extent > MISCALIBRATED else "note"
    return Finding("calibrated student", status, message, evidence_of, advice)


def _gap(evidence: Evidence, measure: calibration.Measure) -> Estimate | None:
    found = estimates(evidence, [measure], resamples=400).get(measure.name)
    return found if found is not None and found.known else None


def temperature_slip(evidence: Evidence) -> Finding | None:
    """The student's logits are on its teacher's scale: far off it, a T or T² was applied on one side only."""
    if evidence.sparse is not None:
        return None
    fitted = fitted_to(evidence, "teacher")
    if not fitted.known:
        return None
    t = evidence.temperature
    if fitted.high >= 0.5 and fitted.low <= 2:
        status, message = "ok", f"The student is on the teacher's scale: best temperature {fitted.value:.2f}."
        return Finding("temperature slip", status, message, (fitted,))
    if fitted.value < 1:
        message = (
            f"The student is much flatter than its teacher: its logits times {1 / fitted.value:.1f} come closest. "
            "A student that matches softened targets without softening itself ends up so."
        )
        advice = "Divide both sides by T inside the loss, and keep T out of the saved logits."
        if abs(np.log(fitted.value * t)) < 0.25:
            advice = f"The factor is near 1/T with T = {t:g}: the teacher was tempered, the student was not. " + advice
    else:
        message = (
            f"The student is much sharper than its teacher: its logits divided by {fitted.value:.1f} come closest."
        )
        advice = (
            "A missing T² (the soft term fades as 1/T² and the labels take over) or a mean over batch and classes "
            "(reduction='mean' divides by the number of classes) looks like this; so does label training alone."
        )
    return Finding("temperature slip", "warning", message, (fitted,), advice)


def memorized_teacher(evidence: Evidence) -> Finding | None:
    """A teacher that is sure of everything has little to teach beyond the labels."""
    rest = evidence.of(softness(1.0))[1]
    hard = share("rows with less than .01 beyond the top class", float((rest < 0.01).sum()), len(rest), evidence.level)
    if hard.value < 0.9:
        return Finding(
            "memorized teacher", "ok", f"{hard.value:.1%} of the teacher's rows are one-hot to 1 %.", (hard,)
        )
    advice = "Cross-fit the teacher, take an earlier checkpoint, or distil on examples that it was not trained on."
    if evidence.sparse is None:
        softer = softening_temperature(evidence)
        hint = f"at T = {softer:g} a tenth lies beyond its top class" if softer else "even T = 32 does not soften it"
        advice = f"Raise the temperature ({hint}). " + advice
    train = evidence.pair.split == "train" or hard.value > 0.98
    where = "its training examples" if evidence.pair.split == "train" else "these examples"
    message = (
        f"On {where} the teacher is one-hot to within 1 % in {hard.value:.1%} of the rows: little to learn at T = 1."
    )
    return Finding("memorized teacher", "warning" if train else "note", message, (hard,), advice)


def softening_temperature(evidence: Evidence) -> float | None:
    """The smallest of 2, 4, 8, 16, 32 at which a tenth of the teacher's probability lies beyond its top class."""
    teacher = evidence.sample.teacher[:2000]
    for t in (2.0, 4.0, 8.0, 16.0, 32.0):
        if 1 - np.exp(log_softmax(teacher / t, axis=1).max(axis=1)).mean() >= 0.1:
            return t
    return None
