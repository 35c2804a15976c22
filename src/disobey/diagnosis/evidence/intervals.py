"""One estimate a number: whatever a check, a table or a sentence asks for, with one interval, computed once.

Of several seeds an estimate is the mean over all of them, and its interval covers other seeds and other examples; of
one student and one control it covers other examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.evidence import seeds
from disobey.diagnosis.evidence.evidence import Evidence
from disobey.measures.inference import examples
from disobey.measures.inference.measure import Measure, applicable
from disobey.records.results import Estimate


def estimates(
    evidence: Evidence,
    measures: Sequence[Measure],
    *,
    resamples: int = 1000,
    blocked: int = examples.BLOCKED,
    level: float = 0.0,
    fixed: bool = False,
) -> dict[str, Estimate]:
    """Every measure that the evidence can answer, by name, with n and level stated. Undefined ones are left out.

    Args:
        evidence: the pair, read.
        measures: in any order; a name stands for one measure.
        resamples: of the bootstrap.
        blocked: number of examples above which groups replace the jackknife.
        level: of the intervals; the evidence's own where 0.
        fixed: of several seeds, the interval over examples alone: for these very models.
    """
    asked = (resamples, blocked, level or evidence.level, fixed)
    keys = {m.name: (m.name, m.columns, *asked) for m in applicable(measures, evidence.sample)}
    known = evidence.known
    missing = [m for m in measures if m.name in keys and keys[m.name] not in known]
    for name, estimate in _computed(evidence, missing, *asked).items():
        known[keys[name]] = estimate
    return {name: known[key] for name, key in keys.items() if np.isfinite(known[key].value)}


def _computed(
    evidence: Evidence, measures: Sequence[Measure], resamples: int, blocked: int, level: float, fixed: bool
) -> dict[str, Estimate]:
    if not measures:
        return {}
    options = {"resamples": resamples, "level": level, "seed": evidence.seed, "blocked": blocked}
    if evidence.runs:
        return seeds.estimates(evidence, measures, fixed=fixed, **options)
    functions = dict.fromkeys(measure.columns for measure in measures)
    shared = ((evidence.of(f), [measure for measure in measures if measure.columns is f]) for f in functions)
    if evidence.codes is None:
        return examples.estimates(shared, **options)
    found: dict[str, Estimate] = {}
    for columns, sharing in shared:  # over all examples, or over the sample
        found |= examples.estimates([(columns, sharing)], codes=evidence.codes_of(columns[0]), **options)
    return found


def share_of(evidence: Evidence, name: str, hits: NDArray) -> Estimate:
    """The share of examples (N,) that count, all of them or the sample's; over clusters where these are known."""
    codes = evidence.codes_of(hits)
    if codes is None:
        return examples.share(name, float(hits.sum()), len(hits), evidence.level)
    return examples.mean_of(name, hits, evidence.level, codes)


def mean_of(evidence: Evidence, name: str, column: NDArray) -> Estimate:
    """The mean of a column (N,) of all examples or the sample's; over clusters where these are known."""
    return examples.mean_of(name, column, evidence.level, evidence.codes_of(column))


def estimate(evidence: Evidence, measure: Measure, *, level: float = 0.0, fixed: bool = False) -> Estimate | None:
    """One measure's estimate; None where it has no value or no interval."""
    found = estimates(evidence, [measure], level=level, fixed=fixed).get(measure.name)
    return found if found is not None and found.known else None


def renamed(estimate: Estimate, name: str) -> Estimate:
    """The same estimate under another name."""
    return replace(estimate, name=name)
