"""Multilayer perceptrons, and the linear model as the one without hidden layers.

Shapes: B batch, D features, C classes. Images are flattened in (channel, row, column) order for every memory format, so
one set of weights has the same meaning for `channels_last` inputs.
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn


class MLP(nn.Module):
    """``depth`` hidden layers of ``width`` ReLU units, then a linear layer: ``(B, ...)`` to logits ``(B, C)``.

    Weights have torch's default initialization. Named features: ``hidden1`` to ``hidden{depth}`` (after the ReLU), and
    ``penultimate``, the input of the last layer.

    Args:
        shape: of one example, (channels, H, W) or (D,).
        classes: C.
        width: units per hidden layer.
        depth: number of hidden layers; 0 is the linear model.
        dropout: probability of dropping a unit after each hidden layer.

    Example:
        >>> sum(p.numel() for p in MLP((1, 28, 28), 10, width=32, depth=1).parameters())  # 784 * 32 + 32 + 32 * 10 + 10
        25450
    """

    def __init__(self, shape: tuple[int, ...], classes: int, *, width: int = 128, depth: int = 2, dropout: float = 0.0):
        super().__init__()
        sizes = [math.prod(shape)] + [width] * depth
        self.flatten = nn.Flatten()
        self.hidden = nn.ModuleDict()
        for layer, (inputs, outputs) in enumerate(pairwise(sizes), start=1):
            # Dropout is a module of its own, so that probes read the units before dropout.
            self.hidden[f"hidden{layer}"] = nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(sizes[-1], classes)
        self.feature_names = {name: f"hidden.{name}" for name in self.hidden}
        self.feature_names["penultimate"] = f"hidden.hidden{depth}" if depth else "flatten"

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, C)`` of a batch."""
        x = self.flatten(x)
        for block in self.hidden.values():
            x = self.dropout(block(x))
        return self.head(x)
