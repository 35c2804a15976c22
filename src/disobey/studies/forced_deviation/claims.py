"""The claims and guards of `forced-deviation`, and the numbers that they rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Estimate, Levels
from disobey.studies.kit.claims import ClaimSpec, Source, Verdicts
from disobey.studies.kit.design import Arm
from disobey.studies.kit.dose import dose_response
from disobey.studies.kit.evidence import CONTROL, STANDARD, Evidence
from disobey.studies.kit.verdicts import NATS, NATS_MARGIN, POINTS, SLOPE_MARGIN, Equivalence, above, below, gain

PAPER = Source("arXiv 2301.12923", "Nagarajan et al., NeurIPS 2023 (arXiv 2301.12923)")
OURS = Source("this study")
ACCURACY, NLL, ECE, KL = "student_accuracy", "nll", "ece_debiased", "kl"
SLOPE, LOW = "ols_slope", "low_deviation"
READ = tuple(measure for measure in STANDARD if measure.name in (ACCURACY, NLL, ECE, KL, SLOPE, LOW))
SPLITS = ("train", "test")
CLOSE = 0.05  # nats of KL on training examples below which a student matches its teacher
FACTOR = 2.0  # of the forced underfit; `reshape.KEPT` caps what it takes
NLL_MARGIN, ECE_MARGIN = 0.01, 0.005
GUARDS = ("G2", "G3", "G4")  # without which no causal answer is given


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
    values = dose_response([e.per_seed(arm, measure, split=split) for arm in arms], np.log(slopes))
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
        "Guard: underfitting a random quarter of the examples, their most likely classes kept, changes nothing.",
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
        "G4",
        "Guard: students follow the forced underfit on the training examples where the teacher is least confident.",
        OURS,
        below(0.0, margin=NATS_MARGIN, unit=NATS),
        lambda e, v: [e.mean(v.arms["underfit lowest"], LOW, minus=v.arms["plain"], split="train")],
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
        "Forced underfit of what the teacher is least sure of, classes kept, beats that of a random quarter.",
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


def causal_words(verdicts: Verdicts, label: str) -> str:
    """The answer on one noise level: the words of F1 and F4, where the guards let them speak."""
    words = {claim.name: claim.verdict for claim in verdicts.claims if claim.setting == label}
    guards = [name for name in GUARDS if words[name] != "supported"]
    if guards:
        return f"{label}: open, as {_listed(guards)} did not pass (F1 {words['F1']}, F4 {words['F4']})"
    return f"{label}: exaggeration {words['F1']}, underfit of unsure examples {words['F4']}"


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
