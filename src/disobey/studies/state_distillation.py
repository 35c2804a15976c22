"""What do a teacher's states teach: those of a trained one, and those of one that never learned anything?

Two parts on one group. *states*: the student's states are tied to a converged teacher's by a learned linear map, beside
the labels; optionally the student's mixer reads the teacher's states for the first half of training. *random*: a
student learns the answers of a teacher with random weights, and a linear probe looks for the product of the word so far
in its states, in its teacher's and in its own before training (Sarnthein et al. 2023, arXiv 2305.10118, on images:
students of random teachers surpass their teachers in probing).

Stated before any run. States: they help (C1, C2), most beyond the training lengths; neither another order of time, nor
another word's states, nor an untrained teacher's do (C3 to C5); soft answers help less (C6), being almost one-hot;
feeding the mixer does not add to that (C7 not supported), since the student must read its own states in the end. Random
teachers: nothing of the images' finding (R1, R2, R3 not supported): a product is no smooth function that training could
sharpen by chance; the labels' student shows that the probe finds it where it is (R4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from disobey.errors import refusal
from disobey.figures.estimates import estimates_chart
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Axis, Block, Chart, Estimate, Result, Table
from disobey.studies.kit.claims import ClaimSpec, Source, Verdicts, judge
from disobey.studies.kit.design import Records
from disobey.studies.kit.sequences import (
    MARGIN,
    SequenceClaim,
    SequenceEvidence,
    SequenceSetup,
    Setting,
    accuracy_table,
    better,
    chance_of,
    compared,
    last_answers_chart,
    swept_recipe,
    taught,
)
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.studies.kit.tables import table
from disobey.studies.kit.verdicts import gain
from disobey.targets.schedule import distill
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import StateTeaching

OURS = Source("a prediction of ours; no publication")
RANDOM = Source("arXiv 2305.10118, there for images")
Part = Literal["states", "random"]
LABELS, ANSWERS, STATES, FED = "labels", "teacher's soft answers", "labels and states", "labels and states, mixer fed"
SHUFFLED: Mapping[str, Literal["time", "words"]] = {
    "labels and states in another order of time": "time",
    "labels and states of other words": "words",
}
UNTRAINED = "labels and states of an untrained teacher"
KINDS: Mapping[str, str] = {"LSTM": "lstm", "fixed point": "fixed_point"}  # of random teachers and their students
AS_TAUGHT, BEFORE = 0, 1  # rows of eval_probe

STATE_CLAIMS: tuple[SequenceClaim, ...] = (
    better("C1", "A teacher's states help within the training lengths.", STATES, LABELS, "near", OURS),
    better("C2", "A teacher's states help beyond the training lengths.", STATES, LABELS, "far", OURS),
    *(
        better(
            id,
            f"States help only as they are: {other.removeprefix('labels and ')} teach less.",
            STATES,
            other,
            "far",
            OURS,
        )
        for id, other in zip(("C3", "C4", "C5"), (*SHUFFLED, UNTRAINED), strict=True)
    ),
    better("C6", "States teach more than soft answers do.", STATES, ANSWERS, "far", OURS),
    better("C7", "Feeding the teacher's states to the mixer adds to that.", FED, STATES, "far", OURS),
)


def probed(e: SequenceEvidence, recipe: Recipe, s: Setting, *, row: int = AS_TAUGHT) -> tuple[NDArray, NDArray]:
    """The probe's accuracy, mean over positions within and beyond the training lengths, (S,) each."""
    curves = e.history(recipe, "eval_probe")[:, row]
    return curves[:, : s.near].mean(axis=1), curves[:, s.near : s.far].mean(axis=1)


def _probe_claim(
    id: str,
    text: str,
    source: Source,
    first: tuple[str, int],
    second: tuple[str, int],
    names: str,
    *,
    beyond: bool = False,
) -> SequenceClaim:
    """That a probe finds more in one arm's states (name, row of the probe) than in another's."""

    def evidence(e: SequenceEvidence, s: Setting) -> list[Estimate]:
        a, b = (probed(e, s.arms[arm], s, row=row)[beyond] for arm, row in (first, second))
        where = f"{s.near + 1} to {s.far}" if beyond else f"1 to {s.near}"
        return compared(a, b, f"probe at {where}, {names}")

    return ClaimSpec(id, text, source, gain(MARGIN), evidence)


STUDENT, FRESH = ("its student", AS_TAUGHT), ("its student", BEFORE)
RANDOM_CLAIMS = (
    _probe_claim(
        "R1",
        "A random teacher's student knows the product better than its teacher.",
        RANDOM,
        STUDENT,
        ("random teacher", AS_TAUGHT),
        "student − teacher",
    ),
    _probe_claim(
        "R2",
        "It knows the product better than before its training.",
        RANDOM,
        STUDENT,
        FRESH,
        "student − its initialization",
    ),
    _probe_claim(
        "R3",
        "So it does beyond the training lengths.",
        OURS,
        STUDENT,
        FRESH,
        "student − its initialization",
        beyond=True,
    ),
    _probe_claim(
        "R4",
        "The probe finds the product in a student of the labels (positive control).",
        OURS,
        ("student of the labels", AS_TAUGHT),
        FRESH,
        "labels − initialization",
    ),
)


@dataclass(frozen=True)
class StateDistillation:
    """Ties a student's states to its teacher's, with controls; and probes the states of students of random teachers.

    Students have half of the teacher's steps and see new words every step. All students of a seed share words,
    order and initialization.
    """

    name: ClassVar[str] = "state-distillation"
    question: ClassVar[str] = "Do a teacher's states teach what its answers do not, even those of a random teacher?"
    answers: ClassVar[tuple[str, ...]] = ("C6", "R1")
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
            raise refusal("parts", "at least one part out of states and random", "none")
        StateTeaching(self.weight, feed=self.feed)

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds; evidence of nothing."""
        setup = SequenceSetup((0, 1), steps=6, batch=8, longest=4, far=8, lengths=(4, 8), inner=8, count=16)
        return cls(setup, is_smoke=True)

    # which runs

    def teacher(self) -> Recipe:
        """The teacher of *states*: the exactly solved layer that other studies train too."""
        return swept_recipe(self.setup, self.group, 0)

    def state_arms(self) -> dict[str, Recipe]:
        """Students of the part *states* by what they are trained on."""
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
        """Every recipe once."""
        found: list[Recipe] = []
        if "states" in self.parts:
            found += [self.teacher(), *self.state_arms().values()]
        if "random" in self.parts:
            found += [recipe for kind in KINDS for recipe in self.random_arms(kind).values()]
        return found

    def plan(self) -> list[Run]:
        """The runs, seed by seed."""
        return [Run(recipe, seed) for seed in self.setup.seeds for recipe in self.recipes()]

    # what they say

    def verdicts(self, records: Records) -> Verdicts:
        """The claims alone."""
        return self.judged(SequenceEvidence.read(records, self.setup.seeds, self.recipes()))

    def judged(self, e: SequenceEvidence) -> Verdicts:
        """Every claim of the parts that were asked for."""
        verdicts = Verdicts(())
        if "states" in self.parts:
            verdicts += judge(STATE_CLAIMS, e, [self.setting(self.group, self.state_arms())])
        if "random" in self.parts:
            settings = [self.setting(f"{self.group}, {kind}", self.random_arms(kind)) for kind in KINDS]
            verdicts += judge(RANDOM_CLAIMS, e, settings)
        return verdicts

    def analyze(self, records: Records) -> Result:
        """What finished runs say."""
        e = SequenceEvidence.read(records, self.setup.seeds, self.recipes())
        verdicts = self.judged(e)
        blocks: list[Block] = []
        if "states" in self.parts:
            blocks += [self.state_chart(e), self.state_table(e), self.explained_table(e)]
        if "random" in self.parts:
            blocks += [self.probe_chart(e), self.probe_table(e)]
        return conclude(self, e.seeds, verdicts, blocks, records=records, methods=self.methods(e), cite=OURS)

    def setting(self, label: str, arms: Mapping[str, Recipe]) -> Setting:
        """What claims compare, at this study's two lengths."""
        return Setting(label, arms, self.setup.longest, self.setup.far)

    def taught_and_teacher(self) -> dict[str, Recipe]:
        """The teacher of *states* before its students."""
        return {"the teacher": self.teacher(), **self.state_arms()}

    def state_chart(self, e: SequenceEvidence) -> Chart:
        """Accuracy by what a student learns from."""
        arms = [(name, "accuracy", recipe) for name, recipe in self.taught_and_teacher().items()]
        alt = "Accuracy of the students by what they learn from, at the longest training length and beyond."
        title = "What the student learns of its teacher"
        return last_answers_chart(
            arms, e, self.setup, "states", title, x="the student learns from", color="what", alt=alt
        )

    def state_table(self, e: SequenceEvidence) -> Table:
        """Accuracies of the teacher and its students."""
        caption = (
            f"Chance {chance_of(self.group):.3f} for an answer. Mean over seeds with intervals over runs. The teacher "
            "had twice the steps."
        )
        arms = self.taught_and_teacher()
        return accuracy_table("Students and their teacher", arms, e, self.setup.ends, powers=True, caption=caption)

    def explained_table(self, e: SequenceEvidence) -> Table:
        """How well the linear map fits: a null would say nothing where it does not."""

        def share(part: slice) -> Callable[[tuple[str, Recipe]], Estimate]:
            return lambda arm: mean_over_runs(1 - e.history(arm[1], "unexplained")[:, part].mean(axis=1), arm[0])

        tied = [
            (n, r) for n, r in self.state_arms().items() if r.sequence is not None and r.sequence.states is not None
        ]
        columns = (
            ("the student learns from", lambda arm: arm[0]),
            ("first 20 steps", share(slice(0, 20))),
            ("last 20 steps", share(slice(-20, None))),
        )
        caption = (
            "Share of the variance of the teacher's states (as given: shuffled where they are) that the learned "
            "linear map of the student's explains, on training words; below 0 where it is worse than their mean."
        )
        return table("What of the teacher's states is explained", tied, columns, caption)

    def probe_curves(self, e: SequenceEvidence) -> list[tuple[str, str, NDArray]]:
        """(kind, whose states, accuracy by position (S, positions))."""
        rows = []
        for kind in KINDS:
            arms = self.random_arms(kind)
            rows += [(kind, name, e.history(recipe, "eval_probe")[:, AS_TAUGHT]) for name, recipe in arms.items()]
            rows.append((kind, "student before training", e.history(arms["its student"], "eval_probe")[:, BEFORE]))
        return rows

    def probe_chart(self, e: SequenceEvidence) -> Chart:
        """The probe's accuracy by position."""
        rows = [
            (float(t + 1), name, kind, mean_over_runs(curve[:, t], "accuracy"))
            for kind, name, curve in self.probe_curves(e)
            for t in _shown(curve.shape[1])
        ]
        return estimates_chart(
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

    def probe_table(self, e: SequenceEvidence) -> Table:
        """The probe's accuracy within the training lengths, at their end, and beyond."""
        near, far = self.setup.longest, self.setup.far

        def accuracy(of: Callable[[NDArray], NDArray]) -> Callable[[tuple[str, str, NDArray]], Estimate]:
            return lambda row: mean_over_runs(of(row[2]), row[1])

        columns = (
            ("layer", lambda row: row[0]),
            ("states of", lambda row: row[1]),
            (f"positions 1 to {near}", accuracy(lambda curve: curve[:, :near].mean(axis=1))),
            (f"position {near}", accuracy(lambda curve: curve[:, near - 1])),
            (f"{near + 1} to {far}", accuracy(lambda curve: curve[:, near:far].mean(axis=1))),
        )
        caption = f"Accuracy of the probe; chance {chance_of(self.group):.3f}; the first position is the token itself."
        return table("Probes of the prefix product", self.probe_curves(e), columns, caption)

    def methods(self, e: SequenceEvidence) -> str:
        """What was trained, tied and probed."""
        s = self.setup
        learned = ""
        if "random" in self.parts:
            shares = " and ".join(f"{self.loss_left(kind, e):.1%} ({kind})" for kind in KINDS)
            learned = f" The students' divergence from their random teachers fell to {shares} of its start."
        return (
            f"Uniform words in {self.group}, labelled by the product so far, 2 to {s.longest} tokens, one length a "
            f"batch of {s.batch}, new ones every step. Teacher: {s.steps:,} steps; students: half as many, of the "
            f"same layer (fixed point of rank 2, inner width {s.inner}, exact solver). The states' loss is the share "
            "of the variance of the teacher's states that an affine map of the student's leaves unexplained, weight "
            f"{self.weight:g}; the map is learned along and thrown away. The fed student's mixer reads an affine map "
            f"of the teacher's previous state for {self.feed:.0%} of training, to which its own states are tied by "
            "the same loss. Random teachers are initializations, other ones than the students'; their soft answers "
            "(τ=1) are all that the student gets. The probe: logistic regression on standardized states at positions "
            f"1 to {s.longest} of {s.count:,} words, penalty chosen on {s.count:,} validation words, scored on "
            f"{s.count:,} others.{learned}"
        )

    def loss_left(self, kind: str, e: SequenceEvidence) -> float:
        """Last over first divergence of a student from its random teacher, by medians of ten steps."""
        loss = e.history(self.random_arms(kind)["its student"], "loss")
        few = min(10, loss.shape[1])
        return float(np.median(loss[:, -few:]) / np.median(loss[:, :few]))


def _untrained(recipe: Recipe) -> Recipe:
    return replace(recipe, optim=replace(recipe.optim, stop=0), name=f"{recipe.name}, untrained")


def _shown(positions: int) -> Sequence[int]:
    """Positions in the figure: the first twelve, then every fourth."""
    return [t for t in range(positions) if t < 12 or (t + 1) % 4 == 0]
