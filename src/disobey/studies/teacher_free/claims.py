"""The claims of `teacher-free`, their rules and their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from disobey.measures.inference.runs import paired_difference
from disobey.studies.kit.claims import Answer, ClaimSpec, Skip, Source
from disobey.studies.kit.design import Arm, Group
from disobey.studies.kit.evidence import CONTROL, Evidence
from disobey.studies.kit.verdicts import gain, most_of

PAPER = Source("arXiv 2301.12923", "Nagarajan et al., NeurIPS 2023 (arXiv 2301.12923)")
OURS = Source("asked here")
ACCURACY = "accuracy"


@dataclass(frozen=True)
class Tuned:
    """The arms of one structure of the classes, each signal at the amount that is best on validation."""

    label: str
    structure: str
    best: Mapping[str, Arm]  # by signal


def better(id: str, text: str, source: Source, signal: str, other: str) -> ClaimSpec[Evidence, Tuned]:
    """One signal is more accurate on test than another."""

    def evidence(e: Evidence, tuned: Tuned) -> Answer:
        if signal not in tuned.best:
            return Skip("no hierarchy of these classes is known")
        first, second = tuned.best[signal], tuned.best[other]
        return [e.mean(first, ACCURACY, minus=second, name=f"test accuracy, {first.label} − {second.label}")]

    return ClaimSpec(id, text, source, gain(), evidence)


CLAIMS: tuple[ClaimSpec[Evidence, Tuned], ...] = (
    better("F0", "Distillation beats training on labels.", PAPER, "KD", "labels"),
    better("F1", "Masking what the student itself confuses beats plain labels.", PAPER, "own confusion", "labels"),
    better(
        "F2",
        "Masking what the student itself confuses beats equally tuned label smoothing.",
        OURS,
        "own confusion",
        "smoothing",
    ),
    better(
        "F3", "Masking the classes of the same group of a hierarchy beats plain labels.", OURS, "hierarchy", "labels"
    ),
    better("F4", "Masking what a teacher confuses beats plain labels.", PAPER, "teacher's confusion", "labels"),
    ClaimSpec(
        "F5",
        "Masking the student's own confusion recovers most of distillation's gain.",
        PAPER,
        most_of(0.5),
        lambda e, tuned: [e.share(tuned.best["own confusion"], ACCURACY, of=tuned.best["KD"])],
    ),
)


def by_similarity(e: Evidence, pair: Group) -> Answer:
    """The gain of masking on classes that are more similar, minus that on classes that are less."""
    fine, coarse = (e.per_seed(arm, ACCURACY, minus=CONTROL) for arm in pair.arms)
    structures = " − ".join(str(arm["structure"]) for arm in pair.arms)
    return [paired_difference(fine, coarse, f"gain of masking, {structures} classes")]


SIMILARITY = ClaimSpec("F6", "Masking pays more where classes are more similar.", OURS, gain(), by_similarity)
