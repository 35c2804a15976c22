"""Lists of found boxes as COCO's evaluation takes them: objects of image_id, category_id, bbox and score, in JSON.

An object is put into columns as it is read, and is not kept: what is held are the text and the numbers.
"""

from __future__ import annotations

import json
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disobey.bounds import Tally, mendable, read_bounded, text_file
from disobey.data.formats.coco import FARTHEST, LARGEST, corners, whole_number
from disobey.data.formats.tables import decoded_size
from disobey.errors import Refusal, refusal

FORM = "a list of {image_id, category_id, bbox: [left, top, width, height], score}"


@dataclass(frozen=True, eq=False)
class Found:
    """M found boxes, with the file's numbers of images and categories.

    Attributes:
        images: (M,) ids.
        categories: (M,) ids.
        boxes: (M, 4) left, top, right, bottom.
        scores: (M,) from 0 to 1.
        spread: (M, C) scores of all categories, where the file has them.
    """

    images: NDArray
    categories: NDArray
    boxes: NDArray
    scores: NDArray
    spread: NDArray | None = None


def read_found(path: Path) -> Found:
    """The boxes in a file of at most 256 MiB.

    Raises `Refusal`: ``not-results``, ``found-boxes``, ``found-scores``, or one of `disobey.bounds`.
    """
    rows = _Rows(path)
    with mendable(path):
        try:
            text = read_bounded(text_file(path), LARGEST).decode("utf-8-sig")
            Tally(path).add(decoded_size(text))
            content = json.loads(text, object_hook=rows.take)
        except Refusal:
            raise
        except OSError as error:
            got, attempt = error.strerror or error, "another path"
            raise refusal("unreadable-file", "a readable file", got, attempt, where=path) from None
        except (UnicodeDecodeError, json.JSONDecodeError, ValueError) as error:
            raise refusal("not-results", FORM, f"{type(error).__name__}: {error}", where=path) from None
    if not isinstance(content, list) or any(one is not None for one in content):
        known = isinstance(content, dict) and "annotations" in content
        got = "a file of annotations" if known else f"{type(content).__name__} with something else"
        raise refusal("not-results", FORM, got, "--labels FILE for annotations", where=path)
    return rows.found(len(content))


@dataclass(eq=False)
class _Rows:
    path: Path
    ids: array = field(default_factory=lambda: array("q"))
    numbers: array = field(default_factory=lambda: array("d"))
    scores: array = field(default_factory=lambda: array("f"))

    def take(self, one: dict[str, Any]) -> dict[str, Any] | None:
        """Keeps the numbers of an object that is a found box, and returns nothing in its place."""
        if "image_id" not in one:
            return one
        if "score" not in one or "category_id" not in one or "bbox" not in one:
            lacks = next(key for key in ("score", "category_id", "bbox") if key not in one)
            attempt = "--labels FILE for annotations"
            raise refusal("not-results", FORM, f"no {lacks} in box {self._number}", attempt, where=self.path)
        try:
            ids = [whole_number(one["image_id"]), whole_number(one["category_id"])]
            self.ids.extend(ids)
        except (ValueError, TypeError, OverflowError) as error:
            raise refusal("not-results", "whole numbers as ids", error, where=self.path) from None
        box, score = one["bbox"], one["score"]
        if not isinstance(box, list) or len(box) != 4 or not all(_within(v, -FARTHEST, FARTHEST) for v in box):
            self._refuse("found-boxes", "four numbers, left, top, width, height", box)
        if min(box[2:]) < 0:
            self._refuse("found-boxes", "no negative width or height (is it left, top, right, bottom?)", box)
        spread = one.get("scores", [])
        wide = len(spread) if isinstance(spread, list) else 0
        if wide * self._number != len(self.scores):  # in all boxes before, as many
            before = len(self.scores) // self._number
            self._refuse("found-scores", f"{before} 'scores' as in the boxes before", wide)
        for value in (score, *(spread if isinstance(spread, list) else [None])):
            if not _within(value, 0, 1):
                self._refuse("found-scores", "scores from 0 to 1", value, "probabilities, not logits")
        self.numbers.extend((*box, score))
        self.scores.extend(spread)
        return None

    @property
    def _number(self) -> int:
        return len(self.numbers) // 5

    def _refuse(self, id: str, expected: str, got: Any, attempt: str = "") -> None:
        raise refusal(id, expected, f"{str(got)[:80]} in box {self._number}", attempt, where=self.path)

    def found(self, count: int) -> Found:
        """All of them, in the file's order."""
        ids = np.array(self.ids, dtype=np.int64).reshape(-1, 2)
        numbers = np.array(self.numbers, dtype=np.float64).reshape(-1, 5)
        if len(ids) != count:
            raise refusal("not-results", FORM, "boxes within boxes", where=self.path)
        spread = None
        if len(self.scores):
            spread = np.array(self.scores, dtype=np.float32).reshape(count, -1)
        return Found(ids[:, 0], ids[:, 1], corners(numbers[:, :4]), numbers[:, 4], spread)


def _within(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
