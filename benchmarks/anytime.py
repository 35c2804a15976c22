"""How often anytime-valid intervals cover under optional stopping, and what they cost beside Student's t.

python benchmarks/anytime.py [--studies 10000] [--seeds 40]

Each simulated study adds paired seeds one by one and stops when its interval lies on one side of 0 or within the
margin, or at the last seed. Covered: the truth lies in the interval at which the study stopped. Student's interval,
looked at in the same way, is the control.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from disobey.measures.inference.sequential import PRIOR_SD, half_width_factor

MARGIN = 0.25  # in standard deviations of a seed's difference
EFFECTS = (0.0, 0.5, 1.5)
FIRST = 5  # no study stops with fewer seeds


def draw(kind: str, shape: tuple[int, int], rng: np.random.Generator) -> NDArray:
    """Values of mean 0 and standard deviation 1."""
    if kind == "normal":
        return rng.normal(size=shape)
    if kind == "t3":
        return rng.standard_t(3, size=shape) / math.sqrt(3)
    if kind == "skewed":
        return rng.exponential(size=shape) - 1
    collapsed = rng.random(shape) < 0.1  # one run in ten loses far more than the others differ
    values = rng.normal(size=shape) - 5.0 * collapsed
    return (values + 0.5) / math.sqrt(1 + 25 * 0.09)


def stopped(values: NDArray, truth: float, factors: NDArray) -> tuple[float, float]:
    """Share of studies whose interval holds the truth where they stop, and their mean number of seeds."""
    n = np.arange(1, values.shape[1] + 1)
    mean = values.cumsum(axis=1) / n
    variance = np.maximum((values**2).cumsum(axis=1) - n * mean**2, 0) / np.maximum(n - 1, 1)
    with np.errstate(invalid="ignore"):  # infinite factor, no spread yet
        half = factors * np.sqrt(variance / n)
    half[:, : FIRST - 1] = math.inf
    done = (np.abs(mean) > half) | (np.abs(mean) + half < MARGIN)
    done[:, -1] = True
    at = done.argmax(axis=1)
    rows = np.arange(len(values))
    covered = np.abs(mean[rows, at] - truth) <= half[rows, at]
    return float(covered.mean()), float(at.mean() + 1)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=40)
    options = parser.parse_args()
    n = range(1, options.seeds + 1)
    anytime = np.array([half_width_factor(k) for k in n])
    student = np.array([math.inf if k < 2 else student_t.ppf(0.975, k - 1) for k in n])
    print("| values | effect (sd) | anytime: covered | seeds | Student, looked at every seed: covered | seeds |")
    print("|---|---|---|---|---|---|")
    for kind in ("normal", "t3", "skewed", "collapsing"):
        for effect in EFFECTS:
            values = effect + draw(kind, (options.studies, options.seeds), np.random.default_rng(7))
            (a, seeds_a), (b, seeds_b) = stopped(values, effect, anytime), stopped(values, effect, student)
            print(f"| {kind} | {effect:g} | {a:.3f} | {seeds_a:.1f} | {b:.3f} | {seeds_b:.1f} |")
    print("\nHalf width over Student's, by number of seeds (the price) and prior standard deviation of the effect:\n")
    priors = (0.5, 1.0, PRIOR_SD, 4.0)
    print("| seeds | " + " | ".join(f"{p:g}" for p in priors) + " |\n|---|" + "---|" * len(priors))
    for k in (4, 5, 6, 8, 10, 15, 20, 40):
        ratios = [half_width_factor(k, prior_sd=p) / student_t.ppf(0.975, k - 1) for p in priors]
        print(f"| {k} | " + " | ".join(f"{r:.2f}" for r in ratios) + " |")


if __name__ == "__main__":
    main()
