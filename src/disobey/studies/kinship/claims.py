"""The rules of `kinship`: U0 is published, U1 to U7 were written down before the runs.

Transfer is the test accuracy of the student's own class head, which nobody trains, minus that of the same head at the
student's start. Where the guard fails (U0's effect is not there) no other rule is judged: a setting without transfer
can say nothing about what transfer depends on. The guard reads means, not intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.runs import mean_over_runs
from disobey.studies.kinship.cells import AGES, ALPHAS, OTHER, PARTS, SAME, Cell, Line
from disobey.studies.kit.claims import Answer, ClaimSpec, Skip, Source
from disobey.studies.kit.evidence import Evidence, rank_association
from disobey.studies.kit.verdicts import (
    POINTS,
    BeyondControl,
    Effect,
    Equivalence,
    gain,
)
from disobey.training.recipe import Run

PUBLISHED = Source(
    "arXiv 2507.14805",
    "Cloud et al., Subliminal learning: language models transmit behavioral traits via hidden signals in data, 2025, "
    "arXiv:2507.14805 (its MNIST experiment); with the random teachers of Sarnthein et al. 2023, arXiv:2302.12091",
)
OURS = Source("a prediction of ours; no publication")
TRANSFER_MARGIN, CHANCE_MARGIN, PROBE_MARGIN = 0.02, 0.05, 0.01
SUBLIMINAL = Cell()


@dataclass(frozen=True)
class Family:
    """All arms on one data set: what the rules compare."""

    label: str
    line: Line
    chance: float
    cells: tuple[Cell, ...]

    def accuracy(self, e: Evidence, cell: Cell) -> NDArray:
        """Test accuracy of the own class head, (S,)."""
        return e.per_seed(self.line.arm(cell), "accuracy")

    def reference(self, e: Evidence) -> NDArray:
        """That of the class head at the first weights that teacher and students share, (S,)."""
        teacher = self.line.teacher()
        return np.array([e.records[Run(teacher, seed)].summary["test_accuracy@0"] for seed in e.seeds])

    def transfer(self, e: Evidence, cell: Cell) -> NDArray:
        """Accuracy beyond that of the shared first weights; beyond chance where the class head is not shared."""
        return self.accuracy(e, cell) - (self.chance if cell.alpha[2] == 1.0 else self.reference(e))

    def reading(self, e: Evidence, cell: Cell, key: str) -> NDArray:
        """Another reading of the students, (S,)."""
        return e.per_seed(self.line.arm(cell), key)


ROOM, GAIN = 0.05, 0.005  # least mean transfer, and least mean gain of a probe, that a rule can explain


def guarded(evidence: Callable[[Evidence, Family], Answer]) -> Callable[[Evidence, Family], Answer]:
    """Judges only where there is transfer to explain: on the mean, so that the answer is the same at every level."""

    def ask(e: Evidence, f: Family) -> Answer:
        if f.transfer(e, SUBLIMINAL).mean() < ROOM:
            return Skip(f"less than {ROOM:.0%} transfer from a shared start: this setting can test nothing")
        return evidence(e, f)

    return ask


def published(e: Evidence, f: Family) -> Answer:
    """Accuracy from the same start, and over that from another one."""
    same, other = f.line.arm(SUBLIMINAL), f.line.arm(Cell(OTHER))
    return [
        e.mean(same, "accuracy", name="accuracy of the class head nobody trained"),
        e.mean(same, "accuracy", minus=other, name="the same, same start − other start"),
    ]


def transfer_of(cell: Cell, name: str) -> Callable[[Evidence, Family], Answer]:
    """Transfer in one cell."""
    return guarded(lambda e, f: [mean_over_runs(f.transfer(e, cell), f"transfer, {name}")])


def difference(first: Cell, second: Cell, name: str) -> Callable[[Evidence, Family], Answer]:
    """Accuracy of the class head in one cell minus that in another."""
    return guarded(lambda e, f: [e.mean(f.line.arm(first), "accuracy", minus=f.line.arm(second), name=name)])


def along(cells: Sequence[Cell], xs: Sequence[float], name: str) -> Callable[[Evidence, Family], Answer]:
    """Rank correlation of transfer with a number over cells, within seeds."""

    def ask(e: Evidence, f: Family) -> Answer:
        found = [f.transfer(e, cell) for cell in cells]
        return [rank_association([np.full_like(y, x) for x, y in zip(xs, found, strict=True)], found, name)]

    return guarded(ask)


def gained(e: Evidence, f: Family, cell: Cell) -> NDArray:
    """Probe accuracy over that of the student's start, (S,)."""
    return f.reading(e, cell, "probe") - f.reading(e, cell, "probe@start")


def conditioning(alpha: tuple[float, float, float]) -> Callable[[Evidence, Family], Answer]:
    """A random teacher's student in probing, over its start's features with its own spectrum."""

    def evidence(e: Evidence, f: Family) -> Answer:
        cell = Cell(alpha, age=0.0, inputs="data")
        if not f.line.probes:
            return Skip("--no-probes")
        gain_over_start = gained(e, f, cell)
        if gain_over_start.mean() < GAIN:
            return Skip(f"the probe gains less than {GAIN:.1%} from a random teacher: nothing to explain")
        matched = f.reading(e, cell, "probe") - f.reading(e, cell, "probe@matched")
        return [
            mean_over_runs(matched, "probe, student − start with the student's spectrum"),
            mean_over_runs(gain_over_start, "probe, student − start"),
        ]

    return evidence


def from_the_teacher(e: Evidence, f: Family) -> Answer:
    """The probe's gain with a trained teacher, over that with a random one."""
    if not f.line.probes:
        return Skip("--no-probes")
    trained, untrained = (gained(e, f, Cell(age=age)) for age in (1.0, 0.0))
    return [mean_over_runs(trained - untrained, "gain of the probe, trained − random teacher")]


def moved_alike(f: Family) -> tuple[Cell, ...]:
    """The cells that U5 ranks: all students of the trained teacher with Adam and KL, of the first generation."""
    return tuple(c for c in f.cells if c.age == 1 and c.optimizer == "adam" and c.loss == "kl" and c.generation == 1)


def alignment_ranks(e: Evidence, f: Family) -> Answer:
    """Rank correlation over cells of transfer and cos(student's movement, teacher's movement)."""
    cells = moved_alike(f)
    alike, found = [f.reading(e, c, "toward") for c in cells], [f.transfer(e, c) for c in cells]
    return [rank_association(alike, found, f"rank correlation of transfer and alignment over {len(cells)} cells")]


def matched_loss(e: Evidence, f: Family) -> Answer:
    """SGD's class head when its loss first is as low as Adam's last, minus Adam's at its end."""
    differences = []
    for seed in e.seeds:
        adam, sgd = (
            e.records[Run(f.line.student(Cell(optimizer=name)), seed)].history
            for name in ("adam", "sgd, four times as long")
        )
        reached = np.flatnonzero(sgd["curve_loss"] <= adam["curve_loss"][-1])
        if not len(reached):
            return Skip("SGD does not reach Adam's loss within four times as many steps")
        differences.append(sgd["curve_accuracy"][reached[0]] - adam["curve_accuracy"][-1])
    return [mean_over_runs(np.array(differences), "accuracy of the class head at Adam's last loss, SGD − Adam")]


def _later(generation: int) -> Cell:
    return Cell(generation=generation)


LESS = Effect(-1, margin=TRANSFER_MARGIN, unit=POINTS)
MORE = Effect(1, margin=TRANSFER_MARGIN, unit=POINTS)
CLASSES_DATA = Cell(inputs="data", learns="classes")
BY_ALPHA = (Cell(), *(Cell((a, a, a)) for a in ALPHAS), Cell(OTHER))

KinshipClaim = ClaimSpec[Evidence, Family]
CLAIMS: tuple[KinshipClaim, ...] = (
    ClaimSpec(
        "U0",
        "A student with its teacher's first weights, taught auxiliary logits on noise, reads more than half of the "
        "images with a class head that nobody trained.",
        PUBLISHED,
        BeyondControl(Effect(1, 0.5, unit=POINTS), MORE),
        published,
    ),
    ClaimSpec(
        "U1a",
        "Shared heads are enough: with hidden layers drawn anew the class head still reads above its start.",
        OURS,
        MORE,
        transfer_of(Cell(PARTS["hidden layers drawn anew"]), "hidden layers drawn anew"),
    ),
    ClaimSpec(
        "U1b",
        "A class head drawn anew reads at chance.",
        OURS,
        Equivalence(CHANCE_MARGIN, unit=POINTS),
        transfer_of(Cell(PARTS["class head drawn anew"]), "class head drawn anew, over chance"),
    ),
    ClaimSpec(
        "U1c",
        "With the auxiliary head drawn anew less is transferred.",
        OURS,
        LESS,
        difference(Cell(PARTS["auxiliary head drawn anew"]), SUBLIMINAL, "auxiliary head anew − shared"),
    ),
    ClaimSpec(
        "U2a",
        "Transfer falls with the distance α of the start.",
        OURS,
        Effect(-1),
        along(BY_ALPHA, (0.0, *ALPHAS, 1.0), "rank correlation of transfer and α"),
    ),
    ClaimSpec(
        "U2b",
        "A random teacher transfers nothing to the class head.",
        OURS,
        Equivalence(TRANSFER_MARGIN, unit=POINTS),
        transfer_of(Cell(age=0.0), "random teacher"),
    ),
    ClaimSpec(
        "U2c",
        "Transfer rises with the teacher's age.",
        OURS,
        Effect(1),
        along([Cell(age=age) for age in AGES], AGES, "rank correlation of transfer and the teacher's age"),
    ),
    *(
        ClaimSpec(
            id,
            "What a random teacher's student gains in probing is scale and conditioning: its start's features with its "
            f"spectrum are as good ({words}).",
            OURS,
            Equivalence(PROBE_MARGIN, unit=POINTS),
            conditioning(alpha),
        )
        for id, alpha, words in (("U3a", SAME, "same start"), ("U3b", OTHER, "other start"))
    ),
    ClaimSpec(
        "U3c",
        "A trained teacher adds to the probe what a random one does not.",
        OURS,
        gain(),
        from_the_teacher,
    ),
    ClaimSpec(
        "U4a",
        "Noise transfers more than data through auxiliary logits.",
        OURS,
        MORE,
        difference(SUBLIMINAL, Cell(inputs="data"), "auxiliary logits, noise − data"),
    ),
    *(
        ClaimSpec(
            id,
            f"Noise transfers less than data through class logits ({words}).",
            OURS,
            LESS,
            difference(Cell(alpha, learns="classes"), replace(CLASSES_DATA, alpha=alpha), "class logits, noise − data"),
        )
        for id, alpha, words in (("U4b", SAME, "same start"), ("U4c", OTHER, "other start"))
    ),
    ClaimSpec(
        "U5",
        "The cosine of the student's and the teacher's movement ranks the cells by transfer.",
        OURS,
        Effect(1, 0.5),
        guarded(alignment_ranks),
    ),
    ClaimSpec(
        "U6",
        "A student's student has less of the trait than the student.",
        OURS,
        LESS,
        difference(_later(2), _later(1), "class head, second − first generation"),
    ),
    ClaimSpec(
        "U7",
        "At equal loss SGD transfers less than Adam.",
        OURS,
        LESS,
        guarded(matched_loss),
    ),
)
