"""The answer: what was found, by how much and how surely, in one or two plain sentences."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from disobey.records.results import Claim, Finding, Result
from disobey.reports import cells
from disobey.reports.wording import (
    PLAIN,
    Settings,
    amount,
    brief_note,
    clause,
    correction_known,
    deciding,
    main_claims,
    shown_number,
)

_NAMED = 60  # characters of the names of settings that are listed
_WHERE = ("data", "groups", "tasks", "teacher", "student", "students")  # settings that say on what it was found
_EACH = 3  # settings up to which each has a clause of its own


@dataclass(frozen=True)
class Part:
    """What one statement came to in one setting.

    Attributes:
        setting: in words; empty where there is only one.
        verdict: the word of the claim; empty where several are told together.
        word: the same for somebody in a hurry: yes, no, undecided.
        numbers: by how much, and what could have been seen.
    """

    setting: str
    verdict: str
    word: str
    numbers: str

    def __str__(self) -> str:
        head = " ".join(filter(None, (f"{self.setting}:" if self.setting else "", self.word)))
        return ", ".join(filter(None, (head, self.numbers)))


@dataclass(frozen=True)
class Sentence:
    """One statement and what it came to.

    >>> print(Sentence("It pays", (Part("Clean labels", "undecided", "undecided", "+0.1 points [−0.3, 0.5]"),)))
    It pays. Clean labels: undecided, +0.1 points [−0.3, 0.5].
    """

    text: str
    parts: tuple[Part, ...]

    def __str__(self) -> str:
        told = "; ".join(map(str, self.parts))
        return f"{self.text}. {told}." if told else f"{self.text}."


@dataclass(frozen=True)
class Answer:
    """What somebody reads who reads nothing else.

    Attributes:
        sentences: a statement each, with what it came to by setting; empty where no claim was judged.
        prose: paragraphs that somebody wrote: a study's headline, the summary of a diagnosis.
        basis: what the intervals are over, and what was corrected for.
    """

    sentences: tuple[Sentence, ...]
    prose: tuple[str, ...]
    basis: str

    def lines(self) -> list[str]:
        """As plain text, a paragraph each."""
        return [*self.prose, *map(str, self.sentences), *filter(None, (self.basis,))]


def answer(result: Result) -> Answer:
    """The answer to a result's question: the study's headline, else its main claims in words, else its summary.

    >>> from disobey.records.results import Estimate
    >>> gain = Estimate("gain", 0.0182, 0.012, 0.0244, 0.95, 5, "runs")
    >>> claim = Claim("It pays.", "", "supported", (gain,), "", "C1", border=0.0, unit="points")
    >>> print(*answer(Result("demo", "Does it?", (claim,))).lines(), sep="|")
    It pays. Yes, +1.82 points [1.20, 2.44].|Brackets: 95% over 5 runs.
    """
    claims = main_claims(result)
    if result.headline:
        return Answer((), paragraphs(cells.prose(result.headline)), _basis(result, claims))
    if not claims:
        return Answer((), paragraphs(cells.prose(result.summary)), "")
    settings = Settings.over(claims)
    by_text: dict[str, list[Claim]] = {}
    for claim in claims:
        by_text.setdefault(claim.text, []).append(claim)
    corrected = correction_known(result.of(Claim))
    found = tuple(
        Sentence(clause(text), _capital(_parts(group, settings, corrected))) for text, group in by_text.items()
    )
    return Answer(found, (), _basis(result, claims))


def _parts(claims: Sequence[Claim], settings: Settings, corrected: bool) -> tuple[Part, ...]:
    settings = Settings.over(claims) if len(claims) > 1 else settings
    if len(claims) > _EACH:
        return _together(claims, settings)
    return tuple(_part(claim, settings.own(claim), corrected) for claim in claims)


def _capital(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The first part as the beginning of a sentence."""
    first, *rest = parts
    start = replace(first, setting=_upper(first.setting)) if first.setting else replace(first, word=_upper(first.word))
    return (start, *rest)


def _upper(text: str) -> str:
    """A word at the beginning of a sentence; symbols and names (τ=1, b=0, digits-8x8) stay as they are."""
    return text[:1].upper() + text[1:] if re.match(r"[a-z]{2,}(?=[ ,]|$)", text) else text


def _part(claim: Claim, setting: str, corrected: bool) -> Part:
    word = PLAIN[claim.verdict]
    if claim.verdict == "contradicted" and claim.border != 0:
        word = "no"
    asides = []
    if claim.border and math.isfinite(claim.border):
        asides.append(f"against {shown_number(claim.border, claim.unit)}")
    if claim.verdict == "negligible" and claim.margin:
        asides.append(f"within ±{shown_number(claim.margin, claim.unit)}")
    if claim.verdict == "undecided" and math.isfinite(claim.detectable):
        asides.append(f"{shown_number(claim.detectable, claim.unit)} would have been seen")
    if note := brief_note(claim):
        asides.append(note)
    if corrected and claim.corrected != claim.verdict:
        asides.append(f"{claim.corrected} after correction")
    numbers = " ".join(filter(None, (amount(claim), f"({'; '.join(asides)})" if asides else "")))
    return Part(setting, claim.verdict, word, numbers)


def _together(claims: Sequence[Claim], settings: Settings) -> tuple[Part, ...]:
    """Many settings in one clause for each word, with the range of what was seen."""
    counts = Counter(claim.verdict for claim in claims)
    found = []
    for verdict in PLAIN:
        if n := counts.get(verdict, 0):
            group = [claim for claim in claims if claim.verdict == verdict]
            names = ", ".join(settings.own(claim) for claim in group)
            numbers = " ".join(filter(None, (_range(group), f"({names})" if len(names) <= _NAMED else "")))
            found.append(Part("", verdict, f"{PLAIN[verdict]} in {n} of {len(claims)} settings", numbers))
    return tuple(found)


def _range(claims: Sequence[Claim]) -> str:
    values = [estimate.value for claim in claims if (estimate := deciding(claim)) and math.isfinite(estimate.value)]
    if not values:
        return ""
    unit, signed = claims[0].unit, claims[0].border == 0
    low, high = (shown_number(value, unit, signed=signed) for value in (min(values), max(values)))
    return low if low == high else f"from {low.removesuffix(unit).strip()} to {high}"


def cautions(result: Result, told: Answer) -> list[str]:
    """What comes before any number: the result's own cautions and, of a study, the warnings about its runs."""
    warnings = [found.message for found in result.of(Finding) if found.status == "warning" and result.of(Claim)]
    shown = " ".join(told.prose)
    return [caution for caution in map(cells.prose, (*result.cautions, *warnings)) if caution not in shown]


def _basis(result: Result, claims: Sequence[Claim]) -> str:
    every = result.of(Claim)
    estimates = [estimate for claim in claims if (estimate := deciding(claim)) is not None]
    found = [_where(result), cells.note_on_intervals(estimates)]
    if correction_known(every) and len(every) > 1:
        same = all(claim.corrected == claim.verdict for claim in claims)
        said = "the answer above stays" if same else "the answer above changes where that is said"
        found.append(f"After correction for all {len(every)} claims of this report (Holm) {said}.")
    return " ".join(filter(None, found))


def _where(result: Result) -> str:
    """The data and the models, where the result's settings name them."""
    named = []
    for key in _WHERE:
        value = result.settings.get(key)
        if value:
            named.append(f"{key}: {', '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}")
    text = "; ".join(named)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def paragraphs(text: str) -> tuple[str, ...]:
    """Text at its empty lines."""
    return tuple(part.strip() for part in text.replace("\r", "").split("\n\n") if part.strip())
