"""The students of a random teacher as values, and their recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from disobey.data.dataset import DataSpec
from disobey.models.spec import ModelSpec
from disobey.studies.kit.design import Arm, factors
from disobey.training.imitation import ImitationSpec, Inputs, Reading
from disobey.training.recipe import Recipe
from disobey.training.specs import OptimSpec

Numerics = Literal["float32", "float64", "Adam eps 1e-5", "SGD"]
STUDENT_READINGS: tuple[Reading, ...] = ("probes", "short", "start", "walk", "shuffled")
NEAR = (0.3, 0.6)  # distances besides 0 that the paper calls alike
TINY = 1e-3


@dataclass(frozen=True)
class Cell:
    """One student of a random teacher. The default is the paper's: same start, data, all weights, Adam in float32."""

    alpha: float = 0.0
    inputs: Inputs = "data"
    control: Literal["none", "rows", "constant"] = "none"
    trains: Literal["all", "encoder"] = "all"
    numerics: Numerics = "float32"
    share: float = 1.0
    weight_norm: bool = False
    twice: bool = False

    @property
    def label(self) -> str:
        """What differs from the paper's student, in words."""
        parts = [f"α = {self.alpha:g}"] if self.alpha else []
        parts += [INPUTS[self.inputs]] if self.inputs != "data" else []
        parts += [CONTROLS[self.control]] if self.control != "none" else []
        parts += ["encoder alone"] if self.trains == "encoder" else []
        parts += [self.numerics] if self.numerics != "float32" else []
        parts += [f"{self.share:.0%} of the images"] if self.share < 1 else []
        parts += ["weight norm"] if self.weight_norm else []
        parts += ["twice as long"] if self.twice else []
        return ", ".join(parts) or "student"


INPUTS = {
    "gaussian": "Gaussian inputs",
    "permuted": "pixels permuted",
    "phase": "random phases",
    "other": "other data",
}
CONTROLS = {"rows": "targets of other images", "constant": "constant target"}
STUDENT, FAR = Cell(), Cell(alpha=1.0)


def cells(shares: Sequence[float], *, other: bool) -> list[Cell]:
    """The student, then one change at a time.

    shares: of the training images, for the dose of data, besides all of them.
    other: whether there is another data set to distil on.
    """
    found = [STUDENT, *(Cell(alpha=a) for a in NEAR), FAR, Cell(alpha=1.0, twice=True)]
    found += [Cell(inputs=name) for name in ("gaussian", "permuted", "phase", *(["other"] if other else []))]  # type: ignore[arg-type]
    found += [Cell(control="rows"), Cell(control="constant"), Cell(trains="encoder"), Cell(weight_norm=True)]
    found += [Cell(numerics=name) for name in ("float64", "Adam eps 1e-5", "SGD")]
    found += [Cell(alpha=TINY, numerics="float64")]
    return found + [Cell(share=share) for share in shares]


def core() -> list[Cell]:
    """What is trained at widths other than the first."""
    return [STUDENT, FAR, Cell(control="rows"), Cell(control="constant")]


@dataclass(frozen=True)
class Line:
    """From cells to recipes, at one width.

    Attributes:
        data: of students and probes.
        model: of everybody.
        optim: of the students.
        outputs: of the projection head.
        other: name of the other data set; none where it is empty.
        sgd_lr: of the SGD student.
    """

    data: DataSpec
    model: ModelSpec
    optim: OptimSpec
    outputs: int
    other: str
    sgd_lr: float

    def _spec(self, cell: Cell = STUDENT) -> ImitationSpec:
        return ImitationSpec(outputs=self.outputs, head="projection-weight-norm" if cell.weight_norm else "projection")

    def teacher(self, cell: Cell = STUDENT) -> Recipe:
        """First weights, probed and never trained."""
        spec = replace(self._spec(cell), readings=("probes", "short", "pixels"))
        return Recipe(self.data, self.model, replace(self.optim, stop=0), imitation=spec, name="random teacher")

    def supervised(self) -> Recipe:
        """The positive control: the teacher's first weights, trained on labels for as many steps."""
        spec = replace(self._spec(), readings=("probes", "short"))
        return Recipe(self.data, self.model, self.optim, imitation=spec, name="supervised")

    def student(self, cell: Cell) -> Recipe:
        """The student of a cell."""
        optim = replace(self.optim, steps=2 * self.optim.steps) if cell.twice else self.optim
        if cell.numerics == "SGD":
            optim = replace(optim, name="sgd", lr=self.sgd_lr)
        optim = replace(optim, eps=1e-5) if cell.numerics == "Adam eps 1e-5" else optim
        spec = replace(
            self._spec(cell),
            learns="auxiliary",
            inputs=cell.inputs,
            other=self.other if cell.inputs == "other" else "",
            control=cell.control,
            trains=cell.trains,
            alpha=(cell.alpha,) * 3,
            precision="float64" if cell.numerics == "float64" else "float32",
            readings=STUDENT_READINGS if cell == STUDENT else ("probes", "short"),
        )
        data = self.data if cell.share == 1 else replace(self.data, train=self.images(cell.share))
        teacher = self.teacher(cell)
        return Recipe(data, self.model, optim, teacher=teacher, replica=1, imitation=spec, name=cell.label)

    def images(self, share: float) -> int:
        """Training images of a share of the data."""
        assert self.data.train is not None
        return max(round(share * self.data.train), 1)

    def arm(self, cell: Cell) -> Arm:
        """The cell as an arm of a design."""
        levels = factors(student=cell.label, width=self.model.width)
        return Arm(cell.label, self.student(cell), teacher=self.teacher(cell), factors=levels)

    def control_arm(self) -> Arm:
        """The positive control as an arm."""
        return Arm("supervised", self.supervised(), teacher=self.teacher(), factors=factors(student="supervised"))
