"""A `Result` as one HTML file that loads nothing: pure functions, the same bytes for the same result.

A result's strings come from users' data and are untrusted: the template escapes them, data for the script travel as
JSON without ``<``, scripts run only where their hash is in the page's own policy, and no string reaches a Vega
expression. Colours, sizes and order live in the template, the style sheet and `charts.py`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from disobey.records.files import write_text
from disobey.records.results import Chart, Claim, Finding, Gallery, Result
from disobey.reports import cells, palette
from disobey.reports.answer import Answer, answer, cautions
from disobey.reports.charts import Drawing, drawing
from disobey.reports.frames import color_levels
from disobey.reports.glossary import legend
from disobey.reports.matrix import Matrix, matrix
from disobey.reports.parts import finding, sections, short_title, statements
from disobey.reports.scripts import library
from disobey.reports.summary import by_urgency, counts
from disobey.reports.svg import svg
from disobey.reports.wording import SYMBOLS


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
    charts, drawn = result.of(Chart), {}
    styles = palette.cast(color_levels(chart) for chart in charts)
    for name, chart in zip(stems(charts), charts, strict=True):
        made = drawing(chart, styles, _shown_elsewhere(chart, result.of(Gallery)))
        drawn[name] = (made, svg(made, name))
    return drawn


def _shown_elsewhere(chart: Chart, galleries: Sequence[Gallery]) -> frozenset[str]:
    """The examples of a chart that a gallery shows; one of another setting shows others."""
    here = dict(chart.levels)
    return frozenset(
        exhibit.key
        for gallery in galleries
        if chart.key and all(here.get(factor, level) == level for factor, level in gallery.levels)
        for exhibit in gallery.exhibits
        if exhibit.key
    )


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


# --- what the template reads ----------------------------------------------------------------------------------------


def _page(result: Result, provenance: Mapping[str, Any] | None, drawn: Mapping[str, tuple[Drawing, str]]) -> str:
    blocks = sections(result, drawn)
    claims = result.of(Claim)
    findings = [finding(found) for found in by_urgency(result.of(Finding))]
    well = [found for found in findings if found["status"] == "ok"]  # folded: many, and nobody has to act
    about = dict(provenance or {})
    cost, warnings = about.pop("cost", None), about.pop("warnings", None)
    about.pop("runs", None)  # ids for `disobey store`, too many to read
    scripts = library() if drawn else ""
    script = _text("report.js")
    contents = [("verdicts", "Verdicts")] * bool(claims) + [("findings", "Findings")] * bool(findings)
    contents += [(block["id"], short_title(block["title"])) for block in blocks]
    contents += [("provenance", "Provenance")] * bool(result.settings or cost or about)
    told, judged = answer(result), matrix(claims)
    page = (
        _templates()
        .get_template("template.html")
        .render(
            result=result,
            answer=told,
            cautions=_cautions(result, told, warnings),
            legend=legend(_first_screen(told, judged)),
            matrix=judged,
            statements=statements(claims),
            tally=[(word, SYMBOLS[word], n) for word, n in counts(result)],
            raised=findings[: len(findings) - len(well)],
            well=well,
            blocks=blocks,
            contents=contents,
            settings=result.settings,
            cost=cost,
            provenance=about,
            policy=_policy([scripts, script] if scripts else [script]),
            style=Markup(_style()),
            library=Markup(scripts),
            script=Markup(script),
        )
    )
    return cells.without_controls(page) + "\n"


def _cautions(result: Result, told: Answer, warnings: Any) -> list[str]:
    """What comes before any number, each once: the result's own, and those of its provenance."""
    own = cautions(result, told)
    return [*own, *(f"{warning}." for warning in warnings)] if isinstance(warnings, (list, tuple)) else own


def _first_screen(told: Answer, judged: Matrix | None) -> list[str]:
    """The texts whose words the legend explains."""
    if judged is None:
        return list(told.prose)
    return [*told.lines(), judged.shared, *judged.columns, *(row.text for row in judged.rows)]


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
def _templates() -> jinja2.Environment:
    loader = jinja2.FunctionLoader(_text)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, auto_reload=False
    )
    environment.filters["plain_value"] = _plain_value
    return environment


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
