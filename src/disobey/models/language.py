"""A small language model: transformer blocks in which every token sees itself and earlier ones.

Shapes: B batch, T tokens, D features, C pieces.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from disobey.models.attention import Block


class CausalTransformer(nn.Module):
    """Token ids ``(B, T)`` to logits of the next token ``(B, T, C)``; the readout is the embedding itself (tied).

    Args:
        vocabulary: number of token ids C.
        length: most tokens T.
        width: features D.
        depth: number of blocks.

    Example:
        >>> model = CausalTransformer(96, 16, width=32, depth=1)
        >>> model(torch.zeros(2, 16, dtype=torch.long)).shape, sum(p.numel() for p in model.parameters())
        (torch.Size([2, 16, 96]), 16448)
    """

    def __init__(self, vocabulary: int, length: int, *, width: int = 48, depth: int = 2):
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(vocabulary, width))
        self.places = nn.Parameter(torch.empty(length, width))
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.layers = nn.ModuleList(Block(width, causal=True) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        for table in (self.tokens, self.places):
            nn.init.normal_(table, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits ``(B, T, C)``."""
        x = nn.functional.embedding(tokens, self.tokens) + self.places[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return nn.functional.linear(self.norm(x), self.tokens, self.bias)
