"""The same by seed, by class and by group."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.streaming import forward_and_reverse
from disobey.diagnosis.input.pair import class_name
from disobey.errors import printable
from disobey.measures import agreement, calibration, deviation
from disobey.measures.inference.comparisons import effect_size, minimum_detectable_effect
from disobey.measures.inference.examples import mean_of, share
from disobey.measures.inference.measure import applicable
from disobey.measures.inference.runs import mean_over_runs, paired_difference
from disobey.records.results import Cell, Table

MAX_ROWS = 40  # classes or groups in a table
MAX_CLASSES = 5_000  # beyond which nobody asks for a table by class


SEED_MEASURES = (
    agreement.MEASURES["student_accuracy"],
    agreement.MEASURES["agreement"],
    agreement.MEASURES["kl"],
    deviation.MEASURES["ols_slope"],
    deviation.MEASURES["low_deviation"],
)


def seeds(evidence: Evidence) -> Table | None:
    """Several seeds: means over runs, paired with their controls, and what so few runs could have seen."""
    runs = evidence.seeds()
    if len(runs) < 2:
        return None
    measures = applicable(SEED_MEASURES, evidence.sample)
    paired = len(evidence.twins) == len(runs)
    with np.errstate(invalid="ignore", divide="ignore"):
        own = {m.name: [m(run) for run in runs] for m in measures}
        controls = [replace(run, student=run.twin) for run in runs if run.twin is not None] if paired else []
        others = {m.name: [m(control) for control in controls] for m in measures}
    rows = []
    for name, values in own.items():
        row: list[Cell] = [name, mean_over_runs(values, name, level=evidence.level)]
        if paired:
            row += [
                paired_difference(values, others[name], name, level=evidence.level),
                effect_size(values, others[name], level=evidence.level),
                float(minimum_detectable_effect(np.subtract(values, others[name]), level=evidence.level)),
            ]
        rows.append(tuple(row))
    more = ("minus control, paired", "effect size", "smallest effect seen with 80% power") if paired else ()
    caption = f"{len(runs)} seeds; intervals over runs say what other seeds would give, on these examples."
    return Table("Over seeds", ("measure", "mean over seeds", *more), tuple(rows), caption)


def per_class(evidence: Evidence) -> Table | None:
    """Accuracy, agreement and mean deviation by label: the classes that deviate most, up to `MAX_ROWS`."""
    labels = evidence.pair.labels
    if labels is None or "teacher" not in evidence.tops or evidence.pair.shape[1] > MAX_CLASSES:
        return None
    names = {c: class_name(evidence.pair, c) for c in np.unique(labels)}
    return _by(evidence, labels, names, "By class", "class")


def per_group(evidence: Evidence) -> Table | None:
    """The same by the group that the pair gives each example; None where it gives none."""
    groups = evidence.pair.groups
    if groups is None:
        return None
    found, numbers = np.unique(groups, return_inverse=True)
    return _by(evidence, numbers, {i: printable(g, 100) for i, g in enumerate(found)}, "By group", "group")


def _by(evidence: Evidence, of: NDArray, names: dict[int, str], title: str, what: str) -> Table:
    """One row a class or group; ``of`` (N,) says to which each example belongs."""
    shares, means = _hits(evidence), _means(evidence)
    deviations = means["mean deviation (nats)"]
    finite = np.isfinite(deviations)
    counts = np.bincount(of[finite], minlength=int(of.max()) + 1)
    order = np.bincount(of[finite], deviations[finite], len(counts)) / np.maximum(counts, 1)
    rows = []
    for number in sorted(names, key=lambda number: -abs(order[number]))[:MAX_ROWS]:
        members = np.flatnonzero(of == number)
        n = len(members)
        cells: list[Cell] = [names[number], n]
        cells += [share(name, float(column[members].sum()), n, evidence.level) for name, column in shares.items()]
        for name, column in means.items():
            known = column[members][np.isfinite(column[members])]
            cells.append(mean_of(name.split(" (")[0], known, evidence.level) if len(known) else None)
        rows.append(tuple(cells))
    caption = (
        f"Largest deviations first; {len(rows)} of {len(names)}. Means leave infinite values out. Among many rows a "
        "few intervals miss by chance."
    )
    return Table(title, (what, "n", *shares, *means), tuple(rows), caption)


def _hits(evidence: Evidence) -> dict[str, NDArray]:
    """By column, whether each example (N,) counts: accuracies and agreement, where they are known."""
    tops, labels = evidence.tops, evidence.pair.labels
    if "teacher" not in tops:
        return {}
    right = {} if labels is None else {f"{who} accuracy": tops[who] == labels for who in ("teacher", "student")}
    return right | {"agreement": tops["teacher"] == tops["student"]}


def _means(evidence: Evidence) -> dict[str, NDArray]:
    """By column, what is averaged over the examples (N,), NaN where it is unknown."""
    x, y, *_ = evidence.of(deviation.confidence)
    with np.errstate(invalid="ignore"):  # infinite on both sides
        means = {"mean deviation (nats)": _placed(evidence, y - x)}
    means["KL (nats)"] = _placed(evidence, evidence.of(forward_and_reverse)[0])
    if evidence.pair.labels is not None and evidence.sparse is None:
        *_, confidence, right = evidence.of(calibration.scores)  # of the student
        means["over-confidence of the student"] = _placed(evidence, confidence - right)
    return means


def _placed(evidence: Evidence, column: NDArray) -> NDArray:
    """(N,): a column of all examples, or of the sample with NaN elsewhere."""
    if len(column) == evidence.n:
        return column
    placed = np.full(evidence.n, np.nan)
    placed[evidence.rows] = column
    return placed
