"""What can a teacher of sequences give: softness, more labelled words, or expressivity? Nobody seems to have asked.

Three parts on one group. *words*: few labelled words and a teacher that labels, separating softness from more inputs.
*gap*: a dense teacher and a diagonal student. *sweeps*: a converged teacher and a student with its weights and few
sweeps.

Stated before any run: a teacher that has converged on these tasks answers almost one-hot, so softness is predicted to
change nothing (the null of W1, W2, W3, G1, G2). The null is tested as equivalence, with W4 as its positive control.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np

from disobey.errors import refusal
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Block, Chart, Estimate, Result, Table
from disobey.studies.kit.claims import ClaimSpec, Source, Verdicts, judge
from disobey.studies.kit.design import Records
from disobey.studies.kit.sequences import (
    MARGIN,
    TEST_SWEEPS,
    SequenceClaim,
    SequenceEvidence,
    SequenceSetup,
    Setting,
    accuracy_table,
    as_good,
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
from disobey.targets.schedule import Schedule, distill, labels
from disobey.training.recipe import Recipe, Run

OURS = Source("a prediction of ours; no publication")
Part = Literal["words", "gap", "sweeps"]
NEW = "new words, teacher's best answer"  # the arm that a pool of words is compared with


@dataclass(frozen=True)
class SequenceDistillation:
    """Distils sequence models: a labeller for few words, a dense teacher of a diagonal student, fewer sweeps.

    Students differ in their targets only: same words, order and initialization. Regression on the teacher's states and
    random teachers are the study `state-distillation`.
    """

    name: ClassVar[str] = "sequence-distillation"
    question: ClassVar[str] = "What does a sequence teacher give its student: softness, more words, or expressivity?"
    answers: ClassVar[tuple[str, ...]] = ("W1", "W4", "G1")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "words": {"parts": ("words",)},
        "ten-seeds": {"setup": SequenceSetup(seeds=tuple(range(10)))},
    }

    setup: SequenceSetup = SequenceSetup(seeds=(0, 1, 2, 3, 4))
    group: str = "S3"
    """the group whose words are tracked"""
    parts: tuple[Part, ...] = ("words", "gap", "sweeps")
    """which questions: few labelled words, a diagonal student, fewer sweeps"""
    pools: tuple[int, ...] = (25, 100)
    """numbers of labelled words"""
    temperature: float = 4.0
    """of the softened arms"""
    few: int = 4
    """sweeps of the cheap student"""
    margin: float = 0.02
    """accuracies closer than this count as equal"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        if not self.parts or not self.pools or min(self.pools) < 1:
            raise refusal("parts", "at least one part and one pool of at least one word", f"{self.parts}, {self.pools}")
        if self.few not in TEST_SWEEPS:
            raise refusal("few", f"few sweeps out of {TEST_SWEEPS}, at which the teacher is evaluated", str(self.few))
        if self.margin <= 0 or self.temperature <= 1:
            raise refusal("margin", "a margin above 0 and a temperature above 1", f"{self.margin}, {self.temperature}")

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds; evidence of nothing."""
        setup = SequenceSetup((0, 1), steps=6, batch=8, longest=4, far=8, lengths=(4, 8), inner=8, count=8)
        return cls(setup, pools=(5,), is_smoke=True)

    # which runs

    def labeller(self) -> Recipe:
        """The teacher of *words*: an LSTM that has seen new words every step."""
        return self.setup.recipe(self.group, "lstm", "LSTM")

    def dense(self) -> Recipe:
        """The teacher of *gap* and *sweeps*: a fixed-point layer, solved exactly."""
        return swept_recipe(self.setup, self.group, 0)

    def objectives(self) -> dict[str, Schedule]:
        """Targets on labelled words, by name."""
        tau = self.temperature
        return {
            "labels": labels(),
            "teacher's best answer": distill(1.0, control="argmax"),
            "soft, τ=1": distill(1.0),
            f"soft, τ={tau:g}": distill(tau),
            f"labels smoothed to its entropy, τ={tau:g}": distill(tau, control="smoothed_to_each_entropy"),
        }

    def pool_arms(self, pool: int) -> dict[str, Recipe]:
        """Students of a pool of words (0: new words every step), by the name of their targets."""
        setup = replace(self.setup, steps=max(self.setup.steps // 2, 1))  # an LSTM needs half of the steps
        chosen = (
            self.objectives() if pool else {k: self.objectives()[k] for k in ("teacher's best answer", "soft, τ=1")}
        )
        found = {}
        for name, targets in chosen.items():
            recipe = setup.recipe(self.group, "lstm", f"{name}, {_pool(pool)}", replica=1, words=pool)
            found[name] = taught(recipe, targets, self.labeller())
        return found

    def gap_arms(self) -> dict[str, Recipe]:
        """Diagonal students of the dense teacher."""
        found = {}
        for name, targets in (("labels", labels()), ("soft, τ=1", distill(1.0)), *self._softened()):
            recipe = self.setup.recipe(self.group, "diagonal_signed", f"diagonal, {name}", replica=1)
            found[name] = taught(recipe, targets, self.dense())
        return found

    def _softened(self) -> tuple[tuple[str, Schedule], ...]:
        return ((f"soft, τ={self.temperature:g}", distill(self.temperature)),)

    def sweep_arms(self) -> dict[str, Recipe]:
        """Layers of few sweeps: from the teacher's weights, by soft targets or labels; and from scratch."""
        setup, few = replace(self.setup, steps=max(self.setup.steps // 2, 1)), self.few
        found = {}
        for name, targets in (("teacher's weights, soft", distill(1.0)), ("teacher's weights, labels", labels())):
            recipe = setup.recipe(
                self.group, "fixed_point", f"{few} sweeps, {name}", replica=1, sweeps=few, start="teacher"
            )
            found[name] = replace(recipe, targets=targets, teacher=self.dense())
        return found | {"from scratch, twice the steps": swept_recipe(self.setup, self.group, few)}

    def recipes(self) -> list[Recipe]:
        """Every recipe once."""
        found: list[Recipe] = []
        if "words" in self.parts:
            found += [self.labeller(), *(r for pool in (*self.pools, 0) for r in self.pool_arms(pool).values())]
        if "gap" in self.parts:
            found += [self.dense(), *self.gap_arms().values()]
        if "sweeps" in self.parts:
            found += [self.dense(), *self.sweep_arms().values()]
        return list(dict.fromkeys(found))

    def plan(self) -> list[Run]:
        """The runs, seed by seed."""
        return [Run(recipe, seed) for seed in self.setup.seeds for recipe in self.recipes()]

    # what they say

    def verdicts(self, records: Records) -> Verdicts:
        """The claims alone."""
        return self.judged(SequenceEvidence.read(records, self.setup.seeds, self.recipes()))

    def judged(self, e: SequenceEvidence) -> Verdicts:
        """Every claim of the parts that were asked for."""
        verdicts = self.judge_words(e) if "words" in self.parts else Verdicts(())
        if "gap" in self.parts:
            where = f"{self.group}, student with one diagonal layer"
            verdicts += judge(self.gap_claims(), e, [self.setting(where, self.gap_arms())])
        if "sweeps" in self.parts:
            where = f"{self.group}, {self.few} sweeps"
            verdicts += judge(self.sweep_claims(), e, [self.setting(where, self.sweep_arms())])
        return verdicts

    def analyze(self, records: Records) -> Result:
        """What finished runs say."""
        e = SequenceEvidence.read(records, self.setup.seeds, self.recipes())
        verdicts = self.judged(e)
        blocks: list[Block] = []
        if "words" in self.parts:
            blocks += [self.pool_chart(e), self.pool_table(e)]
        if "gap" in self.parts:
            arms = {"dense teacher": self.dense(), **self.gap_arms()}
            blocks.append(self.table("A diagonal student of a dense teacher", arms, e))
        if "sweeps" in self.parts:
            blocks.append(self.table(f"Students of {self.few} sweeps", self.sweep_arms(), e))
            blocks.append(self.teacher_table(e))
        summary = verdicts.summary() + _null_summary(verdicts)
        return conclude(
            self, e.seeds, verdicts, blocks, records=records, methods=self.methods(e), cite=OURS, summary=summary
        )

    def setting(self, label: str, arms: Mapping[str, Recipe]) -> Setting:
        """What claims compare, at this study's two lengths."""
        return Setting(label, arms, self.setup.longest, self.setup.far)

    def null(
        self, id: str, text: str, soft: str, other: str, names: str, at: Literal["near", "far"] = "near"
    ) -> SequenceClaim:
        """The prediction that softness changes nothing."""
        return as_good(id, text, soft, other, at, OURS, margin=self.margin, chance=chance_of(self.group), names=names)

    def judge_words(self, e: SequenceEvidence) -> Verdicts:
        """The claims on each pool of words, then the one on new words."""
        new = {NEW: self.pool_arms(0)["teacher's best answer"]}
        pools = [
            self.setting(f"{self.group}, {pool} labelled words", self.pool_arms(pool) | new) for pool in self.pools
        ]
        where = self.setting(f"{self.group}, new words every step", self.pool_arms(0))
        return judge(self.pool_claims(), e, pools) + judge(self.new_word_claims(), e, [where])

    def pool_claims(self) -> tuple[SequenceClaim, ...]:
        """What softness, and words, are worth where words are few."""
        soft, smooth = list(self.objectives())[3:]
        same = "On the same words, soft answers teach as much as the teacher's best answer."
        return (
            self.null("W1", same, "soft, τ=1", "teacher's best answer", "soft − hard"),
            self.null(
                "W2",
                "Softening further teaches as much as smoothing labels to the same entropy.",
                soft,
                smooth,
                f"{soft} − smoothed",
            ),
            better(
                "W4",
                "New words with the teacher's best answers teach more than few words do.",
                NEW,
                "teacher's best answer",
                "near",
                OURS,
                names="new words − few",
            ),
        )

    def new_word_claims(self) -> tuple[SequenceClaim, ...]:
        """What softness is worth where every word is new."""
        text = "On new words, too, softness changes nothing."
        return (self.null("W3", text, "soft, τ=1", "teacher's best answer", "soft − hard"),)

    def gap_claims(self) -> tuple[SequenceClaim, ...]:
        """A dense teacher's softness for a diagonal student: predicted to be worth nothing."""
        text = "A dense teacher's soft answers do not help a diagonal student {} the training lengths."
        return (
            self.null("G1", text.format("within"), "soft, τ=1", "labels", "soft − labels"),
            self.null("G2", text.format("beyond"), "soft, τ=1", "labels", "soft − labels", "far"),
        )

    def sweep_claims(self) -> tuple[SequenceClaim, ...]:
        """What training with few sweeps is worth."""
        soft = "teacher's weights, soft"

        def cut(e: SequenceEvidence, s: Setting) -> list[Estimate]:
            name = f"last answer at {s.near}, soft − teacher cut to few sweeps"
            return compared(e.last(s.arms[soft], s.near), e.last(self.dense(), s.near, self.few), name)

        return (
            ClaimSpec(
                "S1",
                "Training with few sweeps repairs a converged teacher that is cut to as few.",
                OURS,
                gain(MARGIN),
                cut,
            ),
            better(
                "S2",
                "The teacher's answers repair it better than labels do, from the same weights.",
                soft,
                "teacher's weights, labels",
                "near",
                OURS,
                names="soft − labels",
            ),
            better(
                "S3",
                "Starting from the teacher's weights beats training with few sweeps from scratch for twice as long.",
                soft,
                "from scratch, twice the steps",
                "near",
                OURS,
                names="soft from its weights − from scratch",
            ),
        )

    def pool_chart(self, e: SequenceEvidence) -> Chart:
        """Accuracy by targets and by number of words."""
        arms = [(name, _pool(p), recipe) for p in (*self.pools, 0) for name, recipe in self.pool_arms(p).items()]
        alt = (
            "Accuracy of the students by their targets, by the number of labelled words and by the length of the word."
        )
        title = "What the student is trained on, and on how many words"
        return last_answers_chart(arms, e, self.setup, "words", title, x="targets", color="words", alt=alt)

    def pool_table(self, e: SequenceEvidence) -> Table:
        """The labeller and all of its students."""
        arms = {"the teacher": self.labeller()}
        for pool in (*self.pools, 0):
            arms |= {f"{_pool(pool)}: {name}": recipe for name, recipe in self.pool_arms(pool).items()}
        return self.table("Few labelled words", arms, e)

    def table(self, title: str, arms: Mapping[str, Recipe], e: SequenceEvidence) -> Table:
        """Accuracies of these arms."""
        caption = f"Chance {chance_of(self.group):.3f} for an answer. Mean over seeds with intervals over runs."
        return accuracy_table(title, arms, e, self.setup.ends, powers=True, caption=caption)

    def teacher_table(self, e: SequenceEvidence) -> Table:
        """The teacher itself with a limited number of sweeps, which it was not trained for."""

        def at(length: int):
            return lambda budget: mean_over_runs(e.last(self.dense(), length, budget), "accuracy")

        columns = (
            ("the teacher at test with", lambda budget: "exact" if budget is None else f"{budget} sweeps"),
            *((f"last answer at {n}", at(n)) for n in (self.setup.longest, self.setup.far)),
        )
        caption = "Its weights were trained with the exact solver."
        return table("The converged teacher, cut", (*TEST_SWEEPS, None), columns, caption)

    def methods(self, e: SequenceEvidence) -> str:
        """What was trained and predicted."""
        s, known = self.setup, self.recipes()
        losses = [e.history(t, "loss")[:, -50:].mean(axis=1) for t in (self.labeller(), self.dense()) if t in known]
        softness = " and ".join(f"{np.mean(loss):.4f}" for loss in losses)
        return (
            f"Uniform words in {self.group}; the label at every position is the product so far. Training words have 2 "
            f"to {s.longest} tokens. Teachers saw new words for {s.steps:,} steps of {s.batch}; their cross-entropy "
            f"at the end was {softness} nats an answer, which bounds how soft a calibrated teacher's answers are. "
            f"Students of a pool see prefixes of the same {', '.join(map(str, self.pools))} words of {s.longest} "
            "tokens for half as many steps; all students of a pool and seed share words, order and initialization. "
            "Soft targets use T²·KL. The entropy control smooths every label until its entropy is that of the "
            "teacher's own softened answer. Students of few sweeps are trained through all of their sweeps. "
            f"Predictions: softness gives nothing (within ±{self.margin:g}), more "
            "inputs give something."
        )


def _pool(words: int) -> str:
    return f"{words} words" if words else "new words"


def _null_summary(verdicts: Verdicts) -> str:
    nulls = [c for c in verdicts.claims if c.name[0] in "WG" and c.name != "W4"]
    held = sum(c.verdict == "supported" for c in nulls)
    return f" The predicted null of softness held in {held} of {len(nulls)} comparisons." if nulls else ""
