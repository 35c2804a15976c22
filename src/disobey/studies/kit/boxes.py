"""Average precision of runs on boxes: of what a detector found, which its record keeps in ``SPLIT.found``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.measures.detection import Boxes, ap_by_image, average_precision
from disobey.records.runs import RunRecord

AP = "average_precision"


def truth_and_found(record: RunRecord, split: str) -> tuple[Boxes, Boxes, int] | None:
    """True boxes, found boxes and the number of images; None where a run's examples are no boxes.

    Images are all of the split, in the order of their ids: the same for all runs on it, whatever they found.
    """
    if f"{split}.box" not in record.examples:
        return None
    found = np.asarray(record.history[f"{split}.found"], dtype=np.float64)
    ids = np.sort(record.history[f"{split}.images"])
    rows = np.searchsorted(ids, record.examples[f"{split}.cluster"])
    truth = Boxes(record.examples[f"{split}.box"], record.examples[f"{split}.labels"], rows)
    places = np.searchsorted(ids, found[:, 0].astype(np.int64))
    return truth, Boxes(found[:, 1:5], found[:, 5].astype(np.int64), places, found[:, 6]), len(ids)


def ap_of(record: RunRecord, split: str) -> dict[str, float]:
    """The average precision of a run by its name; nothing where its examples are no boxes."""
    boxes = truth_and_found(record, split)
    return {} if boxes is None else {AP: average_precision(*boxes[:2])}


def ap_by_image_of(record: RunRecord, split: str) -> NDArray | None:
    """(K,) what each image adds to it, see `detection.ap_by_image`; None where examples are no boxes."""
    boxes = truth_and_found(record, split)
    return None if boxes is None else ap_by_image(*boxes)
