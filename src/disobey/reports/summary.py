"""A result as lines of plain text: what the command line prints when a study or a diagnosis is done."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from disobey.records.results import Claim, Estimate, Finding, Result
from disobey.reports.cells import basis, prose, value_and_interval

SYMBOLS = {
    "supported": "✓",
    "contradicted": "✗",
    "negligible": "≈",
    "undecided": "?",
    "ok": "✓",
    "note": "i",
    "warning": "!",
}
ORDER = ("supported", "contradicted", "negligible", "undecided", "warning", "note", "ok")
SMOKE = "Smoke test: evidence of nothing. It shows that the study runs, not what it would find."


def printable(text: object) -> str:
    r"""``text`` on one line without control characters: names come from data, terminals obey escape codes.

    >>> printable("a\x1b[31mred\nb")
    'a[31mred b'
    """
    joined = " ".join(str(text).split())
    return "".join(c for c in joined if c.isprintable() or c == " ")


def counts(result: Result) -> list[tuple[str, int]]:
    """How many claims and findings have each verdict or status, in a fixed order.

    >>> counts(Result("demo", "?", (Finding("a", "ok", ""), Finding("b", "warning", ""), Finding("c", "ok", ""))))
    [('warning', 1), ('ok', 2)]
    """
    words = [claim.verdict for claim in result.of(Claim)] + [finding.status for finding in result.of(Finding)]
    return [(word, words.count(word)) for word in ORDER if word in words]


def by_urgency(findings: Iterable[Finding]) -> list[Finding]:
    """Findings with warnings first, then notes, then what is well; otherwise in their order."""
    return sorted(findings, key=lambda finding: ORDER.index(finding.status))


def evidence_line(estimate: Estimate) -> str:
    """One estimate in words.

    >>> evidence_line(Estimate("slope", 1.115, 1.05, 1.18, 0.95, 5, "runs"))
    'slope 1.115 [1.050, 1.180] (95% over 5 runs)'
    """
    value, interval = value_and_interval(estimate)
    return printable(" ".join(filter(None, (estimate.name, value, interval, f"({basis(estimate)})"))))


def summary_lines(result: Result, width: int = 100) -> list[str]:
    r"""The result in at most a screen: question, summary, a line for every verdict with its evidence below.

    >>> claim = Claim("Students underfit.", "arXiv", "contradicted", (), "mean < 0", name="C1")
    >>> print("\n".join(summary_lines(Result("demo", "Does it pay?", (claim,)))))
    demo: Does it pay?
    1 contradicted
    ✗ contradicted  C1  Students underfit.
    """
    lines = textwrap.wrap(f"{printable(result.study)}: {printable(result.question)}", width)
    if result.smoke:
        lines.append(SMOKE)
    lines += textwrap.wrap(prose(printable(result.summary)), width)
    if found := counts(result):
        lines += textwrap.wrap(", ".join(f"{n} {word}" for word, n in found), width)
    for claim in result.of(Claim):
        lines += _entry(claim.verdict, claim.name, claim.text, claim.setting, claim.evidence, width)
    for finding in by_urgency(result.of(Finding)):
        lines += _entry(
            finding.status, finding.name, prose(finding.message), prose(finding.advice), finding.evidence, width
        )
    return lines


def _entry(word: str, name: str, text: str, more: str, evidence: tuple[Estimate, ...], width: int) -> list[str]:
    head = f"{SYMBOLS[word]} {word:<13} {printable(name)}{'  ' if name else ''}"
    indent = " " * 16
    lines = textwrap.wrap(printable(text), width, initial_indent=head, subsequent_indent=indent) or [head.rstrip()]
    for part in (more, *map(evidence_line, evidence)):
        lines += textwrap.wrap(printable(part), width, initial_indent=indent, subsequent_indent=indent + "  ")
    return lines
