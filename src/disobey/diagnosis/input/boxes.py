"""Found boxes as a pair: a true box is an example, its image the cluster, and "nothing" the class of a missed one.

From COCO's JSON (a list of found boxes a model, one file of annotations) or from arrays of padded boxes. Shapes:
N images, K true boxes, C classes; found boxes are as many as each model has.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disobey.bounds import Tally
from disobey.data.formats.coco import FARTHEST, Coco, read_coco
from disobey.diagnosis.input.matrices import ArrayMatrix, Matrix, whole
from disobey.diagnosis.input.readers.found_boxes import read_found
from disobey.errors import refusal
from disobey.measures.boxes import Boxes, crowded
from disobey.measures.detection import matched_scores

NOTHING = "nothing"  # class 0
MAX_FILES = 1_000


@dataclass(frozen=True, eq=False)
class Detections:
    """What was found and what is there, for average precision and pictures.

    Attributes:
        truth: true boxes, crowds among them.
        examples: (K,) which of them are examples: all that are no crowd.
        found: by model (teacher, student, student/seed0, twin, ...), with scores.
        names: of the N images.
        sizes: (N, 2) width and height, 0 where unknown.
        place: the file of annotations, beside which pictures are looked for.
        files: N names of pictures.
        images: N pictures as an array.
        coco: what the annotations say, to read other lists by.
    """

    truth: Boxes
    examples: NDArray
    found: Mapping[str, Boxes]
    names: tuple[str, ...]
    sizes: NDArray
    place: Path | None = None
    files: tuple[str, ...] = ()
    images: Matrix | None = None
    coco: Coco | None = None


def is_coco(path: Path | str) -> bool:
    """Whether a name is that of JSON, which here holds boxes."""
    return str(path).lower().endswith(".json")


def expanded(path: Path | str) -> list[Path]:
    """The files that a name or a pattern (``student-*.json``) stands for, in the order of their names."""
    if Path(path).exists() or not glob.has_magic(str(path)):
        return [Path(path)]
    return [Path(one) for one in sorted(glob.glob(str(path)))[: MAX_FILES + 1]] or [Path(path)]


def detections(
    teacher: Path | str, students: Sequence[Path | str], labels: Path | str | None
) -> tuple[dict[str, Matrix], dict[str, Any]]:
    """Arrays and facts of COCO's JSON, as `flattened_boxes` gives them.

    Args:
        teacher: file of found boxes.
        students: files of found boxes, or patterns; several are seeds.
        labels: the file of annotations.

    Raises:
        Refusal: ``missing-annotations``, ``missing-student``, ``too-many-files``, and those of `read_coco`,
            `read_found` and `_boxes_of`.
    """
    if labels is None:
        got, attempt = "none", "--labels annotations.json"
        raise refusal("missing-annotations", "COCO's annotations beside found boxes", got, attempt, where=teacher)
    files = [file for student in students for file in expanded(student)]
    if not files:
        raise refusal("missing-student", "a file of the student's boxes", "none", "teacher.json student.json")
    _refuse_many(files)
    known = replace(read_coco(_there(Path(labels))), polygons=())  # only boxes are needed from here on
    truth = Boxes(known.boxes, known.category, known.image, crowd=known.crowd)
    named = {"teacher": Path(teacher), **_named("student", files)}
    names = tuple(file or f"image {id}" for file, id in zip(known.files, known.image_ids, strict=True))
    about = Detections(
        truth, np.flatnonzero(truth.counted), {}, names, known.sizes, Path(labels), known.files, coco=known
    )
    return _arrays(about, _read(named, known), (NOTHING, *known.names), str(labels))


def twin_arrays(about: Detections, path: Path | str) -> tuple[dict[str, Matrix], Detections]:
    """Answers of the control, or of several, from files of found boxes; and what is known with them."""
    if about.coco is None:
        raise refusal("missing-twin", "arrays twin_boxes and twin_scores in the pair's file", "JSON", where=path)
    files = expanded(path)
    _refuse_many(files)
    more = _read(_named("twin", files), about.coco)
    answers = {name: _answers(about, *found, len(about.coco.names)) for name, found in more.items()}
    found = {**about.found, **{name: boxes for name, (boxes, _) in more.items()}}
    return {name: ArrayMatrix(rows, name) for name, rows in answers.items()}, replace(about, found=found)


def _refuse_many(files: Sequence[Path]) -> None:
    if len(files) > MAX_FILES:
        raise refusal("too-many-files", f"at most {MAX_FILES:,} files", "more", "a narrower pattern")


def _there(path: Path) -> Path:
    if not path.exists():
        raise refusal("no-file", "a file", "nothing there", "another path", where=path)
    return path


def _named(role: str, files: Sequence[Path]) -> dict[str, Path]:
    if len(files) == 1:
        return {role: files[0]}
    stems = [file.stem for file in files]
    distinct = len(set(stems)) == len(stems)
    return {
        f"{role}/{stem if distinct else number}": f for number, (stem, f) in enumerate(zip(stems, files, strict=True))
    }


def _read(files: Mapping[str, Path], known: Coco) -> dict[str, tuple[Boxes, NDArray | None]]:
    return {name: _boxes_of(_there(path), known) for name, path in files.items()}


def _boxes_of(path: Path, known: Coco) -> tuple[Boxes, NDArray | None]:
    """A model's boxes by row of image and number of class, and the scores of all classes where they are known.

    Raises `Refusal`: ``no-common-images``, ``unknown-images``, ``unknown-categories``, ``found-scores``.
    """
    found = read_found(path)
    rows, there = _places(found.images, known.image_ids)
    if not there.all():
        odd = np.unique(found.images[~there])
        id, got = "unknown-images", f"{len(odd):,} others, first {odd[0]}"
        if not there.any():
            id, got = "no-common-images", f"none of them ({odd[0]}, ... against {known.image_ids[0]}, ...)"
        raise refusal(id, "image ids of the annotations", got, "the annotations of these images", where=path)
    numbers, there = _places(found.categories, known.category_ids)
    if not there.all():
        odd = np.unique(found.categories[~there])
        got = ", ".join(map(str, odd[:5]))
        attempt = "category ids of the annotations, not numbers from 0"
        raise refusal("unknown-categories", "category ids of the annotations", got, attempt, where=path)
    if found.spread is not None and found.spread.shape[1] != len(known.names):
        expected = f"{len(known.names)} 'scores' a box, in the order of the categories"
        raise refusal("found-scores", expected, found.spread.shape[1], where=path)
    return Boxes(found.boxes, numbers + 1, rows, found.scores), found.spread


def _places(ids: NDArray, known: NDArray) -> tuple[NDArray, NDArray]:
    """Where ids are among the known ones, and whether they are."""
    order = np.argsort(known)
    place = order[np.minimum(np.searchsorted(known, ids, sorter=order), len(known) - 1)]
    return place, known[place] == ids


def _answers(about: Detections, found: Boxes, spread: NDArray | None, classes: int) -> NDArray:
    truth = about.truth.take(about.examples)
    return matched_scores(truth, found, classes, spread).astype(np.float32)


def _arrays(
    about: Detections, models: Mapping[str, tuple[Boxes, NDArray | None]], classes: tuple[str, ...], where: str
) -> tuple[dict[str, Matrix], dict[str, Any]]:
    """The pair's arrays, one row a true box, and ``boxes`` among the facts."""
    truth = about.truth.take(about.examples)
    if not len(truth):
        raise refusal("no-examples", "at least one true box that is no crowd", "none", where=where)
    Tally(where).add(len(truth) * len(classes) * (4 * len(models) + 24))
    near = crowded(about.truth)[about.examples]
    place = np.empty(len(truth), np.int64)
    order = np.argsort(truth.images, kind="stable")
    place[order] = np.arange(len(truth)) - np.searchsorted(truth.images[order], truth.images[order])
    columns = {
        "labels": truth.classes.astype(np.int64),
        "cluster": truth.images.astype(np.int64),
        "groups": np.where(near, "crowded", "free"),
        "ids": np.array([f"{about.names[i]} box {at}" for i, at in zip(truth.images, place, strict=True)]),
        "class_names": np.array(classes),
    }
    columns |= {name: _answers(about, *found, len(classes) - 1) for name, found in models.items()}
    about = replace(about, found={name: boxes for name, (boxes, _) in models.items()})
    return {name: ArrayMatrix(column, name) for name, column in columns.items()}, {"boxes": about}


def flattened_boxes(named: Mapping[str, Matrix]) -> tuple[dict[str, Matrix], dict[str, Any]]:
    """Arrays of padded boxes as arrays of true boxes (K, ...), and what is known of them.

    ``teacher_boxes`` (N, P, 4) left, top, right, bottom with ``teacher_scores`` (N, P, C) of the classes 1 to C, the
    same of students and twins (``student_boxes/seed0``), ``labels`` (N, Q, 5) left, top, right, bottom, class, with
    −1 in rows that are no box; a found box whose scores are all 0 is none.

    Raises:
        Refusal: ``box-shapes``, ``box-labels``, ``found-boxes``, ``found-scores`` or ``no-examples``.
    """
    if "teacher_boxes" not in named:
        return dict(named), {}
    labels = named.get("labels")
    if labels is None or len(labels.shape) != 3 or labels.shape[2] != 5:
        got = "none" if labels is None else labels.shape
        raise refusal("box-labels", "labels (images, boxes, 5): left, top, right, bottom, class", got)
    n, where = labels.shape[0], labels.where or "labels"
    names = [name for name in named if name.split("/")[0] in ("teacher_boxes", "student_boxes", "twin_boxes")]
    models: dict[str, tuple[Boxes, NDArray | None]] = {}
    classes = 0
    for name in names:
        boxes, scores = named[name], named.get(name.replace("_boxes", "_scores", 1))
        classes = classes or (scores.shape[-1] if scores is not None and len(scores.shape) == 3 else 0)
        if scores is None or boxes.shape != (n, scores.shape[1], 4) or scores.shape[2:] != (classes,):
            expected = f"boxes ({n}, P, 4) with scores ({n}, P, {classes or 'C'}) of every model"
            got = f"{boxes.shape} with {None if scores is None else scores.shape}"
            raise refusal("box-shapes", expected, got, where=boxes.where or name)
        models[name.replace("_boxes", "", 1)] = _padded(whole(boxes), whole(scores), boxes.where or name)
    truth = _true(whole(labels), classes, where)
    given = named.get("class_names")
    words = [str(c) for c in range(1, classes + 1)] if given is None else [str(w) for w in np.ravel(whole(given))]
    own_ids = named.get("ids")
    ids = np.arange(n) if own_ids is None or own_ids.shape != (n,) else whole(own_ids)
    images = named.get("images")
    about = Detections(
        truth,
        np.arange(len(truth)),
        {},
        tuple(f"image {id}" for id in ids),
        np.zeros((n, 2), np.int64),
        images=images if images is not None and images.shape[:1] == (n,) else None,
    )
    arrays, facts = _arrays(about, models, tuple(words if len(words) == classes + 1 else [NOTHING, *words]), where)
    used = {"labels", "class_names", "ids", "images", *names, *(one.replace("_boxes", "_scores", 1) for one in names)}
    for name in named.keys() - used:
        fits = named[name].shape == (n,)
        arrays[name] = ArrayMatrix(whole(named[name])[truth.images], name) if fits else named[name]
    return arrays, facts


def _padded(boxes: NDArray, scores: NDArray, where: str) -> tuple[Boxes, NDArray]:
    if scores.dtype.kind not in "fiu" or not ((scores >= 0) & (scores <= 1)).all():
        raise refusal("found-scores", "scores from 0 to 1", "others", "probabilities, not logits", where=where)
    image, row = np.nonzero(scores.max(axis=2, initial=0) > 0)
    boxes, scores = np.asarray(boxes[image, row], dtype=np.float64), scores[image, row].astype(np.float32)
    _refuse_odd(boxes, where)
    return Boxes(boxes, scores.argmax(axis=1) + 1, image, scores.max(axis=1, initial=0).astype(np.float64)), scores


def _true(labels: NDArray, classes: int, where: str) -> Boxes:
    if labels.dtype.kind not in "fiu":
        raise refusal("box-labels", "numbers", f"type {labels.dtype}", where=where)
    image, row = np.nonzero(labels[..., 4] != -1)
    found = labels[image, row].astype(np.float64)
    _refuse_odd(found[:, :4], where)
    numbers = found[:, 4]
    if ((numbers < 1) | (numbers > classes) | (numbers % 1 != 0)).any():
        odd = numbers[(numbers < 1) | (numbers > classes) | (numbers % 1 != 0)][0]
        raise refusal("box-labels", f"classes from 1 to {classes}, −1 where there is no box", f"{odd:g}", where=where)
    return Boxes(found[:, :4], numbers.astype(np.int64), image)


def _refuse_odd(boxes: NDArray, where: str) -> None:
    good = (np.abs(boxes) <= FARTHEST).all(axis=1) & (boxes[:, 2:] >= boxes[:, :2]).all(axis=1)
    if not good.all():
        expected = "left, top, right, bottom in pixels, right and bottom not before left and top"
        raise refusal("found-boxes", expected, boxes[~good][0].tolist(), where=where)
