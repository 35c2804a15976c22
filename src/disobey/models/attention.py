"""The transformer block of `vit`, `text` and `language`.

Shapes: B batch, T tokens, D features, H heads.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Literal["layer", "batch"]


def heads_for(width: int) -> int:
    """Number of attention heads: the largest of 8, 4, 2 and 1 that divides ``width`` and leaves 16 features per head.

    >>> [heads_for(width) for width in (16, 32, 48, 64, 192)]
    [1, 2, 2, 4, 8]
    """
    return next((heads for heads in (8, 4, 2) if width % heads == 0 and width // heads >= 16), 1)


class TokenBatchNorm(nn.BatchNorm1d):
    """Batch normalization of every feature over the examples and tokens of a batch: ``(B, T, D)`` to the same."""

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The tokens, each feature with mean 0 and variance 1 over the batch."""
        return super().forward(x.flatten(0, 1)).view(x.shape)


def token_norm(norm: Norm, width: int) -> nn.Module:
    """Layer normalization of every token, or batch normalization of every feature."""
    return nn.LayerNorm(width) if norm == "layer" else TokenBatchNorm(width)


class Block(nn.Module):
    """Self-attention and an MLP of 4 D units, each after a norm and with a residual: ``(B, T, D)`` to the same.

    This is the pre-norm order of Xiong et al., "On layer normalization in the transformer architecture", 2020, figure
    1b, which trains without warmup.

    Args:
        width: features D.
        dropout: probability of dropping a unit of either residual branch.
        causal: whether a token attends to itself and earlier ones only.
        norm: ``layer``, or ``batch``, which sees padding too and is meant for inputs without any.
    """

    def __init__(self, width: int, *, dropout: float = 0.0, causal: bool = False, norm: Norm = "layer"):
        super().__init__()
        self.heads, self.causal = heads_for(width), causal
        self.norm1 = token_norm(norm, width)
        self.joined = nn.Linear(width, 3 * width)  # queries, keys, values
        self.output = nn.Linear(width, width)
        self.norm2 = token_norm(norm, width)
        self.inner = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """One block. ``keep`` (B, T) bool: the tokens to attend to, at least one per row; None means all."""
        x = x + self.dropout(self.attend(self.norm1(x), keep))
        return x + self.dropout(self.inner(self.norm2(x)))

    def attend(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Multi-head self-attention of ``(B, T, D)`` over the tokens of ``keep``."""
        batch, tokens, width = x.shape
        split = self.joined(x).view(batch, tokens, 3, self.heads, width // self.heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)  # each (B, H, T, D / H)
        mask = None if keep is None else keep[:, None, None, :]
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=self.causal)
        return self.output(mixed.transpose(1, 2).reshape(batch, tokens, width))


class TokenMean(nn.Module):
    """Mean over tokens: ``(B, T, D)`` to ``(B, D)``."""

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """The mean over the tokens of ``keep`` (B, T) bool; over all tokens if it is None."""
        if keep is None:
            return x.mean(dim=1)
        share = keep.to(x.dtype)
        return torch.einsum("btd,bt->bd", x, share / share.sum(dim=1, keepdim=True))
