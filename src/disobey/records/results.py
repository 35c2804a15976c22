"""What a study or a diagnosis says: estimates, tables, charts, claims and findings, as plain values.

A `Result` holds no time, path or machine: the same evidence gives the same bytes. How it came about is in
`provenance.py`, beside it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from disobey.bounds import read_bounded
from disobey.errors import refusal
from disobey.records.decoding import LARGEST_RESULT, Rules, decode, parse_json
from disobey.records.estimates import Cell, Estimate, Levels, Verdict, comparable
from disobey.records.files import write_text


@dataclass(frozen=True, repr=False)
class Table:
    """Rows of cells under named columns. Cells may be estimates: they print with their intervals."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    levels: Levels = ()

    def __post_init__(self):
        assert all(len(row) == len(self.columns) for row in self.rows), f"ragged table {self.title!r}"

    def __repr__(self) -> str:
        return f"Table({self.title!r}, {len(self.rows)} rows x {len(self.columns)} columns)"

    def _repr_html_(self) -> str:
        from disobey.shown import table_html

        return table_html(self)

    def to_frame(self) -> Any:
        """As a pandas data frame: an estimate takes three columns. Raises `Refusal` (``no-pandas``) without pandas."""
        from disobey.shown import table_frame

        return table_frame(self)


@dataclass(frozen=True)
class Axis:
    """One axis of a chart: the column that it shows and the words beside it (with the unit)."""

    column: str
    title: str
    scale: Literal["linear", "log", "nominal"] = "linear"


@dataclass(frozen=True)
class Rule:
    """A straight line y = slope * x + intercept drawn across a chart (the diagonal, a fit)."""

    slope: float
    intercept: float
    label: str
    facet: str = ""  # drawn in this facet only; in all of them where empty


@dataclass(frozen=True, repr=False)
class Chart:
    """What a figure shows, not how it is drawn: `reports` turns it into an interactive chart and an SVG.

    ``data`` maps column names to equally long tuples. ``kind``:
    ``scatter`` points x, y (a 2-D histogram from 5,000 points); ``line`` y against x by color with a band from
    ``low`` to ``high``; ``interval`` a point with a whisker from ``low`` to ``high`` for every x;
    ``heatmap`` cells x, y shaded by ``color``; ``bar`` bars of y by x.
    """

    name: str  # also the stem of the SVG file
    title: str
    kind: Literal["scatter", "line", "interval", "heatmap", "bar"]
    data: Mapping[str, tuple[Cell, ...]]
    x: Axis
    y: Axis
    alt: str  # what somebody who cannot see it should know
    caption: str = ""
    color: Axis | None = None
    facet: Axis | None = None
    low: str = ""
    high: str = ""
    rules: tuple[Rule, ...] = ()
    tooltip: tuple[str, ...] = ()
    order: str = ""  # column of numbers by which the points of a line are joined; by x where empty
    key: str = ""  # column that names the example of each mark, as `Exhibit.key` does
    marked: str = ""  # column of the letters that stand in some cells of a heat map
    levels: Levels = ()

    def __post_init__(self):
        lengths = {name: len(column) for name, column in self.data.items()}
        assert len(set(lengths.values())) <= 1, f"columns of unequal length in {self.name!r}: {lengths}"

    def __repr__(self) -> str:
        marks = len(next(iter(self.data.values()), ()))
        return f"Chart({self.name!r}, {self.kind} of {marks:,} marks)"


@dataclass(frozen=True)
class Guess:
    """What one model says of an example: its most likely classes with their probabilities, likeliest first."""

    who: str
    classes: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Exhibit:
    """One example of a gallery: an image (rows of grey or RGB values, 0–255) or a text, and what was said of it."""

    title: str
    lines: tuple[str, ...]
    text: str = ""
    image: tuple[Any, ...] = ()  # (H, W) or (H, W, 3) nested tuples of integers
    guesses: tuple[Guess, ...] = ()
    key: str = ""  # names the example among the marks of charts


@dataclass(frozen=True, repr=False)
class Gallery:
    """Examples one by one."""

    title: str
    exhibits: tuple[Exhibit, ...]
    caption: str = ""
    levels: Levels = ()

    def __repr__(self) -> str:
        return f"Gallery({self.title!r}, {len(self.exhibits)} examples)"


@dataclass(frozen=True)
class Text:
    """A paragraph with a heading: methods, definitions, caveats."""

    title: str
    body: str


@dataclass(frozen=True, repr=False, eq=False)
class Claim:
    """A published statement made testable, with its verdict on these data and these models.

    Attributes:
        text: the statement as one sentence.
        source: where it stands.
        verdict: its word; that of *beyond control* where a control exists.
        evidence: the estimates that the rule read, and those beside them.
        rule: how the estimates decide, in words.
        name: for people: C1, C2, ...
        setting: which data, noise, models it was judged on, in words.
        note: what a reader must know before repeating the verdict.
        id: for programs and tests, the same in every release.
        literal: the word of the literal line, the student against the border; None where the claim has one line only.
        corrected: the word after Holm's correction over all claims of the report, where ``adjusted`` is a number.
        p_value: the smallest alpha at which the rule decides; NaN where there is none.
        adjusted: Holm's p-value over all claims of the report; NaN where there is none.
        deciding: index into ``evidence`` of the estimate that the word rests on.
        border: where the sides meet, in the estimate's unit; NaN where the rule has none.
        margin: what is as good as the border, on either side of it; 0 where there is no margin.
        direction: +1 claimed above the border, -1 below, 0 claimed within the margin.
        unit: ``points`` for fractions that are shown as percentage points, ``nats``, or nothing.
        detectable: the effect that would have been seen with chance 0.8; NaN where unknown.
        robust: median and interquartile mean with their intervals, beside the deciding mean.
        levels: the setting as (factor, level) pairs, as in ("label noise", "20%"), where known.
        said: empty, or how the rule is known to be older than the runs (a registration's hash).
    """

    text: str
    source: str
    verdict: Verdict
    evidence: tuple[Estimate, ...]
    rule: str
    name: str = ""
    setting: str = ""
    note: str = ""
    id: str = ""
    literal: Verdict | None = None
    corrected: Verdict = "undecided"
    p_value: float = math.nan
    adjusted: float = math.nan
    deciding: int = 0
    border: float = math.nan
    margin: float = 0.0
    direction: int = 1
    unit: str = ""
    detectable: float = math.nan
    robust: tuple[Estimate, ...] = ()
    levels: Levels = ()
    said: str = ""

    def __eq__(self, other: object) -> bool:  # what is unknown on both sides is equal, too
        return isinstance(other, Claim) and comparable(self) == comparable(other)

    def __hash__(self) -> int:
        return hash(comparable(self))

    def __repr__(self) -> str:
        return f"Claim({self.name or self.id!r}, {self.verdict}: {self.text!r})"

    def _repr_html_(self) -> str:
        from disobey.shown import claim_html

        return claim_html(self)


@dataclass(frozen=True)
class Finding:
    """One check of a diagnosis: what was seen, how bad it is and what to try.

    Attributes:
        name: of the check, for people.
        status: ``ok``, ``note`` (worth knowing) or ``warning`` (mend it, or do not rely on the result).
        message: what was seen, in whole sentences.
        evidence: the estimates behind it, each under its own name: see `estimate`.
        advice: what to try, as an instruction.
        id: of the check, kebab-case, for programs and tests; the same in every release.
        case: which of its answers a check gives, where it has several of one status; kebab-case.
        invalidates: nothing else that was computed counts until this is mended.
        headline: what it contributes to the verdict, as a clause without an end mark; empty where that is nothing.
    """

    name: str
    status: Literal["ok", "note", "warning"]
    message: str
    evidence: tuple[Estimate, ...] = ()
    advice: str = ""
    id: str = ""
    case: str = ""
    invalidates: bool = False
    headline: str = ""

    def estimate(self, name: str) -> Estimate | None:
        """The evidence of this name; None where there is none."""
        return next((estimate for estimate in self.evidence if estimate.name == name), None)


Block: TypeAlias = Table | Chart | Gallery | Text | Claim | Finding


@dataclass(frozen=True, repr=False)
class Result:
    """What a study or a diagnosis says: blocks in reading order, a summary, and how it was asked for.

    Attributes:
        study: its name.
        question: what was asked.
        blocks: in reading order.
        summary: two sentences that somebody in a hurry reads.
        smoke: a smoke test is evidence of nothing and says so everywhere.
        settings: the study's own fields, for the methods.
        headline: the answer in one or two plain sentences; made from the main claims where it is empty.
        main: ids of the claims that answer the question, the most telling first.
        cautions: sentences that come before any number: runs that are missing or stand out.
    """

    study: str
    question: str
    blocks: tuple[Block, ...]
    summary: str = ""
    smoke: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    headline: str = ""
    main: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()

    def of(self, kind: type) -> tuple:
        """The blocks of one kind, in order."""
        return tuple(block for block in self.blocks if isinstance(block, kind))

    def __repr__(self) -> str:
        return f"Result({self.study!r}, {len(self.blocks)} blocks: {self.summary[:100] or self.question!r})"

    def _repr_html_(self) -> str:
        from disobey.shown import result_html

        return result_html(self)

    def report(self, folder: str | Path) -> Path:
        """Writes ``report.html``, ``result.json`` and ``figures/``; gives the page's path."""
        from disobey.shown import write_report

        return write_report(self, Path(folder))

    def to_frame(self) -> Any:
        """Every estimate, a row each, as a pandas data frame. Raises `Refusal` (``no-pandas``) without pandas."""
        from disobey.shown import result_frame

        return result_frame(self)

    def model_card(self) -> str:
        """A section for a model card, in markdown: the answer, warnings, claims, and what each interval is over."""
        from disobey.shown import model_card

        return model_card(self)

    def to_json(self) -> str:
        """Text that `from_json` reads back; equal results give equal text.

        >>> r = Result("demo", "Does it?", (Text("Methods", "None."),))
        >>> Result.from_json(r.to_json()) == r
        True
        """
        text = json.dumps(_encode(self), indent=1, ensure_ascii=False, allow_nan=False)
        return _NUMBERS.sub(lambda row: "[" + " ".join(row[1].split()) + "]", text) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Reads `to_json`'s text without a newer version's fields. Raises `Refusal` where it is something else."""
        value = parse_json(text, "a result.json that disobey wrote", id=_RULES.id)
        if not isinstance(value, dict) or value.get("type") != cls.__name__:
            raise refusal(
                _RULES.id, "a result.json that disobey wrote", "something else", "the study or diagnosis again"
            )
        try:
            result = decode(value, cls, "result", _RULES)
        except RecursionError:
            raise refusal(_RULES.id, "a result.json that disobey wrote", "nestings without end") from None
        from disobey.records.sound import contradiction  # which knows the blocks of this module

        for block in result.blocks:
            if found := contradiction(block):
                expected, got, where = found
                raise refusal(_RULES.id, expected, got, where=where)
        return result

    def write(self, path: Path) -> None:
        """Writes result.json, or leaves the old one."""
        write_text(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> Result:
        """Reads a file. Raises `Refusal` where it is no result, `OSError` where it cannot be read."""
        try:
            text = read_bounded(path, LARGEST_RESULT).decode("utf-8")
        except UnicodeDecodeError as error:
            raise refusal(_RULES.id, "a result.json that disobey wrote", error) from None
        return cls.from_json(text)


_KINDS = {
    kind.__name__: kind
    for kind in (Axis, Chart, Claim, Estimate, Exhibit, Finding, Gallery, Guess, Result, Rule, Table, Text)
}


def _encode(value: Any) -> Any:
    if isinstance(value, Estimate):
        value = replace(value, **{name: _bound(getattr(value, name)) for name in ("value", "low", "high")})
    if type(value) in _KINDS.values():
        return {"type": type(value).__name__} | {f.name: _encode(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _encode(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_encode(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()  # a numpy scalar
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _bound(value: float) -> Any:
    """An infinite bound as text, which JSON has no number for."""
    return ("inf" if value > 0 else "-inf") if math.isinf(value) else value


# Arrays of numbers get one line (pictures are long); no string holds the end of a line, so none is touched.
_NUMBERS = re.compile(r"\[\n\s+([-+.,\deE\s]+?)\n\s*\]")
_RULES = Rules(
    unknown="drop",
    open_floats=True,
    ranges={
        "Estimate.level": (0, 1),
        "Estimate.n": (0, None),
        "Claim.deciding": (0, None),
        "Claim.margin": (0, None),
        "Claim.direction": (-1, 1),
    },
    renamed={
        f"Claim.{line}": {"refuted": "contradicted", "inconclusive": "undecided"}
        for line in ("verdict", "literal", "corrected")
    },
    id="not-a-result",
)
