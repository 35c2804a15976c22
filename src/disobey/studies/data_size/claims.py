"""All thirteen claims about data size, the tests beside them, and what they say in two sentences.

The rules were written before the default and the full runs. Intervals are Student t over paired seeds, shares of a gain
have Fieller's, sizes a t-test turned around.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.comparisons import holm, sign_flip_p
from disobey.measures.inference.intervals import mean_over_runs
from disobey.measures.sample_efficiency import label_equivalence
from disobey.records.results import Claim, Estimate, Text
from disobey.studies.data_size.cells import CROP_FIXED, FRESH, SAME_N, equal_size, noisy
from disobey.studies.data_size.claims_how_much import c1, c2, c6, c7, c8, c9
from disobey.studies.data_size.claims_why import c3, c4, c5, c10, c11, c12, c13
from disobey.studies.data_size.closed_form import Closed
from disobey.studies.data_size.evidence import Grid
from disobey.studies.data_size.shares import Skipped, best_smoothing, small_words, text_of

RULES = (c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13)


def judge(grid: Grid, closed: Closed) -> tuple[list[Claim], list[Text]]:
    """All claims that the runs bear on; the others with what is missing."""
    claims, missing = [], []
    for rule in RULES:
        try:
            claims.append(rule(grid, closed))
        except Skipped as reason:
            missing.append(f"{rule.__name__.upper()}: {reason}.")
    return claims, [Text("Not judged here", " ".join(missing))] if missing else []


def sign_flips(grid: Grid) -> list[tuple[str, str, Estimate, float, float]]:
    """(claims, what, mean difference, sign-flip p, Holm's adjusted p): the paired differences that the claims rest on.

    One a claim or a part of one, not one an arm: with ten seeds no p-value is below .002, so thirty could not be told apart.
    """
    found = list(_differences(grid))
    p_values = [sign_flip_p(difference) for _, _, difference in found]
    return [
        (claim, words, mean_over_runs(difference, words), p, float(q))
        for (claim, words, difference), p, q in zip(found, p_values, holm(p_values), strict=True)
    ]


def _differences(grid: Grid) -> Iterator[tuple[str, str, NDArray]]:
    study, kd = grid.study, grid.small_accuracy("A1")
    yield "C1, C2", "distillation − labels", grid.small_gain("A1")
    smoothing = best_smoothing(grid)
    if smoothing:
        yield "C3", f"distillation − {text_of(grid, smoothing)}", kd - grid.small_accuracy(smoothing)
    for arm in ("A7", "A9a", "A10a", "A11", "A12"):
        if grid.has(arm):
            yield "C4", f"distillation − {text_of(grid, arm)}", kd - grid.small_accuracy(arm)
    if grid.has("A1", "A13", regime=FRESH):
        soft, hard = (grid.small(grid.accuracy(a, regime=FRESH), grid.sizes(a, regime=FRESH)) for a in ("A1", "A13"))
        yield "C5", "soft − hard answers, fresh examples", soft - hard
    if grid.has("A1:1"):
        yield "C6", f"τ={study.temperature:g} − τ=1", kd - grid.small_accuracy("A1:1")
    for claim, regime in (("C7", equal_size(study)), ("C10", SAME_N), ("C13", CROP_FIXED)):
        if grid.has("A1", regime=regime):
            yield claim, f"gain, {regime.name}", grid.small_gain("A1", regime=regime)
    noises = [x for x in study.noises if grid.has("A0", "A1", regime=noisy(x))]
    if noises:
        extra = grid.small_gain("A1", regime=noisy(max(noises))) - grid.small_gain("A1")
        yield "C11", f"gain, {max(noises):.0%} wrong labels − none", extra


def summary(grid: Grid, claims: Sequence[Claim]) -> str:
    """Two sentences for somebody in a hurry."""
    gain = mean_over_runs(grid.small_gain("A1"), "gain")
    curve = label_equivalence(grid.study.grid, grid.accuracy("A0"), grid.accuracy("A1"))
    best = curve.largest
    said = {
        verdict: [c.name for c in claims if c.verdict == verdict]
        for verdict in ("supported", "refuted", "inconclusive")
    }
    verdicts = " ".join(f"{verdict.capitalize()}: {', '.join(names)}." for verdict, names in said.items() if names)
    factor = (
        f"{best.value:.1f} {best.interval()} times as many labels" if np.isfinite(best.value) else "no known factor"
    )
    return (
        f"With little data ({small_words(grid)}) a teacher adds {gain.value:+.1%} [{gain.low:.1%}, {gain.high:.1%}] to accuracy; "
        f"at its best it is worth {factor}. {verdicts}"
    )
