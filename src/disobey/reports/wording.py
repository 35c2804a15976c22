"""Claims in words: their numbers in points or nats, their settings, and what a verdict means to somebody in a hurry."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from disobey.records.results import Claim, Estimate, Levels, Result
from disobey.reports import cells

SYMBOLS = {
    "supported": "✓",
    "contradicted": "✗",
    "negligible": "≈",
    "undecided": "?",
    "ok": "✓",
    "note": "i",
    "warning": "!",
}
PLAIN = {
    "supported": "yes",
    "contradicted": "no, the opposite",
    "negligible": "no difference that matters",
    "undecided": "undecided",
}
_NOISE = re.compile(r"^(\d+(?:\.\d+)?\s?%) (?:label )?noise$")
_BRIEF = 60  # characters of a note that is shown beside its word
_HUNDREDTHS = "points"  # the unit of fractions that are shown as percentage points


def deciding(claim: Claim) -> Estimate | None:
    """The estimate that a claim's word rests on."""
    return claim.evidence[claim.deciding] if claim.deciding < len(claim.evidence) else None


def scaled(estimate: Estimate, unit: str) -> Estimate:
    """The estimate in the unit that is shown: fractions as percentage points.

    >>> print(scaled(Estimate("gain", 0.018, 0.012, 0.024, 0.95, 5, "runs"), "points"))
    1.8 [1.2, 2.4] (95% over 5 runs)
    """
    if unit != _HUNDREDTHS:
        return estimate
    return estimate.times(100)


def shown_number(value: float, unit: str, *, signed: bool = False) -> str:
    """A border, a margin or an effect with its unit.

    >>> shown_number(0.005, "points"), shown_number(1.0, ""), shown_number(0.05, "nats", signed=True)
    ('0.5 points', '1', '+0.05 nats')
    """
    value = 100 * value if unit == _HUNDREDTHS else value
    text = cells.number(float(f"{value:.2g}"))
    return " ".join(filter(None, (f"+{text}" if signed and value > 0 else text, unit)))


def amount(claim: Claim) -> str:
    """The deciding estimate with interval and unit, and a sign where it is a difference; empty where there is none.

    >>> gain = Estimate("gain", 0.0182, 0.012, 0.0244, 0.95, 5, "runs")
    >>> amount(Claim("It pays.", "", "supported", (gain,), "", border=0.0, unit="points"))
    '+1.82 points [1.20, 2.44]'
    """
    estimate = deciding(claim)
    if estimate is None:
        return ""
    own = scaled(estimate, claim.unit)
    value, interval = cells.value_and_interval(own)
    sign = "+" if claim.border == 0 and own.value > 0 else ""
    return " ".join(filter(None, (f"{sign}{value}", claim.unit, interval)))


# --- settings -------------------------------------------------------------------------------------------------------


def levels_of(claim: Claim) -> Levels:
    """A claim's setting as (factor, level), from its words where nothing else is known."""
    if claim.levels:
        return claim.levels
    parts = (part.strip() for part in claim.setting.rstrip(".").split(", "))
    return tuple(("label noise", m[1]) if (m := _NOISE.match(part)) else ("", part) for part in parts if part)


@dataclass(frozen=True)
class Settings:
    """The settings of several claims: what all of them share, and what is left to tell them apart.

    Attributes:
        shared: levels that every claim has.
    """

    shared: Levels

    @classmethod
    def over(cls, claims: Iterable[Claim]) -> Settings:
        """Of these claims."""
        every = [levels_of(claim) for claim in claims]
        return cls(tuple(level for level in (every[0] if every else ()) if all(level in other for other in every)))

    def own(self, claim: Claim) -> str:
        """What sets one claim's setting apart, in words; empty where nothing does."""
        return ", ".join(level_words(level) for level in levels_of(claim) if level not in self.shared)

    @property
    def words(self) -> str:
        """What all share."""
        return ", ".join(map(level_words, self.shared))


def level_words(level: tuple[str, str]) -> str:
    """A level as people say it.

    >>> level_words(("label noise", "0%")), level_words(("label noise", "20%")), level_words(("student", "self"))
    ('clean labels', '20% wrong labels', 'self student')
    >>> level_words(("temperature", "4")), level_words(("", "S3"))
    ('τ = 4', 'S3')
    """
    factor, name = level
    if factor in ("label noise", "noise"):
        return "clean labels" if name.replace(" ", "") in ("0%", "0") else f"{name} wrong labels"
    if factor in ("temperature", "τ"):
        return f"τ = {name}"
    return f"{name} {factor}" if factor and not name.endswith(factor) else name


def clause(text: str) -> str:
    """A statement without its end mark, to go on with.

    >>> clause("Distillation helps (test).")
    'Distillation helps (test)'
    """
    return text.rstrip().rstrip(".")


def brief_note(claim: Claim) -> str:
    """Why nothing was decided, where that is said in a few words: what a reader of the number alone would miss.

    >>> brief_note(Claim("", "", "undecided", (), "", note="No verdict from fewer than 3 seeds."))
    'no verdict from fewer than 3 seeds'
    """
    if claim.verdict != "undecided" or len(claim.note) > _BRIEF:
        return ""
    return claim.note[:1].lower() + clause(claim.note)[1:]


def correction_known(claims: Sequence[Claim]) -> bool:
    """Whether the report's claims were corrected for their number."""
    return any(math.isfinite(claim.adjusted) for claim in claims)


def main_claims(result: Result) -> tuple[Claim, ...]:
    """The claims that answer the question, in the order in which the study names them; else the first statement's."""
    claims = result.of(Claim)
    found = tuple(claim for id in result.main for claim in claims if id in (claim.id, claim.name))
    return found or tuple(claim for claim in claims if claims and claim.text == claims[0].text)
