"""All thirteen claims about data size, the tests beside them, and a summary.

The rules were written before the default and the full runs. Intervals are Student t over paired seeds, Fieller's for
shares of a gain, inverted t-tests for sizes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.comparisons import holm, sign_flip_p
from disobey.measures.inference.runs import mean_over_runs
from disobey.measures.sample_efficiency import label_equivalence
from disobey.records.results import Estimate
from disobey.studies.data_size import claims_how_much as how_much
from disobey.studies.data_size import claims_why as why
from disobey.studies.data_size.cells import CROP_FIXED, FRESH, KD, LABELS, SAME_N, noisy
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.data_size.shares import DataSizeClaim, setting, sizes_in_words, smoothings
from disobey.studies.kit import claims as kit

CLAIMS: tuple[DataSizeClaim, ...] = (
    how_much.gain_grows_as_data_shrink,
    how_much.worth_three_times_the_labels,
    why.not_label_smoothing,
    why.dark_knowledge,
    why.hard_labels_are_not_enough,
    how_much.high_temperature_suffices,
    how_much.same_sign_for_all_widths,
    how_much.labels_overtake_later,
    how_much.fidelity_gap_falls_as_inverse_root,
    why.information_from_more_data,
    why.variance_of_noisy_labels,
    why.features,
    why.not_augmented_views,
)


def judge(results: CellResults) -> kit.Verdicts:
    """Tests every claim that the runs bear on; the others are skipped, with the option that is missing."""
    verdicts = kit.Verdicts(())
    for where, spec in CLAIMS:
        verdicts += kit.judge([spec], results, [setting(results, where)])
    return verdicts


def sign_flips(results: CellResults) -> list[tuple[str, str, Estimate, float, float]]:
    """Sign-flip tests of the paired differences on which the claims rest.

    There is one test for each claim or part of a claim, not for each arm: with ten seeds no p-value is below 0.002, so
    thirty tests could not reject anything after adjustment.

    Returns:
        Rows of (claims, difference in words, mean difference, p-value, Holm's adjusted p-value).
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
    for arm in (*why.DESTROYING, *why.KEEPING):
        if results.has(arm):
            yield "C4", *minus(arm)
    if results.has(KD, "argmax", regime=FRESH):
        soft, hard = (results.small("accuracy", arm, regime=FRESH) for arm in (KD, "argmax"))
        yield "C5", "soft − hard teacher labels, fresh examples", soft - hard
    if results.has(f"{KD}:1"):
        yield "C6", f"τ={design.temperature:g} − τ=1", kd - results.small("accuracy", f"{KD}:1")
    for claim, regime in (("C7", design.equal_size), ("C10", SAME_N), ("C13", CROP_FIXED)):
        if results.has(KD, regime=regime):
            yield claim, f"gain, {regime.name}", results.small_gain(regime)
    noises = [noise for noise in design.noises if results.has(LABELS, KD, regime=noisy(noise))]
    if noises:
        extra = results.small_gain(noisy(max(noises))) - results.small_gain()
        yield "C11", f"gain, {max(noises):.0%} corrupted labels − none", extra


def summary(results: CellResults, verdicts: kit.Verdicts) -> str:
    """One-paragraph summary."""
    design, gain = results.design, results.mean_gain("gain")
    best = label_equivalence(design.sizes, *(results.table("accuracy", arm) for arm in (LABELS, KD))).largest
    known = np.isfinite(best.value)
    factor = f"{best.value:.1f} {best.interval()} times as many labels" if known else "an unknown number of labels"
    ids = {v: ", ".join(c.name for c in verdicts.claims if c.verdict == v) for v in kit.ORDER}
    counts = " ".join(f"{verdict.capitalize()}: {names}." for verdict, names in ids.items() if names)
    return (
        f"With little data ({sizes_in_words(design.small)}), distillation changes accuracy by {gain.value:+.1%} "
        f"[{gain.low:.1%}, {gain.high:.1%}]; at best, the teacher is worth {factor}. {counts}"
    )
