"""Is a student's deviation from its teacher the cause of its gain?

Nagarajan et al. (2023), arXiv:2301.12923, observe that students exaggerate their teacher's confidence and gain. Here
the deviation is set instead of observed: targets are reshaped so that an obedient student has a given slope, or
underfits the examples on which the teacher is least confident (control: as many random ones), and other students
match the teacher as closely as a long budget allows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from disobey.errors import refusal
from disobey.figures.estimates import estimates_chart
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Axis, Chart, Estimate, Levels, Result, Table
from disobey.studies.kit.claims import ClaimSpec, Source, Verdicts, judge
from disobey.studies.kit.design import Arm, Design, Records, factors
from disobey.studies.kit.evidence import CONTROL, STANDARD, Evidence
from disobey.studies.kit.methods import budget_words
from disobey.studies.kit.setup import Distillation, Setup
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.studies.kit.tables import in_points, table
from disobey.studies.kit.verdicts import NATS, POINTS, SLOPE_MARGIN, Equivalence, above, below, gain
from disobey.targets.schedule import Schedule, distill, match
from disobey.training.recipe import Run
from disobey.training.specs import Teaching

PAPER = Source("arXiv 2301.12923", "Nagarajan et al., NeurIPS 2023 (arXiv 2301.12923)")
OURS = Source("this study")
ACCURACY, NLL, ECE, KL, SLOPE = "student_accuracy", "nll", "ece_debiased", "kl", "ols_slope"
READ = tuple(measure for measure in STANDARD if measure.name in (ACCURACY, NLL, ECE, KL, SLOPE, "low_deviation"))
SPLITS = ("train", "test")
CLOSE = 0.05  # nats of KL on training examples below which a student matches its teacher
FACTOR = 2.0  # of the forced underfit
NLL_MARGIN, ECE_MARGIN = 0.01, 0.005


def dose_response(values: Sequence[NDArray], slopes: Sequence[float]) -> NDArray:
    """Change of a quantity from the smallest to the largest slope, by a least-squares line on log s in each seed.

    Args:
        values: one array (S,) a slope.
        slopes: the forced slopes s, at least two different ones.

    Returns:
        (S,), in the unit of the values.

    >>> dose_response([np.array([0.9]), np.array([0.8])], (1.0, 2.0)).round(3)
    array([-0.1])
    """
    x = np.log(np.asarray(slopes, dtype=np.float64))
    centred = x - x.mean()
    return (centred @ np.asarray(values)) / (centred @ centred) * (x.max() - x.min())


@dataclass(frozen=True)
class Level:
    """The students of one noise level, by name."""

    label: str
    arms: Mapping[str, Arm]
    doses: tuple[tuple[float, Arm], ...]
    levels: Levels = ()


def dose(e: Evidence, level: Level, measure: str, *, split: str = "test") -> Estimate:
    """The dose-response of a measure on the forced slope."""
    slopes, arms = zip(*level.doses, strict=True)
    values = dose_response([e.per_seed(arm, measure, split=split) for arm in arms], slopes)
    error = e.example_error(arms[-1], minus=arms[0]) if measure == ACCURACY and split == "test" else 0.0
    name = f"{measure} from s={min(slopes):g} to s={max(slopes):g}, {split}"
    return mean_over_runs(values, name, example_error=error)


def _against_plain(arm: str):
    return lambda e, level: [e.mean(level.arms[arm], ACCURACY, minus=level.arms["plain"])]


CLAIMS: tuple[ClaimSpec[Evidence, Level], ...] = (
    ClaimSpec(
        "G1",
        f"Guard: the student told to match exactly is within {CLOSE:g} nats of KL on training examples.",
        OURS,
        below(CLOSE, unit=NATS),
        lambda e, v: [e.mean(v.arms["match KL"], KL, split="train"), e.mean(v.arms["match MSE"], KL, split="train")],
    ),
    ClaimSpec(
        "G2",
        "Guard: underfitting a random quarter of the examples changes nothing.",
        OURS,
        Equivalence(0.005, unit=POINTS),
        _against_plain("underfit random"),
    ),
    ClaimSpec(
        "G3",
        "Guard: students follow the forced slope on training examples.",
        OURS,
        above(0.0, margin=SLOPE_MARGIN),
        lambda e, v: [dose(e, v, SLOPE, split="train")],
    ),
    ClaimSpec(
        "F0",
        "Distillation makes the student more accurate than its control.",
        PAPER,
        gain(),
        lambda e, v: [e.mean(v.arms["plain"], ACCURACY, minus=CONTROL)],
    ),
    ClaimSpec("F1", "Forced exaggeration raises accuracy.", PAPER, gain(), lambda e, v: [dose(e, v, ACCURACY)]),
    ClaimSpec(
        "F2",
        "Forced exaggeration lowers the NLL.",
        OURS,
        below(0.0, margin=NLL_MARGIN, unit=NATS),
        lambda e, v: [dose(e, v, NLL)],
    ),
    ClaimSpec(
        "F3",
        "Forced exaggeration lowers the calibration error.",
        OURS,
        below(0.0, margin=ECE_MARGIN, unit=POINTS),
        lambda e, v: [dose(e, v, ECE)],
    ),
    ClaimSpec(
        "F4",
        "Forced underfit where the teacher is least confident raises accuracy over a random quarter's.",
        PAPER,
        gain(),
        lambda e, v: [
            e.mean(v.arms["underfit lowest"], ACCURACY, minus=v.arms["underfit random"]),
            e.mean(v.arms["underfit lowest"], ACCURACY, minus=v.arms["plain"]),
        ],
    ),
    ClaimSpec(
        "F5",
        "Matching the teacher exactly costs accuracy.",
        PAPER,
        below(0.0, margin=0.005, unit=POINTS),
        lambda e, v: [
            e.mean(v.arms["match KL"], ACCURACY, minus=v.arms["plain"]),
            e.mean(v.arms["match MSE"], ACCURACY, minus=v.arms["plain"]),
        ],
    ),
    ClaimSpec("F6", "An ensemble of seeds teaches better than one of them.", OURS, gain(), _against_plain("ensemble")),
)


@dataclass(frozen=True)
class ForcedDeviation:
    """Trains students on reshaped targets that force a given deviation, beside students that match exactly."""

    name: ClassVar[str] = "forced-deviation"
    question: ClassVar[str] = "Is disobeying the teacher the cause of a student's gain?"
    answers: ClassVar[tuple[str, ...]] = ("F1", "F4")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"text": {"setup": Setup(data="languages")}}

    setup: Setup = Setup()
    teacher: str = ""
    """model of the teacher, NAME or NAME:WIDTH"""
    student: str = "self"
    """model of the student: self, small, large, NAME or NAME:WIDTH"""
    slopes: tuple[float, ...] = (0.7, 1.0, 1.3, 1.6)
    """forced slopes of the student's log-odds on the teacher's; 1 is plain distillation"""
    temperature: float = 4.0
    """distillation temperature"""
    label_noise: tuple[float, ...] = (0.0, 0.2)
    """fractions of training labels to corrupt"""
    long: float = 3.0
    """steps of the students that match exactly, as a multiple of the others'"""
    members: int = 3
    """teachers in the ensemble"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        if len(set(self.slopes)) < 2 or not all(0 < s < math.inf for s in self.slopes):
            raise refusal("bad-slopes", "at least two different slopes above 0", self.slopes, "--slopes 0.7 1 1.3 1.6")
        if self.long < 1 or self.members < 2:
            got = f"long={self.long}, members={self.members}"
            raise refusal("bad-match-budget", "long of at least 1 and members of at least 2", got)

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds, on digits."""
        setup = Setup(data="digits-8x8", seeds=(0, 1), steps=20)
        return cls(setup, "mlp:8", slopes=(0.7, 1.0, 1.6), label_noise=(0.2,), members=2, is_smoke=True)

    @property
    def recipes(self) -> Distillation:
        """Teacher, students and controls as recipes; the teacher keeps what `deviation`'s keeps, so runs are shared."""
        return Distillation(self.setup, self.teacher, 0.25)

    def chosen(self) -> Mapping[str, str]:
        """What open options stand for on these data."""
        return self.recipes.chosen()

    def arms(self, noise: float) -> dict[str, Arm]:
        """The students of a noise level, by name."""

        def arm(name: str, targets: Schedule, **change: Any) -> Arm:
            made = self.recipes.arm(
                f"{noise:.0%} label noise, {name}", self.student, targets, noise, factors=factors(noise=noise, arm=name)
            )
            return replace(made, recipe=replace(made.recipe, name=name, **change))

        def forced(control: str, amount: float) -> Schedule:
            return distill(self.temperature, control=control, amount=amount)

        optim = self.setup.optim
        long = replace(optim, steps=round(self.long * optim.steps))
        return {
            "plain": arm("plain", distill(self.temperature)),
            **{f"s={s:g}": arm(f"s={s:g}", forced("sloped", s)) for s in self.slopes if s != 1},
            "underfit lowest": arm("underfit lowest", forced("underfit_lowest", FACTOR)),
            "underfit random": arm("underfit random", forced("underfit_random", FACTOR)),
            "match KL": arm("match KL", distill(1.0), optim=long),
            "match MSE": arm("match MSE", match("mse"), optim=long),
            "ensemble": arm("ensemble", distill(self.temperature), teaching=Teaching(members=self.members)),
        }

    def levels(self) -> list[Level]:
        """The settings that claims are judged on, one a noise level."""
        found = []
        for noise in self.label_noise:
            arms = self.arms(noise)
            doses = tuple((s, arms["plain" if s == 1 else f"s={s:g}"]) for s in sorted(set(self.slopes)))
            label = f"{noise:.0%} label noise"
            found.append(Level(label, arms, doses, (("label noise", f"{noise:.0%}"),)))
        return found

    def design(self) -> Design:
        """Every arm, paired by seed."""
        return Design(tuple(arm for level in self.levels() for arm in level.arms.values()), self.setup.seeds)

    def plan(self) -> list[Run]:
        """The runs, seed by seed."""
        return self.design().runs()

    def verdicts(self, records: Records) -> Verdicts:
        """The claims alone."""
        return self.judged(Evidence.read(self.design(), records, READ, SPLITS))

    def judged(self, e: Evidence) -> Verdicts:
        """Every claim at every noise level."""
        return judge(CLAIMS, e, self.levels())

    def analyze(self, records: Records) -> Result:
        """Claims, dose-response and table of the complete seeds."""
        e, levels = Evidence.read(self.design(), records, READ, SPLITS), self.levels()
        verdicts = self.judged(e)
        measures = ((ACCURACY, "test accuracy"), (NLL, "NLL (nats)"), (ECE, "ECE, debiased"))
        blocks = [*(dose_chart(levels, e, *which) for which in measures), arm_table(levels, e)]
        causal = "; ".join(causal_words(verdicts, level.label) for level in levels)
        summary = f"{verdicts.summary()} Is the deviation a cause of accuracy? {causal}."
        return conclude(
            self, e.seeds, verdicts, blocks, records=records, methods=self.methods(), cite=PAPER, summary=summary
        )

    def methods(self) -> str:
        """What was trained and how, in sentences."""
        return (
            f"Data: {self.setup.data}. Students ({self.student}) minimize T²·KL at τ={self.temperature:g} for "
            f"{budget_words(self.setup.optim)}. Forced slope s: the log-odds of the teacher's most likely class are "
            "multiplied by s at temperature 1, before softening; the other classes keep their proportions. Forced "
            f"underfit: in the lowest quarter the distance to the median is multiplied by {FACTOR:g}; the control "
            "deals the same changes to a random quarter. Exact matches train on KL at τ=1 and on squared differences "
            f"of logits for {self.long:g} times the steps, so they differ from plain distillation in budget, too. The "
            f"ensemble averages {self.members} teachers; measures compare with the first. A dose-response is the "
            "change over the range of s along a least-squares line on log s in each seed. All else is equal and paired."
        )


def causal_words(verdicts: Verdicts, label: str) -> str:
    """The answer on one noise level: the words of F1 and F4, where the guards let them speak."""
    words = {claim.name: claim.verdict for claim in verdicts.claims if claim.setting == label}
    guards = [name for name in ("G2", "G3") if words[name] != "supported"]
    if guards:
        return f"{label}: open, as {' and '.join(guards)} did not pass (F1 {words['F1']}, F4 {words['F4']})"
    return f"{label}: exaggeration {words['F1']}, underfit of unsure examples {words['F4']}"


def dose_chart(levels: Sequence[Level], e: Evidence, measure: str, words: str) -> Chart:
    """A measure against the forced slope, with intervals, a line for each noise level."""
    rows = [(s, level.label, "", e.mean(arm, measure)) for level in levels for s, arm in level.doses]
    alt = f"{words} against the forced slope by label noise; bands are 95% intervals over runs."
    axes = Axis("x", "forced slope s"), Axis("y", words)
    return estimates_chart(rows, f"dose-{measure}", f"Dose-response: {words}", *axes, alt, kind="line", color="labels")


def arm_table(levels: Sequence[Level], e: Evidence) -> Table:
    """Every student with its differences from plain distillation."""
    plain = {arm: level.arms["plain"] for level in levels for arm in level.arms.values()}

    def over_plain(arm: Arm) -> Estimate:
        return e.mean(arm, ACCURACY, minus=plain[arm])

    columns = (
        ("label noise", lambda arm: f"{arm['noise']:.0%}"),
        ("student", lambda arm: arm["arm"]),
        ("accuracy", e.means(ACCURACY)),
        ("− control (points)", in_points(e.means(ACCURACY, minus=CONTROL))),
        ("− plain (points)", in_points(over_plain)),
        ("NLL", e.means(NLL)),
        ("ECE, debiased", e.means(ECE)),
        ("KL to teacher, train", e.means(KL, split="train")),
        ("slope, train", e.means(SLOPE, split="train")),
        ("slope, test", e.means(SLOPE)),
    )
    caption = "Means over seeds with intervals over runs (accuracies: and examples); differences are paired."
    return table("Every student (test unless said otherwise)", plain, columns, caption)
