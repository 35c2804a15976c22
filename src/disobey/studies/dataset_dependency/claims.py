"""The rules of `dataset-dependency`. Written before any run that they are judged on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from disobey.records.results import Estimate
from disobey.studies.dataset_dependency.findings import KNOWN_NOISE, Findings
from disobey.studies.dataset_dependency.properties import GAP, SIMILARITY
from disobey.studies.dataset_dependency.theory import OneStep
from disobey.studies.kit.claims import ClaimSpec, Parts, Skip, Source
from disobey.studies.kit.verdicts import NATS, NATS_MARGIN, POINTS, AllOf, Effect, above, below, gain

PAPER = Source(
    "arXiv 2301.12923",
    "Nagarajan et al., On student-teacher deviations in distillation: does it pay to disobey?, NeurIPS 2023 (arXiv "
    "2301.12923), the open question on data sets",
)
CLOSED_FORM = Source("closed form of similar classes (docs/theory.md)")
OURS = Source("a prediction of ours; no publication")
PREDICTION_MARGIN = 0.001  # a tenth of a point of mean absolute error
PER_SD = gain(0.0025)  # a quarter of a point for a standard deviation of the property


@dataclass(frozen=True)
class Scope:
    """What claims are judged on together."""

    label: str


def effect(fit: str, name: str, words: str) -> Callable[[Findings, Scope], tuple[Estimate, ...] | Skip]:
    """A coefficient of one of the `Findings.fits`."""

    def ask(f: Findings, _: Scope) -> tuple[Estimate, ...] | Skip:
        found = f.fits[fit]
        return Skip("more settings") if found is None else (found.estimate(name, words),)

    return ask


def better(predictions: str, words: str) -> Callable[[Findings, Scope], tuple[Estimate, ...] | Skip]:
    """How much better than the mean the properties predict."""

    def ask(f: Findings, _: Scope) -> tuple[Estimate, ...] | Skip:
        found = getattr(f, predictions)
        return (f.advantage(found, words),) if len(f.advantages(found)) > 1 else Skip("more data sets")

    return ask


THEORY: tuple[ClaimSpec[OneStep, Scope], ...] = (
    ClaimSpec(
        "D0",
        "Guard: with students of one step the measured similarity recovers the closed form, a loss without similarity "
        "and a gain that rises with it.",
        CLOSED_FORM,
        AllOf((("rises with similarity", above(0.0)), ("without similarity", below(0.0)))),
        lambda step, _: Parts([[step.rise()], [step.without()]]),
    ),
)
CLAIMS: tuple[ClaimSpec[Findings, Scope], ...] = (
    ClaimSpec(
        "D1",
        "In the planted generator the gain rises with class similarity.",
        PAPER,
        PER_SD,
        effect("planted", "similarity", "gain for a standard deviation of planted similarity"),
    ),
    ClaimSpec(
        "D2",
        "In the planted generator the gain rises with label noise.",
        OURS,
        PER_SD,
        effect("planted", "label noise", "gain for a standard deviation of planted label noise"),
    ),
    ClaimSpec(
        "D3",
        "On re-sampled data the gain rises with measured class similarity.",
        PAPER,
        PER_SD,
        effect("re-sampled", SIMILARITY, "gain for a standard deviation of measured similarity"),
    ),
    ClaimSpec(
        "D4",
        "On re-sampled data the gain rises with label noise.",
        OURS,
        PER_SD,
        effect("re-sampled", KNOWN_NOISE, "gain for a standard deviation of label noise"),
    ),
    ClaimSpec(
        "D5",
        "Properties known before distilling predict the gain on a left-out data set better than the mean of the others "
        "does.",
        OURS,
        Effect(1, margin=PREDICTION_MARGIN, unit=POINTS),
        better("left_out", "error of the mean − error of the properties"),
    ),
    ClaimSpec(
        "D6",
        "Fitted to planted data alone they predict the gain on the other data sets better than the planted mean does.",
        OURS,
        Effect(1, margin=PREDICTION_MARGIN, unit=POINTS),
        better("from_planted", "error of the planted mean − error of the properties"),
    ),
    ClaimSpec(
        "D7",
        "The student underfits the examples on which its teacher is unsure the more, the larger the teacher's gap "
        "between training and validation is.",
        PAPER,
        Effect(-1, margin=NATS_MARGIN, unit=NATS),
        effect("gap", GAP, "deviation for a standard deviation of the teacher's gap"),
    ),
)
