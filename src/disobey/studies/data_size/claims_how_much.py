"""Claims about how much a teacher is worth, at which n and for which networks (C1, C2, C6 to C9).

"Small n" is the mean over the sizes up to N/10, taken within each seed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

from disobey.measures.fidelity import fidelity_law
from disobey.measures.inference.runs import mean_over_runs
from disobey.measures.sample_efficiency import crossover, label_equivalence, slope_on_log_size
from disobey.records.results import Estimate
from disobey.studies.data_size.cells import KD, LABELS, MAIN, Budget, teacher_of, wide
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.data_size.shares import MARGIN, claim
from disobey.studies.kit.claims import Answer, Noted, Parts, Skip
from disobey.studies.kit.verdicts import POINTS, AllOf, Effect, Equivalence, OneSide, gain, side


@claim(
    "C1",
    "The gain from distillation grows as the training set shrinks.",
    "",
    AllOf((("slope of the gain on log n, on four scales and in both main budgets", Effect(-1)),)),
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
    if {1, -1} <= {side(slope) for slope in slopes}:
        notes.append("It depends on the scale: as n shrinks, the gain grows on one scale and falls on another.")
    if "convergence" not in budgets:
        notes.append("Equal steps only; --budgets steps convergence tests both.")
    return Parts([slopes], note=" ".join(notes))


@claim(
    "C2",
    "A teacher is worth up to about three times as many labels.",
    "equal steps, the largest factor over the sizes up to N/2, corrected for selection",
    Effect(1, 1.5, wrong=1.2),
)
def worth_three_times_the_labels(results: CellResults) -> Answer:
    """The largest label-equivalence factor."""
    curve = label_equivalence(results.design.sizes, *(results.table("accuracy", arm) for arm in (LABELS, KD)))
    note = "Censored at some size: no number of labels up to N matches the student, the factor is at least N/n."
    return Noted([curve.largest], note if "above" in curve.censored else "")


@claim(
    "C6",
    "A high temperature performs as well as squared error on logits, and better than τ = 1.",
    "{small}",
    AllOf(
        (
            ("accuracy at the highest τ minus τ = 1", gain()),
            ("squared error on centred logits minus the highest τ", Equivalence(MARGIN, unit=POINTS)),
            ("each increase of τ costs less than the margin", Effect(1, -MARGIN, unit=POINTS)),
        )
    ),
)
def high_temperature_suffices(results: CellResults) -> Answer:
    """Differences in accuracy between temperatures, and between squared error and the highest temperature."""
    arms = [results.design.arm(word) for word in results.design.arms]
    at = {arm.value or arm.temperature: arm.word for arm in arms if arm.name == KD}
    if not (results.has("mse_centred") and len(at) > 1 and 1.0 in at):
        return Skip("needs --arms mse_centred distillation:1 and other distillation:TEMPERATURE")
    top = max(at)
    rise, *steps = (
        results.accuracy_difference(f"accuracy, τ={high:g} − τ={low:g}", at[high], at[low])
        for low, high in [(1.0, top), *pairwise(sorted(at))]
    )
    squared = results.accuracy_difference(f"accuracy, centred squared error − τ={top:g}", "mse_centred", at[top])
    return Parts([[rise], [squared], steps])


@claim(
    "C7",
    "The gain has the same sign for all widths of student and teacher.",
    "{small}",
    OneSide(MARGIN, POINTS),
)
def same_sign_for_all_widths(results: CellResults) -> Answer:
    """Gains by model of student and teacher."""
    equal_size = results.design.equal_size
    regimes = [*map(wide, results.design.widths), equal_size]
    if not all(results.has(KD, regime=regime) for regime in regimes):
        return Skip("needs --regimes widths")
    gains = [results.mean_gain(f"gain, {regime.name}", regime) for regime in regimes]
    return [results.mean_gain(f"gain, student {results.design.student}"), *gains]


@claim(
    "C8",
    "Labels overtake distillation at a size n* that grows with the teacher's training set.",
    "budget to convergence; an infinite bound lies beyond the grid",
    Effect(1),
)
def labels_overtake_later(results: CellResults) -> Answer:
    """Crossover sizes n*, by the teacher's number of training examples; their ratio decides."""
    design = results.design
    teachers = [(m, teacher_of(m)) for m in design.teacher_sizes]
    if not all(results.has(KD, budget="convergence", regime=regime) for _, regime in teachers):
        return Skip("needs --regimes teacher-sizes")
    crossovers = [
        crossover(design.sizes, results.table("gain", KD, "convergence", regime), f"n*, teacher of {m:,}")
        for m, regime in [*teachers, (design.total, MAIN)]
    ]
    never = all(found.censored == "above" for found in crossovers)
    note = "Labels overtake no teacher within the grid: n* of neither is known." if never else ""
    sizes = [found.size for found in crossovers]
    return Noted([_log_ratio(sizes[-1], sizes[0]), *sizes], note)


def _log_ratio(last: Estimate, first: Estimate) -> Estimate:
    """log10 of the ratio of two sizes; its interval is what both intervals allow, wider than one of the ratio."""

    def log(size: float) -> float:
        return math.log10(size) if size > 0 else -math.inf if size == 0 else math.nan

    name = f"log10 of n*, {last.name.removeprefix('n*, ')} over {first.name.removeprefix('n*, ')}"
    low, high = log(last.low) - log(first.high), log(last.high) - log(first.low)
    return replace(last, name=name, value=log(last.value) - log(first.value), low=low, high=high)


@claim(
    "C9",
    "The gap between training and test fidelity falls as the inverse square root of n.",
    "equal steps; exponent b of c·n^−b, or of c·n^−b + d if the interval of d excludes 0, fitted to training minus "
    "test agreement with the teacher",
    AllOf(
        (
            ("exponent b", Equivalence(0.2, center=0.5)),
            ("gap minus that of students on labels", Effect(-1, unit=POINTS, existence=True)),
        )
    ),
)
def fidelity_gap_falls_as_inverse_root(results: CellResults) -> Answer:
    """Exponents of the power law, and the gap beside that of students without a teacher.

    Such students' gap falls with n, too, and may do so at this rate: the law is one of distillation only where the
    teacher has made the gap smaller.
    """
    law = fidelity_law(results.design.sizes, results.table("gap", KD))
    by_kl = fidelity_law(results.design.sizes, results.table("gap in KL", KD)).exponent
    by_kl = replace(by_kl, name="exponent b of the gap in KL (not tested)")
    note = f"Preferred: {law.preferred}; R² of the law without an offset {law.r2:.2f}."
    note += "" if by_kl.known else " The gap in KL follows no power law of n."
    note += f" {law.not_positive} gaps at or below 0 are included." if law.not_positive else ""
    others = [e for e in (law.exponent, law.exponent_with_offset, law.offset) if e != law.best_exponent]
    beside = (results.table("gap", KD) - results.table("gap, labels", KD)).mean(axis=1)
    less = mean_over_runs(beside, "gap, distillation − labels, mean over sizes")
    return Parts([[law.best_exponent], [less]], more=[*others, by_kl], note=note)
