"""Arrays to tensors, once per run: normalized, resident, in the memory order the loop gathers from.

The scale comes from the whole training split of the data set, never from a run's subset or cross-fitting part: a
teacher and a student that saw different subsets are still asked about the same inputs.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .dataset import Dataset, Split


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


def inputs_tensor(dataset: Dataset, split: str | Split) -> Tensor:
    """The inputs of a split ("train", "validation", "test", or a `Split` of such data) as a model takes them.

    images: (N, channels, H, W) float32, per-channel mean 0 and deviation 1 over the training split, channels_last in
    memory (NHWC contiguous). texts: (N, L) int64. features: (N, D) float32, standardized.
    """
    inputs = (dataset.split(split) if isinstance(split, str) else split).inputs
    if dataset.kind == "text":
        return torch.tensor(inputs, dtype=torch.int64)
    mean, deviation = dataset.moments or moments(dataset)  # type: ignore[misc]
    if dataset.kind == "features":
        return torch.tensor((inputs - mean) / deviation, dtype=torch.float32)
    result = torch.empty(inputs.shape, dtype=torch.float32)
    result.copy_(torch.tensor(inputs))
    result.sub_(torch.tensor(mean * 255)).div_(torch.tensor(deviation * 255))
    return result.permute(0, 3, 1, 2)


def black(dataset: Dataset) -> Tensor:
    """What a pixel of value 0 becomes in `inputs_tensor`: (channels,) float32. What crops see beyond the border."""
    mean, deviation = dataset.moments or moments(dataset)  # type: ignore[misc]
    return torch.tensor(-mean / deviation, dtype=torch.float32)
