"""A Lightning callback that records a student on a fixed held-out set while it is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from numpy.typing import ArrayLike

from disobey.integrations.scores import scores
from disobey.integrations.trajectory import Trajectory


class DiagnoseCallback(pl.Callback):
    """Every ``every`` steps: the student's scores on ``batches`` (the same each time, unshuffled), beside the teacher's.

    teacher: (N, C) scores of the teacher on the same examples in the same order. student: the module in the Lightning
    module that is to be watched (itself by default). path: where `Trajectory.write` puts the looks when training ends.
    Only the process of rank 0 records.
    """

    def __init__(
        self,
        teacher: ArrayLike,
        batches: Iterable[Any],
        labels: ArrayLike | None = None,
        *,
        every: int = 100,
        path: Path | str | None = None,
        student: Callable[[pl.LightningModule], torch.nn.Module] = lambda module: module,
    ):
        self.trajectory = Trajectory(teacher, labels, every)
        self.batches, self.path, self.student = batches, path, student

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._look(trainer, pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any) -> None:
        self._look(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._look(trainer, pl_module, always=True)
        if self.path is not None and trainer.is_global_zero:
            self.trajectory.write(self.path)

    def _look(self, trainer: pl.Trainer, module: pl.LightningModule, *, always: bool = False) -> None:
        if trainer.is_global_zero:
            predict = lambda: scores(self.student(module), self.batches, module.device)
            self.trajectory.look(trainer.global_step, predict, always=always)
