"""Saved features of teacher and student, compared by CKA: ``features_teacher``, ``features_student``, ``features_twin``,
or one of each for every layer (``features_teacher_layer1`` …), which are compared where the layer's name is the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.input.matrices import Matrix
from disobey.errors import printable, refusal
from disobey.measures.similarity import FEWEST, cka_interval
from disobey.records.results import Cell, Estimate, Table

SIDES = ("teacher", "student", "twin")
NUMBERS = 2**23  # of one side that are held: 64 MiB in float64
EXAMPLES = 10_000  # compared at most; more only narrow the interval


def side_and_layer(name: str) -> tuple[str, str] | None:
    """Whose features a name means, and of which layer ('' where there is one only).

    >>> side_and_layer("features_teacher_layer1"), side_and_layer("features_student"), side_and_layer("features_x")
    (('teacher', 'layer1'), ('student', ''), None)
    """
    rest = name.removeprefix("features_")
    for side in SIDES:
        if rest == side:
            return side, ""
        if rest.startswith(side) and rest[len(side)] in "_./":
            return side, rest[len(side) + 1 :]
    return None


def layers(features: dict[str, Matrix]) -> tuple[dict[str, dict[str, Matrix]], tuple[str, ...]]:
    """Layer -> side -> features, for layers that both teacher and student have; and the names left over."""
    found: dict[str, dict[str, Matrix]] = {}
    for name, matrix in features.items():
        key = side_and_layer(name)
        if key is not None:
            found.setdefault(key[1], {})[key[0]] = matrix
    usable = {layer: sides for layer, sides in found.items() if "teacher" in sides and "student" in sides}
    left = tuple(n for n in features if (key := side_and_layer(n)) is None or key[1] not in usable)
    return usable, left


def representations(evidence: Evidence) -> Table | None:
    """Debiased linear CKA of each layer's features, the twin's, and the difference, with intervals over examples."""
    usable, _ = layers(dict(evidence.pair.features))
    if not usable:
        return None
    rows: list[tuple[Cell, ...]] = []
    twin = any("twin" in sides for sides in usable.values())
    for layer, sides in usable.items():
        held = _held(sides, evidence)
        name = f"cka {printable(layer, 60)}".rstrip()
        options = {"level": evidence.level, "seed": evidence.seed}
        found = [(name, cka_interval(held["teacher"], held["student"], **options))]
        if "twin" in held:
            found.append((f"{name} of the twin", cka_interval(held["teacher"], held["twin"], **options)))
            both = cka_interval(held["teacher"], held["student"], twin=held["twin"], **options)
            found.append((f"{name}.minus_twin", both))
        n = len(held["teacher"])
        cells: list[Cell] = [Estimate(what, *bounds, evidence.level, n, "examples") for what, bounds in found]
        widths = " to ".join(
            f"{int(np.prod(m.shape[1:], dtype=np.int64)):,}" for m in (sides["teacher"], sides["student"])
        )
        rows.append((printable(layer, 60) or "features", *cells, *([None] * ((3 if twin else 1) - len(cells))), widths))
    columns = ("layer", "student", *(("twin", "student − twin") if twin else ()), "numbers an example")
    caption = (
        "Linear CKA with its bias taken off: 1, the same up to rotation and scale; 0, unrelated. Two models trained on the "
        "same labels are alike without distillation: read student − twin."
    )
    return Table("Features", columns, tuple(rows), caption)


def _held(sides: dict[str, Matrix], evidence: Evidence) -> dict[str, NDArray]:
    """The same random examples of every side, (n, D) float64."""
    widest = max(int(np.prod(m.shape[1:], dtype=np.int64)) for m in sides.values())
    n = min(evidence.n, EXAMPLES, max(200, NUMBERS // max(1, widest)))
    chosen = np.sort(np.random.default_rng(evidence.seed).choice(evidence.n, n, replace=False))
    return {side: _rows(matrix, chosen, side) for side, matrix in sides.items()}


def _rows(matrix: Matrix, chosen: NDArray, side: str) -> NDArray:
    width = int(np.prod(matrix.shape[1:], dtype=np.int64))
    where = matrix.where or f"features of the {side}"
    if matrix.dtype.kind not in "fiu":
        raise refusal(
            "feature-type", "features as numbers", f"type {matrix.dtype}", "save them as float32", where=where
        )
    out, start = np.empty((len(chosen), width)), 0
    for block in matrix.blocks(max(1, 2**20 // max(1, width))):
        first, last = np.searchsorted(chosen, [start, start + len(block)])
        out[first:last] = block.reshape(len(block), width)[chosen[first:last] - start]
        start += len(block)
    bad = np.flatnonzero(~np.isfinite(out).all(axis=1))
    if len(bad):
        raise refusal(
            "not-finite",
            "finite features",
            f"NaN or Inf in row {int(chosen[bad[0]])}",
            "drop those examples",
            where=where,
        )
    if len(out) < FEWEST:
        raise refusal("few-examples", f"{FEWEST} examples or more", len(out), "leave the features out", where=where)
    return out
