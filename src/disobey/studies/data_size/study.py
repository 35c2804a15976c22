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

from disobey.data.dataset import Kind
from disobey.errors import refusal
from disobey.models.build import ModelSpec
from disobey.records.results import Block, Result
from disobey.records.runs import RunRecord
from disobey.studies.data_size import charts, claims, closed_form, tables
from disobey.studies.data_size.cells import BUDGETS, Budget, Cell, Design, RegimeName, parsed
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.kit.design import complete_seeds
from disobey.studies.kit.options import settings_of
from disobey.studies.kit.setup import Setup, by_data
from disobey.studies.kit.study import smoke_mark
from disobey.targets.arms import ARMS
from disobey.training.presets import Defaults, spec_text
from disobey.training.recipe import OptimSpec, Recipe, Run, Teaching

MAIN = ("A0", "A1", "A4", "A7", "A9a", "A10a", "A11", "A12")
TEMPERATURES = (0.5, 1.0, 2.0, 4.0, 8.0)
EVERYTHING = tuple(
    word
    for name, arm in ARMS.items()
    for word in (
        *((f"{name}:{a:g}" for a in arm.amounts) if name in ("A3", "A16") else (name,)),
        *((f"A1:{t:g}" for t in TEMPERATURES) if name == "A1" else ()),
    )
)
REGIMES: tuple[RegimeName, ...] = get_args(RegimeName)
# Small nets that train in a second: this study has thousands of runs. Chosen on validation (docs/LOG.md).
OWN: dict[Kind, Defaults] = {
    "image": Defaults(
        ModelSpec("mlp", width=400, depth=1),
        ModelSpec("mlp", width=100, depth=1),
        ModelSpec("mlp", width=400, depth=1),
        OptimSpec(lr=2e-3, steps=600, batch=64),
    ),
}


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
        if not {"A0", "A1"} <= set(self.arms):
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
        arms = ("A0", "A1", "A1:1", "A2b", "A3:0.1", "A7", "A9a", "A10a", "A10b", "A11", "A12", "A18b")
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
    def base(self) -> Setup:
        """The setup with this study's own small nets for images where none are named."""
        own = OWN.get(self.setup.dataset.kind)
        if own is None or self.teacher:
            return self.setup
        optim = own.optim
        return replace(
            self.setup,
            steps=self.setup.steps or optim.steps,
            batch=self.setup.batch or optim.batch,
            lr=self.setup.lr or optim.lr,
        )

    def model(self, word: str = "self") -> ModelSpec:
        """A model in a word; ``self`` is the teacher's."""
        own = OWN.get(self.setup.dataset.kind)
        return self.setup.model(word, self.teacher or ("" if own is None else spec_text(own.teacher)))

    def chosen(self) -> Mapping[str, str]:
        """What open options stand for on these data, in words."""
        design = self.design
        words = {"teacher": design.teacher, "student": spec_text(self.model(design.student)),
                 "sizes": " ".join(map(str, design.sizes)), "widths": " ".join(design.widths)}  # fmt: skip
        return {**self.base.chosen(), **{name: by_data(word, self.setup.data) for name, word in words.items()}}

    @cached_property
    def design(self) -> Design:
        """What is compared, with every choice made that was left open. Raises `ValueError` for sizes beyond the data."""
        dataset, own = self.setup.dataset, OWN.get(self.setup.dataset.kind)
        total = self.setup.train or len(dataset.train)
        student = self.student or ("small" if own is None or self.teacher else spec_text(own.small))
        other_students = ("mlp:25x1", "mlp:400x1") if student.startswith("mlp:") else ("large",)
        return Design(
            data=self.setup.data,
            kind=dataset.kind,
            classes=len(dataset.classes),
            tests=len(dataset.test),
            total=total,
            sizes=self._sizes(total, len(dataset.classes)),
            arms=tuple(dict.fromkeys(parsed(word, self.temperature).word for word in self.arms)),
            temperature=self.temperature,
            budgets=self.budgets,
            regimes=self.regimes,
            teacher=spec_text(self.model()),
            student=student,
            widths=self.widths or other_students,
            noises=self.noises,
            optim=self.base.optim,
            patience=self.patience,
            epochs=self.epochs,
            kernels=self.kernels,
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
        base = self.base.optim
        if budget == "convergence":
            return replace(base, steps=round(self.patience * base.steps))
        if budget == "epochs":
            return replace(base, steps=max(round(self.epochs * size / base.batch), 1))
        return base

    def teacher_recipe(self, cell: Cell) -> Recipe:
        """The teacher of a cell: of all N examples, unless its regime or arm says otherwise."""
        regime, optim = cell.regime, self.base.optim
        own_n = cell.size if regime.teacher_train == 0 else regime.teacher_train
        if cell.arm == "A18a":
            optim = replace(optim, stop=0)
        elif regime.age < 1:
            optim = replace(optim, stop=max(round(regime.age * optim.steps), 1))
        data = replace(
            self.base.spec,
            train=self.setup.train if own_n is None else self._train(own_n),
            fold=(0, 2) if regime.fresh else None,
            augment=regime.augment or self.base.augment,
        )
        model = self.model(regime.teacher)
        return Recipe(data, model, optim, name=f"teacher {spec_text(model)}")

    def recipe(self, cell: Cell) -> Recipe:
        arm, regime = parsed(cell.arm, self.temperature), cell.regime
        schedule = arm.schedule()
        data = replace(
            self.base.spec,
            train=self._train(2 * cell.size if regime.fresh else cell.size),
            fold=(1, 2) if regime.fresh else None,
            noise=regime.noise,
            augment=regime.augment or self.base.augment,
        )
        teaching = Teaching(
            members=regime.members, views=regime.views, head="random" if arm.name == "A18b" else "trained"
        )
        return Recipe(
            data,
            self.model(regime.student or self.design.student),
            self.optim(cell.budget, cell.size),
            schedule,
            teacher=self.teacher_recipe(cell) if schedule.listens else None,
            teaching=teaching if schedule.listens else Teaching(),
            replica=1,
            choose="validation" if cell.budget == "convergence" else "last",
            name=f"student {ARMS[arm.name].text}",
        )

    def _train(self, size: int) -> int | None:
        """As a field of the data: no number stands for all, so that such runs are shared with other studies."""
        return size if size < len(self.setup.dataset.train) else None

    def run(self, cell: Cell, seed: int) -> Run:
        """The run of a cell's student."""
        return Run(self.recipe(cell), seed)

    def plan(self) -> list[Run]:
        """Seed by seed, arms of one cell together: they share their examples and their batches."""
        recipes = dict.fromkeys(map(self.recipe, self.design.cells()))
        return [Run(recipe, seed) for seed in self.setup.seeds for recipe in recipes]

    def analyze(self, records: Mapping[Run, RunRecord]) -> Result:
        recipes = list(dict.fromkeys(map(self.recipe, self.design.cells())))
        seeds = complete_seeds(self.setup.seeds, recipes, records)
        results = CellResults.read(self.design, seeds, records, self.run)
        closed = closed_form.students(self.design, seeds, records, self.run)
        judged, skipped = claims.judge(results, closed)
        blocks: list[Block] = [*judged, *charts.charts(results, closed), *tables.tables(results)]
        blocks += [*skipped, tables.methods(results)]
        said, settings = claims.summary(results, judged), settings_of(self)
        return Result(self.name, self.question, tuple(blocks), said, self.is_smoke, settings)
