"""Numbers as text: as many digits as the interval supports, and the words that belong beside them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from disobey.records.results import Cell, Estimate

MISSING = "–"
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_CODE = re.compile(r"[a-z][A-Za-z0-9]*(?:[_.][A-Za-z0-9]+)+")
_MINUS = "−"
_HYPHEN = re.compile(r"(?<![\w-])-(?=\.?\d)")  # one that stands for a minus


def prose(text: str) -> str:
    """A sentence with its numbers written as tables write them.

    >>> prose("gap -0.3 [-0.4, 0.1] at 1e-5, --level 0.9, top-5")
    'gap −0.3 [−0.4, 0.1] at 1e-5, --level 0.9, top-5'
    """
    return _HYPHEN.sub(_MINUS, text)


def without_controls(text: str) -> str:
    r"""``text`` without what HTML and XML forbid (control characters, half characters): a class may have any name.

    >>> without_controls("a\x00b")
    'ab'
    """
    return _FORBIDDEN.sub("", text)


def number(value: float | int | None, decimals: int | None = None) -> str:
    """A number as text: thousands separated, four significant digits unless ``decimals`` says otherwise.

    >>> number(0.123456), number(-12345.6), number(10_000), number(0.0000012), number(float("nan"))
    ('0.1235', '−12,346', '10,000', '1.2e-06', '–')
    """
    if value is None or not math.isfinite(value):
        return MISSING if value is None or math.isnan(value) else ("∞" if value > 0 else f"{_MINUS}∞")
    if isinstance(value, int):
        text = f"{value:,}"
    elif decimals is not None and decimals <= 6:
        text = f"{value:,.{decimals}f}"
    elif value != 0 and (abs(value) < 1e-4 or abs(value) >= 1e7):
        text = f"{value:.3g}"
    else:
        text = f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")  # no minus before a zero
    return text.replace("-", _MINUS, 1) if text.startswith("-") else text


def digits(estimate: Estimate) -> int | None:
    """Decimals that leave two digits of the interval's half-width; ``None`` where there is no interval.

    A share that never varies is written as its neighbours are, 1.000.

    >>> digits(Estimate("accuracy", 0.912, 0.895, 0.929, 0.95, 1000, "examples"))
    3
    """
    half = (estimate.high - estimate.low) / 2 if estimate.known else 0.0
    if half == 0 and estimate.known and 0 < abs(estimate.value) <= 1:
        return 3
    if half <= 0 or not math.isfinite(half):
        return None
    return max(0, 1 - math.floor(math.log10(half)))


def value_and_interval(estimate: Estimate) -> tuple[str, str]:
    """The two texts of an estimate; the second is empty where there is no interval.

    >>> value_and_interval(Estimate("accuracy", 0.912, 0.895, 0.929, 0.95, 1000, "examples"))
    ('0.912', '[0.895, 0.929]')
    """
    decimals = digits(estimate)
    if not estimate.bounded:
        return number(estimate.value), ""
    low, high = number(estimate.low, decimals), number(estimate.high, decimals)
    return number(estimate.value, decimals), f"[{low}, {high}]"


def basis(estimate: Estimate, sizes: str = "") -> str:
    """What an interval is over: never left out beside an estimate. sizes: to say instead of its n.

    >>> basis(Estimate("accuracy", 0.9, 0.8, 1.0, 0.95, 1000, "examples"))
    '95% over 1,000 examples'
    >>> basis(Estimate("accuracy", 0.9, math.nan, math.nan, 0.95, 1, "runs"))
    'no interval: 1 run'
    """
    n = sizes or (f"{estimate.n:,}" if isinstance(estimate.n, int) else MISSING)
    units = str(estimate.over)
    units = units.removesuffix("s") if estimate.n == 1 else units
    if not estimate.bounded:
        return f"no interval: {n} {units}"
    return f"{100 * estimate.level:g}% over {n} {units}"


@dataclass(frozen=True)
class Shown:
    """A table's cell as it is drawn: its text, what it sorts by and what a hover says."""

    text: str
    extra: str = ""  # the interval, set in a smaller type
    title: str = ""
    sort: str = ""  # a number as text, or the text itself; empty sorts last
    numeric: bool = False


def shown(cell: Cell) -> Shown:
    """How one cell is drawn.

    >>> shown(Estimate("slope", 1.115, 1.05, 1.18, 0.95, 5, "runs"))
    Shown(text='1.115', extra='[1.050, 1.180]', title='slope, 95% over 5 runs', sort='1.115', numeric=True)
    """
    if isinstance(cell, Estimate):
        text, interval = value_and_interval(cell)
        sort = repr(float(cell.value)) if _finite(cell.value) else ""
        return Shown(text, interval, ", ".join(filter(None, (cell.name, basis(cell)))), sort, True)
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return Shown(MISSING, title="no value", numeric=True)
    if isinstance(cell, bool):
        return Shown("yes" if cell else "no", sort="yes" if cell else "no")
    if isinstance(cell, (int, float)):
        return Shown(number(cell), title=repr(cell), sort=repr(cell), numeric=True)
    return Shown(str(cell), sort=str(cell))


def in_words(name: str) -> str:
    """A measure's code name as words.

    >>> in_words("student_right_where_they_differ"), in_words("agreement.low"), in_words("top-5"), in_words("KL")
    ('student right where they differ', 'agreement, low', 'top-5', 'KL')
    """
    return name.replace("_", " ").replace(".", ", ") if _CODE.fullmatch(name) else name


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def numeric_columns(rows: Sequence[Sequence[Shown]]) -> list[bool]:
    """Which columns hold numbers only (and are set to the right).

    >>> numeric_columns([[shown("a"), shown(1)], [shown("b"), shown(None)]])
    [False, True]
    """
    columns = list(zip(*rows, strict=True)) if rows else []
    return [all(cell.numeric for cell in column) and any(cell.sort for cell in column) for column in columns]


def note_on_intervals(cells: Iterable[Cell]) -> str:
    """One sentence on what the brackets of a table are; empty where it holds no estimates.

    >>> e = Estimate("a", 0.5, 0.4, 0.6, 0.95, 5, "runs")
    >>> note_on_intervals([e, e, 3])
    'Brackets: 95% over 5 runs.'
    >>> note_on_intervals([Estimate("a", 0.5, 0.4, 0.6, 0.95, n, "runs") for n in (5, 4, 3)])
    'Brackets: 95% over 3, 4 or 5 runs.'
    """
    samples: dict[str, tuple[Estimate, set[int]]] = {}  # by what is said of all sizes alike
    for cell in cells:
        if isinstance(cell, Estimate):
            words = basis(cell, MISSING)
            samples.setdefault(words, (cell, set()))[1].add(cell.n)
    found = [basis(cell, _listed(sorted(sizes))) for _, (cell, sizes) in sorted(samples.items())]
    return f"Brackets: {'; '.join(found)}." if found else ""


def _listed(sizes: Sequence[int]) -> str:
    """Up to four sizes, else from the smallest to the largest."""
    if len(sizes) > 4:
        return f"{sizes[0]:,} to {sizes[-1]:,}"
    *first, last = (f"{size:,}" for size in sizes)
    return f"{', '.join(first)} or {last}" if first else last
