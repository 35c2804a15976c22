"""What the claims about data size share: how they are written down, and shares of distillation's gain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from disobey.measures.inference.comparisons import equivalent, ratio_over_runs
from disobey.records.results import Estimate, Verdict
from disobey.studies.data_size.cells import KD, LABELS, OVERLAP, Regime
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.kit.claims import Answer, ClaimSpec, Source
from disobey.studies.kit.verdicts import Stated, side

PAPER = Source("arXiv 2510.15516", "Lanzillotta et al. 2025 (arXiv 2510.15516)")
MARGIN = 0.005  # of accuracy: "the same" is within half a point
SMOOTHING = ("A3", "A4", "A5", "A6", "A15", "A17")  # what label smoothing, in any form, could explain


@dataclass(frozen=True)
class Setting:
    """Where a claim is judged, in words."""

    label: str


DataSizeClaim: TypeAlias = tuple[str, ClaimSpec[CellResults, Setting]]  # where it is judged, and the claim


def claim(id: str, text: str, where: str, rule: str) -> Callable[[Callable[[CellResults], Answer]], DataSizeClaim]:
    """Makes a claim of the paper out of the function that judges it. where: see `setting`; rule: in words."""
    return lambda judged: (where, ClaimSpec(id, text, PAPER, Stated(rule), lambda results, _: judged(results)))


def setting(results: CellResults, where: str) -> Setting:
    """Data and students, then where among them: ``{small}`` stands for the small sizes, ``{closed}`` for those of them
    that were done in closed form."""
    design, closed = results.design, results.closed
    done = [n for n, small in zip(closed.sizes, closed.small, strict=True) if small]
    place = f"{design.data}, N = {design.total:,}, {design.student} students, τ={design.temperature:g}"
    more = where.format(small=sizes_in_words(design.small), closed=sizes_in_words(done))
    return Setting(f"{place}, {more}" if more else place)


def sizes_in_words(sizes: Iterable[int]) -> str:
    """``n = 20, 1,000``."""
    return "n = " + ", ".join(f"{n:,}" for n in sizes)


def verdict(supported: bool, refuted: bool) -> Verdict:
    """Inconclusive where neither holds."""
    return "supported" if supported else "refuted" if refuted else "inconclusive"


def no_gain(results: CellResults, regime: Regime = OVERLAP) -> bool:
    """Whether two one-sided tests put distillation's gain at small n within ±`MARGIN`."""
    return equivalent(results.small_gain(regime), MARGIN).equivalent


def gain_is_sure(results: CellResults) -> bool:
    """Whether distillation's gain at small n is surely above 0, so that there is something to share."""
    return side(results.mean_gain("gain")) > 0


def share_of_gain(results: CellResults, arm: str) -> Estimate:
    """φ: an arm's share of distillation's gain at small n; undefined where that gain is not surely above 0."""
    labels, name = results.small("accuracy", LABELS), f"φ({results.design.arm(arm).text})"
    if not gain_is_sure(results):
        nan = float("nan")
        return Estimate(name, nan, nan, nan, 0.95, len(results.seeds), "runs")
    return ratio_over_runs(results.small("accuracy", arm) - labels, results.small("accuracy", KD) - labels, name)


def undefined(share: Estimate) -> str:
    """What to note beside an undefined share."""
    return "" if share.known else "Undefined: the gain of distillation at small n is not surely above 0."


def smoothings(results: CellResults) -> list[str]:
    """The arms of label smoothing that were run, each at its amount best on validation; first the one best of all."""

    def best(arms: Sequence[str]) -> list[str]:
        score = {arm: results.small("validation", arm).mean() for arm in arms}
        return [max(arms, key=lambda arm: score[arm])] if arms else []  # among equals, the one named first

    families = ([arm for arm in results.design.arms if arm.split(":")[0] == family] for family in SMOOTHING)
    chosen = [arm for family in families for arm in best(family)]
    return list(dict.fromkeys(best(chosen) + chosen))
