"""A callback for Transformers' `Trainer` that records a student on a fixed held-out set while it is trained."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from disobey.integrations.watch import Watch


class DiagnoseCallback(Watch, TrainerCallback):
    """`Watch` as a callback, counting optimizer steps. batches: mappings of tensors (a DataLoader with your collator).

    Only the process of rank 0 records.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self._look(state, model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self._look(state, model)

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self._look(state, model, last=True)

    def _look(self, state: Any, model: Any, *, last: bool = False) -> None:
        if state.is_world_process_zero and model is not None:
            self.look(model, next(model.parameters()).device, state.global_step, last=last)
