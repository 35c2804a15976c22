"""Examples that belong together: how many independent ones there are, and what it costs to forget it."""

from __future__ import annotations

import numpy as np

from disobey.diagnosis.checks.findings import note, ok, warning
from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.streaming import forward_and_reverse
from disobey.measures.inference.clusters import design_effect
from disobey.records.results import Finding

FEW = 20  # clusters, weighed by their sizes, below which intervals are rough
TOLD = 1.2  # design effect from which it is told
ADVICE = (
    "Save a column 'cluster' with the text, prompt or image that each example belongs to (one integer or name a row)."
)
MORE = {
    "clusters": "Evaluate on more texts, rather than on longer ones.",
    "images": "Evaluate on more images, rather than on fuller ones.",
}


def clusters(evidence: Evidence) -> Finding | None:
    """Intervals are over clusters where these are named, and there are enough of them."""
    codes, id = evidence.codes, "clusters"
    if codes is None:
        if evidence.sparse is None:
            return None
        message = "Tokens count as independent. Those of one text are not: intervals may be several times too narrow."
        return note(id, message, advice=ADVICE, case="none")
    sizes = np.bincount(codes)
    effective = float(1 / ((sizes / len(codes)) ** 2).sum())
    what, of = ("images", "true boxes") if "boxes" in evidence.pair.facts else ("clusters", "examples")
    message = f"Intervals are over {len(sizes):,} {what} of {np.median(sizes):,.0f} {of} (median)"
    column = evidence.of(forward_and_reverse)[0]
    own = evidence.codes_of(column)
    assert own is not None
    effect = design_effect(column, own) if np.isfinite(column).all() else np.nan
    if np.isfinite(effect) and effect > TOLD:
        message += f"; with {of} taken as independent that of KL would be {np.sqrt(effect):.1f} times too narrow"
    if effective < FEW:
        message += f". That is as much as {effective:.0f} {what} of one size know: the intervals are rough"
        return warning(id, f"{message}.", advice=MORE[what], case="few")
    return ok(id, f"{message}.", case="over-clusters")
