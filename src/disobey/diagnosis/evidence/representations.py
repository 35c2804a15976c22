"""Saved features of teacher, student and control, compared by CKA.

They are named ``features_teacher``, ``features_student``, ``features_twin``; of several layers
``features_teacher_layer1`` and so on, which are compared where the layer's name is the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.input.matrices import Matrix
from disobey.errors import printable, refusal
from disobey.measures.similarity import FEWEST, cka_interval
from disobey.records.results import Estimate

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


@dataclass(frozen=True)
class LayerSimilarity:
    """Debiased linear CKA of one layer's features with the teacher's, over examples.

    Attributes:
        name: of the layer; empty where there is one only.
        student: student and teacher.
        twin: control and teacher; None without features of the control.
        difference: student minus control.
        widths: features an example of teacher and student.
    """

    name: str
    student: Estimate
    twin: Estimate | None
    difference: Estimate | None
    widths: tuple[int, int]


def layer_similarities(evidence: Evidence) -> list[LayerSimilarity]:
    """Of every layer that both teacher and student have; each with its interval over examples."""
    usable, _ = layers(dict(evidence.pair.features))
    found = []
    for layer, sides in usable.items():
        held, chosen = _held(sides, evidence)
        codes = None if evidence.codes is None else evidence.codes[chosen]
        name = f"cka {printable(layer, 60)}".rstrip()
        teacher, student, twin = held["teacher"], held["student"], held.get("twin")

        def similarity(
            what: str,
            other: NDArray,
            minus: NDArray | None = None,
            teacher: NDArray = teacher,
            codes: NDArray | None = codes,
        ) -> Estimate:
            over = (len(teacher), "examples") if codes is None else (len(np.unique(codes)), "clusters")
            bounds = cka_interval(teacher, other, twin=minus, codes=codes, level=evidence.level, seed=evidence.seed)
            return Estimate(what, *bounds, evidence.level, *over)

        found.append(
            LayerSimilarity(
                layer,
                similarity(name, student),
                None if twin is None else similarity(f"{name} of the twin", twin),
                None if twin is None else similarity(f"{name}.minus_twin", student, twin),
                (_width(sides["teacher"]), _width(sides["student"])),
            )
        )
    return found


def _width(matrix: Matrix) -> int:
    return int(np.prod(matrix.shape[1:], dtype=np.int64))


def _held(sides: dict[str, Matrix], evidence: Evidence) -> tuple[dict[str, NDArray], NDArray]:
    """The same random examples of every side, (n, D) float64, and which they are."""
    widest = max(map(_width, sides.values()))
    n = min(evidence.n, EXAMPLES, max(200, NUMBERS // max(1, widest)))
    chosen = np.sort(np.random.default_rng(evidence.seed).choice(evidence.n, n, replace=False))
    return {side: _rows(matrix, chosen, side) for side, matrix in sides.items()}, chosen


def _rows(matrix: Matrix, chosen: NDArray, side: str) -> NDArray:
    width = _width(matrix)
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
