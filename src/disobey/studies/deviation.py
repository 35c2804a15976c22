"""Where, and how, does a student deviate from its teacher, and does it pay?

After Nagarajan et al. 2023 (arXiv 2301.12923), section 3. Ours: the one-hot twin beside every student, since choosing
the teacher's best class makes any independent model look less confident where the teacher is, and noise attenuates
least squares; intervals over paired seeds; verdicts by rules that were fixed before the runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from disobey.measures.inference.intervals import mean_over_runs
from disobey.records.predictions import Predictions
from disobey.records.results import Axis, Block, Chart, Claim, Estimate, Result, Table, Text
from disobey.records.runs import RunRecord, pair
from disobey.studies.kit import pictures
from disobey.studies.kit import verdicts as rules
from disobey.studies.kit.evidence import Evidence, measured
from disobey.studies.kit.setup import Setup, complete_seeds
from disobey.targets.schedule import distill
from disobey.training.recipe import Recipe, Run

SOURCE = "arXiv 2301.12923"
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Setting:
    """One student: how much label noise, which model, which age of teacher, which temperature."""

    noise: float
    student: str
    early: bool
    temperature: float

    @property
    def text(self) -> str:
        teacher = "early-stopped" if self.early else "final"
        return f"{self.noise:.0%} noise, {self.student} student, {teacher} teacher, τ={self.temperature:g}"


@dataclass(frozen=True)
class Deviation:
    """Compares each student with its teacher and with its one-hot twin, on train and on test.

    Clean and noisy labels, self-distillation and a smaller student, an interpolating and an early-stopped teacher,
    several temperatures. Claims are judged in the main setting of every noise level: self-distillation from the final
    teacher at ``temperature``.
    """

    name: ClassVar[str] = "deviation"
    question: ClassVar[str] = "Where does a student disobey its teacher, and does it pay?"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Data, architecture and T as published; the paper's budget is not known to us, so the one that most
        # CIFAR-100 tables use: 240 epochs of batch 64, rate .05 falling tenfold three times.
        "paper-cifar100": {
            "setup": Setup(
                data="hub:uoft-cs/cifar100#fine_label",
                teacher="resnet56",
                augment="crop-flip",
                steps=187_500,
                batch=64,
                lr=0.05,
                optimizer="sgd",
                decay="steps",
                weight_decay=5e-4,
            ),
            "students": ("self", "resnet20"),
            "weight": 0.9,
        },
        "text": {"setup": Setup(data="languages")},
    }

    setup: Setup = Setup()
    students: tuple[str, ...] = ("self", "small")
    """models of the students: self, small, large, NAME or NAME:WIDTH"""
    temperatures: tuple[float, ...] = (1.0, 4.0, 10.0)
    """of distillation"""
    temperature: float = 4.0
    """the one at which claims are judged"""
    noise: tuple[float, ...] = (0.0, 0.2)
    """shares of wrong training labels"""
    weight: float = 1.0
    """of distillation; the rest is cross-entropy on the labels"""

    def __post_init__(self):
        if self.temperature not in self.temperatures:
            raise ValueError(
                f"expected temperature to be one of temperatures {self.temperatures}; came {self.temperature}"
            )

    @classmethod
    def smoke(cls) -> Self:
        setup = Setup(data="digits-8x8", teacher="mlp:16", seeds=(0, 1), steps=30)
        return cls(setup, students=("self",), temperatures=(1.0, 4.0), noise=(0.2,))

    def settings(self) -> list[Setting]:
        found = []
        for noise in self.noise:
            for student in self.students:
                found += [Setting(noise, student, False, temperature) for temperature in self.temperatures]
            if self.setup.early:
                found.append(Setting(noise, self.students[0], True, self.temperature))
        return found

    def recipes(self, setting: Setting) -> tuple[Recipe, Recipe, Recipe]:
        """Teacher, student and twin."""
        targets = distill(setting.temperature, weight=self.weight)
        name = f"student {setting.student} τ={setting.temperature:g}" + (" early teacher" if setting.early else "")
        return (
            self.setup.teacher_recipe(setting.noise),
            self.setup.student_recipe(setting.student, targets, setting.noise, early=setting.early, name=name),
            self.setup.twin_recipe(setting.student, setting.noise),
        )

    def plan(self) -> list[Run]:
        recipes = dict.fromkeys(recipe for setting in self.settings() for recipe in self.recipes(setting))
        return [Run(recipe, seed) for seed in self.setup.seeds for recipe in recipes]

    def pairs(
        self, setting: Setting, split: str, records: Mapping[Run, RunRecord], seeds: Iterable[int]
    ) -> list[Predictions]:
        """Teacher, student and twin on the same examples, one `Predictions` a seed."""
        teacher, student, twin = self.recipes(setting)
        step = self.setup.early_step if setting.early else None
        classes = self.setup.dataset.classes
        return [
            pair(
                records[Run(teacher, seed)],
                records[Run(student, seed)],
                split,
                twin=records[Run(twin, seed)],
                step=step,
                class_names=classes,
            )
            for seed in seeds
        ]

    def analyze(self, records: Mapping[Run, RunRecord]) -> Result:
        settings = self.settings()
        recipes = list(dict.fromkeys(recipe for setting in settings for recipe in self.recipes(setting)))
        seeds = complete_seeds(self.setup.seeds, recipes, records)
        evidence = {
            (setting, split): measured(self.pairs(setting, split, records, seeds))
            for setting in settings
            for split in SPLITS
        }
        main = [
            s for s in settings if (s.student, s.early, s.temperature) == (self.students[0], False, self.temperature)
        ]
        claims = [claim for setting in main for claim in self._claims(setting, evidence)]
        if len(settings) > 2:
            claims.append(_association(settings, evidence))
        blocks: list[Block] = [*claims, *self._charts(main, evidence, records, seeds)]
        blocks += [_gains(settings, evidence), *(_deviations(settings, evidence, split) for split in SPLITS)]
        blocks += [_calibration(settings, evidence), _kinds(main, evidence), self._teachers(records, seeds)]
        blocks += [self._gallery(setting, records, seeds) for setting in main]
        blocks.append(self._methods(seeds, records))
        smoke = self == type(self).smoke()
        return Result(self.name, self.question, tuple(blocks), _summary(claims), smoke, {"data": self.setup.data})

    def _claims(self, setting: Setting, evidence: Mapping) -> list[Claim]:
        found = []
        for split in SPLITS:
            e: Evidence = evidence[setting, split]
            found.append(
                rules.below_zero_and_twin(
                    f"C1 {split}",
                    f"The student is less confident than its teacher where the teacher is least confident ({split}).",
                    e.estimate("low_deviation", f"mean deviation in the teacher's lowest quartile, {split} (nats)"),
                    e.difference("low_deviation", f"the same, student minus twin, {split} (nats)"),
                    SOURCE,
                    setting.text,
                )
            )
        for split in SPLITS:
            e = evidence[setting, split]
            found.append(
                rules.above_one_and_twin(
                    f"C2 {split}",
                    f"The student exaggerates its teacher's confidence: a slope above 1 in logit space ({split}).",
                    e.estimate("ols_slope", f"least-squares slope, {split}"),
                    e.difference("ols_slope", f"slope, student minus twin, {split}"),
                    SOURCE,
                    setting.text,
                )
            )
        gain = evidence[setting, "test"].difference("student_accuracy", "test accuracy, student minus twin")
        found.append(
            rules.above_zero(
                "C3", "Distillation makes the student more accurate than its twin.", gain, SOURCE, setting.text
            )
        )
        return found

    def _charts(self, main: list[Setting], evidence: Mapping, records: Mapping, seeds: tuple[int, ...]) -> list[Chart]:
        charts = []
        for setting in main:
            for split in ("test", "train"):
                first = self.pairs(setting, split, records, seeds[:1])[0]
                title = f"Log-odds of the teacher's class, {split}: {setting.text}, seed {seeds[0]}"
                charts.append(pictures.logit_logit(first, f"logits-{split}-noise{setting.noise:g}", title))
        charts.append(_slopes(self.settings(), evidence))
        charts.append(_gain_chart(self.settings(), evidence))
        return charts

    def _teachers(self, records: Mapping[Run, RunRecord], seeds: tuple[int, ...]) -> Table:
        rows = []
        for noise in self.noise:
            teachers = [records[Run(self.setup.teacher_recipe(noise), seed)] for seed in seeds]
            rows.append(
                (
                    f"{noise:.0%}",
                    *(
                        mean_over_runs([t.summary[key] for t in teachers], key)
                        for key in ("fitted", "train_accuracy", "test_accuracy")
                    ),
                )
            )
        columns = ("label noise", "training labels repeated", "train accuracy (true labels)", "test accuracy")
        return Table(
            "Teachers at the end of training",
            columns,
            tuple(rows),
            "An interpolating teacher repeats all of its labels.",
        )

    def _gallery(self, setting: Setting, records: Mapping, seeds: tuple[int, ...]):
        first = self.pairs(setting, "test", records, seeds[:1])[0]
        return pictures.most_disobeyed(
            first, self.setup.dataset, f"Most disobeyed test examples: {setting.text}, seed {seeds[0]}"
        )

    def _methods(self, seeds: tuple[int, ...], records: Mapping[Run, RunRecord]) -> Text:
        setup, optim = self.setup, self.setup.optim
        source = next(iter(records.values())).info["data"]["source"]
        sizes = {name: len(setup.dataset.split(name)) for name in ("train", "validation", "test")}
        objective = f"{self.weight:g} of T²·KL(teacher‖student)" + (
            "" if self.weight == 1 else f" and {1 - self.weight:g} of cross-entropy on the labels"
        )
        return Text(
            "Methods",
            f"Data: {setup.data} ({source}); {sizes['train']:,} training, {sizes['validation']:,} validation and "
            f"{sizes['test']:,} test examples. Label noise is planted in the training labels only, symmetric. "
            f"Teacher {pictures.model_word(setup.model())}; students {', '.join(self.students)}. Every model is trained for "
            f"{optim.steps:,} steps of {optim.batch} with {optim.name} (rate {optim.lr:g}, {optim.decay}). Students learn "
            f"from {objective}; the twin is the same student with the same initialization, batches and labels, trained on "
            f"the labels alone; neither shares its luck with the teacher. The early-stopped teacher is the checkpoint after "
            f"{setup.early:.0%} of the teacher's steps. The last weights are used; nothing was chosen on the test split.\n\n"
            "x and y are the log-odds of the teacher's most likely class under teacher and student (z_c minus the "
            "log-sum-exp of the other logits, nats). Lowest quartile: the quarter of the split's examples with the smallest "
            f"x. Intervals are Student t over {len(seeds)} paired seeds (95 %); differences are paired by seed. No "
            "correction for the number of claims was made; each rule was fixed before the runs. Cite: Nagarajan et al., "
            "On student-teacher deviations in distillation: does it pay to disobey?, NeurIPS 2023 (arXiv 2301.12923).",
        )


def _summary(claims: list[Claim]) -> str:
    counts = {
        verdict: sum(c.verdict == verdict for c in claims) for verdict in ("supported", "refuted", "inconclusive")
    }
    parts = [f"{n} {verdict}" for verdict, n in counts.items() if n]
    gains = [c for c in claims if c.name == "C3"]
    pays = "; ".join(f"{c.setting.split(',')[0]}: {c.evidence[0].value:+.2%} {c.verdict}" for c in gains)
    return f"Of {len(claims)} claims, {', '.join(parts)}. Accuracy of the student minus its twin: {pays}."


def _association(settings: list[Setting], evidence: Mapping) -> Claim:
    """C4 over settings within each seed: do the settings that deviate more gain more?"""
    slopes = [evidence[s, "test"].differences("ols_slope") for s in settings]
    gains = [evidence[s, "test"].differences("student_accuracy") for s in settings]
    estimate = rules.rank_association(slopes, gains, f"rank correlation over {len(settings)} settings")
    return rules.above_zero(
        "C4",
        "Settings in which the student exaggerates more are those in which it gains more.",
        estimate,
        SOURCE,
        f"slope minus twin's and accuracy minus twin's on test, over {len(settings)} settings within each seed",
    )


def _gains(settings: list[Setting], evidence: Mapping) -> Table:
    columns = ("setting", "student", "twin", "student − twin", "agreement with teacher", "twin's agreement",
               "NLL, student − twin", "where teacher and student disagree: student right", "teacher right")  # fmt: skip
    rows = []
    for setting in settings:
        e: Evidence = evidence[setting, "test"]
        rows.append(
            (
                setting.text,
                e.estimate("student_accuracy"),
                e.twin("student_accuracy"),
                e.difference("student_accuracy"),
                e.estimate("agreement"),
                e.twin("agreement"),
                e.difference("nll"),
                e.estimate("student_right_where_they_differ"),
                e.estimate("teacher_right_where_they_differ"),
            )
        )
    return Table(
        "Does it pay? (test)", columns, tuple(rows), "Mean over seeds with intervals over runs; paired differences."
    )


def _deviations(settings: list[Setting], evidence: Mapping, split: str) -> Table:
    measures = {
        "ols_slope": "slope (OLS)",
        "tls_slope": "slope (TLS)",
        "swapped_slope": "slope (axes swapped)",
        "sd_ratio": "sd ratio",
        "low_deviation": "lowest quartile: mean y−x",
        "low_below": "lowest quartile: share below",
        "high_deviation": "highest quartile: mean y−x",
        "high_below": "highest quartile: share below",
        "ols_slope.top5": "slope over top 5 classes",
    }
    columns = ("setting", "model", *measures.values())
    rows = []
    for setting in settings:
        e: Evidence = evidence[setting, split]
        for model, take in (("student", e.estimate), ("twin", e.twin), ("student − twin", e.difference)):
            rows.append((setting.text, model, *(take(name) for name in measures)))
    caption = (
        f"{split.capitalize()} split; read the difference to the twin. A slope belongs to its temperature and budget."
    )
    return Table(f"Deviation from the teacher ({split})", columns, tuple(rows), caption)


def _calibration(settings: list[Setting], evidence: Mapping) -> Table:
    names = {"nll": "NLL", "brier": "Brier", "ece": "ECE (15 bins)", "ece_debiased": "ECE, debiased"}
    rows = []
    for setting in settings:
        e: Evidence = evidence[setting, "test"]
        rows.append((setting.text, *(v for name in names for v in (e.estimate(name), e.difference(name)))))
    columns = ("setting", *(c for text in names.values() for c in (f"{text}, student", "student − twin")))
    return Table("Calibration (test)", columns, tuple(rows), "Natural log; lower is better.")


def _kinds(main: list[Setting], evidence: Mapping) -> Table:
    rows = []
    for setting in main:
        for split in SPLITS:
            e: Evidence = evidence[setting, split]
            for subset in ("teacher_right", "teacher_wrong", "mislabelled"):
                names = [f"ols_slope.{subset}", f"mean_deviation.{subset}", f"low_deviation.{subset}"]
                if not all(e.known(name) for name in names):
                    continue
                cells = tuple(c for name in names for c in (e.estimate(name), e.difference(name)))
                rows.append((setting.text, split, subset.replace("_", " "), *cells))
    columns = ("setting", "split", "examples", "slope (OLS)", "student − twin", "mean y−x", "student − twin",
               "lowest quartile: mean y−x", "student − twin")  # fmt: skip
    return Table(
        "Deviation by kind of example",
        columns,
        tuple(rows),
        "Right and wrong as the teacher's best class compares with the true label; mislabelled: training saw another label. "
        "Rows are left out where a seed has no such example.",
    )


def _slopes(settings: list[Setting], evidence: Mapping) -> Chart:
    rows: list[tuple[float, str, str, Estimate]] = []
    for s in settings:
        if s.early:
            continue
        for split in SPLITS:
            e: Evidence = evidence[s, split]
            facet = f"{s.noise:.0%} noise, {split}"
            rows.append((s.temperature, f"{s.student} student", facet, e.estimate("ols_slope")))
            rows.append((s.temperature, f"{s.student} twin", facet, e.twin("ols_slope")))
    return pictures.estimates_chart(
        rows,
        "slope-temperature",
        "Slope against temperature",
        Axis("x", "temperature of distillation", "log"),
        Axis("y", "least-squares slope in logit space"),
        "Slope of the student's log-odds on the teacher's against temperature, with the twin's slope as the control; "
        "bands are 95 % intervals over runs.",
        kind="line",
    )


def _gain_chart(settings: list[Setting], evidence: Mapping) -> Chart:
    rows = []
    for s in settings:
        label = f"{s.student}, τ={s.temperature:g}" + (", early teacher" if s.early else "")
        rows.append(
            (label, "student − twin", f"{s.noise:.0%} noise", evidence[s, "test"].difference("student_accuracy"))
        )
    return pictures.estimates_chart(
        rows,
        "gain",
        "Does it pay? Test accuracy of the student minus its twin",
        Axis("x", "setting", "nominal"),
        Axis("y", "accuracy, student − twin"),
        "Paired accuracy differences between student and twin by setting, with 95 % intervals over runs.",
        kind="interval",
    )
