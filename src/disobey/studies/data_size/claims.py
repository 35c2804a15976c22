"""All thirteen claims about data size, the tests beside them, and what they say in two sentences.

The rules were written before the default and the full runs. Intervals are Student t over paired seeds, shares of a gain
have Fieller's, sizes a t-test turned around.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.comparisons import holm, sign_flip_p
from disobey.measures.inference.intervals import mean_over_runs
from disobey.measures.sample_efficiency import label_equivalence
from disobey.records.results import Estimate
from disobey.studies.data_size import claims_how_much as how_much
from disobey.studies.data_size import claims_why as why
from disobey.studies.data_size.cells import CROP_FIXED, FRESH, KD, LABELS, SAME_N, noisy
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.data_size.shares import DataSizeClaim, setting, sizes_in_words, smoothings
from disobey.studies.kit import claims as kit

CLAIMS: tuple[DataSizeClaim, ...] = (
    how_much.slopes_of_the_gain,
    how_much.largest_equivalence_factor,
    why.shares_of_smoothing,
    why.shares_of_dark_knowledge,
    why.share_of_hard_answers,
    how_much.steps_in_temperature,
    how_much.gains_over_widths,
    how_much.crossovers_by_teacher,
    how_much.law_of_the_fidelity_gap,
    why.gain_from_the_same_examples,
    why.gain_from_wrong_labels,
    why.gains_without_features,
    why.gain_with_fixed_targets,
)


def judge(results: CellResults) -> kit.Verdicts:
    """All claims that the runs bear on; the others with what is missing."""
    verdicts = kit.Verdicts(())
    for where, spec in CLAIMS:
        verdicts += kit.judge([spec], results, [setting(results, where)])
    return verdicts


def sign_flips(results: CellResults) -> list[tuple[str, str, Estimate, float, float]]:
    """(claims, what, mean difference, sign-flip p, Holm's adjusted p): the paired differences that the claims rest on.

    One a claim or a part of one, not one an arm: with ten seeds no p-value is below .002, so thirty could not be told apart.
    """
    differences = list(_differences(results))
    p_values = [sign_flip_p(difference) for _, _, difference in differences]
    return [
        (claim, words, mean_over_runs(difference, words), p, float(adjusted))
        for (claim, words, difference), p, adjusted in zip(differences, p_values, holm(p_values), strict=True)
    ]


def _differences(results: CellResults) -> Iterator[tuple[str, str, NDArray]]:
    design, kd = results.design, results.small("accuracy", KD)

    def minus(arm: str) -> tuple[str, NDArray]:
        return f"distillation − {design.arm(arm).text}", kd - results.small("accuracy", arm)

    yield "C1, C2", "distillation − labels", results.small_gain()
    for arm in smoothings(results)[:1]:
        yield "C3", *minus(arm)
    for arm in ("A7", "A9a", "A10a", "A11", "A12"):
        if results.has(arm):
            yield "C4", *minus(arm)
    if results.has(KD, "A13", regime=FRESH):
        soft, hard = (results.small("accuracy", arm, regime=FRESH) for arm in (KD, "A13"))
        yield "C5", "soft − hard answers, fresh examples", soft - hard
    if results.has(f"{KD}:1"):
        yield "C6", f"τ={design.temperature:g} − τ=1", kd - results.small("accuracy", f"{KD}:1")
    for claim, regime in (("C7", design.equal_size), ("C10", SAME_N), ("C13", CROP_FIXED)):
        if results.has(KD, regime=regime):
            yield claim, f"gain, {regime.name}", results.small_gain(regime)
    noises = [noise for noise in design.noises if results.has(LABELS, KD, regime=noisy(noise))]
    if noises:
        extra = results.small_gain(noisy(max(noises))) - results.small_gain()
        yield "C11", f"gain, {max(noises):.0%} wrong labels − none", extra


def summary(results: CellResults, verdicts: kit.Verdicts) -> str:
    """Two sentences for somebody in a hurry."""
    design, gain = results.design, results.mean_gain("gain")
    curve = label_equivalence(design.sizes, *(results.table("accuracy", arm) for arm in (LABELS, KD)))
    best = curve.largest
    factor = (
        f"{best.value:.1f} {best.interval()} times as many labels" if np.isfinite(best.value) else "no known factor"
    )
    ids = {v: ", ".join(c.name for c in verdicts.claims if c.verdict == v) for v in kit.ORDER}
    counts = " ".join(f"{verdict.capitalize()}: {names}." for verdict, names in ids.items() if names)
    return (
        f"With little data ({sizes_in_words(design.small)}) a teacher adds {gain.value:+.1%} [{gain.low:.1%}, {gain.high:.1%}] to "
        f"accuracy; at its best it is worth {factor}. {counts}"
    )
