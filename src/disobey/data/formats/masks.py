"""Pictures whose pixels have classes, from files: a folder of masks, or COCO's JSON with polygons.

A folder holds ``images/`` and ``masks/`` (or those two in ``train/``, ``val/`` and ``test/``). A mask is an 8-bit grey
or palette PNG with its picture's name, whose values are classes; 255 is void. ``classes.txt`` may name the classes, one
a line. In COCO's JSON a later polygon lies before an earlier one, class 0 is the ground, and pictures lie beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disobey.bounds import mendable, read_bounded
from disobey.data.dataset import VOID, Dataset, Split
from disobey.data.formats.coco import beside, read_coco
from disobey.data.formats.columns import Options
from disobey.data.formats.files import PICTURES
from disobey.data.formats.images import decoded, fitted, opened, pillow
from disobey.data.sources.scenes import dense_splits
from disobey.errors import refusal

SEGMENTATION = "segmentation:"  # how names of such data begin
VOID_VALUE = 255  # of a mask's pixel that has no class
SPLITS = {"train": ("train",), "validation": ("val", "validation", "valid"), "test": ("test",)}
MAX_POINTS = 1 << 20  # of the polygons of one picture

Part = tuple[NDArray, NDArray]  # images (N, H, W, channels) uint8 and masks (N, H, W) int16, or boxes (N, K, 5)


def from_masks(name: str) -> Dataset:
    """The data set of a name that begins with ``segmentation:``.

    Args:
        name: ``segmentation:FOLDER`` or ``segmentation:FILE.json``, with ``#size=32`` to scale and crop.

    Returns:
        The data set, read completely; its labels are masks. A fifth of the pictures becomes the test split, and an
        eighth of the rest the validation split, where the files do not say.

    Raises:
        Refusal: ``no-file``, ``no-masks``, ``mask-mode``, ``mask-size``, ``mask-classes``, ``few-pictures``,
            ``not-coco``, or a refusal of the pictures.
    """
    place, options = Options.parse(name)
    path = Path(place.removeprefix(SEGMENTATION)).expanduser()
    if not path.exists():
        raise refusal("no-file", "a file or folder", "nothing there", "another path", where=place)
    with mendable(place):
        if path.is_dir():
            parts, names = _folder(path, options.size), _names(path)
        else:
            found, names = _coco(path, options.size)
            parts = {"train": found}
    return assembled(name, parts, names)


def assembled(name: str, parts: dict[str, Part], names: tuple[str, ...] = ()) -> Dataset:
    """The data set of splits that were read; ``names`` of classes, numbers where there are none. Raises `Refusal`."""
    place = name.partition("#")[0]
    most = max(int(masks.max(initial=0)) for _, masks in parts.values()) + 1
    names = names or tuple(str(number) for number in range(max(most, 2)))
    if most > len(names):
        raise refusal("mask-classes", f"classes below {len(names)}, as many as have names", most - 1, where=place)
    return Dataset(name, "image", names, *splits_of_pictures(place, parts), source="files")


def splits_of_pictures(where: str, parts: dict[str, Part]) -> tuple[Split, Split, Split]:
    """(train, validation, test) of parts that were read; what is missing is cut from training. Raises `Refusal`."""
    shapes = {images.shape[1:] for images, _ in parts.values()}
    total = sum(len(images) for images, _ in parts.values())
    if len(shapes) > 1 or total < 8 or "train" not in parts:
        got = f"{total} of {len(shapes)} sizes in {', '.join(parts)}"
        raise refusal("few-pictures", "8 pictures or more of one size, some to train on", got, "#size=32", where=where)
    images, labels = parts["train"]
    if "test" not in parts:
        held = len(images) // 5
        return dense_splits(images, labels, validation=(len(images) - held) // 8, test=held)
    test = Split(*parts["test"], np.arange(len(parts["test"][0])))
    if "validation" in parts:
        return (
            Split(images, labels, np.arange(len(images))),
            Split(*parts["validation"], _ids(parts["validation"])),
            test,
        )
    train, validation, _ = dense_splits(images, labels, validation=len(images) // 8, test=0)
    return train, validation, test


def _ids(part: Part) -> NDArray:
    return np.arange(len(part[0]))


def _folder(path: Path, size: int) -> dict[str, Part]:
    if (path / "masks").is_dir():
        return {"train": _pairs(path, size)}
    found = {}
    for key, names in SPLITS.items():
        place = next((path / name for name in names if (path / name / "masks").is_dir()), None)
        if place is not None:
            found[key] = _pairs(place, size)
    if "train" not in found:
        expected = "folders images/ and masks/, or train/ with both"
        raise refusal("no-masks", expected, "none", "a format of docs/guides/dense-prediction.md", where=path)
    return found


def _pairs(path: Path, size: int) -> Part:
    pictures = {p.stem: p for p in sorted((path / "images").glob("*")) if p.suffix.lower() in PICTURES}
    masks = {p.stem: p for p in sorted((path / "masks").glob("*")) if p.suffix.lower() == ".png"}
    odd = sorted(pictures.keys() ^ masks.keys())
    if odd or not masks:
        got = f"{len(odd)} without the other, first {odd[0]!r}" if odd else "none"
        raise refusal("no-masks", "a mask of the same name for every picture", got, where=path)
    images = decoded(((str(p), p) for p in pictures.values()), len(pictures), size)
    return images, stacked(((str(p), mask_of(str(p), p)) for p in masks.values()), images.shape[:3], size)


def mask_of(where: str, content: bytes | Path) -> Any:
    """A picture of class numbers, one channel of 8 bits. Raises `Refusal`: ``mask-mode``, or as `opened` does."""
    image = opened(where, content)
    if image.mode not in ("L", "P", "1"):
        expected, attempt = "an 8-bit grey or palette PNG whose values are classes", "one channel of class numbers"
        raise refusal("mask-mode", expected, f"mode {image.mode}", attempt, where=where)
    return pillow().fromarray(np.array(image, dtype=np.uint8))


def stacked(masks: Iterator[tuple[str, Any]], shape: Sequence[int], size: int) -> NDArray:
    """Masks (N, H, W) int16, of the pictures' sizes, scaled by nearest neighbours."""
    result = np.empty(tuple(shape), np.int16)
    for row, (where, mask) in enumerate(masks):
        values = np.array(fitted(mask, size, pillow().Resampling.NEAREST), dtype=np.int16)
        if values.shape != result.shape[1:]:
            raise refusal("mask-size", f"a mask of {result.shape[1:]}, as its picture", values.shape, where=where)
        result[row] = np.where(values == VOID_VALUE, VOID, values)
    return result


def _names(path: Path) -> tuple[str, ...]:
    file = path / "classes.txt"
    if not file.is_file():
        return ()
    return tuple(filter(None, map(str.strip, read_bounded(file, 1 << 16).decode("utf-8", "replace").splitlines())))


def _coco(path: Path, size: int) -> tuple[Part, tuple[str, ...]]:
    """Pictures and masks of COCO's JSON, and the names of its classes after the ground's."""
    found = read_coco(path)
    if len(found.names) > 250:
        raise refusal("not-coco", "at most 250 classes", len(found.names), where=path)
    shapes: list[list[tuple[int, list[list[float]]]]] = [[] for _ in found.files]
    for image, number, polygons in zip(found.image, found.category, found.polygons, strict=True):
        if polygons is None:
            raise refusal("not-coco", "polygons as segmentation", "run lengths or none", "polygons", where=path)
        shapes[image].append((int(number), polygons))
    files = [beside(path, name) for name in found.files]
    images = decoded(((str(p), p) for p in files), len(files), size)
    masks = ((str(file), _drawn(file, shape)) for file, shape in zip(files, shapes, strict=True))
    return (images, stacked(masks, images.shape[:3], size)), ("ground", *found.names)


def _drawn(picture: Path, shapes: list[tuple[int, list[list[float]]]]) -> Any:
    from PIL import ImageDraw

    if sum(len(points) for _, polygons in shapes for points in polygons) > MAX_POINTS:
        raise refusal("not-coco", f"at most {MAX_POINTS:,} numbers of polygons a picture", "more", where=picture)
    mask = pillow().new("L", opened(str(picture), picture).size, 0)
    draw = ImageDraw.Draw(mask)
    for number, polygons in shapes:
        for points in polygons:
            draw.polygon(points, fill=number)
    return mask
