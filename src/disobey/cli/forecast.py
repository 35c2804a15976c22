"""What `--dry-run` says of power and cost: the smallest effect that the seeds see, and the CPU time to come."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

from disobey.measures.inference.comparisons import smallest_effect
from disobey.measures.inference.pooling import standard_error
from disobey.records.manifest import Damaged
from disobey.records.results import Estimate
from disobey.records.runs import RunRecord
from disobey.records.store import Store
from disobey.studies.kit.options import changed
from disobey.studies.kit.settle import cost, seeds_of
from disobey.studies.kit.spreads import SPREADS
from disobey.studies.kit.study import Study
from disobey.training.recipe import Run, closure
from disobey.training.serialize import encode

FEWEST = 3  # complete seeds from which a spread is taken
CHANCE = 0.8


def power_and_cost(study: Study, store: Store) -> list[str]:
    """Lines on the smallest accuracy effect that the study's seeds see, and on the CPU time of what is missing."""
    stored = stored_runs(study, store)
    return [*_power(study, stored), _cost(study, stored)]


def spread_of(estimate: Estimate) -> float:
    """The standard deviation of one seed's difference behind an interval; NaN where there is none."""
    return standard_error(estimate) * math.sqrt(estimate.n)


def stored_runs(study: Study, store: Store) -> Mapping[str, Mapping[int, RunRecord]]:
    """Finished runs of every recipe of the study, by its key and the seed: seeds that it does not plan, too."""
    recipes = {run.id.rpartition("-s")[0]: run.recipe for run in closure(study.plan())}
    found: dict[str, dict[int, RunRecord]] = {key: {} for key in recipes}
    folder = store.root / "runs"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        key, _, seed = path.name.rpartition("-s")
        if key in recipes and seed.isdigit():
            record = store.find(path.name, encode(recipes[key]))
            if record is not None:
                found[key][int(seed)] = record
    return found


def _power(study: Study, stored: Mapping[str, Mapping[int, RunRecord]]) -> list[str]:
    seeds = len(seeds_of(study))
    complete = sorted(set.intersection(*(set(by_seed) for by_seed in stored.values()))) if stored else []
    if len(complete) >= FEWEST:
        spreads = _measured(study, complete, stored)
        if spreads:
            width = max(map(len, spreads))
            head = f"  {seeds} seeds see with chance {CHANCE:g}, by the spread of {len(complete)} stored seeds:"
            rows = (
                f"    {name:<{width}}  {_points(smallest_effect(sd, seeds, chance=CHANCE))}"
                for name, sd in spreads.items()
            )
            return [head, *rows]
    published = SPREADS.get(study.name)
    if published is None:
        return ["  smallest effect that is seen: unknown, as no spread of accuracies is stored or published"]
    low, high = (smallest_effect(sd, seeds, chance=CHANCE) for sd in (published.low, published.high))
    return [
        f"  {seeds} seeds see {100 * low:.2g} to {_points(high)} of accuracy with chance {CHANCE:g}, by the spread "
        f"published for {published.data} (docs/experiments/{published.source})"
    ]


def _measured(study: Study, seeds: Iterable[int], stored: Mapping[str, Mapping[int, RunRecord]]) -> dict[str, float]:
    """Spread by claim, of the claims that are about accuracy."""
    known: Study = changed(study, {"seeds": tuple(seeds)})
    records = {run: stored[run.id.rpartition("-s")[0]][run.seed] for run in closure(known.plan()) if _has(stored, run)}
    try:
        claims = known.verdicts(records).claims
    except (Damaged, ValueError):  # a run will mend or name it
        return {}
    found: dict[str, float] = {}
    for claim in claims:
        if claim.unit == "points" and claim.deciding < len(claim.evidence):
            spread = spread_of(claim.evidence[claim.deciding])
            if math.isfinite(spread):
                found[f"{claim.name} ({claim.setting})"] = spread
    return found


def _has(stored: Mapping[str, Mapping[int, RunRecord]], run: Run) -> bool:
    return run.seed in stored.get(run.id.rpartition("-s")[0], {})


def _cost(study: Study, stored: Mapping[str, Mapping[int, RunRecord]]) -> str:
    """CPU time of the missing runs, from those of the same recipe under other seeds."""
    missing: dict[str, int] = defaultdict(int)
    for run in closure(study.plan()):
        if not _has(stored, run):
            missing[run.id.rpartition("-s")[0]] += 1
    if not missing:
        return "  CPU time: none, everything is there"
    known = {key: n for key, n in missing.items() if stored[key]}
    unknown = sum(missing.values()) - sum(known.values())
    if not known:
        return "  CPU time: unknown, as no run of these recipes is stored"
    seconds = sum(n * cost(stored[key].values()) / len(stored[key]) for key, n in known.items())
    more = f"; unknown for the other {unknown}" if unknown else ""
    return f"  CPU time: about {seconds / 60:.1f} minutes for {sum(known.values())} runs{more}"


def _points(effect: float) -> str:
    return f"{100 * effect:.2g} points"
