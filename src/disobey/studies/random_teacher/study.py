"""Does a student learn from a teacher that never learned anything?

Re-runs the claims of Sarnthein et al. (2023), arXiv:2302.12091, on the features of students of randomly initialized
teachers, with converged probes beside the published one, the controls it lacked, and arms for the numerics: at α = 0
the first loss is 0 and the first gradient is rounding noise, which Adam turns into full steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

from disobey.errors import refusal
from disobey.models.spec import model_spec
from disobey.records.results import Result
from disobey.studies.kit.claims import Verdicts, judge
from disobey.studies.kit.design import Arm, Design, Records
from disobey.studies.kit.evidence import Evidence, run_summary
from disobey.studies.kit.imitation import ImitationSetup
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.studies.random_teacher.cells import Line, cells, core
from disobey.studies.random_teacher.charts import alpha_chart, dose_chart, student_table, vanished_table
from disobey.studies.random_teacher.claims import CLAIMS, PAPER, Family
from disobey.studies.random_teacher.landscape import asymmetry_table, plane_charts
from disobey.training.recipe import Run

SHARES = (0.05, 0.25)


@dataclass(frozen=True)
class RandomTeacher:
    """Distils random teachers into students that start near them or far, and probes what was learned.

    A student sees images and its teacher's outputs, no labels. All students of a seed share teacher, inputs and, where
    they start far from it, their own initialization.
    """

    name: ClassVar[str] = "random-teacher"
    question: ClassVar[str] = "Does a student learn from a teacher that never learned anything?"
    answers: ClassVar[tuple[str, ...]] = ("R1a", "R2b", "R3a")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"widths": {"widths": (16, 32)}}

    setup: ImitationSetup = ImitationSetup(data="colour-shapes")
    model: str = "vgg-mini"
    """network of everybody: one without batch norm, whose last layer is a linear head"""
    widths: tuple[int, ...] = (16,)
    """widths of it; those after the first train the student, the far start and two controls"""
    outputs: int = 512
    """outputs of the projection head"""
    other: str = ""
    """another data set to distil on; none where it is empty"""
    sgd_lr: float = 0.1
    """learning rate of the SGD student (momentum 0.9)"""
    grid: int = 11
    """points of each axis of the plane through teacher and students, at least"""
    directions: int = 50
    """random directions beside the student's, for the asymmetry of the valley"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        if not self.widths or self.outputs < 2 or self.sgd_lr <= 0:
            raise refusal("random-teacher-options", "a width, outputs above 1, sgd-lr above 0", self.widths)
        if self.grid < 2 or self.directions < 1:
            expected = "a grid of at least 2 points and a direction"
            raise refusal("random-teacher-options", expected, f"{self.grid} and {self.directions}")

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds, on digits."""
        setup = ImitationSetup("digits-8x8", 200, seeds=(0, 1), steps=4, batch=16)
        return cls(setup, widths=(2, 3), outputs=8, grid=2, directions=3, is_smoke=True)

    def chosen(self) -> Mapping[str, str]:
        """What open options stand for."""
        return self.setup.chosen()

    @cached_property
    def families(self) -> tuple[Family, ...]:
        """What the rules compare, a width each."""
        data = replace(self.setup.spec, train=self.setup.train or len(self.setup.dataset.train))
        found = []
        for place, width in enumerate(self.widths):
            model = replace(model_spec(self.model), width=width)
            line = Line(data, model, self.setup.optim, self.outputs, self.other, self.sgd_lr)
            own = core() if place else cells(SHARES, other=bool(self.other))
            found.append(Family(f"{self.setup.data}, {self.model} of width {width}", line, tuple(own)))
        return tuple(found)

    def design(self) -> Design:
        """Every student and the positive control, paired by seed."""
        arms: list[Arm] = []
        for family in self.families:
            arms += [family.line.control_arm(), *(family.line.arm(cell) for cell in family.cells)]
        return Design(tuple(arms), self.setup.seeds)

    def plan(self) -> list[Run]:
        """The runs, seed by seed."""
        return self.design().runs()

    def evidence(self, records: Records) -> Evidence:
        """What was read off the complete seeds."""
        return Evidence.read(self.design(), records, run_summary)

    def verdicts(self, records: Records) -> Verdicts:
        """The rules on what was measured."""
        return judge(CLAIMS, self.evidence(records), self.families)

    def analyze(self, records: Records) -> Result:
        """Claims, figures and tables of the complete seeds."""
        e = self.evidence(records)
        verdicts = judge(CLAIMS, e, self.families)
        main = self.families[0]
        blocks = [
            alpha_chart(e, main),
            dose_chart(e, main),
            student_table(e, self.families),
            vanished_table(e, self.families),
            *plane_charts(e, main, self.grid),
            asymmetry_table(e, main, self.directions),
        ]
        return conclude(self, e.seeds, verdicts, blocks, records=records, methods=self.methods(), cite=PAPER)

    def methods(self) -> str:
        """What was trained and read, in sentences."""
        o = self.setup.optim
        return (
            f"Data: {self.setup.data}. Network {self.model} (widths {', '.join(map(str, self.widths))}) with a "
            f"projection head of {self.outputs} outputs (hidden layers at least as wide as the features, l2-normalized "
            "bottleneck of 64, no weight normalization unless named). Teacher: first weights. Student: cross-entropy "
            "of softmax outputs at temperature 1 (as KL, with the same gradient), no labels, no augmentation, "
            f"{o.steps:,} steps of {o.batch} with Adam at {o.lr:g}; last weights, never the best. Start: "
            "((1−α) teacher + α own) / √(α²+(1−α)²). Features are the input of the class head. Converged probe: "
            "logistic regression on standardized features of up to 2,000 training images, C chosen on validation; "
            "neighbours: 20, Euclidean; published probe: ten epochs of AdamW on raw features; all tested on up to "
            "3,000 test images. Training the head alone leaves the features as they are and is left out. The larger "
            "network of a width scan has a wider head, too, at the same rate and number of steps. Plane and asymmetry "
            "are of the first width, read from stored weights on up to 250 test images (neighbours: 500 and 500)."
        )
