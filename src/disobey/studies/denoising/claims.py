"""The claims of `denoising` about networks (D3 to D9) and the sentence above them.

Rules were fixed before the runs, except that D3 and D4 at both temperatures and D9 were set after a look at one seed of
one network; docs/LOG.md has their confirmation on seeds that nobody had looked at.
"""

from __future__ import annotations

import numpy as np

from disobey.measures.inference.intervals import mean_over_runs
from disobey.records.results import Claim
from disobey.studies.denoising.evidence import Case, Looks
from disobey.studies.denoising.gradients import BATCH, CROSS, KD, ONE_HOT, ZERO_OWN
from disobey.studies.kit import verdicts as rules

SOURCE = "arXiv 2301.12923"
OURS = "derived here (docs/theory.md)"


def network_claims(case: Case, looks: Looks) -> list[Claim]:
    """All claims about one network and noise, at the student's start."""
    cold, hot, first = looks.cold, looks.hot, looks.first
    claims = [claim for t in looks.temperatures for claim in _teacher_claims(case, t, looks)]
    age = looks.at_start(case, KD, first, cold) - looks.at_start(case, KD, None, cold)
    stated = [
        (
            "D5",
            "Zeroing label gradients on confusable classes improves the alignment without any teacher.",
            looks.over_one_hot(case, ZERO_OWN, None, cold),
            f"cosine, zeroed by own early confusion − one-hot, τ={cold:g}",
            SOURCE,
        ),
        (
            "D6",
            "The teacher's alignment shrinks as it memorizes.",
            age,
            f"cosine, KD of step {first} − KD of the end, τ={cold:g}",
            OURS,
        ),
    ]
    if hot != cold:
        gains = [looks.over_one_hot(case, KD, None, t) for t in (hot, cold)]
        words = f"cosine gain over one-hot, τ={hot:g} − τ={cold:g}, final teacher"
        stated.append(
            ("D7", "Temperature restores the gain of a memorizing teacher.", gains[0] - gains[1], words, OURS)
        )
    flips = looks.flips(case, None, hot)
    stated.append(
        (
            "D8",
            "The teacher's residual flips sign more often on the class most confused with the example's own.",
            flips[:, 0] - flips[:, 1],
            f"share of positive residuals, most confusable − other classes, τ={hot:g}",
            SOURCE,
        )
    )
    return claims + [
        rules.above_zero(name, text, mean_over_runs(values, words), source, case.text)
        for name, text, values, words, source in stated
    ]


def _teacher_claims(case: Case, t: float, looks: Looks) -> list[Claim]:
    """D3, D4 and D9 at one temperature: whole sample, cross-fitting, minibatches."""
    one_hot, kd, cross = (looks.at_start(case, name, None, t) for name in (ONE_HOT, KD, CROSS))
    kd_batches, label_batches = (looks.batches(case, (name, None, t)) for name in (KD, ONE_HOT))
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
            np.log(kd_batches / label_batches),
            "log SNR of minibatches, KD − one-hot",
            SOURCE,
        ),
    ]
    return [
        rules.above_zero(name, text, mean_over_runs(values, words), source, f"{case.text}, τ={t:g}")
        for name, text, values, words, source in stated
        if np.isfinite(values).all()
    ]


def summary(claims: list[Claim]) -> str:
    parts = {"D1": "theory against simulation", "D3": "KD over one-hot", "D4": "cross-fitting over KD",
             "D5": "zeroing over one-hot", "D8": "sign flips", "D9": "minibatches with KD"}  # fmt: skip
    return "; ".join(f"{text} ({name}): {rules.tally(claims, name)}" for name, text in parts.items()) + "."
