"""Does a teacher denoise the gradient, and for the reason that is given?

After Nagarajan et al. 2023 (arXiv 2301.12923), section on denoising gradients. Ours: a planted model with closed forms
that are checked against simulation over a grid, b = 0 as the control in which the mechanism must fail, and for real
networks the gradient of a large fresh sample as the truth, the same-sample teacher beside a cross-fitted one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from disobey.errors import refusal
from disobey.records.results import Chart, Result
from disobey.studies.denoising import charts, theory
from disobey.studies.denoising.claims import PAPER, judge_networks, summary
from disobey.studies.denoising.evidence import Case, GradientEvidence
from disobey.studies.denoising.gradients import GradientReading, PairedRuns, read
from disobey.studies.denoising.theory import Grid
from disobey.studies.kit.claims import Verdicts
from disobey.studies.kit.design import Records, complete_seeds
from disobey.studies.kit.memo import remembered
from disobey.studies.kit.methods import count_word
from disobey.studies.kit.options import renamed
from disobey.studies.kit.setup import Setup
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.theory.class_similarity import SimilarClasses
from disobey.training.recipe import Recipe, Run


@dataclass(frozen=True)
class Denoising:
    """Checks closed forms of gradient denoising by simulation, then measures it in networks.

    Alignment: cosine of a signal's full gradient on the student's sample with the gradient of the true labels on a
    large fresh sample, at the same weights and temperature. Claims are judged at the student's initialization;
    minibatch SNR is read there as well, since a whole sample's gradient is off by its teacher's bias more than by
    noise.
    """

    name: ClassVar[str] = "denoising"
    question: ClassVar[str] = "Does a teacher denoise the gradient, and does that need similar classes?"
    answers: ClassVar[tuple[str, ...]] = ("D3", "D2")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small-sample": {"setup": Setup(train=200, steps=300, batch=50)},
        "digits": {"setup": Setup(data="digits-8x8", train=300, steps=300, batch=50), "models": ("mlp:64x1",)},
    }

    setup: Setup = Setup(train=500, steps=300, batch=50)
    models: tuple[str, ...] = ("mlp:32x1", "cnn:8")
    """networks of teacher and student"""
    label_noise: tuple[float, ...] = renamed("noise", (0.0, 0.2))
    """fractions of training labels to corrupt"""
    temperatures: tuple[float, ...] = (1.0, 4.0)
    """of signals and truth, rising"""
    moments: tuple[float, ...] = (0.03, 0.2)
    """ages of student and teacher that are looked at besides start and end, as shares of training"""
    folds: int = 2
    """parts of the cross-fitted teacher"""
    fresh: int = 2000
    """examples of the large sample, at most"""
    grid: Grid = Grid()
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        if self.folds < 2:
            raise refusal("folds", "folds >= 2 for a cross-fitted teacher", str(self.folds))
        if not self.moments or not all(0 < share < 1 for share in self.moments):
            raise refusal("moments", "moments as fractions of training in (0, 1)", str(self.moments))
        if not self.temperatures:
            raise refusal("temperatures", "at least one temperature", "none")

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds; evidence of nothing."""
        setup = Setup(data="digits-8x8", train=100, seeds=(0, 1), steps=20, batch=25)
        grid = Grid((0.0, 0.6), (0.2,), (60,), examples=240, classes=4, draws=4)
        return cls(setup, models=("mlp:8x1",), label_noise=(0.2,), moments=(0.2,), fresh=300, grid=grid, is_smoke=True)

    @property
    def steps(self) -> tuple[int, ...]:
        """Kept moments of training; the first is its start."""
        total = self.setup.optim.steps
        return tuple(sorted({0, *(max(round(total * share), 1) for share in self.moments)}))

    def cases(self) -> list[Case]:
        """Every network on every label noise."""
        return [Case(model, noise) for model in self.models for noise in self.label_noise]

    def teacher(self, case: Case) -> Recipe:
        """The teacher of a case."""
        data = replace(self.setup.spec, noise=case.noise)
        model = self.setup.model(case.model)
        return Recipe(data, model, self.setup.optim, keep=self.steps, name=f"teacher {case.model}")

    def paired(self, case: Case, seed: int) -> PairedRuns:
        """A student of the labels, a teacher of the same sample (other initialization), and teachers of its parts."""
        base = self.teacher(case)
        student = replace(base, replica=1, name=f"student {case.model}")
        parts = [replace(base.data, fold=(i, self.folds)) for i in range(self.folds)]
        folds = tuple(Run(replace(base, data=part, name=f"part {case.model}"), seed) for part in parts)
        return PairedRuns(Run(student, seed), Run(base, seed), folds)

    def plan(self) -> list[Run]:
        """The runs, seed by seed."""
        pairs = [self.paired(case, seed) for seed in self.setup.seeds for case in self.cases()]
        return [run for paired in pairs for run in (paired.teacher, *paired.folds, paired.student)]

    def analyze(self, records: Records) -> Result:
        """What finished runs say."""
        evidence = self.evidence(records)
        measured = theory.simulations(self.grid)
        verdicts = self.judged(evidence, measured)
        blocks = [
            theory.grid_chart(measured),
            self.ageing_chart(),
            charts.along_training(evidence),
            charts.against_age(evidence),
            *(charts.similarity(evidence, case, self.setup.dataset.classes) for case in evidence.cases[-1:]),
            charts.signals_table(evidence),
            charts.flips_table(evidence),
            charts.layers_table(evidence),
            theory.grid_table(measured),
        ]
        return conclude(
            self,
            evidence.seeds,
            verdicts,
            blocks,
            records=records,
            methods=self.methods(),
            cite=PAPER,
            summary=summary(verdicts),
        )

    def verdicts(self, records: Records) -> Verdicts:
        """The claims alone."""
        measured = remembered(records, self.grid, (), lambda: theory.simulations(self.grid))
        return self.judged(self.evidence(records), measured)

    def judged(self, evidence: GradientEvidence, measured: theory.Simulated) -> Verdicts:
        """Theory against simulation, then the networks."""
        return theory.agreement(measured) + theory.without_similarity(measured) + judge_networks(evidence)

    def evidence(self, records: Records) -> GradientEvidence:
        """Every gradient of the complete seeds."""
        cases, steps = tuple(self.cases()), self.steps
        recipes = [run.recipe for case in cases for run in _runs(self.paired(case, self.setup.seeds[0]))]
        seeds = complete_seeds(self.setup.seeds, recipes, records)
        readings = {(case, seed): self.reading(self.paired(case, seed), records) for case in cases for seed in seeds}
        return GradientEvidence(cases, seeds, steps, self.setup.optim.steps, self.temperatures, readings)

    def reading(self, paired: PairedRuns, records: Records) -> GradientReading:
        """Every gradient of one case and seed."""
        what = ("gradients", self.steps, self.temperatures, self.fresh)
        runs = [records[run] for run in _runs(paired)]
        return remembered(
            records,
            what,
            runs,
            lambda: read(paired, records, self.steps, self.temperatures, own_step=self.steps[1], fresh=self.fresh),
        )

    def ageing_chart(self) -> Chart:
        """A simulated softmax teacher as it memorizes."""
        small = self.grid.examples < 1000
        model = SimilarClasses(180, 10, 90, 0.6, 0.2) if small else SimilarClasses(720, 10, 360, 0.6, 0.2)
        return theory.ageing(model, self.setup.seeds, (1, 10) if small else (1, 5, 25, 100, 400))

    def methods(self) -> str:
        """What was simulated, trained and measured."""
        optim = self.setup.optim
        return (
            f"Planted part: {len(self.grid.models())} models of similar classes (docs/theory.md, section 4), "
            f"{self.grid.draws} simulations each. Networks: {self.setup.data}, samples of "
            f"{count_word(self.setup.train)} training examples, {optim.steps:,} steps of {optim.batch} ({optim.name}, "
            f"rate {optim.lr:g}, {optim.decay}). Student, teacher and the {self.folds} teachers of the cross-fitted "
            "one are equal networks; the latter are asked about the part that they did not see. All signals are "
            f"measured along one student that learns from labels, at steps {', '.join(map(str, self.steps))} and the "
            "end, from kept checkpoints, in evaluation mode, on the student's whole sample. Truth: mean gradient of "
            f"cross-entropy with the true labels on at most {self.fresh:,} examples outside the sample, at the same "
            "weights and τ. Zeroed: the one-hot residual shrunk by the confusion of the student itself at step "
            f"{self.steps[1]}, or of the cross-fitted teacher, scaled to 1 for the most and 0 for the least confused "
            "class, the mean over classes taken out. Gradients are vector–Jacobian products of `torch.func`, all "
            "signals at once. To first order the distillation gradient is one power iteration of the input second "
            "moment, the same operator as in the study eigenspace: only class similarity separates the two."
        )


def _runs(paired: PairedRuns) -> tuple[Run, ...]:
    return paired.student, paired.teacher, *paired.folds
