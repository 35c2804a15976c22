"""What do a teacher's states teach: those of a trained one, and those of one that never learned anything?

Two parts on one group. *states*: the student's states are tied to a converged teacher's by a learned linear map, beside
the labels; optionally the student's mixer reads the teacher's states for the first half of training. *random*: a student
learns the answers of a teacher with random weights, and a linear probe looks for the product of the word so far in
its states, in its teacher's and in its own before training (Sarnthein et al. 2023, arXiv 2305.10118, on images:
students of random teachers surpass their teachers in probing).

Stated before any run. States: they help (C1, C2), most beyond the training lengths; neither another order of time, nor
another word's states, nor an untrained teacher's do (C3 to C5); soft answers help less (C6), being almost one-hot; feeding the
mixer does not add to that (C7 not supported), since the student must read its own states in the end. Random teachers: nothing
of the images' finding (R1, R2, R3 not supported): a product is no smooth function that training could sharpen by chance;
the labels' student shows that the probe finds it where it is (R4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.intervals import mean_over_runs, paired_difference
from disobey.records.results import Axis, Block, Cell, Chart, Claim, Estimate, Result, Table, Text
from disobey.records.runs import RunRecord
from disobey.studies.kit import pictures
from disobey.studies.kit import verdicts as rules
from disobey.studies.kit.options import settings_of, smoke_mark
from disobey.studies.kit.sequences import (
    Readings,
    SequenceSetup,
    accuracy_table,
    chance_of,
    counted,
    last_answers_chart,
    swept_recipe,
    taught,
)
from disobey.targets.schedule import distill
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import StateTeaching

OURS = "stated before the runs; no publication"
RANDOM = "arXiv 2305.10118, there for images"
Part = Literal["states", "random"]
LABELS, ANSWERS, STATES, FED = "labels", "teacher's soft answers", "labels and states", "labels and states, mixer fed"
SHUFFLED: Mapping[str, Literal["time", "words"]] = {
    "labels and states in another order of time": "time",
    "labels and states of other words": "words",
}
UNTRAINED = "labels and states of an untrained teacher"
KINDS: Mapping[str, str] = {"LSTM": "lstm", "fixed point": "fixed_point"}  # of random teachers and their students
AS_TAUGHT, BEFORE = 0, 1  # rows of eval_probe


@dataclass(frozen=True)
class StateDistillation:
    """Ties a student's states to its teacher's, with controls; and probes the states of students of random teachers.

    Students have half of the teacher's steps and see new words every step. All students of a seed share words,
    order and initialization.
    """

    name: ClassVar[str] = "state-distillation"
    question: ClassVar[str] = "Do a teacher's states teach what its answers do not, even those of a random teacher?"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "states": {"parts": ("states",)},
        "random": {"parts": ("random",)},
    }

    setup: SequenceSetup = SequenceSetup(seeds=(0, 1, 2, 3, 4))
    group: str = "S3"
    """the group whose words are tracked"""
    parts: tuple[Part, ...] = ("states", "random")
    """which questions: a trained teacher's states, a random teacher's answers"""
    weight: float = 1.0
    """of the states' loss (share of the teacher's variance left unexplained) beside the labels' cross-entropy"""
    feed: float = 0.5
    """share of training in which the fed student's mixer reads the teacher's states"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        if not self.parts:
            raise ValueError("expected at least one part out of states and random")
        StateTeaching(self.weight, feed=self.feed)

    @classmethod
    def smoke(cls) -> Self:
        setup = SequenceSetup((0, 1), steps=6, batch=8, longest=4, far=8, lengths=(4, 8), inner=8, count=16)
        return cls(setup, is_smoke=True)

    # which runs

    def teacher(self) -> Recipe:
        """The teacher of *states*: the exactly solved layer that other studies train too."""
        return swept_recipe(self.setup, self.group, 0)

    def state_arms(self) -> dict[str, Recipe]:
        """Students of the part *states* by what they are told."""
        setup = replace(self.setup, steps=max(self.setup.steps // 2, 1))
        plain = setup.recipe(self.group, "fixed_point", LABELS, replica=1)

        def tied(name: str, teacher: Recipe, **options: Any) -> Recipe:
            assert plain.sequence is not None
            states = StateTeaching(self.weight, **options)
            return replace(plain, sequence=replace(plain.sequence, states=states), teacher=teacher, name=name)

        teacher = self.teacher()
        arms = {
            LABELS: plain,
            ANSWERS: replace(taught(plain, distill(1.0), teacher), name=ANSWERS),
            STATES: tied(STATES, teacher),
            FED: tied(FED, teacher, feed=self.feed),
        }
        for name, control in SHUFFLED.items():
            arms[name] = tied(name, teacher, control=control)
        return arms | {UNTRAINED: tied(UNTRAINED, _untrained(teacher))}

    def random_arms(self, kind: str) -> dict[str, Recipe]:
        """By name: the random teacher, its student, and the same student of the labels; all with probes."""
        setup = replace(self.setup, steps=max(self.setup.steps // 2, 1))
        layer = KINDS[kind]
        teacher = _untrained(setup.recipe(self.group, layer, f"random {kind}", probe=True))
        student = setup.recipe(self.group, layer, f"{kind}, labels", replica=1, probe=True)
        return {
            "random teacher": teacher,
            "its student": replace(taught(student, distill(1.0), teacher), name=f"{kind}, random teacher"),
            "student of the labels": student,
        }

    def recipes(self) -> list[Recipe]:
        found: list[Recipe] = []
        if "states" in self.parts:
            found += [self.teacher(), *self.state_arms().values()]
        if "random" in self.parts:
            found += [recipe for kind in KINDS for recipe in self.random_arms(kind).values()]
        return found

    def plan(self) -> list[Run]:
        return [Run(recipe, seed) for seed in self.setup.seeds for recipe in self.recipes()]

    # what they say

    def analyze(self, records: Mapping[Run, RunRecord]) -> Result:
        r = Readings(records, self.setup.seeds, self.recipes())
        claims: list[Claim] = []
        blocks: list[Block] = []
        if "states" in self.parts:
            claims += self._state_claims(r)
            blocks += [self._state_chart(r), self._state_table(r), self._explained_table(r)]
        if "random" in self.parts:
            claims += [claim for kind in KINDS for claim in self._random_claims(kind, r)]
            blocks += [self._probe_chart(r), self._probe_table(r)]
        whole: tuple[Block, ...] = (*claims, *blocks, self._methods(r))
        return Result(self.name, self.question, whole, counted(claims), self.is_smoke, settings_of(self))

    def _state_claims(self, r: Readings) -> list[Claim]:
        arms, near, far = self.state_arms(), self.setup.longest, self.setup.far
        asked = [
            ("C1", "A teacher's states help within the training lengths.", STATES, LABELS, near),
            ("C2", "A teacher's states help beyond the training lengths.", STATES, LABELS, far),
            *(
                (name, f"States help only as they are: {other.removeprefix('labels and ')} teach less.", STATES, other, far)
                for name, other in zip(("C3", "C4", "C5"), (*SHUFFLED, UNTRAINED), strict=True)
            ),
            ("C6", "States teach more than soft answers do.", STATES, ANSWERS, far),
            ("C7", "Feeding the teacher's states to the mixer adds to that.", FED, STATES, far),
        ]  # fmt: skip
        claims = []
        for name, text, first, second, length in asked:
            what = f"last answer at {length}, {first} − {second}"
            gain = paired_difference(r.last(arms[first], length), r.last(arms[second], length), what)
            claims.append(rules.above_zero(name, text, gain, OURS, self.group))
        return claims

    def probed(self, recipe: Recipe, r: Readings, *, row: int = AS_TAUGHT) -> tuple[NDArray, NDArray]:
        """The probe's accuracy, mean over positions within and beyond the training lengths, (seeds,) each."""
        curves = r.of(recipe, "eval_probe")[:, row]
        near, far = self.setup.longest, self.setup.far
        return curves[:, :near].mean(axis=1), curves[:, near:far].mean(axis=1)

    def _random_claims(self, kind: str, r: Readings) -> list[Claim]:
        arms = self.random_arms(kind)
        student, where = arms["its student"], f"{self.group}, {kind}"
        taught_in, taught_out = self.probed(student, r)
        fresh_in, fresh_out = self.probed(student, r, row=BEFORE)
        teacher_in, _ = self.probed(arms["random teacher"], r)
        ceiling, _ = self.probed(arms["student of the labels"], r)
        within = f"probe at 1 to {self.setup.longest}"
        asked: list[tuple[str, str, NDArray, NDArray, str, str]] = [
            ("R1", "A random teacher's student knows the product better than its teacher.",
             taught_in, teacher_in, f"{within}, student − teacher", RANDOM),
            ("R2", "It knows the product better than before its training.",
             taught_in, fresh_in, f"{within}, student − its initialization", RANDOM),
            ("R3", "So it does beyond the training lengths.",
             taught_out, fresh_out, f"probe at {self.setup.longest + 1} to {self.setup.far}, student − its initialization", OURS),
            ("R4", "The probe finds the product in a student of the labels (positive control).",
             ceiling, fresh_in, f"{within}, labels − initialization", OURS),
        ]  # fmt: skip
        return [
            rules.above_zero(name, text, paired_difference(first, second, what), source, where)
            for name, text, first, second, what, source in asked
        ]

    def _state_chart(self, r: Readings) -> Chart:
        arms = [(n, "accuracy", recipe) for n, recipe in {"the teacher": self.teacher(), **self.state_arms()}.items()]
        alt = "Accuracy of the students by what they learn from, at the longest training length and beyond."
        title = "What the student is told about its teacher"
        return last_answers_chart(
            arms, r, self.setup, "states", title, x="the student learns from", color="what", alt=alt
        )

    def _state_table(self, r: Readings) -> Table:
        arms = {"the teacher": self.teacher(), **self.state_arms()}
        caption = (
            f"Chance {chance_of(self.group):.3f} for an answer. Mean over seeds with intervals over runs. The teacher had "
            "twice the steps."
        )
        return accuracy_table("Students and their teacher", arms, r, self.setup, powers=True, caption=caption)

    def _explained_table(self, r: Readings) -> Table:
        """How far the linear map got: else a null would say nothing."""
        rows: list[tuple[Cell, ...]] = []
        for name, recipe in self.state_arms().items():
            assert recipe.sequence is not None
            if recipe.sequence.states is not None:
                curve = r.of(recipe, "unexplained")
                first, last = (1 - curve[:, part].mean(axis=1) for part in (slice(0, 20), slice(-20, None)))
                rows.append((name, *(mean_over_runs(part, name) for part in (first, last))))
        columns = ("the student learns from", "first 20 steps", "last 20 steps")
        caption = (
            "Share of the variance of the teacher's states (as given: shuffled where they are) that the learned linear map "
            "of the student's explains, on training words; below 0 where it is worse than their mean."
        )
        return Table("What of the teacher's states is explained", columns, tuple(rows), caption)

    def _probe_rows(self, r: Readings) -> list[tuple[str, str, NDArray]]:
        """(kind, whose states, accuracy by position (seeds, positions))."""
        rows = []
        for kind in KINDS:
            for name, recipe in self.random_arms(kind).items():
                rows.append((kind, name, r.of(recipe, "eval_probe")[:, AS_TAUGHT]))
            student = self.random_arms(kind)["its student"]
            rows.append((kind, "student before training", r.of(student, "eval_probe")[:, BEFORE]))
        return rows

    def _probe_chart(self, r: Readings) -> Chart:
        rows: list[tuple[float, str, str, Estimate]] = [
            (float(t + 1), name, kind, mean_over_runs(curve[:, t], "accuracy"))
            for kind, name, curve in self._probe_rows(r)
            for t in _shown(curve.shape[1])
        ]
        return pictures.estimates_chart(
            rows,
            "probes",
            "The product of the word so far, read off the states by a linear probe",
            Axis("x", "position in the word", "log"),
            Axis("y", "the probe is right"),
            "Accuracy of a logistic probe of the prefix product against position, by whose states it reads; fitted on "
            f"positions up to {self.setup.longest}.",
            kind="line",
            color="states",
        )

    def _probe_table(self, r: Readings) -> Table:
        near, far = self.setup.longest, self.setup.far
        rows: list[tuple[Cell, ...]] = []
        for kind, name, curve in self._probe_rows(r):
            parts = (curve[:, :near].mean(axis=1), curve[:, near - 1], curve[:, near:far].mean(axis=1))
            rows.append((kind, name, *(mean_over_runs(part, name) for part in parts)))
        columns = ("layer", "states of", f"positions 1 to {near}", f"position {near}", f"{near + 1} to {far}")
        caption = f"Accuracy of the probe; chance {chance_of(self.group):.3f}; the first position is the token itself."
        return Table("Probes of the prefix product", columns, tuple(rows), caption)

    def _methods(self, r: Readings) -> Text:
        s = self.setup
        learned = ""
        if "random" in self.parts:
            shares = [self._learned(kind, r) for kind in KINDS]
            learned = " The students' divergence from their random teachers fell to " + " and ".join(
                f"{share:.1%} ({kind})" for share, kind in zip(shares, KINDS, strict=True)
            )
            learned += " of its start."
        return Text(
            "Methods",
            f"Uniform words in {self.group}, labelled by the product so far, 2 to {s.longest} tokens, one length a batch of "
            f"{s.batch}, new ones every step. Teacher: {s.steps:,} steps; students: half as many, of the same layer (fixed "
            f"point of rank 2, inner width {s.inner}, exact solver). The states' loss is the share of the variance of the "
            f"teacher's states that an affine map of the student's leaves unexplained, weight {self.weight:g}; the map is learned "
            "along and thrown away. The fed student's mixer reads an affine map of the teacher's previous state for "
            f"{self.feed:.0%} of training, to which its own states are tied by the same loss. Random teachers are "
            "initializations, other ones than the students'; their soft answers (τ=1) are all that the student gets. The "
            f"probe: logistic regression on standardized states at positions 1 to {s.longest} of {s.count:,} words, penalty "
            f"chosen on {s.count:,} validation words, scored on {s.count:,} others.{learned} Predictions were written down "
            f"before the runs. Intervals are Student t over {len(r.seeds)} paired seeds (95 %); no correction for the number "
            "of claims.",
        )

    def _learned(self, kind: str, r: Readings) -> float:
        """Last over first divergence of a student from its random teacher, by medians of ten steps."""
        loss = r.of(self.random_arms(kind)["its student"], "loss")
        few = min(10, loss.shape[1])
        return float(np.median(loss[:, -few:]) / np.median(loss[:, :few]))


def _untrained(recipe: Recipe) -> Recipe:
    return replace(recipe, optim=replace(recipe.optim, stop=0), name=f"{recipe.name}, untrained")


def _shown(positions: int) -> Sequence[int]:
    """Positions in the figure: the first twelve, then every fourth."""
    return [t for t in range(positions) if t < 12 or (t + 1) % 4 == 0]
