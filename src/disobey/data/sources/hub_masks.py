"""Images with masks from Hugging Face `datasets`: ``segmentation:hub:NAME``, two columns of pictures."""

from __future__ import annotations

from typing import Any

from disobey.bounds import mendable
from disobey.data.dataset import Dataset
from disobey.data.formats.columns import IMAGE_COLUMNS, Options, choose_column
from disobey.data.formats.images import decoded
from disobey.data.formats.masks import SEGMENTATION, Part, assembled, mask_of, stacked
from disobey.data.sources.hub import picture, read_splits, with_test
from disobey.errors import refusal

MASK_COLUMNS = ("annotation", "mask", "label", "labels", "segmentation_mask")


def from_hub_masks(name: str) -> Dataset:
    """The data set of a name that begins with ``segmentation:hub:``.

    Args:
        name: ``segmentation:hub:NAME``, with ``#input=image,label=annotation,size=32``.

    Returns:
        The data set, read completely; its labels are masks, 255 is void.

    Raises:
        Refusal: ``no-train-split``, ``mask-column``, or a refusal of the hub, of columns or of pictures.
    """
    place, options = Options.parse(name)
    with mendable(place):
        hub = place.removeprefix(f"{SEGMENTATION}hub:")
        parts = read_splits(place, hub, lambda where, split: _part(where, split, options))
    return assembled(name, with_test(parts))


def _part(where: str, data: Any, options: Options) -> Part:
    import datasets

    label = choose_column(where, data.column_names, options.label, MASK_COLUMNS, "label")
    rest = [column for column in data.column_names if column != label]
    column = choose_column(where, rest, options.input, IMAGE_COLUMNS, "input")
    for one in (column, label):
        if not isinstance(data.features[one], datasets.Image):
            got = f"{one!r} of {type(data.features[one]).__name__}"
            raise refusal("mask-column", "two columns of pictures", got, "#input=image,label=annotation", where=where)
    raw = data.select_columns([column, label])
    raw = raw.cast_column(column, datasets.Image(decode=False)).cast_column(label, datasets.Image(decode=False))
    pictures = ((f"{where}, row {n}", picture(where, n, row[column])) for n, row in enumerate(raw))
    images = decoded(pictures, len(raw), options.size)
    masks = ((f"{where}, row {n}", mask_of(where, picture(where, n, row[label]))) for n, row in enumerate(raw))
    return images, stacked(masks, images.shape[:3], options.size)
