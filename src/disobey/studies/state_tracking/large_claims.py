"""What `state-tracking` claims about large groups (F1, F2 from the paper, G1 to G6 ours); fixed before the runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.resampling import wilson_interval
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Estimate
from disobey.studies.kit.claims import ClaimSpec, Skip
from disobey.studies.kit.evidence import rank_association
from disobey.studies.kit.sequences import SequenceClaim, SequenceEvidence, Setting, compared, swept
from disobey.studies.kit.verdicts import ABOVE_ZERO, Rule, above, below
from disobey.studies.state_tracking.claims import EXACT, OURS, PAPER
from disobey.studies.state_tracking.large import (
    CONSISTENT,
    DELTA,
    LSTM,
    LSTM_TIED,
    PROJECTIONS,
    TRAINED_SWEEPS,
    TWO_DIAGONALS,
)
from disobey.training.recipe import Recipe

LEARNED, FAILED = 0.95, 0.2  # accuracies that count as having learned a group, and as not having
HALF = 0.5

Answers = Callable[[SequenceEvidence, Setting], Sequence[Estimate]]


def positions(e: SequenceEvidence, recipe: Recipe, budget: int | None = None) -> NDArray:
    """Share of right answers at every position of the longest words, (S, T)."""
    spec = recipe.sequence
    assert spec is not None
    return e.history(recipe, "eval_positions")[:, 0 if budget is None else 1 + spec.budgets.index(budget)]


def horizon(e: SequenceEvidence, recipe: Recipe) -> NDArray:
    """Leading positions at which at least half of the answers are right, (S,).

    It is cut at the longest evaluated word, which understates the better arm.
    """
    right = positions(e, recipe) >= HALF
    return np.where(right.all(axis=1), right.shape[1], right.argmin(axis=1)).astype(float)


def success(e: SequenceEvidence, recipe: Recipe, length: int) -> Estimate:
    """Share of seeds with an accuracy of at least `LEARNED` at a length, with Wilson's interval over seeds."""
    hits, n = int((e.last(recipe, length) >= LEARNED).sum()), len(e.seeds)
    name = f"share of seeds with at least {LEARNED} at {length}"
    return Estimate(name, hits / n, *wilson_interval(hits / n, n, 0.95), 0.95, n, "runs")


def _claim(id: str, text: str, rule: Rule, answers: Answers, *needs: str, ours: bool = False) -> SequenceClaim:
    """A claim that is not judged where one of the arms that it needs was not trained."""

    def evidence(e: SequenceEvidence, s: Setting) -> Sequence[Estimate] | Skip:
        if not set(needs) <= set(s.arms):
            return Skip(f"--variations {s.label}")
        return answers(e, s)

    return ClaimSpec(id, text, OURS if ours else PAPER, rule, evidence)


def _near(arm: str) -> Answers:
    return lambda e, s: [mean_over_runs(e.last(s.arms[arm], s.near), f"last answer at {s.near}, {arm}")]


def _difference(first: str, second: str) -> Answers:
    def answers(e: SequenceEvidence, s: Setting) -> list[Estimate]:
        a, b = (e.last(s.arms[arm], s.near) for arm in (first, second))
        return compared(a, b, f"last answer at {s.near}, {first} − {second}")

    return answers


def _rising(e: SequenceEvidence, s: Setting) -> list[Estimate]:
    ladder = [*((k, s.arms[swept(k)]) for k in TRAINED_SWEEPS), (10**6, s.arms[EXACT])]
    sweeps = [np.full(len(e.seeds), k, dtype=float) for k, _ in ladder]
    curve = [e.last(recipe, s.near) for _, recipe in ladder]
    return [rank_association(sweeps, curve, f"rank correlation of sweeps in training and accuracy at {s.near}")]


def _horizons(e: SequenceEvidence, s: Setting) -> list[Estimate]:
    ours, theirs = (horizon(e, s.arms[arm]) for arm in (EXACT, DELTA))
    return compared(ours, theirs, "horizon in tokens, reflections − DeltaProduct")


def _success(e: SequenceEvidence, s: Setting) -> list[Estimate]:
    return [success(e, s.arms[EXACT], s.near)]


def _constant(e: SequenceEvidence, s: Setting) -> list[Estimate]:
    exact = s.arms[EXACT]
    random = positions(e, exact)[:, s.near : s.far].mean(axis=1)
    return compared(random, e.late_powers(exact), f"right for {s.near} < k <= {s.far}, random − constant words")


def _mended(e: SequenceEvidence, s: Setting) -> list[Estimate]:
    tied, plain = (e.late_powers(s.arms[arm]) for arm in (CONSISTENT, EXACT))
    return compared(tied, plain, f"g^k right for {s.near} < k <= {s.far}, consistent states − labels alone")


def _carried(e: SequenceEvidence, s: Setting) -> list[Estimate]:
    last = positions(e, s.arms[EXACT]).shape[1]
    tied, plain = (positions(e, s.arms[arm])[:, -1] for arm in (CONSISTENT, EXACT))
    return compared(tied, plain, f"last answer at {last}, consistent states − labels alone")


LARGE_CLAIMS: tuple[SequenceClaim, ...] = (
    _claim(
        "F1a", f"The exact solver learns the group: {LEARNED} at the training length.", above(LEARNED), _near(EXACT)
    ),
    _claim("F1b", "More sweeps in training, better tracking.", ABOVE_ZERO, _rising, *map(swept, TRAINED_SWEEPS)),
    _claim("F1c", f"Two sweeps do not learn it (below {FAILED}).", below(FAILED), _near(swept(2)), swept(2)),
    _claim("F1d", f"Two diagonal layers do not (below {FAILED}).", below(FAILED), _near(TWO_DIAGONALS)),
    _claim("F1e", "The LSTM learns it too, with a budget of its own (above 0.9).", above(0.9), _near(LSTM), LSTM),
    _claim(
        "F2a", "Reflections carry further than DeltaProduct of equal size.", ABOVE_ZERO, _horizons, DELTA, ours=True
    ),
    _claim("F2b", "Most seeds learn it (more than half).", above(HALF), _success, ours=True),
    _claim("G1", "Reflections, not projections.", ABOVE_ZERO, _difference(EXACT, PROJECTIONS), PROJECTIONS, ours=True),
    _claim("G2", "Trained on labels alone, constant words fail before random ones.", ABOVE_ZERO, _constant, ours=True),
    _claim("G3", "Consistent states mend constant words.", ABOVE_ZERO, _mended, ours=True),
    _claim("G4", "Consistent states carry random words further.", ABOVE_ZERO, _carried, ours=True),
    _claim(
        "G5",
        "Consistency does not replace the layer: an LSTM with it does not reach the reflections.",
        ABOVE_ZERO,
        _difference(CONSISTENT, LSTM_TIED),
        LSTM_TIED,
        ours=True,
    ),
)
