"""The figures and tables of `forced-deviation`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from disobey.figures.estimates import estimates_chart
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Axis, Chart, Estimate, Table
from disobey.studies.forced_deviation.claims import ACCURACY, ECE, FACTOR, KL, LOW, NLL, SLOPE, Level
from disobey.studies.kit.design import Arm
from disobey.studies.kit.evidence import CONTROL, Evidence
from disobey.studies.kit.tables import in_points, table
from disobey.targets.reshape import KEPT, QUARTILE, RESHAPES, top_log_odds
from disobey.training.recipe import Run


def dose_chart(levels: Sequence[Level], e: Evidence, measure: str, words: str) -> Chart:
    """A measure against the forced slope, with intervals, a line for each noise level."""
    rows = [(s, level.label, "", e.mean(arm, measure)) for level in levels for s, arm in level.doses]
    alt = f"{words} against the forced slope by label noise; bands are 95% intervals over runs."
    axes = Axis("x", "forced slope s"), Axis("y", words)
    return estimates_chart(rows, f"dose-{measure}", f"Dose-response: {words}", *axes, alt, kind="line", color="labels")


def arm_table(levels: Sequence[Level], e: Evidence) -> Table:
    """Every student with its differences from plain distillation."""
    plain = {arm: level.arms["plain"] for level in levels for arm in level.arms.values()}

    def over_plain(arm: Arm) -> Estimate:
        return e.mean(arm, ACCURACY, minus=plain[arm])

    columns = (
        ("label noise", lambda arm: f"{arm['noise']:.0%}"),
        ("student", lambda arm: arm["arm"]),
        ("accuracy", e.means(ACCURACY)),
        ("− control (points)", in_points(e.means(ACCURACY, minus=CONTROL))),
        ("− plain (points)", in_points(over_plain)),
        ("NLL", e.means(NLL)),
        ("ECE, debiased", e.means(ECE)),
        ("KL to teacher, train", e.means(KL, split="train")),
        ("slope, train", e.means(SLOPE, split="train")),
        ("slope, test", e.means(SLOPE)),
        ("lowest quarter: mean y−x, train", e.means(LOW, split="train")),
    )
    caption = "Means over seeds with intervals over runs (accuracies: and examples); differences are paired."
    return table("Every student (test unless said otherwise)", plain, columns, caption)


@dataclass(frozen=True)
class Taken:
    """What an underfit takes from the targets of every seed, (S,)."""

    noise: float
    student: str
    fall: NDArray  # mean decrease of the log-odds over a quarter of the examples, in nats
    capped: NDArray  # share of the quarter that loses no more because its class would lose too much of its lead
    flips: int  # targets of all seeds whose most likely class is another one
    targets: int


def taken(e: Evidence, level: Level) -> list[Taken]:
    """The achieved decreases of both underfits, from the teachers' own predictions on the training examples."""
    found = []
    for student in ("underfit lowest", "underfit random"):
        arm = level.arms[student]
        assert arm.compared_with is not None
        rows = []
        for seed in e.seeds:
            teacher = e.records[Run(arm.compared_with, seed)].log_probs("train")
            rows.append(_taken(torch.from_numpy(np.array(teacher, dtype=np.float64)), student.split()[1], seed))
        fall, capped, flips, targets = zip(*rows, strict=True)
        noise = arm.number("noise")
        found.append(Taken(noise, student, np.array(fall), np.array(capped), sum(flips), sum(targets)))
    return found


def _taken(teacher: torch.Tensor, which: str, seed: int) -> tuple[float, float, int, int]:
    quarter = int(QUARTILE * len(teacher))
    reshaped = RESHAPES[f"underfit_{which}_kept"](teacher, torch.Generator().manual_seed(seed), FACTOR)
    top, odds = teacher.argmax(-1, keepdim=True), top_log_odds(teacher)
    rest = reshaped.scatter(-1, top, -torch.inf).logsumexp(-1)
    fall = odds - (reshaped.gather(-1, top).squeeze(-1) - rest)
    first, second = teacher.topk(2, -1).values.unbind(-1)
    capped = (fall > 0) & ((fall - (1 - KEPT) * (first - second)).abs() < 1e-9)
    flips = int((reshaped.float().argmax(-1) != top.squeeze(-1)).sum())
    return float(fall.sum()) / quarter, int(capped.sum()) / quarter, flips, len(teacher)


def taken_table(levels: Sequence[Level], e: Evidence) -> Table:
    """How strong the forced underfit is, and that it changes no class."""

    def mean(name: str) -> Callable[[Taken], Estimate]:
        return lambda row: mean_over_runs(getattr(row, name), name)

    columns = (
        ("label noise", lambda row: f"{row.noise:.0%}"),
        ("targets of", lambda row: row.student),
        ("mean decrease in the quarter (nats)", mean("fall")),
        ("share that half of the lead caps", mean("capped")),
        ("most likely class changed", lambda row: f"{row.flips:,} of {row.targets:,}"),
    )
    caption = (
        f"The distance to the median would grow by a factor of {FACTOR:g}; no example loses more than {1 - KEPT:.0%} "
        "of the lead that its most likely class has over the next. The random quarter gets the same decreases (drawn "
        "anew for this table). Means over seeds with intervals over runs."
    )
    return table(
        "What the forced underfit takes", [row for level in levels for row in taken(e, level)], columns, caption
    )
