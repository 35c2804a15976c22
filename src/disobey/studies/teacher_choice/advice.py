"""From the students of a noise level to a recommendation."""

from __future__ import annotations

from disobey.records.results import Block, Claim, Levels
from disobey.studies.kit.candidates import LABELS_ALONE, candidate, examples_error
from disobey.studies.kit.evidence import Evidence
from disobey.studies.kit.recommend import (
    ExampleError,
    Recommendation,
    recommend,
    recommend_blocks,
)
from disobey.studies.teacher_choice.teachers import Cell

BEARS_ON = ("W0", "W1", "W2", "W6")  # claims that a reader of the recommendation looks for


def advice(e: Evidence, cell: Cell, temperature: float) -> tuple[Recommendation, ExampleError]:
    """The recommendation for a noise level: labels alone, then the default teacher, then everything else.

    Rank-only students answer a question and are no candidates; fitted temperatures are.
    """
    default = cell.default
    standard = cell.grid[temperature, 1.0]
    found = [
        candidate(e, cell.control, LABELS_ALONE, _choice("none", None, 0.0), plain=True),
        candidate(
            e, standard, default.name, _choice(default.name, temperature, 1.0), plain=True, cost=1.0 + default.cost
        ),
    ]
    for (t, w), arm in cell.grid.items():
        if arm is not standard:
            name = f"{default.name}, τ = {t:g}, weight {w:g}"
            found.append(candidate(e, arm, name, _choice(default.name, t, w), cost=1.0 + default.cost))
    for name, teacher in cell.teachers.items():
        for reading in ("raw", "fitted"):
            arm = cell.students[name, reading]
            if arm is not standard:
                words = name if reading == "raw" else f"{name}, fitted"
                said = name if reading == "raw" else f"{name}, at its fitted temperature"
                found.append(candidate(e, arm, words, _choice(said, temperature, 1.0), cost=1.0 + teacher.cost))
    error = examples_error(e)
    return recommend(found, error), error


def _choice(teacher: str, temperature: float | None, weight: float) -> Levels:
    if temperature is None:
        return (("teacher", teacher), ("schedule", "labels throughout"))
    rest = "" if weight == 1 else f", labels {1 - weight:g}"
    return (
        ("teacher", teacher),
        ("temperature", f"{temperature:g}"),
        ("weight", f"teacher {weight:g}{rest}"),
        ("schedule", "the teacher throughout"),
    )


def advice_blocks(e: Evidence, cell: Cell, temperature: float, claims: tuple[Claim, ...]) -> tuple[str, list[Block]]:
    """The recommendation of a noise level as a sentence and as blocks."""
    found, error = advice(e, cell, temperature)
    own = [c for c in claims if c.name in BEARS_ON and c.setting == cell.label]
    return f"{cell.label}: {found.words}", list(recommend_blocks(found, error, own, cell.label))
