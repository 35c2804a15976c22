"""MobileNet-v2 for small images.

Sandler, Howard, Zhu, Zhmoginov and Chen, "MobileNetV2: inverted residuals and linear bottlenecks", 2018, table 2. The
strides of the stem and of the second stage are 1 instead of 2, so that 32×32 images end as 4×4 maps and not as 1×1.

Shapes: B batch, C classes, images (B, channels, H, W), fastest in `channels_last` memory.
"""

from __future__ import annotations

from torch import Tensor, nn

from disobey.models.resnet import GlobalMean

# expansion, channels, blocks, stride of the first block
STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def scaled(channels: int, width: int) -> int:
    """Number of channels for a stem of ``width`` (32 in the paper).

    It is the nearest multiple of 8, at least 8, and at most a tenth below the exact number.

    >>> [scaled(24, width) for width in (32, 16, 8)]
    [24, 16, 8]
    """
    exact = channels * width / 32
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * exact else rounded + 8


def conv_norm(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution without bias and with "same" padding, then batch normalization."""
    padding = kernel // 2
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


class InvertedResidual(nn.Module):
    """Expands by a 1×1 convolution, filters each channel, projects back linearly; adds the input if the sizes agree."""

    def __init__(self, inputs: int, outputs: int, *, expansion: int, stride: int):
        super().__init__()
        inner = inputs * expansion
        layers = [*conv_norm(inputs, inner, 1), nn.ReLU6()] if expansion > 1 else []
        layers += [*conv_norm(inner, inner, 3, stride=stride, groups=inner), nn.ReLU6(), *conv_norm(inner, outputs, 1)]
        self.layers = nn.Sequential(*layers)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """A map ``(B, inputs, H, W)`` to a map with ``outputs`` channels."""
        return x + self.layers(x) if self.adds else self.layers(x)


class MobileNetV2(nn.Module):
    """MobileNet-v2: ``(B, c, H, W)`` to logits ``(B, C)``.

    Named features: ``stem``, ``stage1`` to ``stage7``, ``penultimate``.

    Args:
        shape: of one example, (channels, H, W).
        classes: C.
        width: channels of the stem (32 in the paper); all other layers keep their proportion to it.
        dropout: probability of dropping a unit before the last layer.

    Example:
        >>> sum(p.numel() for p in MobileNetV2((3, 32, 32), 10).parameters())
        2236682
    """

    def __init__(self, shape: tuple[int, ...], classes: int, *, width: int = 32, dropout: float = 0.0):
        super().__init__()
        channels = scaled(32, width)
        self.stem = nn.Sequential(*conv_norm(shape[0], channels, 3), nn.ReLU6())
        self.stages = nn.ModuleDict()
        for stage, (expansion, wanted, blocks, stride) in enumerate(STAGES, start=1):
            outputs, layers = scaled(wanted, width), []
            for block in range(blocks):
                layers.append(
                    InvertedResidual(channels, outputs, expansion=expansion, stride=stride if block == 0 else 1)
                )
                channels = outputs
            self.stages[f"stage{stage}"] = nn.Sequential(*layers)
        last = max(1280, scaled(1280, width))  # thinner networks keep the width of the last layer, as in the paper
        self.last = nn.Sequential(*conv_norm(channels, last, 1), nn.ReLU6())
        self.pool = GlobalMean()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(last, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        self.feature_names = {"stem": "stem", **{name: f"stages.{name}" for name in self.stages}, "penultimate": "pool"}

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, C)`` of a batch."""
        x = self.stem(x)
        for stage in self.stages.values():
            x = stage(x)
        return self.head(self.dropout(self.pool(self.last(x))))
