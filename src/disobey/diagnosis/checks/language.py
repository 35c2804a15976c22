"""What only language models get wrong: vocabularies, and lists that leave too much out."""

from __future__ import annotations

import numpy as np

from disobey.diagnosis.checks.findings import note, ok, warning
from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.intervals import mean_of
from disobey.records.results import Finding

SMALL = 0.9  # mass of the teacher's list below which too much is lost
LOST = 0.02  # mass lost from which it is noted
UNKNOWN = 0.05  # mass of listed tokens whose probability under the student is unknown, from which it matters
SHARED = 0.3  # mass of the student on the teacher's tokens below which their vocabularies are suspected


def vocabulary(evidence: Evidence) -> Finding | None:
    """Token ids, or class numbers, mean the same in both models."""
    facts, id = evidence.pair.facts, "vocabulary"
    if facts.get("tokenizers_differ"):
        message = f"The tokenizers differ: {facts['tokenizers_differ']}."
        advice = "Use one tokenizer, or align tokens before distilling."
        return warning(id, message, advice=advice, case="tokenizers", invalidates=True)
    if facts.get("label_maps_differ"):
        message = f"The label maps differ: {facts['label_maps_differ']}."
        advice = "Reorder one model's classes by name."
        return warning(id, message, advice=advice, case="label-maps", invalidates=True)
    if evidence.sparse is None:
        return ok(id, "Tokenizers and label maps are equal by content.") if facts.get("compared") else None
    teacher = mean_of(evidence, "teacher's mass on its list", evidence.sparse["teacher_mass"])
    student = mean_of(evidence, "student's mass on that list", evidence.sparse["student_mass"])
    known = np.mean(evidence.sparse["unknown_mass"]) < UNKNOWN
    if student.value < SHARED and student.value < 0.5 * teacher.value and known:
        message = (
            f"On the listed tokens the student has {student.value:.1%} of its probability and the teacher "
            f"{teacher.value:.1%}: token ids mean something else to the student, positions are shifted, or it has "
            "hardly been trained."
        )
        advice = "Compare the tokenizers by content, and the position that each prediction belongs to."
        return warning(id, message, teacher, student, advice=advice, case="masses", invalidates=True)
    return ok(id, f"The student's mass on the teacher's list is {student.value:.1%}.", teacher, student)


def truncation(evidence: Evidence) -> Finding | None:
    """Top-k lists keep enough of the teacher."""
    if evidence.sparse is None:
        return None
    assert evidence.pair.topk is not None
    k, id = evidence.pair.topk.ids.shape[1], "truncation"
    kept = mean_of(evidence, "teacher's mass on its list", evidence.sparse["teacher_mass"])
    unknown = mean_of(evidence, "of it, unknown for the student", evidence.sparse["unknown_mass"])
    if kept.high < SMALL or unknown.low > UNKNOWN:
        message = (
            f"The {k} listed tokens hold {kept.value:.1%} of the teacher's probability; for {unknown.value:.1%} the "
            "student's is unknown. Divergences are lower bounds, perhaps far below the true ones."
        )
        advice = "Save more tokens (a larger k), and the student's log-probabilities at the teacher's token ids."
        return warning(id, message, kept, unknown, advice=advice)
    message = f"The {k} listed tokens hold {kept.value:.2%} of the teacher's probability."
    lost = 1 - kept.value + unknown.value
    return (note if lost > LOST else ok)(id, message, kept, unknown)
