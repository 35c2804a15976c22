"""What cannot run is refused before anything is trained: data, options and models of all runs, tried once each."""

from __future__ import annotations

from collections.abc import Iterable

from disobey.training.facts import Facts
from disobey.training.recipe import Run
from disobey.training.tasks import TASKS


def check(runs: Iterable[Run]) -> Facts:
    """Tries the data, options and models of all runs.

    Returns:
        What was found out on the way, for grouping.

    Raises:
        Refusal: a data set that is not there, options that do not fit it, or a model that cannot take it.
    """
    facts = Facts()
    for run in runs:
        TASKS[run.recipe.task].check(run, facts)
    return facts
