"""What only language models get wrong: vocabularies, and lists that leave too much out."""

from __future__ import annotations

import numpy as np

from disobey.diagnosis.evidence.evidence import Evidence
from disobey.measures.inference.examples import mean_of
from disobey.records.results import Finding

SMALL = 0.9  # mass of the teacher's list below which too much is lost
SHARED = 0.3  # mass of the student on the teacher's tokens below which their vocabularies are suspected


def vocabulary(evidence: Evidence) -> Finding | None:
    """Token ids mean the same in both models."""
    facts = evidence.pair.facts
    if facts.get("tokenizers_differ"):
        message = f"The tokenizers differ: {facts['tokenizers_differ']}."
        return Finding("vocabulary", "warning", message, (), "Use one tokenizer, or align tokens before distilling.")
    if facts.get("label_maps_differ"):
        message = f"The label maps differ: {facts['label_maps_differ']}."
        return Finding("vocabulary", "warning", message, (), "Reorder one model's classes by name.")
    if evidence.sparse is None:
        return (
            Finding("vocabulary", "ok", "Tokenizers and label maps are equal by content.")
            if facts.get("compared")
            else None
        )
    teacher = mean_of("teacher's mass on its list", evidence.sparse["teacher_mass"], evidence.level)
    student = mean_of("student's mass on that list", evidence.sparse["student_mass"], evidence.level)
    if (
        student.value < SHARED
        and student.value < 0.5 * teacher.value
        and np.mean(evidence.sparse["unknown_mass"]) < 0.05
    ):
        message = (
            f"The student puts {student.value:.1%} of its probability on the tokens where its teacher puts "
            f"{teacher.value:.1%}: as if token ids meant something else to it, positions were shifted, or it had hardly been trained."
        )
        advice = "Compare the tokenizers by content, and the position that each prediction belongs to."
        return Finding("vocabulary", "warning", message, (teacher, student), advice)
    return Finding(
        "vocabulary", "ok", f"The student's mass on the teacher's list is {student.value:.1%}.", (teacher, student)
    )


def truncation(evidence: Evidence) -> Finding | None:
    """Top-k lists keep enough of the teacher."""
    if evidence.sparse is None:
        return None
    assert evidence.pair.topk is not None
    k = evidence.pair.topk.ids.shape[1]
    kept = mean_of("teacher's mass on its list", evidence.sparse["teacher_mass"], evidence.level)
    unknown = mean_of("of it, unknown for the student", evidence.sparse["unknown_mass"], evidence.level)
    lost = 1 - kept.value + unknown.value
    if kept.high < SMALL or unknown.low > 0.05:
        message = (
            f"The {k} listed tokens hold {kept.value:.1%} of the teacher; the student's probability is unknown for "
            f"{unknown.value:.1%}. Divergences are lower bounds that may be far off."
        )
        advice = "Save more tokens (a larger k), and the student's log-probabilities at the teacher's token ids."
        return Finding("truncation", "warning", message, (kept, unknown), advice)
    status = "note" if lost > 0.02 else "ok"
    return Finding(
        "truncation", status, f"The {k} listed tokens hold {kept.value:.2%} of the teacher.", (kept, unknown)
    )
