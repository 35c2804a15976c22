"""Temperatures that map one model onto another or onto the labels, fitted once for all checks and tables."""

from __future__ import annotations

from typing import Literal

from disobey.diagnosis.evidence.evidence import Evidence
from disobey.measures.calibration import Target, fitted_temperature
from disobey.records.results import Estimate

ROWS = 2**21  # numbers a model that a fit looks at: one number is fitted, a few thousand examples are plenty


def fitted(
    evidence: Evidence, to: Target, who: Literal["student", "teacher", "twin"] = "student", level: float = 0.0
) -> Estimate:
    """The temperature that takes ``who`` closest to the teacher or the labels, at ``level`` (the evidence's own by
    default), over at most `ROWS` numbers' worth of the sample's examples: n says how many."""
    level = level or evidence.level
    key = (to, who, level)
    if key not in evidence.fits:
        sample = evidence.finite
        step = -(-len(sample) * sample.n_classes // ROWS)
        part = sample.take(slice(None, None, step)) if step > 1 else sample
        other = {"teacher": part.teacher, "twin": part.twin}.get(who)
        part = part if other is None else part.with_student(other)
        evidence.fits[key] = fitted_temperature(part, to, resamples=400, level=level, seed=evidence.seed)
    return evidence.fits[key]
