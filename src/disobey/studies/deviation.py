"""Where, and how, does a student deviate from its teacher, and does it pay?

After Nagarajan et al. 2023 (arXiv 2301.12923), section 3. Ours: the one-hot twin beside every student, since choosing
the teacher's best class makes any independent model look less confident where the teacher is, and noise attenuates
least squares; intervals over paired seeds; verdicts by rules that were fixed before the runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from disobey.records.results import Axis, Chart, Estimate, Result, Table, Text
from disobey.studies.kit import pictures
from disobey.studies.kit.claims import ClaimSpec, Skip, Source, Verdicts, judge
from disobey.studies.kit.design import Arm, Design, Group, Records, factors
from disobey.studies.kit.evidence import CONTROL, Evidence, rank_association
from disobey.studies.kit.setup import Distillation, Setup
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.studies.kit.tables import table
from disobey.studies.kit.verdicts import ABOVE_ZERO, BELOW_ZERO, above, beyond_control
from disobey.targets.schedule import distill
from disobey.training.recipe import Run

PAPER = Source(
    "arXiv 2301.12923",
    "Nagarajan et al., On student-teacher deviations in distillation: does it pay to disobey?, NeurIPS 2023 "
    "(arXiv 2301.12923)",
)
SPLITS = ("train", "test")
ACCURACY = "student_accuracy"


def beside_control(measure: str, split: str, student: str, minus: str) -> Callable[[Evidence, Arm], Sequence[Estimate]]:
    """A measure of the student, and of student minus control, under these names."""
    return lambda e, arm: [
        e.mean(arm, measure, split=split, name=student),
        e.mean(arm, measure, split=split, minus=CONTROL, name=minus),
    ]


CLAIMS: tuple[ClaimSpec[Evidence, Arm], ...] = (
    *(
        ClaimSpec(
            f"C1 {split}",
            f"The student is less confident than its teacher where the teacher is least confident ({split}).",
            PAPER,
            beyond_control(BELOW_ZERO),
            beside_control(
                "low_deviation",
                split,
                f"mean deviation in the teacher's lowest quartile, {split} (nats)",
                f"the same, student minus twin, {split} (nats)",
            ),
        )
        for split in SPLITS
    ),
    *(
        ClaimSpec(
            f"C2 {split}",
            f"The student exaggerates its teacher's confidence: a slope above 1 in logit space ({split}).",
            PAPER,
            beyond_control(above(1.0, "slope's interval")),
            beside_control("ols_slope", split, f"least-squares slope, {split}", f"slope, student minus twin, {split}"),
        )
        for split in SPLITS
    ),
    ClaimSpec(
        "C3",
        "Distillation makes the student more accurate than its twin.",
        PAPER,
        ABOVE_ZERO,
        lambda e, arm: [e.mean(arm, ACCURACY, minus=CONTROL, name="test accuracy, student minus twin")],
    ),
)


def association(e: Evidence, settings: Group) -> Sequence[Estimate] | Skip:
    """Over settings within each seed: do the settings that deviate more gain more?"""
    if len(settings.arms) < 3:
        return Skip("needs three settings")
    slopes, gains = (
        [e.per_seed(arm, name, minus=CONTROL) for arm in settings.arms] for name in ("ols_slope", ACCURACY)
    )
    return [rank_association(slopes, gains, f"rank correlation over {len(settings.arms)} settings")]


ASSOCIATION = ClaimSpec(
    "C4",
    "Settings in which the student exaggerates more are those in which it gains more.",
    PAPER,
    ABOVE_ZERO,
    association,
)


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
                augment="crop-flip",
                steps=187_500,
                batch=64,
                lr=0.05,
                optimizer="sgd",
                decay="steps",
                weight_decay=5e-4,
            ),
            "teacher": "resnet56",
            "students": ("self", "resnet20"),
            "weight": 0.9,
        },
        "text": {"setup": Setup(data="languages")},
    }

    setup: Setup = Setup()
    teacher: str = ""
    """model of the teacher, NAME or NAME:WIDTH"""
    early: float = 0.25
    """fraction of its training after which the early-stopped teacher is taken; 0: none"""
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
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        _ = self.recipes  # refuses nonsense
        if self.temperature not in self.temperatures:
            raise ValueError(
                f"expected temperature to be one of temperatures {self.temperatures}; came {self.temperature}"
            )

    @classmethod
    def smoke(cls) -> Self:
        setup = Setup(data="digits-8x8", seeds=(0, 1), steps=30)
        return cls(setup, "mlp:16", students=("self",), temperatures=(1.0, 4.0), noise=(0.2,), is_smoke=True)

    @property
    def recipes(self) -> Distillation:
        return Distillation(self.setup, self.teacher, self.early)

    def chosen(self) -> Mapping[str, str]:
        return self.recipes.chosen()

    def design(self) -> Design:
        arms = []
        for noise in self.noise:
            for student in self.students:
                arms += [self.arm(noise, student, False, temperature) for temperature in self.temperatures]
            if self.early:
                arms.append(self.arm(noise, self.students[0], True, self.temperature))
        return Design(tuple(arms), self.setup.seeds)

    def arm(self, noise: float, student: str, early: bool, temperature: float) -> Arm:
        teacher = "early-stopped" if early else "final"
        return self.recipes.arm(
            f"{noise:.0%} noise, {student} student, {teacher} teacher, τ={temperature:g}",
            student,
            distill(temperature, weight=self.weight),
            noise,
            early=early,
            name=f"student {student} τ={temperature:g}" + (" early teacher" if early else ""),
            factors=factors(noise=noise, student=student, early=early, temperature=temperature),
        )

    def plan(self) -> list[Run]:
        return self.design().runs()

    def analyze(self, records: Records) -> Result:
        design = self.design()
        evidence = Evidence.read(design, records, splits=SPLITS)
        arms, main = design.arms, design.where(student=self.students[0], early=False, temperature=self.temperature)
        verdicts = judge(CLAIMS, evidence, main) + judge((ASSOCIATION,), evidence, [settings_of(arms)])
        seed, classes = evidence.seeds[0], self.setup.dataset.classes
        blocks = [
            *(self.logit_plot(arm, split, evidence) for arm in main for split in ("test", "train")),
            slope_chart(arms, evidence),
            gain_chart(arms, evidence),
            gain_table(arms, evidence),
            *(deviation_table(arms, evidence, split) for split in SPLITS),
            calibration_table(arms, evidence),
            kind_table(main, evidence),
            self.teacher_table(evidence),
            *(
                pictures.most_disobeyed(
                    evidence.predictions(arm, class_names=classes),
                    self.setup.dataset,
                    f"Most disobeyed test examples: {arm.label}, seed {seed}",
                )
                for arm in main
            ),
        ]
        summary = f"{verdicts.summary()} Accuracy of the student minus its twin: {gains(verdicts)}."
        methods = self.methods(evidence)
        return conclude(self, evidence.seeds, verdicts, blocks, methods=methods, cite=PAPER, summary=summary)

    def logit_plot(self, arm: Arm, split: str, evidence: Evidence) -> Chart:
        first = evidence.predictions(arm, split=split, class_names=self.setup.dataset.classes)
        title = f"Log-odds of the teacher's class, {split}: {arm.label}, seed {evidence.seeds[0]}"
        return pictures.logit_logit(first, f"logits-{split}-noise{arm['noise']:g}", title)

    def teacher_table(self, evidence: Evidence) -> Table:
        def number(key: str) -> Callable[[float], Estimate]:
            return lambda noise: evidence.summaries(self.recipes.teacher_recipe(noise), key)

        columns = (
            ("label noise", "{:.0%}".format),
            ("training labels repeated", number("fitted")),
            ("train accuracy (true labels)", number("train_accuracy")),
            ("test accuracy", number("test_accuracy")),
        )
        caption = "An interpolating teacher repeats all of its labels."
        return table("Teachers at the end of training", self.noise, columns, caption)

    def methods(self, evidence: Evidence) -> Text:
        setup, optim = self.setup, self.setup.optim
        source = next(iter(evidence.records.values())).info["data"]["source"]
        sizes = {name: len(setup.dataset.split(name)) for name in ("train", "validation", "test")}
        objective = f"{self.weight:g} of T²·KL(teacher‖student)" + (
            "" if self.weight == 1 else f" and {1 - self.weight:g} of cross-entropy on the labels"
        )
        return Text(
            "Methods",
            f"Data: {setup.data} ({source}); {sizes['train']:,} training, {sizes['validation']:,} validation and "
            f"{sizes['test']:,} test examples. Label noise is planted in the training labels only, symmetric. "
            f"Teacher {pictures.model_word(self.recipes.model())}; students {', '.join(self.students)}. Every model is trained for "
            f"{optim.steps:,} steps of {optim.batch} with {optim.name} (rate {optim.lr:g}, {optim.decay}). Students learn "
            f"from {objective}; the twin is the same student with the same initialization, batches and labels, trained on "
            f"the labels alone; neither shares its luck with the teacher. The early-stopped teacher is the checkpoint after "
            f"{self.early:.0%} of the teacher's steps. The last weights are used; nothing was chosen on the test split.\n\n"
            "x and y are the log-odds of the teacher's most likely class under teacher and student (z_c minus the "
            "log-sum-exp of the other logits, nats). Lowest quartile: the quarter of the split's examples with the smallest "
            f"x. Intervals are Student t over {len(evidence.seeds)} paired seeds (95 %); differences are paired by seed. No "
            "correction for the number of claims was made; each rule was fixed before the runs. Cite: "
            f"{PAPER.cite}.",
        )


def settings_of(arms: tuple[Arm, ...]) -> Group:
    label = f"slope minus twin's and accuracy minus twin's on test, over {len(arms)} settings within each seed"
    return Group(label, arms)


def gains(verdicts: Verdicts) -> str:
    return verdicts.gains("C3", lambda setting: setting.split(",")[0])


def gain_table(arms: Sequence[Arm], e: Evidence) -> Table:
    columns = (
        ("setting", lambda arm: arm.label),
        ("student", e.means(ACCURACY)),
        ("twin", e.means(ACCURACY, twin=True)),
        ("student − twin", e.means(ACCURACY, minus=CONTROL)),
        ("agreement with teacher", e.means("agreement")),
        ("twin's agreement", e.means("agreement", twin=True)),
        ("NLL, student − twin", e.means("nll", minus=CONTROL)),
        ("where teacher and student disagree: student right", e.means("student_right_where_they_differ")),
        ("teacher right", e.means("teacher_right_where_they_differ")),
    )
    return table("Does it pay? (test)", arms, columns,
                 "Mean over seeds with intervals over runs; paired differences.")  # fmt: skip


def deviation_table(arms: Sequence[Arm], e: Evidence, split: str) -> Table:
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
    takes = {"student": {}, "twin": {"twin": True}, "student − twin": {"minus": CONTROL}}
    rows = [(arm, model) for arm in arms for model in takes]

    def column(measure: str) -> Callable[[tuple[Arm, str]], Estimate]:
        return lambda row: e.means(measure, split=split, **takes[row[1]])(row[0])

    columns = (
        ("setting", lambda row: row[0].label),
        ("model", lambda row: row[1]),
        *((heading, column(measure)) for measure, heading in measures.items()),
    )
    caption = (
        f"{split.capitalize()} split; read the difference to the twin. A slope belongs to its temperature and budget."
    )
    return table(f"Deviation from the teacher ({split})", rows, columns, caption)


def calibration_table(arms: Sequence[Arm], e: Evidence) -> Table:
    measures = {"nll": "NLL", "brier": "Brier", "ece": "ECE (15 bins)", "ece_debiased": "ECE, debiased"}
    columns = [("setting", lambda arm: arm.label)]
    for measure, heading in measures.items():
        columns += [(f"{heading}, student", e.means(measure)), ("student − twin", e.means(measure, minus=CONTROL))]
    return table("Calibration (test)", arms, columns, "Natural log; lower is better.")


def kind_table(arms: Sequence[Arm], e: Evidence) -> Table:
    measures = {"ols_slope": "slope (OLS)", "mean_deviation": "mean y−x", "low_deviation": "lowest quartile: mean y−x"}
    kinds = ("teacher_right", "teacher_wrong", "mislabelled")
    rows = [
        (arm, split, kind)
        for arm in arms
        for split in SPLITS
        for kind in kinds
        if all(e.known(arm, f"{measure}.{kind}", split=split) for measure in measures)
    ]

    def column(measure: str, **minus: Any) -> Callable[[tuple[Arm, str, str]], Estimate]:
        return lambda row: e.mean(row[0], f"{measure}.{row[2]}", split=row[1], **minus)

    columns: list[tuple[str, Callable]] = [
        ("setting", lambda row: row[0].label),
        ("split", lambda row: row[1]),
        ("examples", lambda row: row[2].replace("_", " ")),
    ]
    for measure, heading in measures.items():
        columns += [(heading, column(measure)), ("student − twin", column(measure, minus=CONTROL))]
    return table(
        "Deviation by kind of example",
        rows,
        columns,
        "Right and wrong as the teacher's best class compares with the true label; mislabelled: training saw another label. "
        "Rows are left out where a seed has no such example.",
    )


def slope_chart(arms: Sequence[Arm], e: Evidence) -> Chart:
    rows = []
    for arm in arms:
        for split in SPLITS if not arm["early"] else ():
            facet = f"{arm['noise']:.0%} noise, {split}"
            for model, who in (("student", arm), ("twin", arm.twin())):
                slope = e.mean(who, "ols_slope", split=split)
                rows.append((arm["temperature"], f"{arm['student']} {model}", facet, slope))
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


def gain_chart(arms: Sequence[Arm], e: Evidence) -> Chart:
    rows = []
    for arm in arms:
        label = f"{arm['student']}, τ={arm['temperature']:g}" + (", early teacher" if arm["early"] else "")
        gain = e.mean(arm, ACCURACY, minus=CONTROL)
        rows.append((label, "student − twin", f"{arm['noise']:.0%} noise", gain))
    return pictures.estimates_chart(
        rows,
        "gain",
        "Does it pay? Test accuracy of the student minus its twin",
        Axis("x", "setting", "nominal"),
        Axis("y", "accuracy, student − twin"),
        "Paired accuracy differences between student and twin by setting, with 95 % intervals over runs.",
        kind="interval",
    )
