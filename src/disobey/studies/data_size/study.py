"""How much data is a teacher worth, and which part of its predictions causes the gain?

The claims of Lanzillotta et al. 2025 (arXiv 2510.15516) with additional controls: arms that keep one part of the
teacher's information and destroy the rest, at every training-set size, for equal steps and to convergence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self, get_args

import numpy as np

from disobey.data.dataset import DataSpec
from disobey.errors import refusal
from disobey.models.spec import ModelSpec, spec_text
from disobey.records.results import Result
from disobey.studies.data_size import charts, claims, tables
from disobey.studies.data_size.cells import BUDGETS, IDS, KD, LABELS, NAMES, Budget, Cell, Design, RegimeName, parsed
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.data_size.shares import PAPER, sizes_in_words
from disobey.studies.kit.claims import Verdicts
from disobey.studies.kit.design import Arm, Records
from disobey.studies.kit.design import Design as ArmsBySeed
from disobey.studies.kit.methods import budget_words
from disobey.studies.kit.options import by_data
from disobey.studies.kit.presets import CIFAR_SPEED
from disobey.studies.kit.setup import Setup
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.targets.arms import ARMS
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec, Teaching

DEFAULT_ARMS = tuple(NAMES[id] for id in ("A0", "A1", "A4", "A7", "A9a", "A10a", "A11", "A12"))
SWEEPS = {KD: (0.0, 0.5, 1.0, 2.0, 4.0, 8.0), **{NAMES[id]: ARMS[id].amounts for id in ("A3", "A16")}}  # 0: the default
ALL_ARMS = tuple(f"{arm}:{value:g}" if value else arm for arm in IDS for value in SWEEPS.get(arm, (0.0,)))
REGIMES: tuple[RegimeName, ...] = get_args(RegimeName)
# Small networks for images that train in a second, since this study has thousands of runs. Chosen on validation.
OWN_TEACHER, OWN_STUDENT, OWN_WIDTHS = "mlp:400x1", "mlp:100x1", ("mlp:25x1", "mlp:400x1")
OWN_BUDGET = {"steps": 600, "batch": 64, "lr": 2e-3}


@dataclass(frozen=True)
class DataSize:
    """Trains one student on n examples, from two per class to all: on labels, a teacher, or parts of its predictions.

    All arms of a seed share examples (nested over n), initialization and batches. The label-equivalence curve says how
    much more data labels would need. `--full` runs every arm, ten seeds, three budgets and all regimes.
    """

    name: ClassVar[str] = "data-size"
    question: ClassVar[str] = "How much data is a teacher worth, and which part of its predictions causes the gain?"
    answers: ClassVar[tuple[str, ...]] = ("C2", "C4")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "full": {
            "setup": Setup(seeds=tuple(range(10))),
            "arms": ALL_ARMS,
            "budgets": tuple(BUDGETS),
            "regimes": REGIMES,
            "noises": (0.1, 0.2, 0.4),
        },
        "text": {"setup": Setup(data="languages")},
        # With fewer pairs every arm stays at chance (docs/guides/data.md).
        "modular": {"setup": Setup(data="modular-addition"), "sizes": (372, 434, 496, 558, 620, 673)},
        "cifar-speed": {"setup": CIFAR_SPEED, "teacher": "resnet20", "student": "resnet8", "points": 4, "first": 50},
        # Temperature, data and range of sizes as published; the usual CIFAR-100 budget. Needs a GPU.
        "paper-cifar100": {
            "setup": Setup(
                data="hub:uoft-cs/cifar100#fine_label",
                augment="crop-flip",
                steps=78_000,
                batch=128,
                lr=0.1,
                optimizer="sgd",
                weight_decay=5e-4,
            ),
            "teacher": "resnet20",
            "student": "self",
            "temperature": 100.0,
            "first": 12,
        },
    }

    setup: Setup = Setup()
    teacher: str = ""
    """model of the teacher, NAME or NAME:WIDTH"""
    student: str = ""
    """model of the students: self, small, large, NAME or NAME:WIDTH"""
    arms: tuple[str, ...] = DEFAULT_ARMS
    """targets by name or id (docs/data-size.md); NAME:VALUE sets an amount, or the temperature (distillation:4)"""
    sizes: tuple[int, ...] = ()
    """numbers of training examples n of the students; a log grid by default"""
    points: int = 7
    """number of sizes on the log grid"""
    first: int = 2
    """examples per class at the smallest size of the log grid"""
    temperature: float = 20.0
    """distillation temperature of all soft targets"""
    budgets: tuple[Budget, ...] = ("steps",)
    """steps: equal for all n; convergence: longer, checkpoint chosen on validation; epochs: equal for all n"""
    patience: float = 3.0
    """training-length multiplier for the 'convergence' budget"""
    epochs: float = 20.0
    """number of epochs for the 'epochs' budget"""
    regimes: tuple[RegimeName, ...] = ()
    """additional conditions (docs/data-size.md), each of which lets more claims be tested"""
    noises: tuple[float, ...] = (0.2,)
    """fractions of corrupted student labels in the 'noise' regime; the teacher's labels are clean"""
    widths: tuple[str, ...] = ()
    """student models of the 'widths' regime"""
    kernels: int = 700
    """largest n for kernel students in closed form, whose cost grows as n³; 0: none"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        arms = {parsed(word, self.temperature).word for word in self.arms}
        if not {LABELS, KD} <= arms:
            raise refusal("arms-missing", f"{LABELS} (A0) and {KD} (A1) among the arms", self.arms)
        if "steps" not in self.budgets:
            raise refusal("budget-missing", "'steps', the budget of most claims, among the budgets", self.budgets)
        if list(self.sizes) != sorted(set(self.sizes)) or min(self.sizes, default=1) < 1:
            raise refusal("sizes-not-rising", "increasing sizes", self.sizes)
        if self.points < 3 or self.first < 1 or self.epochs <= 0 or self.patience < 1:
            got = f"{self.points}, {self.first}, {self.epochs:g}, {self.patience:g}"
            raise refusal("option-too-small", "points >= 3, first >= 1, epochs > 0, patience >= 1", got)
        if self.setup.augment != "none" and "augment" in self.regimes:
            expected = "plain images with the regime augment, which compares with them"
            raise refusal("augmented-twice", expected, f"--augment {self.setup.augment}", "--augment none")

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds, on 15 training steps."""
        arms = ("A0", "A1", "A1:1", "A2b", "A3:0.1", "A7", "A9a", "A10a", "A10b", "A11", "A12", "A18b")
        return cls(
            Setup(data="digits-8x8", seeds=(0, 1), steps=15, batch=16),
            teacher="mlp:16x1",
            student="mlp:8x1",
            arms=arms,
            sizes=(20, 100, 500),
            budgets=tuple(BUDGETS),
            regimes=REGIMES,
            widths=("mlp:4x1",),
            kernels=50,
            is_smoke=True,
        )

    @cached_property
    def own_nets(self) -> bool:
        """Whether the study uses its own small networks and budget: on images, unless a teacher is named."""
        return self.setup.dataset.kind == "image" and not self.teacher

    @cached_property
    def base(self) -> Setup:
        """The setup with the budget of `own_nets`."""
        budget = {name: getattr(self.setup, name) or value for name, value in OWN_BUDGET.items()}
        return replace(self.setup, **budget) if self.own_nets else self.setup

    def model(self, word: str = "self") -> ModelSpec:
        """A model in a word; ``self`` is the teacher's."""
        return self.setup.model(word, OWN_TEACHER if self.own_nets else self.teacher)

    def chosen(self) -> Mapping[str, str]:
        """What open options stand for on these data, in words."""
        models = {"teacher": spec_text(self.model()), "student": spec_text(self.model(self.design.student))}
        others = {name: " ".join(map(str, getattr(self.design, name))) for name in ("sizes", "widths")}
        words = {name: by_data(word, self.setup.data) for name, word in (models | others).items()}
        return {**self.base.chosen(), **words}

    @cached_property
    def design(self) -> Design:
        """What is compared, with all open options resolved. Raises `ValueError` for sizes beyond the data."""
        dataset = self.setup.dataset
        total, classes = self.setup.train or len(dataset.train), len(dataset.classes)
        student = self.student or (OWN_STUDENT if self.own_nets else "small")
        return Design(
            data=self.setup.data,
            kind=dataset.kind,
            classes=classes,
            tests=len(dataset.test),
            total=total,
            sizes=self._sizes(total, classes),
            arms=tuple(dict.fromkeys(parsed(word, self.temperature).word for word in self.arms)),
            temperature=self.temperature,
            budgets=self.budgets,
            regimes=self.regimes,
            student=student,
            widths=self.widths or (OWN_WIDTHS if student.startswith("mlp:") else ("large",)),
            noises=self.noises,
        )

    def _sizes(self, total: int, classes: int) -> tuple[int, ...]:
        if self.sizes:
            if self.sizes[-1] > total:
                raise refusal(
                    "size-beyond-data", f"sizes up to {total:,}, all training examples", f"{self.sizes[-1]:,}"
                )
            return self.sizes
        smallest = min(self.first * classes, total // 4)
        return tuple(dict.fromkeys(round(n) for n in np.geomspace(smallest, total, self.points)))

    def optim(self, budget: Budget, size: int) -> OptimSpec:
        """The budget of a student of n = ``size`` examples."""
        base = self.base.optim
        passes = max(round(self.epochs * size / base.batch), 1)
        steps = {"steps": base.steps, "convergence": round(self.patience * base.steps), "epochs": passes}
        return replace(base, steps=steps[budget])

    def _data(self, cell: Cell, n: int | None, fold: int, noise: float = 0.0) -> DataSpec:
        """Training examples, n of them (None: N), for the teacher (fold 0) or the student (fold 1) of a cell."""
        everything = n is None or n >= len(self.setup.dataset.train)
        train = self.setup.train if everything else n  # all as other studies say it, so that they share the run
        halves = (fold, 2) if cell.regime.fresh else None
        augment = cell.regime.augment or self.base.augment
        return replace(self.base.spec, train=train, fold=halves, noise=noise, augment=augment)

    def teacher_recipe(self, cell: Cell) -> Recipe:
        """The teacher of a cell, trained on all N examples unless its regime says otherwise."""
        regime, optim = cell.regime, self.base.optim
        n = cell.size if regime.teacher_train == 0 else regime.teacher_train
        if cell.arm == "untrained_teacher":
            optim = replace(optim, stop=0)
        elif regime.age < 1:
            optim = replace(optim, stop=max(round(regime.age * optim.steps), 1))
        model = self.model(regime.teacher)
        return Recipe(self._data(cell, n, 0), model, optim, name=f"teacher {spec_text(model)}")

    def recipe(self, cell: Cell) -> Recipe:
        """The student of a cell."""
        arm, regime = self.design.arm(cell.arm), cell.regime
        schedule, head = arm.schedule(), "random" if arm.name == "random_head" else "trained"
        taught = schedule.uses_teacher
        return Recipe(
            self._data(cell, 2 * cell.size if regime.fresh else cell.size, 1, regime.noise),
            self.model(regime.student or self.design.student),
            self.optim(cell.budget, cell.size),
            schedule,
            teacher=self.teacher_recipe(cell) if taught else None,
            teaching=Teaching(members=regime.members, views=regime.views, head=head) if taught else Teaching(),
            replica=1,
            choose="validation" if cell.budget == "convergence" else "last",
            name=f"student {arm.text}",
        )

    @cached_property
    def students(self) -> dict[Cell, Arm]:
        """The student of every cell with its control (twin), trained on labels under the same condition."""

        def control(cell: Cell) -> Recipe | None:
            labels = replace(cell, arm=LABELS, regime=cell.regime.of_labels)
            return None if cell.arm == LABELS else self.recipe(labels)

        return {cell: Arm(cell.arm, self.recipe(cell), control(cell)) for cell in self.design.cells()}

    @property
    def trained(self) -> ArmsBySeed:
        """The student of every cell with its control, paired by seed."""
        return ArmsBySeed(tuple(self.students.values()), self.setup.seeds)

    def plan(self) -> list[Run]:
        """All runs, seed by seed. Arms that share examples and batches stand together."""
        return self.trained.runs()

    def results(self, records: Records, *, crossed: bool = True) -> CellResults:
        """Every cell of the complete seeds."""
        arms, seeds = self.students, self.setup.seeds
        return CellResults.read(self.design, arms, seeds, records, self.kernels, crossed=crossed)

    def verdicts(self, records: Records) -> Verdicts:
        """The claims alone."""
        return claims.judge(self.results(records, crossed=False))

    def analyze(self, records: Records) -> Result:
        """Claims, figures and tables from finished runs. Raises `ValueError` if no seed has all of them."""
        results = self.results(records)
        verdicts = claims.judge(results)
        blocks = [*charts.charts(results), *tables.tables(results)]
        methods, summary = self.methods(results), claims.summary(results, verdicts)
        return conclude(
            self, results.seeds, verdicts, blocks, records=records, methods=methods, cite=PAPER, summary=summary
        )

    def methods(self, results: CellResults) -> str:
        """How everything was trained and measured."""
        design, accuracy = self.design, results.teacher_accuracy
        return (
            f"Data: {design.data}, N = {design.total:,} training examples; {sizes_in_words(design.sizes)}, nested and "
            "stratified within a seed. All arms of a seed share examples, initialization and batches. Students: "
            f"{design.student}; teacher: {spec_text(self.model())}, trained on all N examples (test accuracy "
            f"{accuracy.value:.3f} {accuracy.interval()}) from a different initialization. Equal steps: "
            f"{budget_words(self.base.optim)} at every n; to convergence: {self.patience:g} times as many, the best of "
            f"twenty checkpoints on validation; equal epochs: {self.epochs:g}. Soft targets: τ²·KL at "
            f"τ={design.temperature:g}. Each arm A0–A18 (documentation: targets) keeps one part of the teacher's "
            "predictions and destroys the rest; random parts are drawn once per example. All arms use the same "
            "learning rate and steps; amounts were chosen on validation, nothing on test. The unit is a seed (subset, "
            "initialization, batches, teacher). Intervals of shares are Fieller's, of sizes inverted t-tests; the "
            "table of tests is corrected for their number."
        )
