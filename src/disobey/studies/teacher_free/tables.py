"""The tables of `teacher-free`: every arm, every teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from disobey.models.spec import spec_text
from disobey.records.results import Cell, Estimate, Table
from disobey.studies.kit.design import Arm, Design
from disobey.studies.kit.evidence import CONTROL, Evidence
from disobey.studies.kit.tables import table
from disobey.studies.teacher_free.claims import ACCURACY, Tuned


def arm_table(arms: Sequence[Arm], tuned: Mapping[str, Tuned], e: Evidence) -> Table:
    """Every arm on validation and test."""
    best = {arm for here in tuned.values() for arm in here.best.values()}

    def gain(arm: Arm) -> Cell:
        return None if arm["signal"] == "labels" else e.mean(arm, ACCURACY, minus=CONTROL)

    columns = (
        (
            "classes: signal",
            lambda arm: f"{arm['structure']}: {arm.label}" + (" (chosen)" if arm["amount"] and arm in best else ""),
        ),
        ("validation accuracy", lambda arm: round(e.mean(arm, ACCURACY, split="validation").value, 4)),
        ("test accuracy", e.means(ACCURACY)),
        ("− labels", gain),
    )
    caption = (
        "Means over seeds, intervals over runs; differences are paired. Amounts are chosen by validation accuracy."
    )
    return table("Every arm", arms, columns, caption)


def teacher_table(design: Design, e: Evidence) -> Table:
    """Model and accuracy of every teacher."""
    structures = dict.fromkeys(arm["structure"] for arm in design.arms)
    rows = [design.one(structure=structure, signal=signal) for structure in structures for signal in ("KD", "self-KD")]

    def number(arm: Arm, key: str) -> Estimate:
        assert arm.recipe.teacher is not None
        return e.summary(arm.recipe.teacher, key)

    columns = (
        ("classes", lambda arm: arm["structure"]),
        ("teacher of", lambda arm: arm["signal"]),
        ("model", lambda arm: spec_text(arm.recipe.teacher.model)),
        ("training labels reproduced", lambda arm: number(arm, "fitted")),
        ("test accuracy", lambda arm: number(arm, "test_accuracy")),
    )
    return table("Teachers at the end of training", rows, columns, "Means over seeds with intervals over runs.")
