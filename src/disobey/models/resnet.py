"""Residual networks for small images: ResNet-8, 14, 20, 56 and the other depths 6 n + 2.

With ``norm="layer"`` every batch normalization is a layer normalization over channels and positions (a group
normalization with one group): nothing to re-estimate where weights are averaged.

He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016, section 4.2. Where the size changes, the
shortcut is the paper's option A: every second pixel, and zeros for the new channels. It has no parameters, and the
published counts and accuracies belong to it (ResNet-20: 0.27M, ResNet-56: 0.85M).

Shapes: B batch, C classes, images (B, channels, H, W), fastest in `channels_last` memory.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from disobey.errors import refusal


class GlobalMean(nn.Module):
    """Mean over the positions of a map: ``(B, D, H, W)`` to ``(B, D)``."""

    def forward(self, x: Tensor) -> Tensor:
        """The mean of every channel."""
        return x.mean(dim=(2, 3))


Norm = Literal["batch", "layer"]


def normalization(norm: Norm, channels: int) -> nn.Module:
    """Batch normalization, or layer normalization over channels and positions."""
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(1, channels)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with normalization, added to the shortcut, then ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm = "batch"):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = normalization(norm, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = normalization(norm, outputs)
        self.stride, self.added = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """A map ``(B, inputs, H, W)`` to ``(B, outputs, H / stride, W / stride)``."""
        out = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.added:
            before = self.added // 2
            x = F.pad(x, (0, 0, 0, 0, before, self.added - before))
        return F.relu(out + x)


class ResNet(nn.Module):
    """Three stages of residual blocks: ``(B, c, H, W)`` to logits ``(B, C)``.

    The stages have ``width``, ``2 width`` and ``4 width`` channels and (``depth`` - 2) / 6 blocks each. Convolutions
    have He's normal initialization, as in the paper. Named features: ``stem``, ``stage1``, ``stage2``, ``stage3``,
    ``penultimate``.

    Args:
        shape: of one example, (channels, H, W).
        classes: C.
        depth: number of layers, 6 n + 2.
        width: channels of the first stage.
        norm: ``batch`` or ``layer``.

    Raises:
        Refusal: ``resnet-depth``.

    Example:
        >>> sum(p.numel() for p in ResNet((3, 32, 32), 10, depth=20).parameters())
        269722
    """

    def __init__(self, shape: tuple[int, ...], classes: int, *, depth: int = 20, width: int = 16, norm: Norm = "batch"):
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise refusal("resnet-depth", "6 n + 2 layers (8, 14, 20, 32, 44, 56, 110) for a ResNet", depth)
        blocks = (depth - 2) // 6
        self.stem = nn.Sequential(
            nn.Conv2d(shape[0], width, 3, padding=1, bias=False), normalization(norm, width), nn.ReLU()
        )
        self.stage1 = _stage(blocks, width, width, stride=1, norm=norm)
        self.stage2 = _stage(blocks, width, 2 * width, stride=2, norm=norm)
        self.stage3 = _stage(blocks, 2 * width, 4 * width, stride=2, norm=norm)
        self.pool = GlobalMean()
        self.head = nn.Linear(4 * width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        own = ("stem", "stage1", "stage2", "stage3")
        self.feature_names = {**dict(zip(own, own, strict=True)), "penultimate": "pool"}

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, C)`` of a batch."""
        return self.head(self.pool(self.stage3(self.stage2(self.stage1(self.stem(x))))))


def _stage(blocks: int, inputs: int, outputs: int, *, stride: int, norm: Norm) -> nn.Sequential:
    first = ResidualBlock(inputs, outputs, stride, norm)
    return nn.Sequential(first, *(ResidualBlock(outputs, outputs, 1, norm) for _ in range(blocks - 1)))


class LayerNormResNet(ResNet):
    """A `ResNet` with layer normalization."""

    def __init__(self, shape: tuple[int, ...], classes: int, *, depth: int = 20, width: int = 16):
        super().__init__(shape, classes, depth=depth, width=width, norm="layer")
