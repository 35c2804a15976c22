"""Average precision against pycocotools and its stored numbers, its spread over images, suppression and answers."""

import numpy as np
import pytest

from disobey.measures import detection
from disobey.measures.detection import (
    Boxes,
    ap_by_image,
    average_precision,
    box_iou,
    matched,
    matched_scores,
    suppressed,
)
from tests.support.detectors import coco_numbers, planted

IMAGES = 40
STORED = {  # by seed: AP, AP50 and AP75 of pycocotools 2.0.11
    0: (0.2207436607082581, 0.4421798204648765, 0.1820986479879836),
    1: (0.22097280362042893, 0.5206073246274054, 0.1460466130435427),
    2: (0.20868901856704614, 0.4874739346916665, 0.1549072251077576),
}


def numbers(truth, found):
    return [average_precision(truth, found, **how) for how in ({}, {"thresholds": (0.5,)}, {"thresholds": (0.75,)})]


@pytest.mark.parametrize("seed", STORED)
def test_average_precision_is_cocos(seed):
    assert np.allclose(numbers(*planted(seed, IMAGES)), STORED[seed], atol=1e-9, rtol=0)


def test_average_precision_beside_pycocotools():
    pytest.importorskip("pycocotools")
    for seed in range(3, 9):
        truth, found = planted(seed, IMAGES, ties=seed % 2 == 0)
        assert np.allclose(numbers(truth, found), coco_numbers(truth, found, IMAGES), atol=1e-9, rtol=0)


def test_at_most_100_boxes_an_image_and_class_count():
    truth = Boxes(np.array([[0, 0, 9, 9]]), np.array([1]), np.array([0]))
    boxes = np.concatenate([np.full((100, 4), [20, 20, 30, 30]), [[0, 0, 9, 9]]])
    found = Boxes(boxes, np.ones(101, int), np.zeros(101, int), np.linspace(1, 0.5, 101))
    assert average_precision(truth, found) == 0
    assert average_precision(truth, found.take(np.arange(1, 101))) == pytest.approx(0.01)


def test_order_of_rows_does_not_matter_where_no_scores_are_equal():
    truth, found = planted(1, IMAGES, ties=False)
    rng = np.random.default_rng(0)
    value = average_precision(truth, found)
    again = average_precision(truth.take(rng.permutation(len(truth))), found.take(rng.permutation(len(found))))
    assert again == pytest.approx(value, abs=1e-12)


def test_without_boxes():
    truth, found = planted(1, IMAGES)
    none = np.empty(0, int)
    assert average_precision(truth, found.take(none)) == 0
    assert np.isnan(average_precision(truth.take(none), found))
    assert np.array_equal(ap_by_image(truth, found.take(none), IMAGES), np.zeros(IMAGES))


def test_what_images_add_is_the_average_and_its_derivative(monkeypatch):
    truth, found = planted(2, IMAGES, ties=False)
    values = ap_by_image(truth, found, IMAGES)
    assert len(values) == IMAGES
    assert values.mean() == pytest.approx(average_precision(truth, found), abs=1e-12)
    monkeypatch.setattr(detection, "RECALLS", np.linspace(0, 1, 20_001))  # at 101, one image of many changes nothing
    copies = 20
    whole = [copied(one, copies) for one in (truth, found)]
    changes = []
    for image in range(IMAGES):
        left = [one.take(np.flatnonzero(one.images != image)) for one in whole]
        changes.append((average_precision(*whole) - average_precision(*left)) * copies * IMAGES)
    influence = values - values.mean()
    assert np.corrcoef(changes, influence)[0, 1] > 0.98
    assert np.std(changes) == pytest.approx(np.std(influence), rel=0.1)


def copied(boxes, copies):
    """Every image and its boxes many times."""
    images = np.concatenate([boxes.images + IMAGES * copy for copy in range(copies)])
    many = boxes.take(np.tile(np.arange(len(boxes)), copies))
    return Boxes(many.boxes, many.classes, images, many.scores, many.crowd)


def test_suppression_is_by_class_and_keeps_the_best():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9], [0, 0, 10, 5], [30, 30, 40, 40]])
    scores, classes = np.array([0.5, 0.9, 0.8, 0.7, 0.1]), np.array([1, 1, 2, 1, 1])
    assert suppressed(boxes, scores, classes).tolist() == [1, 2, 4]
    assert suppressed(boxes[:0], scores[:0], classes[:0]).tolist() == []
    assert box_iou(boxes[:1], boxes[3:4]) == 0.5


def test_answers_for_true_boxes():
    truth = Boxes(
        np.array([[0, 0, 10, 10], [0, 0, 10, 10], [20, 20, 30, 30]]), np.array([1, 2, 1]), np.array([0, 1, 0])
    )
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 9], [20, 20, 24, 24]])
    found = Boxes(boxes, np.array([1, 1, 2, 1]), np.array([0, 0, 0, 0]), np.array([0.6, 0.7, 0.2, 0.9]))
    answers = np.exp(matched_scores(truth, found, 2))
    first = np.array([0.3, 0.7, 0.2])
    assert np.allclose(answers[0], first / first.sum())
    assert np.allclose(answers[1:], np.array([1, 0.001, 0.001]) / 1.002)
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.eye(3)[found.classes] * found.scores[:, None])
    assert np.allclose(np.exp(matched(truth, boxes, log_probs, found.images)), answers)
