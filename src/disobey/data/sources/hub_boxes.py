"""Images with boxes from Hugging Face `datasets`: ``detection:hub:NAME``, a column of pictures and one of objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from disobey.bounds import mendable
from disobey.data.dataset import Dataset
from disobey.data.formats.coco import FARTHEST, MAX_CLASSES, corners
from disobey.data.formats.columns import IMAGE_COLUMNS, Options, choose_column
from disobey.data.formats.detections import DETECTION, MOST, assembled, labels_of
from disobey.data.formats.images import decoded, opened
from disobey.data.formats.masks import Part
from disobey.data.sources.hub import picture, read_splits, with_test
from disobey.errors import Refusal, refusal

OBJECT_COLUMNS = ("objects", "annotations", "labels", "label")
CATEGORIES = ("category", "categories", "label", "labels", "category_id")


def from_hub_boxes(name: str) -> Dataset:
    """The data set of a name that begins with ``detection:hub:``.

    Args:
        name: ``detection:hub:NAME``, with ``#input=image,label=objects,size=64``. An object column holds, for each
            picture, ``bbox``, lists of left, top, width and height in pixels, and ``category``, as many classes.

    Returns:
        The data set, read completely; its labels are boxes.

    Raises:
        Refusal: ``no-train-split``, ``box-column``, ``many-boxes``, or a refusal of the hub, of columns or of pictures.
    """
    place, options = Options.parse(name)
    with mendable(place):
        hub = place.removeprefix(f"{DETECTION}hub:")
        read = read_splits(place, hub, lambda where, split: _read(where, split, options))
        names = read["train"].names or sorted({kind for _, kind, _ in read["train"].objects})
        if not 0 < len(names) <= MAX_CLASSES:
            raise refusal("box-classes", f"1 to {MAX_CLASSES:,} classes", len(names), where=place)
        parts = {key: _part(one, names, options.size) for key, one in read.items()}
    return assembled(name, with_test(parts), names)


@dataclass(frozen=True)
class _Read:
    """A split: where it is from, its column of pictures, its objects (row of the picture, class, box), class names."""

    where: str
    pictures: Any
    objects: list[tuple[int, str, Sequence[float]]]
    names: tuple[str, ...]


def _read(where: str, data: Any, options: Options) -> _Read:
    import datasets

    label = choose_column(where, data.column_names, options.label, OBJECT_COLUMNS, "label")
    rest = [column for column in data.column_names if column != label]
    column = choose_column(where, rest, options.input, IMAGE_COLUMNS, "input")
    if not isinstance(data.features[column], datasets.Image):
        raise _odd(where, f"{column!r} of {type(data.features[column]).__name__}")
    known = _fields(data.features[label])
    key = next((name for name in CATEGORIES if name in known), "")
    if not key or "bbox" not in known:
        raise _odd(where, f"{label!r} with {', '.join(known)[:200] or 'no fields'}")
    names = tuple(getattr(known[key], "names", ()))
    objects = []
    for row, cell in enumerate(data.select_columns([label])[label]):
        if isinstance(cell, list):
            cell = {name: [one[name] for one in cell] for name in ("bbox", key)}
        each = list(zip(cell["bbox"], cell[key], strict=False))
        if not len(each) == len(cell["bbox"]) == len(cell[key]):
            raise _odd(f"{where}, row {row}", f"{len(cell['bbox'])} boxes and {len(cell[key])} classes")
        if len(each) > MOST:
            raise refusal("many-boxes", f"at most {MOST:,} boxes a picture", len(each), where=f"{where}, row {row}")
        objects += [(row, _name(f"{where}, row {row}", kind, names), box) for box, kind in each]
    pictures = data.select_columns([column]).rename_column(column, "image") if column != "image" else data
    return _Read(where, pictures.select_columns(["image"]), objects, names)


def _fields(feature: Any) -> Mapping[str, Any]:
    """What a column of objects holds by name: one mapping of lists, or a list of mappings."""
    inner = feature[0] if isinstance(feature, list) else getattr(feature, "feature", feature)
    if not isinstance(inner, Mapping):
        return {}
    return {
        key: value[0] if isinstance(value, list) else getattr(value, "feature", value) for key, value in inner.items()
    }


def _name(where: str, kind: Any, names: tuple[str, ...]) -> str:
    """The class of an object in words; of a number the column's name for it, where it has names."""
    if not names:
        return str(kind)[:100]
    if not isinstance(kind, int) or not 0 <= kind < len(names):
        raise _odd(where, f"the class {str(kind)[:40]} of {len(names)}")
    return names[kind]


def _part(one: _Read, names: Sequence[str], size: int) -> Part:
    import datasets

    raw = one.pictures.cast_column("image", datasets.Image(decode=False))
    pictures = [(f"{one.where}, row {n}", picture(one.where, n, row["image"])) for n, row in enumerate(raw)]
    images = decoded(pictures, len(raw), size)
    sizes = np.array([opened(*each).size for each in pictures]).reshape(-1, 2)
    number = {name: place for place, name in enumerate(names, 1)}
    if unknown := {kind for _, kind, _ in one.objects} - number.keys():
        raise refusal("box-classes", "the classes of training", sorted(unknown)[0], where=one.where)
    boxes = np.array([_box(f"{one.where}, row {row}", box) for row, _, box in one.objects]).reshape(-1, 4)
    kinds = np.array([number[kind] for _, kind, _ in one.objects], np.int64)
    rows = np.array([row for row, _, _ in one.objects], np.int64)
    return images, labels_of(one.where, corners(boxes), kinds, rows, sizes, size)


def _box(where: str, box: Any) -> list[float]:
    try:
        found = [float(value) for value in box]
    except (TypeError, ValueError):
        found = []
    if len(found) != 4 or not all(abs(value) <= FARTHEST for value in found) or min(found[2:]) < 0:
        raise _odd(where, f"{str(box)[:60]} as bbox")
    return found


def _odd(where: str, got: str) -> Refusal:
    expected = "a column of pictures and one of objects, with bbox [left, top, width, height] and category"
    return refusal("box-column", expected, got, "#input=image,label=objects", where=where)
