"""`disobey report RESULT.json`: the report again, from what was written down, without training."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from disobey.bounds import read_bounded
from disobey.errors import Refusal, refusal
from disobey.records.decoding import parse_json
from disobey.records.manifest import LARGEST_INFO
from disobey.records.results import Result


@dataclass(frozen=True)
class ReportOptions:
    """Options of `disobey report`."""

    result: tyro.conf.Positional[Path]
    """a result.json, or the folder it is in"""
    out: Path | None = None
    """another folder for the report; beside the result where not given"""
    json: bool = False
    """print the result that was drawn as JSON on standard output, and nothing else there"""


def main(argv: list[str]) -> int:
    """Redraws a report; the exit status."""
    options = tyro.cli(
        ReportOptions,
        args=argv,
        prog="disobey report",
        description="Redraws a report.",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    path = options.result / "result.json" if options.result.is_dir() else options.result
    try:
        result = Result.read(path)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise refusal(
            "no-result", "a result.json that `disobey run` or `diagnose` wrote", "nothing is there", where=path
        ) from None
    except Refusal as error:
        raise Refusal(error.id, f"{path}: {error}") from error
    page = _written(result, path, options.out or path.parent)
    sys.stdout.write(result.to_json()) if options.json else print(f"report: {page}")
    return 0


def _written(result: Result, path: Path, folder: Path) -> Path:
    """Draws the report. Every error of drawing is the file's: nothing else is read."""
    from disobey.reports.page import write

    try:
        return write(result, folder, _provenance(path.parent / "provenance.json"))
    except OSError:
        raise
    except Exception as error:
        if os.environ.get("DISOBEY_DEBUG"):
            raise
        said = f"one that contradicts itself ({type(error).__name__}: {error})"
        raise refusal("not-a-result", "a result that can be drawn", said, "the study again", where=path) from error


def _provenance(path: Path) -> dict[str, Any] | None:
    """The provenance beside the result, if there is one."""
    try:
        text = read_bounded(path, LARGEST_INFO)
    except FileNotFoundError:
        return None
    value = parse_json(text, "a provenance.json", where=path)
    if not isinstance(value, dict):
        raise refusal("not-json", "an object", "something else", "removing it", where=path)
    return value
