"""What networks make of whole images: disagreement maps on the images themselves."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from disobey.data.dataset import Dataset
from disobey.data.tensors import inputs_tensor
from disobey.figures.examples import pixels
from disobey.figures.overlays import panels, words
from disobey.records.results import Exhibit, Gallery, Levels
from disobey.studies.kit.design import Arm
from disobey.studies.kit.evidence import Evidence
from disobey.training.recipe import Run
from disobey.training.tasks.dense.network import dense_network

SHOWN = 6


def overlays(arm: Arm, e: Evidence, dataset: Dataset, levels: Levels = ()) -> Gallery:
    """The test images of the first seed on which student and teacher disagree in most pixels.

    Args:
        arm: the student.
        e: its records.
        dataset: what the student was trained on, for images and masks.
        levels: what sets these images apart from others under the same title.
    """
    seed = e.seeds[0]
    assert arm.compared_with is not None
    teacher, student = (classes_of(Run(recipe, seed), e, dataset) for recipe in (arm.compared_with, arm.recipe))
    test = dataset.test
    differ = ((teacher != student) & (test.labels >= 0)).mean(axis=(1, 2))
    exhibits = []
    for row in np.argsort(-differ, kind="stable")[:SHOWN]:
        right = [(maps[row] == test.labels[row])[test.labels[row] >= 0].mean() for maps in (teacher, student)]
        lines = (
            f"they disagree on {differ[row]:.0%} of the pixels",
            f"pixel accuracy: teacher {right[0]:.3f}, student {right[1]:.3f}",
        )
        image = panels(test.inputs[row], test.labels[row], teacher[row], student[row])
        name = str(test.ids[row])
        exhibits.append(Exhibit(f"image {name}", lines, image=pixels(image, 1280), key=name))
    caption = f"{words(True, True)} Shown: {arm.label}, seed {seed}."
    return Gallery("Where student and teacher see different classes", tuple(exhibits), caption, levels)


@torch.inference_mode()
def classes_of(run: Run, e: Evidence, dataset: Dataset) -> NDArray:
    """The most likely class of every test pixel, (N, H, W)."""
    model = dense_network(run.recipe, dataset, run.seed)
    model.load_state_dict(load_file(e.records[run].weights()))
    parts = inputs_tensor(dataset, "test").split(64)
    return torch.cat([model.eval()(part).argmax(1) for part in parts]).numpy()
