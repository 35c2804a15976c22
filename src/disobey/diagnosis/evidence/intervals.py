"""Intervals over examples for whatever the evidence can answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from disobey.diagnosis.evidence.evidence import Evidence
from disobey.measures.inference import examples
from disobey.measures.inference.measure import Measure, applicable
from disobey.records.results import Estimate


def estimates(
    evidence: Evidence, measures: Sequence[Measure], *, resamples: int = 1000, blocked: int = examples.BLOCKED
) -> dict[str, Estimate]:
    """Every measure that the evidence can answer, by name, with n and level stated. Undefined ones are left out."""
    usable = applicable(measures, evidence.sample)
    functions = dict.fromkeys(measure.columns for measure in usable)
    shared = ((evidence.of(f), [measure for measure in usable if measure.columns is f]) for f in functions)
    found = examples.estimates(shared, resamples=resamples, level=evidence.level, seed=evidence.seed, blocked=blocked)
    return {m.name: found[m.name] for m in usable if np.isfinite(found[m.name].value)}
