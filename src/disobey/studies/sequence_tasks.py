"""Beyond groups: do fixed-point layers also copy, compute and count, beyond the lengths they were trained on?

After Movahedi et al. 2025 (arXiv 2503.10799): copying depends on what reads the state, and fixed points lead on modular
arithmetic with brackets. Here on one layer and a laptop's budget, with a diagonal layer of either kind as the bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from disobey.errors import refusal
from disobey.figures.estimates import estimates_chart
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Axis, Cell, Chart, Estimate, Result, Table
from disobey.studies.kit.claims import ClaimSpec, Skip, Source, Verdicts, judge
from disobey.studies.kit.design import Records
from disobey.studies.kit.sequences import (
    BASELINES,
    MARGIN,
    SequenceClaim,
    SequenceEvidence,
    SequenceSetup,
    Setting,
    accuracy_table,
    better,
    compared,
)
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.studies.kit.tables import table
from disobey.studies.kit.verdicts import POINTS, above, gain
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import HeadSpec, sequence_task

PAPER = Source("arXiv 2503.10799", "Movahedi et al., Fixed-Point RNNs, NeurIPS 2025 (arXiv 2503.10799)")
CHANCE = {
    "parity": 1 / 2,
    "copying": 1 / 8,
    "arithmetic": 1 / 5,
    "brackets": 1 / 5,
    "last-parity": 1 / 2,
    "even-pairs": 1 / 2,
    "cycle-navigation": 1 / 5,
}
MAMBA, BLIND = "fixed-point Mamba", "fixed-point Mamba that does not read its output"
REFLECTIONS, DELTA_NET, DELTA_PRODUCT = "reflections", "DeltaNet", "DeltaProduct"
REGULAR = ("arithmetic", "cycle-navigation", "even-pairs", "last-parity")
# Mean over 40 to 256 tokens after training on up to 40, in published tables as of 28 November 2026. Brackets: scaled
# accuracy, from the paper. The others are printed as percentages, perhaps not scaled: F5 takes the stricter reading.
PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "arithmetic": {"LSTM": 0.999, "PD-SSM": 0.962, "GatedDeltaProduct": 0.580},
    "cycle-navigation": {"LSTM": 1.000, "PD-SSM": 0.995, "GatedDeltaProduct": 0.614},
    "brackets": {
        "FP-Mamba, rank 4": 0.384,
        "GatedDeltaProduct": 0.342,
        "DeltaNet": 0.200,
        "sLSTM": 0.173,
        "Mamba": 0.136,
        "mLSTM": 0.034,
        "Transformer, two layers": 0.025,
    },
}
REGULAR_PUBLISHED = {task: PUBLISHED[task]["GatedDeltaProduct"] for task in REGULAR if task in PUBLISHED}
TABLE = Source("published tables of regular tasks", "published tables of regular tasks, as of 28 November 2026")


def scaled(e: SequenceEvidence, recipe: Recipe, length: int) -> NDArray:
    """Share of right answers, 0 at chance and 1 where all are right, (S,)."""
    chance = CHANCE[sequence_task(recipe.data.name)]
    return (e.last(recipe, length, name="eval_answers") - chance) / (1 - chance)


def _claim(id: str, text: str, first: str, second: str, at: Literal["near", "far"]) -> SequenceClaim:
    return better(id, text, first, second, at, PAPER, score=scaled, what="scaled accuracy")


CLAIMS = (
    _claim("Q1", "The fixed point beats one sweep, a diagonal recurrence.", "fixed point", "1 sweep", "near"),
    _claim("Q2", "It beats the Transformer beyond the training lengths.", "fixed point", "Transformer", "far"),
)
F4 = _claim("F4", "Fixed points lead DeltaNet on arithmetic with brackets.", MAMBA, DELTA_NET, "far")


def over_lengths(e: SequenceEvidence, recipe: Recipe) -> NDArray:
    """Scaled accuracy, mean over all evaluated lengths, (S,)."""
    assert recipe.sequence is not None
    return np.mean([scaled(e, recipe, n) for n in recipe.sequence.lengths], axis=0)


def _published(e: SequenceEvidence, s: Setting) -> list[Estimate] | Skip:
    if (s.near, s.far) != (40, 256):
        return Skip("--preset regular")
    border = REGULAR_PUBLISHED[s.label]
    return compared(
        over_lengths(e, s.arms[REFLECTIONS]),
        np.full(len(e.seeds), border),
        f"scaled accuracy of reflections over all lengths − {border:g}, published for GatedDeltaProduct",
    )


def _reading(e: SequenceEvidence, s: Setting) -> list[Estimate]:
    reading, blind = (e.last(s.arms[arm], s.far, name="eval_answers") for arm in (MAMBA, BLIND))
    return compared(reading, blind, f"accuracy at {s.far}, all parameters read the output − none")


F3: SequenceClaim = ClaimSpec(
    "F3",
    "Copying at twice the length: parameters that read the output are worth half of all answers.",
    PAPER,
    above(0.5, unit=POINTS),
    _reading,
)
F5: SequenceClaim = ClaimSpec(
    "F5",
    "Reflections beat what is published for GatedDeltaProduct on regular tasks (train to 40, test to 256).",
    TABLE,
    gain(MARGIN),
    _published,
)


TASK_CLAIMS: Mapping[str, tuple[SequenceClaim, ...]] = {  # of one task each, besides
    "copying": (_claim("Q3", "Copying needs a layer that reads its last output.", MAMBA, BLIND, "far"), F3),
    "brackets": (_claim("Q4", "The matrix state leads on arithmetic with brackets.", MAMBA, "LSTM", "far"), F4),
    **dict.fromkeys(REGULAR_PUBLISHED, (F5,)),
}
OLD_TASKS = ("parity", "copying", "arithmetic", "brackets")


@dataclass(frozen=True)
class SequenceTasks:
    """Trains the layers of `state-tracking` on copying, arithmetic and parity, and evaluates at longer lengths.

    Copying is of 8 symbols, arithmetic is modulo 5. Lengths count tokens; for copying they count the symbols to copy.
    """

    name: ClassVar[str] = "sequence-tasks"
    question: ClassVar[str] = "On which tasks beyond groups does a fixed point help, and how far beyond training?"
    answers: ClassVar[tuple[str, ...]] = ("Q1", "Q2")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "copying": {  # up to 20 symbols as in the options of the paper's public code, asked at twice the length
            "tasks": ("copying",),
            "setup": SequenceSetup(longest=20, far=40, lengths=(10, 20, 40)),
        },
        "regular": {
            "tasks": REGULAR,
            "setup": SequenceSetup(longest=40, far=256, lengths=(40, 64, 128, 256), inner=64),
        },
        "published-lengths": {
            "tasks": ("brackets",),
            "setup": SequenceSetup(steps=5000, longest=40, far=256, lengths=(40, 64, 128, 256)),
        },
    }

    setup: SequenceSetup = SequenceSetup(far=24, lengths=(8, 12, 16, 24, 40))
    tasks: tuple[str, ...] = ("parity", "copying", "arithmetic", "brackets")
    """out of parity, copying, arithmetic, brackets; asked at the last position: last-parity, even-pairs,
    cycle-navigation"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        unknown = sorted(set(self.tasks) - set(CHANCE))
        if unknown or not self.tasks:
            raise refusal("task", f"tasks out of {', '.join(CHANCE)}", str(unknown or "none"))
        if min(self.setup.lengths) < 6 and "brackets" in self.tasks:
            raise refusal(
                "lengths",
                "lengths of at least 6 tokens for brackets, the shortest expression",
                f"{min(self.setup.lengths)}",
            )

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds; evidence of nothing."""
        setup = SequenceSetup((0, 1), steps=4, batch=4, longest=6, far=8, lengths=(6, 8), inner=8, count=8)
        return cls(setup, tasks=("copying", "brackets"), is_smoke=True)

    def arms(self, task: str) -> dict[str, Recipe]:
        """Every arm of a task by name; the Mamba-like layers have half of the width, as their state is a matrix."""
        shortest = {"arithmetic": 4, "brackets": 6}.get(task, 2)
        slim = replace(self.setup, inner=max(self.setup.inner // 2, 8))
        common: dict[str, Any] = {"shortest": shortest}
        if task not in OLD_TASKS:
            common |= {"streams": "own"}
        n, count = 4, max(self.setup.inner // 4, 2)
        heads = HeadSpec(count, n, "bounded", drive=True, gate=True)
        half = HeadSpec(max(count // 2, 1), n, gate=True)
        arms = {
            "fixed point": self.setup.recipe(task, "fixed_point", "fixed point", **common),
            "1 sweep": self.setup.recipe(task, "fixed_point", "1 sweep", sweeps=1, **common),
            MAMBA: slim.recipe(task, "fixed_point_mamba", MAMBA, rank=1, **common),
            BLIND: slim.recipe(task, "fixed_point_mamba", BLIND, rank=1, state_dependent=False, **common),
        }
        inner = {"inner": heads.count * n}
        arms[REFLECTIONS] = self.setup.recipe(task, "reflections", REFLECTIONS, heads=heads, **common, **inner)
        inner = {"inner": half.count * n}
        arms[DELTA_PRODUCT] = self.setup.recipe(task, "delta_product", DELTA_PRODUCT, heads=half, **common, **inner)
        single = replace(half, factors=1, gate=False)
        arms[DELTA_NET] = self.setup.recipe(task, "delta_product", DELTA_NET, heads=single, **common, **inner)
        for name, layer in BASELINES.items():
            arms[name] = self.setup.recipe(task, layer, name, **common)
        return arms

    def recipes(self) -> list[Recipe]:
        """Every recipe once."""
        return [recipe for task in self.tasks for recipe in self.arms(task).values()]

    def plan(self) -> list[Run]:
        """The runs, seed by seed."""
        return [Run(recipe, seed) for seed in self.setup.seeds for recipe in self.recipes()]

    def verdicts(self, records: Records) -> Verdicts:
        """The claims alone."""
        return self.judged(SequenceEvidence.read(records, self.setup.seeds, self.recipes()))

    def judged(self, e: SequenceEvidence) -> Verdicts:
        """Every claim on its tasks."""
        verdicts = Verdicts(())
        for task in self.tasks:
            setting = Setting(task, self.arms(task), self.setup.longest, self.setup.far)
            verdicts += judge((*CLAIMS, *TASK_CLAIMS.get(task, ())), e, [setting])
        return verdicts

    def analyze(self, records: Records) -> Result:
        """What finished runs say."""
        evidence = SequenceEvidence.read(records, self.setup.seeds, self.recipes())
        verdicts = self.judged(evidence)
        tables = [
            accuracy_table(
                f"{task}: every arm",
                self.arms(task),
                evidence,
                self.setup.ends,
                powers=False,
                caption=f"Chance {CHANCE[task]:.3f} for an answer; mean over seeds with intervals over runs.",
            )
            for task in self.tasks
        ]
        if self.setup.ends == (40, 256):
            tables += [self.beside(task, evidence) for task in self.tasks if task in PUBLISHED]
        gains = "; ".join(f"{c.setting}: {c.evidence[0].value:+.2f} {c.verdict}" for c in verdicts.of("Q1"))
        summary = f"Scaled accuracy of the fixed point minus one sweep at the training lengths: {gains}."
        blocks = [self.chart(evidence), *tables]
        return conclude(
            self, evidence.seeds, verdicts, blocks, records=records, methods=self.methods(), cite=PAPER, summary=summary
        )

    def beside(self, task: str, e: SequenceEvidence) -> Table:
        """Scaled accuracy over all lengths, ours beside what is published."""
        ours = {f"{name}, here": mean_over_runs(over_lengths(e, r), name) for name, r in self.arms(task).items()}
        rows: Mapping[str, Cell] = {f"{name}, published": value for name, value in PUBLISHED[task].items()} | ours
        return table(
            f"{task}: beside published numbers",
            rows,
            (("layer", lambda row: row), ("mean over all lengths", lambda row: rows[row])),
            "Published: as of 28 November 2026, of larger models with larger budgets; without brackets perhaps not "
            "scaled. Here: scaled accuracy, mean over seeds with intervals over runs.",
        )

    def chart(self, e: SequenceEvidence) -> Chart:
        """Scaled accuracy of every layer against length, by task."""
        rows = [
            (float(n), name, task, mean_over_runs(scaled(e, recipe, n), name))
            for task in self.tasks
            for name, recipe in self.arms(task).items()
            for n in self.setup.lengths
        ]
        return estimates_chart(
            rows,
            "tasks",
            "Scaled accuracy by length",
            Axis("x", "length", "log"),
            Axis("y", "(accuracy − chance) / (1 − chance)"),
            f"Scaled accuracy of every layer against length, by task; training had lengths up to {self.setup.longest}.",
            kind="line",
            color="layer",
        )

    def methods(self) -> str:
        """What was trained and asked."""
        s = self.setup
        return (
            "Copying: symbols out of 8, a delimiter, then the same symbols are asked in order. Arithmetic modulo 5 "
            "with + − *, with and without brackets: the value is asked after '='. Parity: asked at every position. "
            "Last parity, even pairs (does the last bit differ from the first?) and cycle navigation (5 places): asked "
            "at the last position. Reflections: heads of 4 dimensions, 4 factors a token with strengths in (0, 2), a "
            "drive and a gate; DeltaProduct: half as many heads, as its state is a matrix, and a gate; DeltaNet: one "
            "factor, no gate. "
            f"Training lengths go up to {s.longest}; {s.steps:,} steps of {s.batch} (parity: half of them at a "
            f"quarter of the width). One layer, d_model 32, inner width {s.inner} (Mamba-like: half, 8 rows of state, "
            "rank 1). All arms of a seed see the same words. Accuracy is over all answers asked; the table also has "
            "the last answer and whole sequences. Budgets are far below the published ones."
        )
