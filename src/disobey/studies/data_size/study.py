"""How much data is a teacher worth, and which part of what it says is worth it?

The claims of Lanzillotta et al. 2025 (arXiv 2510.15516) with the controls they lacked: arms that keep one part of a
teacher's information and destroy the rest, at every sample size, for equally many steps and to convergence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self, get_args

import numpy as np

from disobey.data.dataset import DataSpec
from disobey.errors import refusal
from disobey.models.build import ModelSpec
from disobey.records.results import Block, Result, Text
from disobey.studies.data_size import charts, claims, tables
from disobey.studies.data_size.cells import BUDGETS, KD, LABELS, Budget, Cell, Design, RegimeName, parsed
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.data_size.shares import PAPER, sizes_in_words
from disobey.studies.kit.design import Arm, Records
from disobey.studies.kit.design import Design as ArmsBySeed
from disobey.studies.kit.setup import Setup, by_data
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.targets.arms import ARMS
from disobey.training.presets import spec_text
from disobey.training.recipe import OptimSpec, Recipe, Run, Teaching

MAIN = (LABELS, KD, "A4", "A7", "A9a", "A10a", "A11", "A12")
SWEPT = {KD: (0.0, 0.5, 1.0, 2.0, 4.0, 8.0), "A3": ARMS["A3"].amounts, "A16": ARMS["A16"].amounts}  # 0: the plain arm
EVERYTHING = tuple(f"{arm}:{value:g}" if value else arm for arm in ARMS for value in SWEPT.get(arm, (0.0,)))
REGIMES: tuple[RegimeName, ...] = get_args(RegimeName)
# Small nets for images that train in a second: this study has thousands of runs. Chosen on validation (docs/LOG.md).
OWN_TEACHER, OWN_STUDENT, OWN_WIDTHS = "mlp:400x1", "mlp:100x1", ("mlp:25x1", "mlp:400x1")
OWN_BUDGET = {"steps": 600, "batch": 64, "lr": 2e-3}


@dataclass(frozen=True)
class DataSize:
    """Trains equal students on n examples, n from two a class to all: on labels, on a teacher, and on its parts.

    All arms of a seed share examples (nested over n), initialization and batches. The answer to "how much data would
    labels need?" is the label-equivalence curve. `--full` asks everything: every arm, ten seeds, three budgets, all regimes.
    """

    name: ClassVar[str] = "data-size"
    question: ClassVar[str] = "How much data is a teacher worth, and which part of what it says is worth it?"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "full": {
            "setup": Setup(seeds=tuple(range(10))),
            "arms": EVERYTHING,
            "budgets": BUDGETS,
            "regimes": REGIMES,
            "noises": (0.1, 0.2, 0.4),
        },
        "text": {"setup": Setup(data="languages")},
        # From where anything is learned at all (docs/data.md): with fewer pairs every arm stays at chance.
        "modular": {"setup": Setup(data="modular-addition"), "sizes": (372, 434, 496, 558, 620, 673)},
        # T, data and the sizes' range as published; the budget is the one that most CIFAR-100 tables use. A GPU's work.
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
    arms: tuple[str, ...] = MAIN
    """arms of docs/targets.md; A1:4 is distillation at temperature 4, A3:0.1 smoothing by .1, A16:3 the top 3"""
    sizes: tuple[int, ...] = ()
    """numbers of examples; a log grid where not given"""
    points: int = 7
    """sizes of the log grid, from `first` a class to all"""
    first: int = 2
    """examples a class at the smallest size of the log grid"""
    temperature: float = 20.0
    """of every soft arm"""
    budgets: tuple[Budget, ...] = ("steps",)
    """steps: equally many for all; convergence: `patience` times as many, weights chosen on validation; epochs: equally many"""
    patience: float = 3.0
    """how many times longer the budget convergence trains"""
    epochs: float = 20.0
    """of the budget epochs"""
    regimes: tuple[RegimeName, ...] = ()
    """beyond the main design: see docs/studies.md; each lets more claims be judged"""
    noises: tuple[float, ...] = (0.2,)
    """shares of wrong labels of the regime noise (the teacher's labels are right)"""
    widths: tuple[str, ...] = ()
    """other students of the regime widths"""
    kernels: int = 700
    """largest n for kernel and linear students in closed form, whose cost grows as its cube; 0: none"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        for word in self.arms:
            parsed(word, self.temperature)
        if not {LABELS, KD} <= set(self.arms):
            raise refusal("arms-missing", "the arms A0 (labels) and A1 (distillation) among arms", self.arms)
        if "steps" not in self.budgets:
            raise refusal(
                "budget-missing", "'steps', the budget that claims are judged at, among budgets", self.budgets
            )
        if list(self.sizes) != sorted(set(self.sizes)) or min(self.sizes, default=1) < 1:
            raise refusal("sizes-not-rising", "sizes in rising order, each once", self.sizes)
        if self.points < 3 or self.first < 1 or self.epochs <= 0 or self.patience < 1:
            got = f"{self.points}, {self.first}, {self.epochs:g}, {self.patience:g}"
            raise refusal("option-too-small", "points >= 3, first >= 1, epochs > 0, patience >= 1", got)
        if self.setup.augment != "none" and "augment" in self.regimes:
            expected = "plain images beside the regime augment, which compares with them"
            raise refusal("augmented-twice", expected, f"--augment {self.setup.augment}", "--augment none")

    @classmethod
    def smoke(cls) -> Self:
        setup = Setup(data="digits-8x8", seeds=(0, 1), steps=15, batch=16)
        arms = (LABELS, KD, "A1:1", "A2b", "A3:0.1", "A7", "A9a", "A10a", "A10b", "A11", "A12", "A18b")
        return cls(
            setup,
            "mlp:16x1",
            "mlp:8x1",
            arms,
            (20, 100, 500),
            budgets=BUDGETS,
            regimes=REGIMES,
            widths=("mlp:4x1",),
            kernels=50,
            is_smoke=True,
        )

    @cached_property
    def own_nets(self) -> bool:
        """Whether teacher and student are this study's own small nets unless named: for images without a named teacher."""
        return self.setup.dataset.kind == "image" and not self.teacher

    @cached_property
    def base(self) -> Setup:
        """The setup with this study's own budget where its own nets serve."""
        budget = {name: getattr(self.setup, name) or value for name, value in OWN_BUDGET.items()}
        return replace(self.setup, **budget) if self.own_nets else self.setup

    def model(self, word: str = "self") -> ModelSpec:
        """A model in a word; ``self`` is the teacher's."""
        return self.setup.model(word, OWN_TEACHER if self.own_nets else self.teacher)

    def chosen(self) -> Mapping[str, str]:
        """What open options stand for on these data, in words."""
        models = {"teacher": spec_text(self.model()), "student": spec_text(self.model(self.design.student))}
        others = {name: " ".join(map(str, getattr(self.design, name))) for name in ("sizes", "widths")}
        return self.base.chosen() | {name: by_data(word, self.setup.data) for name, word in (models | others).items()}

    @cached_property
    def design(self) -> Design:
        """What is compared, with every choice made that was left open. Raises `ValueError` for sizes beyond the data."""
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
        """n training examples, or all N, of one side of a cell."""
        everything = n is not None and n >= len(self.setup.dataset.train)  # no number, to share runs with other studies
        train = self.setup.train if n is None else None if everything else n
        halves = (fold, 2) if cell.regime.fresh else None
        augment = cell.regime.augment or self.base.augment
        return replace(self.base.spec, train=train, fold=halves, noise=noise, augment=augment)

    def teacher_recipe(self, cell: Cell) -> Recipe:
        """The teacher of a cell: of all N examples, unless its regime or arm says otherwise."""
        regime, optim = cell.regime, self.base.optim
        own_n = cell.size if regime.teacher_train == 0 else regime.teacher_train
        if cell.arm == "A18a":
            optim = replace(optim, stop=0)
        elif regime.age < 1:
            optim = replace(optim, stop=max(round(regime.age * optim.steps), 1))
        model = self.model(regime.teacher)
        data = self._data(cell, own_n, 0)
        return Recipe(data, model, optim, name=f"teacher {spec_text(model)}")

    def recipe(self, cell: Cell) -> Recipe:
        """The student of a cell."""
        arm, regime = self.design.arm(cell.arm), cell.regime
        schedule, head = arm.schedule(), "random" if arm.name == "A18b" else "trained"
        listens = schedule.listens
        return Recipe(
            self._data(cell, 2 * cell.size if regime.fresh else cell.size, 1, regime.noise),
            self.model(regime.student or self.design.student),
            self.optim(cell.budget, cell.size),
            schedule,
            teacher=self.teacher_recipe(cell) if listens else None,
            teaching=Teaching(members=regime.members, views=regime.views, head=head) if listens else Teaching(),
            replica=1,
            choose="validation" if cell.budget == "convergence" else "last",
            name=f"student {ARMS[arm.name].text}",
        )

    @cached_property
    def students(self) -> dict[Cell, Arm]:
        """What is trained in every cell, with its control: the same student of labels under the same conditions."""

        def control(cell: Cell) -> Recipe | None:
            labels = replace(cell, arm=LABELS, regime=cell.regime.of_labels)
            return None if cell.arm == LABELS else self.recipe(labels)

        return {cell: Arm(cell.arm, self.recipe(cell), control(cell)) for cell in self.design.cells()}

    def plan(self) -> list[Run]:
        """Seed by seed, arms of one cell together: they share their examples and their batches."""
        return ArmsBySeed(tuple(self.students.values()), self.setup.seeds).runs()

    def analyze(self, records: Records) -> Result:
        """What finished runs say. Raises `ValueError` where no seed has all of them."""
        results = CellResults.read(self.design, self.students, self.setup.seeds, records, self.kernels)
        verdicts = claims.judge(results)
        missing = " ".join(f"{id}: {reason}." for id, _, reason in verdicts.skipped)
        blocks: list[Block] = [*charts.charts(results), *tables.tables(results)]
        blocks += [Text("Not judged here", missing)] if missing else []
        methods, summary = Text("Methods", self.methods(results)), claims.summary(results, verdicts)
        return conclude(self, results.seeds, verdicts, blocks, methods=methods, cite=PAPER, summary=summary)

    def methods(self, results: CellResults) -> str:
        """How everything was trained and measured."""
        design, optim, accuracy = self.design, self.base.optim, results.teacher_accuracy
        return (
            f"Data: {design.data}, N = {design.total:,} training examples; {sizes_in_words(design.sizes)}, nested and stratified within a "
            "seed. All "
            f"arms of a seed share examples, initialization and batches. Students: {design.student}; teacher: {spec_text(self.model())} trained on all N "
            f"(test accuracy {accuracy.value:.3f} {accuracy.interval()}), another initialization. Equal steps: {optim.steps:,} of "
            f"{optim.batch} ({optim.name}, rate {optim.lr:g}, {optim.decay}) at every n; to convergence: {self.patience:g} times as many, "
            f"weights of the best of twenty looks at the validation split; equal epochs: {self.epochs:g}. Soft arms: τ²·KL at "
            f"τ={design.temperature:g}; arms A0–A18 are described in the documentation (targets), each keeps one part of what the teacher says "
            "and destroys the rest, drawn once per example. Equal rates and steps for every arm; amounts were chosen on validation, "
            "nothing on test. The unit is a seed (subset, initialization, batches, teacher). Intervals are 95 %, Student t over paired "
            f"seeds (n = {len(results.seeds)}), Fieller's for shares, inverted t-tests for sizes. Verdicts are not corrected for the number of "
            f"claims; the table of tests is. Rules were fixed before the runs. Cite: {PAPER.cite}."
        )
