"""The claims of `dense-prediction`, their rules and their numbers.

Examples are pixels or boxes; intervals are over runs, those of scores over runs and images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from disobey.measures.segmentation import MEASURES as OF_PIXELS
from disobey.records.results import Levels
from disobey.studies.dense_prediction.kinds import Kind
from disobey.studies.deviation.claims import JUDGED as OF_DEVIATION
from disobey.studies.deviation.claims import LESS, MORE, PAPER, lowest_quartile, slope
from disobey.studies.kit.claims import ClaimSpec, Source
from disobey.studies.kit.design import Arm
from disobey.studies.kit.evidence import CONTROL, IOU, Evidence
from disobey.studies.kit.verdicts import NATS, NATS_MARGIN, SLOPE_MARGIN, above, below, beyond_control, gain, most_of

OURS = Source("this study")
BEYOND = "boundary_minus_interior"
JUDGED = (*OF_DEVIATION, OF_PIXELS[IOU], OF_PIXELS[BEYOND])
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Level:
    """The students of one noise level, by name, on a kind of data."""

    label: str
    arms: Mapping[str, Arm]
    kind: Kind
    levels: Levels = ()


PLAIN, LATE, EARLY, PLANTED, SCATTERED = (
    "distilled",
    "labels, then teacher",
    "teacher, then labels",
    "cautious at boundaries",
    "cautious elsewhere",
)

CLAIMS: tuple[ClaimSpec[Evidence, Level], ...] = (
    *(
        ClaimSpec(
            f"D1 {split}",
            f"{LESS} ({split} pixels or boxes).",
            PAPER,
            beyond_control(below(0.0, margin=NATS_MARGIN, unit=NATS)),
            lambda e, v, split=split: lowest_quartile(split)(e, v.arms[PLAIN]),
        )
        for split in SPLITS
    ),
    *(
        ClaimSpec(
            f"D2 {split}",
            f"{MORE} ({split} pixels or boxes).",
            PAPER,
            beyond_control(above(1.0, margin=SLOPE_MARGIN)),
            lambda e, v, split=split: slope(split)(e, v.arms[PLAIN]),
        )
        for split in SPLITS
    ),
    ClaimSpec(
        "D3",
        "The student is less confident than its teacher at boundaries, more so than inside (of boxes: in crowds, more "
        "so than of free ones; test).",
        OURS,
        beyond_control(below(0.0, margin=NATS_MARGIN, unit=NATS)),
        lambda e, v: [e.mean(v.arms[PLAIN], BEYOND), e.mean(v.arms[PLAIN], BEYOND, minus=CONTROL)],
    ),
    ClaimSpec(
        "D4",
        "Distillation raises the student's mean IoU (of boxes: average precision) over its control's.",
        PAPER,
        gain(),
        lambda e, v: [
            e.mean(v.arms[PLAIN], v.kind.score, minus=CONTROL, name=f"{v.kind.called}, student − control"),
            e.mean(v.arms[PLAIN], "student_accuracy", minus=CONTROL, name=f"{v.kind.accuracy}, student − control"),
        ],
    ),
    ClaimSpec(
        "D5",
        "Switching from labels to the teacher at half of training recovers most of the gain in mean IoU (of boxes: "
        "average precision).",
        PAPER,
        most_of(0.5),
        lambda e, v: [e.share(v.arms[LATE], v.kind.score, of=v.arms[PLAIN])],
    ),
    ClaimSpec(
        "D6",
        "Switching from the teacher to labels at half of training beats distillation to the end in mean IoU (of boxes: "
        "average precision).",
        PAPER,
        gain(),
        lambda e, v: [e.mean(v.arms[EARLY], v.kind.score, minus=v.arms[PLAIN])],
    ),
    ClaimSpec(
        "P1",
        "Planted: a student of a teacher made cautious at boundaries (of boxes: in crowds) deviates there, beyond "
        "plain distillation.",
        OURS,
        below(0.0, margin=NATS_MARGIN, unit=NATS),
        lambda e, v: [e.mean(v.arms[PLANTED], BEYOND, minus=v.arms[PLAIN])],
    ),
    ClaimSpec(
        "P2",
        "Planted: it deviates there beyond a student whose teacher was made cautious at as many others.",
        OURS,
        below(0.0, margin=NATS_MARGIN, unit=NATS),
        lambda e, v: [e.mean(v.arms[PLANTED], BEYOND, minus=v.arms[SCATTERED])],
    ),
)
