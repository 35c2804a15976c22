"""A small VGG without batch normalization: no question of statistics, and a width that can be scanned alone.

Shapes: B batch, C classes, images (B, channels, H, W), fastest in `channels_last` memory.
"""

from __future__ import annotations

from torch import Tensor, nn

from disobey.models.resnet import GlobalMean

FACTORS = (1, 2, 4, 8)  # of the width, stage by stage


class VGGMini(nn.Module):
    """Four stages of 3×3 convolutions with ReLU, and 2×2 pooling: ``(B, c, H, W)`` to logits ``(B, C)``.

    The stages have ``width`` times 1, 2, 4 and 8 channels. Sides below two pixels are not pooled; the last map is
    averaged, so that features have 8 ``width`` entries whatever the size of the images. Convolutions have He's normal
    initialization, biases start at 0. Named features: ``stage1`` to ``stage4``, ``penultimate``.

    Args:
        shape: of one example, (channels, H, W).
        classes: C.
        width: channels of the first stage; 64 has 1.55 million parameters.
        depth: convolutions of every stage.

    Example:
        >>> [sum(p.numel() for p in VGGMini((3, 16, 16), 10, width=w).parameters()) for w in (16, 32, 64)]
        [98730, 390986, 1556106]
    """

    def __init__(self, shape: tuple[int, ...], classes: int, *, width: int = 16, depth: int = 1):
        super().__init__()
        channels, side = shape[0], min(shape[1:])
        stages = []
        for factor in FACTORS:
            layers: list[nn.Module] = []
            for _ in range(depth):
                layers += [nn.Conv2d(channels, factor * width, 3, padding=1), nn.ReLU()]
                channels = factor * width
            if side >= 2:
                layers.append(nn.MaxPool2d(2))
                side //= 2
            stages.append(nn.Sequential(*layers))
        self.stage1, self.stage2, self.stage3, self.stage4 = stages
        self.pool = GlobalMean()
        self.head = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        self.feature_names = {name: name for name in ("stage1", "stage2", "stage3", "stage4")} | {"penultimate": "pool"}

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, C)`` of a batch."""
        return self.head(self.pool(self.stage4(self.stage3(self.stage2(self.stage1(x))))))
