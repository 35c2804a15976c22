"""What the network part of `denoising` is judged by: one reading a case and seed, asked for by name.

S seeds. Moments are kept steps of the student; None is the end of its training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Estimate
from disobey.studies.denoising.gradients import ONE_HOT, GradientReading, Signal


@dataclass(frozen=True)
class Case:
    """One network on one share of wrong labels."""

    model: str
    noise: float

    @property
    def label(self) -> str:
        """The case in words."""
        return f"{self.model}, {self.noise:.0%} noise"


@dataclass(frozen=True, eq=False)
class GradientEvidence:
    """All gradients that were compared.

    Attributes:
        cases: networks and label noises.
        seeds: the complete ones (S).
        steps: the kept moments of the student's training; the first is its start.
        total: training steps.
        temperatures: of signals and truth, rising.
        readings: by case and seed.
    """

    cases: tuple[Case, ...]
    seeds: tuple[int, ...]
    steps: tuple[int, ...]
    total: int
    temperatures: tuple[float, ...]
    readings: Mapping[tuple[Case, int], GradientReading]

    @property
    def start(self) -> int:
        """The student's first moment."""
        return self.steps[0]

    @property
    def first(self) -> int:
        """The first kept moment after the start."""
        return self.steps[1]

    @property
    def cold(self) -> float:
        """The lowest temperature."""
        return self.temperatures[0]

    @property
    def hot(self) -> float:
        """The highest temperature."""
        return max(self.temperatures)

    def of(self, case: Case) -> list[GradientReading]:
        """One reading a seed."""
        return [self.readings[case, seed] for seed in self.seeds]

    def cosines(self, case: Case, moment: int | None, signal: Signal) -> NDArray:
        """Alignment with the large sample: (S,)."""
        return np.array([reading.cosines[moment, signal] for reading in self.of(case)])

    def cosine(self, case: Case, moment: int | None, signal: Signal) -> Estimate:
        """Mean alignment over seeds."""
        return mean_over_runs(self.cosines(case, moment, signal), "cosine")

    def at_start(self, case: Case, name: str, age: int | None, temperature: float) -> NDArray:
        """Alignment at the student's start: (S,)."""
        return self.cosines(case, self.start, (name, age, temperature))

    def over_one_hot(self, case: Case, name: str, age: int | None, temperature: float) -> NDArray:
        """Gain in alignment over the one-hot gradient at the student's start: (S,)."""
        return self.at_start(case, name, age, temperature) - self.at_start(case, ONE_HOT, None, temperature)

    def batches(self, case: Case, signal: Signal) -> NDArray:
        """SNR of minibatches at the start: (S,), NaN where it was not read."""
        return np.array([reading.batches.get(signal, np.nan) for reading in self.of(case)])

    def flips(self, case: Case, age: int | None, temperature: float) -> NDArray:
        """Share of positive residuals on the most confusable class and on the others: (S, 2)."""
        return np.array([reading.flips[age, temperature] for reading in self.of(case)])

    def layer(self, case: Case, layer: str, signal: Signal) -> NDArray:
        """Alignment of one layer's gradient at the start: (S,)."""
        return np.array([reading.layers[layer, signal] for reading in self.of(case)])

    def signals(self, case: Case) -> list[Signal]:
        """Every signal at the student's start."""
        return [signal for moment, signal in self.readings[case, self.seeds[0]].cosines if moment == self.start]

    def ages(self, case: Case) -> list[tuple[int | None, float]]:
        """Ages of trained teachers and temperatures of the sign flips."""
        return [key for key in self.readings[case, self.seeds[0]].flips if key[0] != 0]

    def layers(self, case: Case) -> list[str]:
        """Names of the weight matrices."""
        names = dict.fromkeys(name for name, _ in self.readings[case, self.seeds[0]].layers)
        return [name for name in names if name.endswith("weight")]
