"""A callback for Transformers' `Trainer` that records a student on a fixed held-out set while it is trained."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike
from transformers import TrainerCallback

from disobey.integrations.scores import scores
from disobey.integrations.trajectory import Trajectory


class DiagnoseCallback(TrainerCallback):
    """Every ``every`` optimizer steps: the model's scores on ``batches``, beside the teacher's on the same examples.

    batches: mappings of tensors (a DataLoader with your collator, unshuffled). teacher: (N, C) scores in that order.
    path: where `Trajectory.write` puts the looks when training ends. Only the process of rank 0 records.
    """

    def __init__(
        self,
        teacher: ArrayLike,
        batches: Iterable[Any],
        labels: ArrayLike | None = None,
        *,
        every: int = 100,
        path: Path | str | None = None,
    ):
        self.trajectory = Trajectory(teacher, labels, every)
        self.batches, self.path = batches, path

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self._look(state, model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self._look(state, model)

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self._look(state, model, always=True)
        if self.path is not None and state.is_world_process_zero:
            self.trajectory.write(self.path)

    def _look(self, state: Any, model: Any, *, always: bool = False) -> None:
        if state.is_world_process_zero and model is not None:
            device = next(model.parameters()).device
            self.trajectory.look(state.global_step, lambda: scores(model, self.batches, device), always=always)
