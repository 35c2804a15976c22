"""Small convolutional networks: the default for images, and LeNet-5.

Shapes: B batch, C classes, images (B, channels, H, W), fastest in `channels_last` memory.
"""

from __future__ import annotations

from torch import Tensor, nn

from disobey.errors import refusal

LARGEST_MAP = 6  # maps with longer sides are averaged to 4×4 before the linear layer


def halved(size: int, times: int = 1) -> int:
    """Length of a side after ``times`` convolutions of stride 2 with "same" padding.

    >>> halved(10, 2)
    3
    """
    for _ in range(times):
        size = (size + 1) // 2
    return size


def conv_block(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 2) -> nn.Sequential:
    """Convolution with "same" padding, batch normalization, ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class ConvNet(nn.Module):
    """Three strided convolutions with ``width``, ``2 width``, ``2 width`` channels: ``(B, c, H, W)`` to ``(B, C)``.

    Strides replace pooling: the first layer (5×5) works on a quarter of the pixels (on all of them for sides under 16).
    The last map (4×4 for 28×28 images) is flattened and not averaged, because the position of a stroke distinguishes
    digits. Of the designs that were compared at equal time on MNIST digits, this one was the most accurate at widths 8,
    16 and 32 (docs/guides/models.md). Named features: ``block1``, ``block2``, ``block3``, and ``penultimate``, the
    input of the last layer.

    Args:
        shape: of one example, (channels, H, W).
        classes: C.
        width: channels of the first convolution.
        dropout: probability of dropping a unit before the last layer.

    Example:
        >>> [sum(p.numel() for p in ConvNet((1, 28, 28), 10, width=w).parameters()) for w in (8, 16, 32)]
        [6306, 19514, 66666]
    """

    def __init__(self, shape: tuple[int, ...], classes: int, *, width: int = 16, dropout: float = 0.0):
        super().__init__()
        channels, *sides = shape
        stride = 2 if min(sides) >= 16 else 1
        sides = [halved(side, stride + 1) for side in sides]
        if large := max(sides) > LARGEST_MAP:
            sides = [min(side, 4) for side in sides]
        self.block1 = conv_block(channels, width, kernel=5, stride=stride)
        self.block2 = conv_block(width, 2 * width)
        self.block3 = conv_block(2 * width, 2 * width)
        self.shrink = nn.AdaptiveAvgPool2d((sides[0], sides[1])) if large else nn.Identity()
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width * sides[0] * sides[1], classes)
        self.feature_names = {"block1": "block1", "block2": "block2", "block3": "block3", "penultimate": "flatten"}

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, C)`` of a batch."""
        x = self.block3(self.block2(self.block1(x)))
        return self.head(self.dropout(self.flatten(self.shrink(x))))


class LeNet(nn.Module):
    """LeNet-5: ``(B, c, H, W)`` to ``(B, C)``, for images of at least 12×12 pixels.

    The form that is usual today: all maps connected, a linear output. 28×28 images are padded to 32×32 as in the
    original. Named features: ``block1``, ``block2``, ``hidden1``, ``penultimate``.

    Args:
        shape: of one example, (channels, H, W).
        classes: C.
        width: number of maps of the first layer (6 in the paper); all other layers keep their proportion to it.
        dropout: probability of dropping a unit before the last layer.

    Raises:
        Refusal: ``small-images``.

    Reference:
        LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998, section
        II.B.

    Example:
        >>> sum(p.numel() for p in LeNet((1, 28, 28), 10).parameters())
        61706
    """

    def __init__(self, shape: tuple[int, ...], classes: int, *, width: int = 6, dropout: float = 0.0):
        super().__init__()
        channels, *sides = shape
        padding = 2 if min(sides) < 32 else 0
        if min(sides) < 12:
            expected, got = "images of at least 12×12 pixels for 'lenet'", f"{sides[0]}×{sides[1]}"
            raise refusal("small-images", expected, got, "'cnn'")
        height, breadth = (((side + 2 * padding - 4) // 2 - 4) // 2 for side in sides)
        second, third, fourth = width * 16 // 6, width * 20, width * 14
        self.block1 = nn.Sequential(nn.Conv2d(channels, width, 5, padding=padding), nn.ReLU(), nn.MaxPool2d(2))
        self.block2 = nn.Sequential(nn.Conv2d(width, second, 5), nn.ReLU(), nn.MaxPool2d(2))
        self.flatten = nn.Flatten()
        self.hidden1 = nn.Sequential(nn.Linear(second * height * breadth, third), nn.ReLU())
        self.hidden2 = nn.Sequential(nn.Linear(third, fourth), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(fourth, classes)
        own = ("block1", "block2", "hidden1")
        self.feature_names = {**dict(zip(own, own, strict=True)), "penultimate": "hidden2"}

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, C)`` of a batch."""
        x = self.flatten(self.block2(self.block1(x)))
        return self.head(self.dropout(self.hidden2(self.hidden1(x))))
