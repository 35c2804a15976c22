"""Arrays to tensors, once per run: normalized, on one device, in the memory order in which training gathers them.

The scale comes from the whole training split of the data set, never from a run's subset or cross-fitting part. So a
teacher and a student with different subsets get the same inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from disobey.data.dataset import Dataset, Split
from disobey.data.moments import moments


def inputs_tensor(dataset: Dataset, split: str | Split) -> Tensor:
    """The inputs of a split as a model takes them.

    Args:
        dataset: the data set.
        split: ``train``, ``validation``, ``test``, or a `Split` of such data.

    Returns:
        Images (N, channels, H, W) float32 with mean 0 and deviation 1 per channel over the training split,
        channels_last in memory; texts (N, L) int64; features (N, D) float32, standardized.
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
    """What a pixel of value 0 becomes in `inputs_tensor`, (channels,) float32: the value beyond the border of crops."""
    mean, deviation = dataset.moments or moments(dataset)  # type: ignore[misc]
    return torch.tensor(-mean / deviation, dtype=torch.float32)
