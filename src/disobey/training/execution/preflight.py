"""What cannot run is refused before anything is trained: data, options and models of all runs, tried once each."""

from __future__ import annotations

from collections.abc import Iterable

from disobey.training.devices import check_precision
from disobey.training.facts import Facts
from disobey.training.recipe import Recipe, Run
from disobey.training.serialize import decode, encode
from disobey.training.tasks import TASKS


def check(runs: Iterable[Run], device: str = "") -> Facts:
    """Tries the data, options and models of all runs.

    Args:
        runs: any.
        device: ``cpu`` or ``cuda``, where they are to be trained here; empty: not said.

    Returns:
        What was found out on the way, for grouping.

    Raises:
        Refusal: a number that no file with a recipe may hold either (negative steps, say), a data set that is not
            there, options that do not fit it, or a model that cannot take it.
    """
    facts = Facts()
    runs = list(runs)
    for run in runs:
        if device:
            check_precision(run.recipe.optim.precision, device)
        TASKS[run.recipe.task].check(run, facts)
    for recipe in dict.fromkeys(run.recipe for run in runs):
        decode(encode(recipe), Recipe)  # the decoder of files knows the range of every field
    return facts
