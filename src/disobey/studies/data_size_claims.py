"""All thirteen claims about data size, the tests beside them, and what they say in two sentences.

The rules were written before the default and the full runs. Intervals are Student t over paired seeds, shares of a gain
have Fieller's, sizes a t-test turned around.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from disobey.measures.comparisons import holm, sign_flip_p
from disobey.measures.intervals import mean_over_runs
from disobey.measures.sample_efficiency import label_equivalence
from disobey.records.results import Claim, Estimate, Text
from disobey.studies.data_size_cells import parsed
from disobey.studies.data_size_closed import Closed
from disobey.studies.data_size_explanations import c3, c4, c5, c10, c11, c12, c13
from disobey.studies.data_size_magnitude import c1, c2, c6, c7, c8, c9
from disobey.studies.data_size_readings import Grid
from disobey.studies.data_size_rules import Skipped, small_words

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


def sign_flips(grid: Grid) -> list[tuple[str, Estimate, float, float]]:
    """(what, difference, sign-flip p, Holm's adjusted p) of the paired differences that the claims rest on."""
    found: list[tuple[str, NDArray]] = [("distillation − labels, small n", grid.small_gain("A1"))]
    for arm in grid.study.arms:
        word = parsed(arm, grid.study.temperature)
        if word.name not in ("A0", "A1"):
            difference = grid.small_accuracy("A1") - grid.small_accuracy(word.word)
            found.append((f"distillation − {word.text}, small n", difference))
    p_values = [sign_flip_p(difference) for _, difference in found]
    adjusted = holm(p_values)
    return [
        (name, mean_over_runs(difference, name), p, float(q))
        for (name, difference), p, q in zip(found, p_values, adjusted, strict=True)
    ]


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
