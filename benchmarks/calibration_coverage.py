"""How often do intervals of the debiased calibration error cover the planted difference, and how large is its bias?

    python benchmarks/calibration_coverage.py [--replicates 1000] [--classes 2 4 10] [--sizes 500 2000 6000] [--first 0]

Labels come from the softmax of random logits z. Students: one that is calibrated exactly (it does not know which of
two rows it looks at), mildly and strongly over-confident ones, an under-confident one, one that is too modest at the
bottom and too sure at the top, and a jagged one whose gap changes its sign five times: the worst case for signs
chosen with the help of neighbouring bins. Each minus a twin (over-confident by noise), minus a teacher that is nearly
calibrated, and minus z itself, calibrated exactly. A cell: share of nominal 95% intervals that hold the truth (mean
error in units of the true standard deviation; that in units of the estimated one; half-width · 10⁴). Truths: the
labels' chances on four million examples. Standard error of a share near 0.95 over 1,000 replicates: 0.007.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from scipy.stats import t as student_t

from disobey.measures import calibration

SPREAD = 2.0
STUDENTS = ("calibrated", "mild", "strong", "under", "crossing", "jagged")
OTHERS = ("twin", "teacher", "exact")


def drawn(classes: int, n: int, seed: int) -> tuple[NDArray, NDArray, dict[str, NDArray]]:
    """Chances (n, classes), labels (n,), and every model's logits."""
    rng = np.random.default_rng([classes, seed])
    z = SPREAD * rng.normal(size=(n, classes))
    chances = np.exp(log_softmax(z, axis=1))
    labels = (chances.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    teacher = z + 0.3 * rng.normal(size=z.shape)
    twin = z + 0.8 * rng.normal(size=z.shape)
    other, noise = SPREAD * rng.normal(size=z.shape), 0.3 * rng.normal(size=z.shape)
    best = np.sort(z, axis=1)
    margin = best[:, -1] - best[:, -2]
    models = {
        "calibrated": np.logaddexp(np.log(chances), log_softmax(other, axis=1)),
        "mild": 1.1 * teacher + noise,
        "strong": 2.0 * teacher + noise,
        "under": 0.7 * teacher + noise,
        "crossing": z * np.where(margin < 2, 0.6 + 0.4 * margin, 1.4)[:, None],
        "jagged": z * (1 + 0.25 * np.sin(4 * margin) / margin)[:, None],
        "twin": twin,
        "teacher": teacher,
        "exact": z,
    }
    return chances, labels, models


def choices(logits: NDArray) -> tuple[NDArray, NDArray]:
    """(confidence, chosen class) of each row."""
    return 1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1), logits.argmax(axis=1)


def truths(classes: int, parts: int = 20, n: int = 200_000) -> dict[str, float]:
    """Binned error of every model, from the chance of being right in the place of whether it was."""
    sums: dict[str, NDArray] = {}
    for part in range(parts):
        chances, _, models = drawn(classes, n, 10**7 + part)
        for name, logits in models.items():
            confidence, chosen = choices(logits)
            gap = chances[np.arange(n), chosen] - confidence
            bins = calibration.mass_bins(confidence)
            sums[name] = sums.get(name, 0) + np.bincount(bins, gap, minlength=calibration.BINS) / (n * parts)
    return {name: float(np.abs(total).sum()) for name, total in sums.items()} | {"calibrated": 0.0, "exact": 0.0}


def found(classes: int, n: int, seed: int) -> dict[tuple[str, str], tuple[float, float]]:
    """Value and standard error of every difference; the same numbers as `minus_twin` and `minus_teacher` give."""
    _, labels, models = drawn(classes, n, seed)
    values, binned = {}, {}
    for name, logits in models.items():
        confidence, chosen = choices(logits)
        right = (chosen == labels).astype(np.float64)
        values[name] = float(calibration.debiased_error(confidence, right))
        binned[name] = calibration._binned(confidence, right)  # once a model, not once a pair
    pairs = [(student, other) for student in STUDENTS for other in OTHERS]
    return {(a, b): (values[a] - values[b], calibration._spread([binned[a], binned[b]])) for a, b in pairs}


def cell(results: NDArray, truth: float, n: int) -> str:
    """Of (replicates, 2) values and standard errors."""
    off, error = results[:, 0] - truth, results[:, 1]
    half, sd = student_t.ppf(0.975, n - 1) * error, off.std()
    held = np.mean(np.abs(off) <= half)
    return f"{held:.3f} ({off.mean() / sd:+.2f}; {sd / np.sqrt(np.mean(error**2)):.2f}; {1e4 * half.mean():.0f})"


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--classes", type=int, nargs="*", default=[2, 4, 10])
    parser.add_argument("--sizes", type=int, nargs="*", default=[500, 2_000, 6_000, 20_000])
    parser.add_argument("--first", type=int, default=0, help="seed of the first replicate")
    options = parser.parse_args()
    print(f"| classes | student − other | truth | {' | '.join(f'{n:,}' for n in options.sizes)} |", flush=True)
    print("|---|---|---|" + "---|" * len(options.sizes))
    for classes in options.classes:
        truth, columns = truths(classes), {}
        for n in options.sizes:
            seeds = range(options.first, options.first + options.replicates)
            runs = [found(classes, n, seed) for seed in seeds]
            columns[n] = {pair: np.array([run[pair] for run in runs]) for pair in runs[0]}
        for a, b in columns[options.sizes[0]]:
            cells = [cell(columns[n][a, b], truth[a] - truth[b], n) for n in options.sizes]
            print(f"| {classes} | {a} − {b} | {truth[a] - truth[b]:+.4f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
