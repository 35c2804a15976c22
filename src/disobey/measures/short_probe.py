"""The linear probe of the random-teacher paper: a few epochs of AdamW on raw features.

It is under-trained and depends on the features' scale, so a student whose features merely grew looks better. It is here
to say how much of a published gain is due to that; conclusions belong to `probes.logistic_probe`.
Shapes: N training and M test examples, D features.
"""

from __future__ import annotations

import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F


def short_probe(
    train: NDArray, labels: NDArray, test: NDArray, *, epochs: int = 10, batch: int = 256, seed: int = 0
) -> NDArray:
    """Classes that a briefly trained linear layer predicts.

    AdamW with PyTorch's defaults, as published (arXiv:2302.12091, appendix): neither standardized nor converged.

    Args:
        train: (N, D).
        labels: (N,) classes from 0.
        test: (M, D).
        epochs: passes over the training examples.
        batch: examples a step.
        seed: of the first weights and the order.

    Returns:
        (M,) classes.

    Example:
        >>> import numpy as np
        >>> x = np.repeat([[1.0, 0.0], [0.0, 1.0]], 600, axis=0)
        >>> short_probe(x, np.repeat([0, 1], 600), x[::600], epochs=200).tolist()
        [0, 1]
    """
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.as_tensor(train).float(), torch.as_tensor(labels)
    layer = nn.Linear(x.shape[1], int(y.max()) + 1)
    bound = x.shape[1] ** -0.5
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
    optimizer = torch.optim.AdamW(layer.parameters())
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(batch):
            loss = F.cross_entropy(layer(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.inference_mode():
        return layer(torch.as_tensor(test).float()).argmax(dim=-1).numpy()
