"""What the network part of `eigenspace` is judged by: the paths of students and twins, and their biases.

S seeds, T kept moments (the end last), K bands; biases leave the top band out, so they have K − 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from disobey.measures.eigenspace import matched_bias, top_bias

FIRST = "first layer"
Paths = Mapping[str, NDArray]  # band norms (T, K) by layer, in the order of the layers


@dataclass(frozen=True)
class Net:
    """One comparison: a network, its label noise, the temperature of student and twin, and the teacher's age."""

    model: str
    noise: float
    temperature: float
    age: int | None = None  # the teacher's kept step; None: its end

    @property
    def label(self) -> str:
        """The comparison in words."""
        teacher = "final teacher" if self.age is None else f"teacher of {self.age} steps"
        return f"{self.model}, {self.noise:.0%} noise, τ={self.temperature:g}, {teacher}"


@dataclass(frozen=True, eq=False)
class WeightPaths:
    """Paths of all weights since initialization.

    Attributes:
        nets: the comparisons.
        seeds: the complete ones.
        moments: the T kept steps.
        main: the temperature at which claims are judged.
        students: paths by net and seed.
        twins: the same of the controls; a twin has no teacher, so its age is None.
        gains: test accuracy, student − twin, (S,).
    """

    nets: tuple[Net, ...]
    seeds: tuple[int, ...]
    moments: tuple[int, ...]
    main: float
    students: Mapping[tuple[Net, int], Paths]
    twins: Mapping[tuple[Net, int], Paths]
    gains: Mapping[Net, NDArray]

    def student(self, net: Net, seed: int, layer: str = FIRST) -> NDArray:
        """Band norms of the student's path, (T, K)."""
        return _path(self.students[net, seed], layer)

    def twin(self, net: Net, seed: int, layer: str = FIRST) -> NDArray:
        """Band norms of the control's path, (T, K)."""
        return _path(self.twins[replace(net, age=None), seed], layer)

    def layers(self, net: Net) -> list[str]:
        """Names of the layers, from input to output."""
        return list(self.students[net, self.seeds[0]])

    def biases(self, net: Net, layer: str = FIRST) -> NDArray:
        """Top bias over the twin at every moment: (S, T, K − 1)."""
        return np.stack([top_bias(self.student(net, s, layer), self.twin(net, s, layer)) for s in self.seeds])

    def end(self, net: Net, layer: str = FIRST) -> NDArray:
        """Top bias at the end of training, in the lowest band: (S,)."""
        return self.biases(net, layer)[:, -1, -1]

    def behind(self, net: Net, layer: str) -> NDArray:
        """How far the lowest band is behind the twin's at equal length of the top one: (S,), NaN where never equal."""
        paths = [(self.student(net, s, layer), self.twin(net, s, layer)) for s in self.seeds]
        return np.array([matched_bias(student, twin)[-1] for student, twin in paths])

    def judged(self) -> list[Net]:
        """The nets of the main temperature and final teachers."""
        return [net for net in self.nets if net.temperature == self.main and net.age is None]


def _path(found: Paths, layer: str) -> NDArray:
    return found[next(iter(found)) if layer == FIRST else layer]
