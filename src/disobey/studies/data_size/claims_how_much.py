"""Claims about how much a teacher is worth, at which n, for which networks (C1, C2, C6 to C9).

"Small n": sizes up to a tenth of all examples; their mean is taken within each seed. Sameness is claimed by equivalence
tests only.
"""

from __future__ import annotations

from itertools import pairwise

from disobey.measures.fidelity import fidelity_law
from disobey.measures.inference.comparisons import equivalent
from disobey.measures.inference.intervals import mean_over_runs, paired_difference
from disobey.measures.sample_efficiency import crossover, label_equivalence, slope_on_log_size
from disobey.records.results import Claim, Verdict
from disobey.studies.data_size.cells import Budget, teacher_of, wide
from disobey.studies.data_size.closed_form import ClosedFormResults
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.data_size.shares import (
    MARGIN,
    claim_of,
    gains_on_scales,
    named,
    need,
    setting_of,
    small_words,
    temperature_of,
)
from disobey.studies.kit.verdicts import side


def gain_grows_as_data_shrink(results: CellResults, _: ClosedFormResults) -> Claim:
    budgets: list[Budget] = [b for b in ("steps", "convergence") if results.has("A0", "A1", budget=b)]
    slopes = [
        slope_on_log_size(
            results.design.sizes, gains, f"slope of the {scale} per factor 10 in n, equal {budget}", decades=True
        )
        for budget in budgets
        for scale, gains in gains_on_scales(results, budget).items()
    ]
    sides = [side(slope) for slope in slopes]
    verdict: Verdict = "inconclusive"
    if all(s < 0 for s in sides):
        verdict = "supported"
    elif 1 in sides and -1 not in sides:
        verdict = "refuted"
    note = ""
    if {1, -1} <= set(sides):
        note = "Metric-dependent: on one scale the gain surely grows as data shrink, on another it surely falls."
    if "convergence" not in budgets:
        note += " Equal steps only; --budgets steps convergence judges both."
    return claim_of(
        "C1",
        "The gain of distillation grows as data shrink.",
        verdict,
        slopes,
        "supported: the slope of the gain on log n lies below 0 on all four scales and in both main budgets; refuted: "
        "on some it lies above 0 and on none below; else inconclusive",
        setting_of(results),
        note.strip(),
    )


def teacher_is_worth_many_labels(results: CellResults, _: ClosedFormResults) -> Claim:
    curve = label_equivalence(results.design.sizes, results.accuracy("A0"), results.accuracy("A1"))
    note = "Censored above at some size: labels never reach the student there, the factor is at least N/n."
    return claim_of(
        "C2",
        "A teacher is worth up to about three times the labels.",
        curve.verdict(),
        [curve.largest],
        "the largest factor over the sizes with N at least 2n, without the luck of having been chosen; supported: its "
        "interval lies above 1.5; refuted: no size's interval reaches above 1.2; else inconclusive",
        setting_of(results, "equal steps"),
        note if "above" in curve.censored else "",
    )


def high_temperature_is_enough(results: CellResults, _: ClosedFormResults) -> Claim:
    words = results.design.arms
    ladder = sorted((temperature_of(results, word), word) for word in words if word.split(":")[0] == "A1")
    need("A2b" in words and len(ladder) > 1 and any(t == 1 for t, _ in ladder), "--arms with A2b, A1:1 and more A1:τ")
    at = {t: results.small_accuracy(word) for t, word in ladder}
    top = max(at)
    rise = paired_difference(at[top], at[1.0], f"accuracy, τ={top:g} − τ=1")
    squared = equivalent(
        results.small_accuracy("A2b") - at[top], MARGIN, name=f"accuracy, centred squared error − τ={top:g}"
    )
    steps = [paired_difference(at[b], at[a], f"accuracy, τ={b:g} − τ={a:g}") for a, b in pairwise(t for t, _ in ladder)]
    falls = [step for step in steps if step.high < -MARGIN]
    rises_all = all(step.value > -MARGIN for step in steps)
    verdict: Verdict = "inconclusive"
    if side(rise) > 0 and squared.equivalent and rises_all:
        verdict = "supported"
    elif side(rise) < 0 or falls or side(squared.estimate, MARGIN) > 0 or side(squared.estimate, -MARGIN) < 0:
        verdict = "refuted"
    return claim_of(
        "C6",
        "A high temperature does as well as squared error on logits, and better than τ = 1.",
        verdict,
        [rise, squared.estimate, *steps],
        f"small n; supported: the highest τ lies above τ = 1, squared error on centred logits is within ±{MARGIN:g} of it (two "
        f"one-sided tests) and no step up in τ costs more than {MARGIN:g}; refuted: one of the three is surely violated; "
        "else inconclusive",
        setting_of(results, small_words(results)),
    )


def gain_has_one_sign_over_widths(results: CellResults, _: ClosedFormResults) -> Claim:
    design = results.design
    regimes = [wide(word) for word in design.widths]
    need(all(results.has("A1", regime=r) for r in (*regimes, design.equal_size)), "--regimes widths")
    gains = {r.name: mean_over_runs(results.small_gain("A1", regime=r), f"gain, {r.name}") for r in regimes}
    main = mean_over_runs(results.small_gain("A1"), f"gain, student {design.student}")
    equal = mean_over_runs(results.small_gain("A1", regime=design.equal_size), "gain, teacher of the student's size")
    everything = [main, *gains.values(), equal]
    sides = {side(gain) for gain in everything}
    gone = equivalent(results.small_gain("A1", regime=design.equal_size), MARGIN).equivalent
    verdict: Verdict = "inconclusive"
    if sides in ({1}, {-1}):
        verdict = "supported"
    elif gone or {1, -1} <= sides or (side(main) > 0 and side(equal) < 0):
        verdict = "refuted"
    return claim_of(
        "C7",
        "The gain has the same sign whatever the widths of student and teacher.",
        verdict,
        everything,
        f"small n; supported: all intervals on one side of 0; refuted: the gain at equal size is within ±{MARGIN:g} (two one-sided "
        "tests) or two gains surely differ in sign; else inconclusive",
        setting_of(results, small_words(results)),
    )


def labels_overtake_later_with_a_better_teacher(results: CellResults, _: ClosedFormResults) -> Claim:
    design = results.design
    ladder = [(m, teacher_of(m)) for m in design.teacher_sizes]
    need(all(results.has("A1", budget="convergence", regime=r) for _, r in ladder), "--regimes teacher-sizes")
    found = [crossover(design.sizes, results.gain("A1", "convergence", r), f"n*, teacher of {m:,}") for m, r in ladder]
    found.append(crossover(design.sizes, results.gain("A1", "convergence"), f"n*, teacher of {design.total:,}"))
    first, last = found[0], found[-1]
    verdict: Verdict = "inconclusive"
    if all(f.censored == "above" for f in found):
        verdict = "refuted"
    elif first.censored == "" and last.size.low > first.size.high:
        verdict = "supported"
    elif last.censored == "" and last.size.high < first.size.low:
        verdict = "refuted"
    return claim_of(
        "C8",
        "Labels overtake distillation at a size n* that grows with the teacher's own data.",
        verdict,
        [f.size for f in found],
        "budget to convergence; supported: n* of the smallest teacher lies within the grid and its interval below that of the "
        "largest teacher; refuted: no teacher is overtaken within the grid (the crossover was one of optimization), or the "
        "order is surely the other one; else inconclusive. An infinite bound: beyond the grid",
        setting_of(results, "budget to convergence"),
    )


def fidelity_gap_falls_as_inverse_root(results: CellResults, _: ClosedFormResults) -> Claim:
    law = fidelity_law(results.design.sizes, results.fidelity.gap)
    by_kl = fidelity_law(results.design.sizes, results.fidelity.kl_gap).exponent
    note = f"Preferred: {law.preferred}; R² of the law without an offset {law.r2:.2f}."
    if not by_kl.known:
        note += " The gap in KL follows no power law of n here."
    if law.not_positive:
        note += f" {law.not_positive} cells at or below 0 took part as they are."
    return claim_of(
        "C9",
        "The gap between train and test fidelity falls like the inverse root of n.",
        law.verdict(),
        [law.exponent, law.exponent_with_offset, law.offset, named(by_kl, "exponent b of the gap in KL (not judged)")],
        "exponent b of c·n^−b (beside an offset d, where its interval leaves out 0) fitted to train minus test "
        "agreement with the teacher; supported: its interval holds 0.5 and neither 0.3 nor 0.7; refuted: neither it nor that beside an "
        "offset holds 0.5; else inconclusive",
        setting_of(results, "equal steps"),
        note,
    )
