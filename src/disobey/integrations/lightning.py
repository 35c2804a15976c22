"""A Lightning callback that records a student on a fixed held-out set while it is trained."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl

from disobey.integrations.watch import Watch


class DiagnoseCallback(Watch, pl.Callback):
    """`Watch` as a callback, counting optimizer steps. Only the process of rank 0 records."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._look(trainer, pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any) -> None:
        self._look(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._look(trainer, pl_module, last=True)

    def _look(self, trainer: pl.Trainer, module: pl.LightningModule, *, last: bool = False) -> None:
        if trainer.is_global_zero:
            self.look(module, module.device, trainer.global_step, last=last)
