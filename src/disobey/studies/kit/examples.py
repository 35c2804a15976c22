"""What an example of a data set looks like, for the galleries of `figures`, which know predictions only."""

from __future__ import annotations

from numpy.typing import NDArray

from disobey.data.dataset import Dataset
from disobey.figures.gallery import Look, Show
from disobey.records.predictions import Predictions


def example_of(predictions: Predictions, dataset: Dataset) -> Show:
    """From rows of the predictions to the data set's texts or images with the same ids."""
    split = dataset.split(predictions.split)
    place = {int(i): row for row, i in enumerate(split.ids)}

    def look(row: int) -> Look:
        found = place.get(int(predictions.ids[row]))
        if found is None or dataset.kind == "features":
            return Look()
        example = split.inputs[found]
        return Look(text=dataset.text(example)) if dataset.kind == "text" else Look(image=example)

    def show(rows: NDArray) -> list[Look]:
        return [look(int(row)) for row in rows]

    return show
