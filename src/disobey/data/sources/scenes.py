"""Rendered scenes with exact masks and boxes: small colour pictures for dense prediction, without a download.

A scene is a textured ground with a few shapes on it, later ones before earlier ones. Every pixel has the class of what
is seen there, 0 for the ground. What they are good for, and what not: masks and boxes are exact, and similarity,
occlusion and noise are dials; but there are no natural statistics here, and an edge is never ambiguous to an annotator.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disobey.data.boxes import NOTHING, packed
from disobey.data.dataset import Dataset, Split
from disobey.data.sources.shapes import SHAPES
from disobey.data.subsets import stream
from disobey.errors import refusal

SCENES = "scenes"  # the name of the data set with masks, before ``#``
BOXES = "scenes-boxes"  # of the same pictures with boxes
HUES = np.array([[0.85, 0.3, 0.3], [0.3, 0.7, 0.35], [0.35, 0.4, 0.9], [0.85, 0.75, 0.3], [0.7, 0.35, 0.8]])
KINDS = ("disc", "square", "triangle", "ring", "cross")  # the shapes, in the order of their classes, from 1
MOST_PIXELS = 1 << 26  # of all scenes together


@dataclass(frozen=True, eq=False)
class Scenes:
    """Pictures with what is known about every pixel and object. N scenes of H x W pixels, M visible objects.

    Attributes:
        images: (N, H, W, 3) uint8.
        masks: (N, H, W) int16, the class of what is seen; 0 is the ground.
        boxes: (M, 4) int64, left, top, right and bottom of what is seen of an object; the last two lie outside.
        box_classes: (M,) int64.
        box_scenes: (M,) int64, the scene of each.
    """

    images: NDArray
    masks: NDArray
    boxes: NDArray
    box_classes: NDArray
    box_scenes: NDArray


def rendered(
    *,
    examples: int = 800,
    size: int = 32,
    classes: int = 5,
    similarity: float = 0.0,
    occlusion: float = 0.4,
    noise: float = 0.08,
    seed: int = 0,
) -> Scenes:
    """Draws the scenes.

    Args:
        examples: N.
        size: H and W, in pixels.
        classes: of shapes, besides the ground; at most 5.
        similarity: from 0 (every class has its own colour) to 1 (classes differ in shape alone).
        occlusion: share of objects that are placed before another one.
        noise: standard deviation of the pixels' noise, where colours count from 0 to 1.
        seed: of the scenes.

    Returns:
        The scenes.

    Raises:
        Refusal: ``scenes-size``.

    Example:
        >>> scenes = rendered(examples=8, size=16)
        >>> scenes.images.shape, scenes.masks.shape, scenes.boxes.shape[1]
        ((8, 16, 16, 3), (8, 16, 16), 4)
    """
    _check(examples, size, classes, similarity, occlusion, noise)
    rng = stream(seed, "scenes")
    axis = np.arange(size) - (size - 1) / 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    images = np.empty((examples, size, size, 3), np.uint8)
    masks = np.zeros((examples, size, size), np.int16)
    boxes: list[tuple[int, ...]] = []
    for scene in range(examples):
        picture = _texture(x, y, rng.uniform(0.1, 0.6, 3), 0.15, rng)
        seen = np.zeros((size, size), np.int16)  # number of the object that is seen, from 1
        kinds = rng.integers(1, classes + 1, rng.integers(2, 6))
        before = np.zeros(2)
        for number, kind in enumerate(kinds, 1):
            radius = rng.uniform(0.15, 0.27) * size
            near = number > 1 and rng.random() < occlusion
            place = before + rng.uniform(-0.25, 0.25, 2) * size if near else rng.uniform(-0.42, 0.42, 2) * size
            before = place
            angle = rng.uniform(-0.3, 0.3)
            dx, dy = (x - place[0]) / radius, (y - place[1]) / radius
            u, v = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
            inside = SHAPES[KINDS[kind - 1]](u, v) < 0
            hue = similarity * HUES.mean(axis=0) + (1 - similarity) * HUES[kind - 1]
            colour = np.clip(hue + rng.normal(0, 0.12, 3), 0, 1)
            picture = np.where(inside[..., None], _texture(x, y, colour, 0.1, rng), picture)
            seen[inside] = number
        masks[scene] = np.concatenate([[0], kinds])[seen]
        boxes += [(*box, kind, scene) for number, kind in enumerate(kinds, 1) if (box := _box(seen == number))]
        picture = picture + noise * rng.normal(size=picture.shape)
        images[scene] = (np.clip(picture, 0, 1) * 255).round()
    table = np.array(boxes, np.int64).reshape(-1, 6)
    return Scenes(images, masks, table[:, :4], table[:, 4], table[:, 5])


def from_name(name: str = SCENES) -> Dataset:
    """32x32 textured scenes of 5 shapes with the class of every pixel: 400 training, 100 validation, 300 test.

    Args:
        name: ``scenes`` or ``scenes-boxes``, with arguments of `rendered` after ``#``.

    Returns:
        The data set; its labels are masks, or the boxes of the visible objects.

    Raises:
        Refusal: ``scenes-parameter`` or ``scenes-size``.

    Example:
        >>> data = from_name("scenes#examples=40,size=16")
        >>> data.train.labels.shape, len(data.test), data.classes[0]
        ((20, 16, 16), 15, 'ground')
    """
    known = {key: type(value.default) for key, value in inspect.signature(rendered).parameters.items()}
    chosen = {}
    for item in filter(None, name.partition("#")[2].split(",")):
        key, _, value = item.partition("=")
        try:
            chosen[key] = known[key](value)
        except (KeyError, ValueError):
            usual = ", ".join(f"{key}={kind.__name__}" for key, kind in known.items())
            raise refusal(
                "scenes-parameter", f"parameters out of {usual}", repr(item), "scenes#similarity=0.9", where=name
            ) from None
    found = rendered(**chosen)
    n = len(found.images)
    kinds = KINDS[: chosen.get("classes", len(KINDS))]
    if name.partition("#")[0] == BOXES:
        zero, labels = NOTHING, packed(found.boxes, found.box_classes, found.box_scenes, n)
    else:
        zero, labels = "ground", found.masks
    parts = dense_splits(found.images, labels, validation=n // 8, test=3 * n // 8)
    return Dataset(name, "image", (zero, *kinds), *parts, source="rendered from a seed")


def scenes() -> Dataset:
    """32x32 textured scenes of 5 shapes with the class of every pixel: 400 training, 100 validation, 300 test."""
    return from_name()


def scenes_boxes() -> Dataset:
    """The same pictures with the box and the class of every visible object."""
    return from_name(BOXES)


def dense_splits(images: NDArray, labels: NDArray, *, validation: int, test: int) -> tuple[Split, Split, Split]:
    """(train, validation, test) of images (N, ...) with masks or boxes, always the same; the ids number the images."""
    order = stream(0, "dense splits").permutation(len(images))
    whole = Split(images, labels, np.arange(len(images)))
    held, chosen, rest = np.split(order, [test, test + validation])
    return whole.take(np.sort(rest)), whole.take(np.sort(chosen)), whole.take(np.sort(held))


def _texture(x: NDArray, y: NDArray, colour: NDArray, depth: float, rng: np.random.Generator) -> NDArray:
    """A colour with two waves over it, (H, W, 3)."""
    waves = np.zeros_like(x)
    for _ in range(2):
        angle, period, phase = rng.uniform(0, np.pi), rng.uniform(3, 12), rng.uniform(0, 2 * np.pi)
        waves = waves + np.sin((np.cos(angle) * x + np.sin(angle) * y) * 2 * np.pi / period + phase)
    return colour + depth / 2 * waves[..., None] * rng.uniform(0.5, 1, 3)


def _box(seen: NDArray) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of where an object is seen; None where it is hidden."""
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _check(examples: int, size: int, classes: int, similarity: float, occlusion: float, noise: float) -> None:
    sound = examples >= 8 and 8 <= size <= 256 and examples * size**2 <= MOST_PIXELS and 1 <= classes <= len(KINDS)
    if not sound or not all(0 <= share <= 1 for share in (similarity, occlusion, noise)):
        raise refusal(
            "scenes-size",
            f"8 scenes or more of 8 to 256 pixels a side ({MOST_PIXELS:,} pixels in all), 1 to {len(KINDS)} classes, "
            "similarity, occlusion and noise from 0 to 1",
            f"{examples} of {size}, {classes} classes, {similarity}, {occlusion}, {noise}",
        )
