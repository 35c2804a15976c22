"""What the claims about data size share: words, shares of the gain, and the way a claim that cannot be judged says so."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import NDArray

from disobey.measures.inference.intervals import mean_over_runs
from disobey.measures.sample_efficiency import scales, shares_explained
from disobey.records.results import Claim, Estimate, Verdict
from disobey.studies.data_size.cells import BUDGET_WORDS, Budget
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.kit.verdicts import side

SOURCE = "arXiv 2510.15516"
MARGIN = 0.005  # of accuracy: "the same" is within half a point
SMOOTHING = ("A3", "A4", "A5", "A6", "A15", "A17")  # what label smoothing, in any form, could explain


class Skipped(Exception):
    """A claim that these runs do not bear on, and what would."""


def need(here: bool, option: str) -> None:
    if not here:
        raise Skipped(f"not run; add {option}")


def setting_of(results: CellResults, more: str = "") -> str:
    design = results.design
    place = f"{design.data}, N = {design.total:,}, {design.student} students, τ={design.temperature:g}"
    return f"{place}, {more}" if more else place


def small_words(results: CellResults) -> str:
    return "n = " + ", ".join(f"{n:,}" for n in results.design.small)


def claim_of(
    name: str,
    text: str,
    verdict: Verdict,
    evidence: Sequence[Estimate],
    rule: str,
    setting: str,
    note: str = "",
) -> Claim:
    return Claim(text, SOURCE, verdict, tuple(evidence), rule, name, setting, note)


def gains_on_scales(results: CellResults, budget: Budget) -> dict[str, NDArray]:
    """The gain of distillation on four scales, (S, K) each."""
    return scales(
        results.accuracy("A0", budget),
        results.accuracy("A1", budget),
        results.nll("A0", budget),
        results.nll("A1", budget),
        n_test=results.design.tests,
    )


def gain_is_sure(results: CellResults) -> bool:
    """Whether distillation's gain at small n is surely above 0, so that there is something to share."""
    return side(mean_over_runs(results.small_gain("A1"), "gain")) > 0


def shares_of_gain(results: CellResults, arms: Sequence[str]) -> dict[str, Estimate]:
    """φ by arm: its share of distillation's gain at small n; undefined where that gain is not surely above 0."""
    values = {arm: results.small_accuracy(arm) for arm in arms}
    found = shares_explained(values, results.small_accuracy("A0"), results.small_accuracy("A1"))
    sure = gain_is_sure(results)
    nan = float("nan")
    return {
        arm: named(e, f"φ({text_of(results, arm)})")
        if sure
        else Estimate(f"φ({text_of(results, arm)})", nan, nan, nan, e.level, e.n, "runs")
        for arm, e in found.items()
    }


def best_amount(results: CellResults, family: str) -> str:
    """The amount of an arm that is best on validation at small n; the smaller one among equals; none: not run."""
    found = [word for word in results.design.arms if word.split(":")[0] == family]
    return max(found, key=lambda word: results.small_accuracy(word, validation=True).mean(), default="")


def budgets_of(results: CellResults) -> list[Budget]:
    return [budget for budget in BUDGET_WORDS if results.has("A0", "A1", budget=budget)]


def smoothings(results: CellResults) -> list[str]:
    """The arms of label smoothing that were run, each at its amount best on validation."""
    return [arm for arm in (best_amount(results, family) for family in SMOOTHING) if arm]


def best_smoothing(results: CellResults) -> str:
    """The one of them that is best on validation at small n; none: not run."""
    return max(smoothings(results), key=lambda arm: results.small_accuracy(arm, validation=True).mean(), default="")


def temperature_of(results: CellResults, word: str) -> float:
    value = results.design.arm(word).value
    return results.design.temperature if value is None else value


def text_of(results: CellResults, word: str) -> str:
    return results.design.arm(word).text


def named(estimate: Estimate, name: str) -> Estimate:
    return Estimate(name, estimate.value, estimate.low, estimate.high, estimate.level, estimate.n, estimate.over)


def undefined(share: Estimate) -> str:
    return "" if share.known else "Undefined: the gain of distillation at small n is not surely above 0."
