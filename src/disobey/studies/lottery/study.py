"""Does the student of a random teacher hold lottery tickets?

Frankle et al. (2020), arXiv:1912.05671: pruned networks train as well as dense ones where their weights are rewound to
an early step of training, and not to the first weights. Sarnthein et al. (2023), arXiv:2302.12091, section 5: the
student of a random teacher, which never saw a label, is such a rewinding point. Here it stands beside first weights,
supervised rewinding points, students that learned from noise or from afar, and weights that went as far at random.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, Self

from disobey.errors import refusal
from disobey.records.results import Result
from disobey.studies.kit.claims import Verdicts, judge
from disobey.studies.kit.design import Arm, Design, Records, factors
from disobey.studies.kit.evidence import Evidence, run_summary
from disobey.studies.kit.imitation import ImitationSetup, started
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.studies.lottery.charts import curve_chart, curve_table
from disobey.studies.lottery.claims import (
    CLAIMS,
    FAR,
    LOSS,
    NOISE,
    PAPER,
    STUDENT,
    WALK,
    Curves,
    Densities,
    moment,
    rounds_within,
)
from disobey.training.imitation import PruneSpec
from disobey.training.recipe import Recipe, Run


@dataclass(frozen=True)
class Lottery:
    """Prunes networks in rounds, rewinds them to several starts, and trains them again on labels.

    Starts: first weights, supervised training after some steps, a random teacher's student, and its controls.
    """

    name: ClassVar[str] = "lottery"
    question: ClassVar[str] = "Does the student of a random teacher hold lottery tickets?"
    answers: ClassVar[tuple[str, ...]] = ("T1", "T2")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"published": {"share": 0.2, "rounds": 14}}

    setup: ImitationSetup = ImitationSetup(data="colour-shapes")
    model: str = "vgg-mini:5"
    """network of everybody: one without batch norm, whose last layer is a linear head"""
    moments: tuple[int, ...] = (0, 25, 150)
    """supervised steps to which tickets are rewound; 0: first weights, always among them"""
    child_steps: int = 400
    """supervised steps of every training"""
    child_lr: float = 0.05
    """learning rate of these (SGD, momentum 0.9, cosine after a warm-up)"""
    rounds: int = 4
    """prunings"""
    share: float = 0.5
    """of the weights left that a pruning takes"""
    judged: Densities = (0.05, 0.5)
    """shares of the weights left, from and to, at which tickets are compared"""
    sparse: Densities = (0.05, 0.2)
    """those at which tickets of first weights must lose, and those rewound latest must not"""
    outputs: int = 512
    """outputs of the projection head that the random teacher teaches"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        if 0 not in self.moments or len(self.moments) < 2 or max(self.moments) >= self.child_steps:
            expected = "moments with 0 and others among them, all before the end of training"
            raise refusal("lottery-moments", expected, f"{self.moments} of {self.child_steps} steps")
        prune = PruneSpec(self.rounds, self.share)
        for low, high in (self.judged, self.sparse):
            if not high < 1 or not rounds_within(prune.share, prune.rounds, low, high):
                expected = f"a pruning that leaves between {low:.1%} and {high:.1%} of the weights"
                raise refusal("lottery-rounds", expected, f"{self.rounds} prunings of {self.share:.0%}")

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds, on digits."""
        setup = ImitationSetup("digits-8x8", 200, seeds=(0, 1), steps=3, batch=16)
        return cls(setup, "vgg-mini:2", moments=(0, 2), child_steps=4, rounds=2, share=0.6, outputs=8, is_smoke=True)

    def chosen(self) -> Mapping[str, str]:
        """What open options stand for."""
        return self.setup.chosen()

    # which runs

    @cached_property
    def parent(self) -> Recipe:
        """Supervised training, whose checkpoints tickets are rewound to."""
        return self.setup.supervised(self.model, self.child_lr, self.child_steps, self.moments, self.outputs)

    def starts(self) -> dict[str, tuple[Recipe, int | None]]:
        """By name: whose weights, and after which step; None: its last."""
        found: dict[str, tuple[Recipe, int | None]] = {moment(k): (self.parent, k) for k in sorted(self.moments)}
        student = partial(self.setup.near_teacher, self.parent)
        found[STUDENT] = student(STUDENT), None
        found[NOISE] = student(NOISE, inputs="gaussian"), None
        found[FAR] = student(FAR, alpha=(1.0, 1.0, 1.0)), None
        found[WALK] = found[STUDENT]
        return found

    def arms(self) -> dict[str, Arm]:
        """By start: the network that is pruned, rewound to it and trained again."""
        found = {}
        for name, (whose, step) in self.starts().items():
            prune = PruneSpec(self.rounds, self.share, moved=name == STUDENT)
            origin = "walk" if name == WALK else "teacher"
            recipe = started(self.parent, whose, step, 2, f"tickets, {name}", origin=origin, prune=prune)
            found[name] = Arm(name, recipe, factors=factors(start=name))
        return found

    def design(self) -> Design:
        """Every rewinding point as an arm, paired by seed."""
        return Design(tuple(self.arms().values()), self.setup.seeds)

    def plan(self) -> list[Run]:
        """The runs, seed by seed."""
        return self.design().runs()

    # what they say

    def compared(self) -> Curves:
        """What the rules compare."""
        _, early, *_ = steps = sorted(self.moments)
        label = f"{self.setup.data}, {self.model}"
        return Curves(
            label, self.arms(), self.share, self.rounds, moment(early), moment(steps[-1]), self.judged, self.sparse
        )

    def verdicts(self, records: Records) -> Verdicts:
        """The rules on what was measured."""
        return judge(CLAIMS, Evidence.read(self.design(), records, run_summary), [self.compared()])

    def analyze(self, records: Records) -> Result:
        """Claims, the figure and the table of the complete seeds."""
        e, curves = Evidence.read(self.design(), records, run_summary), self.compared()
        verdicts = judge(CLAIMS, e, [curves])
        blocks = [curve_chart(e, curves), curve_table(e, curves)]
        return conclude(self, e.seeds, verdicts, blocks, records=records, methods=self.methods(), cite=PAPER)

    def methods(self) -> str:
        """What was trained and measured, in sentences."""
        o, s, (low, high) = self.parent.optim, self.setup.optim, self.judged
        return (
            f"Data: {self.setup.data}. Network {self.model} without batch norm. Every training on labels: {o.steps:,} "
            f"steps of {o.batch} with SGD at {o.lr:g}, momentum 0.9, ten steps of warm-up, cosine, the same batches in "
            f"every round and arm of a seed. Tickets: {self.rounds} times, {self.share:.0%} of the smallest weights of "
            "encoder and class head go, over all layers together, and the others are rewound; all tickets train as "
            "long, so that supervised rewinding points have seen more labels by their step. The student: "
            f"{s.steps:,} steps with Adam at {s.lr:g} on the outputs of the parent's first weights, where it starts, "
            "no labels. Others: the same on Gaussian inputs; the same from an initialization of its own; first weights "
            "moved as far as the student in every tensor, in a random direction; the student's own start under its "
            "tickets' masks with the weights of every layer at random places. Compared is the mean test accuracy of "
            f"tickets with {low:.0%} to {high:.0%} of the weights. Where tickets of first weights with "
            f"{self.sparse[0]:.0%} to {self.sparse[1]:.0%} lose less than {LOSS:.0%}, or those rewound latest lose as "
            "much, nothing else is judged."
        )
