"""Are teacher and student as confident as they are accurate, and on the same scale?"""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from disobey.diagnosis.checks.findings import note, ok, points, warning
from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.intervals import estimate, share_of
from disobey.diagnosis.evidence.temperature import fitted
from disobey.measures import calibration
from disobey.measures.inference.measure import on_teacher, on_twin
from disobey.measures.information import softness
from disobey.records.results import Estimate, Finding

IMPLAUSIBLE = 0.3  # confidence minus accuracy that no sound evaluation of a usable teacher shows
MISCALIBRATED = 0.15  # at least so far off, by its interval: a warning
NOTABLE = 0.05  # at least so far off, by its interval: a note
SAME_SCALE = (0.5, 2.0)  # temperatures from the student to its teacher that distillation as usual gives
HARD = 0.01  # probability beyond the top class below which a row says no more than its label
MOSTLY_HARD, NEARLY_ALL_HARD = 0.9, 0.98  # shares of such rows: a finding; a warning on test examples as well
OVERCONFIDENCE = calibration.MEASURES["overconfidence"]


def plausible_teacher(evidence: Evidence) -> Finding | None:
    """The teacher is about as accurate as it is confident; otherwise its evaluation went wrong, not its training."""
    gap = None if evidence.sparse else estimate(evidence, on_teacher(OVERCONFIDENCE))
    if gap is None:
        return None
    id = "plausible-teacher"
    if gap.low > IMPLAUSIBLE:
        message = (
            f"The teacher's confidence exceeds its accuracy by {100 * gap.value:.0f} points: "
            "too much for a sound evaluation."
        )
        advice = "Check input normalization, eval() mode (batch norm, dropout), the tokenizer and the label map."
        return warning(id, message, gap, advice=advice, case="over-confident", invalidates=True)
    if gap.high < -IMPLAUSIBLE:
        message = f"The teacher's accuracy exceeds its confidence by {-100 * gap.value:.0f} points."
        advice = "Were its logits divided by a temperature, averaged over views, or smoothed before saving?"
        twin = None if evidence.sample.twin is None else estimate(evidence, on_twin(OVERCONFIDENCE))
        if twin is not None and twin.value < gap.value / 2:  # it never saw the teacher: the training labels did it
            message += " The same holds for the control (twin): were the training labels noisy?"
            return note(id, message, gap, twin, case="noisy-labels")
        return warning(id, message, gap, advice=advice, case="under-confident", invalidates=True)
    return ok(id, f"Teacher's confidence minus accuracy: {points(gap)}.", gap)


def calibrated_student(evidence: Evidence) -> Finding | None:
    """Over- or under-confidence of the student, and the temperature that removes it."""
    gap = estimate(evidence, OVERCONFIDENCE)
    if gap is None:
        return None
    id, side = "calibrated-student", "over" if gap.value > 0 else "under"
    extent = min(abs(gap.low), abs(gap.high)) if gap.low * gap.high > 0 else 0.0
    if extent < NOTABLE:
        return ok(id, f"Student's confidence minus accuracy: {points(gap)}.", gap)
    advice = "Divide its logits by one temperature fitted on held-out labels; accuracy does not change."
    shown: tuple[Estimate, ...] = (gap,)
    if evidence.sparse is None:
        temperature = fitted(evidence, "labels")
        if temperature.known:
            shown, advice = (
                (gap, temperature),
                f"Divide its logits by {temperature.value:.2f} (fitted to these labels).",
            )
    message = f"The student is {side}-confident: confidence minus accuracy {points(gap)}."
    teacher = None if evidence.sparse is not None else estimate(evidence, on_teacher(OVERCONFIDENCE))
    if teacher is not None and teacher.value * gap.value > 0 and abs(teacher.value) > abs(gap.value) / 2:
        message += f" So is its teacher ({100 * teacher.value:+.1f} points)"
        message += (
            ", as after noisy or smoothed training labels, or short training."
            if side == "under"
            else ": the student may have inherited it."
        )
        shown = (*shown, teacher)
    make = warning if extent > MISCALIBRATED else note
    return make(id, message, *shown, advice=advice, case=f"{side}-confident")


def temperature_slip(evidence: Evidence) -> Finding | None:
    """The student's logits are on its teacher's scale: far from it, T or T² was applied on one side only."""
    if evidence.sparse is not None:
        return None
    best = fitted(evidence, "teacher")
    if not best.known:
        return None
    id, t = "temperature-slip", evidence.temperature
    if best.high >= SAME_SCALE[0] and best.low <= SAME_SCALE[1]:
        return ok(id, f"The student is on the teacher's scale: best temperature {best.value:.2f}.", best)
    if best.value < 1:
        message = (
            f"The student is much flatter than its teacher: its logits times {1 / best.value:.1f} come closest. "
            "A student that matches softened targets without softening its own output ends up like this."
        )
        advice = "Divide both sides by T inside the loss, and do not divide the saved logits."
        if abs(np.log(best.value * t)) < 0.25:
            advice = f"The factor is near 1/T for T = {t:g}: the teacher was softened, the student was not. {advice}"
        return warning(id, message, best, advice=advice, case="flat")
    message = f"The student is much sharper than its teacher: its logits divided by {best.value:.1f} come closest."
    advice = (
        "A missing T² (the soft term fades as 1/T² and the labels take over) or a mean over batch and classes "
        "(reduction='mean' divides by the number of classes) has this effect; so has training on labels alone."
    )
    return warning(id, message, best, advice=advice, case="sharp")


def memorized_teacher(evidence: Evidence) -> Finding | None:
    """A teacher that is certain of everything has little to teach beyond the labels."""
    rest, id = evidence.of(softness(1.0))[1], "memorized-teacher"
    hard = share_of(evidence, "rows with less than 0.01 beyond the top class", rest < HARD)
    if hard.value < MOSTLY_HARD:
        message = f"In {hard.value:.1%} of the rows the teacher puts 99% or more on one class: enough is left to learn."
        return ok(id, message, hard)
    advice = "Cross-fit the teacher, use an earlier checkpoint, or distil on examples that it was not trained on."
    if evidence.sparse is None:
        softer = softening_temperature(evidence)
        hint = f"at T = {softer:g} a tenth lies beyond its top class" if softer else "even T = 32 does not soften it"
        advice = f"Raise the temperature ({hint}). {advice}"
    train = evidence.pair.split == "train"
    where = "its training examples" if train else "these examples"
    message = (
        f"On {where} the teacher puts 99% or more on one class in {hard.value:.1%} of the rows: little to learn at "
        "T = 1."
    )
    make = warning if train or hard.value > NEARLY_ALL_HARD else note
    return make(id, message, hard, advice=advice)


def softening_temperature(evidence: Evidence) -> float | None:
    """The smallest of 2, 4, 8, 16, 32 at which a tenth of the teacher's probability lies beyond its top class."""
    teacher = evidence.sample.teacher[:2000]
    for t in (2.0, 4.0, 8.0, 16.0, 32.0):
        if 1 - np.exp(log_softmax(teacher / t, axis=1).max(axis=1)).mean() >= 0.1:
            return t
    return None
