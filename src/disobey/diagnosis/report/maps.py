"""What a diagnosis of classes of pixels shows: mean IoU, and disagreement maps on the images themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.input.maps import Maps
from disobey.diagnosis.report.tables import CONTROL
from disobey.figures.examples import pixels
from disobey.figures.overlays import panels, words
from disobey.measures.inference.examples import over_examples, paired_over_examples
from disobey.measures.segmentation import MEASURES
from disobey.records.results import Cell, Exhibit, Gallery, Table

SHOWN = 6
BLOCK = 8  # images that are read at once
SIDE = 512  # pixels of a map's side beyond which no map is shown
LARGEST = 1280  # pixels of a picture's side; larger ones are thinned


def segmentation(evidence: Evidence) -> Table | None:
    """Mean IoU of every model, with intervals over images; None where examples are no pixels."""
    if "maps" not in evidence.pair.facts or evidence.sample.labels is None or evidence.codes is None:
        return None
    sample, measure, how = evidence.sample, MEASURES["mean_iou"], {"level": evidence.level, "seed": evidence.seed}
    sides = {"teacher": sample.teacher, "student": sample.student, CONTROL: sample.twin}
    rows: list[tuple[Cell, ...]] = []
    for who, log_probs in sides.items():
        if log_probs is not None:
            rows.append((who, over_examples(measure, sample.with_student(log_probs), **how)))
    for who in ("teacher", CONTROL):
        other = sides[who]
        if other is not None:
            found = paired_over_examples(measure, sample, sample.with_student(other), **how)
            rows.append((f"student − {who}", found))
    kept, total, images = evidence.pair.facts["pixels"]
    caption = (
        f"Mean over the classes that occur of intersection over union. Intervals are over images. Read from {kept:,} "
        f"of {total:,} pixels of {images:,} images: at most 256 an image, drawn at random, the same for all models."
    )
    return Table("Segmentation", ("model", "mean IoU"), tuple(rows), caption)


def overlays(evidence: Evidence) -> Gallery | None:
    """The images on which student and teacher choose different classes in most pixels."""
    maps: Maps | None = evidence.pair.facts.get("maps")
    if maps is None or max(maps.teacher.shape[2:] if maps.first else maps.teacher.shape[1:3]) > SIDE:
        return None
    found: list[tuple[float, int, NDArray, NDArray]] = []
    start = 0
    for teacher, student in zip(maps.teacher.blocks(BLOCK), maps.student.blocks(BLOCK), strict=True):
        for row, pair in enumerate(zip(maps.classes(teacher), maps.classes(student), strict=True), start):
            valid = np.ones(pair[0].shape, bool) if maps.labels is None else maps.labels[row] >= 0
            found.append((float((pair[0] != pair[1])[valid].mean()) if valid.any() else 0.0, row, *pair))
        found = sorted(found, key=lambda one: (-one[0], one[1]))[:SHOWN]
        start += len(teacher)
    images = _images(maps, [row for _, row, *_ in found])
    exhibits = []
    for share, row, teacher, student in found:
        labels = None if maps.labels is None else maps.labels[row]
        lines = [f"they disagree on {share:.0%} of the pixels"]
        if labels is not None and (labels >= 0).any():
            right = [float((side == labels)[labels >= 0].mean()) for side in (teacher, student)]
            lines.append(f"pixel accuracy: teacher {right[0]:.3f}, student {right[1]:.3f}")
        shown = panels(images.get(row), labels, teacher, student)
        step = 1 + (max(shown.shape[:2]) - 1) // LARGEST
        exhibits.append(
            Exhibit(f"image {row}", tuple(lines), image=pixels(shown[::step, ::step], LARGEST), key=f"image {row}")
        )
    caption = words(bool(images), maps.labels is not None)
    return Gallery("Where student and teacher see different classes", tuple(exhibits), caption)


def _images(maps: Maps, rows: list[int]) -> dict[int, NDArray]:
    """Images by row, read block by block; none where there are none of the maps' size."""
    matrix = maps.images
    if matrix is None or matrix.shape[0] != maps.teacher.shape[0] or len(matrix.shape) not in (3, 4):
        return {}
    size = maps.teacher.shape[2:] if maps.first else maps.teacher.shape[1:3]
    if size not in (matrix.shape[1:3], matrix.shape[2:]):
        return {}
    found, start = {}, 0
    for block in matrix.blocks(BLOCK):
        found |= {row: np.array(block[row - start]) for row in rows if start <= row < start + len(block)}
        start += len(block)
    return found
