"""Pictures with boxes, from COCO's JSON: one file, or a folder with one for each split.

A folder holds ``train.json``, ``instances_train*.json`` or ``train/annotations.json`` (also ``annotations/`` before the
first two), likewise ``val`` and ``test``; or ``annotations.json`` alone. Pictures lie beside a file or in ``images/``
there, or, of ``annotations/instances_NAME.json``, in ``NAME/`` or ``images/NAME/`` beside that folder. Objects that are
crowds are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from disobey.bounds import mendable
from disobey.data.boxes import NOTHING, packed, padded
from disobey.data.dataset import Dataset
from disobey.data.formats.coco import Coco, read_coco
from disobey.data.formats.columns import Options
from disobey.data.formats.images import decoded, opened
from disobey.data.formats.masks import SPLITS, Part, beside, splits_of_pictures
from disobey.errors import refusal

DETECTION = "detection:"  # how names of such data begin
MOST = 1000  # boxes of a picture
LEAST = 0.25  # share of a box that must remain where pictures are cropped
GUIDE = "a format of docs/guides/dense-prediction.md"


def from_boxes(name: str) -> Dataset:
    """The data set of a name that begins with ``detection:``.

    Args:
        name: ``detection:FOLDER`` or ``detection:FILE.json``, with ``#size=64`` to scale and crop.

    Returns:
        The data set, read completely; its labels are boxes. A fifth of the pictures becomes the test split, and an
        eighth of the rest the validation split, where the files do not say.

    Raises:
        Refusal: ``no-file``, ``no-boxes``, ``box-classes``, ``box-picture``, ``many-boxes``, ``few-pictures``,
            ``not-coco``, or a refusal of the pictures.
    """
    place, options = Options.parse(name)
    path = Path(place.removeprefix(DETECTION)).expanduser()
    if not path.exists():
        raise refusal("no-file", "a file or folder", "nothing there", "another path", where=place)
    with mendable(place):
        files = _files(path) if path.is_dir() else {"train": path}
        found = {key: read_coco(file) for key, file in files.items()}
        names = found["train"].names
        parts = {key: _part(file, found[key], names, options.size) for key, file in files.items()}
    return assembled(name, parts, names)


def assembled(name: str, parts: dict[str, Part], names: Sequence[str]) -> Dataset:
    """The data set of splits that were read, with ``names`` of classes from 1 on. Raises `Refusal`."""
    most = max(labels.shape[1] for _, labels in parts.values())
    parts = {key: (images, padded(labels, most)) for key, (images, labels) in parts.items()}
    return Dataset(name, "image", (NOTHING, *names), *splits_of_pictures(name.partition("#")[0], parts), source="files")


def placed(boxes: NDArray, sizes: NDArray, size: int) -> tuple[NDArray, NDArray]:
    """Boxes after their pictures were scaled and cropped, and which of them are still there.

    Args:
        boxes: (M, 4).
        sizes: (M, 2) width and height of the picture of each.
        size: the shorter side was scaled to it and the middle cropped; 0: the picture was left as it is.

    Returns:
        Boxes (M, 4), cut at the border; and (M,) whether a quarter of it and a pixel each way remain.

    Example:
        >>> placed(np.array([[0, 0, 4, 4], [8, 0, 16, 8]]), np.array([[16, 8], [16, 8]]), 8)
        (array([[0., 0., 0., 4.],
               [4., 0., 8., 8.]]), array([False,  True]))
    """
    scale = np.full(sizes.shape, 1.0)
    shift, end = np.zeros(sizes.shape), sizes.astype(np.float64)
    if size:
        wide = np.maximum(np.round(sizes * (size / sizes.min(axis=1, keepdims=True))), size)
        scale, shift, end = wide / sizes, (wide - size) // 2, np.full(sizes.shape, float(size))
        same = (sizes == size).all(axis=1, keepdims=True)
        scale, shift = np.where(same, 1.0, scale), np.where(same, 0.0, shift)
    whole = boxes * np.tile(scale, 2) - np.tile(shift, 2)
    cut = np.concatenate([np.clip(whole[:, :2], 0, end), np.clip(whole[:, 2:], 0, end)], axis=1)
    sides, before = cut[:, 2:] - cut[:, :2], whole[:, 2:] - whole[:, :2]
    there = (sides >= 1).all(axis=1) & (sides.prod(axis=1) >= LEAST * before.prod(axis=1))
    return cut, there


def labels_of(where: object, boxes: NDArray, kinds: NDArray, images: NDArray, sizes: NDArray, size: int) -> NDArray:
    """(N, K, 5) of boxes (M, 4) in pictures of ``sizes`` (N, 2), which were scaled to ``size``. Raises `Refusal`."""
    if len(images) and np.bincount(images).max() > MOST:
        raise refusal("many-boxes", f"at most {MOST:,} boxes a picture", np.bincount(images).max(), where=where)
    places, there = placed(boxes, sizes[images], size)
    return packed(places[there], kinds[there], images[there], len(sizes))


def _files(path: Path) -> dict[str, Path]:
    """The file of every split of a folder."""
    found = {}
    for key, names in SPLITS.items():
        patterns = [
            pattern
            for name in names
            for pattern in (
                f"{name}/annotations.json",
                f"{name}/_annotations.coco.json",
                *(
                    f"{below}{file}"
                    for below in ("", "annotations/")
                    for file in (f"{name}.json", f"instances_{name}*.json")
                ),
            )
        ]
        place = next((file for pattern in patterns for file in sorted(path.glob(pattern))), None)
        if place is not None:
            found[key] = place
    if not found and (path / "annotations.json").is_file():
        return {"train": path / "annotations.json"}
    if "train" not in found:
        expected, got = "annotations.json, or train.json and others", ", ".join(found) or "none"
        raise refusal("no-boxes", expected, got, GUIDE, where=path)
    return found


def _part(path: Path, coco: Coco, names: Sequence[str], size: int) -> Part:
    if unknown := [name for name in coco.names if name not in names]:
        raise refusal("box-classes", f"the classes of training: {', '.join(names)[:200]}", unknown[0], where=path)
    number = np.array([names.index(name) + 1 for name in coco.names])
    files = [_picture(path, name) for name in coco.files]
    images = decoded(((str(file), file) for file in files), len(files), size)
    sizes = np.array([opened(str(file), file).size for file in files])
    said = (coco.sizes > 0).all(axis=1)
    if (odd := said & (coco.sizes != sizes).any(axis=1)).any():
        row = int(odd.argmax())
        expected = f"a picture of {coco.sizes[row][0]} x {coco.sizes[row][1]}, as the file says of its boxes"
        raise refusal("box-picture", expected, f"{sizes[row][0]} x {sizes[row][1]}", "the original", where=files[row])
    own = ~coco.crowd
    return images, labels_of(path, coco.boxes[own], number[coco.category[own] - 1], coco.image[own], sizes, size)


def _picture(path: Path, name: str) -> Path:
    """A picture beside its file; of COCO's own folders, beside the folder of the file."""
    folder, split = path.parent.parent.resolve(), path.stem.removeprefix("instances_")
    if path.parent.name == "annotations":
        for place in _in(folder, split, name):
            if place.is_file() and place.resolve().is_relative_to(folder):
                return place
    return beside(path, name)


def _in(folder: Path, split: str, name: str) -> Iterable[Path]:
    return (folder / split / name, folder / "images" / split / name, folder / "images" / name)
