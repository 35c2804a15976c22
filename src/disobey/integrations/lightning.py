"""Lightning: a callback that records a student while it is trained, one that holds its teacher, and a mixin."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from typing_extensions import override

from disobey.errors import refusal
from disobey.integrations.recorder import Recorder
from disobey.targets.kd_loss import KDLoss
from disobey.targets.schedule import Schedule


class DiagnoseCallback(Recorder, pl.Callback):
    """`Recorder` as a callback, counting optimizer steps. Only the process of rank 0 records."""

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Records the untrained student."""
        self._record(trainer, pl_module)

    @override
    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any) -> None:
        """Records where the step is due."""
        self._record(trainer, pl_module)

    @override
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Records the trained student and writes everything."""
        self._record(trainer, pl_module, last=True)

    def _record(self, trainer: pl.Trainer, module: pl.LightningModule, *, last: bool = False) -> None:
        if trainer.is_global_zero:
            self.record(module, module.device, trainer.global_step, last=last)


class HoldTeacher(pl.Callback):
    """Holds a frozen teacher beside the trained module: on its device, in ``eval`` mode, in no checkpoint or optimizer.

    Args:
        teacher: the teacher; its parameters are frozen.
        schedule: the objective; Hinton's mixture by default (see `disobey.KDLoss`).
    """

    def __init__(self, teacher: torch.nn.Module, schedule: Schedule | None = None):
        self.teacher = teacher.eval().requires_grad_(False)
        self.criterion = KDLoss(schedule)

    @override
    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Gives itself to a module with `Distilled`."""
        if isinstance(pl_module, Distilled):
            pl_module.held = (self,)  # in a tuple: a module would register a module

    def loss(self, module: pl.LightningModule, inputs: Any, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch of the module that is trained."""
        self.teacher.to(logits.device)
        with torch.no_grad():
            answers = self.teacher(inputs)
        trainer = module.trainer
        progress = min(trainer.global_step / max(float(trainer.estimated_stepping_batches), 1.0), 1.0)
        return self.criterion(logits, labels, getattr(answers, "logits", answers), progress=progress)


class Distilled:
    """Mixin of a `LightningModule`: ``self.kd_loss(inputs, logits, labels)`` in its ``training_step``.

    Put it first: ``class Student(Distilled, LightningModule)``, and give the trainer a `HoldTeacher`.
    """

    held: tuple[HoldTeacher, ...] = ()

    def kd_loss(self, inputs: Any, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch, by the teacher that the trainer's `HoldTeacher` holds.

        Raises:
            Refusal: ``no-held-teacher``.
        """
        if not self.held:
            raise refusal(
                "no-held-teacher", "a trainer that holds a teacher", "none", "callbacks=[HoldTeacher(teacher)]"
            )
        assert isinstance(self, pl.LightningModule)
        return self.held[0].loss(self, inputs, logits, labels)
