"""`Recorder`: what the callbacks of all frameworks share. They only say when, which model, and on which device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from numpy.typing import ArrayLike

from disobey.integrations.scores import scores
from disobey.integrations.trajectory import Trajectory


class Recorder:
    """Records a student's scores on a fixed held-out set while it is trained, beside its teacher's.

    Args:
        teacher: (N, C) scores of the teacher on the held-out examples.
        batches: the same examples in the same order, the same each time, not shuffled.
        labels: (N,) where known.
        every: steps from one record to the next.
        path: where `Trajectory.write` saves the records when training ends.
        student: gives the part of the trained module that is recorded; all of it by default.
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

    def record(self, module: torch.nn.Module, device: torch.device | str, step: int, *, last: bool = False) -> None:
        """Records the student where the step is due, and always at the ``last`` one, after which all is written."""
        self.trajectory.record(step, lambda: scores(self.student(module), self.batches, device), always=last)
        if last and self.path is not None:
            self.trajectory.write(self.path)
