"""From diagonal to dense: does iterating a diagonal recurrence make it track a group's state?

After Movahedi et al. 2025 (arXiv 2503.10799): fixed points of diagonal linear RNNs track states that the diagonal ones
cannot, better with rank, and worse with fewer iterations than training tokens. Ours: the exact solver as the limit of
the sweeps, the gradient as an arm, and constant words g, g², ..., on which a certified layer must fail in the long run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from disobey.measures.inference.intervals import mean_over_runs, paired_difference
from disobey.records.results import Axis, Block, Chart, Claim, Estimate, Result, Table, Text
from disobey.records.runs import RunRecord
from disobey.studies.kit import pictures
from disobey.studies.kit import verdicts as rules
from disobey.studies.kit.options import settings_of, smoke_mark
from disobey.studies.kit.sequences import (
    BASELINES,
    TEST_SWEEPS,
    Readings,
    SequenceSetup,
    accuracy_table,
    chance_of,
    counted,
    swept,
    swept_recipe,
)
from disobey.training.recipe import Recipe, Run

SOURCE = "arXiv 2503.10799"
OURS = "a prediction of ours, stated before the runs"
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
    """groups of 12 elements or more get so many times the steps"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        if not self.groups:
            raise ValueError("expected at least one group")
        if self.details and self.details not in self.groups:
            object.__setattr__(self, "details", "")  # the group was not asked for
        if 1 not in self.sweeps:
            raise ValueError(f"expected 1 sweep, the diagonal end of the axis, among {self.sweeps}")
        if self.patience < 1:
            raise ValueError(f"expected patience of at least 1, came {self.patience}")

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

    def analyze(self, records: Mapping[Run, RunRecord]) -> Result:
        recipes = [recipe for group in self.groups for recipe in self.arms(group).values()]
        readings = Readings(records, self.setup.seeds, recipes)
        claims = [claim for group in self.groups for claim in self._claims(group, readings)]
        blocks: list[Block] = [
            *claims,
            self._by_training(readings),
            self._by_test(readings),
            self._by_both(readings),
            self._constant(readings),
            self._needed(readings),
            self._residuals(readings),
            *(self._table(group, readings) for group in self.groups),
            self._methods(readings),
        ]
        return Result(self.name, self.question, tuple(blocks), _summary(claims), self.is_smoke, settings_of(self))

    def _claims(self, group: str, r: Readings) -> list[Claim]:
        arms, near, far = self.arms(group), self.setup.longest, self.setup.far
        dense, diagonal = arms[EXACT], arms[swept(1)]

        def claim(name: str, text: str, a, b, what: str, source: str = SOURCE) -> Claim:
            return rules.above_zero(name, text, paired_difference(a, b, what), source, group)

        ladder = self.ladder(group)
        steps = [np.full(len(r.seeds), n or 10**6, dtype=float) for n in ladder]
        curve = [r.last(recipe, near) for recipe in ladder.values()]
        lstm = r.last(arms["LSTM"], near)
        found = [
            claim("T1", "The fixed point tracks the state better than one sweep, a diagonal recurrence.",
                  r.last(dense, near), r.last(diagonal, near), f"last answer at {near}, exact − 1 sweep"),
            rules.above_zero("T2", "From diagonal to dense: more sweeps in training, better tracking.",
                             rules.rank_association(steps, curve, f"rank correlation of sweeps and accuracy at {near}"),
                             SOURCE, group),
            claim("T3", "Accuracy drops with fewer sweeps at test than tokens in training.",
                  r.last(dense, near), r.last(dense, near, 4), f"last answer at {near}, exact − 4 sweeps at test"),
            claim("T4", f"The LSTM solves the task at the training lengths (above {SOLVED}).",
                  lstm, np.full(len(lstm), SOLVED), f"LSTM's last answer at {near} − {SOLVED}"),
            self._diagonal_bound(group, r, claim),
            claim("T6", "A certified layer is worse on long constant words than on random words that are longer still.",
                  r.last(dense, far), r.late_powers(dense), f"exact, random at {far} − g^k", OURS),
        ]  # fmt: skip
        return found + (self._detail_claims(arms, r, claim) if group == self.details else [])

    def _diagonal_bound(self, group: str, r: Readings, claim) -> Claim:
        arms, near = self.arms(group), self.setup.longest
        signed = r.last(arms["diagonal (-1, 1)"], near)
        if group in ("parity", "Z2"):
            text = "Negative eigenvalues let a diagonal layer learn parity, which positive ones do not."
            other, what = r.last(arms["diagonal (0, 1)"], near), f"last answer at {near}, (-1, 1) − (0, 1)"
            return claim("T5", text, signed, other, what)
        text = "No diagonal layer, not even with negative eigenvalues, tracks this group as the fixed point does."
        return claim("T5", text, r.last(arms[EXACT], near), signed, f"last answer at {near}, exact − diagonal (-1, 1)")

    def _detail_claims(self, arms: Mapping[str, Recipe], r: Readings, claim) -> list[Claim]:
        near, far, dense = self.setup.longest, self.setup.far, arms[EXACT]
        return [
            claim("T7", "A higher rank tracks better beyond the training lengths.",
                  r.last(arms["rank 4"], far), r.last(arms["rank 1"], far), f"last answer at {far}, rank 4 − rank 1"),
            claim("T8", "The mixer must read the state.",
                  r.last(dense, near), r.last(arms["mixer does not read the state"], near),
                  f"last answer at {near}, reading − not reading"),
            claim("T9", "Exact gradients train better than one step's.",
                  r.last(dense, far), r.last(arms["one-step gradient"], far),
                  f"last answer at {far}, exact − one step", OURS),
            claim("T10", "Reflections (scale 2) keep constant words longer than projections (scale 1).",
                  r.late_powers(arms["scale 2"]), r.late_powers(dense), "g^k beyond training, scale 2 − 1", OURS),
        ]  # fmt: skip

    def _by_training(self, r: Readings) -> Chart:
        rows = [
            (float(n), f"{swept(sweeps)} in training", group, mean_over_runs(r.last(recipe, n), "accuracy"))
            for group in self.groups
            for sweeps, recipe in self.ladder(group).items()
            for n in self.setup.lengths
        ]
        return self._lengths_chart(rows, "sweeps-training", "From diagonal to dense: accuracy by sweeps in training")

    def _by_test(self, r: Readings) -> Chart:
        rows: list[tuple[float, str, str, Estimate]] = []
        for group in self.groups:
            recipe = self.ladder(group)[0]
            for budget in (*TEST_SWEEPS, None):
                label = "exact at test" if budget is None else f"{swept(budget)} at test"
                for n in self.setup.lengths:
                    rows.append((float(n), label, group, mean_over_runs(r.last(recipe, n, budget), "accuracy")))
        return self._lengths_chart(rows, "sweeps-test", "The exactly trained layer with a budget of sweeps at test")

    def _by_both(self, r: Readings) -> Chart:
        def short(n: int) -> str:
            return str(n) if n else EXACT

        columns: dict[str, list] = {name: [] for name in ("test", "training", "accuracy", "group")}
        for group in self.groups:
            for sweeps, recipe in self.ladder(group).items():
                for budget in (*TEST_SWEEPS, 0):
                    asked = None if budget == sweeps == 0 else budget
                    accuracy = float(r.last(recipe, self.setup.longest, asked).mean())
                    for name, value in zip(columns, (short(budget), short(sweeps), accuracy, group), strict=True):
                        columns[name].append(value)
        return Chart(
            "sweeps-both",
            f"Sweeps in training and at test, words of {self.setup.longest} tokens",
            "heatmap",
            {name: tuple(column) for name, column in columns.items()},
            Axis("test", "sweeps at test", "nominal"),
            Axis("training", "sweeps in training", "nominal"),
            "Share of right last answers, mean over seeds, by the number of sweeps in training and at test, by group.",
            color=Axis("accuracy", "last answer right"),
            facet=Axis("group", "", "nominal"),
            tooltip=("training", "test", "accuracy"),
        )

    def _lengths_chart(self, rows, name: str, title: str) -> Chart:
        alt = (
            f"{title}: share of right last answers against the length of the word, by group; training had words of up "
        )
        return pictures.estimates_chart(
            rows,
            name,
            title,
            Axis("x", "length of the word (tokens)", "log"),
            Axis("y", "last answer right"),
            alt + f"to {self.setup.longest} tokens.",
            kind="line",
            color="budget",
        )

    def _constant(self, r: Readings) -> Chart:
        rows: list[tuple[float, str, str, Estimate]] = []
        for group in self.groups:
            arms = self.arms(group)
            for name in (EXACT, "scale 2", swept(1), "diagonal (-1, 1)", "LSTM"):
                if name not in arms:
                    continue
                curves = r.of(arms[name], "eval_powers")[:, 0]
                width = min(WINDOW, curves.shape[1])
                rows += [
                    (
                        k + (width + 1) / 2,
                        name,
                        group,
                        mean_over_runs(curves[:, k : k + width].mean(axis=1), "accuracy"),
                    )
                    for k in range(0, curves.shape[1] - width + 1, width)
                ]
        return pictures.estimates_chart(
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

    def _needed(self, r: Readings) -> Chart:
        rows = []
        for group in self.groups:
            for name, recipe in self.arms(group).items():
                if "eval_sweeps" in r.records[Run(recipe, r.seeds[0])].history:
                    rows.append((name, "tolerance .01", group, mean_over_runs(r.of(recipe, "eval_sweeps")[:, 1], name)))
        return pictures.estimates_chart(
            rows,
            "iterations",
            f"Sweeps until every word of {self.setup.longest} tokens changes by less than 1 %",
            Axis("x", "arm", "nominal"),
            Axis("y", "sweeps (128: not met)"),
            "Number of sweeps that the trained layer needs to converge, by arm and group.",
            kind="interval",
            color="tolerance",
        )

    def _residuals(self, r: Readings) -> Chart:
        rows: list[tuple[float, str, str, Estimate]] = []
        for group in self.groups:
            recipe = self.ladder(group)[0]
            seen = np.maximum(r.of(recipe, "eval_residuals"), 1e-8)
            radius = r.of(recipe, "eval_radius").max(axis=1)
            for k in range(seen.shape[1]):
                predicted = np.maximum(seen[:, 0] * radius**k, 1e-8)
                rows.append((float(k + 1), "observed", group, mean_over_runs(seen[:, k], "residual")))
                rows.append((float(k + 1), "first × radius^k", group, mean_over_runs(predicted, "residual")))
        return pictures.estimates_chart(
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

    def _table(self, group: str, r: Readings) -> Table:
        arms = self.arms(group)
        caption = (
            f"Chance {chance_of(group):.3f} for an answer. Mean over seeds with intervals over runs. Sweeps above "
            f"{self.setup.longest} stop at 1 % change and have the implicit gradient; fewer are trained through all of them."
        )
        return accuracy_table(f"{group}: every arm", arms, r, self.setup, powers=True, caption=caption)

    def _methods(self, r: Readings) -> Text:
        s = self.setup
        return Text(
            "Methods",
            f"Words are uniform over all elements of the group; the label at every position is the product so far (left to "
            f"right). Training words have 2 to {s.longest} tokens, one length a batch of {s.batch}, made anew every step; "
            f"{s.steps:,} steps (parity: half; groups of 12 elements or more: {self.patience} times as many) of AdamW (rate "
            f"{s.lr:g}, betas .9 and .95, warm-up, cosine to zero, clip 1). "
            f"Models: embedding of 32, one layer of inner width {s.inner} (parity: {max(s.inner // 4, 8)}), head. Fixed-point "
            "layers have Householder mixers of rank 2 (parity: 1) that read the normalized previous state. Accuracy is on "
            f"{s.count:,} words a length, the same for all runs. All arms of a seed see the same words in the same order. "
            "'exact' solves every step exactly; n sweeps iterate the diagonal recurrence n times, so that 1 sweep is a "
            "diagonal RNN. Nothing was chosen on the evaluated words. T6 compares accuracies on different words of the same "
            f"models. Intervals are Student t over {len(r.seeds)} paired seeds (95 %), so wide with three; no correction for "
            "the number of claims. Cite: Movahedi et al., Fixed-Point RNNs, NeurIPS 2025 (arXiv 2503.10799).",
        )


def _large(group: str) -> bool:
    return chance_of(group) <= 1 / 12


def _summary(claims: list[Claim]) -> str:
    gains = "; ".join(f"{c.setting}: {c.evidence[0].value:+.2f} {c.verdict}" for c in claims if c.name == "T1")
    return f"{counted(claims)} Accuracy of the fixed point minus one sweep: {gains}."
