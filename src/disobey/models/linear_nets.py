"""Networks that theory can say something about: products of linear maps, and fixed random features.

Shapes: B batch, D features, C classes. Images are flattened in (channel, row, column) order.
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn


class LinearFromZero(nn.Module):
    """One linear layer whose weights start at zero, as in theory: ``(B, ...)`` to logits ``(B, C)``.

    A usual initialization lies on all directions of the inputs alike, and a student has to learn its teacher's.

    >>> LinearFromZero((4,), 2).head.weight.abs().sum().item()
    0.0
    """

    def __init__(self, shape: tuple[int, ...], classes: int):
        super().__init__()
        self.flatten = nn.Flatten()
        self.head = nn.Linear(math.prod(shape), classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.feature_names = {"penultimate": "flatten"}

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.flatten(x))


class DeepLinear(nn.Module):
    """``depth`` linear layers in all, nothing between them: ``(B, ...)`` to logits ``(B, C)``.

    One linear map in what it can express, another in how it learns: each layer's gradient passes through the others.
    Named features: ``layer1`` to ``layer{depth-1}``, and ``penultimate``, what the last layer sees.

    >>> sum(p.numel() for p in DeepLinear((4,), 3, width=2, depth=2).parameters())  # 4 * 2 + 2 + 2 * 3 + 3
    19
    """

    def __init__(self, shape: tuple[int, ...], classes: int, *, width: int = 32, depth: int = 2):
        super().__init__()
        sizes = [math.prod(shape)] + [width] * (depth - 1)
        self.flatten = nn.Flatten()
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in pairwise([*sizes, classes]))
        self.feature_names = {f"layer{i}": f"layers.{i - 1}" for i in range(1, depth)}
        self.feature_names["penultimate"] = f"layers.{depth - 2}" if depth > 1 else "flatten"

    def forward(self, x: Tensor) -> Tensor:
        x = self.flatten(x)
        for layer in self.layers:
            x = layer(x)
        return x


class RandomFeatures(nn.Module):
    """``width`` ReLU features that stay as they were drawn, and a trained linear layer on them: ``(B, ...)`` to ``(B, C)``.

    Convex in what is trained, as a linear model, with a spectrum that the first layer decides; the last layer starts at zero.
    Named features: ``hidden1`` and ``penultimate``, both what the last layer sees.

    >>> model = RandomFeatures((4,), 3, width=8)
    >>> [name for name, p in model.named_parameters() if p.requires_grad]
    ['head.weight', 'head.bias']
    """

    def __init__(self, shape: tuple[int, ...], classes: int, *, width: int = 256):
        super().__init__()
        self.flatten = nn.Flatten()
        self.hidden = nn.Sequential(nn.Linear(math.prod(shape), width).requires_grad_(False), nn.ReLU())
        self.head = nn.Linear(width, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.feature_names = {"hidden1": "hidden", "penultimate": "hidden"}

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(self.flatten(x)))
