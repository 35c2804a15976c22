"""A tiny detector: for every cell of a picture its class and a box. Shapes: B batch, C classes without "nothing"."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, softplus

from disobey.models.unet import Block

STRIDE = 4  # pixels of a cell's side
SIDES = 4  # numbers of a box


class Detector(nn.Module):
    """The way down of a small U-Net and one step up: three poolings, cells of 4 x 4 pixels; any H and W from 8.

    Args:
        shape: of a picture, (channels, H, W).
        classes: C + 1; class 0 is "nothing".
        width: channels of the first map, a multiple of 4; twice and four times as many below.

    Example:
        >>> net = Detector((3, 32, 32), 6)
        >>> net(torch.zeros(2, 3, 32, 32)).shape, sum(p.numel() for p in net.parameters())
        (torch.Size([2, 10, 8, 8]), 45810)
    """

    def __init__(self, shape: tuple[int, ...], classes: int, width: int = 8):
        super().__init__()
        first, second, third = width, 2 * width, 4 * width
        self.classes = classes
        self.top = Block(shape[0], first)
        self.middle = nn.Sequential(Block(first, second), Block(second, second))
        self.cells = nn.Sequential(Block(second, third), Block(third, third))
        self.bottom = Block(third, third)
        self.up = Block(2 * third, third)
        self.head = nn.Conv2d(third, classes + SIDES, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (B, channels, H, W) to (B, C + 1 + 4, H/4, W/4).

        Of each cell the logits of the classes, then how far left, up, right and down of its centre the sides of the
        box lie, in cells and above 0.
        """
        cells = self.cells(max_pool2d(self.middle(max_pool2d(self.top(x), 2)), 2))
        bottom = self.bottom(max_pool2d(cells, 2))
        maps = self.head(self.up(torch.cat([interpolate(bottom, cells.shape[-2:]), cells], 1)))
        return torch.cat([maps[:, : self.classes], softplus(maps[:, self.classes :])], 1)
