"""What the studies on sequences share: budgets and arms as recipes, their numbers, claims about them, tables of them.

All arms of a seed share the training words and their order (and the initialization where they are the same network).
Shapes: S seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import DataSpec
from disobey.data.sources.sequences import group as find_group
from disobey.errors import refusal
from disobey.figures.estimates import estimates_chart
from disobey.measures.inference.runs import mean_over_runs
from disobey.models.spec import ModelSpec
from disobey.records.results import Axis, Chart, Estimate, Table
from disobey.studies.kit.claims import ClaimSpec, Noted, Source
from disobey.studies.kit.design import Records, complete_seeds
from disobey.studies.kit.tables import table
from disobey.studies.kit.verdicts import POINTS, Equivalence, gain
from disobey.targets.schedule import Schedule
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import PREFIX, OptimSpec, SequenceSpec


@dataclass(frozen=True)
class SequenceSetup:
    """Budgets; the optimizer's settings are those of `models.sequence.STATE_TRACKING`, with fewer steps."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """paired seeds: each sets the training words and the initialization"""
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
            raise refusal("seeds", "at least one seed, each once", str(self.seeds))
        if not {self.longest, self.far} <= set(self.lengths):
            raise refusal(
                "lengths", f"longest and far among the lengths {self.lengths}", f"{self.longest} and {self.far}"
            )

    @property
    def ends(self) -> tuple[int, int]:
        """The lengths that tables compare: the longest of training, and the one that stands for extrapolation."""
        return self.longest, self.far

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
    return replace(recipe, targets=targets, teacher=teacher if targets.uses_teacher else None)


def chance_of(group: str) -> float:
    """Accuracy of a guess.

    >>> chance_of("parity"), chance_of("A4") == 1 / 12
    (0.5, True)
    """
    return 1 / (2 if group == "parity" else len(find_group(group)))


@dataclass(frozen=True, eq=False)
class SequenceEvidence:
    """Numbers of finished runs on sequences, one a seed, read when they are asked for."""

    records: Records
    seeds: tuple[int, ...]

    @classmethod
    def read(cls, records: Records, seeds: Sequence[int], recipes: Sequence[Recipe]) -> SequenceEvidence:
        """Of the seeds for which every recipe is finished. Raises `Refusal` where there is none."""
        return cls(records, complete_seeds(seeds, recipes, records))

    def history(self, recipe: Recipe, name: str) -> NDArray:
        """A history array of every seed, (S, ...)."""
        return np.stack([np.asarray(self.records[Run(recipe, s)].history[name], dtype=np.float64) for s in self.seeds])

    def knows(self, recipe: Recipe, name: str) -> bool:
        """Whether the runs of a recipe wrote this history down."""
        return name in self.records[Run(recipe, self.seeds[0])].history

    def last(self, recipe: Recipe, length: int, budget: int | None = None, *, name: str = "eval_last") -> NDArray:
        """Accuracy at a length, (S,); with a number of sweeps at test, or as in training (None)."""
        spec = recipe.sequence
        assert spec is not None
        solver = 0 if budget is None else 1 + spec.budgets.index(budget)
        return self.history(recipe, name)[:, solver, spec.lengths.index(length)]

    def late_powers(self, recipe: Recipe) -> NDArray:
        """Share of right answers on constant words beyond the training lengths, (S,)."""
        spec = recipe.sequence
        assert spec is not None
        return self.history(recipe, "eval_powers")[:, 0, spec.longest :].mean(axis=-1)

    def parameters(self, recipe: Recipe) -> int:
        """Number of trained parameters."""
        return int(self.records[Run(recipe, self.seeds[0])].summary["parameters"])


@dataclass(frozen=True)
class Setting:
    """The arms of one group or task that claims compare, by name, and the two lengths at which they do."""

    label: str
    arms: Mapping[str, Recipe]
    near: int
    far: int


MARGIN = 0.02  # of accuracy: differences below this do not matter on these tasks


def words_of(recipe: Recipe) -> int:
    """Number of words that an accuracy at one length rests on."""
    assert recipe.sequence is not None
    return recipe.sequence.count


SequenceClaim: TypeAlias = ClaimSpec[SequenceEvidence, Setting]
Score: TypeAlias = Callable[[SequenceEvidence, Recipe, int], NDArray]  # (S,) of a recipe at a length


def last_right(e: SequenceEvidence, recipe: Recipe, length: int) -> NDArray:
    """Share of words whose last answer is right, (S,)."""
    return e.last(recipe, length)


def compared(first: NDArray, second: NDArray, name: str, *, words: int = 0) -> list[Estimate]:
    """Mean of first − second over paired seeds, as a claim's evidence.

    Args:
        first: (S,) accuracies.
        second: (S,) accuracies; the same number for all seeds where they are held against a border.
        name: of the estimate.
        words: number of words behind each accuracy. Seeds that all get every word right do not vary, but so many words
            still leave an error: that of shares of S times as many, with half a word more right and half a word wrong.
    """
    error = 0.0
    if words and np.ptp(first - second) == 0:
        n = words * len(first)
        shares = [(float(np.clip(side.mean(), 0, 1)) * n + 0.5) / (n + 1) for side in (first, second)]
        error = float(np.sqrt(sum(p * (1 - p) for p in shares) / n))
    return [mean_over_runs(first - second, name, example_error=error)]


def better(
    id: str,
    text: str,
    first: str,
    second: str,
    at: Literal["near", "far"],
    source: Source,
    *,
    score: Score = last_right,
    what: str = "last answer",
    names: str = "",
) -> SequenceClaim:
    """The claim that one arm does better than another.

    Args:
        id: of the claim.
        text: the claim as a sentence.
        first: name of the arm that is claimed to be better.
        second: name of the other.
        at: the longest training length (near) or the one that stands for extrapolation (far).
        source: where it is claimed.
        score: what is compared.
        what: the score in words.
        names: both arms in words, where their names will not do.
    """

    def evidence(e: SequenceEvidence, s: Setting) -> list[Estimate]:
        length = s.near if at == "near" else s.far
        a, b = (score(e, s.arms[arm], length) for arm in (first, second))
        name = f"{what} at {length}, {names or f'{first} − {second}'}"
        return compared(a, b, name, words=words_of(s.arms[first]))

    return ClaimSpec(id, text, source, gain(MARGIN), evidence)


def as_good(
    id: str,
    text: str,
    first: str,
    second: str,
    at: Literal["near", "far"],
    source: Source,
    *,
    margin: float,
    chance: float,
    names: str,
) -> SequenceClaim:
    """A predicted null: both arms' last answers are equal within the margin.

    A note says where neither had room to differ.
    """

    def evidence(e: SequenceEvidence, s: Setting) -> Noted:
        length = s.near if at == "near" else s.far
        a, b = (e.last(s.arms[arm], length) for arm in (first, second))
        level, note = float(np.mean((a, b))), ""
        if not chance + margin < level < 1 - margin:
            where = "ceiling" if level > 0.5 else "floor"
            note = f"Both arms are at the {where} (mean {level:.3f}): there was no room to differ."
        name = f"last answer at {length}, {names}"
        return Noted(compared(a, b, name, words=words_of(s.arms[first])), note)

    return ClaimSpec(id, text, source, Equivalence(margin, unit=POINTS), evidence)


def last_answers_chart(
    arms: Sequence[tuple[str, str, Recipe]],
    e: SequenceEvidence,
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
        (arm, what, f"words of {n}", mean_over_runs(e.last(recipe, n), arm))
        for arm, what, recipe in arms
        for n in (setup.longest, setup.far)
    ]
    axes = Axis("x", x, "nominal"), Axis("y", "last answer right")
    return estimates_chart(rows, name, title, *axes, alt, kind="interval", color=color)


def accuracy_table(
    title: str, arms: Mapping[str, Recipe], e: SequenceEvidence, lengths: tuple[int, int], *, powers: bool, caption: str
) -> Table:
    """Every arm's accuracies at a near and a far length: last answer, whole words, and constant words between them."""
    near, far = lengths

    def accuracy(length: int, name: str) -> Callable[[str], Estimate]:
        return lambda arm: mean_over_runs(e.last(arms[arm], length, name=name), arm)

    columns = [
        ("arm", lambda arm: arm),
        ("parameters", lambda arm: e.parameters(arms[arm])),
        (f"last answer at {near}", accuracy(near, "eval_last")),
        (f"at {far}", accuracy(far, "eval_last")),
        (f"whole sequence at {near}", accuracy(near, "eval_whole")),
        (f"at {far}", accuracy(far, "eval_whole")),
    ]
    if powers:
        columns.append((f"g^k, {near} < k <= {far}", lambda arm: mean_over_runs(e.late_powers(arms[arm]), arm)))
    return table(title, arms, columns, caption)
