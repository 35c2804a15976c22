"""Curves of other people's figures, to be drawn beside ours; nothing is computed from them.

Read off plots by eye: half a point to a point of error in accuracy, and as much again in what is derived from it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedPoint:
    """share: student examples over teacher examples (kappa). labels, distilled: test accuracy, shares of 1.

    equivalence: examples that labels would need for the distilled accuracy, over the examples used; None where the
    curve of labels does not reach it or it was not given; ``at_least`` where it is only a lower bound.
    """

    share: float
    labels: float
    distilled: float
    equivalence: float | None = None
    at_least: bool = False


@dataclass(frozen=True)
class PublishedCurve:
    """``error``: how far a reading may be off, in accuracy. teacher: its test accuracy."""

    text: str
    source: str
    teacher: float
    error: float
    points: tuple[PublishedPoint, ...]


CIFAR100 = PublishedCurve(
    text="CIFAR-100, ResNet-18 to ResNet-18, distillation at temperature 100, mean of 5 seeds, read off plots",
    source="arXiv 2510.15516",
    teacher=0.758,
    error=0.01,
    points=(
        PublishedPoint(0.024, 0.124, 0.222, 2.0),
        PublishedPoint(0.12, 0.354, 0.608, 3.06),
        PublishedPoint(0.24, 0.532, 0.699, 2.84),
        PublishedPoint(0.48, 0.656, 0.744, 2.0, at_least=True),
        PublishedPoint(0.96, 0.741, 0.765),
    ),
)
