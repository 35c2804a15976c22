"""A callback for Transformers' `Trainer` that records a student on a fixed held-out set while it is trained."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback
from typing_extensions import override

from disobey.integrations.recorder import Recorder


class DiagnoseCallback(Recorder, TrainerCallback):
    """`Recorder` as a callback, counting optimizer steps. Only the process of rank 0 records.

    ``batches`` are mappings of tensors: a `DataLoader` with your collator, for example.
    """

    @override
    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Records the untrained student."""
        self._record(state, model)

    @override
    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Records where the step is due."""
        self._record(state, model)

    @override
    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Records the trained student and writes everything."""
        self._record(state, model, last=True)

    def _record(self, state: Any, model: Any, *, last: bool = False) -> None:
        if state.is_world_process_zero and model is not None:
            self.record(model, next(model.parameters()).device, state.global_step, last=last)
