"""Classes of boxes: detection of objects in images (data named ``scenes-boxes`` or ``detection:PLACE``).

The objective has a row for every cell of 4 x 4 pixels, the record one for every true box: the answer of the cell that
holds its centre, over "nothing" and the classes. With it go the image of each as ``SPLIT.cluster``, whether it overlaps
another true box as ``SPLIT.boundary`` and the box itself as ``SPLIT.box`` (M, 4). In ``history`` are ``SPLIT.found``
(F, 7), image id, left, top, right, bottom, class and score of what was found, and ``SPLIT.images`` (N,), all ids.
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
        from disobey.training.tasks.detection.network import check_detection

        check_detection(run)


def train(run: Run, context: Context) -> Trained:
    """Trains the run's network and asks it about every split."""
    from disobey.training.tasks.detection.fitting import train_detection

    return train_detection(run, context)


def write(folder: Path, trained: Trained) -> None:
    """Weights, predictions for the true boxes, what was found, history and summary."""
    from disobey.training.tasks.detection.fitting import write_detection

    write_detection(folder, trained)
