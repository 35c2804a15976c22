"""COCO's JSON: pictures, categories and annotated objects. Shapes: I images, A annotations, C categories."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disobey.bounds import Tally, mendable, read_bounded, text_file
from disobey.data.formats.tables import decoded_size
from disobey.errors import Refusal, refusal

LARGEST = 1 << 28  # bytes of a file
MAX_CLASSES = 1000
FARTHEST = 1e6  # pixels
GUIDE = "a format of docs/guides/dense-prediction.md"


@dataclass(frozen=True, eq=False)
class Coco:
    """What a file of annotations says.

    Attributes:
        category_ids: (C,) as the file numbers them; here a category's number is its place, from 1.
        names: of the C categories.
        image_ids: (I,) as the file numbers them; here an image is its row.
        files: I names of pictures, empty where there is none.
        sizes: (I, 2) width and height, 0 where the file does not say.
        image: (A,) the row of each object's image.
        category: (A,) 1 to C.
        boxes: (A, 4) left, top, right, bottom.
        crowd: (A,) bool, whether it is many objects in one.
        polygons: for each object, lists of x1, y1, x2, y2, ...; None where it has run lengths or no outline.
    """

    category_ids: NDArray
    names: tuple[str, ...]
    image_ids: NDArray
    files: tuple[str, ...]
    sizes: NDArray
    image: NDArray
    category: NDArray
    boxes: NDArray
    crowd: NDArray
    polygons: tuple[list[list[float]] | None, ...]


def read_coco(path: Path) -> Coco:
    """The content of a file with ``images``, ``categories`` and ``annotations``.

    An object without ``bbox`` gets that of its polygons. What else a file says (licences, areas) is not read.

    Args:
        path: a file of at most 256 MiB.

    Returns:
        What it says, checked: numbers are finite, ids are known and unique, boxes have no negative sides.

    Raises:
        Refusal: ``not-coco``, or one of `disobey.bounds`.
    """
    with mendable(path), _expected(path, "COCO's JSON: images, categories, annotations with boxes or polygons"):
        text = read_bounded(text_file(path), LARGEST).decode("utf-8-sig")
        Tally(path).add(decoded_size(text))
        content = json.loads(text)
        if isinstance(content, list):
            raise ValueError("a list, as found boxes are saved")
        categories, images = content["categories"], content["images"]
        category_ids, image_ids = _ids(categories, "category"), _ids(images, "image")
        if not images or not 0 < len(categories) <= MAX_CLASSES:
            raise ValueError(f"{len(images):,} images and {len(categories):,} categories (1 to {MAX_CLASSES:,})")
        rows = {int(id): row for row, id in enumerate(image_ids)}
        numbers = {int(id): number for number, id in enumerate(category_ids, 1)}
        objects = content["annotations"]
        polygons = tuple(_polygons(one) for one in objects)
        boxes = [_box(one, outline) for one, outline in zip(objects, polygons, strict=True)]
        return Coco(
            category_ids,
            tuple(str(one["name"])[:100] for one in categories),
            image_ids,
            tuple(str(one.get("file_name", ""))[:1000] for one in images),
            np.array([[_size(one.get(side, 0)) for side in ("width", "height")] for one in images]).reshape(-1, 2),
            np.array([_known(rows, one["image_id"], "image_id") for one in objects], dtype=np.int64),
            np.array([_known(numbers, one["category_id"], "category_id") for one in objects], dtype=np.int64),
            corners(np.array(boxes, dtype=np.float64).reshape(-1, 4)),
            np.array([bool(one.get("iscrowd", 0)) for one in objects], dtype=bool),
            polygons,
        )


@contextmanager
def _expected(path: Path, expected: str) -> Iterator[None]:
    """What a file of another form does to its reader, as the refusal ``not-coco``."""
    try:
        yield
    except Refusal:
        raise
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"no {error}" if isinstance(error, KeyError) else str(error)[:150]
        raise refusal("not-coco", expected, said, GUIDE, where=path) from None


def corners(boxes: NDArray) -> NDArray:
    """Boxes (M, 4) of left, top, width, height as left, top, right, bottom."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def beside(path: Path, name: str) -> Path:
    """A picture in the folder of the JSON, or in ``images/`` there; nothing outside it."""
    folder = path.parent.resolve()
    for place in (folder / name, folder / "images" / name):
        if place.is_file() and place.resolve().is_relative_to(folder):
            return place
    raise refusal("no-file", f"the picture {name[:100]!r} beside the file", "none", "images/ beside it", where=path)


def _ids(entries: list[dict], of: str) -> NDArray:
    found = [whole_number(one["id"]) for one in entries]
    if len(set(found)) < len(found):
        raise ValueError(f"a {of}'s id twice")
    return np.array(found, dtype=np.int64)


def whole_number(value: Any) -> int:
    """A number of JSON that is an id. Raises ValueError or TypeError."""
    number = int(value)
    if number != float(value) or abs(number) >= 1 << 62:
        raise ValueError(f"{str(value)[:40]} as an id")
    return number


def _known(places: Mapping[int, int], id: Any, key: str) -> int:
    place = places.get(whole_number(id))
    if place is None:
        raise ValueError(f"the unknown {key} {str(id)[:40]}")
    return place


def _size(value: Any) -> int:
    size = 0 if value is None else whole_number(value)
    if not 0 <= size < 1 << 31:
        raise ValueError(f"a width or height of {size}")
    return size


def _box(one: Mapping[str, Any], polygons: list[list[float]] | None) -> list[float]:
    box = one.get("bbox")
    if box is None:
        if not polygons:
            raise ValueError("an annotation without bbox and polygons")
        points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in polygons])
        return [*points.min(axis=0), *np.ptp(points, axis=0)]
    found = [float(value) for value in box]
    if len(found) != 4 or not (np.abs(found) <= FARTHEST).all() or min(found[2:]) < 0:
        raise ValueError(f"{str(box)[:60]} as bbox [left, top, width, height]")
    return found


def _polygons(one: Mapping[str, Any]) -> list[list[float]] | None:
    outline = one.get("segmentation")
    if not isinstance(outline, list) or not outline:
        return None
    points = [[float(value) for value in polygon] for polygon in outline]
    if any(len(p) < 6 or len(p) % 2 or not (np.abs(p) <= FARTHEST).all() for p in points):
        raise ValueError(f"{str(outline)[:60]} as polygons x1, y1, x2, y2, x3, y3, ...")
    return points
