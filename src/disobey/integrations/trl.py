"""A callback for TRL's trainers (and any Transformers trainer of language models): top-k pairs while training.

Shapes: B sequences, T tokens, N scored tokens, V vocabulary, k listed tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import TrainerCallback
from typing_extensions import override

from disobey.diagnosis.input.predict import evaluating
from disobey.errors import refusal
from disobey.records.files import atomic

IGNORED = -100


class SaveTopK(TrainerCallback):
    """Saves what teacher and student say on fixed held-out sequences, as pairs that `disobey diagnose` reads.

    ``stepN.npz`` holds, for every scored token, the teacher's k most likely tokens with their log-probabilities, the
    student's log-probabilities of the same tokens, its own most likely one, and both sides' of the true token. The
    teacher is asked once, at the first record. Only the process of rank 0 records.

    Args:
        teacher: the teacher; asked in ``eval`` mode where its weights are.
        batches: mappings with ``input_ids`` (B, T) and, where they differ, ``labels`` (−100: not scored) and
            ``attention_mask``; the same sequences in the same order each time.
        folder: where the files are written.
        k: tokens in a list.
        every: steps from one file to the next; the untrained and the trained student are always saved.
    """

    def __init__(
        self,
        teacher: torch.nn.Module,
        batches: Iterable[Mapping[str, Tensor]],
        folder: Path | str,
        *,
        k: int = 32,
        every: int = 100,
    ):
        if k < 1 or every < 1:
            raise refusal("top-k-range", "k and every of at least 1", f"k={k}, every={every}", where="SaveTopK")
        self.teacher, self.batches, self.folder = teacher, batches, Path(folder)
        self.k, self.every = k, every
        self.written: list[Path] = []
        self._theirs: dict[str, NDArray] = {}

    @override
    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Saves the untrained student."""
        self._save(state, model)

    @override
    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Saves where the step is due."""
        if state.global_step % self.every == 0:
            self._save(state, model)

    @override
    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Saves the trained student."""
        self._save(state, model)

    def _save(self, state: Any, student: Any) -> None:
        path = self.folder / f"step{state.global_step}.npz"
        if not state.is_world_process_zero or student is None or path in self.written:
            return
        if not self._theirs:
            self._theirs = self._listed()
        ids = torch.from_numpy(self._theirs["topk_ids"].astype(np.int64))
        listed, top, own, start = [], [], [], 0
        for log_probs, labels in self._scored(student, "student"):
            here = ids[start : start + len(labels)].to(log_probs.device)
            start += len(labels)
            listed.append(log_probs.gather(1, here).cpu())
            top.append(log_probs.argmax(1).cpu())
            own.append(log_probs.gather(1, labels[:, None])[:, 0].cpu())
        mine = {"topk_student": listed, "topk_student_top": top, "label_student": own}
        arrays = self._theirs | {name: torch.cat(parts).numpy() for name, parts in mine.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        self.written.append(path)

    def _listed(self) -> dict[str, NDArray]:
        """The teacher's lists, and what is the same at every step."""
        ids, values, true, own, vocabulary = [], [], [], [], 0
        for log_probs, labels in self._scored(self.teacher, "teacher"):
            vocabulary = log_probs.shape[1]
            best = log_probs.topk(min(self.k, vocabulary), dim=1)
            ids.append(best.indices.int().cpu())
            values.append(best.values.cpu())
            true.append(labels.cpu())
            own.append(log_probs.gather(1, labels[:, None])[:, 0].cpu())
        parts = {"topk_ids": ids, "topk_teacher": values, "labels": true, "label_teacher": own}
        return {name: torch.cat(part).numpy() for name, part in parts.items()} | {"vocabulary": np.array(vocabulary)}

    def _scored(self, model: torch.nn.Module, name: str) -> Iterable[tuple[Tensor, Tensor]]:
        """(log-probabilities (N, V), true tokens (N,)) of every batch, in evaluation mode, without gradients."""
        device = next(model.parameters()).device
        with evaluating({name: model}), torch.no_grad():
            for batch in self.batches:
                tokens = batch["input_ids"].to(device)
                mask = batch.get("attention_mask")
                masked = {} if mask is None else {"attention_mask": mask.to(device)}
                labels = batch.get("labels", tokens).to(device)
                if mask is not None:
                    labels = labels.masked_fill(masked["attention_mask"] == 0, IGNORED)
                logits = model(input_ids=tokens, **masked).logits[:, :-1].float()
                labels = labels[:, 1:]
                counts = labels != IGNORED
                yield logits[counts].log_softmax(-1), labels[counts]
