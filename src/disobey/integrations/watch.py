"""`Watch`: what the callbacks of all frameworks share. They only say when, which model, and on which device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from numpy.typing import ArrayLike

from disobey.integrations.scores import scores
from disobey.integrations.trajectory import Trajectory


class Watch:
    """Every ``every`` steps: a student's scores on ``batches`` (the same each time, unshuffled), beside its teacher's.

    teacher: (N, C) scores on the same examples in the same order. labels: (N,) where known. path: where
    `Trajectory.write` puts the looks when training ends. student: the part of the trained module that is watched
    (all of it by default).
    """

    def __init__(
        self,
        teacher: ArrayLike,
        batches: Iterable[Any],
        labels: ArrayLike | None = None,
        *,
        every: int = 100,
        path: Path | str | None = None,
        student: Callable[[Any], torch.nn.Module] = lambda module: module,
    ):
        self.trajectory = Trajectory(teacher, labels, every)
        self.batches, self.path, self.student = batches, path, student

    def look(self, module: torch.nn.Module, device: torch.device | str, step: int, *, last: bool = False) -> None:
        """Records the student where the step is due, and always at the ``last`` one, after which all is written."""
        self.trajectory.look(step, lambda: scores(self.student(module), self.batches, device), always=last)
        if last and self.path is not None:
            self.trajectory.write(self.path)
