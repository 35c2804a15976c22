"""What to do on these data: the candidate that the evidence supports, on what it rests, and what would change it.

Candidates stand from the plainest (labels alone, no teacher at all) to the most elaborate. The leader has the highest
mean accuracy on *validation* examples; test examples choose nothing. But the same trained networks bear on both, so a
lucky one would be lucky twice. Therefore the leader's paired difference from every plain candidate must lie above 0 at
a level that is shared out among all comparisons that could have been made (Bonferroni). Where it does not, the
plainest candidate that no other surely beats is recommended: it costs less, and nothing is known against it.

The chance that anything is recommended over a plain candidate that is as good is at most one minus the level, however
many candidates there are. S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from disobey.errors import refusal
from disobey.measures.inference.policy import Intervals, current, using
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Claim, Estimate, Levels, Table, Text
from disobey.studies.kit.tables import as_points
from disobey.studies.kit.verdicts import silent

MOST_SEEDS = 1000  # beyond which nobody is told to wait for more
ExampleError: TypeAlias = Callable[["Candidate", "Candidate"], float]


@dataclass(frozen=True, eq=False)
class Candidate:
    """Something that a user could do.

    Attributes:
        name: in words.
        choice: what is to be set, as (what, value): teacher, temperature, weight, schedule.
        validation: accuracies on validation examples (S,), by which the leader is chosen.
        test: accuracies on test examples (S,), of the same seeds.
        plain: whether it is a default that only evidence displaces.
        cost: training steps of the student and of teachers that exist for it alone, in those of labels alone.
        subject: whom the numbers are about, for the error that comes from examples.
    """

    name: str
    choice: Levels
    validation: NDArray
    test: NDArray
    plain: bool = False
    cost: float = 1.0
    subject: object = None


@dataclass(frozen=True)
class Open:
    """A contrast that is not decided.

    Attributes:
        name: of the candidates.
        estimate: their paired difference, at the corrected level.
        seeds: how many seeds would decide it, were the difference the true one; None where no number below
            `MOST_SEEDS` would: the test examples do not suffice, or there is nothing to be seen.
    """

    name: str
    estimate: Estimate
    seeds: int | None

    @property
    def words(self) -> str:
        """As a sentence."""
        if self.seeds is None:
            settle = f"no number of seeds up to {MOST_SEEDS:,} would settle it if it stayed as it is"
        else:
            settle = f"{self.seeds:,} seeds would settle it if it stayed as it is"
        return f"{self.name}: {points(self.estimate)}; {settle}."


@dataclass(frozen=True, eq=False)
class Recommendation:
    """What the evidence supports.

    Attributes:
        chosen: the recommended candidate.
        leader: the best one on validation examples.
        kind: the ``leader`` surely beats every plain candidate; a ``default`` beats the plainer ones; or nothing
            surely beats the ``plainest``.
        rests: the paired differences that it rests on, at the corrected level.
        undecided: what could change it.
        candidates: all that were compared, the plainest first.
        comparisons: among which the level is shared out.
    """

    chosen: Candidate
    leader: Candidate
    kind: Literal["leader", "default", "plainest"]
    rests: tuple[Estimate, ...]
    undecided: tuple[Open, ...]
    candidates: tuple[Candidate, ...]
    comparisons: int
    level: float

    @property
    def seeds(self) -> int:
        """How many it rests on."""
        return len(self.chosen.test)

    @property
    def words(self) -> str:
        """The recommendation as one sentence.

        Example:
            >>> same = np.array([0.9, 0.91, 0.92])
            >>> print(recommend([Candidate("labels alone", (), same, same, plain=True)]).words)
            Recommended on these data: labels alone; nothing else was tried.
        """
        head = f"Recommended on these data: {self.chosen.name}"
        if len(self.candidates) == 1:
            return f"{head}; nothing else was tried."
        if self.kind == "plainest":
            return f"{head}: of {len(self.candidates) - 1} other candidates none surely beats it."
        beaten = " and ".join(f"{e.name} ({points(e)})" for e in self.rests)
        more = "" if self.kind == "leader" else "; nothing more elaborate surely beats it"
        return f"{head}: it beats {beaten}{more}."


def points(estimate: Estimate) -> str:
    """An estimate that is a fraction, in points with its interval.

    >>> points(Estimate("gain", 0.0146, -0.0031, 0.0323, 0.9989, 10, "runs"))
    '+1.46 points [−0.31, 3.23]'
    """
    own = as_points(estimate)
    if not math.isfinite(own.low):
        return f"{own.value:+.2f} points, without an interval".replace("-", "−")
    return f"{own.value:+.2f} points [{own.low:.2f}, {own.high:.2f}]".replace("-", "−")


def comparisons(candidates: Sequence[Candidate]) -> int:
    """How many pairs (plain candidate, a more elaborate one) there are: any of them might be looked at."""
    return sum(len(candidates) - 1 - i for i, candidate in enumerate(candidates) if candidate.plain)


def seeds_needed(
    values: NDArray, shared_error: float, level: float, *, anytime: bool = False, most: int = MOST_SEEDS
) -> int | None:
    """Seeds after which a mean difference would be decided, if mean and spread stayed as they are.

    Args:
        values: paired differences (S,).
        shared_error: standard error that no number of seeds shrinks, as all share their test examples.
        level: of the interval.
        anytime: whether it must hold at every number of seeds.
        most: the largest number that is tried.

    Returns:
        The smallest number that is enough, at least S + 1; None where none up to ``most`` is.

    >>> seeds_needed(np.array([0.0, 0.01, 0.02]), 0.0, 0.95)
    7
    """
    mean, spread, how = abs(float(np.mean(values))), float(np.std(values, ddof=1)), Intervals(level, anytime)

    def enough(n: int) -> bool:
        variance = spread**2 / n
        whole = variance + shared_error**2
        df = (n - 1) * (whole / variance) ** 2 if variance > 0 else n - 1
        return how.factor(n, df) * math.sqrt(whole) < mean

    low, high = len(values) + 1, most
    if low > high or not enough(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


def recommend(candidates: Sequence[Candidate], example_error: ExampleError | None = None) -> Recommendation:
    """The candidate that the evidence supports.

    Args:
        candidates: the plainest first; that one is plain.
        example_error: standard error of the mean test difference of two candidates that is due to the examples, which
            all seeds share; 0 where not given.

    Returns:
        The recommendation. Intervals follow `policy.current`, at the corrected level.

    Raises:
        Refusal: ``no-plain-candidate``, where the first is missing or not plain.
    """
    if not candidates or not candidates[0].plain:
        raise refusal("no-plain-candidate", "candidates of which the first is plain", "none", "labels alone first")
    how, pairs = current(), comparisons(candidates)
    level = 1 - (1 - how.level) / max(pairs, 1)

    def shared(one: Candidate, other: Candidate) -> float:
        return 0.0 if example_error is None else example_error(one, other)

    def over(one: Candidate, other: Candidate) -> Estimate:
        with using(replace(how, level=level)):
            return mean_over_runs(one.test - other.test, other.name, example_error=shared(one, other))

    def beats(one: Candidate, plainer: Sequence[Candidate]) -> bool:
        found = [over(one, other) for other in plainer]
        return all(not silent(e) and e.low > 0 for e in found)

    leader = max(candidates, key=lambda c: float(np.mean(c.validation)))  # ties: the plainest
    plain = [c for c in candidates if c.plain]
    ladder = [leader, *reversed([c for c in plain if c is not leader])]
    chosen = next(c for c in ladder if c is plain[0] or beats(c, _plainer(plain, c, candidates)))
    plainer = _plainer(plain, chosen, candidates)
    kind = "plainest" if chosen is plain[0] else "leader" if chosen is leader else "default"
    rivals = [c for c in dict.fromkeys((leader, *plain)) if c is not chosen]
    undecided = []
    for rival in rivals:
        estimate = over(rival, chosen)
        if silent(estimate) or estimate.low <= 0 < estimate.high:
            needed = None
            if len(rival.test) > 1:
                values = rival.test - chosen.test
                needed = seeds_needed(values, shared(rival, chosen), level, anytime=how.anytime)
            undecided.append(Open(f"{rival.name} − {chosen.name}", estimate, needed))
    rests = tuple(over(chosen, other) for other in plainer)
    return Recommendation(chosen, leader, kind, rests, tuple(undecided), tuple(candidates), pairs, level)


def _plainer(plain: Sequence[Candidate], one: Candidate, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The plain candidates that stand before this one."""
    places = {id(c): i for i, c in enumerate(candidates)}
    return [c for c in plain if places[id(c)] < places[id(one)]]


def recommend_blocks(
    found: Recommendation, example_error: ExampleError | None = None, claims: Sequence[Claim] = (), where: str = ""
) -> tuple[Table, Table, Text]:
    """The recommendation as blocks of a report: what to set, all candidates, and why in words.

    Args:
        found: the recommendation.
        example_error: as `recommend` had it.
        claims: of the report, that bear on it.
        where: the setting in words, as a label noise; empty where there is one only.
    """
    label = f", {where}" if where else ""
    levels = (("setting", where),) if where else ()
    rows: list[tuple] = [("recommended", found.chosen.name), *found.chosen.choice]
    rows += [(f"− {estimate.name} (points)", as_points(estimate)) for estimate in found.rests]
    rows += [(f"claim {claim.name}: {claim.text}", claim.corrected) for claim in claims]
    rows += [(f"undecided: {one.name} (points)", as_points(one.estimate)) for one in found.undecided]
    rows += [("paired seeds", found.seeds)]
    caption = f"Intervals at the level that {max(found.comparisons, 1)} comparisons leave each ({found.level:.2%})."
    main = Table(f"Recommendation{label}", ("what", "value"), tuple(rows), caption, levels)
    return main, _candidate_table(found, example_error, label, levels), Text(f"Why{label}", _why(found))


def _candidate_table(found: Recommendation, error: ExampleError | None, label: str, levels: Levels) -> Table:
    first = found.candidates[0]

    def row(c: Candidate) -> tuple:
        with using(replace(current(), level=found.level)):
            shared = 0.0 if error is None or c is first else error(c, first)
            over = None if c is first else as_points(mean_over_runs(c.test - first.test, "", example_error=shared))
        marks = [("recommended", c is found.chosen), ("leads on validation", c is found.leader), ("plain", c.plain)]
        said = ", ".join(word for word, holds in marks if holds)
        return c.name, c.cost, 100 * float(np.mean(c.validation)), 100 * float(np.mean(c.test)), over, said

    columns = ("candidate", "cost", "validation (%)", "test (%)", f"test − {first.name} (points)", "")
    caption = (
        "The plainest first. Cost: steps of the student and of teachers that exist for it alone, in those of labels "
        f"alone. Differences at the corrected level ({found.level:.2%})."
    )
    return Table(f"Candidates{label}", columns, tuple(map(row, found.candidates)), caption, levels)


def _why(found: Recommendation) -> str:
    how = (
        f"Of {len(found.candidates)} candidates the best on validation examples was {found.leader.name}. It is "
        "recommended over a plain candidate only where its paired test difference lies above 0 at a level shared out "
        f"among the {max(found.comparisons, 1)} comparisons that could have been made (Bonferroni, {found.level:.2%}): "
        "the seeds that chose it also judge it. Otherwise the plainest one that nothing surely beats is recommended."
    )
    if not found.undecided:
        change = "Nothing compared here is undecided; other data, networks or budgets may change it."
    else:
        change = "What would change it: " + " ".join(one.words for one in found.undecided)
    return " ".join((found.words, how, f"It rests on {found.seeds} paired seeds.", change))
