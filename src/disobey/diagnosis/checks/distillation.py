"""Did distillation have an effect: is the student closer to its teacher than a control that never saw it?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from disobey.diagnosis.checks.findings import note, ok, points, warning
from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.intervals import estimate, renamed
from disobey.diagnosis.evidence.seeds import mean_over_seeds
from disobey.diagnosis.evidence.temperature import fitted
from disobey.errors import printable
from disobey.measures import agreement
from disobey.measures.deviation import CLOSENESS
from disobey.measures.inference.measure import minus_twin
from disobey.records.predictions import Predictions
from disobey.records.results import Estimate, Finding

FEWEST = 100  # examples below which seeing no difference says nothing
TINY = 0.005  # difference of agreement or correlation that is there but changes nothing
SEED_VARIATION = (
    0.15  # of correlation: below it one run of each says nothing; undistilled students differed by up to 0.10
)
FURTHER = 0.05  # from which "no closer" is called further: a matter of words, it warns either way
LACKING = 0.10  # accuracy that a student lacks against its teacher from which it is told to train first
SCALES = 1.5  # ratio of student's and twin's temperatures from which they are compared on one scale
APART = 0.05  # correlation by which a seed stands apart from all others before another teacher is suspected
MISLABELLED = 30  # mislabelled examples from which student and twin are compared on them
NOISY = 0.8  # temperature that fits a teacher to the labels, below which these were noisy or smoothed
LEVEL = 0.99  # of intervals that decide

CORRELATION, AGREEMENT = minus_twin(CLOSENESS), minus_twin(agreement.MEASURES["agreement"])
ON_ONE_SCALE = f"{CORRELATION.name}, on one scale"

ID = "distillation-visible"
SAVE_TWIN = (
    "Train one student without the teacher (same recipe, same training examples and labels, their errors included) and "
    "save it as 'twin'."
)
ADD_SEEDS = "Train three seeds of each and save them as 'student/seed0', 'twin/seed0' and so on: then seeds decide."
RAISE_WEIGHT = (
    "Raise the weight of the soft term or its temperature, if the student should follow its teacher more closely."
)
FLAG_ERRORS = (
    "Verify it. To have it checked, diagnose the predictions on training examples with an array 'mislabelled' that "
    "says where training used another label."
)
FIND_TEACHER = (
    "Check that this is the teacher (checkpoint, seed) that taught it, and that the soft term reaches the loss: its "
    "weight, T², detach(), the order of KL's arguments, rows."
)


def distillation_visible(evidence: Evidence) -> Finding | None:
    """The student is closer to its teacher than a control (twin) that was trained on labels only.

    Without distillation student and control are exchangeable, so differences of closeness have mean 0 over runs. With
    one run of each the intervals are over examples, for these two models: with very many examples even two undistilled
    models differ for certain, by a little (`TINY`) or by seed variation (`SEED_VARIATION`); only several seeds
    (`closer_over_seeds`) say how much runs differ. What decides is at 99%; what is shown has the report's own level.
    Above 0: distillation had an effect. (A correlation with the teacher alone proves nothing: both learned the same
    labels.) That needs a control that learned from the same examples and labels: one with its own draw of label noise
    is further away.
    """
    if evidence.sample.twin is None:
        message = "No control (twin): whether the teacher explains the student beyond the labels cannot be said."
        met = _agreement(evidence) or "were compared"
        headline = (
            f"Student and teacher {met}, but without a control (twin) nobody can say whether the teacher caused it"
        )
        return note(ID, message, advice=SAVE_TWIN, case="no-control", headline=headline)
    found = closeness(evidence)
    if any(strict.low > 0 for _, strict in found.values()):
        return _closer(evidence, found)
    return _not_closer(evidence, found)


def closeness(evidence: Evidence) -> dict[str, tuple[Estimate, Estimate]]:
    """How much closer the student is to its teacher than the control, by name, most telling first.

    Of each number the interval that is shown, and the stricter one over examples alone that decides.
    """
    on = _on_one_scale(evidence)
    found = {}
    for name, at, measure in ((ON_ONE_SCALE, on, CORRELATION), ("", evidence, CORRELATION), ("", evidence, AGREEMENT)):
        if at is None or (measure is CORRELATION and ON_ONE_SCALE in found):
            continue
        shown, strict = estimate(at, measure), estimate(at, measure, level=LEVEL, fixed=True)
        if shown is not None and strict is not None:
            found[name or measure.name] = renamed(shown, name or measure.name), strict
    return found


def _closer(evidence: Evidence, found: Mapping[str, tuple[Estimate, Estimate]]) -> Finding:
    shown = tuple(e for e, _ in found.values())
    closer = [e for e, strict in found.values() if strict.low > 0]
    largest, first = max(e.value for e in closer), closer[0]
    quantity = {ON_ONE_SCALE: "correlation of log-odds, on one scale,", AGREEMENT.name: "agreement"}
    value = points(first) if first.name == AGREEMENT.name else f"{first.value:+.3f}"
    message = (
        "The student is closer to its teacher than its control (twin): "
        f"{quantity.get(first.name, 'correlation of log-odds')} {value}."
    )
    runs = closer_over_seeds(evidence, found)
    if runs is not None:
        if runs.low <= 0:
            message += (
                f" That holds for these models. Over {len(evidence.students)} seeds students are closer than "
                f"controls by {runs.value:+.3f} [{runs.low:+.3f}, {runs.high:+.3f}]: other seeds could show no effect."
            )
            headline = _headline(evidence, "{closer}, but other seeds could show no effect")
            advice = "Add seeds, or raise the weight of the soft term or its temperature."
            return note(ID, message, *shown, advice=advice, case="other-seeds", headline=headline)
    elif largest < SEED_VARIATION:
        message += (
            " With a single run of each that may be chance: students that were never distilled differ as much from "
            "seed to seed."
        )
        headline = "{closer}, but a single run of each cannot distinguish this from seed-to-seed variation"
        return note(
            ID, message, *shown, advice=ADD_SEEDS, case="seed-variation", headline=_headline(evidence, headline)
        )
    if largest < TINY:
        headline = _headline(
            evidence,
            "Distillation had an effect, but a tiny one: the student is hardly closer to its "
            "teacher than its control (twin)",
        )
        return note(
            ID, f"{message} That is certain, but tiny.", *shown, advice=RAISE_WEIGHT, case="tiny", headline=headline
        )
    if _labels_look_noisy(evidence):
        message += (
            " The teacher is less confident than it is accurate, as after training on noisy labels (or after "
            "smoothing, regularization or a short training). If they were noisy, this holds only for a control that "
            "was trained on the same labels, their errors included."
        )
        headline = (
            "If the control (twin) was trained on the same labels, their errors included, distillation had an "
            "effect: the student is closer to its teacher than the control"
        )
        return note(
            ID, message, *shown, advice=FLAG_ERRORS, case="noisy-labels", headline=_headline(evidence, headline)
        )
    headline = "Distillation had a visible effect: {closer}, which was trained on labels only"
    return ok(ID, message, *shown, case="effect", headline=_headline(evidence, headline))


def _not_closer(evidence: Evidence, found: Mapping[str, tuple[Estimate, Estimate]]) -> Finding:
    shown = tuple(e for e, _ in found.values())
    further = any(strict.high < 0 and strict.value <= -FURTHER for _, strict in found.values())
    if not further and evidence.n < FEWEST:
        message = (
            f"{evidence.n:,} examples are too few to see whether the student is closer to its teacher than its control "
            "(twin)."
        )
        headline = _headline(evidence, "These examples are too few to see whether distillation had an effect")
        advice = "Compare them on more examples."
        return note(ID, message, *shown, advice=advice, case="few-examples", headline=headline)
    lacking, advice = _lacks(evidence), FIND_TEACHER
    if lacking > LACKING:
        advice = (
            f"Train the student longer, or take a larger one, first: it is {100 * lacking:.0f} points less accurate "
            f"than its teacher, and soft targets take more steps than labels. {advice}"
        )
    if further:
        message = "The student is *further* from this teacher than a control (twin) that never saw it."
        headline = "The student is further from this teacher than its control (twin), which never saw it"
    else:
        message = (
            "The student is no closer to this teacher than a control (twin) that never saw it: distillation had no "
            "visible effect."
        )
        if any(e.low > 0 for e in shown):
            message += f" (An effect counts from {LEVEL:.0%} confidence on.)"
        headline = (
            "Distillation had no visible effect: the control (twin), which never saw this teacher, is as close to it "
            "as the student"
        )
    case = "further" if further else "no-effect"
    return warning(ID, message, *shown, advice=advice, case=case, headline=_headline(evidence, headline))


def _headline(evidence: Evidence, text: str) -> str:
    """The sentence, and how far student and teacher agree."""
    met = _agreement(evidence)
    text = text.replace("{closer}", "the student is closer to its teacher than its control (twin)")
    return text[:1].upper() + text[1:] + (f" (student and teacher {met})" if met else "")


def _agreement(evidence: Evidence) -> str:
    found = estimate(evidence, agreement.MEASURES["agreement"])
    if found is None:
        return ""
    interval = f"{100 * found.level:g}% interval {found.low:.1%} to {found.high:.1%}"
    return f"agree on {found.value:.1%} of the examples, {interval}"


def _lacks(evidence: Evidence) -> float:
    """Accuracy that the student lacks against its teacher; 0 where it is unknown."""
    gap = None if evidence.labels is None else estimate(evidence, agreement.MEASURES["accuracy_gap"])
    return 0.0 if gap is None else -gap.value


def _on_one_scale(evidence: Evidence) -> Evidence | None:
    """Student and control each at the temperature that brings it closest to the teacher; None where that is no matter.

    Log-odds against all other classes together bend with the temperature, so a control that is only hotter or colder
    than the student (saved so, or trained otherwise) correlates less with the teacher. Asked where they differ by
    `SCALES`.
    """
    if evidence.sparse is not None or evidence.sample.twin is None:
        return None
    own, other = fitted(evidence, "teacher"), fitted(evidence, "teacher", "twin")
    if not (own.known and other.known) or abs(np.log(own.value / other.value)) < np.log(SCALES):
        return None
    return evidence.about(_scaled(evidence), tuple(run.about(_scaled(run)) for run in evidence.runs))


def _scaled(evidence: Evidence) -> Predictions:
    """The first student and control, each divided by its own best temperature."""
    sample, one = evidence.finite, evidence.each[0]
    own, other = fitted(one, "teacher").value, fitted(one, "teacher", "twin").value
    assert sample.twin is not None
    student, twin = (log_softmax(side / t, axis=1) for side, t in ((sample.student, own), (sample.twin, other)))
    return replace(sample, student=student, twin=twin)


def closer_over_seeds(
    evidence: Evidence, found: Mapping[str, tuple[Estimate, Estimate]] | None = None
) -> Estimate | None:
    """Closeness of the students minus that of the controls, over seeds, where there are three of each."""
    if min(len(evidence.students), len(evidence.twins)) < 3 or not evidence.runs:
        return None
    found = closeness(evidence) if found is None else found
    return next((shown for shown, _ in found.values() if shown.name != AGREEMENT.name), None)


def _labels_look_noisy(evidence: Evidence) -> bool:
    """Whether the teacher is far less confident than it is accurate, as after wrong or smoothed training labels.

    Not asked on training examples: what a model was fitted to it predicts right more often than it is confident.
    """
    if evidence.labels is None or evidence.sparse is not None or evidence.pair.split == "train":
        return False
    best = fitted(evidence, "labels", "teacher", level=LEVEL)
    return bool(best.known and best.high < NOISY)


def same_labels(evidence: Evidence) -> Finding | None:
    """Where training used wrong labels, the control learned them as the student did.

    A model that learned a wrong label gives the true one less there than on other examples of its class. Where the
    student does and the control does not, the control was trained on other labels (clean ones, or another draw of the
    noise); the teacher then shares its errors with the student alone, and closeness to it proves nothing. Only rows
    that were trained on can show this, and only ``mislabelled`` says which.
    """
    sample, id = evidence.sample, "same-labels"
    if sample.twin is None or sample.labels is None or sample.mislabelled is None or evidence.sparse is not None:
        return None
    wrong = sample.mislabelled.astype(bool)
    if min(wrong.sum(), (~wrong).sum()) < MISLABELLED:
        return None
    lost = {
        name: [_lost_on(getattr(run.sample, name), sample.labels, wrong) for run in evidence.each]
        for name in ("student", "twin")
    }
    codes = evidence.codes_of(sample.labels)
    codes = None if codes is None else codes[wrong]
    student, twin = (
        mean_over_seeds(f"true label's probability lost, {name}", columns, LEVEL, codes)
        for name, columns in lost.items()
    )
    apart = mean_over_seeds("student minus twin", [a - b for a, b in zip(*lost.values(), strict=True)], LEVEL, codes)
    shown = (student, twin, apart)
    numbers = (
        f"where training used wrong labels the student gives the true one {student.value:.3f} less than elsewhere, its "
        f"control (twin) {twin.value:.3f}"
    )
    if student.low > 0 and apart.low > 0 and twin.value < student.value / 2:
        message = f"The control (twin) did not learn the student's wrong labels: {numbers}."
        advice = (
            "Train the twin on the same labels, their errors included: with others its distance from the teacher "
            "proves nothing."
        )
        return warning(id, message, *shown, advice=advice, invalidates=True)
    if twin.high <= 0 or student.high <= 0 or max(student.low, twin.low) <= 0:
        message = (
            f"Nothing shows which labels the control (twin) was trained on ({numbers}): these are no training "
            "examples, or the models were trained too little to learn them."
        )
        return note(id, message, *shown, case="undecidable")
    return ok(id, f"Student and control (twin) learned the same wrong labels: {numbers}.", *shown)


def _lost_on(log_probs: NDArray, labels: NDArray, wrong: NDArray) -> NDArray:
    """(mislabelled,): probability of the true label, mean of the other examples of the class minus that of each."""
    p = np.exp(log_probs[np.arange(len(labels)), labels].astype(np.float64))
    counts = np.bincount(labels[~wrong], minlength=labels.max() + 1)
    means = np.bincount(labels[~wrong], p[~wrong], minlength=labels.max() + 1) / np.maximum(counts, 1)
    usual = np.where(counts > 0, means, p[~wrong].mean())
    return usual[labels[wrong]] - p[wrong]


def same_teacher(evidence: Evidence) -> Finding | None:
    """Seeds of one arm are about equally close to the teacher that taught them all."""
    runs, id = evidence.seeds(), "same-teacher"
    if len(runs) < 3 or evidence.sparse is not None:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        close = {name: CLOSENESS(run) for name, run in zip(evidence.students, runs, strict=True)}
    order = sorted((name for name in close if np.isfinite(close[name])), key=lambda name: -close[name])
    if len(order) < 3:
        return None
    best, low, high = close[order[0]], close[order[-1]], close[order[1]]
    if best - high > max(APART, 2 * (high - low)):
        message = (
            f"{printable(order[0], 40)} is far closer to this teacher than the other seeds are (correlation of "
            f"log-odds {best:.2f}, the others {low:.2f} to {high:.2f})."
        )
        advice = (
            "Did this teacher teach the others, with the same labels? If each had its own, diagnose each pair alone."
        )
        return warning(id, message, advice=advice)
    return ok(id, f"The seeds are about equally close to the teacher: {low:.2f} to {best:.2f}.")
