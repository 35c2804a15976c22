"""Beyond groups: do fixed-point layers also copy, compute and count, beyond the lengths they were trained on?

After Movahedi et al. 2025 (arXiv 2503.10799): copying depends on what reads the state, and fixed points lead on modular
arithmetic with brackets. Here on one layer and a laptop's budget, with a diagonal layer of either kind as the bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from disobey.measures.inference.intervals import mean_over_runs, paired_difference
from disobey.records.results import Axis, Block, Chart, Claim, Estimate, Result, Text
from disobey.records.runs import RunRecord
from disobey.studies.kit import pictures
from disobey.studies.kit import verdicts as rules
from disobey.studies.kit.options import settings_of, smoke_mark
from disobey.studies.kit.sequences import BASELINES, Readings, SequenceSetup, accuracy_table
from disobey.training.recipe import Recipe, Run

SOURCE = "arXiv 2503.10799"
CHANCE = {"parity": 1 / 2, "copying": 1 / 8, "arithmetic": 1 / 5, "brackets": 1 / 5}
MAMBA, BLIND = "fixed-point Mamba", "fixed-point Mamba that does not read its output"


@dataclass(frozen=True)
class SequenceTasks:
    """Trains the layers of `state-tracking` on copying (8 symbols), arithmetic modulo 5 and parity, and evaluates at longer lengths.

    Lengths count tokens; for copying they count the symbols to copy.
    """

    name: ClassVar[str] = "sequence-tasks"
    question: ClassVar[str] = "On which tasks beyond groups does a fixed point help, and how far beyond training?"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "copying": {"tasks": ("copying",)},
        "published-lengths": {
            "tasks": ("brackets",),
            "setup": SequenceSetup(steps=5000, longest=40, far=256, lengths=(40, 64, 128, 256)),
        },
    }

    setup: SequenceSetup = SequenceSetup(far=24, lengths=(8, 12, 16, 24, 40))
    tasks: tuple[str, ...] = ("parity", "copying", "arithmetic", "brackets")
    """out of parity, copying, arithmetic, brackets"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        unknown = sorted(set(self.tasks) - set(CHANCE))
        if unknown or not self.tasks:
            raise ValueError(f"expected tasks out of {', '.join(CHANCE)}; came {unknown or 'none'}")
        if min(self.setup.lengths) < 6 and "brackets" in self.tasks:
            raise ValueError("expected lengths of at least 6 tokens for brackets, the shortest expression")

    @classmethod
    def smoke(cls) -> Self:
        setup = SequenceSetup((0, 1), steps=4, batch=4, longest=6, far=8, lengths=(6, 8), inner=8, count=8)
        return cls(setup, tasks=("copying", "brackets"), is_smoke=True)

    def arms(self, task: str) -> dict[str, Recipe]:
        """Every arm of a task by name; the Mamba-like layers have half of the width, as their state is a matrix."""
        shortest = {"arithmetic": 4, "brackets": 6}.get(task, 2)
        slim = replace(self.setup, inner=max(self.setup.inner // 2, 8))
        arms = {
            "fixed point": self.setup.recipe(task, "fixed_point", "fixed point", shortest=shortest),
            "1 sweep": self.setup.recipe(task, "fixed_point", "1 sweep", shortest=shortest, sweeps=1),
            MAMBA: slim.recipe(task, "fixed_point_mamba", MAMBA, shortest=shortest, rank=1),
            BLIND: slim.recipe(task, "fixed_point_mamba", BLIND, shortest=shortest, rank=1, state_dependent=False),
        }
        for name, layer in BASELINES.items():
            arms[name] = self.setup.recipe(task, layer, name, shortest=shortest)
        return arms

    def recipes(self) -> list[Recipe]:
        return [recipe for task in self.tasks for recipe in self.arms(task).values()]

    def plan(self) -> list[Run]:
        return [Run(recipe, seed) for seed in self.setup.seeds for recipe in self.recipes()]

    def analyze(self, records: Mapping[Run, RunRecord]) -> Result:
        r = Readings(records, self.setup.seeds, self.recipes())
        claims = [claim for task in self.tasks for claim in self._claims(task, r)]
        tables = [
            accuracy_table(
                f"{task}: every arm", self.arms(task), r, self.setup, powers=False,
                caption=f"Chance {CHANCE[task]:.3f} for an answer; mean over seeds with intervals over runs.",
            )
            for task in self.tasks
        ]  # fmt: skip
        blocks: tuple[Block, ...] = (*claims, self._chart(r), *tables, self._methods(r))
        gains = "; ".join(f"{c.setting}: {c.evidence[0].value:+.2f} {c.verdict}" for c in claims if c.name == "Q1")
        summary = f"Scaled accuracy of the fixed point minus one sweep at the training lengths: {gains}."
        return Result(self.name, self.question, blocks, summary, self.is_smoke, settings_of(self))

    def scaled(self, task: str, recipe: Recipe, length: int, r: Readings) -> np.ndarray:
        """Share of right answers, 0 at chance and 1 where all are right, (seeds,)."""
        return (r.last(recipe, length, name="eval_answers") - CHANCE[task]) / (1 - CHANCE[task])

    def _claims(self, task: str, r: Readings) -> list[Claim]:
        arms, near, far = self.arms(task), self.setup.longest, self.setup.far

        def claim(name: str, text: str, first: str, second: str, length: int) -> Claim:
            a, b = (self.scaled(task, arms[arm], length, r) for arm in (first, second))
            what = f"scaled accuracy at {length}, {first} − {second}"
            return rules.above_zero(name, text, paired_difference(a, b, what), SOURCE, task)

        found = [
            claim("Q1", "The fixed point beats one sweep, a diagonal recurrence.", "fixed point", "1 sweep", near),
            claim("Q2", "It beats the Transformer beyond the training lengths.", "fixed point", "Transformer", far),
        ]
        if task == "copying":
            found.append(claim("Q3", "Copying needs a layer that reads its last output.", MAMBA, BLIND, far))
        if task == "brackets":
            found.append(claim("Q4", "The matrix state leads on arithmetic with brackets.", MAMBA, "LSTM", far))
        return found

    def _chart(self, r: Readings) -> Chart:
        rows: list[tuple[float, str, str, Estimate]] = []
        for task in self.tasks:
            for name, recipe in self.arms(task).items():
                for n in self.setup.lengths:
                    rows.append((float(n), name, task, mean_over_runs(self.scaled(task, recipe, n, r), name)))
        return pictures.estimates_chart(
            rows,
            "tasks",
            "Scaled accuracy by length",
            Axis("x", "length", "log"),
            Axis("y", "(accuracy − chance) / (1 − chance)"),
            f"Scaled accuracy of every layer against length, by task; training had lengths up to {self.setup.longest}.",
            kind="line",
            color="layer",
        )

    def _methods(self, r: Readings) -> Text:
        s = self.setup
        return Text(
            "Methods",
            "Copying: symbols out of 8, a delimiter, then the same symbols are asked in order. Arithmetic modulo 5 with + − *, "
            "with and without brackets: the value is asked after '='. Parity: asked at every position. Training lengths go up "
            f"to {s.longest}; {s.steps:,} steps of {s.batch} (parity: half of them at a quarter of the width). One layer, d_model "
            f"32, inner width {s.inner} (Mamba-like: half, 8 rows of state, rank 1). All arms of a seed see the same words. "
            "Accuracy is over all answers asked; the table also has the last answer and whole sequences. Budgets are far below "
            f"the published ones. Intervals are Student t over {len(r.seeds)} paired seeds (95 %); no correction for the number "
            "of claims. Cite: Movahedi et al., Fixed-Point RNNs, NeurIPS 2025 (arXiv 2503.10799).",
        )
