"""The claims of `eigenspace` about networks (E3 to E5), their rules fixed before the runs, and the sentence above them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.intervals import mean_over_runs
from disobey.records.results import Claim
from disobey.studies.eigenspace import theory
from disobey.studies.eigenspace.evidence import FIRST, Moved, Net
from disobey.studies.eigenspace.layer_paths import WHOLE
from disobey.studies.kit import verdicts as rules

SOURCE = "arXiv 2301.12923"


def bias_claims(moved: Moved) -> list[Claim]:
    """E3: the first layer of every net."""
    words = "The student's first layer moved more along the top directions than its twin's did."
    evidence = "bias over the twin, first layer, lowest band (nats)"
    return [
        rules.above_zero("E3", words, mean_over_runs(moved.end(net), evidence), SOURCE, net.text)
        for net in moved.judged()
    ]


def depth_claims(moved: Moved, noises: Sequence[float], depths: Sequence[int]) -> list[Claim]:
    """E4: does the bias compound over layers? Of the whole linear map against its number of layers."""
    found = []
    for noise in noises if depths else ():
        numbers, values = by_depth(moved, depths, noise)
        slopes = [float(np.polyfit(numbers, row, 1)[0]) for row in values.T]
        estimate = mean_over_runs(slopes, "bias of the end-to-end map, nats per layer")
        setting = f"linear networks of {numbers[0]} to {numbers[-1]} layers, {noise:.0%} noise, τ={moved.main:g}"
        words = "The bias compounds over layers: the end-to-end map's bias grows with depth."
        found.append(rules.above_zero("E4", words, estimate, "open question of arXiv 2301.12923", setting))
    return found


def age_claims(moved: Moved, earliest: int | None) -> list[Claim]:
    """E5: what the earliest of the stopped teachers passes on against the final one; none where none was stopped."""
    found = []
    for net in moved.nets:
        if earliest is not None and net.age == earliest:
            gap = moved.end(net) - moved.end(replace(net, age=None))
            estimate = mean_over_runs(gap, "bias under the earliest teacher minus under the final one (nats)")
            words = "A teacher that was stopped early passes on more of the bias than a trained one."
            found.append(rules.above_zero("E5", words, estimate, theory.OURS, net.text))
    return found


def by_depth(moved: Moved, depths: Sequence[int], noise: float, age: int | None = None) -> tuple[list[int], NDArray]:
    """Numbers of linear layers, and the end-to-end bias of each: (depths, S)."""
    nets = {1: "linear"} | {depth: f"deep-linear:32x{depth}" for depth in depths}
    rows = [moved.end(Net(name, noise, moved.main, age), WHOLE if depth > 1 else FIRST) for depth, name in nets.items()]
    return list(nets), np.stack(rows)


def summary(claims: list[Claim]) -> str:
    exact = "; ".join(f"{c.name} {c.verdict}" for c in claims[:2])
    parts = {"E3": "bias of the first layer", "E4": "compounding over depth", "E5": "more from early teachers"}
    tallies = {name: rules.tally(claims, name) for name in parts}
    found = "; ".join(f"{words} ({name}): {tallies[name]}" for name, words in parts.items() if tallies[name])
    return f"Exact part: {exact}. In networks, over networks and noise: {found}."
