"""The valley around a random teacher: the plane through it, its student and a far one, and which way it is steeper.

Computed from stored weights. What is scored: the divergence KL(teacher‖network) of the taught outputs, and how well 20
nearest neighbours read the features.
Shapes: R directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from disobey.data.dataset import Dataset
from disobey.data.load import load
from disobey.data.tensors import inputs_tensor
from disobey.figures.heatmap import heat_map
from disobey.measures.inference.runs import mean_over_runs
from disobey.measures.paths import Plane, Score, plane, surface
from disobey.measures.planes import Asymmetry, asymmetry_beside, axes_around
from disobey.measures.probes import neighbour_probe
from disobey.models.features import feature_rows
from disobey.models.heads import TwoHeads
from disobey.models.near import random_walk
from disobey.records.results import Axis, Chart, Table
from disobey.studies.kit.evidence import Evidence
from disobey.studies.kit.tables import table
from disobey.studies.random_teacher.cells import FAR, STUDENT
from disobey.studies.random_teacher.claims import Family
from disobey.training.recipe import Recipe, Run
from disobey.training.seeds import torch_stream
from disobey.training.tasks.imitation.network import fresh
from disobey.training.tasks.imitation.objective import Taught, answers

ROWS = 250  # test images that a divergence is measured on; twice as many train and test a probe
STEPS = {"teacher": "teacher", "student": "student", "far": "far student"}
LETTERS = dict(zip("TSF", STEPS.values(), strict=True))  # as they stand on the plane


@dataclass(frozen=True, eq=False)
class Valley:
    """One seed's teacher and students, as weights, and a network to try weights on."""

    seed: int
    dataset: Dataset
    model: TwoHeads
    taught: Taught
    teacher: dict[str, Tensor]
    student: dict[str, Tensor]
    far: dict[str, Tensor]

    @classmethod
    def read(cls, e: Evidence, f: Family, seed: int) -> Valley:
        """From the records of a seed."""
        recipes = (f.line.teacher(), f.line.student(STUDENT), f.line.student(FAR))
        states = [load_file(e.records[Run(recipe, seed)].weights()) for recipe in recipes]
        return cls(seed, *_network(recipes[1], seed), *states)

    def divergence(self) -> Score:
        """KL(teacher‖network) of the taught outputs on test images, as a score of weights."""
        x = self._rows("test", ROWS)[0]
        target = self._outputs(self.teacher, x)

        def score(state: dict[str, Tensor]) -> float:
            return float((target.exp() * (target - self._outputs(state, x))).sum(-1).mean())

        return score

    def neighbours(self) -> Score:
        """Test accuracy of 20 nearest neighbours of the features, as a score of weights."""
        (x, y), (x_test, y_test) = self._rows("train", 2 * ROWS), self._rows("test", 2 * ROWS)

        def score(state: dict[str, Tensor]) -> float:
            self.model.load_state_dict(state)
            train, test = (feature_rows(self.model, rows).double().numpy() for rows in (x, x_test))
            return neighbour_probe(train, y, test[:1], y_test[:1], test).accuracy(y_test)

        return score

    def asymmetry(self, directions: int) -> Asymmetry:
        """Towards the student, beside random directions that are as long in every tensor."""
        generator = torch_stream(self.seed, "control")
        others = (random_walk(self.teacher, self.student, generator) for _ in range(directions))
        return asymmetry_beside(self.teacher, self.student, others, self.divergence())

    def _outputs(self, state: dict[str, Tensor], x: Tensor) -> Tensor:
        self.model.load_state_dict(state)
        return answers(self.taught, self.model, x).double().log_softmax(-1)

    def _rows(self, split: str, most: int) -> tuple[Tensor, NDArray]:
        n = len(self.dataset.split(split))
        rows = np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(np.int64)
        return inputs_tensor(self.dataset, split)[torch.from_numpy(rows)], self.dataset.split(split).labels[rows]


def plane_charts(e: Evidence, f: Family, points: int) -> list[Chart]:
    """Divergence and neighbours on the plane through the first seed's teacher and students."""
    valley = Valley.read(e, f, e.seeds[0])
    of = plane(valley.teacher, valley.student, valley.far)
    xs, ys = axes_around(of, points)
    with np.errstate(divide="ignore"):
        found = {
            "divergence": np.log10(np.maximum(surface(of, valley.divergence(), list(xs), list(ys)), 0)),
            "neighbours": surface(of, valley.neighbours(), list(xs), list(ys)),
        }
    names = {"divergence": "log10 KL(teacher‖network)", "neighbours": "accuracy of 20 nearest neighbours"}
    axes = (
        Axis("x", "distance from the teacher along its student's way", "nominal"),
        Axis("y", "distance across it", "nominal"),
    )
    places = ", ".join(
        f"{letter} {name} at ({x:.3g}, {y:.3g})"
        for (letter, name), (x, y) in zip(LETTERS.items(), of.places, strict=True)
    )
    caption = f"Seed {valley.seed}: {places}, distances in weight space; their rows and columns bear their names."
    ticks = [(_tick(x, of.places[:, 0]), _tick(y, of.places[:, 1])) for x, y in of.places]
    marks = dict(zip(ticks, LETTERS, strict=True))
    charts = []
    for key, grid in found.items():
        cells = [
            (_tick(x, of.places[:, 0]), _tick(y, of.places[:, 1]), "", round(float(v), 5) if np.isfinite(v) else None)
            for y, row in reversed(list(zip(ys, grid, strict=True)))
            for x, v in zip(xs, row, strict=True)
        ]
        alt = f"{names[key]} on a grid of the plane through a random teacher, its student and a far one. "
        alt += _heights(of, xs, ys, grid)
        title = f"The plane through teacher and students: {key}"
        value = Axis("v", names[key])
        charts.append(heat_map(cells, f"plane-{key}", title, *axes, value, alt, caption=caption, marks=marks))
    return charts


def asymmetry_table(e: Evidence, f: Family, directions: int) -> Table:
    """How much steeper the valley is away from the student than towards it, seed by seed."""
    found = {seed: Valley.read(e, f, seed).asymmetry(directions) for seed in e.seeds}
    columns = (
        ("seed", lambda seed: seed),
        ("towards the student", lambda seed: round(found[seed].own, 4)),
        ("random directions, mean", lambda seed: round(float(found[seed].others.mean()), 4)),
        ("smallest", lambda seed: round(float(found[seed].others.min()), 4)),
        ("largest", lambda seed: round(float(found[seed].others.max()), 4)),
        ("share at least as asymmetric", lambda seed: round(found[seed].share_above, 4)),
    )
    mean = mean_over_runs([one.beyond for one in found.values()], "asymmetry beyond random directions")
    caption = (
        "log KL(teacher‖teacher − t·u) / KL(teacher‖teacher + t·u), u the direction to the student, t its distance; "
        f"above 0: steeper away from the student. Beside it {directions} random directions that are as long in every "
        f"tensor. Towards the student minus their mean, over seeds: {mean}. No rule is about it."
    )
    return table("Asymmetry of the valley", list(found), columns, caption)


def _network(recipe: Recipe, seed: int) -> tuple[Dataset, TwoHeads, Taught]:
    dataset = load(recipe.data, seed)
    model = fresh(recipe, dataset, seed).eval().requires_grad_(False)
    return dataset, model, Taught(Run(recipe, seed), model)


def _heights(of: Plane, xs: NDArray, ys: NDArray, grid: NDArray) -> str:
    """The values at the three networks, in words."""
    found = []
    for (letter, name), (x, y) in zip(LETTERS.items(), of.places, strict=True):
        value = grid[int(np.abs(ys - y).argmin()), int(np.abs(xs - x).argmin())]
        found.append(f"{letter}, the {name}: {value:.3g}" if np.isfinite(value) else f"{letter}, the {name}: none")
    return f"{'; '.join(found)}."


def _tick(value: float, places: Sequence[float] | NDArray) -> str:
    """A coordinate, with the networks that have it."""
    here = [name for name, place in zip(STEPS, places, strict=True) if abs(value - place) < 1e-6]
    return f"{value:.3g}" + (f" {', '.join(here)}" if here else "")
