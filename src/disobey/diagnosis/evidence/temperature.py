"""Temperatures that map one model onto another or onto the labels, fitted once for all checks and tables.

Of several seeds the mean over all of them.
"""

from __future__ import annotations

from typing import Literal

from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.seeds import mean_of_estimates
from disobey.measures.temperature import Target, fitted_temperature
from disobey.records.results import Estimate

ROWS = 2**21  # numbers a model that a fit uses: one number is fitted, a few thousand examples are plenty


def fitted(
    evidence: Evidence, to: Target, who: Literal["student", "teacher", "twin"] = "student", level: float = 0.0
) -> Estimate:
    """The temperature that brings a model closest to the teacher or the labels; n says over how many examples.

    Args:
        evidence: of it at most `ROWS` numbers' worth of examples are used.
        to: what to come close to.
        who: whose logits are divided.
        level: of the interval; the evidence's own where 0.
    """
    level = level or evidence.level
    runs = {"student": evidence.runs[: len(evidence.students)], "twin": evidence.runs[: len(evidence.twins)]}.get(who)
    if runs and len(runs) > 1:
        return mean_of_estimates(f"temperature_to_{to}", [fitted(run, to, who, level) for run in runs])

    def fit() -> Estimate:
        sample = evidence.finite
        step = -(-len(sample) * sample.n_classes // ROWS)
        part = sample.take(slice(None, None, step)) if step > 1 else sample
        other = {"teacher": part.teacher, "twin": part.twin}.get(who)
        part = part if other is None else part.with_student(other)
        return fitted_temperature(part, to, resamples=1000, level=level, seed=evidence.seed)

    return evidence.fit((to, who, level), fit)
