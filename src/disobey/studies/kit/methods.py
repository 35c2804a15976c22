"""What the methods of every study say."""

from __future__ import annotations

from collections.abc import Sequence

from disobey.records.results import Text


def methods_text(body: str, seeds: Sequence[int], not_judged: str, cite: str) -> Text:
    """A study's own methods, then intervals, multiplicity and the reference, which are the same for all."""
    closing = (
        f"Intervals are Student t over {len(seeds)} paired seeds (95 %). No correction for the number of claims; rules "
        f"were fixed before the runs. Cite: {cite}."
    )
    return Text("Methods", " ".join(filter(None, (body, not_judged, closing))))


def count_word(examples: int | None) -> str:
    """A number of training examples for a sentence: ``1,000``, or ``all``."""
    return "all" if examples is None else f"{examples:,}"
