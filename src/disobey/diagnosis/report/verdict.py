"""The verdict: did it pay, had it an effect, what next; put together from the clauses that findings carry."""

from __future__ import annotations

from collections.abc import Sequence

from disobey.records.results import Finding

PAID, EFFECT, ACCURACY = "gain", "distillation-visible", "capacity-gap"  # the findings whose clauses open the verdict


def verdict(findings: Sequence[Finding]) -> str:
    """What a reader takes away: whether these numbers can be trusted, whether it paid, had an effect; then what to do.

    >>> ok = Finding("distillation visible", "ok", "", id="distillation-visible", headline="Distillation had an effect")
    >>> gap = Finding("capacity gap", "ok", "", id="capacity-gap", headline="the student is as accurate as its teacher")
    >>> verdict([ok, gap])
    'Distillation had an effect; the student is as accurate as its teacher. No check found a reason to change anything.'
    """
    by_id = {finding.id: finding for finding in findings}
    warnings = [finding for finding in findings if finding.status == "warning"]
    invalid = [finding for finding in warnings if finding.invalidates]
    if invalid:
        reason = _first_sentence(_lowered(invalid[0].message))
        return f"These predictions cannot be taken at face value: {reason} {_next(invalid[0])}"
    clauses = [by_id[id].headline for id in (EFFECT, ACCURACY) if id in by_id and by_id[id].headline]
    said = [by_id[PAID].headline] if PAID in by_id else []
    said += ["; ".join(clauses)] if clauses else []
    first = " ".join(f"{text[:1].upper()}{text[1:]}." for text in said or ["Student and teacher were compared"])
    if warnings:
        return f"{first} {_next(warnings[0])}"
    for open_question in (by_id.get(EFFECT), by_id.get(PAID)):  # what would settle the first sentences
        if open_question is not None and open_question.status == "note" and open_question.advice:
            return f"{first} {_next(open_question)}"
    return f"{first} No check found a reason to change anything."


def _next(finding: Finding) -> str:
    return f"Next ({finding.name}): {_first_sentence(_lowered(finding.advice or finding.message))}"


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _first_sentence(text: str) -> str:
    end = text.find(". ")
    text = text if end < 0 else text[:end]
    return text if text.endswith("?") else text.rstrip(".") + "."
