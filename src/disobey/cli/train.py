"""`disobey train RECIPE.json`: one run (and its teachers), to repeat one from a report or to try a recipe."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from disobey.bounds import read_bounded
from disobey.cli.options import Common, parse
from disobey.cli.output import print_json
from disobey.cli.progress import progress_bar
from disobey.errors import refusal
from disobey.models.build import is_file
from disobey.records.decoding import parse_json
from disobey.records.manifest import LARGEST_INFO
from disobey.records.store import Store
from disobey.training.execution.engine import run_all
from disobey.training.recipe import Recipe, Run, closure
from disobey.training.serialize import decode


@dataclass(frozen=True)
class TrainOptions:
    """Options of `disobey train` beside the common ones."""

    recipe: str = ""
    """a file with a recipe as JSON, or a run.json of the store"""
    seed: int | None = None
    """the seed; 0, or the one in the run.json, where not given"""
    trust: bool = False
    """run the Python file that the recipe names as a model; without this, a recipe that names one is refused"""
    json: bool = False
    """print the record's summary as JSON on standard output, and nothing else there"""


def main(argv: list[str]) -> int:
    """Trains one run; exit status 1 where it failed."""
    if argv and not argv[0].startswith("-"):
        argv = ["--recipe", *argv]
    options, common = parse(
        TrainOptions(), Common(), argv, prog="disobey train", description="Trains one recipe and its teachers."
    )
    run = read_run(Path(options.recipe), options.seed) if options.recipe else _none()
    if not options.trust:
        _refuse_code(run)
    store = Store(common.out)
    with progress_bar(common.quiet) as progress:
        outcome = run_all(
            [run],
            store,
            workers=common.worker_count,
            device=common.device,
            progress=progress,
            stall=60 * common.stall_timeout,
            checkpoint=60 * common.checkpoint_minutes,
            acceleration=common.acceleration,
        )
    for failure in outcome.failed.values():
        print(f"disobey: run failed: {failure.run.id}: {failure.message}", file=sys.stderr)
    if outcome.failed:
        return 1
    record = outcome.records[run]
    if options.json:
        print_json({"path": str(record.path), **record.summary})
    elif not common.quiet:
        print("\n".join(f"{name:<20} {value:g}" for name, value in record.summary.items()))
        print(f"record: {record.path}")
    return 0


def _none() -> Run:
    raise refusal("no-recipe", "a recipe", "none", "disobey train RECIPE.json (a run.json of the store works too)")


def _refuse_code(run: Run) -> None:
    """A recipe may come from anybody, and a model in a Python file is a program."""
    for one in closure([run]):
        if is_file(one.recipe.model.name):
            raise refusal(
                "code-not-trusted",
                "a recipe that runs no code of its own",
                f"the model {one.recipe.model.name!r}, a Python file that would be run",
                "reading that file, then --trust",
            )


def read_run(path: Path, seed: int | None) -> Run:
    """A recipe file, bare or as the ``recipe`` of a run.json. Raises `Refusal` for whatever is none."""
    what = "a recipe as JSON, copied from a run's run.json"
    try:
        value = parse_json(read_bounded(path, LARGEST_INFO), what, id="bad-recipe", where=path)
    except OSError as error:
        raise refusal("bad-recipe", what, error.strerror or error, where=path) from error
    found: object = 0
    if isinstance(value, dict) and "recipe" in value and "seed" in value:
        value, found = value["recipe"], value["seed"]
    if type(found) is not int or not 0 <= found < 2**63:
        raise refusal("bad-recipe", "a seed: a whole number from 0", _seen(found), where=f"{path}: seed")
    if seed is not None and not 0 <= seed < 2**63:
        raise refusal("bad-seed", "a whole number from 0", seed, where="--seed")
    recipe = decode(value, Recipe)
    _refuse_crowds(recipe)
    return Run(recipe, found if seed is None else seed)


MOST_RUNS = 10_000


def _refuse_crowds(recipe: Recipe) -> None:
    """A few lines can ask for teachers of teachers without number: each with a thousand members or folds."""
    runs, one = 1, recipe
    while one.teacher is not None:
        runs *= max(one.teaching.members, one.teaching.folds, 1)
        if runs > MOST_RUNS:
            raise refusal("too-many-runs", f"a recipe of at most {MOST_RUNS:,} runs", "more", "fewer members or folds")
        one = one.teacher


def _seen(value: object) -> str:
    return repr(value)[:80] if isinstance(value, (str, int, float)) else type(value).__name__
