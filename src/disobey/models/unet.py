"""A tiny U-Net: classes of pixels from a picture. Shapes: B batch, C classes, H x W pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, relu

GROUPS = 4  # of channels that are normalized together


class Block(nn.Module):
    """A 3x3 convolution, group normalization and ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(GROUPS, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W)."""
        return relu(self.norm(self.convolution(x)))


class UNet(nn.Module):
    """Two poolings down, two steps up with the maps of the way down beside them; any H and W from 4.

    Args:
        shape: of a picture, (channels, H, W).
        classes: C.
        width: channels of the first map, a multiple of 4; twice and four times as many below.

    Example:
        >>> net = UNet((3, 32, 32), 6)
        >>> net(torch.zeros(2, 3, 32, 32)).shape, sum(p.numel() for p in net.parameters())
        (torch.Size([2, 6, 32, 32]), 27038)
    """

    def __init__(self, shape: tuple[int, ...], classes: int, width: int = 8):
        super().__init__()
        first, second, third = width, 2 * width, 4 * width
        self.top = nn.Sequential(Block(shape[0], first), Block(first, first))
        self.middle = nn.Sequential(Block(first, second), Block(second, second))
        self.bottom = nn.Sequential(Block(second, third), Block(third, third))
        self.to_middle = Block(third + second, second)
        self.to_top = Block(second + first, first)
        self.head = nn.Conv2d(first, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (B, channels, H, W) to logits (B, C, H, W)."""
        top = self.top(x)
        middle = self.middle(max_pool2d(top, 2))
        bottom = self.bottom(max_pool2d(middle, 2))
        middle = self.to_middle(torch.cat([interpolate(bottom, middle.shape[-2:]), middle], 1))
        return self.head(self.to_top(torch.cat([interpolate(middle, top.shape[-2:]), top], 1)))
