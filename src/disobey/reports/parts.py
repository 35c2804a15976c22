"""What the page's template reads: a result's blocks as plain values, with pictures drawn and numbers written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from typing import Any, TypeAlias

from markupsafe import Markup

from disobey.errors import Refusal
from disobey.records.results import Cell, Chart, Claim, Estimate, Exhibit, Finding, Gallery, Result, Table, Text
from disobey.reports import cells
from disobey.reports.answer import paragraphs
from disobey.reports.charts import Drawing
from disobey.reports.frames import columnar
from disobey.reports.images import data_uri, shown_size
from disobey.reports.wording import SYMBOLS, level_words, scaled

Picture: TypeAlias = Chart | Table | Gallery | Text
"""What has a section of its own, or shares one with its like."""

_LISTED = 60  # a figure with at most so many rows shows them as a table, too
_WORDY = 24  # characters beyond which a cell may run over several lines
_LONG = 8  # rows beyond which a table is folded
_MEASURES = ("measure", "quantity")  # heads of columns that hold names of measures
_FIRST = 4  # examples of a gallery that are shown at once


def inert_json(value: Any) -> Markup:
    r"""JSON that cannot end its ``<script>``: every ``<``, ``>`` and ``&`` is written as an escape.

    >>> print(inert_json({"a": "</script>"}))
    {"a":"\u003c/script\u003e"}
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


# --- sections -------------------------------------------------------------------------------------------------------


def sections(result: Result, drawn: Mapping[str, tuple[Drawing, str]]) -> list[dict[str, Any]]:
    """Everything but verdicts and findings, in the order of the result; blocks that differ in their levels in one."""
    blocks = [block for block in result.blocks if isinstance(block, Chart | Table | Gallery | Text)]
    pictures = iter(drawn.items())
    found = []
    for _, group in groupby(enumerate(blocks), key=lambda item: _together(*item)):
        found.append(_section([block for _, block in group], pictures))
    return [section | {"id": f"part-{i}"} for i, section in enumerate(found, start=1)]


def _together(place: int, block: Picture) -> tuple:
    """What neighbours have in common that are shown in one place; a block without levels stands alone."""
    levels = getattr(block, "levels", ())
    return (type(block), block.title, tuple(name for name, _ in levels)) if levels else (place,)


def _section(blocks: Sequence[Picture], pictures: Any) -> dict[str, Any]:
    views = []
    for block in blocks:
        if isinstance(block, Chart):
            name, (made, picture) = next(pictures)
            shown = _chart(block, name, made, picture)
        else:
            shown = _still(block)
        levels = list(getattr(block, "levels", ()))
        views.append(shown | {"levels": json.dumps(levels), "label": ", ".join(map(level_words, levels))})
    factors = _factors([getattr(block, "levels", ()) for block in blocks])
    first = views[0]
    folded, size = _folded(blocks)
    own = {"views": views, "factors": factors, "folded": folded, "size": size}
    return own | {"kind": first["kind"], "title": first["title"], "copyable": first.get("copyable", False)}


def _factors(levels: Sequence[Sequence[tuple[str, str]]]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Each factor that a reader can switch, with (level, its words) in order of appearance."""
    if len(levels) < 2:
        return []
    names = dict.fromkeys(name for own in levels for name, _ in own)
    found = [
        (name, list(dict.fromkeys(level for own in levels for factor, level in own if factor == name)))
        for name in names
    ]
    return [(name, [(level, _switch_words(name, level)) for level in own]) for name, own in found if len(own) > 1]


def _switch_words(factor: str, level: str) -> str:
    """A level on its switch, which has the factor's name beside it."""
    words = level_words((factor, level))
    return level if words == f"{level} {factor}" else words


def _folded(blocks: Sequence[Picture]) -> tuple[bool, str]:
    """Whether a section is folded, and what its head says of its size."""
    if all(isinstance(block, Table) for block in blocks):
        rows = max(len(block.rows) for block in blocks if isinstance(block, Table))
        return rows > _LONG, f"{rows} rows"
    return isinstance(blocks[0], Text) and _is_method(blocks[0]), ""


def _is_method(text: Text) -> bool:
    return text.title.lower().startswith("method")


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


def _still(block: Table | Gallery | Text) -> dict[str, Any]:
    if isinstance(block, Table):
        return _table(block.title, block.columns, block.rows) | {"caption": block.caption}
    if isinstance(block, Gallery):
        exhibits = [_exhibit(exhibit) for exhibit in block.exhibits]
        own = {"kind": "gallery", "title": block.title, "caption": block.caption}
        return own | {"exhibits": exhibits[:_FIRST], "more": exhibits[_FIRST:]}
    own = {"kind": "text", "title": block.title, "paragraphs": paragraphs(block.body)}
    return own | {"copyable": _is_method(block)}


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> dict[str, Any]:
    columns, rows, alike = _without_constants(columns, rows)
    drawn = [[cells.shown(cell) for cell in row] for row in rows]
    if columns and columns[0] in _MEASURES:
        drawn = [[_named(first), *rest] for first, *rest in drawn]
    numeric = cells.numeric_columns(drawn) or [False] * len(columns)
    longest = [max(len(cell.text) for cell in column) for column in zip(*drawn, strict=True)] or [0] * len(columns)
    wordy = [n > _WORDY and not right for n, right in zip(longest, numeric, strict=True)]
    return {
        "kind": "table",
        "title": title,
        "columns": list(zip(columns, numeric, wordy, strict=True)),
        "terse": not any(wordy[:1]),
        "rows": drawn,
        "note": " ".join(filter(None, (alike, cells.note_on_intervals(cell for row in rows for cell in row)))),
    }


def _without_constants(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]]
) -> tuple[Sequence[str], Sequence[Sequence[Cell]], str]:
    """A table without the columns of words that say the same in every row, and one sentence that says it instead."""
    same = {
        i: str(rows[0][i])
        for i in range(len(columns))
        if len(rows) > 1 and isinstance(rows[0][i], str) and all(row[i] == rows[0][i] for row in rows)
    }
    same = {i: words for i, words in same.items() if len(words) <= _WORDY}
    if not same or len(columns) - len(same) < 2:
        return columns, rows, ""
    kept = [i for i in range(len(columns)) if i not in same]
    told = ", ".join(f"{columns[i]} {words}" for i, words in same.items() if words)
    left = [[row[i] for i in kept] for row in rows]
    return [columns[i] for i in kept], left, f"In all rows: {told}." if told else ""


def _named(cell: cells.Shown) -> cells.Shown:
    """A measure by words, with its code name on hover."""
    words = cells.in_words(cell.text)
    return cell if words == cell.text else replace(cell, text=words, title=cell.text)


def _exhibit(exhibit: Exhibit) -> dict[str, Any]:
    lines = [cells.prose(line) for line in exhibit.lines]
    own: dict[str, Any] = {
        "title": exhibit.title,
        "key": exhibit.key,
        "lines": lines,
        "text": exhibit.text,
        "image": "",
    }
    own["guesses"] = [
        (guess.who, [(name, f"{p:.1%}", f"{100 * min(1.0, max(0.0, p)):.1f}%") for name, p in guess.classes])
        for guess in exhibit.guesses
    ]
    if exhibit.image:
        try:
            own["image"] = data_uri(exhibit.image)
        except Refusal as error:
            raise Refusal(error.id, f"exhibit {exhibit.title!r}: {error}") from error
        own["width"], own["height"] = shown_size(exhibit.image)
        own["alt"] = f"The image of {exhibit.title}"
    return own


# --- verdicts and findings ------------------------------------------------------------------------------------------


def statements(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """Every statement with its rule, its source and, by setting, all of its evidence: what the matrix folds away."""
    grouped: dict[tuple[str, str], list[Claim]] = {}
    for claim in claims:
        grouped.setdefault((claim.name, claim.text), []).append(claim)
    found = []
    for i, ((name, text), group) in enumerate(grouped.items(), start=1):
        rules = list(dict.fromkeys(claim.rule for claim in group))
        own = {"anchor": f"claim-{i}", "name": name, "text": text, "rules": rules, "source": group[0].source}
        said = list(dict.fromkeys(claim.said for claim in group if claim.said))
        found.append(own | {"said": said, "cases": [_case(claim) for claim in group]})
    return found


def _case(claim: Claim) -> dict[str, Any]:
    own = {"setting": claim.setting, "note": cells.prose(claim.note), "verdict": claim.verdict}
    robust = evidence(scaled(estimate, claim.unit) for estimate in claim.robust)
    return own | {
        "symbol": SYMBOLS[claim.verdict],
        "evidence": evidence(claim.evidence),
        "robust": [row | {"value": f"{row['value']} {claim.unit}".strip()} for row in robust],
    }


def finding(found: Finding) -> dict[str, Any]:
    """A check of a diagnosis, as its card shows it."""
    own = {"name": found.name, "status": found.status}
    own |= {"message": cells.prose(found.message), "advice": cells.prose(found.advice)}
    return own | {"symbol": SYMBOLS[found.status], "evidence": evidence(found.evidence)}


def evidence(estimates: Iterable[Estimate]) -> list[dict[str, str]]:
    """Estimates as rows of text."""
    rows = []
    for estimate in estimates:
        value, interval = cells.value_and_interval(estimate)
        rows.append({"name": estimate.name, "value": value, "interval": interval, "basis": cells.basis(estimate)})
    return rows


def short_title(title: str) -> str:
    """A title for the contents: up to its first colon or question mark, where something is left.

    >>> short_title("Does it pay? Accuracy over the control"), short_title("By class")
    ('Does it pay?', 'By class')
    """
    head = re.match(r"(.{8,60}?)(?:(?<=\?) |: )", title)
    return head[1] if head else title
