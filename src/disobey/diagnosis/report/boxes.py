"""What a diagnosis of found boxes shows: average precision, and the pictures on which teacher and student differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from disobey.data.formats.coco import beside as picture_beside
from disobey.data.formats.images import opened
from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.input.boxes import Detections
from disobey.diagnosis.report.breakdown import by
from disobey.diagnosis.report.tables import CONTROL
from disobey.errors import Refusal
from disobey.figures.boxes import beside
from disobey.figures.examples import class_word, pixels
from disobey.measures.detection import THRESHOLDS, Boxes, ap_by_image, unfounded
from disobey.measures.inference.examples import mean_of
from disobey.measures.precision_intervals import ap_over_images
from disobey.records.results import Cell, Estimate, Exhibit, Gallery, Table

SHOWN = 4
SURE = 0.5  # score from which a box counts as found in pictures and among those without truth
MOST_SHOWN = 100  # boxes of a model on one picture
PICTURE = 500  # pixels of a sheet
COLUMNS = {"AP": THRESHOLDS, "AP50": (0.5,), "AP75": (0.75,)}


def detection(evidence: Evidence) -> Table | None:
    """Average precision and errors of every model, with intervals over images; None where examples are no boxes."""
    about: Detections | None = evidence.pair.facts.get("boxes")
    if about is None:
        return None
    models = _models(evidence, about)
    each = {who: _by_image(evidence, about, *model) for who, model in models.items()}
    controls = [who for who in models if who.startswith(CONTROL)]
    seeds = [who for who in models if who != "teacher" and who not in controls]
    rows: list[tuple[Cell, ...]] = []
    codes, images = about.truth.images[about.examples][evidence.rows], len(about.names)
    asked = {"level": evidence.level, "seed": evidence.seed}
    for who, (found, answers) in models.items():
        cells: list[Cell] = [
            ap_over_images(about.truth, found, images, thresholds=t, **asked) for t in COLUMNS.values()
        ]
        cells.append(mean_of("missed", answers.argmax(axis=1) == 0, evidence.level, codes))
        rows.append((who, *cells, _mean(evidence, "without truth", each[who]["without truth"])))
    for place, who in enumerate(seeds):
        own = [other for other in ("teacher", controls[place % len(controls)] if controls else "") if other in each]
        for other in own:
            differences = {name: column - each[other][name] for name, column in each[who].items()}
            rows.append((f"{who} − {other}", *(_mean(evidence, name, column) for name, column in differences.items())))
    boxes, crowds = len(about.examples), len(about.truth) - len(about.examples)
    aside = f" {crowds:,} crowds count neither as found nor as missed." if crowds else ""
    caption = (
        "AP: COCO's average precision, the mean over overlaps of 0.5 to 0.95 and over the classes that occur; AP50 and "
        'AP75: at one overlap. Missed: share of true boxes whose answer is "nothing". Without truth: boxes an image '
        f"with a score of {SURE:g} or more that overlap no true box by 0.5. {boxes:,} true boxes of {images:,} images, "
        f"found boxes as they were saved.{aside} Intervals are over images, differences paired by image; those of AP "
        "reach further down by its excess on few images, as halves of these show it."
    )
    return Table("Detection", ("model", *COLUMNS, "missed", "without truth"), tuple(rows), caption)


def _models(evidence: Evidence, about: Detections) -> dict[str, tuple[Boxes, NDArray]]:
    """Found boxes and answers (rows, C + 1) of the teacher, every student and every control."""
    answers = {"teacher": ("teacher", evidence.sample.teacher)}
    answers |= {name.removeprefix("student/"): (name, rows) for name, rows in evidence.students.items()}
    for name, rows in evidence.twins.items():
        answers[CONTROL + name.removeprefix("twin").replace("/", " ")] = (name, rows)
    return {who: (about.found[name], rows) for who, (name, rows) in answers.items()}


def _by_image(evidence: Evidence, about: Detections, found: Boxes, answers: NDArray) -> dict[str, NDArray]:
    """What each image adds, (N,): average precisions, missed true boxes, boxes without truth; means are the numbers."""
    images = len(about.names)
    columns = {name: ap_by_image(about.truth, found, images, thresholds=t) for name, t in COLUMNS.items()}
    of = about.truth.images[about.examples][evidence.rows]
    missed = np.bincount(of, answers.argmax(axis=1) == 0, minlength=images)
    columns["missed"] = _ratio_by_image(missed, np.bincount(of, minlength=images))
    columns["without truth"] = np.bincount(found.images[unfounded(about.truth, found)], minlength=images).astype(float)
    return columns


def _ratio_by_image(part: NDArray, whole: NDArray) -> NDArray:
    """What each image adds to the ratio of two sums: their mean is it, their spread its error's."""
    ratio = part.sum() / whole.sum()
    return ratio + (part - ratio * whole) / whole.mean()


def _mean(evidence: Evidence, name: str, column: NDArray) -> Estimate:
    return mean_of(name, column, evidence.level, np.arange(len(column)))


def per_size(evidence: Evidence) -> Table | None:
    """The breakdown by area: thirds of the true boxes."""
    about: Detections | None = evidence.pair.facts.get("boxes")
    if about is None:
        return None
    boxes = about.truth.boxes[about.examples]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    first, second = np.quantile(areas, [1 / 3, 2 / 3])
    third = (areas > first).astype(np.int64) + (areas > second)
    names = {0: f"up to {first:,.0f} pixels", 1: f"up to {second:,.0f}", 2: "beyond"}
    return by(evidence, third, {n: name for n, name in names.items() if (third == n).any()}, "By size", "area")


def disagreements(evidence: Evidence) -> Gallery | None:
    """The images on which answers for true boxes, and counts of boxes where none is, differ most."""
    about: Detections | None = evidence.pair.facts.get("boxes")
    if about is None:
        return None
    sample = evidence.sample
    students = next(iter(evidence.students))
    sides = [about.found["teacher"], about.found[students]]
    images = len(about.names)
    of = about.truth.images[about.examples][evidence.rows]
    apart = np.abs(np.exp(sample.teacher) - np.exp(sample.student)).sum(axis=1) / 2
    odd = [np.bincount(side.images[unfounded(about.truth, side)], minlength=images) for side in sides]
    differ = np.bincount(of, apart, minlength=images) + np.abs(odd[0] - odd[1])
    chosen = [int(row) for row in np.argsort(-differ, kind="stable")[:SHOWN] if differ[row] > 0]
    if not chosen:
        return None
    exhibits, pictured = [], 0
    for row in chosen:
        picture = _picture(about, row)
        pictured += picture is not None
        exhibits.append(_exhibit(evidence, about, sides, row, picture, [int(own[row]) for own in odd]))
    caption = (
        f"Left: the teacher's boxes in orange; right: the student's in blue; scores of {SURE:g} or more. White: true "
        f"boxes. {'' if pictured else 'Pictures are not known: the canvas is empty. '}Lines name true boxes whose "
        "answers differ, with the share of the answer."
    )
    return Gallery("Where student and teacher see different boxes", tuple(exhibits), caption)


def _exhibit(
    evidence, about: Detections, sides: list[Boxes], row: int, picture: NDArray | None, odd: list[int]
) -> Exhibit:
    sample, examples = evidence.sample, about.examples[evidence.rows]
    members = np.flatnonzero(about.truth.images[examples] == row)
    lines = []
    for who, log_probs, extra in (("teacher", sample.teacher, odd[0]), ("student", sample.student, odd[1])):
        right = int((log_probs[members].argmax(axis=1) == sample.labels[members]).sum())
        lines.append(f"{who}: {right} of {len(members)} true boxes right, {extra} without truth")
    for member in members:
        tops = [int(side[member].argmax()) for side in (sample.teacher, sample.student)]
        if tops[0] != tops[1] and len(lines) < 8:
            shares = [
                np.exp(float(s[member, top])) for s, top in zip((sample.teacher, sample.student), tops, strict=True)
            ]
            words = [class_word(sample, number) for number in (*tops, sample.labels[member])]
            lines.append(f"true {words[2]}: teacher {words[0]} {shares[0]:.2f}, student {words[1]} {shares[1]:.2f}")
    truth = about.truth.boxes[about.truth.images == row]
    shown = [_sure(side, row) for side in sides]
    size = _size(about, row, picture, [truth, *shown])
    sheet = beside(picture, size, truth, *shown)
    return Exhibit(about.names[row], tuple(lines), image=pixels(sheet, PICTURE), key=about.names[row])


def _sure(found: Boxes, row: int) -> NDArray:
    """(M, 4): the boxes of an image that are shown."""
    assert found.scores is not None
    return found.boxes[(found.images == row) & (found.scores >= SURE)][:MOST_SHOWN]


def _size(about: Detections, row: int, picture: NDArray | None, boxes: list[NDArray]) -> tuple[int, int]:
    """Height and width: the picture's, else the annotations', else as far as boxes reach."""
    if picture is not None:
        known = picture.shape[:2] if picture.ndim == 2 or picture.shape[-1] in (1, 3) else picture.shape[1:]
        return int(known[0]), int(known[1])
    width, height = map(int, about.sizes[row])
    if width and height:
        return height, width
    reach = np.concatenate([*boxes, [[0, 0, 8, 8]]])[:, 2:].max(axis=0)
    return int(np.ceil(reach[1])) + 1, int(np.ceil(reach[0])) + 1


def _picture(about: Detections, row: int) -> NDArray | None:
    """The image's picture; None where there is none, or none that can be read."""
    if about.images is not None:
        start = 0
        for block in about.images.blocks(64):
            if row < start + len(block):
                found = np.array(block[row - start])
                return found if found.ndim in (2, 3) else None
            start += len(block)
        return None
    if about.place is None or not about.files[row]:
        return None
    try:
        file = picture_beside(Path(about.place), about.files[row])
        return np.asarray(opened(str(file), file).convert("L"))
    except (Refusal, OSError, ValueError):
        return None
