"""Transformers' `Trainer`: a callback that records a student while it is trained, and a cached teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback, default_data_collator
from typing_extensions import override

from disobey.integrations.recorder import Recorder
from disobey.targets.kd_loss import KDLoss
from disobey.targets.schedule import Schedule


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


_ROW = "disobey_row"  # the key under which an item carries its row number


class Numbered(torch.utils.data.Dataset):
    """A data set of mappings whose items also carry their row number."""

    def __init__(self, dataset: Any):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {**self.dataset[row], _ROW: row}


class CachedTeacher(TrainerCallback):
    """Distillation in Transformers' `Trainer` from a teacher's cached logits: four arguments, no subclass.

    ``Trainer(..., train_dataset=kd.rows(data), data_collator=kd.collator, compute_loss_func=kd.loss, callbacks=[kd])``.
    The trainer gives its loss function nothing but outputs and labels, so a row's number travels beside its label:
    labels of a batch are (B, 2), label and row. ``compute_metrics`` meets them so: its labels are the first column. To
    evaluate, the model's ``forward`` must have an argument ``labels``, as the models of Transformers do.

    Args:
        teacher: `TeacherCache`, or logits (N, C) by row of the training data.
        schedule: the objective; Hinton's mixture by default (see `disobey.KDLoss`).
        collate: turns items without their labels into a batch; the trainer's default by default.

    Example:
        >>> kd = CachedTeacher(torch.tensor([[0.0, 2.0], [1.0, 0.0]]))
        >>> batch = kd.collator(list(kd.rows([{"x": 0.5, "labels": 1}, {"x": 0.1, "labels": 0}])))
        >>> batch["labels"].tolist()
        [[1, 0], [0, 1]]
    """

    def __init__(
        self,
        teacher: Any,
        schedule: Schedule | None = None,
        *,
        collate: Callable[[list[Any]], dict[str, Any]] = default_data_collator,
    ):
        self.teacher, self.criterion, self._collate = teacher, KDLoss(schedule, reduction="none"), collate
        self._progress: float = 0.0

    def rows(self, dataset: Any) -> Numbered:
        """The training data with every item's row number."""
        return Numbered(dataset)

    def collator(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch whose labels are (B, 2): label and row."""
        told = [[int(item["labels"] if "labels" in item else item["label"]), item.get(_ROW, -1)] for item in items]
        bare = [{k: v for k, v in item.items() if k not in ("labels", "label", _ROW)} for item in items]
        return {**self._collate(bare), "labels": torch.tensor(told)}

    def loss(self, outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        """What ``compute_loss_func`` takes: mean over the examples of the step, accumulated batches included.

        In evaluation, where rows have no cached answer, the loss is cross-entropy.
        """
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs[0]
        observed, rows = labels[:, 0], labels[:, 1]
        if bool((rows < 0).any()):
            losses = torch.nn.functional.cross_entropy(logits, observed, reduction="none")
        else:
            known = torch.as_tensor(self.teacher[rows.cpu()]).to(logits)
            losses = self.criterion(logits, observed, known, progress=self._progress)
        # The trainer counts both columns of the labels.
        return losses.mean() if num_items_in_batch is None else 2 * losses.sum() / num_items_in_batch

    @override
    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tells the schedule how far training is."""
        self._progress = min(state.global_step / max(state.max_steps, 1), 1.0)
