"""`disobey report RESULT.json`: the report again, from what was written down, without training."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from disobey.records.results import Result


@dataclass(frozen=True)
class ReportOptions:
    result: tyro.conf.Positional[Path]
    """a result.json, or the folder it is in"""
    out: Path | None = None
    """another folder for the report; beside the result where not given"""


def main(argv: list[str]) -> int:
    from disobey.reports.page import write

    options = tyro.cli(ReportOptions, args=argv, prog="disobey report", description="Redraws a report.")
    path = options.result / "result.json" if options.result.is_dir() else options.result
    try:
        result = Result.read(path)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ValueError(
            f"{path}: expected a result.json that `disobey run` or `diagnose` wrote; nothing is there"
        ) from error
    except (UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    beside = path.parent / "provenance.json"
    provenance = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else None
    print(f"report: {write(result, options.out or path.parent, provenance)}")
    return 0
