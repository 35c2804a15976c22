"""How often do intervals over examples hold the planted truth, and which kind holds it best?

    python benchmarks/coverage.py [--replicates 1000] [--sizes 200 500 2000] [--cases mean ...]

Prints a Markdown table: the share of replicates whose nominal 95% interval holds the truth, by kind of interval, and
in brackets how often the truth lay above. The standard error of a share near 0.95 over 1,000 replicates is 0.007.
docs/measures.md has the last full table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student_t

from disobey.measures.calibration import calibration_error, debiased_error, debiased_spread, mass_bins, squared_error
from disobey.measures.inference import resampling
from disobey.measures.inference.statistics import mean, ols_slope, tail_mean, tls_slope

RESAMPLES = 1000


@dataclass(frozen=True)
class Case:
    """A distribution, a statistic, and the value that its interval should hold."""

    draw: Callable[[np.random.Generator, int], tuple[NDArray, ...]]
    statistic: Callable[..., NDArray]
    truth: float
    share: bool = False
    spread: Callable[..., float] | None = None  # a standard error that is known without resampling


def skewed(rng, n):
    """A skewed distribution."""
    return (rng.exponential(size=n),)


def line(rng, n):
    """Noise that grows with x: the textbook standard error would be wrong."""
    x = 2 * rng.normal(size=n)
    return x, 1.2 * x + (1 + 0.3 * np.abs(x)) * rng.normal(size=n)


def noisy_axes(rng, n):
    """A line with noise on both axes."""
    latent = 1.5 * rng.normal(size=n)
    return latent + 0.5 * rng.normal(size=n), 1.3 * latent + 0.5 * rng.normal(size=n)


def rates(rng, n):
    """A rate of 0.9."""
    return ((rng.random(n) < 0.9).astype(float),)


def near_one(rng, n):
    """A rate of 0.99."""
    return ((rng.random(n) < 0.99).astype(float),)


def deviating(rng, n):
    """A deviation that grows with the confidence."""
    x = 2 * rng.normal(size=n)
    return x, 0.3 * x + rng.normal(size=n)


def sure(confidence: NDArray) -> NDArray:
    """The accuracy at each confidence of a model that is too sure at the top and too modest at the bottom."""
    return 0.6 + 0.6 * (confidence - 0.65)


def slightly(confidence: NDArray) -> NDArray:
    """The accuracy of a model that is over-confident by 0.04 everywhere."""
    return confidence - 0.04


def calibrated(confidence: NDArray) -> NDArray:
    """The accuracy of a calibrated model."""
    return confidence


def answers(*accuracies: Callable) -> Callable:
    """Columns (confidence, right, ...): one "right" for each model, given how accurate it is at each confidence."""

    def draw(rng, n):
        confidence = rng.uniform(0.3, 1.0, size=n)
        return (confidence, *((rng.random(n) < accuracy(confidence)).astype(float) for accuracy in accuracies))

    return draw


def binned_truth(accuracy: Callable[[NDArray], NDArray], bins: int = 15) -> float:
    """The calibration error of equally filled bins on infinitely many examples."""
    grid = 0.3 + 0.7 * (np.arange(bins * 1000) + 0.5) / (bins * 1000)
    return float(np.abs((accuracy(grid) - grid).reshape(bins, -1).mean(axis=1)).mean())


def squared_truth(accuracy: Callable[[NDArray], NDArray], bins: int = 15) -> float:
    """As `binned_truth`, of the squared gaps."""
    grid = 0.3 + 0.7 * (np.arange(bins * 1000) + 0.5) / (bins * 1000)
    return float(((accuracy(grid) - grid).reshape(bins, -1).mean(axis=1) ** 2).mean())


def error_difference(confidence, a, b, *, weights=None):
    """Difference of two models' debiased calibration errors."""
    return debiased_error(confidence, a, weights=weights) - debiased_error(confidence, b, weights=weights)


def difference_spread(confidence, a, b):
    """Its standard error."""
    return debiased_spread(confidence, a, confidence, b)


DEVIATION = -0.6 * float(norm.pdf(norm.ppf(0.25))) / 0.25
CASES = {
    "mean": Case(skewed, mean, 1.0),
    "ols_slope": Case(line, ols_slope, 1.2),
    "tls_slope": Case(noisy_axes, tls_slope, 1.3),
    "agreement": Case(rates, mean, 0.9, share=True),
    "agreement .99": Case(near_one, mean, 0.99, share=True),
    "low_deviation": Case(deviating, partial(tail_mean, share=0.25), DEVIATION),
    "ece_mass": Case(answers(sure), partial(calibration_error, binning=mass_bins), binned_truth(sure)),
    "ece_debiased": Case(answers(sure), debiased_error, binned_truth(sure), spread=debiased_spread),
    "ece_debiased, calibrated": Case(answers(calibrated), debiased_error, 0.0, spread=debiased_spread),
    "squared_error_debiased": Case(answers(sure), squared_error, squared_truth(sure)),
    "squared_error_debiased, calibrated": Case(answers(calibrated), squared_error, 0.0),
    "ece_debiased difference": Case(
        answers(sure, slightly),
        error_difference,
        binned_truth(sure) - binned_truth(slightly),
        spread=difference_spread,
    ),
}


def bca_interval(value: float, replicates: NDArray, left_out: NDArray, level: float) -> tuple[float, float]:
    """Bias-corrected and accelerated percentile interval (Efron 1987, JASA 82; acceleration from the jackknife)."""
    below = np.mean(replicates < value) + 0.5 * np.mean(replicates == value)
    if not 0 < below < 1:
        return float(replicates.min()), float(replicates.max())
    bias, influence = norm.ppf(below), left_out.mean() - left_out
    scale = np.sum(influence**2) ** 1.5
    acceleration = np.sum(influence**3) / (6 * scale) if scale > 0 else 0.0
    z = bias + norm.ppf([0.5 - level / 2, 0.5 + level / 2])
    low, high = np.quantile(replicates, norm.cdf(bias + z / (1 - acceleration * z)))
    return float(low), float(high)


KINDS = ("percentile", "basic", "BCa", "standard error", "jackknife", "centred")


def kinds(value: float, replicates: NDArray, left_out: NDArray, n: int, level: float) -> dict[str, tuple]:
    """Bounds of every kind of interval."""
    tails = [0.5 - level / 2, 0.5 + level / 2]
    low, high = np.quantile(replicates, tails)
    half = student_t.ppf(tails[1], n - 1) * replicates.std(ddof=1)
    return {
        "percentile": (low, high),
        "basic": (2 * value - high, 2 * value - low),
        "BCa": bca_interval(value, replicates, left_out, level),
        "standard error": (value - half, value + half),
        "jackknife": resampling.jackknife_interval(value, left_out, level),
        "centred": resampling.centred_interval(value, replicates, n, level),
    }


def bounds_by_kind(case: Case, n: int, replicates: int, seed: int) -> dict[str, NDArray]:
    """(replicates, 2) bounds by kind; the last is what `over_examples` gives."""
    rng = np.random.default_rng(seed)
    found: dict[str, list] = {}
    for _ in range(replicates):
        columns = case.draw(rng, n)

        def evaluate(weights, columns=columns):
            return case.statistic(*columns, weights=weights)

        value = float(evaluate(np.ones((1, n)))[0])
        left_out = resampling.jackknife([evaluate], n, min(n, resampling.GROUPS), rng)[0]
        if n > resampling.MANY:  # nobody bootstraps there
            bounds: dict[str, tuple] = dict.fromkeys(KINDS, (np.nan, np.nan))
            bounds["jackknife"] = bounds["chosen"] = resampling.jackknife_interval(value, left_out, 0.95)
        else:
            drawn = resampling.bootstrap([evaluate], n, RESAMPLES, rng)[0]
            bounds = kinds(value, drawn, left_out, n, 0.95)
            bounds["chosen"] = bounds["centred"]
        if case.spread is not None:
            bounds["chosen"] = resampling.error_interval(value, case.spread(*columns), n, 0.95)
        if case.share:
            bounds["chosen"] = resampling.wilson_interval(value, n, 0.95)
        for kind, pair in bounds.items():
            found.setdefault(kind, []).append(pair)
    return {kind: np.array(pairs) for kind, pairs in found.items()}


def cell(bounds: NDArray, truth: float) -> str:
    """Coverage of one kind: share held, and share missed above."""
    if np.isnan(bounds).all():
        return "–"
    held, above = np.mean((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])), np.mean(bounds[:, 1] < truth)
    return f"{held:.3f} ({above:.3f})"


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 500, 2000])
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    options = parser.parse_args()
    start = time.perf_counter()
    print("| statistic | n | " + " | ".join(KINDS) + " | chosen |\n|" + "---|" * (len(KINDS) + 3))
    for name in options.cases:
        for n in options.sizes:
            found = bounds_by_kind(CASES[name], n, options.replicates, seed=n)
            cells = [cell(found[kind], CASES[name].truth) for kind in (*KINDS, "chosen")]
            print(f"| {name} | {n} | " + " | ".join(cells) + " |", flush=True)
    print(f"\n{options.replicates} replicates, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
