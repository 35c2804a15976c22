"""A small vision transformer.

Dosovitskiy et al., "An image is worth 16x16 words", 2021, with the mean over tokens instead of a class token and fixed
sine-cosine positions (Beyer, Zhai and Kolesnikov, "Better plain ViT baselines for ImageNet-1k", 2022), which learn
faster from little data.

Shapes: B batch, T tokens, D features, C classes, images (B, channels, H, W).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from disobey.errors import refusal
from disobey.models.attention import Block, Norm, TokenMean, token_norm


def patch_size(height: int, breadth: int) -> int:
    """Side of a patch: the largest of 16, 7, 4, 2 and 1 that divides both sides and leaves at least 16 tokens.

    >>> [patch_size(side, side) for side in (8, 28, 32, 224)]
    [2, 7, 4, 16]
    """
    fitting = (p for p in (16, 7, 4, 2) if not (height % p or breadth % p) and height * breadth >= 16 * p * p)
    return next(fitting, 1)


def positions(rows: int, columns: int, width: int) -> Tensor:
    """Position embeddings ``(rows * columns, width)``: sine and cosine of row and column at ``width // 4`` rates."""
    quarter = width // 4
    frequencies = 10_000.0 ** -(torch.arange(quarter) / max(quarter - 1, 1))
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [place.flatten()[:, None] * frequencies for place in (y, x)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)


class ViT(nn.Module):
    """Transformer blocks over image patches: ``(B, c, H, W)`` to logits ``(B, C)``.

    Named features: ``patches``, ``layer1`` to ``layer{depth}``, ``penultimate``.

    Args:
        shape: of one example, (channels, H, W).
        classes: C.
        width: features D, a multiple of 4.
        depth: number of blocks.
        dropout: probability of dropping a unit in the blocks.
        norm: ``layer`` or ``batch`` (Yao et al., "Leveraging batch normalization for vision transformers", 2021).

    Raises:
        Refusal: ``vit-width``.

    Example:
        >>> sum(p.numel() for p in ViT((3, 32, 32), 10).parameters())
        203850
    """

    positions: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        width: int = 64,
        depth: int = 4,
        dropout: float = 0.0,
        norm: Norm = "layer",
    ):
        super().__init__()
        if width % 4:
            raise refusal("vit-width", "a width that is a multiple of 4 (sines and cosines of two axes)", width)
        channels, height, breadth = shape
        side = patch_size(height, breadth)
        self.patches = nn.Conv2d(channels, width, side, stride=side)
        self.register_buffer("positions", positions(height // side, breadth // side, width), persistent=False)
        self.layers = nn.ModuleDict(
            {f"layer{i}": Block(width, dropout=dropout, norm=norm) for i in range(1, depth + 1)}
        )
        self.norm = token_norm(norm, width)
        self.pool = TokenMean()
        self.head = nn.Linear(width, classes)
        names = {name: f"layers.{name}" for name in self.layers}
        self.feature_names = {"patches": "patches", **names, "penultimate": "pool"}

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, C)`` of a batch."""
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        for layer in self.layers.values():
            x = layer(x)
        return self.head(self.pool(self.norm(x)))


class BatchNormViT(ViT):
    """A `ViT` with batch normalization."""

    def __init__(self, shape: tuple[int, ...], classes: int, *, width: int = 64, depth: int = 4, dropout: float = 0.0):
        super().__init__(shape, classes, width=width, depth=depth, dropout=dropout, norm="batch")
