"""`RunRecord`: what one finished run left on disk, read when it is asked for.

A run's folder holds
    run.json              recipe, seed, summary numbers, data fingerprint; provenance and cost
    examples.safetensors  SPLIT.labels (N,) true, SPLIT.given (N,) as trained on, SPLIT.ids (N,)
    history.safetensors   loss (steps,) per step; check_* at the looks at the validation split
    predictions/SPLIT[@STEP].npy   (N, C) float32 log-probabilities
    weights/last.safetensors, weights/STEP.safetensors
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file
from scipy.special import logsumexp

from disobey.records.predictions import Predictions

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class RunRecord:
    path: Path

    @cached_property
    def info(self) -> Mapping[str, Any]:
        return json.loads((self.path / "run.json").read_text(encoding="utf-8"))

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The recipe's non-default fields, as written."""
        return self.info["recipe"]

    @property
    def seed(self) -> int:
        return self.info["seed"]

    @property
    def summary(self) -> Mapping[str, float]:
        """Accuracies per split (share of the true labels), last loss, parameters."""
        return self.info["summary"]

    @property
    def cost(self) -> Mapping[str, float]:
        """Seconds and examples of training: for people, different in every repetition."""
        return self.info["cost"]

    @cached_property
    def history(self) -> Mapping[str, NDArray]:
        return _tensors(self.path / "history.safetensors")

    @cached_property
    def examples(self) -> Mapping[str, NDArray]:
        return _tensors(self.path / "examples.safetensors")

    def log_probs(self, split: str, step: int | None = None) -> NDArray:
        """(N, C) float32, memory-mapped; of the kept checkpoint after ``step`` steps where given."""
        name = split if step is None else f"{split}@{step}"
        return np.load(self.path / "predictions" / f"{name}.npy", mmap_mode="r", allow_pickle=False)

    def weights(self, step: int | None = None) -> Path:
        """The safetensors file with the state dictionary."""
        return self.path / "weights" / f"{'last' if step is None else step}.safetensors"


def _tensors(path: Path) -> dict[str, NDArray]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path}: expected a safetensors file ({error}); delete the run's folder to repeat it"
        ) from error


def pair(
    teacher: RunRecord | Sequence[RunRecord],
    student: RunRecord,
    split: str = "test",
    *,
    twin: RunRecord | None = None,
    step: int | None = None,
    class_names: tuple[str, ...] | None = None,
) -> Predictions:
    """Teacher (several: their mean probability), student and twin on the student's examples of ``split``.

    Examples are joined by id: a teacher may have seen more than its student. ``step`` asks the teacher's kept
    checkpoint. Raises `ValueError` where the teacher (or the twin) lacks one of the student's examples.
    """
    ids = student.examples[f"{split}.ids"]
    teachers = list(teacher) if isinstance(teacher, Sequence) else [teacher]
    logs = [_joined(record, split, ids, step) for record in teachers]
    mean = logs[0] if len(logs) == 1 else logsumexp(np.stack(logs), axis=0) - np.log(len(logs))
    labels, given = student.examples[f"{split}.labels"], student.examples[f"{split}.given"]
    return Predictions(
        teacher=mean,
        student=student.log_probs(split),
        labels=labels,
        ids=ids,
        split=split,
        twin=None if twin is None else _joined(twin, split, ids, None),
        mislabelled=given != labels,
        class_names=class_names,
    )


def _joined(record: RunRecord, split: str, ids: NDArray, step: int | None) -> NDArray:
    own = record.examples[f"{split}.ids"]
    log_probs = record.log_probs(split, step)
    if len(own) == len(ids) and np.array_equal(own, ids):
        return log_probs
    order = np.argsort(own, kind="stable")
    place = np.minimum(np.searchsorted(own, ids, sorter=order), len(own) - 1)
    rows = order[place]
    missing = int((own[rows] != ids).sum())
    if missing:
        raise ValueError(
            f"{missing:,} of {len(ids):,} {split} examples of the student are unknown to {record.path.name}"
        )
    return log_probs[rows]
