"""What an example of a data set looks like, for the galleries of `figures`, which know predictions only."""

from __future__ import annotations

from numpy.typing import NDArray

from disobey.data.dataset import Dataset
from disobey.figures.gallery import Look, Show
from disobey.records.predictions import Predictions


def example_of(predictions: Predictions, dataset: Dataset) -> Show:
    """From rows of the predictions to the data set's texts or images with the same ids.

    Of pixels and boxes, the whole image.
    """
    split = dataset.split(predictions.split)
    place_of = {int(i): row for row, i in enumerate(split.ids)}

    def pixel(id: int) -> Look:
        width, size = split.labels.shape[2], split.labels[0].size
        found, (y, x) = place_of.get(id // size), divmod(id % size, width)
        return Look() if found is None else Look(f"the pixel in row {y}, column {x}", split.inputs[found])

    def box(id: int) -> Look:
        image, place = divmod(id, split.labels.shape[1])
        found = place_of.get(image)
        if found is None:
            return Look()
        left, top, right, bottom = split.labels[found, place, :4].astype(int)
        return Look(f"the box from column {left} to {right}, row {top} to {bottom}", split.inputs[found])

    def look(row: int) -> Look:
        if dataset.dense:
            return pixel(int(predictions.ids[row]))
        if dataset.boxed:
            return box(int(predictions.ids[row]))
        found = place_of.get(int(predictions.ids[row]))
        if found is None or dataset.kind == "features":
            return Look()
        example = split.inputs[found]
        return Look(text=dataset.text(example)) if dataset.kind == "text" else Look(image=example)

    def show(rows: NDArray) -> list[Look]:
        return [look(int(row)) for row in rows]

    return show
