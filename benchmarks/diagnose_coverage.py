"""How often do the diagnosis' intervals hold the planted slope, agreement and difference of calibration errors?

    python benchmarks/diagnose_coverage.py [--replicates 1000] [--worlds two four] [--first 0]

Two worlds. *two*: two classes, where the student's log-odds are 1.2 times its teacher's plus noise, so that slope and
agreement are known exactly. *four*: four classes; the truth is the value on a population of 1.6 million examples, as it
is for calibration errors in both. Each size takes another kind of interval: bootstrap (2,000), grouped jackknife
(6,000), random groups (20,000, where it is forced: it is used from 50,000 on); the debiased calibration error's
differences take theirs from binned gaps at every size. Prints a Markdown table of the share of replicates whose nominal
95 % interval holds the truth; the standard error of a share near .95 over 1,000 is .007.
docs/guides/diagnose-validation.md has the last table.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.evidence.intervals import estimates
from disobey.diagnosis.input.pair import Pair, pair_from
from disobey.measures import agreement, calibration, deviation
from disobey.measures.inference.examples import BLOCKED
from disobey.measures.inference.measure import minus_teacher, minus_twin

SLOPE, NOISE, SPREAD = 1.2, 0.5, 2.0
CLASSES = {"two": 2, "four": 4}
SIZES = {2_000: "bootstrap", 6_000: "grouped jackknife", 20_000: "random groups"}
MEASURES = (
    deviation.MEASURES["ols_slope"],
    minus_twin(deviation.MEASURES["ols_slope"]),
    deviation.MEASURES["tls_slope"],
    agreement.MEASURES["agreement"],
    minus_twin(agreement.MEASURES["agreement"]),
    minus_twin(calibration.MEASURES["ece_debiased"]),
    minus_teacher(calibration.MEASURES["ece_debiased"]),
    minus_twin(calibration.MEASURES["overconfidence"]),
)
OTHERS = {
    minus_twin(calibration.MEASURES["ece_debiased"]).columns: "twin",
    minus_teacher(calibration.MEASURES["ece_debiased"]).columns: "teacher",
}


def drawn(world: str, n: int, seed: int) -> Pair:
    """A pair whose student follows its teacher, beside a twin; labels come from the softmax of the world's logits."""
    return _drawn(world, n, seed)[0]


def _drawn(world: str, n: int, seed: int) -> tuple[Pair, NDArray]:
    """The pair, and the probabilities (n, classes) that its labels were drawn with."""
    rng = np.random.default_rng([CLASSES[world], seed])
    z = SPREAD * rng.normal(size=(n, CLASSES[world]))
    chances = np.exp(log_softmax(z, axis=1))
    labels = (chances.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    teacher = z + 0.3 * rng.normal(size=z.shape)
    student = SLOPE * teacher + NOISE * rng.normal(size=z.shape)
    twin = z + 0.8 * rng.normal(size=z.shape)
    return pair_from({"teacher": teacher, "student": student, "twin": twin, "labels": labels}), chances


def truths(world: str) -> dict[str, float]:
    """Exact where the algebra gives it, else the value on 1.6 million examples.

    Calibration errors are taken with each choice's chance of being right in the place of whether it was: with drawn
    labels 1.6 million examples would still leave errors of a third of the standard error at 20,000.
    """
    out = dict.fromkeys((m.name for m in MEASURES), 0.0)
    for part in range(4):
        pair, chances = _drawn(world, 400_000, 10**6 + part)
        population = gather(pair)
        sample = population.sample
        for m in MEASURES:
            columns = list(population.of(m.columns))
            if m.columns in OTHERS:  # (nll, brier, confidence, right) of the student, then of the other
                models = sample.student, getattr(sample, OTHERS[m.columns])
                for i, logits in enumerate(models):
                    columns[4 * i + 3] = chances[np.arange(len(chances)), logits.argmax(axis=1)]
            out[m.name] += float(m.statistic(*columns, weights=np.ones(400_000))) / 4
    if world == "two":
        out |= {"ols_slope": SLOPE, "agreement": planted_agreement()}
    return out


def planted_agreement() -> float:
    """Of two classes: the chance that noise leaves the sign of the teacher's difference of logits as it was."""
    spread = np.sqrt(2 * (SPREAD**2 + 0.3**2))  # of that difference
    return float(1 - np.arctan(np.sqrt(2) * NOISE / (SLOPE * spread)) / np.pi)


def covered(
    world: str, n: int, replicates: int, truth: dict[str, float], blocked: bool, first: int = 0
) -> dict[str, float]:
    """Share of replicates whose interval holds the truth, by measure."""
    hits = dict.fromkeys(truth, 0)
    for seed in range(first, first + replicates):
        found = estimates(gather(drawn(world, n, seed)), MEASURES, blocked=n - 1 if blocked else BLOCKED)
        for name in truth:
            hits[name] += found[name].low <= truth[name] <= found[name].high
    return {name: count / replicates for name, count in hits.items()}


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first replicate")
    parser.add_argument("--worlds", nargs="*", default=list(CLASSES), choices=list(CLASSES))
    options = parser.parse_args()
    names = [m.name for m in MEASURES]
    print(f"| classes | examples, interval | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}")
    for world in options.worlds:
        truth = truths(world)
        print(f"| {world} | truth | {' | '.join(f'{truth[name]:.4f}' for name in names)} |", flush=True)
        for n, kind in SIZES.items():
            shares = covered(world, n, options.replicates, truth, kind == "random groups", options.first)
            print(f"| {world} | {n:,}, {kind} | {' | '.join(f'{shares[name]:.3f}' for name in names)} |", flush=True)


if __name__ == "__main__":
    main()
