"""Average precision of runs on boxes: of what a detector found, which its record keeps in ``SPLIT.found``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.measures.detection import Boxes, ap_by_image, average_precision
from disobey.records.runs import RunRecord

AP = "average_precision"


def truth_and_found(record: RunRecord, split: str) -> tuple[Boxes, Boxes, int] | None:
    """True boxes, found boxes and the number of images; None where a run's examples are no boxes.

    Images are those with a true box, in the order of their ids: the same for all runs on a split, whatever they found.
    What is found elsewhere does not count.
    """
    if f"{split}.box" not in record.examples:
        return None
    found = np.asarray(record.history[f"{split}.found"], dtype=np.float64)
    ids, rows = np.unique(record.examples[f"{split}.cluster"], return_inverse=True)
    truth = Boxes(record.examples[f"{split}.box"], record.examples[f"{split}.labels"], rows)
    place = np.minimum(np.searchsorted(ids, found[:, 0]), len(ids) - 1)
    known = ids[place] == found[:, 0]
    own = Boxes(found[:, 1:5], found[:, 5].astype(np.int64), place, found[:, 6])
    return truth, own.take(known), len(ids)


def ap_of(record: RunRecord, split: str) -> dict[str, float]:
    """The average precision of a run by its name; nothing where its examples are no boxes."""
    boxes = truth_and_found(record, split)
    return {} if boxes is None else {AP: average_precision(*boxes[:2])}


def ap_by_image_of(record: RunRecord, split: str) -> NDArray | None:
    """(K,) what each image adds to it, see `detection.ap_by_image`; None where examples are no boxes."""
    boxes = truth_and_found(record, split)
    return None if boxes is None else ap_by_image(*boxes)
