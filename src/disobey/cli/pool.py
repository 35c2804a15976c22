"""`disobey pool RESULT...`: results of one study on several data sets, joined."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from disobey.bounds import read_bounded
from disobey.errors import Refusal, refusal
from disobey.records.files import write_text
from disobey.records.provenance import file_record, stamp
from disobey.records.results import Result


@dataclass(frozen=True)
class PoolOptions:
    """Options of `disobey pool`."""

    results: tyro.conf.Positional[tuple[Path, ...]]
    """result.json files of one study, or folders that they are in or below"""
    study: str = ""
    """take the results of this study only, where folders hold those of several"""
    out: Path | None = None
    """folder of the report; disobey-runs/reports/STUDY-pooled where not given"""
    json: bool = False
    """print the result as JSON on standard output"""
    quiet: bool = False
    """print no summary"""


def main(argv: list[str]) -> int:
    """Joins results and writes a report; the exit status."""
    from disobey.reports.page import write
    from disobey.reports.summary import summary_lines
    from disobey.studies.kit.pooled import pool

    options = tyro.cli(
        PoolOptions,
        args=argv,
        prog="disobey pool",
        description="Joins the results of one study on several data sets or models.",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    found = {path: read(path) for given in options.results for path in results_in(given)}
    if options.study:
        studies = sorted({result.study for result in found.values()})
        if options.study not in studies:
            raise refusal("unknown-study", f"a study that is there: {', '.join(studies)}", repr(options.study))
        found = {path: result for path, result in found.items() if result.study == options.study}
    paths = list(found)
    result = pool(list(found.values()), [cost_of(path) for path in paths])
    folder = options.out or Path("disobey-runs") / "reports" / result.study
    # No run of its own: those that it rests on are named by the reports of its inputs.
    provenance = stamp() | {"inputs": [file_record(path) for path in paths], "runs": []}
    result.write(folder / "result.json")
    write_text(folder / "provenance.json", json.dumps(provenance, indent=1))
    page = write(result, folder, provenance)
    if options.json:
        sys.stdout.write(result.to_json())
    elif not options.quiet:
        print("\n".join(summary_lines(result)))
        print(f"\nreport: {page}")
    return 0


def results_in(path: Path) -> list[Path]:
    """A file itself; of a folder its result.json, or else all those below it, in the order of their names."""
    if not path.is_dir():
        return [path]
    below = [] if (path / "result.json").exists() else sorted(path.rglob("result.json"))
    return below or [path / "result.json"]


def read(path: Path) -> Result:
    """A stored result. Raises `Refusal` where there is none."""
    try:
        return Result.read(path)
    except OSError as error:
        expected = "a result.json that `disobey run` wrote"
        raise refusal("no-result", expected, error.strerror or error, where=path) from None
    except Refusal as error:
        raise Refusal(error.id, f"{path}: {error}") from error


def cost_of(path: Path) -> dict[str, float]:
    """What the runs of a result took, from the provenance beside it; empty where that does not say."""
    try:
        found = json.loads(read_bounded(path.with_name("provenance.json"), 1 << 24))["cost"]
        return {key: float(found[key]) for key in ("runs", "cpu_seconds_with_reused")}
    except (OSError, Refusal, ValueError, KeyError, TypeError):
        return {}
