"""The verdict matrix: statements by settings, each cell with its word, its interval and its lines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from disobey.records.results import Claim
from disobey.reports.forest import forest, scale_of
from disobey.reports.wording import (
    SYMBOLS,
    Settings,
    amount,
    brief_note,
    correction_known,
    deciding,
    shown_number,
)

_COLUMNS = 3  # settings that stand beside each other; more of them stand below each other
_ROWS = 6  # settings of one statement up to which each has its row; more of them are folded


@dataclass(frozen=True)
class Line:
    """A further word of a cell: of the literal line, or after correction; or what could have been seen."""

    name: str
    symbol: str
    word: str
    meaning: str


@dataclass(frozen=True)
class Cell:
    """One statement in one setting."""

    setting: str
    verdict: str
    symbol: str
    picture: Markup
    numbers: str
    lines: tuple[Line, ...]
    of: str  # what the numbers are of


@dataclass(frozen=True)
class Row:
    """One statement: its cells by the matrix's columns, or below each other where it has settings of its own.

    Attributes:
        name: for people: C1.
        text: the statement.
        anchor: of its rules and evidence.
        cells: None where it was not judged on a column's setting.
        own: whether its settings are not the columns, so that the cells name theirs.
        shared: what its settings have in common, where they are its own.
        counts: of many settings, (word, symbol, how many); then the picture shows all of them and the cells are folded.
        picture: all settings at once, where the cells are folded.
    """

    name: str
    text: str
    anchor: str
    cells: tuple[Cell | None, ...]
    own: bool
    shared: str = ""
    counts: tuple[tuple[str, str, int], ...] = ()
    picture: Markup = Markup("")


@dataclass(frozen=True)
class Matrix:
    """Every verdict at a glance.

    Attributes:
        columns: settings that several statements share, three at most.
        rows: the statements, in order.
        shared: what all settings have in common, in words.
        judged: how many claims.
        corrected: whether they were corrected for their number.
        literal: whether some have a literal line.
        margins: whether some have a margin.
        borders: whether some have a border to draw.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    shared: str
    judged: int
    corrected: bool
    literal: bool
    margins: bool
    borders: bool


def matrix(claims: Sequence[Claim]) -> Matrix | None:
    """Statements by settings; None where nothing was judged.

    Args:
        claims: every claim of a report, in its order. Claims of one name and text are one statement.
    """
    if not claims:
        return None
    statements: dict[tuple[str, str], list[Claim]] = {}
    for claim in claims:
        statements.setdefault((claim.name, claim.text), []).append(claim)
    everywhere, settings = common_settings(list(statements.values()))
    columns = tuple(dict.fromkeys(settings.own(c) for c in claims if c.setting in everywhere))
    corrected = correction_known(claims)
    if len(columns) == 1 and any(claim.setting not in everywhere for claim in claims):
        everywhere, columns, settings = (), (), Settings.over(claims)  # one column, and rows that do not fit it
    rows = []
    for i, ((name, text), group) in enumerate(statements.items()):
        rows.append(_row(name, text, f"claim-{i + 1}", group, everywhere, settings, corrected))
    return Matrix(
        columns,
        tuple(rows),
        settings.words,
        len(claims),
        corrected,
        any(claim.literal for claim in claims),
        any(claim.margin for claim in claims),
        any(claim.border == claim.border for claim in claims),
    )


def common_settings(statements: Sequence[Sequence[Claim]]) -> tuple[tuple[str, ...], Settings]:
    """The settings that become columns, and what all of these have in common; nothing where there are none."""
    everywhere = _columns(statements)
    claims = [claim for group in statements for claim in group if claim.setting in everywhere]
    return everywhere, Settings.over(claims) if claims else Settings(())


def _columns(statements: Sequence[Sequence[Claim]]) -> tuple[str, ...]:
    """The settings of most statements, if there are few and none occurs twice in one."""
    if any(max(Counter(claim.setting for claim in group).values()) > 1 for group in statements):
        return ()
    sets = Counter(tuple(claim.setting for claim in group) for group in statements) or Counter({(): 0})
    best, n = max(sets.items(), key=lambda item: (item[1], len(item[0])))
    several = n > 1 or len(statements) == 1
    return best if several and len(best) <= _COLUMNS else ()


def _row(
    name: str,
    text: str,
    anchor: str,
    group: Sequence[Claim],
    everywhere: Sequence[str],
    settings: Settings,
    corrected: bool,
) -> Row:
    scale = scale_of(group)
    by_setting = {claim.setting: claim for claim in group}
    if everywhere and set(by_setting) <= set(everywhere):
        ordered = [by_setting.get(setting) for setting in everywhere]
        cells = tuple(None if claim is None else _cell(claim, "", scale, corrected) for claim in ordered)
        return Row(name, _without_end(text), anchor, cells, False)
    alike = Settings.over(group)
    shared = Settings(tuple(level for level in alike.shared if level not in settings.shared)).words
    names = [alike.own(claim) for claim in group]
    if len(set(names)) < len(group):  # one setting several times: what is measured tells them apart
        measured = [e.name if (e := deciding(claim)) else "" for claim in group]
        names = [": ".join(filter(None, pair)) for pair in zip(names, measured, strict=True)]
    cells = tuple(_cell(claim, name, scale, corrected) for claim, name in zip(group, names, strict=True))
    if len(group) <= _ROWS:
        return Row(name, _without_end(text), anchor, cells, True, shared)
    words = Counter(claim.verdict for claim in group)
    counts = tuple((word, SYMBOLS[word], words[word]) for word in SYMBOLS if words[word])
    return Row(name, _without_end(text), anchor, cells, True, shared, counts, forest(group, scale))


def _cell(claim: Claim, setting: str, scale, corrected: bool) -> Cell:
    lines = []
    if claim.literal is not None:
        meaning = "literal: the student alone against the border"
        lines.append(Line("literal", SYMBOLS[claim.literal], claim.literal, meaning))
    if corrected:
        p = f", p = {claim.adjusted:.2g}" if claim.adjusted == claim.adjusted else ""
        meaning = f"after Holm's correction for all claims of this report{p}"
        lines.append(Line("Holm", SYMBOLS[claim.corrected], claim.corrected, meaning))
    estimate = deciding(claim)
    if claim.verdict == "undecided" and claim.detectable == claim.detectable:
        meaning = "an effect of this size would have been seen with chance 0.8"
        lines.append(Line(f"would see {shown_number(claim.detectable, claim.unit)}", "", "", meaning))
    if note := brief_note(claim):
        lines.append(Line(note, "", "", "why nothing was decided"))
    of = "" if estimate is None else estimate.name
    return Cell(setting, claim.verdict, SYMBOLS[claim.verdict], forest([claim], scale), amount(claim), tuple(lines), of)


def _without_end(text: str) -> str:
    return re.sub(r"\.$", "", text)
