"""Values read off published figures, to be drawn beside ours; nothing is computed from them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedPoint:
    """One training-set size of a published curve.

    Attributes:
        share: κ, the student's examples over the teacher's.
        labels: test accuracy of a student of labels, a fraction.
        distilled: test accuracy of the distilled student.
        equivalence: examples that labels need for the accuracy ``distilled``, over those used; None if not given.
        at_least: whether ``equivalence`` is only a lower bound.
    """

    share: float
    labels: float
    distilled: float
    equivalence: float | None = None
    at_least: bool = False


READING_ERROR = 0.01  # of accuracy: the figures were read by eye
# CIFAR-100, ResNet-18 to ResNet-18, distillation at temperature 100, mean of 5 seeds (arXiv 2510.15516).
CIFAR100 = (
    PublishedPoint(0.024, 0.124, 0.222, 2.0),
    PublishedPoint(0.12, 0.354, 0.608, 3.06),
    PublishedPoint(0.24, 0.532, 0.699, 2.84),
    PublishedPoint(0.48, 0.656, 0.744, 2.0, at_least=True),
    PublishedPoint(0.96, 0.741, 0.765),
)
