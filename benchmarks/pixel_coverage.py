"""How often do intervals of pixels' measures hold the truth: taken as independent, by image, and by the jackknife?

    python benchmarks/pixel_coverage.py [--replicates 400]

Planted: an image has its own shares of classes, its own share of right pixels (a beta law) and its own deviation of the
student at boundaries and inside, so pixels of an image go wrong together. The truth is that of 100,000 images. Prints a
Markdown table of the share of replicates whose nominal 95% interval holds it: of the mean IoU (pixels independent; by
image; mean ± t of `iou_by_image`, which studies use) and of the deviation at boundaries beyond that inside (pixels
independent; by image). A share near .95 over 400 has a standard error of .011.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from disobey.measures.inference.examples import estimates
from disobey.measures.segmentation import MEASURES, deviation_beyond, iou_by_image, mean_iou

IMAGES = (10, 20, 50, 100, 300)
PIXELS, CLASSES = 64, 4
SHARES = np.array([12.0, 2.0, 1.0, 1.0]) / 4  # of the Dirichlet law of an image's classes: three quarters are ground
RIGHT = (8.0, 1.0)  # of the beta law of an image's share of right pixels
SHIFT, SPREAD, NOISE = 0.3, 0.5, 1.0  # nats: at boundaries, between images, between pixels
IOU, BEYOND = MEASURES["mean_iou"], MEASURES["boundary_minus_interior"]


def drawn(images: int, seed: int) -> tuple[NDArray, ...]:
    """True class, predicted class, teacher's and student's log-odds, at a boundary and image of all pixels."""
    rng = np.random.default_rng([images, seed])
    image = np.repeat(np.arange(images), PIXELS)
    mix = rng.dirichlet(SHARES, images).cumsum(axis=1)
    labels = np.minimum((rng.random(len(image))[:, None] > mix[image]).sum(axis=1), CLASSES - 1)
    right = rng.random(len(image)) < rng.beta(*RIGHT, images)[image]
    predicted = np.where(right, labels, rng.integers(CLASSES, size=len(image)))
    at = (rng.random(len(image)) < rng.beta(2, 5, images)[image]).astype(float)
    own = SPREAD * rng.normal(size=(images, 2))
    x = rng.normal(2, 1, len(image))
    y = x - SHIFT * at + own[image, at.astype(int)] + NOISE * rng.normal(size=len(image))
    return labels, predicted, x, y, at, image


def row(images: int, replicates: int, truths: tuple[float, float]) -> str:
    """One line of the table."""
    hits = np.zeros(5)
    for seed in range(replicates):
        labels, predicted, x, y, at, image = drawn(images, seed)
        columns = [((labels, predicted, np.full(len(labels), CLASSES)), [IOU]), ((x, y, at), [BEYOND])]
        naive, clustered = (estimates(columns, resamples=200, codes=codes) for codes in (None, image))
        each = iou_by_image(labels, predicted, image, CLASSES)
        half = student.ppf(0.975, images - 1) * each.std(ddof=1) / np.sqrt(images)
        ways = [(e[IOU.name].low, e[IOU.name].high, truths[0]) for e in (naive, clustered)]
        ways += [(each.mean() - half, each.mean() + half, truths[0])]
        ways += [(e[BEYOND.name].low, e[BEYOND.name].high, truths[1]) for e in (naive, clustered)]
        hits += [low <= truth <= high for low, high, truth in ways]
    return f"| {images} | {' | '.join(f'{share:.3f}' for share in hits / replicates)} |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=400)
    options = parser.parse_args()
    labels, predicted, x, y, at, _ = drawn(100_000, 0)
    truths = float(mean_iou(labels, predicted, np.array([CLASSES]))), float(deviation_beyond(x, y, at))
    print("| images | mean IoU, naive | by image | jackknife | boundary − interior, naive | by image |")
    print("|---|---|---|---|---|---|")
    for images in IMAGES:
        print(row(images, options.replicates, truths), flush=True)


if __name__ == "__main__":
    main()
