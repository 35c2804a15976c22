"""From diagonal to dense: does iterating a diagonal recurrence make it track a group's state?

After Movahedi et al. 2025 (arXiv 2503.10799): fixed points of diagonal linear RNNs track states that the diagonal ones
cannot, better with rank, and worse with fewer iterations than training tokens. Ours: the exact solver as the limit of
the sweeps, the gradient as an arm, and constant words g, g², ..., on which a certified layer must fail in the long run.
On groups of 60 elements or more (A5, S5) the layer is that of heads of reflections, which learns them in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from disobey.errors import refusal
from disobey.records.results import Block, Result, Table
from disobey.studies.kit.claims import Verdicts, judge
from disobey.studies.kit.design import Records
from disobey.studies.kit.sequences import (
    BASELINES,
    SequenceClaim,
    SequenceEvidence,
    SequenceSetup,
    Setting,
    accuracy_table,
    chance_of,
    swept,
    swept_recipe,
)
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.studies.state_tracking import charts
from disobey.studies.state_tracking.claims import CLAIMS, CONSTANT, DETAIL_CLAIMS, PAPER, SIGNS_DO_NOT, SIGNS_SUFFICE
from disobey.studies.state_tracking.large import CONSISTENCY, LargeSetup, all_arms, core_arms, is_large
from disobey.studies.state_tracking.large_charts import large_charts, success_table
from disobey.studies.state_tracking.large_claims import LARGE_CLAIMS
from disobey.training.recipe import Recipe, Run

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

FIVE = SequenceSetup(seeds=(0, 1, 2, 3, 4))


@dataclass(frozen=True)
class StateTracking:
    """Trains fixed-point layers with a varied number of sweeps, and baselines, on words of a group.

    Baselines: diagonal layers, an LSTM and a Transformer. The label at every position is the product so far. One
    trained model is also asked with fewer sweeps at test.
    """

    name: ClassVar[str] = "state-tracking"
    question: ClassVar[str] = "Does iterating a diagonal recurrence to its fixed point let it track states?"
    answers: ClassVar[tuple[str, ...]] = ("T1",)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "s3": {"groups": ("S3",), "details": "S3"},
        "core": {"groups": ("parity", "S3")},
        "small-groups": {"groups": ("parity", "S3", "A4"), "details": "S3"},
        "a5": {"groups": ("A5",), "setup": FIVE},
        "s5": {"groups": ("S5",), "variations": "S5", "setup": FIVE},
        "success-rates": {
            "groups": ("A5", "S5"),
            "variations": "",
            "setup": SequenceSetup(seeds=tuple(range(10))),
        },
    }

    setup: SequenceSetup = SequenceSetup()
    large: LargeSetup = LargeSetup()
    groups: tuple[str, ...] = ("S3", "A5", "S5")
    """parity, or groups: Z<n>, S<n>, A<n>, products with x"""
    sweeps: tuple[int, ...] = (1, 2, 4, 8, 16)
    """iterations in training, besides the exact solver; groups of 12 elements or more take every second"""
    details: str = ""
    """the small group on which rank, mixer, scale, state dependence and gradient are varied; empty: none"""
    variations: str = "A5"
    """the large group (60 elements or more) with all arms; others have the core of them; empty: none"""
    patience: int = 3
    """training-length multiplier for groups of 12 elements or more"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        if not self.groups:
            raise refusal("groups", "at least one group", "none", "--groups S3")
        if self.details and self.details not in self.groups:
            object.__setattr__(self, "details", "")  # the group was not asked for
        if self.variations and self.variations not in self.groups:
            object.__setattr__(self, "variations", "")
        if 1 not in self.sweeps:
            raise refusal("sweeps", "1 sweep, the diagonal end of the axis, among sweeps", str(self.sweeps))
        if self.patience < 1:
            raise refusal("patience", "patience of at least 1", str(self.patience))

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds; evidence of nothing."""
        setup = SequenceSetup((0, 1), steps=6, batch=8, longest=4, far=8, lengths=(4, 8), inner=8, count=8)
        large = LargeSetup(4, 64, large_longest=4, large_far=8, large_lengths=(4, 8), large_count=8)
        return cls(setup, large, groups=("S3", "A5"), sweeps=(1, 4), variations="A5", is_smoke=True)

    def ladder(self, group: str) -> dict[int, Recipe]:
        """By sweeps in training, rising; 0, the exact solver, last. More than 12 sweeps stop where they converge."""
        sweeps = sorted(self.sweeps)[:: 2 if _many(group) else 1]
        return {n: swept_recipe(self.budget(group), group, n) for n in (*sweeps, 0)}

    def budget(self, group: str) -> SequenceSetup:
        """The setup with the steps of this group."""
        return replace(self.setup, steps=self.setup.steps * self.patience) if _many(group) else self.setup

    def arms(self, group: str) -> dict[str, Recipe]:
        """Every arm of a group by name."""
        if is_large(group):
            return (all_arms if group == self.variations else core_arms)(self.large, group)
        found = {swept(n): recipe for n, recipe in self.ladder(group).items()}
        setup = self.budget(group)
        if group == self.details:
            found |= {name: setup.recipe(group, "fixed_point", name, **changes) for name, changes in DETAILS.items()}
        return found | {name: setup.recipe(group, layer, name) for name, layer in BASELINES.items()}

    def plan(self) -> list[Run]:
        """The runs, seed by seed."""
        recipes = [recipe for group in self.groups for recipe in self.arms(group).values()]
        return [Run(recipe, seed) for seed in self.setup.seeds for recipe in dict.fromkeys(recipes)]

    def evidence(self, records: Records) -> SequenceEvidence:
        """Numbers of the complete seeds."""
        recipes = [recipe for group in self.groups for recipe in self.arms(group).values()]
        return SequenceEvidence.read(records, self.setup.seeds, recipes)

    def verdicts(self, records: Records) -> Verdicts:
        """The claims alone."""
        return self.judged(self.evidence(records))

    def judged(self, e: SequenceEvidence) -> Verdicts:
        """Every claim on its groups."""
        large, small = self.settings()
        return sum((judge(self.claims(s.label), e, [s]) for s in (*large, *small)), Verdicts(()))

    def analyze(self, records: Records) -> Result:
        """What finished runs say."""
        e = self.evidence(records)
        verdicts, (large, small) = self.judged(e), self.settings()
        blocks: list[Block] = []
        if large:
            blocks += large_charts(large, e)
        if small:
            blocks += charts.small_charts(small, e)
        for s in large:
            blocks += [self.large_table(s.label, e), success_table(s, e)]
        blocks += [self.table(s.label, e) for s in small]
        gains = "; ".join(f"{c.setting}: {c.evidence[0].value:+.2f} {c.verdict}" for c in verdicts.of("T1"))
        learned = "; ".join(f"{c.setting}: {c.evidence[0].value:.3f} {c.verdict}" for c in verdicts.of("F1a"))
        summary = " ".join(
            (
                verdicts.summary(),
                *([f"Accuracy of exact reflections at the training length: {learned}."] if large else ()),
                *([f"The fixed point minus one sweep at the training lengths: {gains}."] if small else ()),
            )
        )
        return conclude(
            self, e.seeds, verdicts, blocks, records=records, methods=self.methods(), cite=PAPER, summary=summary
        )

    def settings(self) -> tuple[list[Setting], list[Setting]]:
        """The large groups and the small ones, with their arms and lengths."""
        near, far = self.setup.longest, self.setup.far
        large = [g for g in self.groups if is_large(g)]
        return (
            [Setting(g, self.arms(g), self.large.large_longest, self.large.large_far) for g in large],
            [Setting(g, self.arms(g), near, far) for g in self.groups if g not in large],
        )

    def claims(self, group: str) -> tuple[SequenceClaim, ...]:
        """What is claimed about a group."""
        if is_large(group):
            return LARGE_CLAIMS
        signs = SIGNS_SUFFICE if group in ("parity", "Z2") else SIGNS_DO_NOT
        return (*CLAIMS, signs, CONSTANT, *(DETAIL_CLAIMS if group == self.details else ()))

    def table(self, group: str, e: SequenceEvidence) -> Table:
        """Every arm's accuracies on a group."""
        caption = (
            f"Chance {chance_of(group):.3f} for an answer. Mean over seeds with intervals over runs. Sweeps above "
            f"{self.setup.longest} stop at 1% change and have the implicit gradient; fewer are trained through all of "
            "them."
        )
        return accuracy_table(f"{group}: every arm", self.arms(group), e, self.setup.ends, powers=True, caption=caption)

    def large_table(self, group: str, e: SequenceEvidence) -> Table:
        """Every arm's accuracies on a large group."""
        caption = (
            f"Chance {chance_of(group):.3f} for an answer. Mean over seeds with intervals over runs. LSTM and Elman "
            "have four times, the Transformer twice the steps."
        )
        lengths = self.large.large_longest, self.large.large_far
        return accuracy_table(f"{group}: every arm", self.arms(group), e, lengths, powers=True, caption=caption)

    def methods(self) -> str:
        """What was trained and asked."""
        large, small = self.settings()
        parts = [self.small_methods()] if small else []
        return " ".join([*parts, *([self.large_methods()] if large else ())])

    def large_methods(self) -> str:
        """What was trained on groups of 60 elements or more."""
        s = self.large
        return (
            f"Groups of 60 elements or more: words of 2 to {s.large_longest} tokens, the longest rising over the first "
            f"half of training, {s.large_tokens:,} tokens a step, {s.large_steps:,} steps (a group of more than "
            "60 elements: twice both) of AdamW (rate "
            f"{s.large_lr:g}, betas 0.9 and 0.99, warm-up, cosine to zero, clip 1). Reflections: 16 heads of 4 "
            "dimensions (odd permutations: 24 of 5), 4 a token, a learned start, no drive. LSTM and Elman (width 128) "
            "have four times the steps and the rate that was best of three on another seed, the Transformer twice the "
            "steps. Consistent states: from the middle of training on, a loss of weight "
            f"{CONSISTENCY:g} ties the state after a word to the state after the letter that equals it. k sweeps in "
            "training are differentiated through all sweeps; as many sweeps as tokens are the exact solver, so that "
            "arm is the exact one. Recipe and claims were found on other streams of randomness."
        )

    def small_methods(self) -> str:
        """What was trained on smaller groups."""
        s = self.setup
        return (
            "Words are uniform over all elements of the group; the label at every position is the product so far "
            f"(left to right). Training words have 2 to {s.longest} tokens, one length a batch of {s.batch}, made "
            f"anew every step; {s.steps:,} steps (parity: half; groups of 12 elements or more: {self.patience} times "
            f"as many) of AdamW (rate {s.lr:g}, betas 0.9 and 0.95, warm-up, cosine to zero, clip 1). Models: "
            f"embedding of 32, one layer of inner width {s.inner} (parity: {max(s.inner // 4, 8)}), head. Fixed-point "
            "layers have Householder mixers of rank 2 (parity: 1) that read the normalized previous state. Accuracy "
            f"is on {s.count:,} words a length, the same for all runs. All arms of a seed see the same words in the "
            "same order. 'exact' solves every step exactly; n sweeps iterate the diagonal recurrence n times, so that "
            "1 sweep is a diagonal RNN. Nothing was chosen on the evaluated words. T6 compares accuracies on "
            "different words of the same models."
        )


def _many(group: str) -> bool:
    return chance_of(group) <= 1 / 12
