"""How a check says what it found: an id for programs, whose words are also the check's name for people."""

from __future__ import annotations

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


def _name(id: str) -> str:
    return id.replace("-", " ")
