"""Does distillation exaggerate the bias of gradient descent towards top eigendirections?

After Nagarajan et al. 2023 (arXiv 2301.12923), Theorem 4.1 and its figures of weights in eigenspace. Ours: negative
controls that must fail, the exact map of when the bias pays, and for networks a twin with the student's initialization,
batches and *temperature*, read on axes that do not see the scale of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from disobey.data.load import load
from disobey.errors import refusal
from disobey.records.results import Result
from disobey.studies.eigenspace import charts, theory
from disobey.studies.eigenspace.claims import PAPER, judge_networks, summary
from disobey.studies.eigenspace.evidence import Net, Paths, WeightPaths
from disobey.studies.eigenspace.layer_paths import SHARES, Basis, bases, paths
from disobey.studies.kit.claims import Verdicts
from disobey.studies.kit.design import Records, complete_seeds
from disobey.studies.kit.memo import remembered
from disobey.studies.kit.methods import count_word
from disobey.studies.kit.options import renamed
from disobey.studies.kit.setup import Setup
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.targets.schedule import Phase, Schedule, Term, distill
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec, Teaching


@dataclass(frozen=True)
class Eigenspace:
    """Checks Theorem 4.1 exactly, maps when it pays, and looks for the bias in networks, layer by layer.

    Every student has a one-hot twin of the same initialization, batches and temperature. Bias: log of (top band / lower
    band) of the student's movement over the twin's, in nats; the lower band of the claims is the lowest.
    """

    name: ClassVar[str] = "eigenspace"
    question: ClassVar[str] = "Does distillation exaggerate the bias towards top eigendirections, and does that pay?"
    answers: ClassVar[tuple[str, ...]] = ("E3", "E2")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "adam": {"setup": Setup(train=1000, steps=300, batch=64, lr=2e-3, optimizer="adam", decay="constant")},
    }

    setup: Setup = Setup(train=1000, steps=200, batch=64, lr=0.05, optimizer="sgd", decay="constant")
    models: tuple[str, ...] = ("linear-from-zero", "random-features:128", "mlp:32x2", "cnn:8")
    """networks, besides the linear ones of one and of several layers"""
    depths: tuple[int, ...] = (2, 3, 4)
    """numbers of layers of deep linear networks"""
    temperatures: tuple[float, ...] = (1.0, 4.0)
    """of student and twin; claims are judged at the first"""
    label_noise: tuple[float, ...] = renamed("noise", (0.0, 0.2))
    """fractions of training labels to corrupt"""
    ages: tuple[float, ...] = (0.1, 0.3)
    """early-stopped teachers, as shares of their training, at the first temperature"""
    momentum: float = 0.0
    """of sgd; the theory has none"""
    cases: int = 20_000
    """random cases of the theorem"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        if not all(0 < share < 1 for share in self.ages):
            raise refusal("ages", "ages as fractions of the teacher's training in (0, 1)", str(self.ages))
        if not self.temperatures:
            raise refusal("temperatures", "at least one temperature", "none")

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds; evidence of nothing."""
        setup = Setup(data="digits-8x8", train=200, seeds=(0, 1), steps=30, batch=32, lr=0.05, optimizer="sgd")
        models = ("linear-from-zero", "cnn:2")
        return cls(setup, models, depths=(2,), label_noise=(0.2,), ages=(0.3,), cases=500, is_smoke=True)

    @property
    def main(self) -> float:
        """The temperature at which claims are judged."""
        return self.temperatures[0]

    @property
    def optim(self) -> OptimSpec:
        """The setup's optimizer with this study's momentum."""
        return replace(self.setup.optim, momentum=self.momentum)

    def optim_at(self, temperature: float) -> OptimSpec:
        """The rate divided by the temperature.

        Gradients τ (q − p) then start equally long, and deep linear twins, whose logits have to grow τ times as large,
        do not diverge.
        """
        return replace(self.optim, lr=self.optim.lr / temperature)

    @property
    def names(self) -> tuple[str, ...]:
        """Every network, linear ones of rising depth first."""
        deep = tuple(f"deep-linear:32x{depth}" for depth in self.depths)
        return tuple(dict.fromkeys(("linear", *deep, *self.models))) if self.depths else self.models

    @property
    def steps(self) -> tuple[int, ...]:
        """Kept moments, on a log scale, with the teachers' ages among them."""
        total = self.optim.steps
        return tuple(sorted({max(round(total * 0.03), 1), *self.teacher_ages}))

    @property
    def teacher_ages(self) -> tuple[int, ...]:
        """Steps after which the early-stopped teachers are taken."""
        return tuple(max(round(self.optim.steps * share), 1) for share in self.ages)

    def nets(self) -> list[Net]:
        """Every comparison."""
        found = []
        for noise in self.label_noise:
            for name in self.names:
                found += [Net(name, noise, temperature) for temperature in self.temperatures]
                found += [Net(name, noise, self.main, age) for age in self.teacher_ages]
        return found

    def teacher(self, net: Net) -> Recipe:
        """The teacher of a comparison."""
        data = replace(self.setup.spec, noise=net.noise)
        return Recipe(data, self.setup.model(net.model), self.optim, keep=self.steps, name=f"teacher {net.model}")

    def student(self, net: Net) -> Recipe:
        """The student of a comparison."""
        base, targets = self.teacher(net), distill(net.temperature)
        name = f"student {net.model} τ={net.temperature:g}"
        optim = self.optim_at(net.temperature)
        return replace(
            base, optim=optim, targets=targets, teacher=base, teaching=Teaching(net.age), replica=1, name=name
        )

    def twin(self, net: Net) -> Recipe:
        """Labels at the student's temperature: the same scale of logits, the same initialization and batches."""
        targets = Schedule((Phase((Term(temperature=net.temperature),)),))
        optim = self.optim_at(net.temperature)
        return replace(
            self.teacher(net), optim=optim, targets=targets, replica=1, name=f"twin {net.model} τ={net.temperature:g}"
        )

    def plan(self) -> list[Run]:
        """The runs, seed by seed."""
        recipes = dict.fromkeys(
            r for net in self.nets() for r in (self.teacher(net), self.student(net), self.twin(net))
        )
        return [Run(recipe, seed) for seed in self.setup.seeds for recipe in recipes]

    def walked(self, records: Records) -> WeightPaths:
        """The weight paths of the complete seeds."""
        recipes = list(dict.fromkeys(r for net in self.nets() for r in (self.student(net), self.twin(net))))
        return self.paths(records, complete_seeds(self.setup.seeds, recipes, records))

    def networks(self, walked: WeightPaths) -> Verdicts:
        """What is claimed about networks."""
        return judge_networks(walked, self.label_noise, self.depths, min(self.teacher_ages, default=None))

    def verdicts(self, records: Records) -> Verdicts:
        """The claims alone."""
        exact = remembered(records, ("exact", self.cases), (), self.exact)
        return exact + self.networks(self.walked(records))

    def exact(self) -> Verdicts:
        """What needs no networks."""
        return theory.theorem(self.cases)[0] + Verdicts((theory.pays()[0],))

    def analyze(self, records: Records) -> Result:
        """What finished runs say."""
        walked = self.walked(records)
        theorem, shares = theory.theorem(self.cases)
        pays, maps, best = theory.pays()
        verdicts = theorem + Verdicts((pays,)) + self.networks(walked)
        blocks = [
            theory.simulated(),
            *maps,
            theory.transience(),
            theory.switching(),
            charts.bias_chart(walked),
            charts.trajectories(walked, self.label_noise[-1], min(self.teacher_ages, default=None)),
            charts.layers_chart(walked),
            charts.depth_chart(walked, self.label_noise, self.depths, self.teacher_ages),
            shares,
            best,
            charts.nets_table(walked),
            charts.controls_table(walked),
        ]
        return conclude(
            self,
            walked.seeds,
            verdicts,
            blocks,
            records=records,
            methods=self.methods(),
            cite=PAPER,
            summary=summary(verdicts),
        )

    def paths(self, records: Records, seeds: tuple[int, ...]) -> WeightPaths:
        """Paths of every student and every twin, in the basis of the twin."""
        students: dict[tuple[Net, int], Paths] = {}
        twins: dict[tuple[Net, int], Paths] = {}
        for seed in seeds:
            runs = [records[Run(recipe, seed)] for net in self.nets() for recipe in (self.twin(net), self.student(net))]
            of_students, of_twins = remembered(
                records, ("paths", *self.nets()), runs, lambda seed=seed: self._paths_of(records, seed)
            )
            students |= {(net, seed): path for net, path in of_students.items()}
            twins |= {(net, seed): path for net, path in of_twins.items()}
        gains = {net: np.array([self._gain(net, records, seed) for seed in seeds]) for net in self.nets()}
        moments = (*self.steps, self.optim.steps)
        return WeightPaths(tuple(self.nets()), seeds, moments, self.main, students, twins, gains)

    def _paths_of(self, records: Records, seed: int) -> tuple[dict[Net, Paths], dict[Net, Paths]]:
        """Paths of students and of twins of one seed."""
        known: dict[tuple, Basis] = {}
        within: dict[Net, Mapping[str, Basis]] = {}
        students: dict[Net, Paths] = {}
        twins: dict[Net, Paths] = {}
        for net in self.nets():
            twin, student = Run(self.twin(net), seed), Run(self.student(net), seed)
            alone = replace(net, age=None)
            dataset = load(twin.recipe.data, seed)
            # One basis a network and noise: the twin's at the first temperature, so temperatures compare as well.
            reference = replace(alone, temperature=self.main)
            if reference not in within:
                run = Run(self.twin(reference), seed)
                within[reference] = bases(run, records[run], dataset, known)
            if alone not in twins:
                twins[alone] = paths(twin, records[twin], dataset, within[reference], self.steps)
            students[net] = paths(student, records[student], dataset, within[reference], self.steps)
        return students, twins

    def _gain(self, net: Net, records: Records, seed: int) -> float:
        student, twin = records[Run(self.student(net), seed)], records[Run(self.twin(net), seed)]
        return student.summary["test_accuracy"] - twin.summary["test_accuracy"]

    def methods(self) -> str:
        """What was derived, trained and projected."""
        optim = self.optim
        bands = ", ".join(f"{share:.0%}" for share in SHARES)
        return (
            "Exact part: closed forms of gradient flow with squared loss (docs/theory.md). Networks: "
            f"{self.setup.data}, {count_word(self.setup.train)} training examples a seed, {optim.steps:,} steps of "
            f"{optim.batch} with {optim.name} (rate {optim.lr:g}/τ, momentum {optim.momentum:g}, {optim.decay}). "
            "Student: τ²·KL(teacher‖student); twin: τ² times cross-entropy of the labels at the same τ; same "
            "initialization and batches. The teacher is the same network with another initialization. With a standard "
            "random initialization the student must also unlearn its initial function, which the theory does not "
            "model; so one linear network and the layer on random features start at zero, as the theory does. Weights "
            f"are taken from checkpoints at steps {', '.join(map(str, self.steps))} and at the end. A layer's "
            "movement since initialization is projected on the eigenvectors of the covariance of its inputs (patches "
            "for convolutions; the twin's inputs at its end for later layers). Bands hold the input variance up to "
            f"{bands}; the top band is the first, claims use the last. Bias: log of (top / lower) of the student over "
            "the twin's, at equal steps."
        )
