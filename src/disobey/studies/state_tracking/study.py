"""From diagonal to dense: does iterating a diagonal recurrence make it track a group's state?

After Movahedi et al. 2025 (arXiv 2503.10799): fixed points of diagonal linear RNNs track states that the diagonal ones
cannot, better with rank, and worse with fewer iterations than training tokens. Ours: the exact solver as the limit of
the sweeps, the gradient as an arm, and constant words g, g², ..., on which a certified layer must fail in the long run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from disobey.errors import refusal
from disobey.records.results import Result, Table
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
        """The whole study in seconds; evidence of nothing."""
        setup = SequenceSetup((0, 1), steps=6, batch=8, longest=4, far=8, lengths=(4, 8), inner=8, count=8)
        return cls(setup, groups=("parity", "S3"), sweeps=(1, 4), is_smoke=True)

    def ladder(self, group: str) -> dict[int, Recipe]:
        """By sweeps in training, rising; 0, the exact solver, last. More than 12 sweeps stop where they converge."""
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
        """The runs, seed by seed."""
        recipes = [recipe for group in self.groups for recipe in self.arms(group).values()]
        return [Run(recipe, seed) for seed in self.setup.seeds for recipe in dict.fromkeys(recipes)]

    def evidence(self, records: Records) -> SequenceEvidence:
        """Numbers of the complete seeds."""
        recipes = [recipe for group in self.groups for recipe in self.arms(group).values()]
        return SequenceEvidence.read(records, self.setup.seeds, recipes)

    def settings(self) -> list[Setting]:
        """What claims are judged on, a group each."""
        return [Setting(group, self.arms(group), self.setup.longest, self.setup.far) for group in self.groups]

    def verdicts(self, records: Records) -> Verdicts:
        """The claims alone."""
        return self.judged(self.evidence(records))

    def judged(self, e: SequenceEvidence) -> Verdicts:
        """Every claim on its groups."""
        return sum((judge(self.claims(s.label), e, [s]) for s in self.settings()), Verdicts(()))

    def analyze(self, records: Records) -> Result:
        """What finished runs say."""
        e, settings = self.evidence(records), self.settings()
        verdicts = self.judged(e)
        blocks = [
            charts.training_chart(settings, e),
            charts.test_chart(settings, e),
            charts.both_chart(settings, e),
            charts.constant_chart(settings, e),
            charts.iterations_chart(settings, e),
            charts.residual_chart(settings, e),
            *(self.table(group, e) for group in self.groups),
        ]
        gains = "; ".join(f"{c.setting}: {c.evidence[0].value:+.2f} {c.verdict}" for c in verdicts.of("T1"))
        summary = f"{verdicts.summary()} Accuracy of the fixed point minus one sweep at the training lengths: {gains}."
        return conclude(
            self, e.seeds, verdicts, blocks, records=records, methods=self.methods(), cite=PAPER, summary=summary
        )

    def claims(self, group: str) -> tuple[SequenceClaim, ...]:
        """What is claimed about a group."""
        signs = SIGNS_SUFFICE if group in ("parity", "Z2") else SIGNS_DO_NOT
        return (*CLAIMS, signs, CONSTANT, *(DETAIL_CLAIMS if group == self.details else ()))

    def table(self, group: str, e: SequenceEvidence) -> Table:
        """Every arm's accuracies on a group."""
        caption = (
            f"Chance {chance_of(group):.3f} for an answer. Mean over seeds with intervals over runs. Sweeps above "
            f"{self.setup.longest} stop at 1% change and have the implicit gradient; fewer are trained through all of "
            "them."
        )
        return accuracy_table(f"{group}: every arm", self.arms(group), e, self.setup, powers=True, caption=caption)

    def methods(self) -> str:
        """What was trained and asked."""
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


def _large(group: str) -> bool:
    return chance_of(group) <= 1 / 12
