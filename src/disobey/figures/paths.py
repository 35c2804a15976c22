"""The path of every claim: how its interval closed in while seeds were added, beside border and margin."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TypeAlias

from disobey.records.results import Axis, Cell, Chart, Claim, Estimate, Rule, Table

Step: TypeAlias = tuple[int, Sequence[Claim]]  # (seeds, the claims as they stood then)


def path_charts(steps: Sequence[Step]) -> list[Chart]:
    """One chart a claim id: the deciding interval against the number of seeds, a panel for each setting."""
    ids = dict.fromkeys(claim.name for _, claims in steps for claim in claims)
    return [_chart(id, [(n, [c for c in claims if c.name == id]) for n, claims in steps]) for id in ids]


def settled_after(steps: Sequence[Step], claim: Claim) -> int | None:
    """The number of seeds from which on a claim was settled; None where it is open at the end."""
    after = None
    for n, claims in steps:
        now = next((c for c in claims if (c.name, c.setting) == (claim.name, claim.setting)), None)
        if now is None or now.verdict == "undecided":
            after = None
        elif after is None:
            after = n
    return after


def path_table(steps: Sequence[Step]) -> Table:
    """How many seeds every claim took."""
    n, claims = steps[-1]
    rows = tuple(
        (claim.name, claim.setting, claim.verdict, settled_after(steps, claim) or f"more than {n}", _deciding(claim))
        for claim in claims
    )
    columns = ("claim", "setting", "word", "settled after so many seeds", "at the end")
    caption = "The intervals hold at every number of seeds at once, so that looking after each block costs no error."
    return Table("How many seeds every claim took", columns, rows, caption)


def scale_of(claim: Claim) -> float:
    """What a claim's numbers are multiplied with to be read: shares are shown in points."""
    return 100.0 if claim.unit == "points" else 1.0


def border_rules(claim: Claim) -> tuple[Rule, ...]:
    """The border of a claim and its margin on both sides, as lines of a chart."""
    scale, border, margin = scale_of(claim), claim.border, claim.margin
    if not math.isfinite(border):
        return ()
    lines = [(border, f"border {border * scale:g}")]
    if margin:
        lines += [(border - margin, f"margin ±{margin * scale:g}"), (border + margin, "")]
    return tuple(Rule(0, at * scale, label) for at, label in lines)


def file_stem(prefix: str, name: str) -> str:
    """A chart's name from a claim's.

    >>> file_stem("path", "C1 test")
    'path-c1-test'
    """
    return f"{prefix}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}"


def _deciding(claim: Claim) -> Estimate | None:
    return claim.evidence[claim.deciding] if claim.deciding < len(claim.evidence) else None


def _chart(id: str, steps: Sequence[Step]) -> Chart:
    last = next(claims[-1] for _, claims in reversed(steps) if claims)
    scale, rows = scale_of(last), [(n, claim, _deciding(claim)) for n, claims in steps for claim in claims]
    several = len({claim.setting for _, claim, _ in rows}) > 1
    data: dict[str, tuple[Cell, ...]] = {
        "seeds": tuple(n if len(steps) > 1 else str(n) for n, _, _ in rows),
        "value": tuple(None if e is None else e.value * scale for _, _, e in rows),
        "low": tuple(None if e is None else e.low * scale for _, _, e in rows),
        "high": tuple(None if e is None else e.high * scale for _, _, e in rows),
        "setting": tuple(claim.setting for _, claim, _ in rows),
        "word": tuple(claim.verdict for _, claim, _ in rows),
    }
    deciding = _deciding(last)
    what = "value" if deciding is None else deciding.name
    return Chart(
        file_stem("path", id),
        f"{id} while seeds were added",
        "line" if len(steps) > 1 else "interval",
        data,
        Axis("seeds", "paired seeds", "linear" if len(steps) > 1 else "nominal"),
        Axis("value", f"{what} ({last.unit})" if last.unit else what),
        f"{last.text} Its interval after each block of seeds, beside the border {last.border:g}.",
        caption=f"{last.text} Intervals that hold at every number of seeds at once.",
        facet=Axis("setting", "", "nominal") if several else None,
        low="low",
        high="high",
        rules=border_rules(last),
        tooltip=("seeds", "value", "low", "high", "word"),
    )
