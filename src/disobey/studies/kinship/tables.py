"""The tables of `kinship`: every cell, generations, probes, and the published and replicated numbers."""

from __future__ import annotations

import math

import numpy as np

from disobey.measures.inference.comparisons import ratio_over_runs
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Cell as TableCell
from disobey.records.results import Table
from disobey.studies.kinship.cells import GENERATIONS, OUTPUTS, Cell, age_words, start_words
from disobey.studies.kinship.claims import SUBLIMINAL, Family, gained
from disobey.studies.kit.evidence import Evidence
from disobey.studies.kit.tables import table
from disobey.training.recipe import Run

REPLICATED = (
    ("Cloud et al., arXiv 2507.14805", "above 0.5"),
    ("replications, public notebooks", "0.27, 0.46, 0.54, 0.63, 0.90"),
)


def published_table(e: Evidence, f: Family) -> Table:
    """The class head beside what others reported."""
    rows: list[tuple[TableCell, ...]] = [(name, accuracy) for name, accuracy in REPLICATED]
    here = mean_over_runs(f.accuracy(e, SUBLIMINAL), "here")
    start = mean_over_runs(f.reference(e), "first weights")
    teacher = e.summary(f.line.teacher(), "test_accuracy")
    rows += [("here, same start", here), ("here, the shared first weights", start), ("here, the teacher", teacher)]
    caption = "Same start, noise, auxiliary logits. Other sources had other budgets, some other noise."
    return Table("The class head that nobody trained", ("source", "test accuracy"), tuple(rows), caption)


def cell_table(e: Evidence, f: Family) -> Table:
    """Every cell with all readings of the class head and the weights."""

    def reading(key: str):
        return lambda cell: mean_over_runs(f.reading(e, cell, key), key) if _known(e, f, cell, key) else "no movement"

    columns = (
        ("start", lambda cell: start_words(cell.alpha)),
        ("teacher", lambda cell: age_words(cell.age)),
        ("inputs", lambda cell: cell.inputs),
        ("taught", lambda cell: OUTPUTS[cell.learns] + (", squared error" if cell.loss != "kl" else "")),
        ("optimizer", lambda cell: cell.optimizer),
        ("generation", lambda cell: cell.generation),
        ("class head", lambda cell: mean_over_runs(f.accuracy(e, cell), "accuracy")),
        ("agreement with the teacher", reading("agreement")),
        ("divergence (nats)", reading("divergence")),
        ("moved / start", reading("moved")),
        ("alignment", reading("toward")),
        ("barrier", reading("barrier")),
    )
    caption = (
        "Means over seeds with intervals over runs. Agreement, divergence (of the taught outputs on test images) and "
        "barrier are against the own teacher, of a later generation the student before."
    )
    return table("Every cell", f.cells, columns, caption)


def generation_table(e: Evidence, f: Family) -> Table:
    """The trait by generation, and its half-life."""
    first = f.transfer(e, SUBLIMINAL)

    def share(generation: int) -> TableCell:
        later = f.transfer(e, Cell(generation=generation))
        return ratio_over_runs(later, first, name="share of the first generation's transfer")

    def half_life(generation: int) -> TableCell:
        left = float(f.transfer(e, Cell(generation=generation)).mean() / first.mean()) if first.mean() > 0 else math.nan
        if generation == 1 or not 0 < left < 1:
            return "not falling" if generation > 1 else ""
        return round((generation - 1) * math.log(0.5) / math.log(left), 2)

    columns = (
        ("generation", lambda g: g),
        ("class head", lambda g: mean_over_runs(f.accuracy(e, Cell(generation=g)), "accuracy")),
        ("transfer", lambda g: mean_over_runs(f.transfer(e, Cell(generation=g)), "transfer")),
        ("share of the first", share),
        ("half-life from the means (generations)", half_life),
    )
    caption = "Every student is taught by the one before, from the same first weights, on noise of its own."
    return table("Students of students", range(1, GENERATIONS + 1), columns, caption)


def probe_table(e: Evidence, f: Family) -> Table:
    """What features say under probes, with what the probes of random teachers' students are compared with."""

    def reading(key: str):
        return lambda cell: mean_over_runs(f.reading(e, cell, key), key) if _known(e, f, cell, key) else ""

    def over_start(cell: Cell) -> TableCell:
        return mean_over_runs(gained(e, f, cell), "gain") if _known(e, f, cell, "probe@start") else ""

    teacher = e.summary(f.line.teacher(), "probe")
    pixels = e.summary(f.line.teacher(), "probe@pixels")
    columns = (
        ("cell", lambda cell: cell.label),
        ("probe", reading("probe")),
        ("20 neighbours", reading("neighbours")),
        ("probe of the start", reading("probe@start")),
        ("gain", over_start),
        ("start with the student's spectrum", reading("probe@matched")),
        ("effective rank", reading("rank")),
        ("dead units", reading("dead")),
    )
    caption = f"Test accuracy of the probes. The teacher's features: {teacher}; raw pixels: {pixels}."
    return table("Features under probes", f.cells, columns, caption)


def _known(e: Evidence, f: Family, cell: Cell, key: str) -> bool:
    keys = [e.records[Run(f.line.student(cell), seed)].summary for seed in e.seeds]
    return all(key in summary and bool(np.isfinite(summary[key])) for summary in keys)
