"""What `eigenspace` claims about networks (E3 to E5), by rules fixed before the runs, and the sentence above them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Estimate
from disobey.studies.eigenspace.evidence import FIRST, Net, WeightPaths
from disobey.studies.eigenspace.layer_paths import WHOLE
from disobey.studies.eigenspace.theory import OURS
from disobey.studies.kit.claims import ClaimSpec, Source, Verdicts, judge
from disobey.studies.kit.verdicts import NATS, NATS_MARGIN, Effect

BIAS = Effect(margin=NATS_MARGIN, unit=NATS)
PAPER = Source("arXiv 2301.12923", "Nagarajan et al., NeurIPS 2023 (arXiv 2301.12923)")


@dataclass(frozen=True)
class Depths:
    """Linear networks of rising depth on one label noise."""

    label: str
    depths: tuple[int, ...]
    noise: float


def _bias(paths: WeightPaths, net: Net) -> list[Estimate]:
    return [mean_over_runs(paths.end(net), "bias over the twin, first layer, lowest band (nats)")]


def _compounding(paths: WeightPaths, linear: Depths) -> list[Estimate]:
    numbers, values = by_depth(paths, linear.depths, linear.noise)
    slopes = [float(np.polyfit(numbers, row, 1)[0]) for row in values.T]
    return [mean_over_runs(slopes, "bias of the end-to-end map, nats per layer")]


def _early_minus_final(paths: WeightPaths, net: Net) -> list[Estimate]:
    gap = paths.end(net) - paths.end(replace(net, age=None))
    return [mean_over_runs(gap, "bias under the earliest teacher minus under the final one (nats)")]


FIRST_LAYER: ClaimSpec[WeightPaths, Net] = ClaimSpec(
    "E3", "The student's first layer moved more along the top directions than its twin's did.", PAPER, BIAS, _bias
)
DEPTH: ClaimSpec[WeightPaths, Depths] = ClaimSpec(
    "E4",
    "The bias compounds over layers: the end-to-end map's bias grows with depth.",
    Source("open question of arXiv 2301.12923"),
    BIAS,
    _compounding,
)
AGE: ClaimSpec[WeightPaths, Net] = ClaimSpec(
    "E5",
    "A teacher that was stopped early passes on more of the bias than a trained one.",
    OURS,
    BIAS,
    _early_minus_final,
)


def judge_networks(
    paths: WeightPaths, noises: Sequence[float], depths: Sequence[int], earliest: int | None
) -> Verdicts:
    """Every network; linear ones by depth; and, where a teacher was stopped early, what that changes."""
    largest = max((1, *depths))
    linear = [
        Depths(f"linear networks of 1 to {largest} layers, {noise:.0%} noise, τ={paths.main:g}", tuple(depths), noise)
        for noise in (noises if depths else ())
    ]
    early = [net for net in paths.nets if earliest is not None and net.age == earliest]
    return judge((FIRST_LAYER,), paths, paths.judged()) + judge((DEPTH,), paths, linear) + judge((AGE,), paths, early)


def by_depth(
    paths: WeightPaths, depths: Sequence[int], noise: float, age: int | None = None
) -> tuple[list[int], NDArray]:
    """Numbers of linear layers, and the end-to-end bias of each: (depths, S)."""
    nets = {1: "linear"} | {depth: f"deep-linear:32x{depth}" for depth in depths}
    rows = [paths.end(Net(name, noise, paths.main, age), WHOLE if depth > 1 else FIRST) for depth, name in nets.items()]
    return list(nets), np.stack(rows)


def summary(verdicts: Verdicts) -> str:
    """How the exact part and each kind of claim came out."""
    exact = "; ".join(f"{claim.name} {claim.verdict}" for claim in verdicts.claims[:2])
    parts = {"E3": "bias of the first layer", "E4": "compounding over depth", "E5": "more from early teachers"}
    tallies = {id: verdicts.tally(id) for id in parts}
    found = "; ".join(f"{words} ({id}): {tallies[id]}" for id, words in parts.items() if tallies[id])
    return f"Exact part: {exact}. In networks, over networks and noise: {found}."
