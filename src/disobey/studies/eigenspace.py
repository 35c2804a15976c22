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
from numpy.typing import NDArray

from disobey.data.load import load
from disobey.measures.eigenspace import matched_bias, top_bias
from disobey.measures.intervals import mean_over_runs
from disobey.records.results import Axis, Block, Cell, Chart, Claim, Result, Table, Text
from disobey.records.runs import RunRecord
from disobey.studies import eigenspace_theory as theory
from disobey.studies import pictures, rules
from disobey.studies.layer_paths import SHARES, WHOLE, Basis, bases, paths
from disobey.studies.setup import Setup, complete_seeds
from disobey.targets.schedule import Phase, Schedule, Term, distill
from disobey.training.recipe import OptimSpec, Recipe, Run, Teaching

SOURCE = "arXiv 2301.12923"
FIRST = "first layer"


@dataclass(frozen=True)
class Net:
    """One comparison: a network, its label noise, the temperature of student and twin, and the teacher's age."""

    model: str
    noise: float
    temperature: float
    age: int | None = None  # the teacher's kept step; None: its end

    @property
    def text(self) -> str:
        teacher = "final teacher" if self.age is None else f"teacher of {self.age} steps"
        return f"{self.model}, {self.noise:.0%} noise, τ={self.temperature:g}, {teacher}"


@dataclass(frozen=True)
class Eigenspace:
    """Checks Theorem 4.1 exactly, maps when it pays, and looks for the bias in networks, layer by layer.

    Every student has a one-hot twin of the same initialization, batches and temperature. Bias: log of (top band / lower
    band) of the student's movement over the twin's, in nats; the lower band of the claims is the lowest.
    """

    name: ClassVar[str] = "eigenspace"
    question: ClassVar[str] = "Does distillation exaggerate the bias towards top eigendirections, and does that pay?"
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
    noise: tuple[float, ...] = (0.0, 0.2)
    """shares of wrong training labels"""
    ages: tuple[float, ...] = (0.1, 0.3)
    """early-stopped teachers, as shares of their training, at the first temperature"""
    momentum: float = 0.0
    """of sgd; the theory has none"""
    cases: int = 20_000
    """random cases of the theorem"""

    def __post_init__(self):
        if not all(0 < share < 1 for share in self.ages):
            raise ValueError(f"expected ages as shares of the teacher's training in (0, 1); came {self.ages}")
        if not self.temperatures:
            raise ValueError("expected at least one temperature")

    @classmethod
    def smoke(cls) -> Self:
        setup = Setup(data="digits-8x8", train=200, seeds=(0, 1), steps=30, batch=32, lr=0.05, optimizer="sgd")
        return cls(setup, models=("linear-from-zero", "cnn:2"), depths=(2,), noise=(0.2,), ages=(0.3,), cases=500)

    @property
    def main(self) -> float:
        return self.temperatures[0]

    @property
    def optim(self) -> OptimSpec:
        return replace(self.setup.optim, momentum=self.momentum)

    def optim_at(self, temperature: float) -> OptimSpec:
        """The rate divided by the temperature: gradients τ (q − p) then start equally long, and deep linear twins, whose
        logits have to grow τ times as large, do not diverge."""
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
        spread = [max(round(total * share), 1) for share in (0.03, *self.ages)]
        return tuple(sorted(set(spread)))

    def nets(self) -> list[Net]:
        found = []
        for noise in self.noise:
            for name in self.names:
                found += [Net(name, noise, temperature) for temperature in self.temperatures]
                found += [Net(name, noise, self.main, max(round(self.optim.steps * age), 1)) for age in self.ages]
        return found

    def teacher(self, net: Net) -> Recipe:
        data = replace(self.setup.spec, noise=net.noise)
        return Recipe(data, self.setup.model(net.model), self.optim, keep=self.steps, name=f"teacher {net.model}")

    def student(self, net: Net) -> Recipe:
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
        recipes = dict.fromkeys(
            r for net in self.nets() for r in (self.teacher(net), self.student(net), self.twin(net))
        )
        return [Run(recipe, seed) for seed in self.setup.seeds for recipe in recipes]

    def analyze(self, records: Mapping[Run, RunRecord]) -> Result:
        nets = self.nets()
        recipes = list(dict.fromkeys(r for net in nets for r in (self.student(net), self.twin(net))))
        seeds = complete_seeds(self.setup.seeds, recipes, records)
        moved = self._paths(nets, records, seeds)
        theorem, shares = theory.theorem(self.cases)
        pays, maps, best = theory.pays()
        claims = [theorem, pays, *self._bias_claims(moved, seeds), *self._depth_claims(moved, seeds)]
        claims += self._age_claims(moved, seeds)
        blocks: list[Block] = [*claims, theory.simulated(), *maps, theory.transience(), theory.switching()]
        blocks += [self._bias_chart(moved, seeds), self._trajectories(moved, seeds)]
        blocks += [self._layers_chart(moved, seeds), self._depth_chart(moved, seeds)]
        blocks += [shares, best, self._table(moved, records, seeds), self._controls(moved, seeds), self._methods(seeds)]
        smoke = self == type(self).smoke()
        return Result(self.name, self.question, tuple(blocks), _summary(claims), smoke, {"data": self.setup.data})

    # --- measuring ---------------------------------------------------------------------------------------------------

    def _paths(self, nets: list[Net], records: Mapping, seeds: tuple[int, ...]) -> dict[tuple[Recipe, int], dict]:
        """Paths of every student and every twin, in the basis of the twin: layer -> (T, K)."""
        known: dict[tuple, Basis] = {}
        found: dict[tuple[Recipe, int], dict] = {}
        for seed in seeds:
            for net in nets:
                twin, student = Run(self.twin(net), seed), Run(self.student(net), seed)
                dataset = load(twin.recipe.data, seed)
                # One basis a network and noise: the twin's at the first temperature, so temperatures compare as well.
                reference = Run(self.twin(replace(net, temperature=self.main)), seed)
                if (twin.recipe, seed) not in found:
                    within = bases(reference, records[reference], dataset, known)
                    found[twin.recipe, seed] = paths(twin, records[twin], dataset, within, self.steps) | {
                        "basis": within
                    }
                within = found[twin.recipe, seed]["basis"]
                found[student.recipe, seed] = paths(student, records[student], dataset, within, self.steps)
        return found

    def _biases(self, net: Net, moved: Mapping, seeds: tuple[int, ...], layer: str = FIRST) -> NDArray:
        """Top bias over the twin at every moment: (seeds, T, K - 1)."""
        student, twin = self.student(net), self.twin(net)
        return np.stack([top_bias(_path(moved[student, s], layer), _path(moved[twin, s], layer)) for s in seeds])

    def _end(self, net: Net, moved: Mapping, seeds: tuple[int, ...], layer: str = FIRST) -> NDArray:
        """At the end of training, in the lowest band: one value a seed."""
        return self._biases(net, moved, seeds, layer)[:, -1, -1]

    # --- claims ------------------------------------------------------------------------------------------------------

    def _bias_claims(self, moved: Mapping, seeds: tuple[int, ...]) -> list[Claim]:
        found = []
        for net in self.nets():
            if net.temperature == self.main and net.age is None:
                values = mean_over_runs(
                    self._end(net, moved, seeds), "bias over the twin, first layer, lowest band (nats)"
                )
                words = "The student's first layer moved more along the top directions than its twin's did."
                found.append(rules.above_zero("E3", words, values, SOURCE, net.text))
        return found

    def _depth_claims(self, moved: Mapping, seeds: tuple[int, ...]) -> list[Claim]:
        """Does the bias compound over layers? Of the whole linear map against its number of layers."""
        found = []
        for noise in self.noise if self.depths else ():
            depths, values = self._by_depth(noise, moved, seeds)
            slopes = [float(np.polyfit(depths, row, 1)[0]) for row in values.T]
            estimate = mean_over_runs(slopes, "bias of the end-to-end map, nats per layer")
            setting = f"linear networks of {depths[0]} to {depths[-1]} layers, {noise:.0%} noise, τ={self.main:g}"
            words = "The bias compounds over layers: the end-to-end map's bias grows with depth."
            found.append(rules.above_zero("E4", words, estimate, "open question of arXiv 2301.12923", setting))
        return found

    def _age_claims(self, moved: Mapping, seeds: tuple[int, ...]) -> list[Claim]:
        found = []
        for net in self.nets():
            if self.ages and net.age == max(round(self.optim.steps * min(self.ages)), 1):
                final = replace(net, age=None)
                gap = self._end(net, moved, seeds) - self._end(final, moved, seeds)
                estimate = mean_over_runs(gap, "bias under the earliest teacher minus under the final one (nats)")
                words = "A teacher that was stopped early passes on more of the bias than a trained one."
                found.append(rules.above_zero("E5", words, estimate, theory.OURS, net.text))
        return found

    def _by_depth(self, noise: float, moved: Mapping, seeds: tuple[int, ...], age: int | None = None):
        """Numbers of layers, and the end-to-end bias of each: (depths, seeds)."""
        names = {1: "linear"} | {depth: f"deep-linear:32x{depth}" for depth in self.depths}
        rows = [
            self._end(Net(name, noise, self.main, age), moved, seeds, WHOLE if depth > 1 else FIRST)
            for depth, name in names.items()
        ]
        return list(names), np.stack(rows)

    # --- pictures ----------------------------------------------------------------------------------------------------

    def _bias_chart(self, moved: Mapping, seeds: tuple[int, ...]) -> Chart:
        rows = [
            (
                net.model,
                f"τ={net.temperature:g}",
                f"{net.noise:.0%} noise",
                mean_over_runs(self._end(net, moved, seeds), "bias"),
            )
            for net in self.nets()
            if net.age is None
        ]
        return pictures.estimates_chart(
            rows,
            "bias",
            "Top bias of the first layer over a twin of the same temperature",
            Axis("x", "network", "nominal"),
            Axis("y", "bias, lowest band (nats)"),
            "Above 0 the student moved more along top directions than its twin; intervals over runs.",
            kind="interval",
            color="temperature",
        )

    def _trajectories(self, moved: Mapping, seeds: tuple[int, ...]) -> Chart:
        """Lower band against top band along training, each in shares of the twin's end: mean over seeds."""
        data: dict[str, list[Cell]] = {"top": [], "lower": [], "who": [], "network": [], "step": []}
        moments = (*self.steps, self.optim.steps)
        noise = self.noise[-1]
        for name in self.names:
            final = Net(name, noise, self.main)
            arms = {"twin": self.twin(final), "student": self.student(final)}
            if self.ages:
                early = replace(final, age=max(round(self.optim.steps * min(self.ages)), 1))
                arms["student of the earliest teacher"] = self.student(early)
            ends = np.stack([_path(moved[arms["twin"], s], FIRST)[-1] for s in seeds])
            for who, recipe in arms.items():
                path = np.stack([_path(moved[recipe, s], FIRST) for s in seeds]) / ends[:, None]
                mean = np.vstack([np.zeros(path.shape[-1]), path.mean(0)])
                data["top"] += mean[:, 0].round(4).tolist()
                data["lower"] += mean[:, -1].round(4).tolist()
                data["who"] += [who] * len(mean)
                data["network"] += [name] * len(mean)
                data["step"] += [0, *moments]
        return Chart(
            "trajectories",
            f"Where the first layer goes, {noise:.0%} noise, τ={self.main:g}",
            "line",
            {key: tuple(column) for key, column in data.items()},
            Axis("top", "top band, share of the twin's end"),
            Axis("lower", "lowest band, share of the twin's end"),
            alt="A student below its twin's line is behind on the lower directions at equal progress on the top ones.",
            caption=f"Mean over {len(seeds)} seeds; points are kept checkpoints.",
            color=Axis("who", "", "nominal"),
            facet=Axis("network", "", "nominal"),
            tooltip=("network", "who", "step", "top", "lower"),
        )

    def _layers_chart(self, moved: Mapping, seeds: tuple[int, ...]) -> Chart:
        rows = []
        for net in self.nets():
            if (
                net.temperature != self.main
                or net.age is not None
                or net.model.startswith(("linear", "random-features"))
            ):
                continue
            for layer in _layers(moved[self.twin(net), seeds[0]]):
                estimate = mean_over_runs(self._end(net, moved, seeds, layer), layer)
                rows.append((layer, f"{net.noise:.0%} noise", net.model, estimate))
        return pictures.estimates_chart(
            rows,
            "layers",
            f"Layer by layer, τ={self.main:g}",
            Axis("x", "layer", "nominal"),
            Axis("y", "bias, lowest band (nats)"),
            "Top bias of every layer over the twin's, from input to output; intervals over runs.",
            kind="interval",
            color="noise",
        )

    def _depth_chart(self, moved: Mapping, seeds: tuple[int, ...]) -> Chart:
        rows = []
        for noise in self.noise if self.depths else ():
            for age in (*(max(round(self.optim.steps * share), 1) for share in self.ages), None):
                depths, values = self._by_depth(noise, moved, seeds, age)
                who = "final teacher" if age is None else f"teacher of {age} steps"
                rows += [
                    (d, who, f"{noise:.0%} noise", mean_over_runs(v, "bias"))
                    for d, v in zip(depths, values, strict=True)
                ]
        return pictures.estimates_chart(
            rows,
            "depth",
            "Does it compound? Bias of the whole linear map by depth and by the teacher's age",
            Axis("x", "linear layers"),
            Axis("y", "bias, lowest band (nats)"),
            "Top bias of the end-to-end map against the number of layers, for teachers of several ages.",
            kind="line",
            color="teacher",
        )

    def _table(self, moved: Mapping, records: Mapping, seeds: tuple[int, ...]) -> Table:
        columns = ("network", "noise", "τ", "teacher", "layer", "bias, middle band", "bias, lowest band",
                   "behind at equal top, lowest band", "accuracy, student − twin")  # fmt: skip
        rows: list[tuple[Cell, ...]] = []
        for net in self.nets():
            student, twin = self.student(net), self.twin(net)
            accuracy = [
                records[Run(student, s)].summary["test_accuracy"] - records[Run(twin, s)].summary["test_accuracy"]
                for s in seeds
            ]
            for layer in _layers(moved[twin, seeds[0]]):
                bias = self._biases(net, moved, seeds, layer)[:, -1]
                behind = [matched_bias(moved[student, s][layer], moved[twin, s][layer])[-1] for s in seeds]
                matched = mean_over_runs(behind, "behind") if np.isfinite(behind).all() else "no equal progress"
                rows.append(
                    (
                        net.model,
                        f"{net.noise:.0%}",
                        net.temperature,
                        "final" if net.age is None else f"{net.age} steps",
                        layer,
                        mean_over_runs(bias[:, 0], "middle"),
                        mean_over_runs(bias[:, -1], "lowest"),
                        matched,
                        mean_over_runs(accuracy, "accuracy"),
                    )
                )
        caption = "At the end of training; nats, above 0 is more top-biased. Means over seeds with intervals over runs."
        return Table("Every network, layer by layer", columns, tuple(rows), caption)

    def _controls(self, moved: Mapping, seeds: tuple[int, ...]) -> Table:
        """What the twin's temperature and the axes decide."""
        rows: list[tuple[Cell, ...]] = []
        for net in self.nets():
            if net.temperature == self.main or net.age is not None:
                continue
            student, other = self.student(net), self.twin(replace(net, temperature=self.main))
            ours, theirs = ([_path(moved[r, s], FIRST)[-1] for s in seeds] for r in (student, other))
            mixed = [top_bias(a, b)[-1] for a, b in zip(ours, theirs, strict=True)]
            raw = [float(np.log(b[-1] / a[-1])) for a, b in zip(ours, theirs, strict=True)]
            right = mean_over_runs(self._end(net, moved, seeds), "same")
            rows.append((net.text, right, mean_over_runs(mixed, "mixed"), mean_over_runs(raw, "raw")))
        columns = ("student", "twin of the same τ, normalized", f"twin at τ={self.main:g}, normalized",
                   f"twin at τ={self.main:g}, lowest band as it is")  # fmt: skip
        return Table(
            "What would have been read without the controls",
            columns,
            tuple(rows),
            "Bias of the first layer, lowest band (nats).",
        )

    def _methods(self, seeds: tuple[int, ...]) -> Text:
        optim = self.optim
        bands = ", ".join(f"{share:.0%}" for share in SHARES)
        return Text(
            "Methods",
            f"Exact part: closed forms of gradient flow with squared loss (docs/theory.md). Networks: {self.setup.data}, "
            f"{self.setup.train or 'all'} training examples a seed, {optim.steps:,} steps of {optim.batch} with {optim.name} "
            f"(rate {optim.lr:g}/τ, momentum {optim.momentum:g}, {optim.decay}). Student: τ²·KL(teacher‖student); twin: τ² times "
            "cross-entropy of the labels at the same τ; same initialization and batches. The teacher is the same network "
            "with other luck; a usual initialization is something that a student has to learn, so one linear network and the "
            "layer on random features start at zero, as the theory does. Weights are read from checkpoints at steps "
            f"{', '.join(map(str, self.steps))} and at the end. A "
            "layer's movement since initialization is projected on the eigenvectors of the covariance of its inputs (patches "
            f"for convolutions; the twin's inputs at its end for later layers). Bands hold the input variance up to {bands}; "
            "the top band is the first, claims use the last. Bias: log of (top / lower) of the student over the twin's, at "
            f"equal steps. Intervals are Student t over {len(seeds)} paired seeds (95 %). No correction for the number of "
            "claims; rules were fixed before the runs. Cite: Nagarajan et al., NeurIPS 2023 (arXiv 2301.12923).",
        )


def _layers(found: Mapping) -> list[str]:
    return [name for name in found if name != "basis"]


def _path(found: Mapping, layer: str) -> NDArray:
    return found[next(iter(found)) if layer == FIRST else layer]


def _summary(claims: list[Claim]) -> str:
    def tally(name: str) -> str:
        mine = [c.verdict for c in claims if c.name == name]
        return ", ".join(f"{mine.count(v)} {v}" for v in ("supported", "refuted", "inconclusive") if v in mine)

    exact = "; ".join(f"{c.name} {c.verdict}" for c in claims[:2])
    parts = {"E3": "bias of the first layer", "E4": "compounding over depth", "E5": "more from early teachers"}
    found = "; ".join(f"{words} ({name}): {tally(name)}" for name, words in parts.items() if tally(name))
    return f"Exact part: {exact}. In networks, over networks and noise: {found}."
