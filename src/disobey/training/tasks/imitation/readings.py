"""What is read off a finished student: its class head, its features, and where its weights went.

Keys of the summary. ``agreement``: share of test examples on which student and teacher choose the same class.
``divergence``: of the taught outputs on the test inputs. ``probe``, ``neighbours``, ``short``: test accuracy of the
probes of its features. ``rank``, ``dead``, ``scale``: effective rank, share of dead features, root mean square of the
features on test inputs. ``moved``: distance from the start over the start's norm. ``toward``: cosine of its movement
and its teacher's, both from the root's first weights. ``barrier``: error between student and teacher above the mean of
theirs. ``probe@start`` and so on: the same probes of what the student is compared with.
Shapes: N examples, D features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from disobey.data.dataset import Dataset
from disobey.data.tensors import inputs_tensor
from disobey.measures.paths import alignment, distance, path, reestimated
from disobey.measures.probes import logistic_probe, neighbour_probe
from disobey.measures.short_probe import short_probe
from disobey.measures.spread import dead_share, effective_rank, spectrum_map
from disobey.models.features import feature_rows
from disobey.models.heads import TwoHeads
from disobey.models.near import random_walk, shuffled
from disobey.training.recipe import Run, imitation_spec
from disobey.training.seeds import torch_stream
from disobey.training.tasks.imitation.network import fresh, root
from disobey.training.tasks.imitation.objective import Taught, answers, class_logits

ROWS = {"train": 2000, "validation": 1000, "test": 3000}  # examples that features are read on, at most
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # C, chosen on validation
POINTS = 7  # of the line to the teacher
Sides = tuple[NDArray, NDArray, NDArray]  # features of training, validation and test examples


@dataclass(frozen=True, eq=False)
class Subject:
    """What is read: a student, its data, its teacher, and the weights where its training began."""

    run: Run
    dataset: Dataset
    model: TwoHeads
    teacher: TwoHeads | None
    begin: Mapping[str, Tensor]

    def rows(self, split: str) -> NDArray:
        """The examples that features are read on, spread over the split: some data sets are sorted by class."""
        n = len(self.dataset.split(split))
        return np.arange(n) if n <= ROWS[split] else np.linspace(0, n - 1, ROWS[split]).astype(np.int64)

    def labels(self, split: str) -> NDArray:
        """True classes of these examples."""
        return self.dataset.split(split).labels[self.rows(split)]

    def inputs(self, split: str) -> Tensor:
        """Inputs of these examples in the network's precision."""
        return inputs_tensor(self.dataset, split)[self.rows(split)].to(next(self.model.parameters()).dtype)

    def sides(self, model: TwoHeads) -> Sides:
        """A network's features of all splits."""
        splits = ("train", "validation", "test")
        train, validation, test = (feature_rows(model, self.inputs(s)).double().numpy() for s in splits)
        return train, validation, test


def readings(of: Subject) -> dict[str, float]:
    """Everything that the recipe asks for, by key; what is not defined (no teacher, nothing moved) is left out."""
    wanted = imitation_spec(of.run.recipe).readings
    found = _weights(of) | _beside_teacher(of)
    sides = of.sides(of.model)
    test = sides[2]
    found |= {"rank": effective_rank(test), "dead": dead_share(test), "scale": float(np.sqrt((test**2).mean()))}
    if "probes" in wanted:
        found |= probes(of, sides, short="short" in wanted)
    for name, make in OTHERS.items():
        if name in wanted:
            other = probes(of, make(of, sides), short="short" in wanted)
            found |= {f"{key}@{name}": value for key, value in other.items()}
    if "barrier" in wanted and of.teacher is not None:
        found["barrier"] = barrier(of, of.teacher)
    return {key: value for key, value in found.items() if math.isfinite(value)}


def probes(of: Subject, sides: Sides, *, short: bool = False) -> dict[str, float]:
    """Test accuracy of the probes of features: logistic to convergence, 20 neighbours, and the short one."""
    y, test = of.labels("train"), of.labels("test")
    fitted = (sides[0], y, sides[1], of.labels("validation"), sides[2])
    found = {
        "probe": logistic_probe(*fitted, strengths=STRENGTHS, tolerance=1e-4).accuracy(test),
        "neighbours": neighbour_probe(*fitted).accuracy(test),
    }
    if short:
        found["short"] = float((short_probe(sides[0], y, sides[2]) == test).mean())
    return found


def barrier(of: Subject, teacher: TwoHeads) -> float:
    """Test error of the class head on the straight line to the teacher, above the mean of both ends'."""
    model, x = fresh(of.run.recipe, of.dataset, of.run.seed).to(next(of.model.parameters()).dtype), of.inputs("test")
    labels = torch.from_numpy(of.labels("test"))

    def error(state: dict[str, Tensor]) -> float:
        model.load_state_dict(state)
        reestimated(model, of.inputs("train").split(250))  # nothing where there is no batch norm
        return float((class_logits(model, x).argmax(-1) != labels).double().mean())

    return path(of.model.state_dict(), teacher.state_dict(), error, points=POINTS).barrier


def _weights(of: Subject) -> dict[str, float]:
    begin = of.begin
    size = distance({k: torch.zeros_like(v) for k, v in begin.items()}, begin)
    found = {"moved": distance(begin, of.model.state_dict()) / size}
    if of.teacher is not None:
        first = root(of.run)
        origin = fresh(first.recipe, of.dataset, first.seed).to(next(of.model.parameters()).dtype).state_dict()
        moved = {name: value - begin[name] + origin[name] for name, value in of.model.state_dict().items()}
        found["toward"] = alignment(origin, moved, of.teacher.state_dict())
    return found


def _beside_teacher(of: Subject) -> dict[str, float]:
    if of.teacher is None:
        return {}
    x, taught = of.inputs("test"), Taught(of.run, of.model)
    first, second = (class_logits(m, x).argmax(-1) for m in (of.model, of.teacher))
    p, q = (answers(taught, m, x).double().log_softmax(-1) for m in (of.teacher, of.model))
    divergence = float((p.exp() * (p - q)).sum(-1).mean())
    return {"agreement": float((first == second).double().mean()), "divergence": divergence}


def _start(of: Subject, sides: Sides) -> Sides:
    return _changed(of, of.begin)


def _matched(of: Subject, sides: Sides) -> Sides:
    """The start's features, centred, with the spectrum of the student's."""
    before = _start(of, sides)
    turned, mean = spectrum_map(before[0], sides[0]), before[0].mean(axis=0)
    train, validation, test = ((side - mean) @ turned for side in before)
    return train, validation, test


def _changed(of: Subject, state: Mapping[str, Tensor]) -> Sides:
    model = fresh(of.run.recipe, of.dataset, of.run.seed).to(next(of.model.parameters()).dtype)
    model.load_state_dict(state)
    return of.sides(model.eval())


def _walk(of: Subject, sides: Sides) -> Sides:
    return _changed(of, random_walk(of.begin, of.model.state_dict(), torch_stream(of.run.seed, "control")))


def _shuffled(of: Subject, sides: Sides) -> Sides:
    return _changed(of, shuffled(of.model.state_dict(), torch_stream(of.run.seed, "control")))


def _pixels(of: Subject, sides: Sides) -> Sides:
    splits = ("train", "validation", "test")
    train, validation, test = (of.inputs(s).contiguous().flatten(1).double().numpy() for s in splits)
    return train, validation, test


OTHERS: Mapping[str, Callable[[Subject, Sides], Sides]] = {
    "start": _start,
    "matched": _matched,
    "walk": _walk,
    "shuffled": _shuffled,
    "pixels": _pixels,
}
