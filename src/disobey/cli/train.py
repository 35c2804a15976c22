"""`disobey train RECIPE.json`: one run (and its teachers), to repeat one from a report or to try a recipe."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from disobey.cli.options import Common, parse
from disobey.cli.progress import progress_bar
from disobey.records.store import Store
from disobey.training.execution.engine import run_all
from disobey.training.recipe import Recipe, Run
from disobey.training.serialize import decode


@dataclass(frozen=True)
class TrainOptions:
    """Options of `disobey train` beside the common ones."""

    recipe: str = ""
    """a file with a recipe as JSON, or a run.json of the store"""
    seed: int | None = None
    """the seed; 0, or the one in the run.json, where not given"""
    json: bool = False
    """print the record's summary as JSON"""


def main(argv: list[str]) -> int:
    """Trains one run; exit status 1 where it failed."""
    if argv and not argv[0].startswith("-"):
        argv = ["--recipe", *argv]
    options, common = parse(
        TrainOptions(), Common(), argv, prog="disobey train", description="Trains one recipe and its teachers."
    )
    run = read_run(Path(options.recipe), options.seed) if options.recipe else _none()
    store = Store(common.out)
    with progress_bar(common.quiet) as progress:
        outcome = run_all([run], store, workers=common.worker_count, device=common.device, progress=progress)
    for failure in outcome.failed.values():
        print(f"disobey: run failed: {failure.run.id}: {failure.message}", file=sys.stderr)
    if outcome.failed:
        return 1
    record = outcome.records[run]
    if options.json:
        print(json.dumps({"path": str(record.path), **record.summary}))
    elif not common.quiet:
        print("\n".join(f"{name:<20} {value:g}" for name, value in record.summary.items()))
        print(f"record: {record.path}")
    return 0


def _none() -> Run:
    raise ValueError("expected a recipe: disobey train RECIPE.json (a run.json of the store works too)")


def read_run(path: Path, seed: int | None) -> Run:
    """A recipe file, bare or as the ``recipe`` of a run.json."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: expected a recipe as JSON ({error}); copy one from a run's run.json") from error
    if isinstance(value, dict) and "recipe" in value and "seed" in value:
        return Run(decode(value["recipe"], Recipe), value["seed"] if seed is None else seed)
    return Run(decode(value, Recipe), seed or 0)
