"""The gallery: real reports, kept as result.json with a picture, drawn anew when the site is built."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

from disobey.records.results import Claim, Finding, Result
from disobey.reports.answer import answer
from disobey.reports.page import write
from generate.exhibits import EXHIBITS

HEAD = """# Gallery

Reports of real runs. Each is one HTML file that needs no network: hover over a mark, sort a table, save a figure, copy
the methods. The site draws them anew from the result that is kept beside each picture; `make gallery` repeats the runs.
"""
SHOWN = """## {name}

*{question}*

{summary} {counts}

![Report of {name}: {question}]({name}/report.png)

<a class="reference external" href="{name}/report.html">Open the report</a>, or repeat it: `{command}`
"""


def names(folder: Path) -> list[str]:
    """The reports that are kept."""
    return [exhibit.name for exhibit in EXHIBITS if (folder / exhibit.name / "result.json.gz").is_file()]


def index(folder: Path) -> str:
    """The text of the gallery's page."""
    parts = [HEAD]
    for name in names(folder):
        result = _result(folder / name)
        about = json.loads((folder / name / "provenance.json").read_text(encoding="utf-8"))
        parts.append(
            SHOWN.format(
                name=name,
                question=result.question,
                summary=" ".join(answer(result).lines()),
                counts=_counts(result),
                command=about["command"],
            )
        )
    return "\n".join(parts)


def redraw(folder: Path, out: Path) -> None:
    """Writes every kept report, as one HTML file with its figures, below ``out``."""
    for name in names(folder):
        about = json.loads((folder / name / "provenance.json").read_text(encoding="utf-8"))
        write(_result(folder / name), out / name, about)


def _result(folder: Path) -> Result:
    return Result.from_json(gzip.decompress((folder / "result.json.gz").read_bytes()).decode())


def _counts(result: Result) -> str:
    words = Counter([claim.verdict for claim in result.of(Claim)] + [f.status for f in result.of(Finding)])
    return "(" + ", ".join(f"{n} {word}" for word, n in words.most_common()) + ")"
