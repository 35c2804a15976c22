"""Measures of classes of pixels: mean intersection over union, and deviation at boundaries against interiors.

A pixel is an example and its image the cluster of every interval (``Predictions.cluster``). Where a pixel lies is its
group, ``boundary`` or ``interior`` (``Predictions.groups``). Shapes: N pixels, C classes, K images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.measures.deviation import confidence
from disobey.measures.inference.measure import Columns, Measure
from disobey.records.predictions import Predictions

BOUNDARY, INTERIOR = "boundary", "interior"
CROWDED, FREE = "crowded", "free"  # of boxes: measures of places read them as boundary and interior


def cells(predictions: Predictions) -> Columns:
    """True and predicted class of every pixel, (N,) each, and the number of classes, repeated."""
    assert predictions.labels is not None
    predicted = predictions.student.argmax(axis=1)
    return predictions.labels, predicted, np.full(len(predicted), predictions.n_classes)


def class_iou(confusion: NDArray) -> NDArray:
    """Intersection over union of every class, (..., C), from confusions (..., C, C); NaN for a class that is nowhere.

    >>> class_iou(np.array([[3, 1], [0, 4]])).round(3)
    array([0.75, 0.8 ])
    """
    confusion = np.asarray(confusion, dtype=np.float64)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    union = confusion.sum(axis=-1) + confusion.sum(axis=-2) - hits
    return np.divide(hits, union, out=np.full(hits.shape, np.nan), where=union > 0)


def mean_iou(labels: NDArray, predicted: NDArray, classes: NDArray, *, weights: NDArray | None = None) -> NDArray:
    """Mean over the classes that occur of intersection over union, (...) for weights (..., N).

    >>> mean_iou(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), np.array([2])).round(3)
    np.float64(0.583)
    """
    count = int(np.ravel(classes)[0])
    cell = (labels * count + predicted).ravel()
    rows = np.ones((1, len(cell))) if weights is None else np.atleast_2d(weights)
    confusion = np.stack([np.bincount(cell, row, minlength=count**2) for row in rows]).reshape(-1, count, count)
    found = class_iou(confusion)
    known = np.isfinite(found)
    means = np.where(known, found, 0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
    return means.reshape(() if weights is None else np.shape(weights)[:-1])


def iou_by_image(labels: NDArray, predicted: NDArray, images: NDArray, classes: int) -> NDArray:
    """What each image adds to the mean IoU of all, (K,): their mean is the mean IoU, their spread its error's.

    The mean IoU plus its influence function (the infinitesimal jackknife over images).

    Args:
        labels: (N,) true classes.
        predicted: (N,) classes.
        images: (N,) the image of each pixel.
        classes: C.

    Example:
        >>> values = iou_by_image(np.array([0, 1, 0, 1]), np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1]), 2)
        >>> values.mean().round(3), values.round(3)
        (np.float64(0.583), array([0.944, 0.222]))
    """
    code = np.unique(images, return_inverse=True)[1]
    k = int(code.max()) + 1
    cell = (code * classes + labels) * classes + predicted
    each = np.bincount(cell, minlength=k * classes**2).reshape(k, classes, classes).astype(np.float64)
    hits = np.diagonal(each, axis1=1, axis2=2)
    union = each.sum(axis=2) + each.sum(axis=1) - hits
    known = union.sum(axis=0) > 0
    iou = hits.sum(axis=0)[known] / union.sum(axis=0)[known]
    influence = (hits[:, known] - iou * union[:, known]) / union.sum(axis=0)[known]
    return iou.mean() + k * influence.mean(axis=1)


def _places(predictions: Predictions) -> Columns:
    x, y = confidence(predictions)[:2]
    assert predictions.groups is not None
    return x, y, np.isin(predictions.groups, (BOUNDARY, CROWDED)).astype(np.float64)


def deviation_at(x: NDArray, y: NDArray, at: NDArray, *, weights: NDArray | None = None) -> NDArray:
    """Mean of y − x where ``at`` is 1, nats."""
    weights = np.ones(len(x)) if weights is None else weights
    return np.asarray((weights * at) @ (y - x) / (weights * at).sum(axis=-1))


def deviation_beyond(x: NDArray, y: NDArray, at: NDArray, *, weights: NDArray | None = None) -> NDArray:
    """Mean of y − x at boundaries minus that in interiors, nats."""
    return deviation_at(x, y, at, weights=weights) - deviation_at(x, y, 1 - at, weights=weights)


def _deviation_inside(x: NDArray, y: NDArray, at: NDArray, *, weights: NDArray | None = None) -> NDArray:
    return deviation_at(x, y, 1 - at, weights=weights)


def _finite(x: NDArray, y: NDArray, _at: NDArray) -> NDArray:
    return np.isfinite(x) & np.isfinite(y)


_MEASURES = (
    Measure("mean_iou", cells, mean_iou, needs=("labels",), about="mean intersection over union of the student"),
    Measure(
        "boundary_deviation",
        _places,
        deviation_at,
        where=_finite,
        needs=("groups",),
        about="mean of student minus teacher log-odds at boundaries between classes, nats",
    ),
    Measure(
        "interior_deviation",
        _places,
        _deviation_inside,
        where=_finite,
        needs=("groups",),
        about="mean of student minus teacher log-odds away from boundaries, nats",
    ),
    Measure(
        "boundary_minus_interior",
        _places,
        deviation_beyond,
        where=_finite,
        needs=("groups",),
        about="mean of student minus teacher log-odds, boundaries minus interiors, nats",
    ),
)
MEASURES: dict[str, Measure] = {measure.name: measure for measure in _MEASURES}
