"""Rules of verdicts: values that carry their words, written down before the runs, and the one function that decides.

An undefined number never decides: an estimate without an interval is on neither side of any border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from scipy.stats import t as student_t

from disobey.records.results import Estimate, Verdict


@dataclass(frozen=True)
class Beyond:
    """The claim holds on one side of a border: the first estimate's interval decides.

    Attributes:
        words: the rule as a report prints it.
        border: where the sides meet, in the estimate's unit.
        direction: +1 where the claim holds above, −1 where it holds below.
        subject: what lies on a side, in words.
        undefined: what to note where the estimate is undefined.
    """

    words: str
    border: float = 0.0
    direction: Literal[1, -1] = 1
    subject: str = "interval"
    undefined: str = ""


@dataclass(frozen=True)
class BeyondControl:
    """`Beyond` for the student (first estimate), and beyond 0 for student minus control (second estimate)."""

    words: str
    student: Beyond


@dataclass(frozen=True)
class Within:
    """The claim is that the first estimate is as good as 0: closer to it than ``margin``, by two one-sided t-tests."""

    words: str
    margin: float


@dataclass(frozen=True)
class Stated:
    """A rule of several parts, in words: the evidence of its claim carries it out and answers with `Decided`."""

    words: str


Rule: TypeAlias = Stated | Beyond | BeyondControl | Within


def above(border: float, subject: str = "interval") -> Beyond:
    """The interval lies above the border."""
    words = f"supported: the {subject} lies above {border:g}; contradicted: below {border:g}; else undecided"
    return Beyond(words, border, 1, subject)


def below(border: float, subject: str = "interval") -> Beyond:
    """The interval lies below the border."""
    words = f"supported: the {subject} lies below {border:g}; contradicted: above {border:g}; else undecided"
    return Beyond(words, border, -1, subject)


ABOVE_ZERO = above(0.0)
BELOW_ZERO = below(0.0)


def beyond_control(rule: Beyond) -> BeyondControl:
    """The student lies beyond the border, and surely further than its control: not by selection or noise alone."""
    here, there = ("above", "below") if rule.direction > 0 else ("below", "above")
    if rule.border == 0:
        words = (
            f"supported: both intervals (student; student minus control) lie {here} 0; contradicted: either lies "
            f"{there} 0; else undecided"
        )
    else:
        words = (
            f"supported: the {rule.subject} lies {here} {rule.border:g} and that of student minus control {here} 0; "
            f"contradicted: the first lies {there} {rule.border:g} or the second {there} 0; else undecided"
        )
    return BeyondControl(words, rule)


def within(margin: float) -> Within:
    """The mean lies within ±margin; contradicted where its 95% interval lies all outside."""
    words = (
        f"supported: two one-sided t-tests at 5% put the mean within ±{margin:g}; contradicted: the 95% interval lies "
        "outside of it; else undecided"
    )
    return Within(words, margin)


def most_of(share: float = 0.5) -> Beyond:
    """More than this share of a gain (`Evidence.share`)."""
    words = (
        f"supported: the interval of the share lies above {share:g}; contradicted: below {share:g}; undecided where it "
        f"holds {share:g} or where the gain's own interval does not lie above 0, so that there is nothing to share"
    )
    return Beyond(words, share, undefined="Undefined: the gain is not surely above 0.")


def decide(rule: Rule, estimates: Sequence[Estimate]) -> tuple[Verdict, str]:
    """The verdict of a rule on its estimates, and what a reader must know beside it (often nothing)."""
    match rule:
        case Stated():
            raise TypeError(f"the evidence of this claim decides: {rule.words}")
        case Beyond():
            note = "" if estimates[0].known else rule.undefined
            return _verdict(rule.direction * side(estimates[0], rule.border)), note
        case BeyondControl():
            student = rule.student.direction * side(estimates[0], rule.student.border)
            control = rule.student.direction * side(estimates[1])
            verdict = _verdict(-1 if -1 in (student, control) else min(student, control))
            note = "The student alone would support the claim; its control, without a teacher, shows as much or more."
            return verdict, note if student == 1 and control != 1 else ""
        case Within():
            return _verdict(_closeness(estimates[0], rule.margin)), ""


def side(estimate: Estimate, border: float = 0.0) -> int:
    """+1 where the whole interval lies above ``border``, −1 where below, 0 where it holds it or is unknown.

    >>> side(Estimate("gain", 0.02, 0.01, 0.03, 0.95, 5, "runs"))
    1
    """
    if not estimate.known:
        return 0
    return int(estimate.low > border) - int(estimate.high < border)


def at_level(estimate: Estimate, level: float) -> Estimate:
    """The same mean over runs with the Student t interval of another level.

    >>> print(at_level(Estimate("gain", 0.0, -1.0, 1.0, 0.95, 5, "runs"), 0.9))
    0 [-0.768, 0.768] (90% over 5 runs)
    """
    if not estimate.known:
        return replace(estimate, level=level)
    old, new = (student_t.ppf(0.5 + at / 2, estimate.n - 1) for at in (estimate.level, level))
    half = (estimate.high - estimate.low) / 2 * float(new / old)
    return replace(estimate, low=estimate.value - half, high=estimate.value + half, level=level)


def _closeness(estimate: Estimate, margin: float) -> int:
    """+1 surely within ±margin, −1 surely outside, 0 else. Two one-sided tests at 5% are one interval at 90%."""
    inner = at_level(estimate, 2 * estimate.level - 1)
    if inner.known and -margin < inner.low and inner.high < margin:
        return 1
    outside = estimate.known and (estimate.low > margin or estimate.high < -margin)
    return -1 if outside else 0


def _verdict(sign: int) -> Verdict:
    return "supported" if sign > 0 else "contradicted" if sign < 0 else "undecided"
