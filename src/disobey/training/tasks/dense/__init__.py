"""Classes of pixels: segmentation of images with masks (data named ``scenes`` or ``segmentation:PLACE``).

A pixel is an example everywhere: in the objective, in the teacher's table, in the record. The record keeps at most
`records.pixels.PER_IMAGE` pixels of an image in each split (the same in every run), with the image of each as
``SPLIT.cluster`` and whether it lies at a boundary as ``SPLIT.boundary``; ``history`` has ``SPLIT.confusion``
(N, C, C), true by predicted class over *all* pixels of each image.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from disobey.training.context import Context
from disobey.training.facts import Facts
from disobey.training.recipe import Run

if TYPE_CHECKING:
    from disobey.training.parts import Trained


def check(run: Run, facts: Facts) -> None:
    """Refuses data, networks and options that do not go together; every recipe is tried once."""
    if facts.is_new(run.recipe):
        from disobey.training.tasks.dense.network import check_dense

        check_dense(run)


def train(run: Run, context: Context) -> Trained:
    """Trains the run's network and asks it about every split."""
    from disobey.training.tasks.dense.fitting import train_dense

    return train_dense(run, context)


def write(folder: Path, trained: Trained) -> None:
    """Weights, predictions on the pixels that are kept, history and summary."""
    from disobey.training.tasks.dense.fitting import write_dense

    write_dense(folder, trained)
