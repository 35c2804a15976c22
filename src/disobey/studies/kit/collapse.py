"""Runs that fell out of line: one run in ten that collapses makes intervals over five seeds cover too rarely."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from disobey.records.results import Finding
from disobey.studies.kit.design import Records
from disobey.training.recipe import Recipe

SPREADS = 6.0  # robust standard deviations below the median at which a run counts as collapsed ...
LEAST = 0.05  # ... if it is also this much of accuracy below it: seeds that hardly vary have no outliers
FEWEST = 4  # runs of one kind from which a median says what is normal
_MAD_TO_SD = 1.4826


def collapses(records: Records) -> tuple[Finding, ...]:
    """A warning that names the runs whose test accuracy lies far below that of the same recipe's other seeds.

    Nothing is left out: a run that collapses belongs to what the recipe does. But a mean of five with one such run says
    little, so median and middle half stand beside the mean of every claim.
    """
    kinds: dict[Recipe, dict[int, float]] = defaultdict(dict)
    for run, record in records.items():
        accuracy = record.summary.get("test_accuracy")
        if accuracy is not None:
            kinds[run.recipe][run.seed] = float(accuracy)
    found = [
        f"{recipe.name or 'run'}, seed {seed}: {values[seed]:.3f}, median {np.median(list(values.values())):.3f}"
        for recipe, values in kinds.items()
        for seed in outliers(values)
    ]
    if not found:
        return ()
    listed = "; ".join(found[:8]) + (f"; and {len(found) - 8} more" if len(found) > 8 else "")
    runs = "1 run" if len(found) == 1 else f"{len(found)} runs"
    return (
        Finding(
            "Collapsed runs",
            "warning",
            f"Test accuracy of {runs} lies far below that of the other seeds: {listed}.",
            advice="Read the medians beside the means; look at the loss of these runs, or train with a warm-up.",
            id="collapsed-runs",
        ),
    )


def outliers(values: Mapping[int, float]) -> list[int]:
    """The seeds whose value lies far below the median of all.

    >>> outliers({0: 0.95, 1: 0.96, 2: 0.11, 3: 0.955, 4: 0.958})
    [2]
    >>> outliers({0: 0.95, 1: 0.96, 2: 0.94, 3: 0.955, 4: 0.958})
    []
    """
    if len(values) < FEWEST:
        return []
    numbers = np.array(list(values.values()))
    middle = float(np.median(numbers))
    spread = _MAD_TO_SD * float(np.median(np.abs(numbers - middle)))
    return [seed for seed, value in values.items() if middle - value > max(SPREADS * spread, LEAST)]
