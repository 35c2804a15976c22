"""Networks with a theory: products of linear maps, and fixed random features.

Shapes: B batch, D features, C classes. Images are flattened in (channel, row, column) order.
"""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn


class LinearFromZero(nn.Module):
    """One linear layer whose weights start at zero, as in theory: ``(B, ...)`` to logits ``(B, C)``.

    With a standard random initialization a student must also unlearn its initial function, which the theory does not
    model.

    Args:
        shape: of one example, (channels, H, W) or (D,).
        classes: C.

    Example:
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
        """Logits ``(B, C)`` of a batch."""
        return self.head(self.flatten(x))


class DeepLinear(nn.Module):
    """``depth`` linear layers with nothing between them: ``(B, ...)`` to logits ``(B, C)``.

    It can express the same functions as one linear layer but learns differently, because the gradient of each layer
    passes through the others. Named features: ``layer1`` to ``layer{depth-1}``, and ``penultimate``, the input of the
    last layer.

    Args:
        shape: of one example, (channels, H, W) or (D,).
        classes: C.
        width: units of every hidden layer.
        depth: number of linear layers, including the last.

    Example:
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
        """Logits ``(B, C)`` of a batch."""
        x = self.flatten(x)
        for layer in self.layers:
            x = layer(x)
        return x


class RandomFeatures(nn.Module):
    """Fixed random ReLU features and a trained linear layer on them: ``(B, ...)`` to logits ``(B, C)``.

    The training problem is convex, as for a linear model, and the fixed first layer determines its spectrum. The last
    layer starts at zero. Named features: ``hidden1`` and ``penultimate``, both the input of the last layer.

    Args:
        shape: of one example, (channels, H, W) or (D,).
        classes: C.
        width: number of random features.

    Example:
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
        """Logits ``(B, C)`` of a batch."""
        return self.head(self.hidden(self.flatten(x)))
