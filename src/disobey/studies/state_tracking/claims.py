"""What `state-tracking` claims about a group (T1 to T10); all rules were fixed before the runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from disobey.records.results import Estimate
from disobey.studies.kit.claims import ClaimSpec, Source
from disobey.studies.kit.evidence import rank_association
from disobey.studies.kit.sequences import (
    MARGIN,
    SequenceClaim,
    SequenceEvidence,
    Setting,
    better,
    compared,
    swept,
    words_of,
)
from disobey.studies.kit.verdicts import Effect, gain
from disobey.training.recipe import Recipe

PAPER = Source("arXiv 2503.10799", "Movahedi et al., Fixed-Point RNNs, NeurIPS 2025 (arXiv 2503.10799)")
OURS = Source("a prediction of ours, stated before the runs")
EXACT = swept(0)
SOLVED = 0.9  # a task counts as solved above this accuracy


def by_sweeps(s: Setting) -> Mapping[int, Recipe]:
    """The arms that differ in their sweeps in training alone, in rising order; 0, the exact solver, last."""
    return {r.sequence.sweeps: r for name, r in s.arms.items() if r.sequence and name == swept(r.sequence.sweeps)}


def _more_sweeps(e: SequenceEvidence, s: Setting) -> list[Estimate]:
    """Rank correlation of sweeps in training and accuracy, within each seed; the exact solver counts as most sweeps."""
    trained = by_sweeps(s)
    sweeps = [np.full(len(e.seeds), n or 10**6, dtype=float) for n in trained]
    curve = [e.last(recipe, s.near) for recipe in trained.values()]
    return [rank_association(sweeps, curve, f"rank correlation of sweeps and accuracy at {s.near}")]


def _fewer_at_test(e: SequenceEvidence, s: Setting) -> list[Estimate]:
    dense = s.arms[EXACT]
    name = f"last answer at {s.near}, exact − 4 sweeps at test"
    return compared(e.last(dense, s.near), e.last(dense, s.near, 4), name, words=words_of(dense))


def _lstm_solves(e: SequenceEvidence, s: Setting) -> list[Estimate]:
    right = e.last(s.arms["LSTM"], s.near)
    name = f"LSTM's last answer at {s.near} − {SOLVED}"
    return compared(right, np.full(len(right), SOLVED), name, words=words_of(s.arms["LSTM"]))


def _random_minus_constant(e: SequenceEvidence, s: Setting) -> list[Estimate]:
    dense = s.arms[EXACT]
    return compared(e.last(dense, s.far), e.late_powers(dense), f"exact, random at {s.far} − g^k")


def _constant_words(e: SequenceEvidence, s: Setting) -> list[Estimate]:
    scaled, certified = (e.late_powers(s.arms[arm]) for arm in ("scale 2", EXACT))
    return compared(scaled, certified, "g^k beyond training, scale 2 − 1")


NEAR: Literal["near"] = "near"
CLAIMS: tuple[SequenceClaim, ...] = (
    better(
        "T1",
        "The fixed point tracks the state better than one sweep, a diagonal recurrence.",
        EXACT,
        swept(1),
        NEAR,
        PAPER,
    ),
    ClaimSpec("T2", "From diagonal to dense: more sweeps in training, better tracking.", PAPER, Effect(), _more_sweeps),
    ClaimSpec(
        "T3", "Accuracy drops with fewer sweeps at test than tokens in training.", PAPER, gain(MARGIN), _fewer_at_test
    ),
    ClaimSpec(
        "T4", f"The LSTM solves the task at the training lengths (above {SOLVED}).", PAPER, gain(MARGIN), _lstm_solves
    ),
)
SIGNS_SUFFICE = better(
    "T5",
    "Negative eigenvalues let a diagonal layer learn parity, which positive ones do not.",
    "diagonal (-1, 1)",
    "diagonal (0, 1)",
    NEAR,
    PAPER,
    names="(-1, 1) − (0, 1)",
)
SIGNS_DO_NOT = better(
    "T5",
    "No diagonal layer, not even with negative eigenvalues, tracks this group as the fixed point does.",
    EXACT,
    "diagonal (-1, 1)",
    NEAR,
    PAPER,
)
CONSTANT: SequenceClaim = ClaimSpec(
    "T6",
    "A certified layer is worse on long constant words than on random words that are longer still.",
    OURS,
    gain(MARGIN),
    _random_minus_constant,
)
DETAIL_CLAIMS: tuple[SequenceClaim, ...] = (
    better("T7", "A higher rank tracks better beyond the training lengths.", "rank 4", "rank 1", "far", PAPER),
    better(
        "T8",
        "The mixer must read the state.",
        EXACT,
        "mixer does not read the state",
        NEAR,
        PAPER,
        names="reading − not reading",
    ),
    better(
        "T9",
        "Exact gradients train better than one step's.",
        EXACT,
        "one-step gradient",
        "far",
        OURS,
        names="exact − one step",
    ),
    ClaimSpec(
        "T10",
        "Reflections (scale 2) keep constant words longer than projections (scale 1).",
        OURS,
        gain(MARGIN),
        _constant_words,
    ),
)
