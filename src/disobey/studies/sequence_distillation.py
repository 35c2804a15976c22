"""What can a teacher of sequences give: softness, more labelled words, or expressivity? Nobody seems to have asked.

Three parts on one group. *words*: few labelled words and a teacher that labels, separating softness from more inputs.
*gap*: a dense teacher and a diagonal student. *sweeps*: a converged teacher and a student with its weights and few sweeps.

Stated before any run: a teacher that has converged on these tasks answers almost one-hot, so softness is predicted to
change nothing (the null of W1, W2, W3, G1, G2). The null is tested as equivalence, with W4 as its positive control.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.intervals import mean_over_runs, paired_difference
from disobey.records.results import Block, Cell, Chart, Claim, Result, Table, Text
from disobey.records.runs import RunRecord
from disobey.studies.kit import verdicts as rules
from disobey.studies.kit.options import settings_of, smoke_mark
from disobey.studies.kit.sequences import (
    TEST_SWEEPS,
    Readings,
    SequenceSetup,
    accuracy_table,
    chance_of,
    counted,
    last_answers_chart,
    predicted_null,
    swept_recipe,
    taught,
)
from disobey.targets.schedule import Schedule, distill, labels
from disobey.training.recipe import Recipe, Run

OURS = "stated before the runs; no publication"
Part = Literal["words", "gap", "sweeps"]


@dataclass(frozen=True)
class SequenceDistillation:
    """Distils sequence models: a labeller for few words, a dense teacher of a diagonal student, fewer sweeps.

    Students differ in their targets only: same words, order and initialization. Regression on the teacher's states and
    random teachers are the study `state-distillation`.
    """

    name: ClassVar[str] = "sequence-distillation"
    question: ClassVar[str] = "What does a sequence teacher give its student: softness, more words, or expressivity?"
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
            raise ValueError("expected at least one part and one pool of at least one word")
        if self.few not in TEST_SWEEPS:
            raise ValueError(
                f"expected few sweeps out of {TEST_SWEEPS}, at which the teacher is evaluated; came {self.few}"
            )
        if self.margin <= 0 or self.temperature <= 1:
            raise ValueError("expected a margin above 0 and a temperature above 1")

    @classmethod
    def smoke(cls) -> Self:
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
        found: list[Recipe] = []
        if "words" in self.parts:
            found += [self.labeller(), *(r for pool in (*self.pools, 0) for r in self.pool_arms(pool).values())]
        if "gap" in self.parts:
            found += [self.dense(), *self.gap_arms().values()]
        if "sweeps" in self.parts:
            found += [self.dense(), *self.sweep_arms().values()]
        return list(dict.fromkeys(found))

    def plan(self) -> list[Run]:
        return [Run(recipe, seed) for seed in self.setup.seeds for recipe in self.recipes()]

    # what they say

    def analyze(self, records: Mapping[Run, RunRecord]) -> Result:
        r = Readings(records, self.setup.seeds, self.recipes())
        claims: list[Claim] = []
        blocks: list[Block] = []
        if "words" in self.parts:
            claims += self._word_claims(r)
            blocks += [self._pool_chart(r), self._pool_table(r)]
        if "gap" in self.parts:
            claims += self._gap_claims(r)
            arms = {"dense teacher": self.dense(), **self.gap_arms()}
            blocks.append(self._table("A diagonal student of a dense teacher", arms, r))
        if "sweeps" in self.parts:
            claims += self._sweep_claims(r)
            blocks.append(self._table(f"Students of {self.few} sweeps", self.sweep_arms(), r))
            blocks.append(self._teacher_table(r))
        blocks.append(self._methods(r))
        whole: tuple[Block, ...] = (*claims, *blocks)
        return Result(self.name, self.question, whole, _summary(claims), self.is_smoke, settings_of(self))

    def _word_claims(self, r: Readings) -> list[Claim]:
        near, claims = self.setup.longest, []
        soft, smooth = list(self.objectives())[3:]
        for pool in self.pools:
            arms, where = self.pool_arms(pool), f"{self.group}, {pool} labelled words"
            at = {name: r.last(recipe, near) for name, recipe in arms.items()}
            hard = at["teacher's best answer"]
            new = r.last(self.pool_arms(0)["teacher's best answer"], near)
            claims += [
                self._null("W1", "On the same words, soft answers teach as much as the teacher's best answer.",
                           at["soft, τ=1"], hard, f"last answer at {near}, soft − hard", where),
                self._null("W2", "Softening further teaches as much as smoothing labels to the same entropy.",
                           at[soft], at[smooth], f"last answer at {near}, {soft} − smoothed", where),
                rules.above_zero("W4", "New words with the teacher's best answers teach more than few words do.",
                                 paired_difference(new, hard, f"last answer at {near}, new words − few"), OURS, where),
            ]  # fmt: skip
        fresh = {name: r.last(recipe, near) for name, recipe in self.pool_arms(0).items()}
        name, text = f"last answer at {near}, soft − hard", "On new words, too, softness changes nothing."
        where = f"{self.group}, new words every step"
        return [*claims, self._null("W3", text, fresh["soft, τ=1"], fresh["teacher's best answer"], name, where)]

    def _gap_claims(self, r: Readings) -> list[Claim]:
        arms, claims = self.gap_arms(), []
        for name, length, where in (("G1", self.setup.longest, "within"), ("G2", self.setup.far, "beyond")):
            text = f"A dense teacher's soft answers do not help a diagonal student {where} the training lengths."
            soft, hard = r.last(arms["soft, τ=1"], length), r.last(arms["labels"], length)
            setting = f"{self.group}, student with one diagonal layer"
            claims.append(self._null(name, text, soft, hard, f"last answer at {length}, soft − labels", setting))
        return claims

    def _sweep_claims(self, r: Readings) -> list[Claim]:
        arms, near, where = self.sweep_arms(), self.setup.longest, f"{self.group}, {self.few} sweeps"
        soft = r.last(arms["teacher's weights, soft"], near)
        others = {
            "S1": ("Training with few sweeps repairs a converged teacher that is cut to as few.",
                   r.last(self.dense(), near, self.few), "soft − teacher cut to few sweeps"),
            "S2": ("The teacher's answers repair it better than labels do, from the same weights.",
                   r.last(arms["teacher's weights, labels"], near), "soft − labels"),
            "S3": ("Starting from the teacher's weights beats training with few sweeps from scratch for twice as long.",
                   r.last(arms["from scratch, twice the steps"], near), "soft from its weights − from scratch"),
        }  # fmt: skip
        return [
            rules.above_zero(name, text, paired_difference(soft, other, f"last answer at {near}, {what}"), OURS, where)
            for name, (text, other, what) in others.items()
        ]

    def _null(self, name: str, text: str, soft: NDArray, other: NDArray, what: str, setting: str) -> Claim:
        chance = chance_of(self.group)
        pair = soft, other
        return predicted_null(name, text, pair, what, margin=self.margin, chance=chance, source=OURS, setting=setting)

    def _pool_chart(self, r: Readings) -> Chart:
        arms = [(name, _pool(p), recipe) for p in (*self.pools, 0) for name, recipe in self.pool_arms(p).items()]
        alt = (
            "Accuracy of the students by their targets, by the number of labelled words and by the length of the word."
        )
        title = "What the student is told, and on how many words"
        return last_answers_chart(arms, r, self.setup, "words", title, x="targets", color="words", alt=alt)

    def _pool_table(self, r: Readings) -> Table:
        arms = {"the teacher": self.labeller()}
        for pool in (*self.pools, 0):
            arms |= {f"{_pool(pool)}: {name}": recipe for name, recipe in self.pool_arms(pool).items()}
        return self._table("Few labelled words", arms, r)

    def _table(self, title: str, arms: Mapping[str, Recipe], r: Readings) -> Table:
        caption = f"Chance {chance_of(self.group):.3f} for an answer. Mean over seeds with intervals over runs."
        return accuracy_table(title, arms, r, self.setup, powers=True, caption=caption)

    def _teacher_table(self, r: Readings) -> Table:
        """The teacher itself under a budget of sweeps, untrained for it."""
        lengths = (self.setup.longest, self.setup.far)
        rows: list[tuple[Cell, ...]] = []
        for budget in (*TEST_SWEEPS, None):
            cells = (mean_over_runs(r.last(self.dense(), n, budget), "accuracy") for n in lengths)
            rows.append(("exact" if budget is None else f"{budget} sweeps", *cells))
        columns = ("the teacher at test with", *(f"last answer at {n}" for n in lengths))
        return Table(
            "The converged teacher, cut", columns, tuple(rows), "Its weights were trained with the exact solver."
        )

    def _methods(self, r: Readings) -> Text:
        s = self.setup
        losses = [r.of(t, "loss")[:, -50:].mean(axis=1) for t in (self.labeller(), self.dense()) if t in self.recipes()]
        softness = " and ".join(f"{np.mean(loss):.4f}" for loss in losses)
        return Text(
            "Methods",
            f"Uniform words in {self.group}; the label at every position is the product so far. Training words have 2 to "
            f"{s.longest} tokens. Teachers saw new words for {s.steps:,} steps of {s.batch}; their cross-entropy at the end was "
            f"{softness} nats an answer, which bounds how soft a calibrated teacher's answers are. Students of a pool see "
            f"prefixes of the same {', '.join(map(str, self.pools))} words of {s.longest} tokens for half as many steps; all "
            "students of a pool and seed share words, order and initialization. Soft targets use T²·KL. The entropy control "
            "smooths every label until its entropy is that of the teacher's own softened answer. Students of few sweeps are "
            "trained through all of their sweeps. Predictions were written down before the runs: softness gives nothing "
            f"(within ±{self.margin:g}), more inputs give something. Intervals are Student t over {len(r.seeds)} paired seeds "
            "(95 %); no correction for the number of claims.",
        )


def _pool(words: int) -> str:
    return f"{words} words" if words else "new words"


def _summary(claims: list[Claim]) -> str:
    nulls = [c for c in claims if c.name[0] in "WG" and c.name != "W4"]
    held = sum(c.verdict == "supported" for c in nulls)
    said = f" The predicted null of softness held in {held} of {len(nulls)} comparisons." if nulls else ""
    return counted(claims) + said
