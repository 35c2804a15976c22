"""Heads for students that learn more outputs than there are classes.

Shapes: B batch, D features, C classes, K auxiliary outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from disobey.errors import refusal


class ProjectionHead(nn.Module):
    """Three layers with GELU, an l2-normalized bottleneck and a wide last layer: ``(B, D)`` to ``(B, K)``.

    The head of DINO (Caron et al. 2021) that Sarnthein et al. (2023), arXiv:2302.12091, put on their encoders. The
    paper's text has weight normalization on the last layer, its public code left it without: both are here. Weights are
    drawn from N(0, 0.905² / fan-in), which is the published 0.02 at the published width of 2,048.

    Args:
        features: D.
        outputs: K.
        hidden: width of the two hidden layers.
        bottleneck: width of the normalized layer.
        weight_norm: whether the rows of the last layer have unit length.

    Example:
        >>> head = ProjectionHead(8, 32, hidden=16, bottleneck=4, weight_norm=True)
        >>> head(torch.zeros(2, 8)).shape
        torch.Size([2, 32])
    """

    def __init__(
        self, features: int, outputs: int, *, hidden: int = 256, bottleneck: int = 64, weight_norm: bool = False
    ):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.last = nn.Linear(bottleneck, outputs, bias=False)
        self.weight_norm = weight_norm
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.905 * module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs ``(B, K)`` of features ``(B, D)``."""
        weight = F.normalize(self.last.weight, dim=1) if self.weight_norm else self.last.weight
        return F.linear(F.normalize(self.layers(x), dim=-1), weight)


class TwoHeads(nn.Module):
    """A network's encoder with two heads: ``(B, ...)`` to ``(B, C + K)``, class logits first.

    The parts are called ``encoder``, ``classes`` and ``auxiliary``, so that what a student shares with its teacher can
    be said part by part (`disobey.models.near.near`).

    Args:
        network: a classifier whose last layer is a linear layer called ``head``.
        auxiliary: the second head, from the encoder's features; a number makes a linear one with so many outputs.

    Raises:
        Refusal: ``no-head``.

    Example:
        >>> from disobey.models.mlp import MLP
        >>> TwoHeads(MLP((4,), 10, width=8), 3)(torch.zeros(2, 4)).shape
        torch.Size([2, 13])
    """

    def __init__(self, network: nn.Module, auxiliary: nn.Module | int):
        super().__init__()
        head = getattr(network, "head", None)
        if not isinstance(head, nn.Linear):
            raise refusal("no-head", "a network whose last layer is a linear layer called head", type(network).__name__)
        network.head = nn.Identity()
        self.encoder, self.classes = network, head
        self.auxiliary = nn.Linear(head.in_features, auxiliary) if isinstance(auxiliary, int) else auxiliary
        self.feature_names = {"penultimate": "encoder"}

    def forward(self, x: Tensor) -> Tensor:
        """Both heads' outputs side by side."""
        features = self.encoder(x)
        return torch.cat([self.classes(features), self.auxiliary(features)], dim=-1)
