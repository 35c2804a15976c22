"""`disobey run STUDY --budget MINUTES`: what fits is planned, said, trained seed by seed, and judged where complete."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeAlias

from disobey.cli.forecast import stored_runs
from disobey.errors import refusal
from disobey.records.manifest import Damaged
from disobey.records.results import Result
from disobey.records.store import Store
from disobey.studies.kit.budget import Plan, on_complete_seeds, plan_budget, runs_of
from disobey.studies.kit.options import changed
from disobey.studies.kit.settle import cost, seeds_of
from disobey.studies.kit.study import Study
from disobey.training.execution.engine import Outcome
from disobey.training.recipe import Run, closure

Train: TypeAlias = Callable[[Study, float], Outcome]  # everything a study plans, for at most so many CPU-seconds


def planned(study: Study, store: Store, minutes: float, device: str) -> Plan:
    """The plan: prices are the CPU time of stored runs of the same recipes, else of a few steps."""
    if not minutes > 0:
        raise refusal("bad-budget", "a budget above 0 CPU-minutes", minutes, "--budget 60")
    stored = stored_runs(study, store)
    finished = {f"{key}-s{seed}" for key, by_seed in stored.items() for seed in by_seed}
    prices = {key: cost(by_seed.values()) / len(by_seed) for key, by_seed in stored.items() if by_seed}
    unknown = [run for run in closure(study.plan()) if run.id not in finished and run.recipe.key() not in prices]
    if unknown:
        from disobey.training.devices import device_type  # these bring torch
        from disobey.training.execution.preflight import check
        from disobey.training.execution.probe import probed

        check(unknown)
        prices |= probed(unknown, device_type(device))
    return plan_budget(study, finished, prices, 60 * minutes)


def within_budget(study: Study, train: Train, minutes: float) -> tuple[Study, Outcome, Result | ValueError]:
    """The study with the seeds that are complete, all that was trained, and what they say (or why nothing)."""
    outcome = Outcome({}, frozenset(), {})
    for seed in seeds_of(study):
        rest = 60 * minutes - outcome.cpu_seconds
        outcome = _joined(outcome, train(changed(study, {"seeds": (seed,)}), max(rest, 0.0)))
    left = set(outcome.left)
    complete = tuple(seed for seed in seeds_of(study) if left.isdisjoint(runs_of(study, seed)))
    _tell(outcome, complete, len(seeds_of(study)))
    if not complete:
        return study, outcome, ValueError("the budget ended before a seed was complete; the same command goes on")
    part: Study = changed(study, {"seeds": complete})
    planned_runs = set(closure(part.plan()))
    records = {run: record for run, record in outcome.records.items() if run in planned_runs}
    try:
        result = part.analyze(records)
    except Damaged:
        raise
    except ValueError as error:  # too few seeds so far
        if outcome.failed or left:
            return part, outcome, error
        raise
    return part, outcome, on_complete_seeds(result, complete, seeds_of(study), 60 * minutes)


def _joined(a: Outcome, b: Outcome) -> Outcome:
    """Both outcomes as one: what the first trained is not reused by the second."""
    trained: set[Run] = set(a.records) - a.reused
    retried = {run: a.retried.get(run, 0) + b.retried.get(run, 0) for run in {*a.retried, *b.retried}}
    records, failed = {**a.records, **b.records}, {**a.failed, **b.failed}
    left = tuple(run for run in dict.fromkeys((*a.left, *b.left)) if run not in records)
    return Outcome(records, (a.reused | b.reused) - trained, failed, retried, left, a.cpu_seconds + b.cpu_seconds)


def _tell(outcome: Outcome, complete: tuple[int, ...], seeds: int) -> None:
    line = f"budget: {outcome.cpu_seconds / 60:.1f} CPU-minutes spent; {len(complete)} of {seeds} seeds are complete"
    if outcome.left:
        line += f"; {len(outcome.left)} runs are left, with which the same command goes on"
    print(f"disobey: {line}", file=sys.stderr, flush=True)
