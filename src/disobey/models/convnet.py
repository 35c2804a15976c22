"""The laboratory's default network for small images: three strided convolutions and a linear layer.

Shapes: B batch, C classes, images (B, channels, H, W), best in `channels_last` memory.
"""

from __future__ import annotations

from torch import Tensor, nn


def halved(size: int, times: int) -> int:
    """Length of a side after ``times`` convolutions of stride 2 with "same" padding.

    >>> halved(28, 3)
    4
    """
    for _ in range(times):
        size = (size + 1) // 2
    return size


def conv_block(inputs: int, outputs: int, *, stride: int = 2) -> nn.Sequential:
    """3×3 convolution, batch normalization, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class ConvNet(nn.Module):
    """Convolutions of ``width``, ``2 width``, ``2 width`` channels, each of stride 2: ``(B, c, H, W)`` to ``(B, C)``.

    Strides in place of pooling: the first layer, where most of a small network's work is, runs on a quarter of the
    pixels. The map that is left (4×4 for 28×28) is flattened, not averaged: position is half of what a digit is.
    Named features: ``block1`` to ``block3``.

    >>> [sum(p.numel() for p in ConvNet((1, 28, 28), 10, width=w).parameters()) for w in (8, 16, 32)]
    [6178, 19258, 66154]
    """

    def __init__(self, shape: tuple[int, ...], classes: int, *, width: int = 16, dropout: float = 0.0):
        super().__init__()
        channels, height, breadth = shape
        self.block1 = conv_block(channels, width)
        self.block2 = conv_block(width, 2 * width)
        self.block3 = conv_block(2 * width, 2 * width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width * halved(height, 3) * halved(breadth, 3), classes)
        self.feature_names = {name: name for name in ("block1", "block2", "block3")}

    def forward(self, x: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(x)))
        return self.head(self.dropout(x.flatten(1)))
