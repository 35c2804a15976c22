"""What `denoising` claims about networks (D3 to D9).

Rules were fixed before the runs, except that D3 and D4 at both temperatures and D9 were set after a look at one seed of
one network; docs/experiments has their confirmation on seeds that nobody had looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Estimate
from disobey.studies.denoising.evidence import Case, GradientEvidence
from disobey.studies.denoising.gradients import BATCH, CROSS, KD, ONE_HOT, ZERO_OWN
from disobey.studies.kit.claims import ClaimSpec, Skip, Source, Verdicts, judge
from disobey.studies.kit.verdicts import Effect, gain

PAPER = Source("arXiv 2301.12923", "Nagarajan et al., NeurIPS 2023 (arXiv 2301.12923)")
COSINE_MARGIN, LOG_MARGIN, SHARE_MARGIN = 0.01, 0.05, 0.01  # smallest differences that matter
OURS = Source("derived here (docs/theory.md)")


@dataclass(frozen=True)
class AtTemperature:
    """One network and noise at one temperature."""

    case: Case
    temperature: float

    @property
    def label(self) -> str:
        """The setting in words."""
        return f"{self.case.label}, τ={self.temperature:g}"


TeacherClaim: TypeAlias = ClaimSpec[GradientEvidence, AtTemperature]
CaseClaim: TypeAlias = ClaimSpec[GradientEvidence, Case]


def judge_networks(evidence: GradientEvidence) -> Verdicts:
    """All claims about networks, at the student's start: case by case, each temperature first."""
    verdicts = judge((), evidence, ())
    for case in evidence.cases:
        verdicts += judge(TEACHER_CLAIMS, evidence, [AtTemperature(case, t) for t in evidence.temperatures])
        verdicts += judge(CASE_CLAIMS, evidence, [case])
    return verdicts


def _difference(
    first: str, second: str, name: str
) -> Callable[[GradientEvidence, AtTemperature], list[Estimate] | Skip]:
    """Alignment of one signal minus that of another, final teacher."""

    def evidence(e: GradientEvidence, at: AtTemperature) -> list[Estimate] | Skip:
        a, b = (e.at_start(at.case, signal, None, at.temperature) for signal in (first, second))
        return _mean(a - b, name)

    return evidence


def _quieter_batches(e: GradientEvidence, at: AtTemperature) -> list[Estimate] | Skip:
    kd, one_hot = (e.batches(at.case, (signal, None, at.temperature)) for signal in (KD, ONE_HOT))
    return _mean(np.log(kd / one_hot), "log SNR of minibatches, KD − one-hot")


def _zeroed(e: GradientEvidence, case: Case) -> list[Estimate] | Skip:
    gain = e.over_one_hot(case, ZERO_OWN, None, e.cold)
    return _mean(gain, f"cosine, zeroed by own early confusion − one-hot, τ={e.cold:g}")


def _memorizing(e: GradientEvidence, case: Case) -> list[Estimate] | Skip:
    early, late = (e.at_start(case, KD, age, e.cold) for age in (e.first, None))
    return _mean(early - late, f"cosine, KD of step {e.first} − KD of the end, τ={e.cold:g}")


def _restored(e: GradientEvidence, case: Case) -> list[Estimate] | Skip:
    if e.hot == e.cold:
        return Skip("needs two temperatures")
    hot, cold = (e.over_one_hot(case, KD, None, t) for t in (e.hot, e.cold))
    return _mean(hot - cold, f"cosine gain over one-hot, τ={e.hot:g} − τ={e.cold:g}, final teacher")


def _flipping(e: GradientEvidence, case: Case) -> list[Estimate] | Skip:
    shares = e.flips(case, None, e.hot)
    name = f"share of positive residuals, most confusable − other classes, τ={e.hot:g}"
    return _mean(shares[:, 0] - shares[:, 1], name)


def _mean(values: NDArray, name: str) -> list[Estimate] | Skip:
    if not np.isfinite(values).all():
        return Skip("a signal that was not measured at this temperature")
    return [mean_over_runs(values, name)]


TEACHER_CLAIMS: tuple[TeacherClaim, ...] = (
    ClaimSpec(
        "D3",
        "The teacher's gradient is better aligned with the large sample's than the one-hot gradient.",
        PAPER,
        Effect(margin=COSINE_MARGIN),
        _difference(KD, ONE_HOT, "cosine, KD − one-hot"),
    ),
    ClaimSpec(
        "D4",
        "A teacher that did not see the examples is better aligned than one that did.",
        OURS,
        Effect(margin=COSINE_MARGIN),
        _difference(CROSS, KD, "cosine, cross-fitted KD − KD"),
    ),
    ClaimSpec(
        "D9",
        f"Minibatches of {BATCH} are less noisy with the teacher than with labels.",
        PAPER,
        Effect(margin=LOG_MARGIN),
        _quieter_batches,
    ),
)
CASE_CLAIMS: tuple[CaseClaim, ...] = (
    ClaimSpec(
        "D5",
        "Zeroing label gradients on confusable classes improves the alignment without any teacher.",
        PAPER,
        Effect(margin=COSINE_MARGIN),
        _zeroed,
    ),
    ClaimSpec(
        "D6", "The teacher's alignment shrinks as it memorizes.", OURS, Effect(margin=COSINE_MARGIN), _memorizing
    ),
    ClaimSpec(
        "D7", "Temperature restores the gain of a memorizing teacher.", OURS, Effect(margin=COSINE_MARGIN), _restored
    ),
    ClaimSpec(
        "D8",
        "The teacher's residual flips sign more often on the class most confused with the example's own.",
        PAPER,
        gain(SHARE_MARGIN),
        _flipping,
    ),
)


def summary(verdicts: Verdicts) -> str:
    """How each kind of claim came out."""
    parts = {
        "D1": "theory against simulation",
        "D3": "KD over one-hot",
        "D4": "cross-fitting over KD",
        "D5": "zeroing over one-hot",
        "D8": "sign flips",
        "D9": "minibatches with KD",
    }
    return "; ".join(f"{text} ({id}): {verdicts.tally(id)}" for id, text in parts.items()) + "."
