"""A `Result` as one HTML file that loads nothing: pure functions, the same bytes for the same result.

A result's strings come from users' data and are untrusted: the template escapes them, data for the script travel as
JSON without ``<``, scripts run only where their hash is in the page's own policy, and no string reaches a Vega
expression. Colours, sizes and order live in the template, the style sheet and `charts.py`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from disobey.errors import Refusal
from disobey.records.files import write_text
from disobey.records.results import Cell, Chart, Claim, Estimate, Exhibit, Finding, Gallery, Result, Table, Text
from disobey.reports import cells, palette
from disobey.reports.charts import Drawing, drawing
from disobey.reports.frames import columnar
from disobey.reports.images import data_uri, shown_size
from disobey.reports.scripts import library
from disobey.reports.summary import SYMBOLS, by_urgency, counts
from disobey.reports.svg import svg

_LISTED = 60  # a figure with at most so many rows shows them as a table, too
_WORDY = 24  # characters beyond which a cell may run over several lines


def render(result: Result, provenance: Mapping[str, Any] | None = None) -> str:
    """The report as HTML. Raises `Refusal` where a chart or an image contradicts itself."""
    return _page(result, provenance, _drawn(result))


def write(result: Result, folder: Path, provenance: Mapping[str, Any] | None = None) -> Path:
    """Writes ``report.html`` and ``figures/NAME.svg`` to a folder; gives the report's path.

    Everything is drawn before anything is written, and each file appears whole or not at all. Raises `OSError` where
    the folder cannot be written.
    """
    drawn = _drawn(result)
    page = _page(result, provenance, drawn)
    folder = Path(folder)
    for name, (_, picture) in drawn.items():
        write_text(folder / "figures" / f"{name}.svg", picture + "\n")
    write_text(folder / "report.html", page)
    return folder / "report.html"


def _drawn(result: Result) -> dict[str, tuple[Drawing, str]]:
    """Every chart's drawing and SVG by the stem of its file, in the order of the charts."""
    drawn = {}
    for name, chart in zip(stems(result.of(Chart)), result.of(Chart), strict=True):
        made = drawing(chart)
        drawn[name] = (made, svg(made, name))
    return drawn


def stems(charts: Sequence[Chart]) -> list[str]:
    """File names for charts: their own where it is safe, distinct in any case.

    >>> from disobey.records.results import Axis
    >>> def named(n): return Chart(n, "", "bar", {}, Axis("x", ""), Axis("y", ""), "")
    >>> stems([named("slope"), named("../../etc/passwd"), named("slope")])
    ['slope', 'etc-passwd', 'slope-2']
    """
    used: set[str] = set()
    found = []
    for chart in charts:
        base = re.sub(r"[^A-Za-z0-9_-]+", "-", chart.name).strip("-")[:80] or "figure"
        name, n = base, 1
        while name.lower() in used:  # file systems may not tell cases apart
            n += 1
            name = f"{base}-{n}"
        used.add(name.lower())
        found.append(name)
    return found


def inert_json(value: Any) -> Markup:
    r"""JSON that cannot end its ``<script>``: every ``<``, ``>`` and ``&`` is written as an escape.

    >>> print(inert_json({"a": "</script>"}))
    {"a":"\u003c/script\u003e"}
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


# --- what the template reads ----------------------------------------------------------------------------------------


def _page(result: Result, provenance: Mapping[str, Any] | None, drawn: Mapping[str, tuple[Drawing, str]]) -> str:
    blocks = _blocks(result, drawn)
    claims = [_claim(claim) for claim in result.of(Claim)]
    findings = [_finding(finding) for finding in by_urgency(result.of(Finding))]
    well = [finding for finding in findings if finding["status"] == "ok"]  # folded: many, and nobody has to act
    about = dict(provenance or {})
    cost, warnings = about.pop("cost", None), about.pop("warnings", None)
    about.pop("runs", None)  # ids for `disobey store`, too many to read
    scripts = library() if drawn else ""
    script = _text("report.js")
    contents = [("verdicts", "Verdicts")] * bool(claims) + [("findings", "Findings")] * bool(findings)
    contents += [(block["id"], block["title"]) for block in blocks]
    contents += [("provenance", "Provenance")] * bool(result.settings or cost or about)
    page = _template().render(
        result=result,
        summary=_paragraphs(cells.prose(result.summary)),
        tally=[(word, SYMBOLS[word], n) for word, n in counts(result)],
        claims=claims,
        raised=findings[: len(findings) - len(well)],
        well=well,
        blocks=blocks,
        contents=contents,
        settings=result.settings,
        cost=cost,
        warnings=[str(warning) for warning in warnings] if isinstance(warnings, (list, tuple)) else [],
        provenance=about,
        policy=_policy([scripts, script] if scripts else [script]),
        style=Markup(_style()),
        library=Markup(scripts),
        script=Markup(script),
    )
    return cells.without_controls(page) + "\n"


def _claim(claim: Claim) -> dict[str, Any]:
    own = {name: getattr(claim, name) for name in ("name", "text", "verdict", "rule", "setting", "note", "source")}
    return own | {"symbol": SYMBOLS[claim.verdict], "evidence": _evidence(claim.evidence)}


def _finding(finding: Finding) -> dict[str, Any]:
    own = {"name": finding.name, "status": finding.status}
    own |= {"message": cells.prose(finding.message), "advice": cells.prose(finding.advice)}
    return own | {"symbol": SYMBOLS[finding.status], "evidence": _evidence(finding.evidence)}


def _evidence(estimates: Iterable[Estimate]) -> list[dict[str, str]]:
    rows = []
    for estimate in estimates:
        value, interval = cells.value_and_interval(estimate)
        rows.append({"name": estimate.name, "value": value, "interval": interval, "basis": cells.basis(estimate)})
    return rows


def _blocks(result: Result, drawn: Mapping[str, tuple[Drawing, str]]) -> list[dict[str, Any]]:
    """Everything but verdicts and findings, in the order of the result."""
    pictures = iter(drawn.items())
    found = []
    for block in result.blocks:
        if isinstance(block, Chart):
            name, (made, picture) = next(pictures)
            found.append(_chart(block, name, made, picture))
        elif isinstance(block, Table):
            found.append(_table(block.title, block.columns, block.rows) | {"caption": block.caption})
        elif isinstance(block, Gallery):
            exhibits = [_exhibit(exhibit) for exhibit in block.exhibits]
            found.append({"kind": "gallery", "title": block.title, "exhibits": exhibits, "caption": block.caption})
        elif isinstance(block, Text):
            copy = block.title.lower().startswith("method")
            found.append(
                {"kind": "text", "title": block.title, "paragraphs": _paragraphs(block.body), "copyable": copy}
            )
    return [block | {"id": f"part-{i}"} for i, block in enumerate(found, start=1)]


def _chart(chart: Chart, name: str, made: Drawing, picture: str) -> dict[str, Any]:
    columns = list(chart.data)
    length = len(chart.data[columns[0]]) if columns else 0
    listed = (
        _table(chart.title, columns, list(zip(*chart.data.values(), strict=True)))
        if length <= _LISTED
        else {"rows": []}
    )
    drawn = {"spec": made.spec, "columns": columnar(made.rows), "hover": made.hover, "layout": asdict(made.layout)}
    return listed | {
        "kind": "chart",
        "name": name,
        "title": chart.title,
        "alt": chart.alt,
        "caption": chart.caption,
        "notes": made.notes,
        "svg": Markup(picture),
        "drawing": inert_json(drawn),
    }


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> dict[str, Any]:
    drawn = [[cells.shown(cell) for cell in row] for row in rows]
    numeric = cells.numeric_columns(drawn) or [False] * len(columns)
    longest = [max(len(cell.text) for cell in column) for column in zip(*drawn, strict=True)] or [0] * len(columns)
    wordy = [n > _WORDY and not right for n, right in zip(longest, numeric, strict=True)]
    return {
        "kind": "table",
        "title": title,
        "columns": list(zip(columns, numeric, wordy, strict=True)),
        "terse": not any(wordy[:1]),
        "rows": drawn,
        "note": cells.note_on_intervals(cell for row in rows for cell in row),
    }


def _exhibit(exhibit: Exhibit) -> dict[str, Any]:
    lines = [cells.prose(line) for line in exhibit.lines]
    own: dict[str, Any] = {"title": exhibit.title, "lines": lines, "text": exhibit.text, "image": ""}
    if exhibit.image:
        try:
            own["image"] = data_uri(exhibit.image)
        except Refusal as error:
            raise Refusal(error.id, f"exhibit {exhibit.title!r}: {error}") from error
        own["width"], own["height"] = shown_size(exhibit.image)
        own["alt"] = f"The image of {exhibit.title}"
    return own


def _paragraphs(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]


def _plain_value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return str(value)  # as it was set: a seed or a learning rate is not rounded
    return cells.MISSING if value is None or value == "" else str(value)


# --- the page's own parts -------------------------------------------------------------------------------------------


def _text(name: str) -> str:
    return resources.files("disobey.reports").joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["plain_value"] = _plain_value
    return environment.from_string(_text("template.html"))


@cache
def _style() -> str:
    return _text("style.css").replace("/* figures */\n}", f"{palette.dark_rules()}\n}}", 1)


def _policy(scripts: Iterable[str]) -> str:
    """A content security policy under which these scripts run and no others, and nothing is loaded from anywhere.

    >>> _policy(["x"])[:60]
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    """
    digests = [base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {allowed}; base-uri 'none'; form-action 'none'"
    )
