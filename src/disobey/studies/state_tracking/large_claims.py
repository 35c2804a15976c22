"""What `state-tracking` claims about large groups (F1, F2 from the paper, G1 to G6 ours); fixed before the runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.policy import current
from disobey.measures.inference.resampling import wilson_interval
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Estimate
from disobey.studies.kit.claims import Answer, ClaimSpec, Parts, Skip
from disobey.studies.kit.sequences import (
    MARGIN,
    SequenceClaim,
    SequenceEvidence,
    Setting,
    compared,
    swept,
    words_of,
)
from disobey.studies.kit.verdicts import POINTS, AllOf, Effect, Rule, above, below, gain
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
LOSS = 0.05  # of accuracy from one number of sweeps to the next that would count as a fall
HALF = 0.5

Answers: TypeAlias = Callable[[SequenceEvidence, Setting], Sequence[Estimate] | Parts]


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
    hits, n, level = int((e.last(recipe, length) >= LEARNED).sum()), len(e.seeds), current().level
    name = f"share of seeds with at least {LEARNED} at {length}"
    return Estimate(name, hits / n, *wilson_interval(hits / n, n, level), level, n, "runs")


def _claim(id: str, text: str, rule: Rule, answers: Answers, *needs: str, ours: bool = False) -> SequenceClaim:
    """A claim that is not judged where one of the arms that it needs was not trained."""

    def evidence(e: SequenceEvidence, s: Setting) -> Answer:
        if not set(needs) <= set(s.arms):
            return Skip(f"--variations {s.label}")
        return answers(e, s)

    return ClaimSpec(id, text, OURS if ours else PAPER, rule, evidence)


def _near(arm: str) -> Answers:
    """An arm's accuracy at the training length, to be held against a border."""

    def answers(e: SequenceEvidence, s: Setting) -> list[Estimate]:
        right = e.last(s.arms[arm], s.near)
        return compared(right, np.zeros(len(right)), f"last answer at {s.near}, {arm}", words=words_of(s.arms[arm]))

    return answers


def _difference(first: str, second: str) -> Callable[[SequenceEvidence, Setting], list[Estimate]]:
    def answers(e: SequenceEvidence, s: Setting) -> list[Estimate]:
        a, b = (e.last(s.arms[arm], s.near) for arm in (first, second))
        return compared(a, b, f"last answer at {s.near}, {first} − {second}", words=words_of(s.arms[first]))

    return answers


LADDER = (*map(swept, TRAINED_SWEEPS), EXACT)


def _rising(e: SequenceEvidence, s: Setting) -> Parts:
    """What each number of sweeps in training adds to the one before, a part each."""
    return Parts([_difference(more, fewer)(e, s) for fewer, more in pairwise(LADDER)])


def _horizons(e: SequenceEvidence, s: Setting) -> list[Estimate]:
    ours, theirs = (horizon(e, s.arms[arm]) for arm in (EXACT, DELTA))
    half = 0.5 / np.sqrt(len(ours))  # horizons are whole tokens
    return [mean_over_runs(ours - theirs, "horizon in tokens, reflections − DeltaProduct", example_error=float(half))]


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


LEARNS, FAILS = above(LEARNED, unit=POINTS), below(FAILED, unit=POINTS)
NO_LOSS = AllOf(tuple((f"{more} − {fewer}", above(-LOSS, unit=POINTS)) for fewer, more in pairwise(LADDER)))
LARGE_CLAIMS: tuple[SequenceClaim, ...] = (
    _claim("F1a", f"The exact solver learns the group: {LEARNED} at the training length.", LEARNS, _near(EXACT)),
    _claim("F1b", f"Accuracy does not fall with sweeps in training (by {LOSS}).", NO_LOSS, _rising, *LADDER),
    _claim("F1c", f"Two sweeps do not learn it (below {FAILED}).", FAILS, _near(swept(2)), swept(2)),
    _claim("F1d", f"Two diagonal layers do not (below {FAILED}).", FAILS, _near(TWO_DIAGONALS)),
    _claim(
        "F1e",
        "The LSTM learns it too, with a budget of its own (above 0.9).",
        above(0.9, unit=POINTS),
        _near(LSTM),
        LSTM,
    ),
    _claim("F2a", "Reflections carry further than DeltaProduct of equal size.", Effect(), _horizons, DELTA, ours=True),
    _claim("F2b", "Most seeds learn it (more than half).", above(HALF), _success, ours=True),
    _claim(
        "G1", "Reflections, not projections.", gain(MARGIN), _difference(EXACT, PROJECTIONS), PROJECTIONS, ours=True
    ),
    _claim(
        "G2", "Trained on labels alone, constant words fail before random ones.", gain(MARGIN), _constant, ours=True
    ),
    _claim("G3", "Consistent states mend constant words.", gain(MARGIN), _mended, ours=True),
    _claim("G4", "Consistent states carry random words further.", gain(MARGIN), _carried, ours=True),
    _claim(
        "G5",
        "Consistency does not replace the layer: an LSTM with it does not reach the reflections.",
        gain(MARGIN),
        _difference(CONSISTENT, LSTM_TIED),
        LSTM_TIED,
        ours=True,
    ),
)
