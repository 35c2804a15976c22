"""A result as lines of plain text: what the command line prints when a study or a diagnosis is done."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from disobey.records.results import Claim, Estimate, Finding, Result
from disobey.reports.answer import answer, cautions
from disobey.reports.cells import basis, prose, value_and_interval
from disobey.reports.matrix import common_settings
from disobey.reports.wording import SYMBOLS, Settings, amount, brief_note, correction_known, deciding

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


def summary_lines(result: Result, width: int = 100, *, height: int = 40, verbose: bool = False) -> list[str]:
    r"""The result in a screen: question, answer, then every statement with its word and number by setting.

    Args:
        result: of a study or a diagnosis.
        width: characters of a line.
        height: lines, about; what is beyond is counted, and the report has it.
        verbose: whether checks that found nothing are listed one by one, and nothing is left out.

    >>> claim = Claim("Students underfit.", "arXiv", "contradicted", (), "mean < 0", name="C1")
    >>> print("\n".join(summary_lines(Result("demo", "Does it pay?", (claim,)))))
    demo: Does it pay?
    Students underfit. No.
    1 contradicted
    C1  Students underfit.
      ✗ contradicted
    """
    lines = textwrap.wrap(f"{printable(result.study)}: {printable(result.question)}", width)
    if result.smoke:
        lines.append(SMOKE)
    told = answer(result)
    for paragraph in [*(f"Mind: {caution}" for caution in cautions(result, told)), *told.lines()]:
        lines += textwrap.wrap(prose(printable(paragraph)), width)
    if found := counts(result):
        lines += textwrap.wrap(", ".join(f"{n} {word}" for word, n in found) + _corrected(result), width)
    entries = [*_statements(result, width), *_checks(result, width, verbose)]
    return [*lines, *_capped(entries, height - len(lines), verbose)]


def _corrected(result: Result) -> str:
    claims = result.of(Claim)
    if not correction_known(claims):
        return ""
    words = [claim.corrected for claim in claims]
    told = ", ".join(f"{words.count(word)} {word}" for word in ORDER if word in words)
    return f" (after correction for {len(claims)} claims: {told})"


def _capped(entries: list[list[str]], room: int, verbose: bool) -> list[str]:
    """Whole entries as far as they fit, then how many more there are."""
    shown: list[str] = []
    for i, entry in enumerate(entries):
        if not verbose and i and len(shown) + len(entry) > room - 1:
            return [*shown, f"… and {len(entries) - i} more in the report"]
        shown += entry
    return shown


def _statements(result: Result, width: int) -> list[list[str]]:
    """An entry a statement: its text, then a line for each setting."""
    claims = result.of(Claim)
    grouped: dict[tuple[str, str], list[Claim]] = {}
    for claim in claims:
        grouped.setdefault((claim.name, claim.text), []).append(claim)
    (_, settings), corrected = common_settings(list(grouped.values())), correction_known(claims)
    entries = [textwrap.wrap(f"Everywhere: {printable(settings.words)}", width)] if settings.shared else []
    for (name, text), group in grouped.items():
        head = f"{printable(name)}{'  ' if name else ''}"
        entry = textwrap.wrap(head + printable(text), width, subsequent_indent=" " * min(len(head), 12))
        for claim in group:
            word = f"  {SYMBOLS[claim.verdict]} {claim.verdict:<12}  "
            seen = printable(_seen(claim, settings, corrected))
            entry += textwrap.wrap(seen, width, initial_indent=word, subsequent_indent=" " * 18) or [word.rstrip()]
        entries.append(entry)
    return entries


def _seen(claim: Claim, settings: Settings, corrected: bool) -> str:
    estimate = deciding(claim)
    over = "" if estimate is None else f" ({basis(estimate)})"
    words = [settings.own(claim), f"{amount(claim)}{over}".strip()]
    if claim.literal not in (None, claim.verdict):
        words.append(f"literal {claim.literal}")
    if corrected and claim.corrected != claim.verdict:
        words.append(f"{claim.corrected} after correction")
    words.append(brief_note(claim))
    return ": ".join(filter(None, (words[0], "; ".join(filter(None, words[1:])))))


def _checks(result: Result, width: int, verbose: bool) -> list[list[str]]:
    """An entry a check, those that ask for something first; what found nothing is counted."""
    findings = by_urgency(result.of(Finding))
    told = [found for found in findings if verbose or found.status != "ok"]
    entries = [
        _entry(found.status, found.name, prose(found.message), prose(found.advice), found.evidence, width)
        for found in told
    ]
    if quiet := len(findings) - len(told):
        entries.append([f"{SYMBOLS['ok']} {quiet} check{'' if quiet == 1 else 's'} found nothing to mend"])
    return entries


def _entry(word: str, name: str, text: str, more: str, evidence: tuple[Estimate, ...], width: int) -> list[str]:
    head = f"{SYMBOLS[word]} {word:<13} {printable(name)}{'  ' if name else ''}"
    indent = " " * 16
    lines = textwrap.wrap(printable(text), width, initial_indent=head, subsequent_indent=indent) or [head.rstrip()]
    for part in (more, *map(evidence_line, evidence)):
        lines += textwrap.wrap(printable(part), width, initial_indent=indent, subsequent_indent=indent + "  ")
    return lines
