"""Mean and deviation of the training inputs, without torch: the command line reads data sets that it does not train on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from disobey.data.dataset import Dataset


def moments(dataset: Dataset) -> tuple[NDArray, NDArray] | None:
    """(mean, standard deviation) of the training inputs, float32: per channel of images, per feature; None for texts.

    Images count from 0 to 1. Something that never varies gets the deviation 1.
    """
    inputs = dataset.train.inputs
    if dataset.kind == "text":
        return None
    if dataset.kind == "image":
        counts = np.stack([np.bincount(inputs[..., c].ravel(), minlength=256) for c in range(inputs.shape[-1])])
        values = np.arange(256) / 255  # 256 levels: exact moments from a histogram, no float copy of the images
        mean = counts @ values / counts.sum(axis=1)
        deviation = np.sqrt(np.maximum(counts @ values**2 / counts.sum(axis=1) - mean**2, 0))
    else:
        mean, deviation = inputs.mean(axis=0, dtype=np.float64), inputs.std(axis=0, dtype=np.float64)
    deviation = np.where(deviation > 1e-8 * np.maximum(np.abs(mean), 1e-30), deviation, 1.0)
    return mean.astype(np.float32), deviation.astype(np.float32)
