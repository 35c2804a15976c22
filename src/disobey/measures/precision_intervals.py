"""Average precision of boxes with its interval over images.

On few images average precision lies above what more images of the same kind would give: precision never rises along
the recalls because each is the best of all that follow, and the best of few is too good. The interval reaches further
down by what halves of the images show of it. Differences of two models on the same images have little of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from disobey.measures.boxes import Boxes
from disobey.measures.detection import THRESHOLDS, Ranked, by_image, ranked_by_class
from disobey.measures.inference.clusters import FEWEST
from disobey.measures.inference.examples import mean_of
from disobey.records.results import Estimate

SPLITS = 5  # into halves
TIMES = 1 / (2**0.5 - 1)  # the whole's excess in units of what halves have more: it falls as 1 / sqrt(images)


def ap_over_images(
    truth: Boxes,
    found: Boxes,
    images: int,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """COCO's average precision with its interval over images.

    Args:
        truth: K boxes whose ``images`` are rows below ``images``.
        found: M boxes, likewise, with scores.
        images: how many images there are, with boxes or without.
        thresholds: T of them.
        level: of the interval.
        seed: of the halves.

    Returns:
        The average precision; no interval for fewer than five images.

    Reference:
        Jaeckel 1972 (the infinitesimal jackknife). Coverage: benchmarks/average_precision.py.
    """
    classes = list(ranked_by_class(truth, found, thresholds))
    plain = mean_of("ap", by_image(classes, images), level, np.arange(images))
    if images < 2 * FEWEST:
        return plain
    excess = max(_halves(classes, images, seed) - plain.value, 0.0)
    return replace(plain, low=max(plain.low - TIMES * excess, 0.0), high=min(plain.high, 1.0))


def _halves(classes: Sequence[Ranked], images: int, seed: int) -> float:
    """The mean average precision of random halves of the images."""
    rng, values = np.random.default_rng(seed), []
    for _ in range(SPLITS):
        half = rng.permutation(images) < images // 2
        for part in (half, ~half):
            each = [one.on(part) for one in classes]
            values += [np.mean([one.average_precision() for one in each if len(one.objects)] or [np.nan])]
    return float(np.nanmean(values)) if np.isfinite(values).any() else np.nan
