"""Do the statistics of sample efficiency give back what was planted, and do their intervals hold it?

    python benchmarks/coverage_over_runs.py [--replicates 1000] [--seeds 5 10] [--parts factor largest ...]

Planted: labels' accuracy 0.97 − 1.9·n^−1/2 at seven sizes from 20 to 3,500, a student that is worth F(n) times as many
labels, luck of the subset that the arms of a seed share (and that goes on to the next size), a little of their own, and
1,000 test examples drawn anew for every model. Prints a Markdown table for each part. Standard error of a share near
0.95 over 1,000 replicates: 0.007. docs/measures.md has the last tables.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from disobey.measures import agreement
from disobey.measures.fidelity import fidelity_law
from disobey.measures.inference.comparisons import equivalent, holm, sign_flip_p
from disobey.measures.inference.measure import minus_twin
from disobey.measures.inference.resampling import centred_interval, resample_counts
from disobey.measures.inference.runs import over_runs, over_runs_and_examples
from disobey.measures.sample_efficiency import crossover, label_equivalence, shares_explained, slope_on_log_size
from disobey.records.predictions import Predictions
from disobey.records.results import Estimate

SIZES = np.array([20, 47, 112, 265, 628, 1480, 3500])
TESTS = 1000


def labels_accuracy(n: NDArray) -> NDArray:
    """Mean accuracy of training on n labels."""
    return 0.97 - 1.9 * n**-0.5


def log_factor(n: NDArray, peak: float, drop: float = 0.0) -> NDArray:
    """A hump around n = 150, ``peak`` high, moved down by ``drop``."""
    return peak * np.exp(-0.5 * (np.log(n / 150) / 1.6) ** 2) - drop


def student_accuracy(n: NDArray, peak: float, drop: float = 0.0) -> NDArray:
    """Mean accuracy of a student that is worth ``exp(log_factor)`` times the labels."""
    return labels_accuracy(n * np.exp(log_factor(n, peak, drop)))


def observed(
    rng: np.random.Generator, seeds: int, *accuracies: NDArray, noise: float = 1.0, tests: int = TESTS
) -> list[NDArray]:
    """Tables (S, K) of the arms with these mean accuracies (K,): shared luck, own luck, finite test sets."""
    spread = noise * 0.25 * (SIZES / 20.0) ** -0.2
    luck = rng.normal(size=(seeds, len(SIZES)))
    for k in range(1, len(SIZES)):  # nested subsets: the next one holds this one
        luck[:, k] = 0.6 * luck[:, k - 1] + 0.8 * luck[:, k]
    shared = luck * spread + 0.05 * rng.normal(size=(seeds, 1))
    tables = []
    for mean in accuracies:
        own = 0.4 * spread * rng.normal(size=shared.shape)
        chance = np.clip(mean + mean * (1 - mean) * (shared + own), 0, 1)
        tables.append(rng.binomial(tests, chance) / tests)
    return tables


def holds(estimate: Estimate, truth: float) -> bool:
    """Whether the interval holds the truth."""
    return estimate.low <= truth <= estimate.high


def resampled_factors(rng: np.random.Generator, labels: NDArray, student: NDArray, resamples: int = 400) -> NDArray:
    """The alternative: log factors (B, K) of resampled seeds, linear between the rising means, grid ends unchanged."""
    weights = resample_counts(len(labels), resamples, rng) / len(labels)
    curves, wanted = np.maximum.accumulate(weights @ labels, axis=1), weights @ student
    x = np.log(SIZES)
    errors = [-np.log(np.maximum(1 - table, 1e-6)) for table in (wanted, curves)]
    return np.stack([np.interp(a, b, x) for a, b in zip(*errors, strict=True)]) - x


def factor(seeds: int, replicates: int, rng: np.random.Generator) -> None:
    """Prints the coverage of equivalence factors at every size."""
    print(
        "| n | S | planted | bias of log | sd of log | held (missed above) "
        "| seeds resampled: percentile | centred, widened |"
    )
    print("|" + "---|" * 8)
    peak = 1.1
    truth = log_factor(SIZES, peak)
    logs, sides, rivals = [], [], []
    for _ in range(replicates):
        labels, student = observed(rng, seeds, labels_accuracy(SIZES), student_accuracy(SIZES, peak))
        curve = label_equivalence(SIZES, labels, student, resamples=50)
        drawn = resampled_factors(rng, labels, student)
        logs.append([np.log(f.value) for f in curve.factor])
        bounds = np.log([[max(f.low, 1e-9), f.high] for f in curve.factor])
        sides.append(np.stack([(bounds[:, 0] <= truth) & (truth <= bounds[:, 1]), bounds[:, 1] < truth]))
        percentile = np.quantile(drawn, [0.025, 0.975], axis=0)
        centred = np.array([centred_interval(logs[-1][k], drawn[:, k], seeds, 0.95) for k in range(len(SIZES))]).T
        rivals.append([(low <= truth) & (truth <= high) for low, high in (percentile, centred)])
    held, rival, value = np.mean(sides, axis=0), np.mean(rivals, axis=0), np.array(logs)
    for k, n in enumerate(SIZES):
        print(
            f"| {n:,} | {seeds} | {np.exp(truth[k]):.2f} | {value[:, k].mean() - truth[k]:+.3f} | "
            f"{value[:, k].std():.2f} | "
            f"{held[0, k]:.3f} ({held[1, k]:.3f}) | {rival[0, k]:.3f} | {rival[1, k]:.3f} |"
        )


def largest(seeds: int, replicates: int, rng: np.random.Generator) -> None:
    """Prints bias and coverage of the largest factor."""
    print(
        "| planted largest | S | bias of log (plain maximum's) | sd (plain's) | held (missed above, below) | ", end=""
    )
    print("plain maximum with its own interval | lower bound, median | supported, contradicted |\n|" + "---|" * 8)
    for peak, drop in ((1.1, 0.0), (1.1, 0.3), (0.4, 0.0), (0.0, 0.0)):
        room = SIZES[-1] >= SIZES * 2
        truth = float(log_factor(SIZES, peak, drop)[room].max())
        found, plain, verdicts = [], [], []
        for _ in range(replicates):
            tables = observed(rng, seeds, labels_accuracy(SIZES), student_accuracy(SIZES, peak, drop))
            curve = label_equivalence(SIZES, *tables)
            best = max((f for f, r in zip(curve.factor, room, strict=True) if r), key=lambda f: f.value)
            found.append([curve.largest.value, curve.largest.low, curve.largest.high])
            plain.append([best.value, best.low, best.high])
            verdicts.append(curve.verdict())
        logs, rival = np.log(np.maximum(found, 1e-9)), np.log(np.maximum(plain, 1e-9))
        above, below = np.mean(logs[:, 2] < truth), np.mean(logs[:, 1] > truth)
        rival_held = np.mean((rival[:, 1] <= truth) & (truth <= rival[:, 2]))
        print(
            f"| {np.exp(truth):.2f} | {seeds} | {logs[:, 0].mean() - truth:+.3f} ({rival[:, 0].mean() - truth:+.3f}) | "
            f"{logs[:, 0].std():.2f} ({rival[:, 0].std():.2f}) | {1 - above - below:.3f} ({above:.3f}, {below:.3f}) | "
            f"{rival_held:.3f} | {np.exp(np.median(logs[:, 1])):.2f} | "
            f"{np.mean([v == 'supported' for v in verdicts]):.2f}, "
            f"{np.mean([v == 'contradicted' for v in verdicts]):.2f} |"
        )


def no_gain(seeds: int, replicates: int, rng: np.random.Generator) -> None:
    """How quiet the tables must be for a student that is worth no more than labels to be contradicted."""
    print("| luck, times as above | test examples | S | supported | contradicted |\n|" + "---|" * 5)
    for noise, tests in ((1.0, 1000), (0.5, 4000), (0.25, 10_000)):
        verdicts = []
        for _ in range(replicates):
            tables = observed(rng, seeds, *[labels_accuracy(SIZES)] * 2, noise=noise, tests=tests)
            verdicts.append(label_equivalence(SIZES, *tables).verdict())
        shares = [np.mean([v == verdict for v in verdicts]) for verdict in ("supported", "contradicted")]
        print(f"| {noise:g} | {tests:,} | {seeds} | {shares[0]:.3f} | {shares[1]:.3f} |")


def estimates(title: str, seeds: int, replicates: int, cases: dict[str, tuple[float, Callable[[], Estimate]]]) -> None:
    """Prints bias and coverage of one kind of estimate for each planted truth."""
    print(f"| {title} | S | planted | bias | sd | held | no interval |\n|" + "---|" * 7)
    for name, (truth, draw) in cases.items():
        found = [draw() for _ in range(replicates)]
        known = [e for e in found if np.isfinite(e.value) and not np.isnan(e.low)]
        values = np.array([e.value for e in known])
        held = np.mean([holds(e, truth) for e in known])
        print(
            f"| {name} | {seeds} | {truth:.3g} | {values.mean() - truth:+.3g} | {values.std():.3g} | {held:.3f} | "
            f"{1 - len(known) / replicates:.3f} |",
            flush=True,
        )


def share(seeds: int, replicates: int, rng: np.random.Generator) -> None:
    """Prints the coverage of shares of the gain."""
    base, best = labels_accuracy(SIZES), student_accuracy(SIZES, 1.1)

    def draw(phi: float) -> Callable[[], Estimate]:
        def one() -> Estimate:
            tables = observed(rng, seeds, base, best, base + phi * (best - base))
            labels, distilled, arm = (table[:, :3].mean(axis=1) for table in tables)
            return shares_explained({"arm": arm}, labels, distilled)["arm"]

        return one

    estimates("share φ", seeds, replicates, {f"φ = {phi}": (phi, draw(phi)) for phi in (0.1, 0.5, 0.9)})


def slope(seeds: int, replicates: int, rng: np.random.Generator) -> None:
    """Prints the coverage of the slope on log size."""
    base, best = labels_accuracy(SIZES), student_accuracy(SIZES, 1.1)
    x = np.log(SIZES) - np.log(SIZES).mean()

    def draw(scale: float) -> Callable[[], Estimate]:
        def one() -> Estimate:
            labels, student = observed(rng, seeds, base, base + scale * (best - base))
            return slope_on_log_size(SIZES, student - labels)

        return one

    cases = {f"{scale:g} of the gap": (float(scale * (best - base) @ x / (x @ x)), draw(scale)) for scale in (1.0, 0.0)}
    estimates("slope of the accuracy gap on log n", seeds, replicates, cases)


def crossing(seeds: int, replicates: int, rng: np.random.Generator) -> None:
    """Prints the coverage of the size at which labels overtake."""

    def draw(drop: float) -> tuple[float, Callable[[], Estimate]]:
        truth = np.log(150) + 1.6 * np.sqrt(2 * np.log(1.1 / drop))

        def one() -> Estimate:
            labels, student = observed(rng, seeds, labels_accuracy(SIZES), student_accuracy(SIZES, 1.1, drop))
            e = crossover(SIZES, student - labels).size
            low, high = (float(np.log(max(bound, 1e-9))) for bound in (e.low, e.high))
            return Estimate(e.name, float(np.log(e.value)), low, high, e.level, e.n, e.over)

        return float(truth), one

    estimates("log crossover", seeds, replicates, {f"moved down by {drop:g}": draw(drop) for drop in (0.3, 0.6)})


def kl_gaps(rng: np.random.Generator, seeds: int, b: float, d: float) -> NDArray:
    """Spread in proportion to the gap, and a little that is not."""
    gap = 0.45 * (SIZES / 20.0) ** -b + d
    luck = 1 + 0.12 * rng.normal(size=(seeds, len(SIZES))) + 0.08 * rng.normal(size=(seeds, 1))
    return gap * luck + 0.004 * rng.normal(size=(seeds, len(SIZES)))


def agreement_gaps(rng: np.random.Generator, seeds: int, b: float, d: float) -> NDArray:
    """Train agreement over the n training examples, test agreement over 1,000."""
    gap = (0.4 * (SIZES / 20.0) ** -b + d) * (1 + 0.1 * np.clip(rng.normal(size=(seeds, 1)), -2, 2))
    test = 0.94 - 0.9 * gap
    return rng.binomial(SIZES, test + gap) / SIZES - rng.binomial(TESTS, test) / TESTS


def exponent(seeds: int, replicates: int, rng: np.random.Generator) -> None:
    """Prints the coverage of exponents with and without an offset."""
    print("| gap | offset d | b | S | bias of b | held | b beside an offset: bias (median), held | d held | ", end="")
    print("offset preferred, by AICc | C9 supported, contradicted | cells ≤ 0 |\n|" + "---|" * 11)
    for name, draw in (("KL", kl_gaps), ("agreement", agreement_gaps)):
        for d in (0.0, 0.03):
            for b in (0.3, 0.5, 0.7):
                laws = [fidelity_law(SIZES, draw(rng, seeds, b, d)) for _ in range(replicates)]
                bent = [law for law in laws if law.offset.known]
                other = np.median([law.exponent_with_offset.value for law in bent]) - b
                verdicts = [law.verdict() for law in laws]
                print(
                    f"| {name} | {d:g} | {b:g} | {seeds} | {np.mean([law.exponent.value for law in laws]) - b:+.3f} | "
                    f"{np.mean([holds(law.exponent, b) for law in laws]):.3f} | "
                    f"{other:+.3f}, {np.mean([holds(law.exponent_with_offset, b) for law in bent]):.3f} | "
                    f"{np.mean([holds(law.offset, d) for law in bent]):.3f} | "
                    f"{np.mean([law.preferred == 'offset' for law in laws]):.2f}, "
                    f"{np.mean([law.aicc[1] < law.aicc[0] for law in laws]):.2f} | "
                    f"{np.mean([v == 'supported' for v in verdicts]):.2f}, "
                    f"{np.mean([v == 'contradicted' for v in verdicts]):.2f} | "
                    f"{np.mean([law.not_positive for law in laws]) / seeds / len(SIZES):.4f} |",
                    flush=True,
                )


def comparisons(seeds: int, replicates: int, rng: np.random.Generator) -> None:
    """How often a test says so where it should not, and where it should."""
    draws = rng.normal(size=(replicates, 13, seeds))
    p = np.array([[sign_flip_p(row) for row in rows] for rows in draws])
    family = np.mean([(holm(row) < 0.05).any() for row in p])
    shifted = np.mean(
        [(holm([sign_flip_p(row + 2) for row in rows]) < 0.05).mean() for rows in draws[: replicates // 4]]
    )
    at_margin, inside = (
        np.mean([equivalent(row + shift, margin=2.0).equivalent for row in draws[:, 0]]) for shift in (2.0, 0.0)
    )
    print("| S | sign flips: p < .05 under no effect | any of 13 after Holm | each of 13 after Holm at 2 sd | ", end="")
    print("equivalent at the margin (2 sd) | at no difference |\n|" + "---|" * 6)
    print(f"| {seeds} | {np.mean(p < 0.05):.3f} | {family:.3f} | {shifted:.2f} | {at_margin:.3f} | {inside:.2f} |")


KINDS_OF_EXAMPLES = (0.7, 0.1, 0.1, 0.05, 0.05)  # both right, both wrong, gained, lost, anybody's guess
CHANCES = np.array([[1.0, 0.0, 0.9, 0.1, 0.5], [1.0, 0.0, 0.1, 0.9, 0.5]])  # of student and twin to be right
TRUE_GAP = float((CHANCES[0] - CHANCES[1]) @ KINDS_OF_EXAMPLES)


def paired_predictions(rng: np.random.Generator, seeds: int, examples: int) -> list[Predictions]:
    """Students and twins of S seeds on the same examples, most of which go the same way in every seed."""
    kind = rng.choice(5, size=examples, p=KINDS_OF_EXAMPLES)
    runs = []
    for _ in range(seeds):
        luck = np.array([0, 0, 1, 1, 0])[kind] * rng.uniform(-0.1, 0.1)
        right = rng.random((2, examples)) < CHANCES[:, kind] + luck
        student, twin = 2.0 * np.stack([right, ~right], axis=2)
        zeros = np.zeros(examples, dtype=int)
        runs.append(Predictions.from_logits(np.zeros((examples, 2)), student, zeros, twin=twin))
    return runs


def two_way(seeds: int, replicates: int, rng: np.random.Generator) -> None:
    """Prints the coverage of intervals over runs and examples."""
    gap = minus_twin(agreement.MEASURES["student_accuracy"])
    held, alone, widths = [], [], []
    for replicate in range(replicates // 4):
        runs = paired_predictions(rng, seeds, 300)
        both, only = over_runs_and_examples(gap, runs, resamples=300, seed=replicate), over_runs(gap, runs)
        held.append(holds(both, TRUE_GAP))
        alone.append(holds(only, TRUE_GAP))
        widths.append((both.high - both.low) / (only.high - only.low))
    print(
        "| accuracy gap of student and twin, 300 examples | S | held over runs and examples | over runs only | ", end=""
    )
    print("width, both by runs |\n|" + "---|" * 5)
    print(
        f"| planted {TRUE_GAP:.3f} | {seeds} | {np.mean(held):.3f} | {np.mean(alone):.3f} | {np.median(widths):.2f} |"
    )


PARTS = {f.__name__: f for f in (factor, largest, no_gain, exponent, share, slope, crossing, comparisons, two_way)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    options = parser.parse_args(arguments)
    for part in options.parts:
        for seeds in options.seeds:
            start = time.process_time()
            PARTS[part](seeds, options.replicates, np.random.default_rng(1000 + seeds))
            print(
                f"\n{part}: {options.replicates} replicates, {time.process_time() - start:.0f} CPU-seconds\n",
                flush=True,
            )


if __name__ == "__main__":
    main()
