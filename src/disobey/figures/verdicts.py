"""Claims by setting: every verdict at one glance."""

from __future__ import annotations

from collections.abc import Sequence

from disobey.records.results import Claim, Table


def verdict_matrix(claims: Sequence[Claim], title: str = "Verdicts") -> Table | None:
    """A row for each claim, a column for each setting it was judged on; None for fewer than two settings.

    Args:
        claims: judged claims, in any order; a claim that was not judged on a setting leaves its cell empty.
        title: above the table.
    """
    settings = list(dict.fromkeys(claim.setting for claim in claims))
    if len(settings) < 2:
        return None
    found: dict[tuple[str, str], dict[str, str]] = {}
    for claim in claims:
        found.setdefault((claim.name, claim.text), {})[claim.setting] = claim.verdict
    rows = tuple((id, text, *(verdicts.get(s) for s in settings)) for (id, text), verdicts in found.items())
    return Table(title, ("claim", "statement", *settings), rows, "By the rules of the claims.")
