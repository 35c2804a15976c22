"""How often pooled intervals and prediction intervals hold planted effects, from few seeds on few data sets.

python benchmarks/pooling.py [--draws 5000]

Every draw plants an average effect and true effects of k data sets around it, measures each over S seeds (the standard
error is estimated, as in a study), and pools. Average covered: its interval holds the planted average. Next covered:
the prediction interval holds the true effect of one more data set. Equal rejected: share of draws in which the test of
equal effects gives p < 0.05; at sd 0 between data sets it should be 0.05.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from disobey.measures.inference.pooling import pool

EFFECT = 0.01


def covered(k: int, seeds: int, ratio: float, draws: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """Shares (average covered, next covered, equal rejected) of draws.

    Args:
        k: data sets.
        seeds: of each.
        ratio: standard deviation between data sets over the median standard error of one.
        draws: how many.
        rng: of the draws.
    """
    average = following = rejected = 0
    for _ in range(draws):
        sd = 0.01 * np.exp(0.5 * rng.normal(size=k))  # of a seed's difference; data sets differ in it
        between = ratio * 0.01 / math.sqrt(seeds)
        true = EFFECT + between * rng.normal(size=k + 1)
        values = true[:k, None] + sd[:, None] * rng.normal(size=(k, seeds))
        p = pool(values.mean(axis=1), values.std(axis=1, ddof=1) / math.sqrt(seeds), runs=np.full(k, seeds), draws=1000)
        average += p.mean.low <= EFFECT <= p.mean.high
        following += bool(p.prediction.low <= true[k] <= p.prediction.high)
        rejected += p.heterogeneity_p < 0.05
    return average / draws, following / draws, rejected / draws


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=5_000)
    options = parser.parse_args()
    rng = np.random.default_rng(11)
    print("| data sets | seeds | sd between / error | average covered | next covered | equal rejected |")
    print("|---|---|---|---|---|---|")
    for k in (4, 6, 8):
        for seeds in (5, 20):
            for ratio in (0.0, 0.5, 1.0, 3.0):
                shares = covered(k, seeds, ratio, options.draws, rng)
                print(f"| {k} | {seeds} | {ratio:g} | " + " | ".join(f"{share:.3f}" for share in shares) + " |")


if __name__ == "__main__":
    main()
