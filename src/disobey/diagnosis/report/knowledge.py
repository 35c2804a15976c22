"""What the teacher knows beyond its choice, and whether the student learned it from *this* teacher."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.intervals import estimates
from disobey.diagnosis.evidence.representations import layer_similarities
from disobey.diagnosis.report.tables import CONTROL, DIFFERENCE
from disobey.errors import printable
from disobey.measures import agreement, information
from disobey.measures.inference.measure import minus_twin
from disobey.measures.inference.runs import mean_over_runs
from disobey.measures.information import dark_knowledge, partial_correlation, shuffled_teacher, similarity_blocks
from disobey.records.results import Cell, Table

NULLS = 20  # times that the teacher's rows are dealt out anew
LARGEST = 2_000  # classes up to which class similarities are computed


def teacher_information(evidence: Evidence) -> Table:
    """How soft the teacher is, how much of that is about the single example, and what the student took from it."""
    measures = list(information.softness_measures(1.0))
    if evidence.sparse is None:
        measures += information.softness_measures(evidence.temperature)
    found = estimates(evidence, measures)
    rows: list[tuple[Cell, ...]] = [(m.name, found.get(m.name), m.about) for m in measures]
    if evidence.sparse is None and 2 < evidence.sample.n_classes <= LARGEST:
        known = dark_knowledge(evidence.finite)
        rows.append(
            (
                "instance share",
                known.instance_share,
                "share of the variance of the non-target distribution that lies within classes",
            )
        )
        if evidence.sample.n_classes >= 4:
            rows.append(
                (
                    "block share",
                    block_share(known.similarity),
                    "share of non-target probability inside groups of similar classes; by chance about 1 / groups",
                )
            )
    rows += beyond_the_labels(evidence)
    return Table("What the teacher knows", ("quantity", "value", "meaning"), tuple(rows))


def block_share(similarity: NDArray) -> float:
    """Similarity inside average-linkage groups (about √C of them) over all similarity."""
    groups = similarity_blocks(similarity, max(2, round(np.sqrt(len(similarity)))))
    known = np.nan_to_num(similarity)
    same = groups[:, None] == groups[None, :]
    return float(known[same].sum() / max(known.sum(), 1e-300))


def beyond_the_labels(evidence: Evidence) -> list[tuple[Cell, ...]]:
    """Partial correlation of teacher and student given the control, against permuted teachers."""
    sample = evidence.sample
    if sample.twin is None or evidence.sparse is not None:
        return []
    measure = information.MEASURES["explained_beyond_twin"]
    found = estimates(evidence, [measure]).get(measure.name)
    rows: list[tuple[Cell, ...]] = [("explained beyond twin", found, measure.about)]
    more = minus_twin(agreement.MEASURES["agreement"])
    rows.append(
        (
            "agreement beyond twin",
            estimates(evidence, [more]).get(more.name),
            "student's agreement with the teacher minus the control's",
        )
    )
    kinds = {"row-permuted": False} | ({"class-permuted": True} if sample.labels is not None else {})
    for kind, within in kinds.items():
        orders = [_dealt(evidence, within, seed) for seed in range(NULLS)]
        for what, null in (("explained", _explained), ("agreement", _agreeing)):
            values = np.mean([null(run, orders) for run in evidence.each], axis=0)
            rows += _null(what, kind, [float(value) for value in values if np.isfinite(value)], evidence.level)
    return rows


def _explained(run: Evidence, orders: list[NDArray]) -> list[float]:
    """Partial correlation of teacher and student given the control, for every order of the teacher's rows."""
    x, y, z = run.of(information.beyond_twin)
    return [float(partial_correlation(x[order], y, z)) for order in orders]


def _agreeing(run: Evidence, orders: list[NDArray]) -> list[float]:
    """Agreement of the student minus the control's, for every order of the teacher's rows."""
    top, student, twin = (getattr(run.sample, name).argmax(axis=1) for name in ("teacher", "student", "twin"))
    return [float((student == top[order]).mean() - (twin == top[order]).mean()) for order in orders]


def _dealt(evidence: Evidence, within: bool, seed: int) -> NDArray:
    """(N,): the row of the teacher that each example gets when they are dealt out anew."""
    sample = evidence.sample
    numbered = np.arange(len(sample), dtype=float)[:, None].repeat(2, 1)
    bare = replace(sample, teacher=numbered, student=sample.student[:, :2], twin=None)
    return shuffled_teacher(bare, within_classes=within, seed=seed).teacher[:, 0].astype(int)


def _null(what: str, kind: str, values: list[float], level: float) -> list[tuple[Cell, ...]]:
    if not values:
        return []
    name = f"{what}, {kind} teacher"
    rows = "within the classes of the labels" if kind == "class-permuted" else "anew"
    return [
        (
            name,
            mean_over_runs(values, name, level=level, over="draws"),
            f"{what} beyond the control with the teacher's rows dealt out {rows} ({NULLS} times)",
        )
    ]


def representations(evidence: Evidence) -> Table | None:
    """Debiased linear CKA of each layer's features, the control's, and the difference; None without features."""
    found = layer_similarities(evidence)
    if not found:
        return None
    twin = any(layer.twin is not None for layer in found)
    rows: list[tuple[Cell, ...]] = []
    for layer in found:
        cells = (layer.student, layer.twin, layer.difference) if twin else (layer.student,)
        rows.append((printable(layer.name, 60) or "features", *cells, f"{layer.widths[0]:,} to {layer.widths[1]:,}"))
    columns = ("layer", "student", *((CONTROL, DIFFERENCE) if twin else ()), "features an example")
    caption = (
        "Linear CKA without its bias: 1, the same up to rotation and scale; 0, unrelated. Two models trained on the "
        "same labels are alike without distillation: read student − control."
    )
    return Table("Features", columns, tuple(rows), caption)
