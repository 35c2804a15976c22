"""Paired seeds added in blocks until every claim is settled, or the seeds or the budget end.

Looking after every block costs no error: all intervals are made anytime-valid (`measures.inference.sequential`), so
that they hold at every number of seeds at once. Seeds go on from the study's own, with the same recipes: the runs are
those of a study with a fixed number of seeds, and what was trained before a kill is there when the command is repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from disobey.errors import refusal
from disobey.figures.paths import path_charts, path_table
from disobey.measures.inference.policy import Intervals, using
from disobey.records.results import Block, Claim, Result, Text
from disobey.records.runs import RunRecord
from disobey.studies.kit.options import changed, settings_of
from disobey.studies.kit.study import Study
from disobey.training.execution.engine import Outcome
from disobey.training.recipe import Run

Train: TypeAlias = Callable[[Study], Outcome]  # everything that a study plans, reusing what there is
Ending: TypeAlias = Literal["settled", "max-seeds", "budget", "failed"]
ANYTIME = Intervals(anytime=True)


@dataclass(frozen=True)
class Stopping:
    """When to stop adding seeds.

    Attributes:
        max_seeds: no more seeds than these.
        block: seeds that are added between two looks.
        budget: CPU-seconds of training that may be spent now; what is reused costs nothing.
    """

    max_seeds: int = 40
    block: int = 5
    budget: float = math.inf

    def __post_init__(self):
        if self.block < 1:
            raise refusal("bad-block", "at least one seed a block", self.block, "--block 5")
        if not self.budget > 0:
            raise refusal("bad-budget", "a budget above 0 CPU-minutes", self.budget / 60, "--budget 60")


@dataclass(frozen=True)
class Look:
    """The claims as they stood after a block, over so many seeds, whose runs took so much CPU time together."""

    seeds: int
    claims: tuple[Claim, ...]
    cpu_seconds: float

    def open(self) -> tuple[Claim, ...]:
        """The claims that are not settled yet."""
        return tuple(claim for claim in self.claims if claim.verdict == "undecided")


@dataclass(frozen=True)
class Settled:
    """Where it ended.

    Attributes:
        study: with all of the seeds that were asked for.
        outcome: of its runs.
        looks: one after each block.
        ended: why no more seeds were added.
    """

    study: Study
    outcome: Outcome
    looks: tuple[Look, ...]
    ended: Ending


def settle(
    study: Study,
    train: Train,
    stopping: Stopping,
    say: Callable[[str], None],
    *,
    intervals: Intervals = ANYTIME,
) -> Settled:
    """Trains the study's own seeds, then blocks of further ones, until no claim is open.

    Args:
        study: with the seeds to begin with.
        train: called with the study and more and more seeds.
        stopping: when to stop.
        say: told after each look which claims are open and what the next block costs.
        intervals: how they are made; with any that are not anytime-valid looking costs error (benchmarks/settled.py).

    Raises:
        Refusal: ``bad-max-seeds``, where the study has more seeds than the limit.
    """
    if stopping.max_seeds < len(seeds_of(study)):
        expected = f"--max-seeds of at least {len(seeds_of(study))}, the number of seeds to begin with"
        raise refusal("bad-max-seeds", expected, stopping.max_seeds)
    looks: list[Look] = []
    spent = 0.0
    while True:
        outcome = train(study)
        if outcome.failed:  # the seeds that are left would select themselves
            return Settled(study, outcome, tuple(looks), "failed")
        spent += cost([record for run, record in outcome.records.items() if run not in outcome.reused])
        with using(intervals):
            looks.append(Look(len(seeds_of(study)), study.verdicts(outcome.records).claims, cost_of(outcome)))
        further = next_seeds(seeds_of(study), stopping)
        price = _price(outcome.records, len(looks), seeds_of(study), len(further), stopping.block)
        ended = _ended(looks[-1], further, spent + price, stopping)
        say(progress(looks[-1], len(further), price, ended))
        if ended:
            return Settled(study, outcome, tuple(looks), ended)
        study = changed(study, {"seeds": (*seeds_of(study), *further)})


def _ended(look: Look, further: Sequence[int], total: float, stopping: Stopping) -> Ending | None:
    if not look.open():
        return "settled"
    if not further:
        return "max-seeds"
    return "budget" if total > stopping.budget else None


def _price(records: Mapping[Run, RunRecord], blocks: int, seeds: Sequence[int], more: int, block: int) -> float:
    """CPU-seconds of ``more`` further seeds, from those of the last block."""
    last = set(seeds if blocks == 1 else seeds[-block:])
    return cost([record for run, record in records.items() if run.seed in last]) / len(last) * more


def next_seeds(seeds: Sequence[int], stopping: Stopping) -> tuple[int, ...]:
    """The seeds of the next block: they go on from the largest one; none where the limit is reached.

    >>> next_seeds((0, 1, 2, 3, 4), Stopping(max_seeds=8))
    (5, 6, 7)
    """
    start, n = max(seeds) + 1, min(stopping.block, stopping.max_seeds - len(seeds))
    return tuple(range(start, start + n))


def progress(look: Look, more: int, price: float, ended: Ending | None = None) -> str:
    """Which claims are open, and what the next block costs, on one line."""
    waiting = look.open()
    head = f"{look.seeds} seeds, {look.cpu_seconds / 60:.1f} CPU-minutes: "
    head += f"{len(waiting)} of {len(look.claims)} claims open"
    if waiting:
        head += ": " + ", ".join(f"{claim.name} ({claim.setting})" for claim in waiting)
    if ended:
        return f"{head}; {WHY[ended]}"
    return f"{head}; the next block of {more} takes about {price / 60:.1f} CPU-minutes"


WHY: Mapping[Ending, str] = {
    "settled": "no seeds are added, because every claim is settled",
    "max-seeds": "no seeds are added, because the largest number of seeds is reached",
    "budget": "no seeds are added, because the next block would exceed the budget",
    "failed": "no seeds are added, because a run failed",
}


def seeds_of(study: Study) -> tuple[int, ...]:
    """The seeds of any study, whichever of its parts holds them."""
    seeds = settings_of(study).get("seeds")
    assert isinstance(seeds, tuple), f"{study.name} has no option seeds"
    return seeds


def cost_of(outcome: Outcome) -> float:
    """CPU-seconds of all runs, those that were reused too."""
    return cost(outcome.records.values())


def cost(records: Any) -> float:
    """CPU-seconds of these records."""
    return float(sum(record.cost.get("cpu_seconds", 0.0) for record in records))


def with_paths(result: Result, settled: Settled, stopping: Stopping) -> Result:
    """The result with the path of every claim before its methods, and how seeds were added in its settings."""
    if not settled.looks:
        return result
    steps = [(look.seeds, look.claims) for look in settled.looks]
    words = (
        f"Seeds were added in blocks of {stopping.block}, up to {stopping.max_seeds}, until every claim was settled. "
        f"Claims were looked at after {', '.join(str(n) for n, _ in steps)} seeds; {WHY[settled.ended]}. Intervals "
        "over runs hold at every number of seeds at once (t e-process, Pérez-Ortiz et al. 2024), so that looking and "
        "stopping cost no error; they are wider than Student's at a fixed number of seeds."
    )
    blocks: list[Block] = list(result.blocks)
    at = next((i for i, block in enumerate(blocks) if isinstance(block, Text)), len(blocks))
    blocks[at:at] = [path_table(steps), *path_charts(steps), Text("How seeds were added", words)]
    added = {"until_settled": True, "max_seeds": stopping.max_seeds, "block": stopping.block}
    return replace(result, blocks=tuple(blocks), settings={**result.settings, **added})
