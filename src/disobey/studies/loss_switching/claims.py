"""The claims of `loss-switching`, and what they are judged on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from disobey.records.results import Estimate, Levels
from disobey.studies.kit.claims import ClaimSpec, Skip, Source
from disobey.studies.kit.design import Arm
from disobey.studies.kit.dose import response_of_differences
from disobey.studies.kit.evidence import CONTROL, STANDARD, Evidence
from disobey.studies.kit.verdicts import ACCURACY_MARGIN, POINTS, Equivalence, below, gain, most_of

PAPER = Source("arXiv 2301.12923", "Nagarajan et al., NeurIPS 2023 (arXiv 2301.12923)")
OURS = Source("this study")
ACCURACY = "student_accuracy"
JUDGED = tuple(measure for measure in STANDARD if measure.name == ACCURACY)  # what claims read
NEEDS_HALF = Skip("needs --switch-points 0.5")


@dataclass(frozen=True)
class Condition:
    """The schedules of one noise level and one teacher, and the parts that some of them play in claims."""

    label: str
    arms: tuple[Arm, ...]
    distilled: Arm  # from the first to the last step
    late: Arm | None  # labels, then from half of training on the teacher
    then_labels: Arm | None  # the teacher, then from half of training on labels
    levels: Levels = ()
    age: float | None = 1.0  # fraction of its training after which the teacher was taken; None: another model
    noise: float = 0.0
    teacher: str = "final"


@dataclass(frozen=True)
class Series:
    """Conditions that differ in one thing: the age of the teacher, or the share of wrong labels."""

    label: str
    conditions: tuple[Condition, ...]
    doses: tuple[float, ...]
    levels: Levels = ()


def labels_after(e: Evidence, c: Condition) -> Estimate:
    """Accuracy of the switch to labels at half of training minus that of distillation to the end."""
    assert c.then_labels is not None
    return e.mean(c.then_labels, ACCURACY, minus=c.distilled, name="accuracy, teacher then labels − teacher to the end")


def response(e: Evidence, series: Series, scale: ArrayLike, name: str) -> list[Estimate]:
    """How much more labels after the teacher gain at the largest dose than at the smallest."""
    pairs = [(c.then_labels, c.distilled) for c in series.conditions if c.then_labels is not None]
    return [response_of_differences(e, pairs, scale, ACCURACY, name)]


CLAIMS: tuple[ClaimSpec[Evidence, Condition], ...] = (
    ClaimSpec(
        "S0",
        "Distillation beats training on labels.",
        PAPER,
        gain(),
        lambda e, c: [e.mean(c.distilled, ACCURACY, minus=CONTROL, name="accuracy, distillation − labels")],
    ),
    ClaimSpec(
        "S1",
        "Switching from labels to the teacher at half of training recovers most of distillation's gain.",
        PAPER,
        most_of(0.5),
        lambda e, c: [e.share(c.late, ACCURACY, of=c.distilled)] if c.late else NEEDS_HALF,
    ),
    ClaimSpec(
        "S2",
        "Switching from the teacher to labels at half of training can beat distillation to the end.",
        PAPER,
        replace(gain(), existence=True),
        lambda e, c: [labels_after(e, c)] if c.then_labels else NEEDS_HALF,
    ),
    ClaimSpec(
        "S3",
        "Switching from the teacher to labels at half of training preserves the accuracy of distillation to the end.",
        PAPER,
        Equivalence(ACCURACY_MARGIN, unit=POINTS),
        lambda e, c: [labels_after(e, c)] if c.then_labels else NEEDS_HALF,
    ),
)

AGE: ClaimSpec[Evidence, Series] = ClaimSpec(
    "S4",
    "Labels after the teacher gain more over distillation to the end, the earlier the teacher was stopped.",
    OURS,
    gain(),
    lambda e, s: response(e, s, -np.log(s.doses), "labels after the teacher, from the latest to the earliest teacher"),
)
NOISE: ClaimSpec[Evidence, Series] = ClaimSpec(
    "S5",
    "Labels after the teacher gain less over distillation to the end, the more labels are wrong.",
    OURS,
    below(0.0, margin=ACCURACY_MARGIN, unit=POINTS),
    lambda e, s: response(e, s, s.doses, "labels after the teacher, from the fewest to the most wrong labels"),
)
