"""Scores of every pixel, (N, C, H, W) or (N, H, W, C): a pixel is an example, and its image the cluster.

At most `records.pixels.PER_IMAGE` pixels of an image are kept, drawn by the image's place alone; how many, the
report says. Shapes: N images of H x W pixels, C classes, M kept pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.input.matrices import ArrayMatrix, BatchMatrix, Matrix, whole
from disobey.errors import refusal
from disobey.records.pixels import PER_IMAGE, boundary, chosen

MAX_PIXELS = 1 << 29  # of all images: their masks are held in memory
VOIDS = (255, -1, -100)  # labels of pixels that have no class, where there are no so many classes


@dataclass(frozen=True, eq=False)
class Maps:
    """Whole maps, for pictures.

    Attributes:
        teacher: (N, C, H, W) or (N, H, W, C).
        student: the first student's, likewise.
        first: whether classes come before rows and columns.
        labels: (N, H, W), negative where void.
        images: (N, H, W), (N, H, W, 3) or (N, 3, H, W).
    """

    teacher: Matrix
    student: Matrix
    first: bool
    labels: NDArray | None
    images: Matrix | None

    def classes(self, block: NDArray) -> NDArray:
        """The most likely classes (B, H, W) of a block of maps."""
        return block.argmax(axis=1 if self.first else 3)


def flattened_maps(named: Mapping[str, Matrix]) -> tuple[dict[str, Matrix], dict[str, Any]]:
    """Arrays of images' pixels as arrays of kept pixels (M, ...), and what is known of the maps.

    Labels and ``mislabelled`` are (N, H, W), other columns (N,); void labels leave their pixels out. Where no
    ``cluster`` is given images are the clusters, where no ``groups`` are given labels say what lies at a boundary.

    Args:
        named: arrays under their canonical names.

    Returns:
        The arrays, as they are where teacher and students are no maps; ``maps`` and the numbers of pixels by name.

    Raises:
        Refusal: ``map-axes``, ``map-shapes``, ``map-labels``, ``too-large`` or ``no-examples``.
    """
    scores = {name: m for name, m in named.items() if name.split("/")[0] in ("teacher", "student", "twin")}
    if "teacher" not in scores or {len(m.shape) for m in scores.values()} != {4}:
        return dict(named), {}
    teacher = scores["teacher"]
    if len({m.shape for m in scores.values()}) > 1:
        got = ", ".join(f"{name} {m.shape}" for name, m in scores.items())
        raise refusal("map-shapes", "maps of one shape for all models", got, "save them from the same loop")
    first = _classes_first(teacher, named.get("labels"))
    n, size = teacher.shape[0], teacher.shape[2:] if first else teacher.shape[1:3]
    classes = teacher.shape[1 if first else 3]
    if n * int(np.prod(size)) > MAX_PIXELS:
        got = f"{n:,} images of {size[0]} x {size[1]}"
        raise refusal("too-large", f"at most {MAX_PIXELS:,} pixels", got, "fewer images", where=teacher.where)
    labels = _masks(named.get("labels"), n, size, classes)
    valid = np.ones((n, *size), bool) if labels is None else labels >= 0
    places = chosen(valid, np.arange(n))
    if not len(places):
        raise refusal("no-examples", "at least one pixel with a class", f"shape {teacher.shape}", where=teacher.where)
    pixels, image = int(np.prod(size)), places // int(np.prod(size))
    out: dict[str, Matrix] = {}
    for name, matrix in named.items():
        if name in scores:
            rows = partial(_batches, matrix, first, places, pixels)
            out[name] = BatchMatrix(rows, (len(places), classes), matrix.dtype, matrix.where)
        elif matrix.shape == (n, *size) and name in ("labels", "mislabelled"):
            column = labels if name == "labels" and labels is not None else whole(matrix)
            out[name] = ArrayMatrix(column.ravel()[places], matrix.where)
        elif matrix.shape == (n,) and name != "class_names":
            values = whole(matrix)[image]
            if name == "ids":
                values = np.array([f"{own} pixel {at}" for own, at in zip(values, places % pixels, strict=True)])
            out[name] = ArrayMatrix(values, matrix.where)
        elif name != "images":
            out[name] = matrix
    more: dict[str, NDArray] = {"cluster": image}
    if labels is not None:
        more["groups"] = np.array(["interior", "boundary"])[boundary(labels).ravel()[places].astype(int)]
    for name, values in more.items():
        out.setdefault(name, ArrayMatrix(values, name))
    student = next((m for name, m in scores.items() if name.split("/")[0] == "student"), teacher)
    maps = Maps(teacher, student, first, labels, named.get("images"))
    return out, {"maps": maps, "pixels": (len(places), int(valid.sum()), n)}


def _classes_first(teacher: Matrix, labels: Matrix | None) -> bool:
    """Whether classes are the second axis and not the last: as the labels say, else where there are fewer."""
    _, a, b, c = teacher.shape
    if labels is not None and len(labels.shape) == 3:
        fits = [labels.shape[1:] == (b, c), labels.shape[1:] == (a, b)]
        if not any(fits):
            expected = f"labels of shape (N, {b}, {c}) or (N, {a}, {b}), as the maps"
            raise refusal("map-labels", expected, labels.shape, "masks of the maps' size", where=labels.where)
        if not all(fits):
            return fits[0]
    if a == c:
        expected = "maps (N, C, H, W) or (N, H, W, C), and labels (N, H, W) that tell them apart"
        raise refusal("map-axes", expected, teacher.shape, "labels, or another size of image", where=teacher.where)
    return a < c


def _masks(labels: Matrix | None, n: int, size: tuple[int, ...], classes: int) -> NDArray | None:
    """Labels (N, H, W) with −1 where void."""
    if labels is None:
        return None
    if labels.shape != (n, *size):
        raise refusal("map-labels", f"labels of shape {(n, *size)}, a class a pixel", labels.shape, where=labels.where)
    if labels.dtype.kind not in "iu":
        raise refusal("map-labels", "classes as integers", f"type {labels.dtype}", "astype(int)", where=labels.where)
    found = whole(labels)
    void = np.isin(found, VOIDS) & ((found < 0) | (found >= classes))
    return np.where(void, -1, found.astype(np.int32))


def _batches(matrix: Matrix, first: bool, places: NDArray, pixels: int, rows: int) -> Iterator[NDArray]:
    start = 0
    for block in matrix.blocks(max(1, rows // min(pixels, PER_IMAGE))):
        maps = np.moveaxis(block, 1, 3) if first else block
        low, high = np.searchsorted(places, [start * pixels, (start + len(block)) * pixels])
        if high > low:
            at = np.unravel_index(places[low:high] - start * pixels, maps.shape[:3])
            yield np.ascontiguousarray(maps[at])
        start += len(block)
