"""The rules of `top-k`, one set for every k and temperature. Written before any run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.runs import example_error, mean_over_runs
from disobey.records.results import Estimate
from disobey.studies.kit.claims import ClaimSpec, Source
from disobey.studies.kit.design import Arm
from disobey.studies.kit.evidence import Evidence
from disobey.studies.kit.verdicts import NATS, POINTS, Effect, Equivalence
from disobey.training.recipe import Run

PAPER = Source(
    "arXiv 2503.16870",
    "Anshumann et al., Sparse logit sampling: accelerating knowledge distillation in LLMs, ACL 2025 (arXiv 2503.16870)",
)
OURS = Source("a prediction of ours; no publication")
NLL, KL, RIGHT, OVERCONFIDENCE = "nll", "kl", "right", "overconfidence"
MARGIN = 0.02  # nats a token: 2% of perplexity
CALIBRATION_MARGIN = 0.01  # a point of mean confidence minus accuracy

COSTS = Effect(1, margin=MARGIN, unit=NATS)
SAVES = Effect(-1, margin=MARGIN, unit=NATS)
AS_GOOD = Equivalence(MARGIN, unit=NATS)


@dataclass(frozen=True)
class Cut:
    """The arms of one temperature and one k, by what was kept of the teacher."""

    label: str
    full: Arm
    renormalized: Arm
    bucket: Arm
    draws: Arm
    levels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Whole:
    """The whole teacher of one temperature."""

    label: str
    full: Arm
    levels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Mixed:
    """Half labels, half a top-k teacher, and the whole teacher of its temperature."""

    label: str
    mixed: Arm
    full: Arm


def difference(e: Evidence, arm: Arm, other: Arm, measure: str, name: str = "") -> Estimate:
    """One arm minus another, paired by seed; over runs and over the windows of the test text, which all seeds share."""
    error = example_error(_windows(e, arm, measure) - _windows(e, other, measure)) if len(e.seeds) > 1 else 0.0
    words = name or f"{measure}, {arm.label} − {other.label}"
    return mean_over_runs(e.per_seed(arm, measure, minus=other), words, example_error=error)


def level_of(e: Evidence, arm: Arm, measure: str) -> Estimate:
    """One arm's mean, over runs and windows."""
    error = example_error(_windows(e, arm, measure)) if len(e.seeds) > 1 else 0.0
    return mean_over_runs(e.per_seed(arm, measure), measure, example_error=error)


def _windows(e: Evidence, arm: Arm, measure: str) -> NDArray:
    """Means by seed and window, (S, W)."""
    return np.stack([e.records[Run(arm.recipe, seed)].history[measure] for seed in e.seeds])


def kept_minus(kept: str, other: str, measure: str, name: str) -> Callable[[Evidence, Cut], tuple[Estimate, ...]]:
    """Two arms of a cut, by their roles."""

    def ask(e: Evidence, cut: Cut) -> tuple[Estimate, ...]:
        first: Arm = getattr(cut, kept)
        second: Arm = first.control_arm() if other == "labels" else getattr(cut, other)
        return (difference(e, first, second, measure, name),)

    return ask


TEACHER_CLAIMS: tuple[ClaimSpec[Evidence, Whole], ...] = (
    ClaimSpec(
        "K0",
        "The whole teacher teaches more than labels alone (positive control).",
        OURS,
        SAVES,
        lambda e, w: [difference(e, w.full, w.full.control_arm(), NLL, "NLL, whole teacher − labels")],
    ),
)
CUT_CLAIMS: tuple[ClaimSpec[Evidence, Cut], ...] = (
    ClaimSpec(
        "K1",
        "Renormalized top-k costs likelihood: its student's NLL is above that of the whole teacher's.",
        PAPER,
        COSTS,
        kept_minus("renormalized", "full", NLL, "NLL, renormalized − whole"),
    ),
    ClaimSpec(
        "K2",
        "Its student is more overconfident.",
        PAPER,
        Effect(1, margin=CALIBRATION_MARGIN, unit=POINTS),
        kept_minus("renormalized", "full", OVERCONFIDENCE, "confidence − accuracy, renormalized − whole"),
    ),
    ClaimSpec(
        "K3",
        "With the tail as one more class the student is as good as the whole teacher's.",
        OURS,
        AS_GOOD,
        kept_minus("bucket", "full", NLL, "NLL, top-k and bucket − whole"),
    ),
    ClaimSpec(
        "K4",
        "With 2k draws, which take the bytes of k logits, the student is as good as the whole teacher's.",
        PAPER,
        AS_GOOD,
        kept_minus("draws", "full", NLL, "NLL, draws − whole"),
    ),
    ClaimSpec(
        "K5",
        "At equal bytes draws teach more than renormalized top-k.",
        PAPER,
        SAVES,
        kept_minus("draws", "renormalized", NLL, "NLL, draws − renormalized"),
    ),
    ClaimSpec(
        "K6",
        "At equal bytes (the bucket has four more) draws teach more than top-k with a bucket.",
        OURS,
        SAVES,
        kept_minus("draws", "bucket", NLL, "NLL, draws − bucket"),
    ),
    ClaimSpec(
        "K7",
        "A renormalized top-k teacher still teaches more than labels alone.",
        OURS,
        SAVES,
        kept_minus("renormalized", "labels", NLL, "NLL, renormalized − labels"),
    ),
)
MIXED_CLAIMS: tuple[ClaimSpec[Evidence, Mixed], ...] = (
    ClaimSpec(
        "K8",
        "With half of the loss on labels, top-k with a bucket is as good as the whole teacher.",
        OURS,
        AS_GOOD,
        lambda e, m: [difference(e, m.mixed, m.full, NLL, "NLL, half labels and half bucket − whole")],
    ),
)
