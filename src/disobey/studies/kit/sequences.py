"""What the studies on sequences share: budgets and arms as recipes, readings of their records, tables of them.

All arms of a seed share the training words and their order (and the initialization where they are the same network).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import DataSpec
from disobey.data.sources.sequences import group as find_group
from disobey.measures.inference.comparisons import equivalent
from disobey.measures.inference.intervals import mean_over_runs
from disobey.models.build import ModelSpec
from disobey.records.results import Axis, Cell, Chart, Claim, Estimate, Table, Verdict
from disobey.records.runs import RunRecord
from disobey.studies.kit import pictures
from disobey.studies.kit.setup import complete_seeds
from disobey.targets.schedule import Schedule
from disobey.training.recipe import OptimSpec, Recipe, Run
from disobey.training.specs import PREFIX, SequenceSpec


@dataclass(frozen=True)
class SequenceSetup:
    """Budgets; the optimizer's settings are those of `models.sequence.STATE_TRACKING`, with fewer steps."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """paired seeds: each is a stream of training words and a luck of initialization"""
    steps: int = 700
    """training steps of every arm (half of it for parity)"""
    batch: int = 64
    """words a step"""
    lr: float = 3e-3
    """largest learning rate (AdamW, warm-up, cosine to zero)"""
    longest: int = 12
    """training words have up to so many tokens"""
    far: int = 40
    """the length that stands for extrapolation"""
    lengths: tuple[int, ...] = (8, 12, 24, 40, 64)
    """lengths of the evaluation"""
    inner: int = 128
    """width of the recurrent state (a quarter of it for parity)"""
    count: int = 256
    """words a length of the evaluation"""

    def __post_init__(self):
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"expected at least one seed, each once; came {self.seeds}")
        if not {self.longest, self.far} <= set(self.lengths):
            raise ValueError(
                f"expected longest and far among the lengths {self.lengths}; came {self.longest}, {self.far}"
            )

    def recipe(self, task: str, layer: str, name: str, *, replica: int = 0, **changes: Any) -> Recipe:
        """One arm: a layer on a task with changed sequence options; ``replica`` 1 are students."""
        small = task == "parity"  # two states: a quarter of the width, one factor and half of the steps suffice
        sizes: dict[str, Any] = {"inner": max(self.inner // 4, 8), "rank": 1} if small else {"inner": self.inner}
        steps = max(self.steps // 2, 1) if small else self.steps
        words = {"longest": self.longest, "lengths": self.lengths, "count": self.count, "powers": self.far}
        return Recipe(
            DataSpec(PREFIX + task),
            ModelSpec(layer, width=32),
            OptimSpec(
                "adamw",
                lr=self.lr,
                steps=steps,
                batch=self.batch,
                warmup=min(100, max(steps // 10, 1)),
                betas=(0.9, 0.95),
                weight_decay=0.01,
                clip=1.0,
            ),
            replica=replica,
            sequence=SequenceSpec(**(sizes | words | changes)),
            name=f"{task}: {name}",
        )


BASELINES: Mapping[str, str] = {  # by the name of the arm, the layer
    "diagonal (0, 1)": "diagonal",
    "diagonal (-1, 1)": "diagonal_signed",
    "LSTM": "lstm",
    "Transformer": "transformer",
}

TEST_SWEEPS = (
    1,
    2,
    4,
    8,
    16,
    32,
)  # at which an exactly trained layer is asked too: one set, so that studies share runs


def swept_recipe(setup: SequenceSetup, group: str, sweeps: int) -> Recipe:
    """A layer trained with so many sweeps, or with the exact solver (0), and asked with `TEST_SWEEPS` and exactly too.

    More sweeps than the longest training word has tokens stop where they converge, with the implicit gradient.
    """
    how = {"tol": 1e-2, "gradient": "ift"} if sweeps > setup.longest else {}
    asked = (*TEST_SWEEPS, 0) if sweeps else TEST_SWEEPS
    return setup.recipe(group, "fixed_point", swept(sweeps), sweeps=sweeps, budgets=asked, **how)


def swept(sweeps: int) -> str:
    """Sweeps in words.

    >>> swept(1), swept(4), swept(0)
    ('1 sweep', '4 sweeps', 'exact')
    """
    return f"{sweeps} sweep" + "s" * (sweeps > 1) if sweeps else "exact"


def taught(recipe: Recipe, targets: Schedule, teacher: Recipe) -> Recipe:
    """The recipe with these targets, and with the teacher where they ask one: equal labels-only arms are one run."""
    return replace(recipe, targets=targets, teacher=teacher if targets.listens else None)


def chance_of(group: str) -> float:
    """Accuracy of a guess.

    >>> chance_of("parity"), chance_of("A4") == 1 / 12
    (0.5, True)
    """
    return 1 / (2 if group == "parity" else len(find_group(group)))


class Readings:
    """Numbers of finished runs, one a seed: ``readings.last(recipe, 12)`` is an array (seeds,)."""

    def __init__(self, records: Mapping[Run, RunRecord], seeds: Sequence[int], recipes: Sequence[Recipe]):
        self.records = records
        self.seeds = complete_seeds(seeds, recipes, records)

    def of(self, recipe: Recipe, name: str) -> NDArray:
        """A history array of every seed, (seeds, ...)."""
        return np.stack([np.asarray(self.records[Run(recipe, s)].history[name], dtype=np.float64) for s in self.seeds])

    def last(self, recipe: Recipe, length: int, budget: int | None = None, *, name: str = "eval_last") -> NDArray:
        """Accuracy at a length, (seeds,); with a number of sweeps at test, or as in training (None)."""
        spec = recipe.sequence
        assert spec is not None
        solver = 0 if budget is None else 1 + spec.budgets.index(budget)
        return self.of(recipe, name)[:, solver, spec.lengths.index(length)]

    def late_powers(self, recipe: Recipe) -> NDArray:
        """Share of right answers on constant words beyond the training lengths, (seeds,)."""
        spec = recipe.sequence
        assert spec is not None
        return self.of(recipe, "eval_powers")[:, 0, spec.longest :].mean(axis=-1)

    def parameters(self, recipe: Recipe) -> int:
        return int(self.records[Run(recipe, self.seeds[0])].summary["parameters"])


def last_answers_chart(
    arms: Sequence[tuple[str, str, Recipe]],
    r: Readings,
    setup: SequenceSetup,
    name: str,
    title: str,
    *,
    x: str,
    color: str,
    alt: str,
) -> Chart:
    """Last answers right at the longest training length and far away, by (arm, color, recipe)."""
    rows: list[tuple[float | str, str, str, Estimate]] = [
        (arm, what, f"words of {n}", mean_over_runs(r.last(recipe, n), arm))
        for arm, what, recipe in arms
        for n in (setup.longest, setup.far)
    ]
    axes = Axis("x", x, "nominal"), Axis("y", "last answer right")
    return pictures.estimates_chart(rows, name, title, *axes, alt, kind="interval", color=color)


def predicted_null(
    name: str,
    text: str,
    pair: tuple[NDArray, NDArray],
    what: str,
    *,
    margin: float,
    chance: float,
    source: str,
    setting: str,
) -> Claim:
    """A predicted null, first − second (seeds,): supported by equivalence, refuted where the interval is all outside."""
    first, second = pair
    estimate = mean_over_runs(first - second, what)
    level, note = float(np.mean(pair)), ""
    if not chance + margin < level < 1 - margin:
        where = "ceiling" if level > 0.5 else "floor"
        note = f"Both arms are at the {where} (mean {level:.3f}): there was no room to differ."
    verdict: Verdict = "inconclusive"
    if equivalent(first - second, margin).equivalent:
        verdict = "supported"
    elif estimate.known and (estimate.low > margin or estimate.high < -margin):
        verdict = "refuted"
    rule = (
        f"supported: two one-sided t-tests at 5 % put the mean within ±{margin:g}; refuted: the 95 % interval lies "
        "outside of it; else inconclusive"
    )
    return Claim(text, source, verdict, (estimate,), rule, name, setting, note)


def counted(claims: Sequence[Claim]) -> str:
    """How many of which verdict, in words."""
    verdicts = [claim.verdict for claim in claims]
    parts = [f"{n} {v}" for v in ("supported", "refuted", "inconclusive") if (n := verdicts.count(v))]
    return f"Of {len(claims)} claims, {', '.join(parts)}."


def accuracy_table(
    title: str, arms: Mapping[str, Recipe], readings: Readings, setup: SequenceSetup, *, powers: bool, caption: str
) -> Table:
    """Every arm's accuracies: last answer at the training length and far away, whole words, constant words."""
    columns = ("arm", "parameters", f"last answer at {setup.longest}", f"at {setup.far}",
               f"whole sequence at {setup.longest}", f"at {setup.far}")  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for name, recipe in arms.items():
        values = [readings.last(recipe, n) for n in (setup.longest, setup.far)]
        values += [readings.last(recipe, n, name="eval_whole") for n in (setup.longest, setup.far)]
        values += [readings.late_powers(recipe)] if powers else []
        rows.append((name, readings.parameters(recipe), *(mean_over_runs(v, name) for v in values)))
    if powers:
        columns += (f"g^k, {setup.longest} < k <= {setup.far}",)
    return Table(title, columns, tuple(rows), caption)
