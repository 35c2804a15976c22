"""Everything that `disobey run` refuses before it trains, asked without training: what a dry run promises, holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from disobey.cli.options import Common
from disobey.cli.places import obstacle, refuse_unwritable
from disobey.records.store import Store
from disobey.training.execution.reuse import Found, check_data, look
from disobey.training.recipe import Run, closure


def rehearse(runs: Sequence[Run], store: Store, options: Common, reports: str = "") -> Found:
    """What is there already. Raises every `Refusal` that the same command without ``--dry-run`` begins with.

    Data, models and options of every run that is missing are tried, and the store, the workers and the device; nothing
    is written.
    """
    found = look(store, closure(runs))
    check_data(found.records)
    if reports:
        refuse_unwritable(Path(reports), "--reports")
    missing = [run for run in closure(runs) if run not in found.records]
    if missing or not reports:
        blocked = obstacle(store.root)
        if blocked is not None:
            said = "a file" if blocked[0] == "not-a-folder" else "no permission to write"
            raise store.unwritable(f"{said}: {blocked[1]}")
    if missing:
        _try(missing, options)
    return found


def _try(missing: Sequence[Run], options: Common) -> None:
    from disobey.training.devices import device_type, pick_device  # these bring torch
    from disobey.training.execution.pools import worker_pool
    from disobey.training.execution.preflight import check

    pick_device(options.device)
    check(missing, device_type(options.device))
    worker_pool(options.worker_count, options.device).close()


def forecast(name: str, runs: Sequence[Run], found: Found, folder: Path) -> dict[str, Any]:
    """What a dry run says: how many runs of which kind, how many of them are there, the steps, the report's folder."""
    ordered = closure(runs)
    missing = [run for run in ordered if run not in found.records]
    left = Counter(run.recipe.name or "run" for run in missing)
    kinds = Counter(run.recipe.name or "run" for run in ordered)
    return {
        "study": name,
        "runs": len(ordered),
        "there": len(ordered) - len(missing),
        "to_train": len(missing),
        "kinds": {kind: {"runs": n, "to_train": left[kind]} for kind, n in kinds.items()},
        "steps": sum(run.recipe.optim.steps for run in missing),
        "report": str(folder),
    }


def forecast_lines(plan: dict[str, Any]) -> list[str]:
    """The forecast for people."""
    width = max(map(len, plan["kinds"]))
    lines = [f"{plan['study']}: {plan['runs']} runs, {plan['there']} there already, {plan['to_train']} to train"]
    lines += [
        f"  {name:<{width}}  {n['runs']:>4} runs, {n['to_train']:>4} to train" for name, n in plan["kinds"].items()
    ]
    return [*lines, f"  {plan['steps']:,} training steps; report in {plan['report']}"]
