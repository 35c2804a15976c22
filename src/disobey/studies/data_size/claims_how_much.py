"""Claims about how much a teacher is worth, at which n and for which networks (C1, C2, C6 to C9).

"Small n" is the mean over the sizes up to N/10, taken within each seed. Two accuracies are called equal only after an
equivalence test.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from disobey.measures.fidelity import fidelity_law
from disobey.measures.inference.comparisons import equivalent
from disobey.measures.inference.runs import paired_difference
from disobey.measures.sample_efficiency import crossover, label_equivalence, slope_on_log_size
from disobey.studies.data_size.cells import KD, LABELS, MAIN, Budget, teacher_of, wide
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.data_size.shares import EQUIVALENT, MARGIN, claim, decided, no_gain
from disobey.studies.kit.claims import Answer, Decided, Skip
from disobey.studies.kit.verdicts import side


@claim(
    "C1",
    "The gain from distillation grows as the training set shrinks.",
    "",
    "supported: the slope of the gain on log n lies below 0 on all four scales and in both main budgets; contradicted: "
    "above 0 on at least one scale and below 0 on none; else undecided",
)
def gain_grows_as_data_shrink(results: CellResults) -> Answer:
    """Slopes of the gain on log n, by budget and scale."""
    sizes, notes = results.design.sizes, []
    budgets: list[Budget] = [budget for budget in results.budgets if budget != "epochs"]
    slopes = [
        slope_on_log_size(sizes, gains, f"slope of the {scale} per factor 10 in n, equal {budget}", decades=True)
        for budget in budgets
        for scale, gains in results.scales(budget).items()
    ]
    sides = {side(slope) for slope in slopes}
    if {1, -1} <= sides:
        notes.append("It depends on the scale: as n shrinks, the gain grows on one scale and falls on another.")
    if "convergence" not in budgets:
        notes.append("Equal steps only; --budgets steps convergence tests both.")
    return decided(slopes, supported=sides == {-1}, contradicted=1 in sides and -1 not in sides, note=" ".join(notes))


@claim(
    "C2",
    "A teacher is worth up to about three times as many labels.",
    "equal steps",
    "the largest factor over the sizes up to N/2, corrected for selection; supported: its interval lies above 1.5; "
    "contradicted: no size's interval reaches above 1.2; else undecided",
)
def worth_three_times_the_labels(results: CellResults) -> Answer:
    """The largest label-equivalence factor."""
    curve = label_equivalence(results.design.sizes, *(results.table("accuracy", arm) for arm in (LABELS, KD)))
    note = "Censored at some size: no number of labels up to N matches the student, the factor is at least N/n."
    return Decided(curve.verdict(), [curve.largest], note if "above" in curve.censored else "")


@claim(
    "C6",
    "A high temperature performs as well as squared error on logits, and better than τ = 1.",
    "{small}",
    f"small n; supported: the highest τ lies above τ = 1, squared error on centred logits is {EQUIVALENT} of it, and "
    f"no increase of τ costs more than {MARGIN:g}; contradicted: an interval contradicts one of the three; "
    "else undecided",
)
def high_temperature_suffices(results: CellResults) -> Answer:
    """Differences in accuracy between temperatures, and between squared error and the highest temperature."""
    arms = [results.design.arm(word) for word in results.design.arms]
    at = {arm.value or arm.temperature: results.small("accuracy", arm.word) for arm in arms if arm.name == KD}
    if not (results.has("mse_centred") and len(at) > 1 and 1.0 in at):
        return Skip("needs --arms mse_centred distillation:1 and other distillation:TEMPERATURE")
    top = max(at)
    rise, *steps = (
        paired_difference(at[high], at[low], f"accuracy, τ={high:g} − τ={low:g}")
        for low, high in [(1.0, top), *pairwise(sorted(at))]
    )
    name = f"accuracy, centred squared error − τ={top:g}"
    squared = equivalent(results.small("accuracy", "mse_centred") - at[top], MARGIN, name=name)
    never_falls = all(step.value > -MARGIN for step in steps)
    contradicted = side(rise) < 0 or any(step.high < -MARGIN for step in steps)
    differs = side(squared.estimate, MARGIN) > 0 or side(squared.estimate, -MARGIN) < 0
    supported = side(rise) > 0 and squared.equivalent and never_falls
    return decided([rise, squared.estimate, *steps], supported=supported, contradicted=contradicted or differs)


@claim(
    "C7",
    "The gain has the same sign for all widths of student and teacher.",
    "{small}",
    "small n; supported: all intervals lie on the same side of 0; contradicted: the gain with a teacher of the "
    f"student's size is {EQUIVALENT}, or the intervals of two gains lie on opposite sides of 0; else undecided",
)
def same_sign_for_all_widths(results: CellResults) -> Answer:
    """Gains by model of student and teacher."""
    equal_size = results.design.equal_size
    regimes = [*map(wide, results.design.widths), equal_size]
    if not all(results.has(KD, regime=regime) for regime in regimes):
        return Skip("needs --regimes widths")
    gains = [results.mean_gain(f"gain, {regime.name}", regime) for regime in regimes]
    gains.insert(0, results.mean_gain(f"gain, student {results.design.student}"))
    sides = {side(gain) for gain in gains}
    contradicted = no_gain(results, equal_size) or {1, -1} <= sides
    return decided(gains, supported=sides in ({1}, {-1}), contradicted=contradicted)


@claim(
    "C8",
    "Labels overtake distillation at a size n* that grows with the teacher's training set.",
    "budget to convergence",
    "budget to convergence; supported: n* of the smallest teacher lies within the grid, and its interval below that of "
    "the largest teacher; contradicted: labels overtake no teacher within the grid (the crossover came from "
    "optimization), or the order is reversed; else undecided. An infinite bound lies beyond the grid",
)
def labels_overtake_later(results: CellResults) -> Answer:
    """Crossover sizes n*, by the teacher's number of training examples."""
    design = results.design
    teachers = [(m, teacher_of(m)) for m in design.teacher_sizes]
    if not all(results.has(KD, budget="convergence", regime=regime) for _, regime in teachers):
        return Skip("needs --regimes teacher-sizes")
    crossovers = [
        crossover(design.sizes, results.table("gain", KD, "convergence", regime), f"n*, teacher of {m:,}")
        for m, regime in [*teachers, (design.total, MAIN)]
    ]
    first, last = crossovers[0], crossovers[-1]
    never = all(found.censored == "above" for found in crossovers)
    return decided(
        [found.size for found in crossovers],
        supported=first.censored == "" and last.size.low > first.size.high,
        contradicted=never or (last.censored == "" and last.size.high < first.size.low),
    )


@claim(
    "C9",
    "The gap between training and test fidelity falls as the inverse square root of n.",
    "equal steps",
    "exponent b of c·n^−b (or of c·n^−b + d, if the interval of d excludes 0), fitted to training minus test agreement "
    "with the teacher; supported: its interval contains 0.5 and neither 0.3 nor 0.7; contradicted: neither it nor that "
    "of the law with an offset contains 0.5; else undecided",
)
def fidelity_gap_falls_as_inverse_root(results: CellResults) -> Answer:
    """Exponents of the power law."""
    law = fidelity_law(results.design.sizes, results.table("gap", KD))
    by_kl = fidelity_law(results.design.sizes, results.table("gap in KL", KD)).exponent
    by_kl = replace(by_kl, name="exponent b of the gap in KL (not tested)")
    note = f"Preferred: {law.preferred}; R² of the law without an offset {law.r2:.2f}."
    note += "" if by_kl.known else " The gap in KL follows no power law of n."
    note += f" {law.not_positive} gaps at or below 0 are included." if law.not_positive else ""
    return Decided(law.verdict(), [law.exponent, law.exponent_with_offset, law.offset, by_kl], note)
