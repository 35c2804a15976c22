"""How one example is named and shown: its classes in words, its image as pixels."""

from __future__ import annotations

from typing import Any, SupportsInt

import numpy as np
from numpy.typing import NDArray

from disobey.errors import printable
from disobey.records.predictions import Predictions

SIDE = 256  # pixels of an image's side that are kept


def class_word(predictions: Predictions, number: SupportsInt) -> str:
    """A class by its name where the predictions know names, else its number."""
    names = predictions.class_names
    return str(int(number)) if names is None else printable(names[int(number)], 100)


def kinds(predictions: Predictions, right: NDArray) -> NDArray:
    """(N,) words: whether the teacher is right, or the example was trained on a wrong label, or nobody knows."""
    if predictions.labels is None:
        return np.full(len(predictions), "unknown", dtype=object)
    words = np.where(right, "right", "wrong").astype(object)
    if predictions.mislabelled is not None:
        words[np.asarray(predictions.mislabelled, dtype=bool)] = "trained on a wrong label"
    return words


def most_likely(predictions: Predictions, log_probs: NDArray, count: int = 3) -> tuple[tuple[str, float], ...]:
    """The most likely classes of one row (C,), with their probabilities, likeliest first."""
    best = np.argsort(-np.asarray(log_probs), kind="stable")[:count]
    return tuple((class_word(predictions, c), round(float(np.exp(float(log_probs[c]))), 4)) for c in best)


def pixels(image: NDArray, side: int = SIDE) -> tuple[Any, ...]:
    """Nested rows of whole numbers, 0 to 255, for an `Exhibit`.

    Args:
        image: (H, W), (H, W, 1), (H, W, 3), (1, H, W) or (3, H, W). Values outside of 0 to 255, or all within 0 to 1,
            are taken for normalized ones and stretched to the full range.
        side: pixels of height and width that are kept.
    """
    image = np.asarray(image, dtype=np.float64)
    if image.ndim == 3 and image.shape[-1] not in (1, 3) and image.shape[0] in (1, 3):
        image = np.moveaxis(image, 0, -1)
    image = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
    low, high = np.nanmin(image), np.nanmax(image)
    if low < 0 or high <= 1 or high > 255:
        image = 255 * (image - low) / max(high - low, 1e-12)
    return _nested(np.nan_to_num(image[:side, :side]).astype(int))


def _nested(array: NDArray) -> tuple[Any, ...]:
    return tuple(_nested(part) for part in array) if array.ndim > 1 else tuple(int(v) for v in array)
