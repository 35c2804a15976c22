"""Whether found boxes are where the true ones are: the check that everything else about boxes rests on."""

from __future__ import annotations

import numpy as np

from disobey.diagnosis.checks.findings import ok, warning
from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.input.boxes import Detections
from disobey.measures.boxes import Boxes, near
from disobey.records.results import Finding

BEYOND_CHANCE = 0.05  # share of true boxes that must be found beyond what boxes of other images find


def placed_boxes(evidence: Evidence) -> Finding | None:
    """Every model's boxes overlap true ones more often than boxes of other images do."""
    about: Detections | None = evidence.pair.facts.get("boxes")
    if about is None:
        return None
    id, truth = "placed-boxes", about.truth.take(about.examples)
    shares = {who: _shares(truth, found, len(about.names), evidence.seed) for who, found in about.found.items()}
    for who, (own, other) in shares.items():
        if own - other < BEYOND_CHANCE:
            message = (
                f"Of the true boxes {own:.1%} have a box of {who} that overlaps them by half, and {other:.1%} where "
                "the boxes of other images are taken: the boxes are not where the objects are."
            )
            advice = (
                "Are image ids those of the annotations, boxes left, top, width, height in pixels of the original "
                "picture, and neither scaled nor padded?"
            )
            return warning(id, message, advice=advice, invalidates=True)
    said = ", ".join(f"{who} {own:.1%} ({other:.1%})" for who, (own, other) in shares.items())
    return ok(id, f"True boxes that a box overlaps by half (in brackets: boxes of other images): {said}.")


def _shares(truth: Boxes, found: Boxes, images: int, seed: int) -> tuple[float, float]:
    """The share of true boxes with a found one, as it is and with images dealt out anew."""
    dealt = np.random.default_rng(seed).permutation(images)
    moved = Boxes(found.boxes, found.classes, dealt[found.images])
    own, other = (len(np.unique(near(truth, one)[0])) / max(len(truth), 1) for one in (found, moved))
    return own, other
