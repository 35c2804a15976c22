"""`disobey run STUDY --null`: how often every claim comes out how where there is no effect, or a planted one."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

from disobey.cli.options import Common
from disobey.cli.progress import progress_bar
from disobey.errors import refusal
from disobey.records.results import Table
from disobey.records.store import Store
from disobey.studies.kit.null import Null, null_of
from disobey.studies.kit.null_table import as_json, count, table_of
from disobey.studies.kit.study import Study
from disobey.training.execution.engine import run_all


@dataclass(frozen=True)
class NullOptions(Common):
    """Options of a study that is run with no effect."""

    null: bool = False
    """run the study with no effect (docs/guides/null.md) and print how often each claim gets each word"""
    planted: float = 0.0
    """with --null, or instead of it: effect in the claimed direction, in margins of each claim; 2: twice the margin"""
    replicas: int = 0
    """undistilled replicas of every control; 0: as few as there are students and controls"""
    pool: int = 10
    """seeds that are trained for --null; each null study takes as many of them as --seeds names"""
    studies: int = 1000
    """null studies that are drawn"""

    @property
    def asks_null(self) -> bool:
        """Whether a null or a planted effect is asked for."""
        return self.null or self.planted != 0


def pool_of(study: Study, options: NullOptions) -> Null:
    """The null study that is asked for."""
    return null_of(study, pool=options.pool, replicas=options.replicas)


def run_null(study: Study, options: NullOptions, *, as_text: bool) -> int:
    """Trains the pool, draws the null studies, prints the table; exit status 1 where runs failed."""
    if options.studies < 1:
        raise refusal("no-null-studies", "--studies of at least 1", options.studies, "--studies 1000")
    null = pool_of(study, options)
    with progress_bar(options.quiet) as progress:
        outcome = run_all(
            null.runs(),
            Store(options.out),
            workers=options.worker_count,
            device=options.device,
            progress=progress,
            stall=60 * options.stall_timeout,
            checkpoint=60 * options.checkpoint_minutes,
            acceleration=options.acceleration,
        )
    for failure in outcome.failed.values():
        print(
            f"disobey: run failed: {failure.run.recipe.name}, seed {failure.run.seed}: {failure.message}",
            file=sys.stderr,
        )
    if outcome.failed:
        return 1
    found = count(null, outcome.records, studies=options.studies)
    planted, effect = None, options.planted or 2.0
    if options.planted:
        planted = count(null, outcome.records, studies=options.studies, effect=effect)
    measured = as_json(null, found, planted, effect)
    if as_text:
        print("\n".join(lines_of(table_of(measured, f"{study.name} with no effect"))))
    else:
        print(json.dumps(measured, indent=1))
    return 0


def lines_of(table: Table) -> list[str]:
    """A table in columns for a terminal, without those that are empty everywhere."""
    kept = [i for i in range(len(table.columns)) if any(row[i] != "" for row in table.rows)]
    rows = [[str(row[i]) for i in kept] for row in (table.columns, *table.rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(kept))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [table.title, "", *text, "", table.caption]
