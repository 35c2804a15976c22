"""All thirteen claims about data size, the tests beside them, and what they say in two sentences.

The rules were written before the default and the full runs. Intervals are Student t over paired seeds, shares of a gain
have Fieller's, sizes a t-test turned around.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.comparisons import holm, sign_flip_p
from disobey.measures.inference.intervals import mean_over_runs
from disobey.measures.sample_efficiency import label_equivalence
from disobey.records.results import Claim, Estimate, Text
from disobey.studies.data_size import claims_how_much as how_much
from disobey.studies.data_size import claims_why as why
from disobey.studies.data_size.cells import CROP_FIXED, FRESH, SAME_N, noisy
from disobey.studies.data_size.closed_form import ClosedFormResults
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.data_size.shares import Skipped, best_smoothing, small_words, text_of

CLAIMS: dict[str, Callable[[CellResults, ClosedFormResults], Claim]] = {
    "C1": how_much.gain_grows_as_data_shrink,
    "C2": how_much.teacher_is_worth_many_labels,
    "C3": why.not_label_smoothing,
    "C4": why.dark_knowledge_of_each_example,
    "C5": why.hard_answers_do_not_suffice,
    "C6": how_much.high_temperature_is_enough,
    "C7": how_much.gain_has_one_sign_over_widths,
    "C8": how_much.labels_overtake_later_with_a_better_teacher,
    "C9": how_much.fidelity_gap_falls_as_inverse_root,
    "C10": why.information_about_more_data,
    "C11": why.variance_of_noisy_labels,
    "C12": why.features,
    "C13": why.not_augmented_views,
}


def judge(results: CellResults, closed: ClosedFormResults) -> tuple[list[Claim], list[Text]]:
    """All claims that the runs bear on; the others with what is missing."""
    claims, missing = [], []
    for id, judged in CLAIMS.items():
        try:
            claims.append(judged(results, closed))
        except Skipped as reason:
            missing.append(f"{id}: {reason}.")
    return claims, [Text("Not judged here", " ".join(missing))] if missing else []


def sign_flips(results: CellResults) -> list[tuple[str, str, Estimate, float, float]]:
    """(claims, what, mean difference, sign-flip p, Holm's adjusted p): the paired differences that the claims rest on.

    One a claim or a part of one, not one an arm: with ten seeds no p-value is below .002, so thirty could not be told apart.
    """
    found = list(_differences(results))
    p_values = [sign_flip_p(difference) for _, _, difference in found]
    return [
        (claim, words, mean_over_runs(difference, words), p, float(q))
        for (claim, words, difference), p, q in zip(found, p_values, holm(p_values), strict=True)
    ]


def _differences(results: CellResults) -> Iterator[tuple[str, str, NDArray]]:
    design, kd = results.design, results.small_accuracy("A1")
    yield "C1, C2", "distillation − labels", results.small_gain("A1")
    smoothing = best_smoothing(results)
    if smoothing:
        yield "C3", f"distillation − {text_of(results, smoothing)}", kd - results.small_accuracy(smoothing)
    for arm in ("A7", "A9a", "A10a", "A11", "A12"):
        if results.has(arm):
            yield "C4", f"distillation − {text_of(results, arm)}", kd - results.small_accuracy(arm)
    if results.has("A1", "A13", regime=FRESH):
        soft, hard = (results.small_accuracy(arm, FRESH) for arm in ("A1", "A13"))
        yield "C5", "soft − hard answers, fresh examples", soft - hard
    if results.has("A1:1"):
        yield "C6", f"τ={design.temperature:g} − τ=1", kd - results.small_accuracy("A1:1")
    for claim, regime in (("C7", design.equal_size), ("C10", SAME_N), ("C13", CROP_FIXED)):
        if results.has("A1", regime=regime):
            yield claim, f"gain, {regime.name}", results.small_gain("A1", regime=regime)
    noises = [x for x in design.noises if results.has("A0", "A1", regime=noisy(x))]
    if noises:
        extra = results.small_gain("A1", regime=noisy(max(noises))) - results.small_gain("A1")
        yield "C11", f"gain, {max(noises):.0%} wrong labels − none", extra


def summary(results: CellResults, claims: Sequence[Claim]) -> str:
    """Two sentences for somebody in a hurry."""
    gain = mean_over_runs(results.small_gain("A1"), "gain")
    curve = label_equivalence(results.design.sizes, results.accuracy("A0"), results.accuracy("A1"))
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
        f"With little data ({small_words(results)}) a teacher adds {gain.value:+.1%} [{gain.low:.1%}, {gain.high:.1%}] to accuracy; "
        f"at its best it is worth {factor}. {verdicts}"
    )
