"""How often do intervals hold the truth where examples of a cluster are alike: taken as independent, and by cluster?

    python benchmarks/cluster_coverage.py [--replicates 400]

Planted: a token's KL is drawn around its text's (a log-normal law with known mean), whether teacher and student agree
by a coin that the text has its own of (a beta law with known mean). Sizes are equal or exponential. Prints a Markdown
table of the share of replicates whose nominal 95% interval holds the truth, and of the median widths against the naive
ones; a share near .95 over 400 has a standard error of .011.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.examples import estimates
from disobey.measures.inference.measure import Columns, Measure
from disobey.measures.inference.statistics import mean, ols_slope, tail_mean
from disobey.records.predictions import Predictions

CLUSTERS = (5, 10, 20, 50, 200)
SIZE = 40
CORRELATION = 0.2
SHARE, CONCENTRATION = 0.9, 4.0  # of the beta law: two tokens of a text correlate by 1 / (1 + concentration)
SPREAD = 0.6


def drawn(clusters: int, unequal: bool, seed: int) -> tuple[Columns, NDArray]:
    """(KL, agree, x, y) of all tokens, and the texts' numbers."""
    rng = np.random.default_rng([clusters, unequal, seed])
    sizes = np.maximum(1, rng.exponential(SIZE, clusters).astype(int)) if unequal else np.full(clusters, SIZE)
    codes = np.repeat(np.arange(clusters), sizes)
    n = len(codes)

    def alike() -> NDArray:
        between, within = np.sqrt(CORRELATION), np.sqrt(1 - CORRELATION)
        return between * rng.normal(size=clusters)[codes] + within * rng.normal(size=n)

    kl = np.exp(SPREAD * alike() - SPREAD**2 / 2)
    coins = rng.beta(SHARE * CONCENTRATION, (1 - SHARE) * CONCENTRATION, clusters)
    agree = (rng.random(n) < coins[codes]).astype(float)
    x = alike()
    return (kl, agree, x, 1.2 * x + 0.5 * alike()), codes


def _measure(name: str, statistic: Callable, places: tuple[int, ...], share_of: float = 0.0) -> Measure:
    """A statistic of some of the columns."""

    def of(*columns: NDArray, weights: NDArray | None = None) -> NDArray:
        return statistic(*(columns[place] for place in places), weights=weights)

    return Measure(name, _unread, of, share_of=share_of)


def _unread(_: Predictions) -> Columns:
    raise AssertionError("columns are drawn here, not read")


def _low_gap(x: NDArray, y: NDArray, *, weights: NDArray | None = None) -> NDArray:
    return tail_mean(x, y - 1.2 * x, share=0.25, weights=weights)


MEASURES = {
    "mean": (_measure("mean", mean, (0,)), 1.0),
    "share": (_measure("share", mean, (1,), 1.0), SHARE),
    "slope": (_measure("slope", ols_slope, (2, 3)), 1.2),
    "tail mean": (_measure("tail mean", _low_gap, (2, 3)), 0.0),
}


def row(clusters: int, unequal: bool, replicates: int) -> str:
    """One line of the table."""
    hits = {(name, way): 0 for name in MEASURES for way in ("naive", "clustered")}
    widths: dict[tuple[str, str], list[float]] = {key: [] for key in hits}
    measures = [measure for measure, _ in MEASURES.values()]
    for seed in range(replicates):
        columns, codes = drawn(clusters, unequal, seed)
        for way, known in (("naive", None), ("clustered", codes)):
            found = estimates([(columns, measures)], resamples=200, codes=known)
            for name, (_, truth) in MEASURES.items():
                one = found[name]
                hits[name, way] += one.low <= truth <= one.high
                widths[name, way].append(one.high - one.low)
    cells = [
        f"{hits[name, 'naive'] / replicates:.3f} | {hits[name, 'clustered'] / replicates:.3f} | "
        f"{np.median(widths[name, 'clustered']) / np.median(widths[name, 'naive']):.1f}"
        for name in MEASURES
    ]
    return f"| {clusters} {'unequal' if unequal else 'equal'} | {' | '.join(cells)} |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=400)
    options = parser.parse_args()
    heads = [f"{name}, naive | {name}, clustered | wider by" for name in MEASURES]
    print(f"| texts | {' | '.join(heads)} |\n|---|{'---|' * (3 * len(heads))}")
    for unequal in (False, True):
        for clusters in CLUSTERS:
            print(row(clusters, unequal, options.replicates), flush=True)


if __name__ == "__main__":
    main()
