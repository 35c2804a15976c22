"""What `--until-settled` costs and how often it is wrong: the loop itself, on studies whose effects are planted.

python benchmarks/settled.py [--studies 400] [--max-seeds 40] [--block 5]

A study has six claims of an accuracy gain, with a margin of 0.5 points; true gains are 0, 0, 0.25, 0.5, 1 and 2 points.
Seeds share a part of their luck over claims (correlation 0.5). Seeds are added until every claim has a word. Wrong: a
word other than undecided that the truth contradicts (supported or contradicted at 0, negligible from the margin on).
Covered: the interval holds the truth where the study stops. Student's intervals in the same loop are the control.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.policy import Intervals
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Claim, Result
from disobey.studies.kit.claims import ClaimSpec, Source, Verdicts, judge
from disobey.studies.kit.settle import ANYTIME, Settled, Stopping, settle
from disobey.studies.kit.verdicts import ACCURACY_MARGIN, gain
from disobey.training.execution.engine import Outcome
from disobey.training.recipe import Recipe, Run

GAINS = (0.0, 0.0, 0.0025, 0.005, 0.01, 0.02)
KINDS = ("normal", "t3", "skewed", "collapsing")
MOST = 200  # seeds of a planted study


@dataclass(frozen=True)
class Setting:
    """One claim's setting: its label is its place among the gains."""

    label: str
    values: NDArray


@dataclass(frozen=True)
class Seeds:
    """The option that every study has."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Planted:
    """A study without networks."""

    name: ClassVar[str] = "planted"
    question: ClassVar[str] = "Does it pay?"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    setup: Seeds = field(default_factory=Seeds)
    table: NDArray = field(default_factory=lambda: np.zeros((0, 0)), metadata={"option": False})
    is_smoke: bool = field(default=False, metadata={"option": False})

    @classmethod
    def smoke(cls) -> Planted:
        """Itself."""
        return cls()

    def plan(self) -> list[Run]:
        """One run a seed."""
        return [Run(Recipe(), seed) for seed in self.setup.seeds]

    def verdicts(self, records: Mapping[Run, Any]) -> Verdicts:
        """Every claim on the seeds that there are."""
        rows = self.table[sorted(run.seed for run in records)]
        settings = [Setting(str(i), rows[:, i]) for i in range(len(GAINS))]
        return judge([CLAIM], None, settings)

    def analyze(self, records: Mapping[Run, Any]) -> Result:
        """The claims."""
        return Result(self.name, self.question, self.verdicts(records).claims)


CLAIM = ClaimSpec("C1", "It pays.", Source("planted"), gain(), lambda _, s: [mean_over_runs(s.values, "gain")])


@dataclass(frozen=True)
class Free:
    """The record of a run that cost nothing."""

    cost: Mapping[str, float] = field(default_factory=dict)


def planted(kind: str, rng: np.random.Generator) -> NDArray:
    """(MOST, claims) differences with a standard deviation of 1 point around the planted gains."""
    shape = (MOST, len(GAINS))
    if kind == "normal":
        own = rng.normal(size=shape)
    elif kind == "t3":
        own = rng.standard_t(3, size=shape) / np.sqrt(3)
    elif kind == "skewed":
        own = rng.exponential(size=shape) - 1
    else:  # one run in ten loses far more than the others differ
        own = (rng.normal(size=shape) - 5 * (rng.random(shape) < 0.1) + 0.5) / np.sqrt(1 + 25 * 0.09)
    shared = rng.normal(size=(MOST, 1))
    return np.array(GAINS) + 0.01 * (np.sqrt(0.5) * own + np.sqrt(0.5) * shared)


def train(study: Any) -> Outcome:
    """Everything is there at once."""
    return Outcome({run: Free() for run in study.plan()}, frozenset(), {})  # type: ignore[arg-type]


def wrong(claim: Claim, truth: float) -> bool:
    """Whether the truth contradicts a word."""
    if claim.verdict == "negligible":
        return truth >= ACCURACY_MARGIN
    return claim.verdict == "contradicted" or (claim.verdict == "supported" and truth <= 0)


def measured(settled: Settled) -> NDArray:
    """(claims, 4): wrong, covered, undecided, seeds until it was settled for good."""
    last = settled.looks[-1]
    rows = []
    for i, (claim, truth) in enumerate(zip(last.claims, GAINS, strict=True)):
        (estimate,) = claim.evidence[:1]
        after = next((look.seeds for look in settled.looks if look.claims[i].verdict != "undecided"), last.seeds)
        rows.append((wrong(claim, truth), estimate.low <= truth <= estimate.high, claim.verdict == "undecided", after))
    return np.array(rows, dtype=np.float64)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--max-seeds", type=int, default=40)
    parser.add_argument("--block", type=int, default=5)
    options = parser.parse_args()
    stopping = Stopping(options.max_seeds, options.block)
    print("| values | intervals | gain (points) | wrong | covered | undecided | seeds |\n|---|---|---|---|---|---|---|")
    for kind in KINDS:
        for words, intervals in (("anytime", ANYTIME), ("Student", Intervals())):
            rng = np.random.default_rng(5)
            found = []
            for _ in range(options.studies):
                study = Planted(table=planted(kind, rng))
                found.append(measured(settle(study, train, stopping, lambda _: None, intervals=intervals)))
            for truth, row in zip(GAINS, np.mean(found, axis=0), strict=True):
                shares = " | ".join(f"{share:.3f}" for share in row[:3])
                print(f"| {kind} | {words} | {100 * truth:g} | {shares} | {row[3]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
