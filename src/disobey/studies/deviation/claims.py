"""The claims of `deviation`, their rules and their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.runs import mean_over_runs
from disobey.measures.instrument import instrumental_slope
from disobey.records.results import Estimate
from disobey.records.runs import RunRecord, pair
from disobey.studies.kit.claims import Answer, ClaimSpec, Noted, Source
from disobey.studies.kit.design import Arm, Group
from disobey.studies.kit.evidence import CONTROL, STANDARD, Evidence, association_within, rank_association
from disobey.studies.kit.memo import remembered
from disobey.studies.kit.verdicts import NATS, NATS_MARGIN, SLOPE_MARGIN, Effect, above, below, beyond_control, gain
from disobey.training.recipe import Run

PAPER = Source(
    "arXiv 2301.12923",
    "Nagarajan et al., On student-teacher deviations in distillation: does it pay to disobey?, NeurIPS 2023 "
    "(arXiv 2301.12923)",
)
SPLITS = ("train", "test")
ACCURACY, SLOPE, LOW = "student_accuracy", "ols_slope", "low_deviation"
JUDGED = tuple(measure for measure in STANDARD if measure.name in (ACCURACY, SLOPE, LOW))  # what claims read


def lowest_quartile(split: str) -> Callable[[Evidence, Arm], Sequence[Estimate]]:
    """Deviation where the teacher is least confident: of the student, and of student minus control."""
    words = "mean deviation in the teacher's lowest quartile (nats)"
    names = f"{words}, {split}", f"{words}, student − control, {split}"
    return lambda e, arm: [
        e.mean(arm, LOW, split=split, name=names[0]),
        e.mean(arm, LOW, split=split, minus=CONTROL, name=names[1]),
    ]


def slope(split: str) -> Callable[[Evidence, Arm], Answer]:
    """The instrumental slope of the student, and of student minus control; least squares beside them."""

    def evidence(e: Evidence, arm: Arm) -> Answer:
        plain = [
            e.mean(arm, SLOPE, split=split, name=f"least-squares slope, {split}"),
            e.mean(arm, SLOPE, split=split, minus=CONTROL, name=f"least-squares slope, student − control, {split}"),
        ]
        student, control = (instrumental(e, who, split) for who in (arm, arm.control_arm()))
        if student is None or control is None:
            return Noted(plain, "Least squares, which noise attenuates: no second teacher answered the same examples.")
        return [
            mean_over_runs(student, f"instrumental slope, {split}"),
            mean_over_runs(student - control, f"instrumental slope, student − control, {split}"),
            *plain,
        ]

    return evidence


def instrumental(e: Evidence, arm: Arm, split: str) -> NDArray | None:
    """(S,) slopes; the second teacher of each seed is that of the next one, which has never met the student.

    None where there is one seed, or where seeds train on different examples: what a teacher says of examples that it
    was not trained on is no replica of what another says of its own.
    """
    teacher = arm.compared_with
    assert teacher is not None, f"{arm.label} is compared with no teacher"
    key = ("instrumental", arm.recipe, teacher, arm.teacher_step, split)
    if key not in e.memo:
        examples = [set(e.records[Run(teacher, seed)].examples[f"{split}.ids"].tolist()) for seed in e.seeds]
        if len(examples) < 2 or any(other != examples[0] for other in examples):
            return None
        found = []
        for seed, following in zip(e.seeds, (*e.seeds[1:], e.seeds[0]), strict=True):
            runs = [e.records[Run(arm.recipe, seed)], *(e.records[Run(teacher, s)] for s in (seed, following))]
            what = ("instrumental slope", split, arm.teacher_step)
            found.append(
                remembered(e.records, what, runs, partial(_slope_of, *runs, split=split, step=arm.teacher_step))
            )
        e.memo[key] = np.array(found)
    return e.memo[key]


def _slope_of(student: RunRecord, teacher: RunRecord, other: RunRecord, *, split: str, step: int | None) -> float:
    first, second = (pair(record, student, split, step=step) for record in (teacher, other))
    return instrumental_slope(first.teacher, first.student, second.teacher)


def accuracy_gain(e: Evidence, arm: Arm) -> Sequence[Estimate]:
    """Test accuracy over the control's."""
    return [e.mean(arm, ACCURACY, minus=CONTROL, name="test accuracy, student − control")]


def association(e: Evidence, settings: Group) -> Answer:
    """Over seeds within settings: do the students that exaggerate more gain more, and more so than controls do?"""
    slopes, accuracies = ([e.per_seed(arm, name) for arm in settings.arms] for name in (SLOPE, ACCURACY))
    controls = list({arm.control_arm().recipe: arm.control_arm() for arm in settings.arms}.values())
    alone = [e.per_seed(arm, SLOPE) for arm in controls], [e.per_seed(arm, ACCURACY) for arm in controls]
    words = f"correlation of slope and test accuracy over seeds within {len(settings.arms)} settings"
    found = [association_within(slopes, accuracies, alone, f"{words}, students − controls")]
    if len(settings.arms) < 3:
        return found
    gains = [[e.per_seed(arm, name, minus=CONTROL) for arm in settings.arms] for name in (SLOPE, ACCURACY)]
    across = rank_association(gains[0], gains[1], f"rank correlation across {len(settings.arms)} settings (no verdict)")
    return Noted(
        [*found, across], "Across settings the two go together for other reasons, too: that one is shown only."
    )


LESS = "The student is less confident than its teacher where the teacher is least confident"
MORE = "The student exaggerates its teacher's confidence: its slope in logit space is above 1"
COUNTED = {  # by the source, of students alone: no controls, one run a setting
    "C1 test": "18 of 18 image settings",
    "C1 train": "13 of 18 image settings",
    "C2 test": "7 of 12 text settings, by least squares",
}
CLAIMS: tuple[ClaimSpec[Evidence, Arm], ...] = (
    *(
        ClaimSpec(
            f"C1 {split}",
            f"{LESS} ({split}).",
            PAPER,
            beyond_control(below(0.0, margin=NATS_MARGIN, unit=NATS)),
            lowest_quartile(split),
            COUNTED.get(f"C1 {split}", ""),
        )
        for split in SPLITS
    ),
    *(
        ClaimSpec(
            f"C2 {split}",
            f"{MORE} ({split}).",
            PAPER,
            beyond_control(above(1.0, margin=SLOPE_MARGIN)),
            slope(split),
            COUNTED.get(f"C2 {split}", ""),
        )
        for split in SPLITS
    ),
    ClaimSpec("C3", "Distillation makes the student more accurate than its control.", PAPER, gain(), accuracy_gain),
)
ASSOCIATION: ClaimSpec[Evidence, Group] = ClaimSpec(
    "C4", "Students that exaggerate more gain more.", PAPER, Effect(1), association
)
