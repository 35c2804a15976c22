"""The rules of `random-teacher`, written down before the runs.

Features are judged by converged probes on standardized features (P2) and by 20 nearest neighbours (P3); the published
probe (P1), which a larger norm of the features improves, is judged beside them and decides nothing else. Positive
control first: where the same network trained on labels does not surely improve its own features, the setting can show
nothing, and no claim on students is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Estimate
from disobey.studies.kit.claims import Answer, ClaimSpec, Parts, Skip, Source
from disobey.studies.kit.evidence import Evidence
from disobey.studies.kit.verdicts import POINTS, AllOf, Effect, Equivalence, gain
from disobey.studies.random_teacher.cells import FAR, NEAR, STUDENT, TINY, Cell, Line
from disobey.training.recipe import Run

PAPER = Source(
    "arXiv 2302.12091",
    "Sarnthein, Bachmann, Anagnostidis, Hofmann, Random teachers are good teachers, ICML 2023, arXiv:2302.12091",
)
OURS = Source("a prediction of ours; no publication")
ROOM = 0.02  # least mean gain of the positive control
MARGIN, FLAT = 0.005, 0.01
P1, P2, P3 = "short", "probe", "neighbours"
NAMES = {P1: "published probe", P2: "converged probe", P3: "20 nearest neighbours"}


@dataclass(frozen=True)
class Family:
    """All arms of one width: what the rules compare."""

    label: str
    line: Line
    cells: tuple[Cell, ...]

    def of(self, e: Evidence, cell: Cell, key: str = P2) -> NDArray:
        """A reading of the students of a cell, (S,)."""
        return e.per_seed(self.line.arm(cell), key)

    def teacher(self, e: Evidence, key: str = P2) -> NDArray:
        """A reading of the random teachers, (S,)."""
        return np.array([e.records[Run(self.line.teacher(), seed)].summary[key] for seed in e.seeds])

    def room(self, e: Evidence) -> NDArray:
        """What training on labels does for the probe, (S,)."""
        return e.per_seed(self.line.control_arm(), P2) - self.teacher(e)


def guarded(
    needs: Sequence[Cell], evidence: Callable[[Evidence, Family], Answer]
) -> Callable[[Evidence, Family], Answer]:
    """Judges only where the cells were trained, and where the positive control has shown that there is room."""

    def ask(e: Evidence, f: Family) -> Answer:
        missing = [cell.label for cell in needs if cell not in f.cells]
        if missing:
            return Skip(f"not trained here: {', '.join(missing)}")
        if f.room(e).mean() < ROOM:
            return Skip(f"labels improve the probe by less than {ROOM:.0%}: this setting can test nothing")
        return evidence(e, f)

    return ask


def over_teacher(key: str) -> Callable[[Evidence, Family], Answer]:
    """The student over its teacher."""
    name = f"{NAMES[key]}, student − teacher"
    return guarded([STUDENT], lambda e, f: [mean_over_runs(f.of(e, STUDENT, key) - f.teacher(e, key), name)])


def over_controls(e: Evidence, f: Family) -> Answer:
    """The student over every control of its training, by the converged probe."""
    own = f.of(e, STUDENT)
    others = {cell.label: f.of(e, cell) for cell in CONTROL_CELLS}
    others |= {"random walk of equal length": f.of(e, STUDENT, "probe@walk")}
    others |= {"weights permuted within tensors": f.of(e, STUDENT, "probe@shuffled")}
    return Parts([[mean_over_runs(own - other, f"student − {name}")] for name, other in others.items()])


def between(first: Cell, second: Cell, name: str, key: str = P2) -> Callable[[Evidence, Family], Answer]:
    """One cell over another."""
    return guarded([first, second], lambda e, f: [mean_over_runs(f.of(e, first, key) - f.of(e, second, key), name)])


def below_teacher(cell: Cell, name: str) -> Callable[[Evidence, Family], Answer]:
    """A cell against the teacher."""
    return guarded([cell], lambda e, f: [mean_over_runs(f.of(e, cell) - f.teacher(e), name)])


def over_pixels(e: Evidence, f: Family) -> Answer:
    """The student over raw pixels."""
    return [mean_over_runs(f.of(e, STUDENT) - f.teacher(e, "probe@pixels"), "converged probe, student − raw pixels")]


def dose(e: Evidence, f: Family) -> Answer:
    """Slope of the probe on the logarithm of the number of images, within seeds."""
    cells = [STUDENT, *(cell for cell in f.cells if cell.share < 1)]
    if len(cells) < 3:
        return Skip("needs two smaller numbers of images")
    logs = np.log10([f.line.images(cell.share) for cell in cells])
    accuracies = np.array([f.of(e, cell) for cell in cells])  # (cells, S)
    slopes = ((logs - logs.mean())[:, None] * accuracies).sum(axis=0) / ((logs - logs.mean()) ** 2).sum()
    return [mean_over_runs(slopes, "converged probe per tenfold of images")]


def locality(key: str) -> Callable[[Evidence, Family], Answer]:
    """Near starts over the far one."""

    def evidence(e: Evidence, f: Family) -> Answer:
        near = np.mean([f.of(e, cell, key) for cell in (STUDENT, *NEAR_CELLS)], axis=0)
        found = [mean_over_runs(near - f.of(e, FAR, key), f"{NAMES[key]}, mean of α ≤ 0.6 − α = 1")]
        longer = Cell(alpha=1.0, twice=True)
        return [*found, mean_over_runs(near - f.of(e, longer, key), "the same, α = 1 twice as long"), *nearness(e, f)]

    return guarded([STUDENT, *NEAR_CELLS, FAR, Cell(alpha=1.0, twice=True)], evidence)


def nearness(e: Evidence, f: Family) -> list[Estimate]:
    """How far from their teachers the students still are, in nats."""
    cells = (STUDENT, FAR, Cell(alpha=1.0, twice=True))
    return [mean_over_runs(f.of(e, cell, "divergence"), f"divergence from the teacher, {cell.label}") for cell in cells]


NEAR_CELLS = tuple(Cell(alpha=a) for a in NEAR)
CONTROL_CELLS = (Cell(control="rows"), Cell(control="constant"))
FLOAT64, NEARLY = Cell(numerics="float64"), Cell(alpha=TINY, numerics="float64")
AS_GOOD = Equivalence(FLAT, unit=POINTS)

RandomTeacherClaim = ClaimSpec[Evidence, Family]
CLAIMS: tuple[RandomTeacherClaim, ...] = (
    ClaimSpec(
        "R0",
        "Trained on labels, the network's features improve (positive control).",
        OURS,
        Effect(1, ROOM, unit=POINTS),
        lambda e, f: [mean_over_runs(f.room(e), "converged probe, supervised − first weights")],
    ),
    *(
        ClaimSpec(
            id, f"A random teacher's student has better features than its teacher ({words}).", PAPER, gain(), over
        )
        for id, words, over in (
            ("R1a", "converged probe", over_teacher(P2)),
            ("R1b", "20 nearest neighbours", over_teacher(P3)),
            ("R1c", "published probe", over_teacher(P1)),
        )
    ),
    ClaimSpec(
        "R1d",
        "It is better than students of shuffled or constant targets, a random walk and permuted weights.",
        OURS,
        AllOf(
            tuple(
                (name, gain())
                for name in (
                    *(cell.label for cell in CONTROL_CELLS),
                    "random walk of equal length",
                    "weights permuted within tensors",
                )
            )
        ),
        guarded([STUDENT, *CONTROL_CELLS], over_controls),
    ),
    ClaimSpec("R1e", "It is better than raw pixels.", PAPER, gain(), guarded([STUDENT], over_pixels)),
    ClaimSpec(
        "R2a",
        "Its features improve with the number of images.",
        PAPER,
        Effect(1, unit=POINTS),
        guarded([STUDENT], dose),
    ),
    ClaimSpec(
        "R2b",
        "On Gaussian inputs it learns less than on data.",
        PAPER,
        gain(),
        between(STUDENT, Cell(inputs="gaussian"), "converged probe, data − Gaussian inputs"),
    ),
    ClaimSpec(
        "R2c",
        "On Gaussian inputs it falls below its teacher.",
        PAPER,
        Effect(-1, margin=MARGIN, unit=POINTS),
        below_teacher(Cell(inputs="gaussian"), "converged probe, Gaussian inputs − teacher"),
    ),
    ClaimSpec(
        "R2d",
        "Distilled on other data it still surpasses its teacher here.",
        PAPER,
        gain(),
        below_teacher(Cell(inputs="other"), "converged probe, other data − teacher"),
    ),
    *(
        ClaimSpec(id, f"Starts near the teacher learn better features than far ones ({words}).", PAPER, gain(), found)
        for id, words, found in (
            ("R3a", "converged probe", locality(P2)),
            ("R3b", "20 nearest neighbours", locality(P3)),
        )
    ),
    ClaimSpec(
        "R3c",
        "Between α = 0 and 0.6 the distance does not matter.",
        PAPER,
        AS_GOOD,
        between(Cell(alpha=NEAR[-1]), STUDENT, "converged probe, α = 0.6 − α = 0"),
    ),
    ClaimSpec(
        "R4a",
        "In double precision a student at α = 0 stays where it is: its movement is rounding noise that Adam amplifies.",
        OURS,
        Equivalence(MARGIN, unit=POINTS),
        below_teacher(FLOAT64, "converged probe, α = 0 in float64 − teacher"),
    ),
    ClaimSpec(
        "R4b",
        "Near is not numerics: α = 0.001 in double precision is as good as α = 0 in single precision.",
        OURS,
        AS_GOOD,
        between(NEARLY, STUDENT, "converged probe, α = 0.001 in float64 − α = 0 in float32"),
    ),
    ClaimSpec(
        "R4c",
        "With SGD a student at α = 0 stays where it is.",
        OURS,
        Equivalence(MARGIN, unit=POINTS),
        below_teacher(Cell(numerics="SGD"), "converged probe, SGD − teacher"),
    ),
)
