"""What cannot run is refused before anything is trained: data, options and models of all runs, tried once each."""

from __future__ import annotations

from collections.abc import Iterable

from disobey.data.load import load
from disobey.models.build import build, is_file, resolve
from disobey.training.recipe import Run
from disobey.training.train import input_shape


def check(runs: Iterable[Run]) -> None:
    """Raises `ValueError` for data that is not there, options that do not fit it, or a model that cannot take it.

    Users' own factories and downloaded models are only looked for, not built: building them may take long.
    """
    tried = set()
    for run in runs:
        data, model = run.recipe.data, run.recipe.model
        if run.recipe.sequence is not None:
            if run.recipe not in tried:
                from disobey.training.tasks.sequences.model import check_sequence

                check_sequence(run)
                tried.add(run.recipe)
            continue
        if data not in tried:
            load(data, run.seed)
            tried.add(data)
        if (data.name, model) in tried:
            continue
        tried.add((data.name, model))
        if model.name.startswith("hf:") or is_file(model.name):
            resolve(model)
        else:
            dataset = load(data, run.seed)
            build(model, shape=input_shape(dataset), classes=len(dataset.classes), vocabulary=len(dataset.vocabulary))
