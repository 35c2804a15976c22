"""A Lightning callback that records a student on a fixed held-out set while it is trained."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from typing_extensions import override

from disobey.integrations.recorder import Recorder


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
