"""What networks make of whole images: disagreement maps and found boxes on the images themselves."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from disobey.data.boxes import present
from disobey.data.dataset import Dataset
from disobey.data.tensors import inputs_tensor
from disobey.figures.boxes import beside
from disobey.figures.examples import pixels
from disobey.figures.overlays import panels, words
from disobey.records.results import Exhibit, Gallery, Levels
from disobey.studies.kit.design import Arm
from disobey.studies.kit.evidence import Evidence
from disobey.training.recipe import Run
from disobey.training.tasks.dense.network import dense_network

SHOWN = 6
SURE = 0.3  # score of a found box that is drawn


def overlays(arm: Arm, e: Evidence, dataset: Dataset, levels: Levels = ()) -> Gallery:
    """The test images of the first seed on which student and teacher disagree most.

    Args:
        arm: the student.
        e: its records.
        dataset: what the student was trained on, for images and masks.
        levels: what sets these images apart from others under the same title.
    """
    return _boxes(arm, e, dataset, levels) if dataset.boxed else _maps(arm, e, dataset, levels)


def _maps(arm: Arm, e: Evidence, dataset: Dataset, levels: Levels) -> Gallery:
    """Those whose pixels they give different classes."""
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


def _boxes(arm: Arm, e: Evidence, dataset: Dataset, levels: Levels) -> Gallery:
    """Those whose true boxes they give different classes; shown are found boxes with a score of `SURE` or more."""
    seed, test = e.seeds[0], dataset.test
    assert arm.compared_with is not None
    records = [e.records[Run(recipe, seed)] for recipe in (arm.compared_with, arm.recipe)]
    teacher, student = (record.log_probs("test").argmax(axis=1) for record in records)
    labels, images = (records[1].examples[f"test.{name}"] for name in ("labels", "cluster"))
    differ = np.array([((teacher != student) & (images == id)).sum() for id in test.ids])
    exhibits = []
    for row in np.argsort(-differ, kind="stable")[:SHOWN]:
        own = images == test.ids[row]
        right = [int((answers == labels)[own].sum()) for answers in (teacher, student)]
        lines = (
            f"they give {differ[row]} of {own.sum()} boxes different classes",
            f"right: teacher {right[0]}, student {right[1]}",
        )
        truth = test.labels[row][present(test.labels[row]), :4]
        found = [_sure(record.history["test.found"], int(test.ids[row])) for record in records]
        size = test.inputs[row].shape[:2]
        name = str(test.ids[row])
        exhibits.append(
            Exhibit(f"image {name}", lines, image=pixels(beside(test.inputs[row], size, truth, *found), 1280), key=name)
        )
    caption = (
        "Left: the teacher's boxes in orange; right: the student's in blue; true boxes in white. Found boxes have a "
        f"score of {SURE:g} or more. Shown: {arm.label}, seed {seed}."
    )
    return Gallery("Where student and teacher see different classes", tuple(exhibits), caption, levels)


def _sure(found: NDArray, image: int) -> NDArray:
    """(M, 4) boxes of an image among found ones (F, 7)."""
    return found[(found[:, 0] == image) & (found[:, 6] >= SURE), 1:5]
