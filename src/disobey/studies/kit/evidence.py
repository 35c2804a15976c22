"""The measures of one setting, once per seed: what tables, charts and claims are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disobey.measures import agreement, calibration, deviation
from disobey.measures.inference.intervals import applicable, mean_over_runs
from disobey.measures.inference.values import values
from disobey.records.predictions import Predictions
from disobey.records.results import Estimate

MEASURES = [*deviation.MEASURES.values(), *agreement.MEASURES.values(), *calibration.MEASURES.values()]


@dataclass(frozen=True)
class Evidence:
    """Values by measure, one a seed, for the student and (where there is one) for its twin."""

    student: Mapping[str, NDArray]
    twins: Mapping[str, NDArray]

    def known(self, name: str) -> bool:
        """Whether every seed has a value (a seed without teacher errors has no slope on them)."""
        arrays = [self.student.get(name), self.twins.get(name)]
        return all(a is not None and bool(np.isfinite(a).all()) for a in arrays)

    def estimate(self, name: str, text: str = "") -> Estimate:
        """The student's mean over seeds."""
        return mean_over_runs(self.student[name], text or name)

    def twin(self, name: str, text: str = "") -> Estimate:
        return mean_over_runs(self.twins[name], text or f"{name}, twin")

    def differences(self, name: str) -> NDArray:
        """Student minus twin, one a seed."""
        return self.student[name] - self.twins[name]

    def difference(self, name: str, text: str = "") -> Estimate:
        """Student minus twin, paired by seed."""
        return mean_over_runs(self.differences(name), text or f"{name}, student − twin")


def measured(pairs: Sequence[Predictions]) -> Evidence:
    """Every standard measure on every pair, for the student and for the twin in its place."""
    students = [values(applicable(MEASURES, p), p) for p in pairs]
    twins = [values(applicable(MEASURES, p), p.with_student(p.twin)) for p in pairs if p.twin is not None]
    return Evidence(_columns(students), _columns(twins))


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, NDArray]:
    return {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}
