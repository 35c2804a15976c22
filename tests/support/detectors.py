"""Planted detectors, and COCO's own evaluation of them."""

import contextlib
import io

import numpy as np

from disobey.measures.detection import Boxes


def planted(seed, images=40, classes=5, ties=True):
    """True and found boxes with crowds, ties, images without either, and a class that only the detector knows."""
    rng = np.random.default_rng(seed)
    n = images * 3
    corner, size = rng.integers(0, 60, (n, 2)), rng.integers(4, 40, (n, 2))
    boxes = np.concatenate([corner, corner + size], axis=1).astype(float)
    truth = Boxes(
        boxes,
        rng.integers(1, classes, n),
        rng.integers(0, images * 3 // 4, n),
        crowd=rng.random(n) < 0.1,
    )
    source = rng.integers(0, n, images * 8)
    moved = boxes[source] + rng.integers(-3, 4, (len(source), 4))
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
    kept = rng.random((2, len(source))) < [[0.8], [0.95]]
    found = Boxes(
        moved,
        np.where(kept[0], truth.classes[source], rng.integers(1, classes + 1, len(source))),
        np.where(kept[1], truth.images[source], rng.integers(0, images, len(source))),
        rng.random(len(source)).round(1 if ties else 9),
    )
    return truth, found


def coco_evaluation(truth, found, images):
    """pycocotools' evaluation, loaded and ready to ``evaluate``, ``accumulate`` and ``summarize``."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def sides(box):
        left, top, right, bottom = map(float, box)
        return [left, top, right - left, bottom - top]

    numbers = range(1, int(max(truth.classes.max(), found.classes.max())) + 1)
    crowd = ~truth.counted
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {
            "info": {},
            "images": [{"id": row} for row in range(images)],
            "categories": [{"id": number, "name": str(number)} for number in numbers],
            "annotations": [
                {"id": row + 1, "image_id": int(truth.images[row]), "category_id": int(truth.classes[row])}
                | {"bbox": sides(truth.boxes[row]), "area": 100.0, "iscrowd": int(crowd[row])}
                for row in range(len(truth))
            ],
        }
        known.createIndex()
        results = [
            {"image_id": int(found.images[row]), "category_id": int(found.classes[row])}
            | {"bbox": sides(found.boxes[row]), "score": float(found.scores[row])}
            for row in range(len(found))
        ]
        return COCOeval(known, known.loadRes(results), "bbox")


def coco_numbers(truth, found, images):
    """AP, AP50 and AP75 of pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = coco_evaluation(truth, found, images)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:3]
