"""The claims of `deviation`, their rules and their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from disobey.records.results import Estimate
from disobey.studies.kit.claims import ClaimSpec, Skip, Source
from disobey.studies.kit.design import Arm, Group
from disobey.studies.kit.evidence import CONTROL, Evidence, rank_association
from disobey.studies.kit.verdicts import ABOVE_ZERO, BELOW_ZERO, above, beyond_control

PAPER = Source(
    "arXiv 2301.12923",
    "Nagarajan et al., On student-teacher deviations in distillation: does it pay to disobey?, NeurIPS 2023 "
    "(arXiv 2301.12923)",
)
SPLITS = ("train", "test")
ACCURACY, SLOPE, LOW = "student_accuracy", "ols_slope", "low_deviation"


def beside_control(measure: str, words: str, split: str) -> Callable[[Evidence, Arm], Sequence[Estimate]]:
    """A measure of the student, and of student minus control."""
    names = f"{words}, {split}", f"{words}, student − control, {split}"
    return lambda e, arm: [
        e.mean(arm, measure, split=split, name=names[0]),
        e.mean(arm, measure, split=split, minus=CONTROL, name=names[1]),
    ]


def gain(e: Evidence, arm: Arm) -> Sequence[Estimate]:
    """Test accuracy over the control's."""
    return [e.mean(arm, ACCURACY, minus=CONTROL, name="test accuracy, student − control")]


def association(e: Evidence, settings: Group) -> Sequence[Estimate] | Skip:
    """Over settings within each seed: do the settings that deviate more gain more?"""
    if len(settings.arms) < 3:
        return Skip("needs three settings")
    slopes, gains = ([e.per_seed(arm, name, minus=CONTROL) for arm in settings.arms] for name in (SLOPE, ACCURACY))
    return [rank_association(slopes, gains, f"rank correlation over {len(settings.arms)} settings")]


LESS = "The student is less confident than its teacher where the teacher is least confident"
MORE = "The student exaggerates its teacher's confidence: its slope in logit space is above 1"
CLAIMS: tuple[ClaimSpec[Evidence, Arm], ...] = (
    *(
        ClaimSpec(
            f"C1 {split}",
            f"{LESS} ({split}).",
            PAPER,
            beyond_control(BELOW_ZERO),
            beside_control(LOW, "mean deviation in the teacher's lowest quartile (nats)", split),
        )
        for split in SPLITS
    ),
    *(
        ClaimSpec(
            f"C2 {split}",
            f"{MORE} ({split}).",
            PAPER,
            beyond_control(above(1.0, "slope's interval")),
            beside_control(SLOPE, "least-squares slope", split),
        )
        for split in SPLITS
    ),
    ClaimSpec("C3", "Distillation makes the student more accurate than its control.", PAPER, ABOVE_ZERO, gain),
)
ASSOCIATION: ClaimSpec[Evidence, Group] = ClaimSpec(
    "C4",
    "The settings in which the student exaggerates more are those in which it gains more.",
    PAPER,
    ABOVE_ZERO,
    association,
)
