"""Does a teacher denoise the gradient, and for the reason that is given?

After Nagarajan et al. 2023 (arXiv 2301.12923), section on denoising gradients. Ours: a planted model with closed forms
that are checked against simulation over a grid, b = 0 as the control in which the mechanism must fail, and for real
networks the gradient of a large fresh sample as the truth, the same-sample teacher beside a cross-fitted one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from disobey.measures.intervals import mean_over_runs
from disobey.records.results import Axis, Block, Cell, Chart, Claim, Estimate, Result, Table, Text
from disobey.records.runs import RunRecord
from disobey.studies import denoising_theory as theory
from disobey.studies import pictures, rules
from disobey.studies.denoising_theory import Grid
from disobey.studies.gradient_readings import (
    BATCH,
    CROSS,
    KD,
    ONE_HOT,
    ZERO_OWN,
    ZERO_TEACHER,
    Reading,
    Signal,
    Trio,
    read,
)
from disobey.studies.setup import Setup, complete_seeds
from disobey.theory.class_similarity import SimilarClasses
from disobey.training.recipe import Recipe, Run

SOURCE = "arXiv 2301.12923"
OURS = "derived here (docs/theory.md)"
Readings = Mapping[tuple["Case", int], Reading]


@dataclass(frozen=True)
class Case:
    """One network on one share of wrong labels."""

    model: str
    noise: float

    @property
    def text(self) -> str:
        return f"{self.model}, {self.noise:.0%} noise"


@dataclass(frozen=True)
class Denoising:
    """Checks closed forms of gradient denoising by simulation, then measures it in networks.

    Alignment: cosine of a signal's full gradient on the student's sample with the gradient of the true labels on a large
    fresh sample, at the same weights and temperature. Claims are judged at the student's initialization; minibatch SNR is
    read there as well, since a whole sample's gradient is off by its teacher's bias more than by noise.
    """

    name: ClassVar[str] = "denoising"
    question: ClassVar[str] = "Does a teacher denoise the gradient, and does that need similar classes?"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small-sample": {"setup": Setup(train=200, steps=300, batch=50)},
        "digits": {"setup": Setup(data="digits-8x8", train=300, steps=300, batch=50), "models": ("mlp:64x1",)},
    }

    setup: Setup = Setup(train=500, steps=300, batch=50)
    models: tuple[str, ...] = ("mlp:32x1", "cnn:8")
    """networks of teacher and student"""
    noise: tuple[float, ...] = (0.0, 0.2)
    """shares of wrong training labels"""
    temperatures: tuple[float, ...] = (1.0, 4.0)
    """of signals and truth, rising"""
    moments: tuple[float, ...] = (0.03, 0.2)
    """ages of student and teacher that are looked at besides start and end, as shares of training"""
    folds: int = 2
    """parts of the cross-fitted teacher"""
    fresh: int = 2000
    """examples of the large sample, at most"""
    grid: Grid = Grid()

    def __post_init__(self):
        if self.folds < 2:
            raise ValueError(f"expected folds >= 2 for a cross-fitted teacher; came {self.folds}")
        if not self.moments or not all(0 < share < 1 for share in self.moments):
            raise ValueError(f"expected moments as shares of training in (0, 1); came {self.moments}")
        if not self.temperatures:
            raise ValueError("expected at least one temperature")

    @classmethod
    def smoke(cls) -> Self:
        setup = Setup(data="digits-8x8", train=100, seeds=(0, 1), steps=20, batch=25)
        grid = Grid((0.0, 0.6), (0.2,), (60,), examples=240, classes=4, draws=4)
        return cls(setup, models=("mlp:8x1",), noise=(0.2,), moments=(0.2,), fresh=300, grid=grid)

    @property
    def hot(self) -> float:
        """The highest temperature."""
        return max(self.temperatures)

    @property
    def steps(self) -> tuple[int, ...]:
        total = self.setup.optim.steps
        return tuple(sorted({0, *(max(round(total * share), 1) for share in self.moments)}))

    def cases(self) -> list[Case]:
        return [Case(model, noise) for model in self.models for noise in self.noise]

    def teacher(self, case: Case) -> Recipe:
        data = replace(self.setup.spec, noise=case.noise)
        model = self.setup.model(case.model)
        return Recipe(data, model, self.setup.optim, keep=self.steps, name=f"teacher {case.model}")

    def trio(self, case: Case, seed: int) -> Trio:
        """A student on labels (its own luck), the teacher of the same sample, and teachers of parts of it."""
        base = self.teacher(case)
        student = replace(base, replica=1, name=f"student {case.model}")
        parts = [replace(base.data, fold=(i, self.folds)) for i in range(self.folds)]
        folds = tuple(Run(replace(base, data=part, name=f"part {case.model}"), seed) for part in parts)
        return Trio(Run(student, seed), Run(base, seed), folds)

    def plan(self) -> list[Run]:
        trios = [self.trio(case, seed) for seed in self.setup.seeds for case in self.cases()]
        return [run for trio in trios for run in (trio.teacher, *trio.folds, trio.student)]

    def analyze(self, records: Mapping[Run, RunRecord]) -> Result:
        seeds = self._complete(records)
        own_step = self.steps[1]
        readings: Readings = {
            (case, seed): read(
                self.trio(case, seed), records, self.steps, self.temperatures, own_step=own_step, fresh=self.fresh
            )
            for case in self.cases()
            for seed in seeds
        }
        measured = theory.simulations(self.grid)
        claims = [*theory.agreement(measured), *theory.without_similarity(measured)]
        for case in self.cases():
            claims += self._claims(case, readings, seeds)
        blocks: list[Block] = [*claims, theory.grid_chart(measured), self._ageing()]
        blocks += [self._along_training(readings, seeds), self._against_age(readings, seeds)]
        blocks += [self._similarity(case, readings, seeds[0]) for case in self.cases()[-1:]]
        blocks += [self._table(readings, seeds), self._flips(readings, seeds), self._layers(readings, seeds)]
        blocks += [theory.grid_table(measured), self._methods(seeds)]
        smoke = self == type(self).smoke()
        return Result(self.name, self.question, tuple(blocks), _summary(claims), smoke, {"data": self.setup.data})

    def _complete(self, records: Mapping[Run, RunRecord]) -> tuple[int, ...]:
        recipes = [run.recipe for case in self.cases() for run in _runs(self.trio(case, self.setup.seeds[0]))]
        return complete_seeds(self.setup.seeds, recipes, records)

    # --- claims ------------------------------------------------------------------------------------------------------

    def _claims(self, case: Case, readings: Readings, seeds: tuple[int, ...]) -> list[Claim]:
        claims = [claim for t in self.temperatures for claim in self._teacher_claims(case, t, readings, seeds)]
        cold, hot, first = self.temperatures[0], self.hot, self.steps[1]

        def at_start(name: str, age: int | None, temperature: float) -> NDArray:
            return self._cosines(case, readings, seeds, self.steps[0], (name, age, temperature))

        own = at_start(ZERO_OWN, None, cold) - at_start(ONE_HOT, None, cold)
        claims.append(
            rules.above_zero(
                "D5",
                "Zeroing label gradients on confusable classes improves the alignment without any teacher.",
                mean_over_runs(own, f"cosine, zeroed by own early confusion − one-hot, τ={cold:g}"),
                SOURCE,
                case.text,
            )
        )
        age = at_start(KD, first, cold) - at_start(KD, None, cold)
        claims.append(
            rules.above_zero(
                "D6",
                "The teacher's alignment shrinks as it memorizes.",
                mean_over_runs(age, f"cosine, KD of step {first} − KD of the end, τ={cold:g}"),
                OURS,
                case.text,
            )
        )
        if hot != cold:
            gains = [at_start(KD, None, t) - at_start(ONE_HOT, None, t) for t in (hot, cold)]
            words = f"cosine gain over one-hot, τ={hot:g} − τ={cold:g}, final teacher"
            text = "Temperature restores the gain of a memorizing teacher."
            claims.append(rules.above_zero("D7", text, mean_over_runs(gains[0] - gains[1], words), OURS, case.text))
        flips = np.array([readings[case, s].flips[None, hot] for s in seeds])
        words = f"share of positive residuals, most confusable − other classes, τ={hot:g}"
        text = "The teacher's residual flips sign more often on the class most confused with the example's own."
        claims.append(rules.above_zero("D8", text, mean_over_runs(flips[:, 0] - flips[:, 1], words), SOURCE, case.text))
        return claims

    def _teacher_claims(self, case: Case, t: float, readings: Readings, seeds: tuple[int, ...]) -> list[Claim]:
        """D3, D4 and D9 at one temperature: whole sample, cross-fitting, minibatches."""
        setting = f"{case.text}, τ={t:g}"
        one_hot, kd, cross = (
            self._cosines(case, readings, seeds, self.steps[0], (name, None, t)) for name in (ONE_HOT, KD, CROSS)
        )
        batches = {
            name: np.array([readings[case, s].batches.get((name, None, t), np.nan) for s in seeds])
            for name in (ONE_HOT, KD)
        }
        stated = [
            (
                "D3",
                "The teacher's gradient is better aligned with the large sample's than the one-hot gradient.",
                kd - one_hot,
                "cosine, KD − one-hot",
                SOURCE,
            ),
            (
                "D4",
                "A teacher that did not see the examples is better aligned than one that did.",
                cross - kd,
                "cosine, cross-fitted KD − KD",
                OURS,
            ),
            (
                "D9",
                f"Minibatches of {BATCH} are less noisy with the teacher than with labels.",
                np.log(batches[KD] / batches[ONE_HOT]),
                "log SNR of minibatches, KD − one-hot",
                SOURCE,
            ),
        ]
        return [
            rules.above_zero(name, text, mean_over_runs(values, words), source, setting)
            for name, text, values, words, source in stated
            if np.isfinite(values).all()
        ]

    def _cosines(
        self, case: Case, readings: Readings, seeds: tuple[int, ...], moment: int | None, signal: Signal
    ) -> NDArray:
        """One a seed."""
        return np.array([readings[case, s].cosines[moment, signal] for s in seeds])

    # --- pictures ----------------------------------------------------------------------------------------------------

    def _ageing(self) -> Chart:
        small = self.grid.examples < 1000
        model = SimilarClasses(180, 10, 90, 0.6, 0.2) if small else SimilarClasses(720, 10, 360, 0.6, 0.2)
        return theory.ageing(model, self.setup.seeds, (1, 10) if small else (1, 5, 25, 100, 400))

    def _estimate(self, case: Case, readings: Readings, seeds, moment: int | None, signal: Signal) -> Estimate:
        return mean_over_runs(self._cosines(case, readings, seeds, moment, signal), "cosine")

    def _along_training(self, readings: Readings, seeds: tuple[int, ...]) -> Chart:
        signals: dict[str, Signal] = {
            ONE_HOT: (ONE_HOT, None, self.hot),
            "KD, final teacher": (KD, None, self.hot),
            "KD, early teacher": (KD, self.steps[1], self.hot),
            "cross-fitted KD": (CROSS, None, self.hot),
            ZERO_OWN: (ZERO_OWN, None, self.hot),
            ZERO_TEACHER: (ZERO_TEACHER, None, self.hot),
        }
        rows = [
            (
                self.setup.optim.steps if m is None else m,
                name,
                case.text,
                self._estimate(case, readings, seeds, m, signal),
            )
            for case in self.cases()
            for name, signal in signals.items()
            for m in (*self.steps, None)
        ]
        return pictures.estimates_chart(
            rows,
            "along-training",
            f"Alignment with the large sample's gradient along the student's training, τ={self.hot:g}",
            Axis("x", "student's steps"),
            Axis("y", "cosine"),
            "All signals at the same weights of a student that learns from labels; 1 is the direction of the large sample.",
            kind="line",
            color="signal",
        )

    def _against_age(self, readings: Readings, seeds: tuple[int, ...]) -> Chart:
        rows = []
        for case in self.cases():
            for name in (KD, CROSS):
                for t in self.temperatures:
                    for age in (*self.steps[1:], None):
                        gains = [
                            readings[case, s].cosines[self.steps[0], (name, age, t)]
                            - readings[case, s].cosines[self.steps[0], (ONE_HOT, None, t)]
                            for s in seeds
                        ]
                        at = self.setup.optim.steps if age is None else age
                        rows.append((at, f"{name} τ={t:g}", case.text, mean_over_runs(gains, "gain")))
        return pictures.estimates_chart(
            rows,
            "teacher-age",
            "Gain in alignment over one-hot at the student's start, against the teacher's age",
            Axis("x", "teacher's steps"),
            Axis("y", "cosine − one-hot's"),
            "Above 0 the teacher's gradient is cleaner than the labels'.",
            kind="line",
            color="signal",
        )

    def _similarity(self, case: Case, readings: Readings, seed: int) -> Chart:
        matrix = readings[case, seed].similarity.copy()
        names = self.setup.dataset.classes
        np.fill_diagonal(matrix, np.nan)
        data = {
            "true": tuple(name for name in names for _ in names),
            "said": tuple(name for _ in names for name in names),
            "probability": tuple(float(v) if np.isfinite(v) else None for v in matrix.ravel()),
        }
        return Chart(
            "similarity",
            f"Class similarity from a teacher's confusion: {case.text}, seed {seed}",
            "heatmap",
            data,
            Axis("said", "class that is given probability", "nominal"),
            Axis("true", "true class", "nominal"),
            alt="Mean probability that teachers which did not see an example give to each wrong class.",
            caption="Cross-fitted final teacher, training examples; the diagonal is left out.",
            color=Axis("probability", "mean probability"),
        )

    def _table(self, readings: Readings, seeds: tuple[int, ...]) -> Table:
        columns = ("network", "noise", "τ", "signal", "teacher's age", "cosine at the start", "SNR at the start",
                   "minibatch SNR", "cosine, first kept step", "cosine at the end")  # fmt: skip
        rows: list[tuple[Cell, ...]] = []
        for case in self.cases():
            for signal in readings[case, seeds[0]].cosines:
                moment, (name, age, t) = signal
                if moment != self.steps[0]:
                    continue
                key = signal[1]
                start = np.array([readings[case, s].cosines[self.steps[0], key] for s in seeds])
                small = [readings[case, s].batches.get(key) for s in seeds]
                known = [value for value in small if value is not None]
                rows.append(
                    (
                        case.model,
                        f"{case.noise:.0%}",
                        t,
                        name,
                        "" if name not in (KD, CROSS) else "end" if age is None else f"{age} steps",
                        mean_over_runs(start, "cosine"),
                        mean_over_runs(start**2 / (1 - start**2), "SNR"),
                        mean_over_runs(known, "SNR") if known else None,
                        self._estimate(case, readings, seeds, self.steps[1], key),
                        self._estimate(case, readings, seeds, None, key),
                    )
                )
        caption = (
            "SNR: squared part along the large sample's gradient over the squared rest; minibatches of 50. Columns are "
            "moments of the student's training."
        )
        return Table("Alignment of every signal", columns, tuple(rows), caption)

    def _flips(self, readings: Readings, seeds: tuple[int, ...]) -> Table:
        rows: list[tuple[Cell, ...]] = []
        for case in self.cases():
            for (age, t), _ in readings[case, seeds[0]].flips.items():
                if age == 0:
                    continue
                shares = np.array([readings[case, s].flips[age, t] for s in seeds])
                rows.append(
                    (
                        case.text,
                        "end" if age is None else f"{age} steps",
                        t,
                        mean_over_runs(shares[:, 0], "confusable"),
                        mean_over_runs(shares[:, 1], "other"),
                        mean_over_runs(shares[:, 0] - shares[:, 1], "difference"),
                    )
                )
        columns = ("case", "teacher's age", "τ", "flips, most confusable class", "other classes", "difference")
        caption = (
            "Share of rightly labelled examples whose distillation residual is positive (the one-hot residual is negative) "
            "at the student's start. Confusable: the class most confused with the example's class, by the cross-fitted teacher."
        )
        return Table("Sign flips", columns, tuple(rows), caption)

    def _layers(self, readings: Readings, seeds: tuple[int, ...]) -> Table:
        wanted: list[Signal] = [(ONE_HOT, None, self.hot), (KD, None, self.hot), (CROSS, None, self.hot)]
        wanted.append((ZERO_OWN, None, self.hot))
        rows: list[tuple[Cell, ...]] = []
        for case in self.cases():
            found = readings[case, seeds[0]].layers
            for layer in dict.fromkeys(name for name, _ in found if name.endswith("weight")):
                cells = [
                    mean_over_runs([readings[case, s].layers[layer, signal] for s in seeds], "cosine")
                    for signal in wanted
                ]
                rows.append((case.text, layer, *cells))
        columns = ("case", "weights", "one-hot", "KD", "cross-fitted KD", "zeroed, own confusion")
        return Table(f"Layer by layer at the start, τ={self.hot:g}: cosines", columns, tuple(rows))

    def _methods(self, seeds: tuple[int, ...]) -> Text:
        optim = self.setup.optim
        return Text(
            "Methods",
            f"Planted part: {len(self.grid.models())} models of similar classes (docs/theory.md, section 4), {self.grid.draws} "
            f"simulations each. Networks: {self.setup.data}, samples of {self.setup.train} training examples, {optim.steps:,} steps of "
            f"{optim.batch} ({optim.name}, rate {optim.lr:g}, {optim.decay}). Student, teacher and the {self.folds} teachers "
            "of the cross-fitted one are equal networks; the latter are asked about the part that they did not see. All "
            f"signals are read along one student that learns from labels, at steps {', '.join(map(str, self.steps))} and the "
            "end, from kept checkpoints, in evaluation mode, on the student's whole sample. Truth: mean gradient of "
            f"cross-entropy with the true labels on at most {self.fresh:,} examples outside the sample, at the same weights "
            f"and τ. Zeroed: the one-hot residual shrunk by the confusion of the student itself at step {self.steps[1]}, or of "
            "the cross-fitted teacher, scaled to 1 for the most and 0 for the least confused class, the mean over classes "
            "taken out. Gradients are vector–Jacobian products of `torch.func`, all signals at once. Intervals are Student t "
            f"over {len(seeds)} paired seeds (95 %). No correction for the number of claims; rules were fixed before the "
            "runs. To first order the distillation gradient is one power iteration of the input second moment, the same "
            "operator as in the study eigenspace: only class similarity separates the two. Cite: Nagarajan et al., NeurIPS "
            "2023 (arXiv 2301.12923).",
        )


def _runs(trio: Trio) -> tuple[Run, ...]:
    return trio.student, trio.teacher, *trio.folds


def _summary(claims: list[Claim]) -> str:
    def tally(wanted: Callable[[Claim], bool]) -> str:
        mine = [c.verdict for c in claims if wanted(c)]
        return ", ".join(f"{mine.count(v)} {v}" for v in ("supported", "refuted", "inconclusive") if v in mine)

    parts = {"D1": "theory against simulation", "D3": "KD over one-hot", "D4": "cross-fitting over KD",
             "D5": "zeroing over one-hot", "D8": "sign flips", "D9": "minibatches with KD"}  # fmt: skip
    words = [f"{text} ({name}): {tally(lambda c, name=name: c.name == name)}" for name, text in parts.items()]
    return "; ".join(words) + "."
