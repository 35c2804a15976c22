"""What does a student inherit: from shared first weights, from shared heads, from what it is shown and taught?

Random teachers (arXiv:2302.12091), subliminal learning (arXiv:2507.14805), self-distillation and distillation differ in
a handful of choices. This study crosses them: which parts of the teacher's *first* weights the student shares, how long
the teacher was trained, on which inputs which of its outputs are taught, and with which optimizer. What counts is a
class head that no student ever trains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

from disobey.errors import refusal
from disobey.models.spec import model_spec
from disobey.records.results import Result
from disobey.studies.kinship.cells import Cell, Line, cells
from disobey.studies.kinship.charts import alignment_chart, alpha_chart, factorial_chart
from disobey.studies.kinship.claims import CLAIMS, PUBLISHED, Family
from disobey.studies.kinship.tables import cell_table, generation_table, probe_table, published_table
from disobey.studies.kit.claims import Verdicts, judge
from disobey.studies.kit.design import Design, Records
from disobey.studies.kit.evidence import Evidence, run_summary
from disobey.studies.kit.imitation import ImitationSetup
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.training.recipe import Run


@dataclass(frozen=True)
class Kinship:
    """Students of one teacher that share more or less of its first weights, taught class or auxiliary logits.

    The corners are random teachers (age 0, data), subliminal learning (trained teacher, noise, auxiliary logits),
    self-distillation and distillation (trained teacher, data, class logits, same and other start).
    """

    name: ClassVar[str] = "kinship"
    question: ClassVar[str] = "What does a student inherit from the first weights that it shares with its teacher?"
    answers: ClassVar[tuple[str, ...]] = ("U1a", "U2a", "U5", "U7")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {"setup": ImitationSetup(steps=293, batch=1024, lr=3e-4)},
        "no-probes": {"probes": False},
    }

    setup: ImitationSetup = ImitationSetup()
    model: str = "mlp:256"
    """network of teacher and students: one whose last layer is a linear head"""
    outputs: int = 3
    """auxiliary logits beside the class logits"""
    other: str = "digits-8x8"
    """another data set whose inputs are shown in one cell; none where it is empty"""
    sgd_lr: float = 0.1
    """learning rate of the SGD students (momentum 0.9)"""
    curve: int = 10
    """readings of the class head during training"""
    probes: bool = True
    """whether features are probed"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        if self.curve < 1 or self.sgd_lr <= 0 or self.outputs < 1:
            raise refusal("kinship-options", "curve, outputs and sgd-lr above 0", (self.curve, self.outputs))

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds, on digits."""
        setup = ImitationSetup("digits-8x8", 200, seeds=(0, 1), steps=10, batch=16)
        return cls(setup, "mlp:16x1", other="", curve=2, is_smoke=True)

    @cached_property
    def line(self) -> Line:
        """From cells to recipes."""
        model = model_spec(self.model)
        args = self.setup.spec, model, self.setup.optim, self.outputs, self.other, self.curve, self.sgd_lr, self.probes
        return Line(*args)

    def cells(self) -> tuple[Cell, ...]:
        """Every cell of the factorial."""
        return tuple(cells(bool(self.other)))

    def design(self) -> Design:
        """Every cell as an arm, paired by seed."""
        return Design(tuple(self.line.arm(cell) for cell in self.cells()), self.setup.seeds)

    def plan(self) -> list[Run]:
        """The runs, seed by seed."""
        return self.design().runs()

    def family(self) -> Family:
        """What the rules compare."""
        return Family(self.setup.data, self.line, 1 / len(self.setup.dataset.classes), self.cells())

    def evidence(self, records: Records) -> Evidence:
        """What was read off the complete seeds."""
        return Evidence.read(self.design(), records, run_summary)

    def verdicts(self, records: Records) -> Verdicts:
        """The rules on what was measured."""
        return judge(CLAIMS, self.evidence(records), [self.family()])

    def analyze(self, records: Records) -> Result:
        """Claims, figures and tables of the complete seeds."""
        e, family = self.evidence(records), self.family()
        verdicts = judge(CLAIMS, e, [family])
        blocks = [
            alpha_chart(e, family),
            factorial_chart(e, family),
            alignment_chart(e, family),
            published_table(e, family),
            cell_table(e, family),
            generation_table(e, family),
            *([probe_table(e, family)] if self.probes else []),
        ]
        return conclude(self, e.seeds, verdicts, blocks, records=records, methods=self.methods(), cite=PUBLISHED)

    def methods(self) -> str:
        """What was trained and read, in sentences."""
        o = self.setup.optim
        return (
            f"Data: {self.setup.data}. Network {self.model}, weights N(0, 1/fan-in), with {self.outputs} auxiliary "
            f"logits. Teacher: cross-entropy on the class logits, {o.steps:,} steps of {o.batch} with Adam at "
            f"{o.lr:g}. Students: KL at temperature 1 on the taught outputs, the same budget; SGD at "
            f"{self.sgd_lr:g} with momentum 0.9. A start at α is ((1−α) teacher's first weights + α own) / "
            "√(α²+(1−α)²), for encoder, auxiliary head and class head. Noise is uniform in [−1, 1] on standardized "
            "inputs. The class head of students taught auxiliary logits is never trained; transfer is its test "
            "accuracy minus that of the shared first weights (minus chance where it was drawn anew). Probes: logistic "
            "regression to convergence on standardized features of up to 2,000 training examples, C chosen on "
            "validation; 20 nearest neighbours; both tested on up to 3,000 test examples. Alignment: cosine of the "
            "movements of student and teacher since the teacher's first weights. Barrier: error of the class head at 7 "
            "points of the straight line to the teacher, above the mean of both ends."
        )
