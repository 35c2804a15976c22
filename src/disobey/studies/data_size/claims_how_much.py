"""Claims about how much a teacher is worth, at which n, for which networks (C1, C2, C6 to C9).

"Small n": sizes up to a tenth of all examples; their mean is taken within each seed. Sameness is claimed by equivalence
tests only.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from disobey.measures.fidelity import fidelity_law
from disobey.measures.inference.comparisons import equivalent
from disobey.measures.inference.intervals import paired_difference
from disobey.measures.sample_efficiency import crossover, label_equivalence, slope_on_log_size
from disobey.studies.data_size.cells import KD, LABELS, OVERLAP, Budget, teacher_of, wide
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.data_size.shares import MARGIN, claim, no_gain, verdict
from disobey.studies.kit.claims import Answer, Decided, Skip
from disobey.studies.kit.verdicts import side


@claim(
    "C1",
    "The gain of distillation grows as data shrink.",
    "",
    "supported: the slope of the gain on log n lies below 0 on all four scales and in both main budgets; refuted: "
    "on some it lies above 0 and on none below; else inconclusive",
)
def slopes_of_the_gain(results: CellResults) -> Answer:
    """C1."""
    budgets: list[Budget] = [budget for budget in results.budgets if budget != "epochs"]
    slopes = [
        slope_on_log_size(
            results.design.sizes, gains, f"slope of the {scale} per factor 10 in n, equal {budget}", decades=True
        )
        for budget in budgets
        for scale, gains in results.scales(budget).items()
    ]
    sides = {side(slope) for slope in slopes}
    notes = []
    if {1, -1} <= sides:
        notes.append("Metric-dependent: on one scale the gain surely grows as data shrink, on another it surely falls.")
    if "convergence" not in budgets:
        notes.append("Equal steps only; --budgets steps convergence judges both.")
    return Decided(verdict(sides == {-1}, 1 in sides and -1 not in sides), slopes, " ".join(notes))


@claim(
    "C2",
    "A teacher is worth up to about three times the labels.",
    "equal steps",
    "the largest factor over the sizes with N at least 2n, without the luck of having been chosen; supported: its "
    "interval lies above 1.5; refuted: no size's interval reaches above 1.2; else inconclusive",
)
def largest_equivalence_factor(results: CellResults) -> Answer:
    """C2."""
    curve = label_equivalence(results.design.sizes, *(results.table("accuracy", arm) for arm in (LABELS, KD)))
    note = "Censored above at some size: labels never reach the student there, the factor is at least N/n."
    return Decided(curve.verdict(), [curve.largest], note if "above" in curve.censored else "")


@claim(
    "C6",
    "A high temperature does as well as squared error on logits, and better than τ = 1.",
    "{small}",
    f"small n; supported: the highest τ lies above τ = 1, squared error on centred logits is within ±{MARGIN:g} of it (two "
    f"one-sided tests) and no step up in τ costs more than {MARGIN:g}; refuted: one of the three is surely violated; "
    "else inconclusive",
)
def steps_in_temperature(results: CellResults) -> Answer:
    """C6."""
    arms = [results.design.arm(word) for word in results.design.arms]
    at = {arm.value or arm.temperature: results.small("accuracy", arm.word) for arm in arms if arm.name == KD}
    if not (results.has("A2b") and len(at) > 1 and 1.0 in at):
        return Skip("not run; add --arms with A2b, A1:1 and more A1:τ")
    temperatures = sorted(at)
    top = temperatures[-1]
    rise, *steps = (
        paired_difference(at[high], at[low], f"accuracy, τ={high:g} − τ={low:g}")
        for low, high in [(1.0, top), *pairwise(temperatures)]
    )
    squared = equivalent(
        results.small("accuracy", "A2b") - at[top], MARGIN, name=f"accuracy, centred squared error − τ={top:g}"
    )
    differs = side(squared.estimate, MARGIN) > 0 or side(squared.estimate, -MARGIN) < 0
    never_falls = all(step.value > -MARGIN for step in steps)
    surely_falls = any(step.high < -MARGIN for step in steps)
    return Decided(
        verdict(side(rise) > 0 and squared.equivalent and never_falls, side(rise) < 0 or surely_falls or differs),
        [rise, squared.estimate, *steps],
    )


@claim(
    "C7",
    "The gain has the same sign whatever the widths of student and teacher.",
    "{small}",
    f"small n; supported: all intervals on one side of 0; refuted: the gain at equal size is within ±{MARGIN:g} (two one-sided "
    "tests) or two gains surely differ in sign; else inconclusive",
)
def gains_over_widths(results: CellResults) -> Answer:
    """C7."""
    regimes, equal_size = [wide(word) for word in results.design.widths], results.design.equal_size
    if not all(results.has(KD, regime=regime) for regime in (*regimes, equal_size)):
        return Skip("not run; add --regimes widths")
    gains = [
        results.mean_gain(f"gain, student {results.design.student}"),
        *(results.mean_gain(f"gain, {regime.name}", regime) for regime in (*regimes, equal_size)),
    ]
    sides = {side(gain) for gain in gains}
    return Decided(verdict(sides in ({1}, {-1}), no_gain(results, equal_size) or {1, -1} <= sides), gains)


@claim(
    "C8",
    "Labels overtake distillation at a size n* that grows with the teacher's own data.",
    "budget to convergence",
    "budget to convergence; supported: n* of the smallest teacher lies within the grid and its interval below that of the "
    "largest teacher; refuted: no teacher is overtaken within the grid (the crossover was one of optimization), or the "
    "order is surely the other one; else inconclusive. An infinite bound: beyond the grid",
)
def crossovers_by_teacher(results: CellResults) -> Answer:
    """C8."""
    design = results.design
    teachers = [(m, teacher_of(m)) for m in design.teacher_sizes]
    if not all(results.has(KD, budget="convergence", regime=regime) for _, regime in teachers):
        return Skip("not run; add --regimes teacher-sizes")
    crossovers = [
        crossover(design.sizes, results.table("gain", KD, "convergence", regime), f"n*, teacher of {m:,}")
        for m, regime in [*teachers, (design.total, OVERLAP)]
    ]
    first, last = crossovers[0], crossovers[-1]
    never = all(found.censored == "above" for found in crossovers)
    return Decided(
        verdict(
            first.censored == "" and last.size.low > first.size.high,
            never or (last.censored == "" and last.size.high < first.size.low),
        ),
        [found.size for found in crossovers],
    )


@claim(
    "C9",
    "The gap between train and test fidelity falls like the inverse root of n.",
    "equal steps",
    "exponent b of c·n^−b (beside an offset d, where its interval leaves out 0) fitted to train minus test "
    "agreement with the teacher; supported: its interval holds 0.5 and neither 0.3 nor 0.7; refuted: neither it nor that beside an "
    "offset holds 0.5; else inconclusive",
)
def law_of_the_fidelity_gap(results: CellResults) -> Answer:
    """C9."""
    law = fidelity_law(results.design.sizes, results.fidelity.gap)
    by_kl = fidelity_law(results.design.sizes, results.fidelity.kl_gap).exponent
    note = f"Preferred: {law.preferred}; R² of the law without an offset {law.r2:.2f}."
    if not by_kl.known:
        note += " The gap in KL follows no power law of n here."
    if law.not_positive:
        note += f" {law.not_positive} cells at or below 0 took part as they are."
    by_kl = replace(by_kl, name="exponent b of the gap in KL (not judged)")
    return Decided(law.verdict(), [law.exponent, law.exponent_with_offset, law.offset, by_kl], note)
