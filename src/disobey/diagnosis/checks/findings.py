"""How a check says what it found: an id for programs, whose words are also the check's name for people."""

from __future__ import annotations

from collections.abc import Sequence

from disobey.records.results import Estimate, Finding


def ok(id: str, message: str, *evidence: Estimate, case: str = "", headline: str = "") -> Finding:
    """Nothing to mend."""
    return Finding(_name(id), "ok", message, evidence, id=id, case=case, headline=headline)


def note(id: str, message: str, *evidence: Estimate, advice: str = "", case: str = "", headline: str = "") -> Finding:
    """Worth knowing; no fault."""
    return Finding(_name(id), "note", message, evidence, advice, id=id, case=case, headline=headline)


def warning(
    id: str,
    message: str,
    *evidence: Estimate,
    advice: str,
    case: str = "",
    invalidates: bool = False,
    headline: str = "",
) -> Finding:
    """To be mended. With ``invalidates`` nothing else that was computed counts before that."""
    return Finding(_name(id), "warning", message, evidence, advice, id, case, invalidates, headline)


def not_judged(checks: Sequence[str]) -> Finding:
    """Which checks were not asked, because what they need is out of order."""
    message = f"Not judged until rows, classes and labels correspond: {', '.join(checks)}."
    return note("not-judged", message, advice="Mend what is warned of above, and diagnose again.")


def _name(id: str) -> str:
    return id.replace("-", " ")


def points(estimate: Estimate, of: str = "") -> str:
    """A difference of shares in points, with its interval; ``of`` says what they are points of.

    >>> points(Estimate("gain", 0.003, -0.007, 0.014, 0.95, 3000, "examples"), of=" of accuracy")
    '+0.3 points of accuracy [-0.7, 1.4]'
    """
    three = [100 * part + 0.0 for part in (estimate.value, estimate.low, estimate.high)]
    digits = 2 if min(map(abs, three)) < 0.05 else 1  # no bound that reads 0.0 and is not
    bounds = f" [{three[1]:.{digits}f}, {three[2]:.{digits}f}]" if estimate.known else ""
    return f"{three[0]:+.{digits}f} points{of}{bounds}"


def over(estimate: Estimate) -> str:
    """Level and basis of an interval.

    >>> over(Estimate("gain", 0.003, -0.007, 0.014, 0.95, 3000, "examples"))
    '95% over 3,000 examples'
    """
    also = " and their examples" if estimate.over == "runs" else ""
    return f"{100 * estimate.level:g}% over {estimate.n:,} {estimate.over}{also}"
