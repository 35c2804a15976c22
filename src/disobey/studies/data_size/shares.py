"""What the claims about data size share: their form, and shares of the gain from distillation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from disobey.measures.inference.comparisons import ratio_over_runs
from disobey.measures.inference.policy import current
from disobey.records.results import Estimate
from disobey.studies.data_size.cells import KD, LABELS, NAMES
from disobey.studies.data_size.evidence import CellResults
from disobey.studies.kit.claims import Answer, ClaimSpec, Source
from disobey.studies.kit.verdicts import ACCURACY_MARGIN, Effect, Rule, side

PAPER = Source("arXiv 2510.15516", "Lanzillotta et al. 2025 (arXiv 2510.15516)")
MARGIN = ACCURACY_MARGIN
NO_GAIN = "Undefined: the interval of the gain from distillation at small n does not lie above 0."
SMOOTHING = tuple(NAMES[id] for id in ("A3", "A4", "A5", "A6", "A15", "A17"))  # all forms of label smoothing


@dataclass(frozen=True)
class Setting:
    """Where a claim is tested, in words."""

    label: str


DataSizeClaim: TypeAlias = tuple[str, ClaimSpec[CellResults, Setting]]  # where it is tested, and the claim


def claim(id: str, text: str, where: str, rule: Rule) -> Callable[[Callable[[CellResults], Answer]], DataSizeClaim]:
    """Makes a claim of the paper out of the function that reads its numbers; ``where``: see `setting`."""
    return lambda read: (where, ClaimSpec(id, text, PAPER, rule, lambda results, _: read(results)))


def setting(results: CellResults, where: str) -> Setting:
    """Data, students and ``where``; ``{small}`` stands for the small sizes, ``{closed}`` for those in closed form."""
    design, closed = results.design, results.closed
    done = [n for n, small in zip(closed.sizes, closed.small, strict=True) if small]
    place = f"{design.data}, N = {design.total:,}, {design.student} students, τ={design.temperature:g}"
    more = where.format(small=sizes_in_words(design.small), closed=sizes_in_words(done))
    return Setting(f"{place}, {more}" if more else place)


def sizes_in_words(sizes: Iterable[int]) -> str:
    """``n = 20, 1,000``."""
    return "n = " + ", ".join(f"{n:,}" for n in sizes)


def has_gain(results: CellResults) -> bool:
    """Whether the interval of the gain from distillation at small n lies above 0; if not, its shares are undefined."""
    return side(results.mean_gain("gain")) > 0


def share_of_gain(results: CellResults, arm: str) -> Estimate:
    """φ: an arm's share of the gain from distillation at small n, undefined (NaN) without a gain."""
    labels, name = results.small("accuracy", LABELS), f"φ, {results.design.arm(arm).text}"
    if not has_gain(results):
        nan = float("nan")
        return Estimate(name, nan, nan, nan, current().level, len(results.seeds), "runs")
    return ratio_over_runs(results.small("accuracy", arm) - labels, results.small("accuracy", KD) - labels, name)


def share_below(border: float, wrong: float | None = None) -> Effect:
    """An arm keeps less than this share of the gain."""
    return Effect(-1, border, wrong=wrong, undefined=NO_GAIN)


def smoothings(results: CellResults) -> list[str]:
    """The forms of label smoothing that were run, each with its best amount on validation; the best form first."""

    def best(arms: Sequence[str]) -> list[str]:
        score = {arm: results.small("validation", arm).mean() for arm in arms}
        return [max(arms, key=lambda arm: score[arm])] if arms else []  # the first of equals

    families = ([arm for arm in results.design.arms if arm.split(":")[0] == family] for family in SMOOTHING)
    chosen = [arm for family in families for arm in best(family)]
    return list(dict.fromkeys(best(chosen) + chosen))
