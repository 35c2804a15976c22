"""What the methods of every study say: the budget, and the paragraph on seeds, intervals and multiplicity."""

from __future__ import annotations

from collections.abc import Sequence

from disobey.measures.inference.policy import current
from disobey.records.results import Text
from disobey.training.specs import OptimSpec


def methods_text(body: str, seeds: Sequence[int], not_judged: str, cite: str) -> Text:
    """A study's own methods, then intervals, multiplicity and the reference, which are the same for all."""
    how = current()
    kind = "anytime-valid" if how.anytime else "Student t"
    closing = (
        f"Intervals are {kind} over {len(seeds)} paired seeds ({100 * how.level:g}%); those of test accuracies are "
        "over runs and examples, as all seeds share one test set. A word rests on the one interval that is drawn; the "
        "corrected words hold for all claims of the report together (Holm). "
        f"Cite: {cite}."
    )
    return Text("Methods", " ".join(filter(None, (body, not_judged, closing))))


def budget_words(optim: OptimSpec) -> str:
    """How long and how a model is trained.

    >>> budget_words(OptimSpec(lr=0.01, steps=1200))
    '1,200 steps of 128 examples with adam (learning rate 0.01, cosine schedule)'
    """
    warm = f", {optim.warmup:,} steps of linear warm-up" if optim.warmup else ""
    numbers = "" if optim.precision == "float32" else f", forward pass in {optim.precision}"
    return (
        f"{optim.steps:,} steps of {optim.batch} examples with {optim.name} (learning rate {optim.lr:g}, {optim.decay} "
        f"schedule{warm}{numbers})"
    )


def count_word(examples: int | None) -> str:
    """A number of training examples for a sentence: ``1,000``, or ``all``."""
    return "all" if examples is None else f"{examples:,}"
