"""Mean and standard deviation of the training inputs, without torch, which the command line need not import."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import Dataset


def moments(dataset: Dataset) -> tuple[NDArray, NDArray] | None:
    """Mean and standard deviation of the training inputs: per channel of images, per feature.

    Images count from 0 to 1. A channel or feature that never varies gets the deviation 1.

    Args:
        dataset: the data set.

    Returns:
        (mean, standard deviation), float32; None for texts.
    """
    inputs = dataset.train.inputs
    if dataset.kind == "text":
        return None
    if dataset.kind == "image":
        counts = np.stack([np.bincount(inputs[..., c].ravel(), minlength=256) for c in range(inputs.shape[-1])])
        values = (
            np.arange(256) / 255
        )  # exact moments from a histogram of 256 levels, without a float copy of the images
        mean = counts @ values / counts.sum(axis=1)
        deviation = np.sqrt(np.maximum(counts @ values**2 / counts.sum(axis=1) - mean**2, 0))
    else:
        mean, deviation = inputs.mean(axis=0, dtype=np.float64), inputs.std(axis=0, dtype=np.float64)
    deviation = np.where(deviation > 1e-8 * np.maximum(np.abs(mean), 1e-30), deviation, 1.0)
    return mean.astype(np.float32), deviation.astype(np.float32)
