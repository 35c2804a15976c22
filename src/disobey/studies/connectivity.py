"""From which starts do runs that differ in the order of their batches end in one linear basin?

Frankle et al. (2020), arXiv:1912.05671: children of a network's first weights end behind barriers, those of a slightly
trained one do not. Sarnthein et al. (2023), arXiv:2302.12091, section 5: a student of a random teacher, which never saw
a label, already lies in such a basin. Here its children stand on the clock of supervised training, beside those of a
control that was moved as long by a target without information.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from disobey.errors import refusal
from disobey.figures.estimates import estimates_chart
from disobey.measures.inference.runs import mean_over_runs, share_over_runs
from disobey.records.results import Axis, Chart, Result, Table
from disobey.studies.kit.claims import Answer, ClaimSpec, Noted, Skip, Source, Verdicts, judge
from disobey.studies.kit.design import Arm, Design, Records, factors
from disobey.studies.kit.evidence import Evidence, run_summary
from disobey.studies.kit.imitation import ImitationSetup, started
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.studies.kit.tables import table
from disobey.studies.kit.verdicts import POINTS, Effect, above
from disobey.training.recipe import Recipe, Run, imitation_spec
from disobey.training.specs import Teaching

PAPER = Source(
    "arXiv 2302.12091",
    "Sarnthein, Bachmann, Anagnostidis, Hofmann, Random teachers are good teachers, ICML 2023, arXiv:2302.12091",
)
FRANKLE = Source("arXiv 1912.05671")
OURS = Source("a prediction of ours; no publication")
STABLE = 0.02  # a barrier below two points of error counts as none
STUDENT, CONTROL = "student of a random teacher", "student of a constant target"


@dataclass(frozen=True)
class Starts:
    """The starts of one setting: what the rules compare."""

    label: str
    siblings: Mapping[str, tuple[Arm, ...]]
    last: str

    def barrier(self, e: Evidence, start: str) -> NDArray:
        """Mean barrier between the first child and every other, (S,)."""
        return np.mean([e.per_seed(arm, "barrier") for arm in self.siblings[start]], axis=0)


def guarded(evidence: Callable[[Evidence, Starts], Answer]) -> Callable[[Evidence, Starts], Answer]:
    """Judges only where first weights do have barriers, on the mean."""

    def ask(e: Evidence, s: Starts) -> Answer:
        if s.barrier(e, moment(0)).mean() < STABLE:
            return Skip(f"first weights have a barrier below {STABLE:.0%}: this setting can test nothing")
        return evidence(e, s)

    return ask


def moment(step: int) -> str:
    """A start on the clock of supervised training, in words."""
    return f"after {step} supervised steps" if step else "first weights"


def barrier_of(start: Callable[[Starts], str]) -> Callable[[Evidence, Starts], Answer]:
    """The barrier from a start."""
    return lambda e, s: [mean_over_runs(s.barrier(e, start(s)), f"barrier, {start(s)}")]


def stable_from(start: Callable[[Starts], str]) -> Callable[[Evidence, Starts], Answer]:
    """In which share of the seeds a start has no barrier; beside it their mean and the largest of them.

    Barriers are nearly 0 in most seeds and large in a few: an interval of their mean from few seeds misses the few.
    """

    def share(e: Evidence, s: Starts) -> Answer:
        found, name = s.barrier(e, start(s)), start(s)
        largest = f"The largest barrier of a seed is {found.max():.3f}."
        shown = share_over_runs(found < STABLE, f"seeds with a barrier below {STABLE:.0%}, {name}")
        return Noted([shown, mean_over_runs(found, f"barrier, {name}")], largest)

    return guarded(share)


def less(first: str, second: str) -> Callable[[Evidence, Starts], Answer]:
    """The barrier from one start minus that from another."""
    name = f"barrier, {first} − {second}"
    return guarded(lambda e, s: [mean_over_runs(s.barrier(e, first) - s.barrier(e, second), name)])


MOST = above(0.5)
LESS = Effect(-1, margin=STABLE, unit=POINTS)
CLAIMS: tuple[ClaimSpec[Evidence, Starts], ...] = (
    ClaimSpec(
        "L0",
        "Children of first weights end behind a barrier (positive control).",
        FRANKLE,
        Effect(1, STABLE, unit=POINTS),
        barrier_of(lambda _: moment(0)),
    ),
    ClaimSpec(
        "L1",
        "Children of the latest supervised start do not, in most seeds.",
        FRANKLE,
        MOST,
        stable_from(lambda s: s.last),
    ),
    ClaimSpec(
        "L2",
        "Children of a random teacher's student do not, in most seeds.",
        PAPER,
        MOST,
        stable_from(lambda _: STUDENT),
    ),
    ClaimSpec("L3", "Their barrier is lower than from first weights.", PAPER, LESS, less(STUDENT, moment(0))),
    ClaimSpec("L4", "It is lower than after as many steps on a constant target.", OURS, LESS, less(STUDENT, CONTROL)),
)


@dataclass(frozen=True)
class Connectivity:
    """Trains children of several starts on labels, in different orders, and measures the barriers between them.

    Starts: first weights, supervised training after some steps, a random teacher's student, and a control.
    """

    name: ClassVar[str] = "connectivity"
    question: ClassVar[str] = "Does a random teacher lead its student into a linear basin?"
    answers: ClassVar[tuple[str, ...]] = ("L2", "L4")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"layer-norm": {"model": "resnet8-ln:8"}}

    setup: ImitationSetup = ImitationSetup(data="colour-shapes", seeds=(0, 1, 2, 3, 4, 5))
    model: str = "vgg-mini:16"
    """network of everybody: one without batch norm, whose last layer is a linear head"""
    moments: tuple[int, ...] = (0, 10, 50, 150)
    """supervised steps after which children start; 0: first weights, always among them"""
    child_steps: int = 400
    """supervised steps of parent and children"""
    child_lr: float = 0.05
    """learning rate of parent and children (SGD, momentum 0.9, cosine after a warm-up)"""
    children: int = 3
    """children of every start"""
    outputs: int = 512
    """outputs of the projection head that the random teacher teaches"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        if 0 not in self.moments or max(self.moments) >= self.child_steps or self.children < 2:
            raise refusal(
                "connectivity-options",
                "moments with 0 among them, all before the end of training, and two children or more",
                f"{self.moments} of {self.child_steps} steps, {self.children} children",
            )

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds, on digits."""
        setup = ImitationSetup("digits-8x8", 200, seeds=(0, 1), steps=3, batch=16)
        return cls(setup, "vgg-mini:2", moments=(0, 2), child_steps=4, children=2, outputs=8, is_smoke=True)

    def chosen(self) -> Mapping[str, str]:
        """What open options stand for."""
        return self.setup.chosen()

    # which runs

    @cached_property
    def parent(self) -> Recipe:
        """Supervised training, whose checkpoints are starts."""
        return self.setup.supervised(self.model, self.child_lr, self.child_steps, self.moments, self.outputs)

    def starts(self) -> dict[str, tuple[Recipe, int | None]]:
        """By name: whose weights, and after which step; None: its last."""
        found: dict[str, tuple[Recipe, int | None]] = {moment(k): (self.parent, k) for k in sorted(self.moments)}
        found[STUDENT] = self.setup.near_teacher(self.parent, STUDENT), None
        found[CONTROL] = self.setup.near_teacher(self.parent, CONTROL, control="constant"), None
        return found

    def family(self, start: str) -> list[Recipe]:
        """The children of a start: the first starts at it, the others where the first did."""
        whose, step = self.starts()[start]
        first = started(self.parent, whose, step, 2, f"first child, {start}", origin="teacher")
        sibling = replace(imitation_spec(first), origin="sibling", readings=("barrier",))
        return [first] + [
            replace(first, teacher=first, teaching=Teaching(), replica=2 + c, imitation=sibling, name=f"child {c + 1}")
            for c in range(1, self.children)
        ]

    def arms(self) -> dict[str, tuple[Arm, ...]]:
        """By start: the first child's siblings, which hold the barriers to it."""
        return {
            start: tuple(
                Arm(f"child {c + 2}, {start}", recipe, factors=factors(start=start, child=c + 2))
                for c, recipe in enumerate(self.family(start)[1:])
            )
            for start in self.starts()
        }

    def design(self) -> Design:
        """Every sibling as an arm, paired by seed."""
        return Design(tuple(arm for arms in self.arms().values() for arm in arms), self.setup.seeds)

    def plan(self) -> list[Run]:
        """The runs, seed by seed."""
        return self.design().runs()

    # what they say

    def compared(self) -> Starts:
        """What the rules compare."""
        return Starts(f"{self.setup.data}, {self.model}", self.arms(), moment(max(self.moments)))

    def verdicts(self, records: Records) -> Verdicts:
        """The rules on what was measured."""
        return judge(CLAIMS, Evidence.read(self.design(), records, run_summary), [self.compared()])

    def analyze(self, records: Records) -> Result:
        """Claims, the figure and the table of the complete seeds."""
        e, starts = Evidence.read(self.design(), records, run_summary), self.compared()
        verdicts = judge(CLAIMS, e, [starts])
        blocks = [self.chart(e, starts), self.table(e, starts)]
        return conclude(self, e.seeds, verdicts, blocks, records=records, methods=self.methods(), cite=PAPER)

    def chart(self, e: Evidence, starts: Starts) -> Chart:
        """Barriers on the clock of supervised training, students beside it."""
        rows = [(start, "barrier", "", mean_over_runs(starts.barrier(e, start), start)) for start in starts.siblings]
        alt = "Barrier of the test error between children of one start, by start."
        axes = Axis("x", "start of the children", "nominal"), Axis("y", "barrier (test error)")
        title = "Barriers between runs that differ in the order of their batches"
        return estimates_chart(rows, "barriers", title, *axes, alt, kind="interval", color="what")

    def table(self, e: Evidence, starts: Starts) -> Table:
        """Every start with its children's accuracy."""

        def over(key: str):
            return lambda s: mean_over_runs(np.mean([e.per_seed(arm, key) for arm in starts.siblings[s]], axis=0), key)

        columns = (
            ("start", lambda start: start),
            ("barrier", over("barrier")),
            ("children's test accuracy", over("accuracy")),
            ("agreement of two children", over("agreement")),
            ("moved / start", over("moved")),
        )
        caption = f"Means over seeds; the barrier is between the first child and each of {self.children - 1} others."
        return table("Every start", starts.siblings, columns, caption)

    def methods(self) -> str:
        """What was trained and measured, in sentences."""
        o, s = self.parent.optim, self.setup.optim
        return (
            f"Data: {self.setup.data}. Network {self.model} without batch norm. Parent and children: labels, "
            f"{o.steps:,} steps of {o.batch} with SGD at {o.lr:g}, momentum 0.9, ten steps of warm-up, cosine. "
            "Children of one start differ in the order of their batches alone; all of them train as long. "
            f"The student: {s.steps:,} steps with Adam at {s.lr:g} on the outputs of the parent's first weights, at "
            "which it starts, no labels; the control: the same on the mean output for every image. Barrier: test "
            "error at 7 points of the straight line between two children above the mean of both, highest of them; "
            f"below {STABLE:.0%} counts as none. Where first weights have no barrier nothing else is judged."
        )
