"""Rules of verdicts: values that carry their words, and the one function that decides.

A claim is about a number with an interval, over training runs and, where one test set serves all of them, its examples.
It has a direction, a border and a smallest effect that matters (margin). Four words:

supported     the whole interval lies on the claimed side of the border.
contradicted  the whole interval lies on the other side.
negligible    the whole interval lies within the margin of the border: whatever the sign, too small to matter.
undecided     none of these; the smallest effect that would have been seen is said beside it.

Every word rests on one interval, the one that is drawn. No word comes from fewer than three seeds, from runs that do
not vary at all, or from an estimate without an interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

import numpy as np

from disobey.measures.inference.comparisons import smallest_effect
from disobey.measures.inference.policy import Intervals
from disobey.records.results import Estimate, Verdict

Groups: TypeAlias = Sequence[Sequence[Estimate]]
FEWEST = 3  # seeds below which no word is given
POINTS, NATS = "points", "nats"  # of accuracy (fractions, shown times 100); of log-probabilities
ACCURACY_MARGIN, SLOPE_MARGIN, NATS_MARGIN = 0.005, 0.05, 0.05


@dataclass(frozen=True)
class Effect:
    """The claim holds on one side of a border.

    Attributes:
        direction: +1 where the claim holds above the border, −1 where it holds below.
        border: where the sides meet, in the estimate's unit.
        margin: the smallest distance from the border that matters; 0: none is too small.
        unit: of the estimate: "points" for a fraction that is shown as percentage points, "nats", or nothing.
        wrong: where the other side begins, if not at the border.
        existence: the claim says that something *can* happen: one setting supports it or leaves it open.
        undefined: what to note where the estimate has no interval.
    """

    direction: Literal[1, -1] = 1
    border: float = 0.0
    margin: float = 0.0
    unit: str = ""
    wrong: float | None = None
    existence: bool = False
    undefined: str = ""

    @property
    def words(self) -> str:
        """The rule as a report prints it."""
        here, there = ("above", "below") if self.direction > 0 else ("below", "above")
        parts = [f"supported: the interval lies {here} {amount(self.border, self.unit)}"]
        if not self.existence:
            wrong = self.border if self.wrong is None else self.wrong
            parts.append(f"contradicted: {there} {amount(wrong, self.unit)}")
        if self.margin:
            parts.append(f"negligible: all within {amount(self.margin, self.unit)} of {amount(self.border, self.unit)}")
        else_ = "else undecided" if not self.existence else "else undecided: one setting cannot contradict it"
        return "; ".join([*parts, else_])


@dataclass(frozen=True)
class BeyondControl:
    """Two lines: the student against the border (literal), and student minus control, which gives the claim its word.

    The literal line contradicts nothing alone; where it is surely on the other side the claim is not supported either.
    Selection and noise move a model that never had the teacher, too: what counts is what the student does beyond it.
    """

    literal: Effect
    beyond: Effect

    @property
    def words(self) -> str:
        """The rule as a report prints it."""
        return f"student minus control: {self.beyond.words}. Literally, without a control: {self.literal.words}"


@dataclass(frozen=True)
class Equivalence:
    """The claim is that the number is as good as ``center``: nearer to it than the margin."""

    margin: float
    center: float = 0.0
    unit: str = ""
    undefined: str = ""

    @property
    def border(self) -> float:
        """Where a forest plot draws its line."""
        return self.center

    @property
    def direction(self) -> int:
        """Neither side is claimed."""
        return 0

    @property
    def words(self) -> str:
        """The rule as a report prints it."""
        where = f"within {amount(self.margin, self.unit)} of {amount(self.center, self.unit)}"
        return f"supported: the interval lies {where}; contradicted: it lies outside; else undecided"


@dataclass(frozen=True)
class OneSide:
    """The claim is that several numbers have the same sign."""

    margin: float = 0.0
    unit: str = ""

    @property
    def border(self) -> float:
        """Where a forest plot draws its line."""
        return 0.0

    @property
    def direction(self) -> int:
        """Neither side is claimed."""
        return 0

    @property
    def words(self) -> str:
        """The rule as a report prints it."""
        close = f"; negligible: all lie within {amount(self.margin, self.unit)} of 0" if self.margin else ""
        return (
            f"supported: all intervals lie on one side of 0; contradicted: two lie on opposite sides{close}; else "
            + ("undecided")
        )


Single: TypeAlias = Effect | Equivalence


@dataclass(frozen=True)
class AllOf:
    """Several numbers, each with its own rule: a group of estimates for each part, in order.

    Supported where every part is (no correction is needed for that). Contradicted where one part is at the level shared
    out among all estimates, as there are several chances. Negligible where every part is supported or negligible and
    one is negligible.

    Attributes:
        parts: a name in words and a rule for each group.
    """

    parts: tuple[tuple[str, Single], ...]

    @property
    def words(self) -> str:
        """The rule as a report prints it."""
        each = ". ".join(f"{name}: {rule.words}" for name, rule in self.parts)
        return f"supported: every part is; contradicted: one part is, at the level shared among all. {each}"


Rule: TypeAlias = Effect | BeyondControl | Equivalence | OneSide | AllOf


@dataclass(frozen=True)
class Decision:
    """What a rule says of its estimates.

    Attributes:
        word: the verdict.
        single: the rule of the estimate that the word rests on, for its border and margin.
        literal: the word of the line without a control, where the rule has two lines.
        deciding: index of that estimate, in the order of the groups.
        note: what a reader must know beside the word.
    """

    word: Verdict
    single: Single | OneSide
    literal: Verdict | None = None
    deciding: int = 0
    note: str = ""


def gain(margin: float = ACCURACY_MARGIN) -> Effect:
    """An accuracy is higher, by more than nothing; below half a point the difference does not matter."""
    return Effect(1, margin=margin, unit=POINTS)


def above(border: float, *, margin: float = 0.0, unit: str = "") -> Effect:
    """The interval lies above the border."""
    return Effect(1, border, margin, unit)


def below(border: float, *, margin: float = 0.0, unit: str = "") -> Effect:
    """The interval lies below the border."""
    return Effect(-1, border, margin, unit)


def beyond_control(literal: Effect, *, margin: float | None = None) -> BeyondControl:
    """The literal rule, and the same direction for student minus control, with 0 as its border."""
    wanted = literal.margin if margin is None else margin
    return BeyondControl(literal, Effect(literal.direction, 0.0, wanted, literal.unit))


def most_of(share: float = 0.5) -> Effect:
    """More than this share of a gain (`Evidence.share`)."""
    return Effect(1, share, undefined="Undefined: the gain is not surely above 0.")


def decide(rule: Rule, groups: Groups, strict: Groups | None = None) -> Decision:
    """The verdict of a rule on its estimates.

    Args:
        rule: of the claim.
        groups: its estimates: one group, or one for each part of `AllOf`.
        strict: the same estimates at the level shared out among all of them, for what a single one of many contradicts
            (`shares_level` says how many they are); ``groups`` themselves where not given.

    >>> decide(gain(), [[Estimate("gain", 0.02, 0.01, 0.03, 0.95, 5, "runs")]]).word
    'supported'
    """
    match rule:
        case Effect() | Equivalence():
            word, note = _word(rule, groups[0][0])
            return Decision(word, single=rule, note=note)
        case BeyondControl():
            literal, _ = _word(rule.literal, groups[0][0])
            word, note = _word(rule.beyond, groups[0][1])
            if literal == "supported" and word != "supported":
                note = f"The student alone would support the claim; so would its control, without a teacher. {note}"
            if (literal, word) == ("contradicted", "supported"):
                word, note = (
                    "undecided",
                    "The student alone lies on the other side.",
                )
            return Decision(word, rule.beyond, literal, 1, note.strip())
        case OneSide():
            return _one_side(rule, groups[0])
        case AllOf():
            return _all_of(rule, groups, groups if strict is None else strict)


def shares_level(rule: Rule, groups: Groups) -> int:
    """Among how many estimates a rule shares out the level before one of them contradicts the claim."""
    return sum(map(len, groups)) if isinstance(rule, AllOf) else 1


def side(estimate: Estimate, border: float = 0.0) -> int:
    """+1 where the whole interval lies above ``border``, −1 where below, 0 where it holds it or says nothing.

    >>> side(Estimate("gain", 0.02, 0.01, 0.03, 0.95, 5, "runs"))
    1
    """
    if silent(estimate):
        return 0
    return int(estimate.low > border) - int(estimate.high < border)


def silent(estimate: Estimate) -> str:
    """Why an estimate decides nothing; empty where it may."""
    if not estimate.bounded:
        return "no-interval"
    if estimate.over in ("runs", "runs and examples"):
        if estimate.n < FEWEST:
            return "few-seeds"
        if estimate.low == estimate.high:
            return "no-variation"
    return ""


SILENT = {
    "few-seeds": f"No verdict from fewer than {FEWEST} seeds.",
    "no-variation": "The runs do not vary at all: no verdict from an interval without width.",
    "no-interval": "",
    "": "",
}


def detectable(estimate: Estimate, chance: float = 0.8) -> float:
    """The smallest true distance from a border that so many runs with this spread see with the given chance.

    In the estimate's unit; NaN where the interval is not one over runs.

    >>> round(detectable(Estimate("gain", 0.0, -0.01, 0.01, 0.95, 5, "runs")), 4)
    0.0135
    """
    if silent(estimate) or not estimate.known or estimate.over not in ("runs", "runs and examples"):
        return float("nan")
    return (estimate.high - estimate.low) / 2 * _in_half_widths(estimate.n, round(estimate.level, 6), chance)


def amount(value: float, unit: str) -> str:
    """A number with its unit, fractions as percentage points.

    >>> amount(0.005, "points"), amount(0.05, "nats"), amount(0.0, "points")
    ('0.5 points', '0.05 nats', '0')
    """
    if value == 0:
        return "0"
    return f"{100 * value:g} points" if unit == POINTS else f"{value:g} {unit}".strip()


@cache
def _in_half_widths(n: int, level: float, chance: float) -> float:
    """The detectable effect over half the width of Student's interval, for n runs."""
    return smallest_effect(1.0, n, level=level, chance=chance) / (Intervals(level).factor(n) / float(np.sqrt(n)))


def _word(rule: Single, estimate: Estimate) -> tuple[Verdict, str]:
    reason = silent(estimate)
    if reason:
        return "undecided", (rule.undefined if reason == "no-interval" else SILENT[reason])
    center = rule.center if isinstance(rule, Equivalence) else rule.border
    close = rule.margin > 0 and center - rule.margin < estimate.low and estimate.high < center + rule.margin
    if isinstance(rule, Equivalence):
        outside = side(estimate, center + rule.margin) > 0 or side(estimate, center - rule.margin) < 0
        return ("supported" if close else "contradicted" if outside else "undecided"), ""
    if close:
        return "negligible", ""
    if rule.direction * side(estimate, rule.border) > 0:
        return "supported", ""
    other = rule.border if rule.wrong is None else rule.wrong
    return ("contradicted" if rule.direction * side(estimate, other) < 0 and not rule.existence else "undecided"), ""


def _one_side(rule: OneSide, estimates: Sequence[Estimate]) -> Decision:
    sides = [side(estimate) for estimate in estimates]
    close = [not silent(e) and rule.margin > 0 and -rule.margin < e.low and e.high < rule.margin for e in estimates]
    if all(close):
        return Decision("negligible", single=rule)
    if {1, -1} <= set(sides):
        return Decision("contradicted", deciding=sides.index(-sides[0]) if sides[0] else sides.index(1), single=rule)
    if set(sides) in ({1}, {-1}):
        return Decision("supported", single=rule)
    return Decision("undecided", deciding=sides.index(0), single=rule)


def _all_of(rule: AllOf, groups: Groups, strict: Groups) -> Decision:
    singles = [part for (_, part), group in zip(rule.parts, groups, strict=True) for _ in group]
    words = [_word(part, e) for part, e in zip(singles, [e for group in groups for e in group], strict=True)]
    sure = [_word(part, e)[0] for part, e in zip(singles, [e for group in strict for e in group], strict=True)]
    found = [word for word, _ in words]
    if "contradicted" in sure:
        at, word = sure.index("contradicted"), "contradicted"
    elif set(found) == {"supported"}:
        at, word = 0, "supported"
    elif set(found) <= {"supported", "negligible"}:
        at, word = found.index("negligible"), "negligible"
    else:
        at, word = next(i for i, w in enumerate(found) if w not in ("supported", "negligible")), "undecided"
    return Decision(word, deciding=at, single=singles[at], note=words[at][1])  # type: ignore[arg-type]
