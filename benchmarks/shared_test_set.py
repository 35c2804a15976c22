"""All seeds share one test set: what more seeds can and cannot decide, and whether intervals over both hold the truth.

    python benchmarks/shared_test_set.py [--studies 1000] [--replicates 400]

*Rules*: students and controls whose accuracies over the population are equal; on a test set of 1,000 examples they
differ by luck, the same luck for every seed. How often does the rule of an accuracy's gain decide something, with the
examples' error in its interval and without it?

*diagnose*: teacher, students and controls with a slope, an agreement and a gain that are known for other seeds and
other examples (a population of 400,000 and many seeds). How often do its intervals over several seeds hold them?

Prints Markdown. Standard errors: 0.7 points at 5% of 1,000, 1.1 at 95% of 400.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.evidence.intervals import estimates
from disobey.diagnosis.input.pair import pair_from
from disobey.measures import agreement, calibration, deviation
from disobey.measures.inference.measure import minus_twin
from disobey.measures.inference.runs import example_error, mean_over_runs
from disobey.studies.kit.verdicts import decide, gain

EXAMPLES, CLASSES = 1000, 4
MEASURES = (
    minus_twin(agreement.MEASURES["student_accuracy"]),
    agreement.MEASURES["agreement"],
    minus_twin(agreement.MEASURES["agreement"]),
    deviation.MEASURES["ols_slope"],
    minus_twin(deviation.MEASURES["ols_slope"]),
    minus_twin(calibration.MEASURES["nll"]),
)


def study(seeds: int, rng: np.random.Generator, per_seed: float) -> NDArray:
    """(seeds, examples) right or wrong of students minus controls, equal over the population of examples."""
    ease = rng.normal(2.0, 2.5, EXAMPLES)  # log-odds of being right, about nine in ten
    lean = rng.normal(0.0, 0.8, EXAMPLES)  # what the student finds easier: none on average
    chance = [1 / (1 + np.exp(-(ease + side * lean))) for side in (0.5, -0.5)]
    shift = rng.normal(0, per_seed, (2, seeds, 1))
    right = [
        rng.random((seeds, EXAMPLES)) < np.clip(own + moved, 0, 1) for own, moved in zip(chance, shift, strict=True)
    ]
    return right[0].astype(float) - right[1]


def words(seeds: int, studies: int, per_seed: float) -> tuple[float, float, float]:
    """Shares of studies that decide: with the examples' error, without it; share called negligible with it."""
    rng, decided, alone, small = np.random.default_rng(seeds), 0, 0, 0
    for _ in range(studies):
        table = study(seeds, rng, per_seed)
        values = table.mean(axis=1)
        with_both = decide(gain(), [[mean_over_runs(values, "gain", example_error=example_error(table))]]).word
        over_runs = decide(gain(), [[mean_over_runs(values, "gain")]]).word
        decided += with_both in ("supported", "contradicted")
        alone += over_runs in ("supported", "contradicted")
        small += with_both == "negligible"
    return decided / studies, alone / studies, small / studies


def models(n: int, seeds: int, rng: np.random.Generator) -> dict[str, NDArray]:
    """A teacher, and a student and a control a seed; a seed turns logits a little everywhere and blurs each example."""
    z = 2.0 * rng.normal(size=(n, CLASSES))
    labels = (np.exp(log_softmax(z, axis=1)).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    teacher = z + 0.3 * rng.normal(size=z.shape)
    own = 0.6 * rng.normal(size=z.shape)  # what all students of this recipe get wrong together
    arrays = {"teacher": teacher, "labels": labels}
    for seed in range(seeds):
        for name, slope, base in (("student", 1.2, teacher), ("twin", 1.0, z)):
            mine = slope * (1 + 0.05 * rng.normal())
            arrays[f"{name}/seed{seed}"] = mine * base + own + 0.5 * rng.normal(size=z.shape)
    return arrays


def coverage(seeds: int, replicates: int, truth: dict[str, float]) -> dict[str, float]:
    """Share of replicates whose interval holds the truth, by measure."""
    hits = dict.fromkeys(truth, 0)
    for replicate in range(replicates):
        found = estimates(
            gather(pair_from(models(EXAMPLES, seeds, np.random.default_rng([seeds, replicate])))), MEASURES
        )
        for name, value in truth.items():
            hits[name] += found[name].low <= value <= found[name].high
    return {name: count / replicates for name, count in hits.items()}


def population() -> dict[str, float]:
    """The measures over many seeds and examples."""
    parts = []
    for part in range(60):
        evidence = gather(pair_from(models(20_000, 1, np.random.default_rng([10**6, part]))))
        parts.append([float(m.statistic(*evidence.of(m.columns), weights=np.ones(20_000))) for m in MEASURES])
    return dict(zip((m.name for m in MEASURES), np.mean(parts, axis=0), strict=True))


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--replicates", type=int, default=400)
    options = parser.parse_args()
    print(
        "| seeds | spread of a run's accuracy | decided | decided over runs alone | negligible |\n|---|---|---|---|---|"
    )
    for per_seed in (0.0, 0.005):
        for seeds in (5, 10, 20, 50):
            decided, alone, small = words(seeds, options.studies, per_seed)
            print(f"| {seeds} | {100 * per_seed:g} points | {decided:.1%} | {alone:.1%} | {small:.1%} |", flush=True)
    truth = population()
    print(f"\n| seeds | {' | '.join(truth)} |\n|---|{'---|' * len(truth)}")
    print(f"| truth | {' | '.join(f'{value:.4f}' for value in truth.values())} |", flush=True)
    for seeds in (3, 5):
        held = coverage(seeds, options.replicates, truth)
        print(f"| {seeds} | {' | '.join(f'{share:.3f}' for share in held.values())} |", flush=True)


if __name__ == "__main__":
    main()
