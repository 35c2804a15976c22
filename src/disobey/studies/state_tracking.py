"""From diagonal to dense: does iterating a diagonal recurrence make it track a group's state?

After Movahedi et al. 2025 (arXiv 2503.10799): fixed points of diagonal linear RNNs track states that the diagonal ones
cannot, better with rank, and worse with fewer iterations than training tokens. Ours: the exact solver as the limit of
the sweeps, the gradient as an arm, and constant words g, g², ..., on which a certified layer must fail in the long run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from disobey.errors import refusal
from disobey.figures.estimates import estimates_chart
from disobey.measures.inference.intervals import mean_over_runs
from disobey.records.results import Axis, Chart, Estimate, Result, Table
from disobey.studies.kit.claims import ClaimSpec, Source, judge
from disobey.studies.kit.design import Records
from disobey.studies.kit.evidence import rank_association
from disobey.studies.kit.sequences import (
    BASELINES,
    TEST_SWEEPS,
    SequenceClaim,
    SequenceEvidence,
    SequenceSetup,
    Setting,
    accuracy_table,
    better,
    chance_of,
    compared,
    swept,
    swept_recipe,
)
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.studies.kit.verdicts import ABOVE_ZERO
from disobey.training.recipe import Recipe, Run

PAPER = Source("arXiv 2503.10799", "Movahedi et al., Fixed-Point RNNs, NeurIPS 2025 (arXiv 2503.10799)")
OURS = Source("a prediction of ours, stated before the runs")
EXACT = swept(0)
WINDOW = (
    6  # powers of g that are averaged in the figure: the orders 2, 3 and 6 divide it, so a fixed answer is a flat line
)
SOLVED = 0.9  # a task counts as solved above this accuracy

DETAILS: Mapping[str, Mapping[str, Any]] = {  # arms of one group that differ from the exact one in one thing each
    "rank 1": {"rank": 1},
    "rank 4": {"rank": 4},
    "Kronecker, up to 8 sweeps": {"mixer": "kronecker", "inner": 64, "sweeps": 8, "tol": 0.1, "gradient": "ift"},
    "scale 1.5": {"scale": 1.5},
    "scale 2": {"scale": 2.0},
    "mixer does not read the state": {"state_dependent": False},
    "one-step gradient": {"sweeps": 32, "tol": 0.1, "gradient": "one_step"},
    "state read as it is": {"normalize": False},
    "state read as it is, scale 1.5": {"normalize": False, "scale": 1.5},
    "state read as it is, scale 2": {"normalize": False, "scale": 2.0},
}


def _more_sweeps(e: SequenceEvidence, s: Setting) -> list[Estimate]:
    """Rank correlation of sweeps in training and accuracy, within each seed; the exact solver counts as most sweeps."""
    trained = [(r.sequence.sweeps, r) for name, r in s.arms.items() if r.sequence and name == swept(r.sequence.sweeps)]
    sweeps = [np.full(len(e.seeds), n or 10**6, dtype=float) for n, _ in trained]
    curve = [e.last(recipe, s.near) for _, recipe in trained]
    return [rank_association(sweeps, curve, f"rank correlation of sweeps and accuracy at {s.near}")]


def _fewer_at_test(e: SequenceEvidence, s: Setting) -> list[Estimate]:
    dense = s.arms[EXACT]
    name = f"last answer at {s.near}, exact − 4 sweeps at test"
    return compared(e.last(dense, s.near), e.last(dense, s.near, 4), name)


def _lstm_solves(e: SequenceEvidence, s: Setting) -> list[Estimate]:
    right = e.last(s.arms["LSTM"], s.near)
    return compared(right, np.full(len(right), SOLVED), f"LSTM's last answer at {s.near} − {SOLVED}")


def _random_minus_constant(e: SequenceEvidence, s: Setting) -> list[Estimate]:
    dense = s.arms[EXACT]
    return compared(e.last(dense, s.far), e.late_powers(dense), f"exact, random at {s.far} − g^k")


def _constant_words(e: SequenceEvidence, s: Setting) -> list[Estimate]:
    scaled, certified = (e.late_powers(s.arms[arm]) for arm in ("scale 2", EXACT))
    return compared(scaled, certified, "g^k beyond training, scale 2 − 1")


NEAR: Literal["near"] = "near"
CLAIMS: tuple[SequenceClaim, ...] = (
    better("T1", "The fixed point tracks the state better than one sweep, a diagonal recurrence.",
           EXACT, swept(1), NEAR, PAPER),
    ClaimSpec("T2", "From diagonal to dense: more sweeps in training, better tracking.", PAPER, ABOVE_ZERO, _more_sweeps),
    ClaimSpec("T3", "Accuracy drops with fewer sweeps at test than tokens in training.", PAPER, ABOVE_ZERO, _fewer_at_test),
    ClaimSpec("T4", f"The LSTM solves the task at the training lengths (above {SOLVED}).", PAPER, ABOVE_ZERO, _lstm_solves),
)  # fmt: skip
SIGNS_SUFFICE = better(
    "T5", "Negative eigenvalues let a diagonal layer learn parity, which positive ones do not.",
    "diagonal (-1, 1)", "diagonal (0, 1)", NEAR, PAPER, names="(-1, 1) − (0, 1)",
)  # fmt: skip
SIGNS_DO_NOT = better(
    "T5", "No diagonal layer, not even with negative eigenvalues, tracks this group as the fixed point does.",
    EXACT, "diagonal (-1, 1)", NEAR, PAPER,
)  # fmt: skip
CONSTANT: SequenceClaim = ClaimSpec(
    "T6", "A certified layer is worse on long constant words than on random words that are longer still.",
    OURS, ABOVE_ZERO, _random_minus_constant,
)  # fmt: skip
DETAIL_CLAIMS: tuple[SequenceClaim, ...] = (
    better("T7", "A higher rank tracks better beyond the training lengths.", "rank 4", "rank 1", "far", PAPER),
    better("T8", "The mixer must read the state.", EXACT, "mixer does not read the state", NEAR, PAPER,
           names="reading − not reading"),
    better("T9", "Exact gradients train better than one step's.", EXACT, "one-step gradient", "far", OURS,
           names="exact − one step"),
    ClaimSpec("T10", "Reflections (scale 2) keep constant words longer than projections (scale 1).",
              OURS, ABOVE_ZERO, _constant_words),
)  # fmt: skip


@dataclass(frozen=True)
class StateTracking:
    """Trains fixed-point layers with a varied number of sweeps, diagonal layers, an LSTM and a Transformer on words of a group.

    The label at every position is the product so far. One trained model is also asked with fewer sweeps at test.
    """

    name: ClassVar[str] = "state-tracking"
    question: ClassVar[str] = "Does iterating a diagonal recurrence to its fixed point let it track states?"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "s3": {"groups": ("S3",)},
        "core": {"groups": ("parity", "S3"), "details": ""},
        "a5": {
            "groups": ("A5",),
            "details": "",
            "patience": 1,
            "setup": SequenceSetup(steps=20_000, batch=512, inner=512, longest=12),
        },
    }

    setup: SequenceSetup = SequenceSetup()
    groups: tuple[str, ...] = ("parity", "S3", "A4")
    """parity, or groups: Z<n>, S<n>, A<n>, products with x"""
    sweeps: tuple[int, ...] = (1, 2, 4, 8, 16)
    """iterations in training, besides the exact solver; groups of 12 elements or more take every second"""
    details: str = "S3"
    """the group on which rank, mixer, scale, state dependence and gradient are varied; empty: none"""
    patience: int = 3
    """training-length multiplier for groups of 12 elements or more"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        if not self.groups:
            raise refusal("groups", "at least one group", "none", "--groups S3")
        if self.details and self.details not in self.groups:
            object.__setattr__(self, "details", "")  # the group was not asked for
        if 1 not in self.sweeps:
            raise refusal("sweeps", "1 sweep, the diagonal end of the axis, among sweeps", str(self.sweeps))
        if self.patience < 1:
            raise refusal("patience", "patience of at least 1", str(self.patience))

    @classmethod
    def smoke(cls) -> Self:
        setup = SequenceSetup((0, 1), steps=6, batch=8, longest=4, far=8, lengths=(4, 8), inner=8, count=8)
        return cls(setup, groups=("parity", "S3"), sweeps=(1, 4), is_smoke=True)

    def ladder(self, group: str) -> dict[int, Recipe]:
        """By sweeps in training, in rising order; 0 (the exact solver) last. Sixteen and more stop where they converge."""
        sweeps = sorted(self.sweeps)[:: 2 if _large(group) else 1]
        return {n: swept_recipe(self.budget(group), group, n) for n in (*sweeps, 0)}

    def budget(self, group: str) -> SequenceSetup:
        """The setup with the steps of this group."""
        return replace(self.setup, steps=self.setup.steps * self.patience) if _large(group) else self.setup

    def arms(self, group: str) -> dict[str, Recipe]:
        """Every arm of a group by name."""
        found = {swept(n): recipe for n, recipe in self.ladder(group).items()}
        setup = self.budget(group)
        if group == self.details:
            found |= {name: setup.recipe(group, "fixed_point", name, **changes) for name, changes in DETAILS.items()}
        return found | {name: setup.recipe(group, layer, name) for name, layer in BASELINES.items()}

    def plan(self) -> list[Run]:
        recipes = [recipe for group in self.groups for recipe in self.arms(group).values()]
        return [Run(recipe, seed) for seed in self.setup.seeds for recipe in dict.fromkeys(recipes)]

    def analyze(self, records: Records) -> Result:
        recipes = [recipe for group in self.groups for recipe in self.arms(group).values()]
        e = SequenceEvidence.read(records, self.setup.seeds, recipes)
        verdicts = judge((), e, ())
        for group in self.groups:
            setting = Setting(group, self.arms(group), self.setup.longest, self.setup.far)
            verdicts += judge(self.claims(group), e, [setting])
        blocks = [
            self.training_chart(e),
            self.test_chart(e),
            self.both_chart(e),
            self.constant_chart(e),
            self.iterations_chart(e),
            self.residual_chart(e),
            *(self.table(group, e) for group in self.groups),
        ]
        gains = "; ".join(f"{c.setting}: {c.evidence[0].value:+.2f} {c.verdict}" for c in verdicts.of("T1"))
        summary = f"{verdicts.summary()} Accuracy of the fixed point minus one sweep at the training lengths: {gains}."
        return conclude(self, e.seeds, verdicts, blocks, methods=self.methods(), cite=PAPER, summary=summary)

    def claims(self, group: str) -> tuple[SequenceClaim, ...]:
        """What is claimed about a group."""
        signs = SIGNS_SUFFICE if group in ("parity", "Z2") else SIGNS_DO_NOT
        return (*CLAIMS, signs, CONSTANT, *(DETAIL_CLAIMS if group == self.details else ()))

    def training_chart(self, e: SequenceEvidence) -> Chart:
        """Accuracy by length and by sweeps in training."""
        arms = (
            (f"{swept(sweeps)} in training", group, recipe, None)
            for group in self.groups
            for sweeps, recipe in self.ladder(group).items()
        )
        title = "From diagonal to dense: accuracy by sweeps in training"
        return self.lengths_chart(arms, e, "sweeps-training", title)

    def test_chart(self, e: SequenceEvidence) -> Chart:
        """Accuracy by length and by sweeps at test, of the exactly trained layer."""
        arms = (
            ("exact at test" if budget is None else f"{swept(budget)} at test", group, self.ladder(group)[0], budget)
            for group in self.groups
            for budget in (*TEST_SWEEPS, None)
        )
        title = "The exactly trained layer with a limited number of sweeps at test"
        return self.lengths_chart(arms, e, "sweeps-test", title)

    def lengths_chart(
        self, arms: Iterable[tuple[str, str, Recipe, int | None]], e: SequenceEvidence, name: str, title: str
    ) -> Chart:
        """Last answers right against length, by (label, group, recipe, sweeps at test)."""
        rows = [
            (float(n), label, group, mean_over_runs(e.last(recipe, n, budget), "accuracy"))
            for label, group, recipe, budget in arms
            for n in self.setup.lengths
        ]
        return estimates_chart(
            rows,
            name,
            title,
            Axis("x", "length of the word (tokens)", "log"),
            Axis("y", "last answer right"),
            f"{title}: share of right last answers against the length of the word, by group; training had words of up to "
            f"{self.setup.longest} tokens.",
            kind="line",
            color="budget",
        )

    def both_chart(self, e: SequenceEvidence) -> Chart:
        """Sweeps in training against sweeps at test."""

        def short(n: int) -> str:
            return str(n) if n else EXACT

        rows = [
            (short(budget), short(sweeps), float(e.last(recipe, self.setup.longest, asked).mean()), group)
            for group in self.groups
            for sweeps, recipe in self.ladder(group).items()
            for budget in (*TEST_SWEEPS, 0)
            for asked in (None if budget == sweeps == 0 else budget,)
        ]
        return Chart(
            "sweeps-both",
            f"Sweeps in training and at test, words of {self.setup.longest} tokens",
            "heatmap",
            dict(zip(("test", "training", "accuracy", "group"), zip(*rows, strict=True), strict=True)),
            Axis("test", "sweeps at test", "nominal"),
            Axis("training", "sweeps in training", "nominal"),
            "Share of right last answers, mean over seeds, by the number of sweeps in training and at test, by group.",
            color=Axis("accuracy", "last answer right"),
            facet=Axis("group", "", "nominal"),
            tooltip=("training", "test", "accuracy"),
        )

    def constant_chart(self, e: SequenceEvidence) -> Chart:
        """Constant words g^k: right answers against k."""
        rows = [
            (k, name, group, mean_over_runs(values, "accuracy"))
            for group in self.groups
            for name in (EXACT, "scale 2", swept(1), "diagonal (-1, 1)", "LSTM")
            if name in self.arms(group)
            for k, values in _windows(e.history(self.arms(group)[name], "eval_powers")[:, 0])
        ]
        return estimates_chart(
            rows,
            "constant-words",
            "Constant words: is the k-th power of g right?",
            Axis("x", f"k (middle of {WINDOW} powers)"),
            Axis("y", "share of elements g whose power is right"),
            "Share of the group's elements (but the identity) whose k-th power is answered correctly, mean of "
            f"{WINDOW} powers in a row, against the middle one, by layer.",
            kind="line",
            color="layer",
        )

    def iterations_chart(self, e: SequenceEvidence) -> Chart:
        """Sweeps that trained layers need to converge."""
        rows = [
            (name, "tolerance 0.01", group, mean_over_runs(e.history(recipe, "eval_sweeps")[:, 1], name))
            for group in self.groups
            for name, recipe in self.arms(group).items()
            if e.knows(recipe, "eval_sweeps")
        ]
        return estimates_chart(
            rows,
            "iterations",
            f"Sweeps until every word of {self.setup.longest} tokens changes by less than 1%",
            Axis("x", "arm", "nominal"),
            Axis("y", "sweeps (128: not met)"),
            "Number of sweeps that the trained layer needs to converge, by arm and group.",
            kind="interval",
            color="tolerance",
        )

    def residual_chart(self, e: SequenceEvidence) -> Chart:
        """Convergence of the exactly trained layer beside what its spectral radius predicts."""
        rows: list[tuple[float, str, str, Estimate]] = []
        for group in self.groups:
            recipe = self.ladder(group)[0]
            seen = np.maximum(e.history(recipe, "eval_residuals"), 1e-8)
            radius = e.history(recipe, "eval_radius").max(axis=1)
            for k in range(seen.shape[1]):
                predicted = np.maximum(seen[:, 0] * radius**k, 1e-8)
                rows.append((float(k + 1), "observed", group, mean_over_runs(seen[:, k], "residual")))
                rows.append((float(k + 1), "first × radius^k", group, mean_over_runs(predicted, "residual")))
        return estimates_chart(
            rows,
            "residuals",
            "Residual by sweep, and what the spectral radius predicts",
            Axis("x", "sweep"),
            Axis("y", "relative change in this sweep"),
            "Relative change of the states in every sweep of the exactly trained layer, beside a geometric decay at the "
            "largest spectral radius of (I-Λ)(I-Q).",
            kind="line",
            color="curve",
        )

    def table(self, group: str, e: SequenceEvidence) -> Table:
        """Every arm's accuracies on a group."""
        caption = (
            f"Chance {chance_of(group):.3f} for an answer. Mean over seeds with intervals over runs. Sweeps above "
            f"{self.setup.longest} stop at 1% change and have the implicit gradient; fewer are trained through all of them."
        )
        return accuracy_table(f"{group}: every arm", self.arms(group), e, self.setup, powers=True, caption=caption)

    def methods(self) -> str:
        """What was trained and asked."""
        s = self.setup
        return (
            "Words are uniform over all elements of the group; the label at every position is the product so far (left to "
            f"right). Training words have 2 to {s.longest} tokens, one length a batch of {s.batch}, made anew every step; "
            f"{s.steps:,} steps (parity: half; groups of 12 elements or more: {self.patience} times as many) of AdamW (rate "
            f"{s.lr:g}, betas 0.9 and 0.95, warm-up, cosine to zero, clip 1). "
            f"Models: embedding of 32, one layer of inner width {s.inner} (parity: {max(s.inner // 4, 8)}), head. Fixed-point "
            "layers have Householder mixers of rank 2 (parity: 1) that read the normalized previous state. Accuracy is on "
            f"{s.count:,} words a length, the same for all runs. All arms of a seed see the same words in the same order. "
            "'exact' solves every step exactly; n sweeps iterate the diagonal recurrence n times, so that 1 sweep is a "
            "diagonal RNN. Nothing was chosen on the evaluated words. T6 compares accuracies on different words of the same "
            "models."
        )


def _windows(curves: NDArray) -> Iterator[tuple[float, NDArray]]:
    """Middle and mean (S,) of `WINDOW` powers in a row, of curves (S, powers)."""
    width = min(WINDOW, curves.shape[1])
    for k in range(0, curves.shape[1] - width + 1, width):
        yield k + (width + 1) / 2, curves[:, k : k + width].mean(axis=1)


def _large(group: str) -> bool:
    return chance_of(group) <= 1 / 12
