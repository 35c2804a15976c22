"""Can the gain of a teacher be had without one, by sparing the classes that are confused anyway?

The suggestion is that of Nagarajan et al. 2023 (arXiv 2301.12923): zero the destructive one-hot gradients. Ours: where the
confusion comes from (the student itself, a hierarchy, a teacher as the upper bound), and the comparison with label
smoothing tuned as carefully, with classes merged and split so that their similarity is varied and the images are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from disobey.data.sources.hierarchies import groups_of
from disobey.measures.inference.comparisons import ratio_over_runs
from disobey.measures.inference.intervals import mean_over_runs, paired_difference
from disobey.records.results import Axis, Block, Cell, Chart, Claim, Estimate, Result, Table, Text
from disobey.records.runs import RunRecord
from disobey.studies.kit import pictures
from disobey.studies.kit import verdicts as rules
from disobey.studies.kit.options import settings_of
from disobey.studies.kit.setup import Distillation, Setup, complete_seeds
from disobey.studies.kit.study import smoke_mark
from disobey.targets.schedule import Schedule, distill, labels, smooth
from disobey.targets.teacher_free import spare
from disobey.training.recipe import Recipe, Run

SOURCE = "arXiv 2301.12923"
OURS = "asked here"
Structure = Literal["grouped", "merged", "plain", "split"]
Family = Literal["labels", "smoothing", "own confusion", "hierarchy", "teacher's confusion", "self-KD", "KD"]
SPARING: tuple[Family, ...] = ("own confusion", "hierarchy", "teacher's confusion")
COMPARISONS: tuple[tuple[str, str, Family, Family, str], ...] = (  # claim, words, family, against which other, source
    ("F0", "A teacher helps: distillation beats labels.", "KD", "labels", SOURCE),
    ("F1", "Sparing what the student itself confuses early beats plain labels.", "own confusion", "labels", SOURCE),
    (
        "F2",
        "Sparing what the student itself confuses early beats label smoothing tuned as well.",
        "own confusion",
        "smoothing",
        OURS,
    ),
    ("F3", "Sparing the classes of the same group of a hierarchy beats plain labels.", "hierarchy", "labels", OURS),
    ("F4", "Sparing what a teacher confuses beats plain labels.", "teacher's confusion", "labels", SOURCE),
)


@dataclass(frozen=True)
class Arm:
    """One way to train a student. amount: the smoothing, or how much of the gradient is spared."""

    structure: Structure
    family: Family
    amount: float = 0.0

    @property
    def text(self) -> str:
        return self.family + (f" {self.amount:g}" if self.amount else "")


@dataclass(frozen=True)
class TeacherFree:
    """Trains equal students for equal steps on labels, smoothed labels, spared gradients and teachers.

    Amounts of smoothing and of sparing are chosen on the validation split, by the mean over seeds, and judged on test.
    """

    name: ClassVar[str] = "teacher-free"
    question: ClassVar[str] = "Can sparing confusable classes replace a teacher?"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fashion": {"setup": Setup(data="fashion-mnist", train=2000, steps=500)},
        "cifar100": {
            "setup": Setup(data="hub:uoft-cs/cifar100#fine_label", steps=20_000, augment="crop-flip"),
            "structures": ("grouped", "plain"),
            "student": "resnet8",
        },
    }

    setup: Setup = Setup(train=1000, steps=400, batch=64)
    teacher: str = ""
    """model of the teacher, NAME or NAME:WIDTH"""
    student: str = "small"
    """model of every student: self, small, large, NAME or NAME:WIDTH"""
    structures: tuple[Structure, ...] = ("merged", "plain", "split")
    """classes joined by a known hierarchy, similar ones joined in pairs, as they are, every class cut in two"""
    smoothings: tuple[float, ...] = (0.05, 0.1, 0.2)
    """of labels; the best on validation is compared"""
    amounts: tuple[float, ...] = (0.1, 0.3, 1.0)
    """of sparing: 1 zeroes the gradient on the most confused class; above 1, which pulls it up, training collapses"""
    after: float = 0.1
    """share of training after which the student's own confusion is taken"""
    temperature: float = 4.0
    """of distillation"""
    noise: float = 0.0
    """share of wrong training labels"""
    groups: tuple[int, ...] = ()
    """group of every class where classes are as they are; known for fashion-mnist and cifar100"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        if not (self.structures and self.smoothings and self.amounts):
            raise ValueError("expected at least one structure, one smoothing and one amount")

    @classmethod
    def smoke(cls) -> Self:
        setup = Setup(data="digits-8x8", train=200, seeds=(0, 1), steps=20, batch=32)
        return cls(
            setup, "mlp:16", "mlp:8", structures=("plain", "split"), smoothings=(0.1,), amounts=(1.0,), is_smoke=True
        )

    def data(self, structure: Structure) -> str:
        return self.setup.data if structure == "plain" else f"{structure}:{self.setup.data}"

    def under(self, structure: Structure) -> Distillation:
        return Distillation(replace(self.setup, data=self.data(structure)), self.teacher)

    def chosen(self) -> Mapping[str, str]:
        return self.under("plain").chosen()

    def hierarchy(self, structure: Structure) -> tuple[int, ...]:
        if structure == "plain" and self.groups:
            return self.groups
        name = self.data(structure)
        return groups_of(name, self.under(structure).setup.dataset.classes)

    def arms(self, structure: Structure) -> list[Arm]:
        found = [Arm(structure, "labels"), *(Arm(structure, "smoothing", e) for e in self.smoothings)]
        for family in SPARING:
            if family != "hierarchy" or self.hierarchy(structure):
                found += [Arm(structure, family, amount) for amount in self.amounts]
        return [*found, Arm(structure, "self-KD"), Arm(structure, "KD")]

    def targets(self, arm: Arm) -> Schedule:
        if arm.family in ("KD", "self-KD"):
            return distill(self.temperature)
        if arm.family == "smoothing":
            return smooth(arm.amount)
        if arm.family == "labels":
            return labels()
        if arm.family == "hierarchy":
            return spare("groups", amount=arm.amount, groups=self.hierarchy(arm.structure))
        if arm.family == "own confusion":
            return spare("student", amount=arm.amount, after=self.after)
        return spare("teacher", amount=arm.amount)

    def recipe(self, arm: Arm) -> Recipe:
        setup = self.under(arm.structure)
        recipe = setup.student_recipe(self.student, self.targets(arm), self.noise, name=arm.text)
        if arm.family == "self-KD":
            own = replace(recipe.teacher or recipe, model=setup.model(self.student), name="teacher, student's model")
            return replace(recipe, teacher=own)
        return recipe

    def plan(self) -> list[Run]:
        arms = [arm for structure in self.structures for arm in self.arms(structure)]
        return [Run(recipe, seed) for seed in self.setup.seeds for recipe in dict.fromkeys(map(self.recipe, arms))]

    def analyze(self, records: Mapping[Run, RunRecord]) -> Result:
        arms = [arm for structure in self.structures for arm in self.arms(structure)]
        seeds = complete_seeds(self.setup.seeds, [self.recipe(arm) for arm in arms], records)
        scores = {
            split: {
                arm: np.array([records[Run(self.recipe(arm), seed)].summary[f"{split}_accuracy"] for seed in seeds])
                for arm in arms
            }
            for split in ("validation", "test")
        }
        chosen = {s: self._chosen(s, scores["validation"]) for s in self.structures}
        test = scores["test"]
        claims = [claim for structure in self.structures for claim in self._claims(structure, chosen[structure], test)]
        claims += self._similarity_claim(chosen, test)
        blocks: list[Block] = [*claims, self._chart(chosen, test), self._amounts(arms, test)]
        blocks += [self._table(arms, chosen, scores), self._teachers(records, seeds), self._methods(seeds)]
        return Result(self.name, self.question, tuple(blocks), _summary(claims), self.is_smoke, settings_of(self))

    def _chosen(self, structure: Structure, validation: Mapping[Arm, NDArray]) -> dict[Family, Arm]:
        """The best arm of every family by mean validation accuracy; the smaller amount among equals."""
        best: dict[Family, Arm] = {}
        for arm in self.arms(structure):
            if arm.family not in best or validation[arm].mean() > validation[best[arm.family]].mean():
                best[arm.family] = arm
        return best

    def _claims(self, structure: Structure, chosen: Mapping[Family, Arm], test: Mapping[Arm, NDArray]) -> list[Claim]:
        setting = f"{self.data(structure)}, {self.noise:.0%} noise, {self.student} student"
        claims = []
        for name, text, family, other, source in COMPARISONS:
            if family in chosen:
                words = f"test accuracy, {chosen[family].text} − {chosen[other].text}"
                gain = paired_difference(test[chosen[family]], test[chosen[other]], words)
                claims.append(rules.above_zero(name, text, gain, source, setting))
        kd, plain = test[chosen["KD"]], test[chosen["labels"]]
        share = self._recovered(test[chosen["own confusion"]], kd, plain)
        text = "Sparing the student's own confusion recovers most of distillation's gain."
        claims.append(rules.most_recovered("F5", text, share, SOURCE, setting))
        return claims

    def _recovered(self, ours: NDArray, kd: NDArray, plain: NDArray) -> Estimate:
        name = "share of the gain recovered"
        gain = paired_difference(kd, plain)
        if rules.side(gain) <= 0:
            return Estimate(name, np.nan, np.nan, np.nan, gain.level, gain.n, "runs")
        return ratio_over_runs(ours - plain, kd - plain, name=name)

    def _similarity_claim(self, chosen: Mapping, test: Mapping[Arm, NDArray]) -> list[Claim]:
        """F6: split against merged classes; where there are none, classes as they are against their groups."""
        pairs: list[tuple[Structure, Structure]] = [("split", "merged"), ("plain", "grouped")]
        pair = next((pair for pair in pairs if set(pair) <= set(self.structures)), None)
        if pair is None:
            return []
        fine, coarse = (test[chosen[s]["own confusion"]] - test[chosen[s]["labels"]] for s in pair)
        words = f"gain of sparing, {' − '.join(pair)} classes"
        estimate = paired_difference(fine, coarse, words)
        text = "Sparing pays more where classes are more similar."
        return [
            rules.above_zero("F6", text, estimate, SOURCE, f"{self.setup.data}, gains of own confusion over labels")
        ]

    def _chart(self, chosen: Mapping, test: Mapping[Arm, NDArray]) -> Chart:
        rows = []
        for family in ("smoothing", *SPARING, "self-KD", "KD"):
            for structure, best in chosen.items():
                if family in best:
                    gain = paired_difference(test[best[family]], test[best["labels"]], best[family].text)
                    rows.append((family, structure, "", gain))
        return pictures.estimates_chart(
            rows,
            "gains",
            "Gain over plain labels, every family at its best amount on validation",
            Axis("x", "training signal", "nominal"),
            Axis("y", "test accuracy − labels'"),
            "Above 0 the signal beats plain labels; intervals over runs.",
            kind="interval",
            color="classes",
        )

    def _amounts(self, arms: list[Arm], test: Mapping[Arm, NDArray]) -> Chart:
        rows = [
            (
                arm.amount,
                arm.family,
                arm.structure,
                paired_difference(test[arm], test[Arm(arm.structure, "labels")], "gain"),
            )
            for arm in arms
            if arm.amount
        ]
        return pictures.estimates_chart(
            rows,
            "amounts",
            "Gain over plain labels by amount",
            Axis("x", "amount (smoothing; share spared)", "log"),
            Axis("y", "test accuracy − labels'"),
            "How much of each correction helps; bands are intervals over runs.",
            kind="line",
            color="signal",
        )

    def _table(self, arms: list[Arm], chosen: Mapping, scores: Mapping[str, Mapping[Arm, NDArray]]) -> Table:
        rows: list[tuple[Cell, ...]] = []
        best = [arm for found in chosen.values() for arm in found.values()]
        for arm in arms:
            plain = scores["test"][Arm(arm.structure, "labels")]
            rows.append(
                (
                    f"{arm.structure}: {arm.text}" + (" (chosen)" if arm.amount and arm in best else ""),
                    round(float(scores["validation"][arm].mean()), 4),
                    mean_over_runs(scores["test"][arm], "test accuracy"),
                    paired_difference(scores["test"][arm], plain, "gain") if arm.family != "labels" else None,
                )
            )
        columns = ("classes: signal", "validation", "test accuracy", "minus labels")
        caption = (
            "Means over seeds with intervals over runs (validation: the mean alone, by which the amount behind a signal "
            "is chosen). Minus labels: test accuracy, paired."
        )
        return Table("Every arm", columns, tuple(rows), caption)

    def _teachers(self, records: Mapping[Run, RunRecord], seeds: tuple[int, ...]) -> Table:
        rows: list[tuple[Cell, ...]] = []
        for structure in self.structures:
            for family in ("KD", "self-KD"):
                recipe = self.recipe(Arm(structure, family)).teacher
                assert recipe is not None
                teachers = [records[Run(recipe, seed)].summary for seed in seeds if Run(recipe, seed) in records]
                if teachers:
                    accuracies = [mean_over_runs([t[k] for t in teachers], k) for k in ("fitted", "test_accuracy")]
                    rows.append((structure, family, pictures.model_word(recipe.model), *accuracies))
        columns = ("classes", "teacher of", "model", "training labels repeated", "test accuracy")
        return Table(
            "Teachers at the end of training", columns, tuple(rows), "Means over seeds with intervals over runs."
        )

    def _methods(self, seeds: tuple[int, ...]) -> Text:
        optim = self.setup.optim
        return Text(
            "Methods",
            f"Data: {self.setup.data}, {pictures.count_word(self.setup.train)} training examples a seed. Merged: the most similar classes "
            "(nearest means of the training split) joined in pairs. Grouped: joined by a known hierarchy. Split: every class cut at the median of its first "
            f"principal component. Students ({self.student}) share initialization and batches: {optim.steps:,} steps of "
            f"{optim.batch} ({optim.name}, rate {optim.lr:g}, {optim.decay}). Sparing multiplies the label gradient of every "
            "other class by 1 − amount × strength and takes out the mean over classes. Strength: mean probability given to "
            "the class on training examples of the label, scaled per label to 1 for the most and 0 for the least confused "
            f"class; by the student itself after {self.after:.0%} of training, by the teacher at its end, or 1 within the "
            f"groups of a hierarchy. KD: τ²·KL at τ={self.temperature:g} from {pictures.model_word(self.under('plain').model())}; "
            "self-KD: from the student's own model. Amounts were chosen by mean validation accuracy over "
            f"{len(seeds)} seeds out of smoothing {self.smoothings} and sparing {self.amounts}; as many for each family. "
            "Intervals are Student t over paired seeds (95 %). No correction for the number of claims; rules were fixed "
            "before the runs. Cite: Nagarajan et al., NeurIPS 2023 (arXiv 2301.12923).",
        )


def _summary(claims: list[Claim]) -> str:
    parts = [f"{c.setting.split(',')[0]}: {c.evidence[0].value:+.2%} {c.verdict}" for c in claims if c.name == "F1"]
    smoothing = [c.verdict for c in claims if c.name == "F2"]
    counts = ", ".join(f"{smoothing.count(v)} {v}" for v in ("supported", "refuted", "inconclusive") if v in smoothing)
    return f"Sparing the student's own confusion over plain labels: {'; '.join(parts)}. Over tuned smoothing: {counts}."
