"""What was found on every setting, what it is regressed on, and how well a left-out data set is predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.regression import Fit, regress, ridge_predictions
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Estimate
from disobey.studies.dataset_dependency.properties import DIMENSION, GAP, PER_CLASS, PROPERTIES, SIMILARITY
from disobey.studies.dataset_dependency.settings import FACTORS, PLANTED, Setting, by_family

PENALTIES = (1.0, 4.0, 16.0, 64.0, 256.0)
KNOWN_NOISE = "label noise"
REAL = (KNOWN_NOISE, SIMILARITY, DIMENSION, PER_CLASS)
"""what gains on re-sampled data are regressed on: what a re-sampling sets, not what the teacher makes of it"""


@dataclass(frozen=True, eq=False)
class Findings:
    """Numbers by setting (N settings, S seeds).

    Attributes:
        settings: where.
        gains: (N, S) test accuracy, student − control.
        deviations: (N, S) mean deviation from the teacher on the quarter of training examples on which it is least
            confident, student − control, in nats of log-odds.
        properties: (N, 7), see `properties.PROPERTIES`; means over seeds.
    """

    settings: Sequence[Setting]
    gains: NDArray
    deviations: NDArray
    properties: NDArray

    @cached_property
    def families(self) -> Mapping[str, list[int]]:
        """Positions of the settings of every data set."""
        return by_family(self.settings)

    @cached_property
    def planted(self) -> list[int]:
        """Positions of the generator's settings."""
        return self.families.get(PLANTED, [])

    @cached_property
    def resampled(self) -> list[int]:
        """Positions of the others."""
        return [i for name, rows in self.families.items() if name != PLANTED for i in rows]

    @cached_property
    def gain(self) -> NDArray:
        """(N,) mean over seeds."""
        return self.gains.mean(axis=1)

    @cached_property
    def deviation(self) -> NDArray:
        """(N,) mean over seeds."""
        return self.deviations.mean(axis=1)

    @cached_property
    def names(self) -> NDArray:
        """(N,) family of every setting."""
        return np.array([setting.family for setting in self.settings])

    def column(self, name: str) -> NDArray:
        """(N,) a property, or the planted label noise."""
        if name == KNOWN_NOISE:
            return np.array([setting.factors[KNOWN_NOISE] for setting in self.settings])
        return self.properties[:, PROPERTIES.index(name)]

    @cached_property
    def fits(self) -> dict[str, Fit | None]:
        """The regressions that claims are judged on; None where there are too few settings."""
        factors = np.array([[self.settings[i].factors[name] for name in FACTORS] for i in self.planted])
        real = np.stack([self.column(name) for name in REAL], axis=1)[self.resampled]
        groups = self.names[self.resampled]
        return {
            "planted": fitted(self.gain[self.planted], factors, FACTORS),
            "planted deviation": fitted(self.deviation[self.planted], factors, FACTORS),
            "re-sampled": fitted(self.gain[self.resampled], real, REAL, groups),
            "re-sampled deviation": fitted(self.deviation[self.resampled], real, REAL, groups),
            "gap": fitted(self.deviation, self.column(GAP)[:, None], (GAP,), self.names),
        }

    @cached_property
    def left_out(self) -> NDArray:
        """(2, N) gains of every setting as predicted from the other data sets: by properties, and by their mean."""
        found = np.full((2, len(self.settings)), np.nan)
        if len(self.families) < 3:
            return found
        for rows in self.families.values():
            others = [i for i in range(len(self.settings)) if i not in rows]
            found[:, rows] = self.predicted(others, rows)
        return found

    @cached_property
    def from_planted(self) -> NDArray:
        """(2, N) gains of the re-sampled settings as predicted from the generator's alone."""
        found = np.full((2, len(self.settings)), np.nan)
        if len(self.planted) > len(PROPERTIES) and self.resampled:
            found[:, self.resampled] = self.predicted(self.planted, self.resampled)
        return found

    def predicted(self, known: Sequence[int], new: Sequence[int]) -> NDArray:
        """(2, M) predictions of new settings from known ones: by ridge regression on all properties, by the mean.

        The penalty is chosen among the known ones, whose data sets (of one: quarters of its settings) are left out in
        turn.
        """
        x, y = self.properties[known], self.gain[known]
        parts = np.unique(self.names[known], return_inverse=True)[1]
        parts = parts if parts.max() > 0 else np.arange(len(known)) % 4
        errors = [_left_out_error(y, x, parts, penalty) for penalty in PENALTIES]
        penalty = PENALTIES[int(np.argmin(errors))]
        by_properties = ridge_predictions(y, x, self.properties[new], penalty=penalty)
        return np.stack([by_properties, np.full(len(new), y.mean())])

    def advantage(self, predictions: NDArray, name: str) -> Estimate:
        """Mean absolute error of the mean minus that of the properties, averaged over data sets, which are the unit."""
        return mean_over_runs(list(self.advantages(predictions).values()), name, over="data sets")

    def advantages(self, predictions: NDArray) -> dict[str, float]:
        """The same by data set, as far as it was predicted."""
        found = {}
        for family, rows in self.families.items():
            ours, mean = self.errors(predictions, rows)
            if np.isfinite(ours):
                found[family] = mean - ours
        return found

    def errors(self, predictions: NDArray, rows: Sequence[int]) -> tuple[float, float]:
        """Mean absolute errors over settings: by properties, and by the mean."""
        ours, mean = np.abs(predictions[:, rows] - self.gain[rows]).mean(axis=1)
        return float(ours), float(mean)


def fitted(outcome: NDArray, x: NDArray, names: Sequence[str], groups: NDArray | None = None) -> Fit | None:
    """`regress`, or None for too few settings, or where a property does not vary."""
    means = 1 if groups is None else len(np.unique(groups))
    if len(outcome) < len(names) + means + 3 or (np.ptp(x, axis=0) < 1e-12).any():
        return None
    return regress(outcome, x, names, groups)


def _left_out_error(y: NDArray, x: NDArray, parts: NDArray, penalty: float) -> float:
    missed = []
    for part in np.unique(parts):
        out = parts == part
        missed.append(np.abs(ridge_predictions(y[~out], x[~out], x[out], penalty=penalty) - y[out]).mean())
    return float(np.mean(missed))
