"""Average precision: how fast beside pycocotools, and how often its interval over images holds the truth.

    python benchmarks/average_precision.py [--replicates 400] [--rounds 7]

Planted: two detectors on the same images, whose scores share what is hard about an image and an object. The truth is
their average precision on 20,000 other images. Prints Markdown: seconds of both, interleaved (medians; pycocotools
without its printing), then for 30, 100 and 300 images the share of replicates whose nominal 95% interval holds the
truth of one detector and of the paired difference (by the spread alone; as reported, where the interval of one detector
reaches further down by what halves show), the bias, and the spread that intervals expect over the spread that there is.
A share near .95 over 400 has a standard error of .011.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from numpy.typing import NDArray

from disobey.measures.detection import Boxes, ap_by_image, average_precision
from disobey.measures.inference.examples import mean_of
from disobey.measures.precision_intervals import ap_over_images

CLASSES = 5
SHARES = np.array([0.35, 0.25, 0.2, 0.15, 0.05])
LARGE = 20_000
SIZES = (30, 100, 300)
SKILLS = (1.4, 0.9)


def drawn(images: int, seed: int) -> tuple[Boxes, Boxes, Boxes]:
    """True boxes, and what the better and the worse detector find."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(images), 1 + rng.poisson(3, images))
    n = len(image)
    corner, size = rng.uniform(0, 400, (n, 2)), rng.uniform(15, 120, (n, 2))
    truth = Boxes(np.concatenate([corner, corner + size], axis=1), 1 + rng.choice(CLASSES, n, p=SHARES), image)
    easy = rng.normal(0, 1, n) + rng.normal(0, 0.8, images)[image]
    return truth, *(_found(truth, skill + easy, images, rng) for skill in SKILLS)


def _found(truth: Boxes, level: NDArray, images: int, rng: np.random.Generator) -> Boxes:
    level = level + rng.normal(0, 0.5, len(truth))
    seen = np.flatnonzero(level > -1)
    size = np.tile(truth.boxes[seen, 2:] - truth.boxes[seen, :2], 2)
    boxes = truth.boxes[seen] + size * rng.normal(0, 0.07, size.shape)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    right = rng.random(len(seen)) < 0.9
    classes = np.where(right, truth.classes[seen], 1 + rng.integers(0, CLASSES, len(seen)))
    false = rng.poisson(2, images).sum()
    corner = rng.uniform(0, 400, (false, 2))
    return Boxes(
        np.concatenate([boxes, np.concatenate([corner, corner + rng.uniform(15, 120, (false, 2))], axis=1)]),
        np.concatenate([classes, 1 + rng.integers(0, CLASSES, false)]),
        np.concatenate([truth.images[seen], rng.integers(0, images, false)]),
        np.concatenate([1 / (1 + np.exp(-level[seen])), rng.beta(1.5, 4, false)]),
    )


def coverage(replicates: int) -> None:
    """The table of intervals."""
    truth, *found = drawn(LARGE, 10**6)
    known = [average_precision(truth, one) for one in found]
    known.append(known[1] - known[0])
    print(f"\nAP on {LARGE:,} images: {known[0]:.4f}, {known[1]:.4f}, difference {known[2]:+.4f}\n")
    print("| images | of | by the spread alone | as reported | width | bias | expected over actual spread |")
    print("|---|---|---|---|---|---|---|")
    for images in SIZES:
        rows = np.empty((replicates, 3, 5))
        for number in range(replicates):
            truth, *found = drawn(images, 1000 * images + number)
            each = [ap_by_image(truth, one, images) for one in found]
            each.append(each[1] - each[0])
            for place, column in enumerate(each):
                one = mean_of("ap", column, 0.95, np.arange(images))
                whole = ap_over_images(truth, found[place], images) if place < 2 else one
                holds = [interval.low <= known[place] <= interval.high for interval in (one, whole)]
                rows[number, place] = one.value, *holds, column.std(ddof=1) / np.sqrt(images), whole.high - whole.low
        for place, name in ((0, "one detector"), (1, "the worse one"), (2, "their difference")):
            values, plain, holds, errors, widths = rows[:, place].T
            ratio = np.sqrt((errors**2).mean()) / values.std(ddof=1)
            bias = values.mean() - known[place]
            shown = f"{plain.mean():.3f} | {holds.mean():.3f} | {widths.mean():.3f} | {bias:+.4f} | {ratio:.2f}"
            print(f"| {images} | {name} | {shown} |")


def speed(rounds: int) -> None:
    """Seconds beside pycocotools, taken in turn."""
    from tests.support.detectors import coco_evaluation

    print("| images | boxes found | pycocotools (s) | average_precision (s) | ap_by_image (s) | ratio |")
    print("|---|---|---|---|---|---|")
    for images in (300, 5_000):
        truth, found, _ = drawn(images, 1)
        times: dict[str, list[float]] = {"theirs": [], "ours": [], "spread": []}
        for _ in range(rounds):
            evaluation = coco_evaluation(truth, found, images)
            evaluation.params.areaRng = evaluation.params.areaRng[:1]  # all sizes alone, and 100 boxes alone
            evaluation.params.areaRngLbl, evaluation.params.maxDets = ["all"], [100]
            theirs = time.perf_counter()
            _silent(evaluation)
            ours = time.perf_counter()
            average_precision(truth, found)
            spread = time.perf_counter()
            ap_by_image(truth, found, images)
            for name, start, end in (("theirs", theirs, ours), ("ours", ours, spread)):
                times[name].append(end - start)
            times["spread"].append(time.perf_counter() - spread)
        theirs, ours, spread = (statistics.median(times[name]) for name in ("theirs", "ours", "spread"))
        print(f"| {images} | {len(found):,} | {theirs:.3f} | {ours:.4f} | {spread:.4f} | {theirs / ours:.0f} |")


def _silent(evaluation) -> None:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    speed(options.rounds)
    coverage(options.replicates)
