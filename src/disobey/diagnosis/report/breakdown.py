"""The same by seed, by class and by group."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.intervals import estimates
from disobey.diagnosis.evidence.streaming import forward_and_reverse
from disobey.diagnosis.input.pair import class_name
from disobey.errors import printable
from disobey.measures import agreement, calibration, deviation
from disobey.measures.inference.examples import mean_of, share
from disobey.measures.inference.measure import applicable, minus_twin, on_twin
from disobey.records.results import Cell, Estimate, Table

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
    """Several seeds: their mean, their spread, and what so few runs could have seen."""
    runs = evidence.runs[: len(evidence.students)]
    if len(runs) < 2:
        return None
    from disobey.measures.inference.comparisons import effect_size, minimum_detectable_effect  # brings scipy.stats

    measures = applicable(SEED_MEASURES, evidence.sample)
    paired = len(evidence.twins) == len(runs)
    forms = [m for measure in measures for m in ((measure, minus_twin(measure)) if paired else (measure,))]
    found = estimates(evidence, forms)
    rows = []
    for measure in measures:
        with np.errstate(invalid="ignore", divide="ignore"):
            own = [measure(run.sample) for run in runs]
            other = [on_twin(measure)(run.sample) for run in runs] if paired else []
        row: list[Cell] = [measure.name, found.get(measure.name)]
        if paired:
            row += [
                found.get(minus_twin(measure).name),
                effect_size(own, other, level=evidence.level),
                float(minimum_detectable_effect(np.subtract(own, other), level=evidence.level)),
            ]
        rows.append((*row, min(own), max(own)))
    more = ("minus control, paired", "effect size", "smallest effect that so many seeds show in 80%") if paired else ()
    caption = f"{len(runs)} seeds; intervals say what other seeds would give on other examples."
    return Table("Over seeds", ("measure", "mean over seeds", *more, "lowest", "highest"), tuple(rows), caption)


def per_class(evidence: Evidence) -> Table | None:
    """Accuracy, agreement and mean deviation by label: the classes that deviate most, up to `MAX_ROWS`."""
    labels = evidence.pair.labels
    if labels is None or "teacher" not in evidence.tops or evidence.pair.shape[1] > MAX_CLASSES:
        return None
    names = {c: class_name(evidence.pair, c) for c in np.unique(labels)}
    return by(evidence, labels, names, "By class", "class")


def per_group(evidence: Evidence) -> Table | None:
    """The same by the group that the pair gives each example; None where it gives none."""
    groups = evidence.pair.groups
    if groups is None:
        return None
    found, numbers = np.unique(groups, return_inverse=True)
    return by(evidence, numbers, {i: printable(g, 100) for i, g in enumerate(found)}, "By group", "group")


def by(evidence: Evidence, of: NDArray, names: dict[int, str], title: str, what: str) -> Table:
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
        cells += [_share(evidence, name, column, members) for name, column in shares.items()]
        for name, column in means.items():
            known = members[np.isfinite(column[members])]
            codes = None if evidence.codes is None else evidence.codes[known]
            found = mean_of(name.split(" (")[0], column[known], evidence.level, codes) if len(known) else None
            cells.append(found)
        rows.append(tuple(cells))
    caption = (
        f"Largest deviations first; {len(rows)} of {len(names)}. Means leave infinite values out. Among many rows a "
        "few intervals miss by chance."
        + (f" Means over {len(evidence.students)} seeds, intervals over examples." if len(_runs(evidence)) > 1 else "")
    )
    return Table(title, (what, "n", *shares, *means), tuple(rows), caption)


def _share(evidence: Evidence, name: str, column: NDArray, members: NDArray) -> Estimate:
    """The share of a class's or group's examples that count."""
    if evidence.codes is None:
        return share(name, float(column[members].sum()), len(members), evidence.level)
    return mean_of(name, column[members], evidence.level, evidence.codes[members])


def _hits(evidence: Evidence) -> dict[str, NDArray]:
    """By column, in which share of the seeds each example (N,) counts: accuracies and agreement, where known."""
    labels = evidence.pair.labels
    if "teacher" not in evidence.tops:
        return {}
    students, teacher = [run.tops["student"] for run in _runs(evidence)], evidence.tops["teacher"]
    right = {} if labels is None else {"teacher accuracy": teacher == labels}
    right |= {} if labels is None else {"student accuracy": _average([top == labels for top in students])}
    return right | {"agreement": _average([top == teacher for top in students])}


def _runs(evidence: Evidence) -> tuple[Evidence, ...]:
    return evidence.runs[: len(evidence.students)] or (evidence,)


def _average(columns: list[NDArray]) -> NDArray:
    return columns[0] if len(columns) == 1 else np.mean(columns, axis=0)


def _means(evidence: Evidence) -> dict[str, NDArray]:
    """By column, what is averaged over the examples (N,), NaN where it is unknown."""
    runs = _runs(evidence)
    with np.errstate(invalid="ignore"):  # infinite on both sides
        gaps = _average([y - x for x, y, *_ in (run.of(deviation.confidence) for run in runs)])
    means = {"mean deviation (nats)": _placed(evidence, gaps)}
    means["KL (nats)"] = _placed(evidence, _average([run.of(forward_and_reverse)[0] for run in runs]))
    if evidence.pair.labels is not None and evidence.sparse is None and "boxes" not in evidence.pair.facts:
        scored = [run.of(calibration.scores)[-2:] for run in runs]  # of the student
        means["over-confidence of the student"] = _placed(evidence, _average([sure - right for sure, right in scored]))
    return means


def _placed(evidence: Evidence, column: NDArray) -> NDArray:
    """(N,): a column of all examples, or of the sample with NaN elsewhere."""
    if len(column) == evidence.n:
        return column
    placed = np.full(evidence.n, np.nan)
    placed[evidence.rows] = column
    return placed
