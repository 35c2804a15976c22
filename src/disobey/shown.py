"""How a result is shown in Python: HTML for notebooks, data frames, a section of a model card, a folder with a report.

Text comes from users' data: everything is escaped. No script and no style sheet, so that a notebook looks the same when
it is read elsewhere; charts are in the report.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from disobey.errors import refusal
from disobey.records.results import Cell, Claim, Estimate, Finding, Result, Table

SYMBOLS = {"supported": "✓", "contradicted": "✗", "negligible": "≈", "undecided": "?"}
_ROWS = 20  # of a table in a notebook


def estimate_html(estimate: Estimate) -> str:
    """Name, value, interval, and what it is over."""
    from disobey.reports.cells import basis, value_and_interval

    value, interval = value_and_interval(estimate)
    over = f"<small>{escape(interval)} ({escape(basis(estimate))})</small>"
    return f"<span>{escape(estimate.name)}: <b>{escape(value)}</b> {over}</span>"


def table_html(table: Table) -> str:
    """The first rows, with the intervals in small type and what they are over on hover."""
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    body = "".join(f"<tr>{''.join(_cell_html(cell) for cell in row)}</tr>" for row in table.rows[:_ROWS])
    more = f"<p><small>{len(table.rows) - _ROWS} more rows</small></p>" if len(table.rows) > _ROWS else ""
    title, caption = f"<p><b>{escape(table.title)}</b></p>", f"<p><small>{escape(table.caption)}</small></p>"
    return f"{title}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}{caption}"


def _cell_html(cell: Cell) -> str:
    from disobey.reports.cells import shown

    seen = shown(cell)
    extra = f' <small style="white-space:nowrap">{escape(seen.extra)}</small>' if seen.extra else ""
    return f'<td title="{escape(seen.title, quote=True)}">{escape(seen.text)}{extra}</td>'


def claim_html(claim: Claim) -> str:
    """The statement, its word, its evidence and its rule."""
    evidence = "".join(f"<li>{estimate_html(estimate)}</li>" for estimate in claim.evidence)
    where = f" <small>{escape(claim.setting)}</small>" if claim.setting else ""
    rule = f"<p><small>Rule: {escape(claim.rule)}</small></p>" if claim.rule else ""
    said = f"{SYMBOLS[claim.verdict]} {escape(claim.verdict)}"
    return f"<p><b>{said}</b>: {escape(claim.text)}{where}</p><ul>{evidence}</ul>{rule}"


def result_html(result: Result) -> str:
    """The answer, what needs attention, claims, and where the rest is."""
    parts = [f"<h4>{escape(result.question)}</h4>"]
    if result.smoke:
        parts.append("<p><b>A smoke test: evidence of nothing.</b></p>")
    parts += [f"<p>{escape(line)}</p>" for line in _answer(result)]
    raised = [f for f in result.of(Finding) if f.status != "ok"]
    listed = "".join(f"<li><b>{escape(f.status)}</b>, {escape(f.name)}: {escape(f.message)}</li>" for f in raised)
    parts.append(f"<ul>{listed}</ul>" if listed else "")
    rows = "".join(
        f"<tr><td>{SYMBOLS[c.verdict]} {escape(c.verdict)}</td><td>{escape(c.text)}</td>"
        f"<td>{escape(c.setting)}</td><td>{escape(str(c.evidence[c.deciding])) if c.evidence else ''}</td></tr>"
        for c in result.of(Claim)
    )
    parts.append(f"<table><tbody>{rows}</tbody></table>" if rows else "")
    rest = f"{len(result.blocks)} blocks; <code>result.report(&quot;out/&quot;)</code> writes tables and charts."
    return "".join([*parts, f"<p><small>{rest}</small></p>"])


def write_report(result: Result, folder: Path) -> Path:
    """``report.html``, ``figures/`` and ``result.json`` in a folder; gives the page's path."""
    from disobey.reports.page import write

    page = write(result, folder)
    result.write(folder / "result.json")
    return page


def _answer(result: Result) -> list[str]:
    from disobey.reports.answer import answer

    return [line for line in answer(result).lines() if line]


# --- data frames ----------------------------------------------------------------------------------------------------


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise refusal("no-pandas", "pandas, for data frames", "none installed", "pip install pandas") from error
    return pandas


def table_frame(table: Table) -> Any:
    """A data frame; a column with estimates becomes NAME, NAME low and NAME high."""
    columns: dict[str, list[Any]] = {}
    for index, name in enumerate(table.columns):
        cells = [row[index] for row in table.rows]
        label = name if name not in columns else f"{name} ({index})"
        columns[label] = [cell.value if isinstance(cell, Estimate) else cell for cell in cells]
        if any(isinstance(cell, Estimate) for cell in cells):
            for side in ("low", "high"):
                bounds = [getattr(cell, side) if isinstance(cell, Estimate) else None for cell in cells]
                columns[f"{label} {side}"] = bounds
    return _pandas().DataFrame(columns)


def result_frame(result: Result) -> Any:
    """A row for every estimate: where it stands, and value, low, high, level, n, over."""
    fields = ("name", "value", "low", "high", "level", "n", "over")
    rows = [(kind, where, *(getattr(e, name) for name in fields)) for kind, where, e in _estimates(result)]
    return _pandas().DataFrame(rows, columns=["block", "where", *fields])


def _estimates(result: Result) -> Iterable[tuple[str, str, Estimate]]:
    for block in result.blocks:
        if isinstance(block, Claim):
            yield from (("claim", block.id or block.name, e) for e in block.evidence)
        elif isinstance(block, Finding):
            yield from (("finding", block.id or block.name, e) for e in block.evidence)
        elif isinstance(block, Table):
            for row in block.rows:
                words = ", ".join(str(cell) for cell in row if isinstance(cell, str))
                where = f"{block.title}: {words}" if words else block.title
                yield from (("table", where, e) for e in row if isinstance(e, Estimate))


# --- a model card ---------------------------------------------------------------------------------------------------


def model_card(result: Result) -> str:
    """A section of a model card, in markdown.

    Example:
        >>> gain = Estimate("gain", 0.0182, 0.012, 0.0244, 0.95, 5, "runs")
        >>> claim = Claim("It pays.", "", "supported", (gain,), "above 0")
        >>> print(model_card(Result("demo", "Does it pay?", (claim,), "It does.")))
        ## Does it pay?
        <BLANKLINE>
        It does.
        <BLANKLINE>
        | verdict | claim | evidence |
        |---|---|---|
        | ✓ supported | It pays. | gain: 0.0182 [0.012, 0.0244] (95% over 5 runs) |
        <BLANKLINE>
        Measured with disobey (demo).
        <BLANKLINE>
    """
    lines = [f"## {_md(result.question)}", ""]
    if result.smoke:
        lines += ["**A smoke test: evidence of nothing.**", ""]
    told = result.headline or result.summary
    lines += [_md(told), ""] if told else []
    raised = [f for f in result.of(Finding) if f.status != "ok"]
    lines += [f"- **{f.status}**, {_md(f.name)}: {_md(f.message)}" for f in raised] + [""] * bool(raised)
    claims = result.of(Claim)
    if claims:
        lines += ["| verdict | claim | evidence |", "|---|---|---|"]
        for c in claims:
            seen = f"{c.evidence[c.deciding].name}: {c.evidence[c.deciding]}" if c.evidence else ""
            where = f" ({c.setting})" if c.setting else ""
            lines.append(f"| {SYMBOLS[c.verdict]} {c.verdict} | {_md(c.text + where)} | {_md(seen)} |")
        lines.append("")
    return "\n".join([*lines, f"Measured with disobey ({_md(result.study)}).", ""])


def _md(text: str) -> str:
    """Text on one line that no markdown reader takes for markup or HTML."""
    plain = escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{c}" if c in "|*_`#\\" else c for c in plain)
