"""What a budget of CPU time pays for: whole paired seeds first, in their order, so that every interruption leaves some.

A study judges complete seeds only: one that lacks a run says nothing. What is left of the budget after the last whole
seed goes into the next one, which a later call completes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from disobey.records.partial import before
from disobey.records.results import Result
from disobey.studies.kit.options import changed
from disobey.studies.kit.settle import seeds_of
from disobey.studies.kit.study import Study
from disobey.training.recipe import Run, closure


@dataclass(frozen=True)
class SeedCost:
    """What one seed lacks.

    Attributes:
        seed: the seed.
        missing: its runs that are not finished, teachers first.
        seconds: CPU-seconds that they take; NaN where a run's price is not known.
    """

    seed: int
    missing: tuple[Run, ...]
    seconds: float


@dataclass(frozen=True)
class Plan:
    """Which seeds a call completes, which it begins, and which it leaves.

    Attributes:
        budget: CPU-seconds.
        there: seeds that lack nothing.
        now: seeds that the budget completes.
        begun: the next seed, on which the rest is spent; None where nothing is left of either.
        later: all further seeds.
        unknown: runs without a known price; where there are some, they are measured as they are trained.
    """

    budget: float
    there: tuple[int, ...]
    now: tuple[SeedCost, ...]
    begun: SeedCost | None
    later: tuple[SeedCost, ...]
    unknown: int

    @property
    def seconds(self) -> float:
        """CPU-seconds of the seeds that are completed now."""
        return sum(seed.seconds for seed in self.now)

    @property
    def further(self) -> float:
        """CPU-seconds that later calls need, NaN where that is not known."""
        rest = [*([self.begun] if self.begun else []), *self.later]
        return max(sum(seed.seconds for seed in rest) - max(self.budget - self.seconds, 0.0), 0.0)


def runs_of(study: Study, seed: int) -> list[Run]:
    """Everything that one seed needs, teachers first."""
    return closure(changed(study, {"seeds": (seed,)}).plan())


def plan_budget(study: Study, finished: frozenset[str] | set[str], prices: Mapping[str, float], budget: float) -> Plan:
    """The plan for ``budget`` CPU-seconds.

    Args:
        study: with all of its seeds.
        finished: ids of the runs that are there.
        prices: CPU-seconds of a run by the key of its recipe; a key that is not there has no known price.
        budget: CPU-seconds.

    Returns:
        Seeds in their order: those that are there, those that fit, the one that is begun, and those that are left. A
        seed whose price is not known counts as too dear, so it is begun and not promised.
    """
    there, costs = [], []
    counted: set[str] = set()  # a teacher that several seeds share is paid once
    for seed in seeds_of(study):
        missing = tuple(run for run in runs_of(study, seed) if run.id not in finished and run.id not in counted)
        if not missing and all(run.id in finished for run in runs_of(study, seed)):
            there.append(seed)
            continue
        counted |= {run.id for run in missing}
        costs.append(SeedCost(seed, missing, sum(prices.get(run.recipe.key(), math.nan) for run in missing)))
    n, spent = 0, 0.0
    while n < len(costs) and spent + costs[n].seconds <= budget:
        spent += costs[n].seconds
        n += 1
    unknown = sum(run.recipe.key() not in prices for cost in costs for run in cost.missing)
    begun = costs[n] if n < len(costs) and spent < budget else None
    later = costs[n + (begun is not None) :]
    return Plan(budget, tuple(there), tuple(costs[:n]), begun, tuple(later), unknown)


def plan_lines(plan: Plan) -> list[str]:
    """The plan for people, before anything is trained.

    >>> plan_lines(Plan(600.0, (0,), (SeedCost(1, (), 240.0),), SeedCost(2, (), 500.0), (), 0))
    ['budget of 10 CPU-minutes: seed 0 is there; seed 1 is completed now (4.0 CPU-minutes); seed 2 is begun', \
'about 2.3 further CPU-minutes for what is left; the same command goes on']
    """
    parts = []
    if plan.there:
        parts.append(f"{_seeds(plan.there)} {_are(plan.there)} there")
    if plan.now:
        seeds = [cost.seed for cost in plan.now]
        parts.append(f"{_seeds(seeds)} {_are(seeds)} completed now ({plan.seconds / 60:.1f} CPU-minutes)")
    if plan.begun is not None:
        parts.append(f"seed {plan.begun.seed} is begun")
    if plan.later:
        seeds = [cost.seed for cost in plan.later]
        parts.append(f"{_seeds(seeds)} {_are(seeds)} left")
    lines = [f"budget of {plan.budget / 60:g} CPU-minutes: {'; '.join(parts)}"]
    if plan.unknown:
        lines.append(
            f"the price of {plan.unknown} run{'s' * (plan.unknown != 1)} is not known: seeds are trained one after the "
            "other as far as the budget goes"
        )
    elif plan.begun is not None or plan.later:
        lines.append(f"about {plan.further / 60:.1f} further CPU-minutes for what is left; the same command goes on")
    return lines


def plan_values(plan: Plan) -> dict[str, object]:
    """The plan for programs."""
    further = plan.further if math.isfinite(plan.further) else None
    return {
        "cpu_minutes": plan.budget / 60,
        "there": list(plan.there),
        "now": [cost.seed for cost in plan.now],
        "now_cpu_minutes": plan.seconds / 60,
        "begun": None if plan.begun is None else plan.begun.seed,
        "later": [cost.seed for cost in plan.later],
        "further_cpu_minutes": None if further is None else further / 60,
        "without_price": plan.unknown,
    }


def on_complete_seeds(result: Result, complete: Sequence[int], planned: Sequence[int], budget: float) -> Result:
    """The result of the complete seeds, with a caution before every number that the budget ended before the others."""
    rest = [seed for seed in planned if seed not in complete]
    if not rest:
        return result
    caution = (
        f"Partial: {len(complete)} of {len(planned)} seeds are complete ({', '.join(map(str, complete))}); --budget "
        f"ended after {budget / 60:g} CPU-minutes, before {_seeds(rest)}. Claims are judged on complete seeds alone, "
        "in the order of the seeds and not by their results; the same command goes on."
    )
    marked = before(result, caution)
    return replace(marked, settings={**marked.settings, "planned_seeds": tuple(planned)})


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) != 1)} {', '.join(map(str, seeds))}"


def _are(seeds: Sequence[int]) -> str:
    return "is" if len(seeds) == 1 else "are"
