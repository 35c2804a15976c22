"""Mean IoU against a slow twin, its spread over images, a planted deviation at boundaries, and coverage by images."""

from dataclasses import replace

import numpy as np

from disobey.measures.inference.examples import over_examples
from disobey.measures.inference.measure import on_teacher
from disobey.measures.segmentation import MEASURES, iou_by_image, mean_iou
from disobey.records.predictions import Predictions


def slow_iou(labels, predicted, classes):
    found = []
    for kind in range(classes):
        union = ((labels == kind) | (predicted == kind)).sum()
        if union:
            found.append(((labels == kind) & (predicted == kind)).sum() / union)
    return np.mean(found)


def scenes(rng, images=60, pixels=30, classes=4, gap=0.0):
    """Pixels whose teacher and student depend on their image; the student is ``gap`` nats less sure at boundaries."""
    image = np.repeat(np.arange(images), pixels)
    labels = rng.integers(0, classes - 1, images)[image]
    labels = np.where(rng.random(len(labels)) < 0.4, rng.integers(0, classes, len(labels)), labels)
    level = rng.normal(1.5, 1, images)[image]
    edge = rng.random(len(labels)) < 0.3
    right = rng.normal(size=(len(labels), classes))
    right[np.arange(len(labels)), labels] += level
    shift = rng.normal(0, 0.5, images)[image] - gap * edge
    top = right.argmax(axis=1)
    student = right.copy()
    student[np.arange(len(labels)), top] += shift
    return Predictions.from_logits(right, student, labels, groups=np.where(edge, "boundary", "interior"), cluster=image)


def test_mean_iou_is_what_counting_gives_and_weights_are_repetitions():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 4, (2, 200))
    classes = np.full(200, 6)
    np.testing.assert_allclose(mean_iou(labels, predicted, classes), slow_iou(labels, predicted, 6))
    weights = rng.integers(0, 3, (5, 200))
    found = mean_iou(labels, predicted, classes, weights=weights)
    slow = [slow_iou(np.repeat(labels, w), np.repeat(predicted, w), 6) for w in weights]
    np.testing.assert_allclose(found, slow)


def test_what_images_add_has_the_mean_iou_as_mean_and_its_jackknife_as_spread():
    rng = np.random.default_rng(1)
    p = scenes(rng, images=200)
    predicted = p.student.argmax(axis=1)
    values = iou_by_image(p.labels, predicted, p.cluster, 4)
    np.testing.assert_allclose(values.mean(), slow_iou(p.labels, predicted, 4))
    error = values.std(ddof=1) / np.sqrt(len(values))
    interval = over_examples(MEASURES["mean_iou"], p)
    assert interval.over == "clusters"
    assert 0.7 < error / ((interval.high - interval.low) / 2 / 1.98) < 1.4


def test_a_deviation_planted_at_boundaries_is_found_there():
    p = scenes(np.random.default_rng(2), gap=0.8)
    beyond = over_examples(MEASURES["boundary_minus_interior"], p)
    assert -0.9 < beyond.low < beyond.high < -0.6
    inside = over_examples(MEASURES["interior_deviation"], p)
    assert inside.low < 0.1 < inside.high + 0.3
    none = over_examples(MEASURES["boundary_minus_interior"], scenes(np.random.default_rng(2)))
    assert none.low < 0 < none.high
    assert over_examples(on_teacher(MEASURES["mean_iou"]), p).value > 0.3


def test_intervals_over_images_cover_what_other_images_give():
    """A hundred drawings: intervals over images hold the truth about as often as they say, those over pixels do not."""
    rng = np.random.default_rng(3)
    measure, inside, alone = MEASURES["interior_deviation"], 0, 0
    for _ in range(100):
        p = scenes(rng, images=30, pixels=20)
        by_image, by_pixel = (over_examples(measure, q, resamples=200) for q in (p, replace(p, cluster=None)))
        inside += by_image.low <= 0 <= by_image.high
        alone += by_pixel.low <= 0 <= by_pixel.high
    assert inside >= 88
    assert alone <= 70
