"""`RunRecord`: what one finished run left on disk, read when it is asked for.

Nothing is handed out unchecked: `manifest` compares it with what was written. A run's folder holds::

    run.json              recipe, seed, summary numbers, data fingerprint; provenance, cost, manifest and seal
    examples.safetensors  SPLIT.labels (N,) true, SPLIT.given (N,) as trained on, SPLIT.ids (N,); of pixels also
                          SPLIT.cluster (N,) the image and SPLIT.boundary (N,) whether it lies at one
    history.safetensors   loss (steps,) per step; check_* at the looks at the validation split
    predictions/SPLIT[@STEP].npy   (N, C) float32 log-probabilities
    weights/last.safetensors, weights/STEP.safetensors
"""

from __future__ import annotations

import tokenize
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

from disobey.errors import refusal
from disobey.records import manifest
from disobey.records.manifest import Damaged
from disobey.records.predictions import Predictions

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class RunRecord:
    """One finished run, read from its folder when it is asked for."""

    path: Path

    @cached_property
    def info(self) -> Mapping[str, Any]:
        """What run.json says. Raises `Damaged` where it is not as it was written."""
        return manifest.read_info(self.path)

    @property
    def unverified(self) -> bool:
        """Whether it was written before records had manifests: nothing can tell whether its files are as they were."""
        return manifest.unverified(self.info)

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The recipe's non-default fields, as written."""
        return self.info["recipe"]

    @property
    def seed(self) -> int:
        """Of the run."""
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
        """Arrays by name: the loss of every step, and what was evaluated on the way."""
        return self._tensors("history.safetensors")

    @cached_property
    def examples(self) -> Mapping[str, NDArray]:
        """Labels, observed labels and ids of every split."""
        return self._tensors("examples.safetensors")

    def log_probs(self, split: str, step: int | None = None) -> NDArray:
        """(N, C) float32, memory-mapped; of the kept checkpoint after ``step`` steps where given.

        Raises `Damaged` where the file is not as it was written.
        """
        name = split if step is None else f"{split}@{step}"
        path = self._file(f"predictions/{name}.npy")
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError, SyntaxError, tokenize.TokenError) as error:
            raise Damaged(str(self.path), f"predictions/{name}.npy that cannot be read ({error})") from None

    def weights(self, step: int | None = None) -> Path:
        """The safetensors file with the state dictionary. Raises `Damaged` where it is not as it was written."""
        return self._file(f"weights/{'last' if step is None else step}.safetensors")

    def weights_hash(self, step: int | None = None) -> str:
        """SHA-256 of those weights, as the manifest has it; "" of a record without one."""
        about = self.info.get("files", {}).get(f"weights/{'last' if step is None else step}.safetensors", {})
        return str(about.get("sha256", ""))

    def _file(self, name: str) -> Path:
        return manifest.verified(self.path, self.info, name)

    def _tensors(self, name: str) -> dict[str, NDArray]:
        try:
            return load_file(self._file(name))
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            if isinstance(error, Damaged):
                raise
            raise Damaged(str(self.path), f"{name} that cannot be read ({error})") from None


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
        groups=_where(student.examples, split),
        class_names=class_names,
        cluster=student.examples.get(f"{split}.cluster"),
    )


def _where(examples: Mapping[str, NDArray], split: str) -> NDArray | None:
    """Where pixels or boxes lie, in words; None where examples are neither."""
    marked = examples.get(f"{split}.boundary")
    words = ["free", "crowded"] if f"{split}.box" in examples else ["interior", "boundary"]
    return None if marked is None else np.array(words)[marked]


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
        raise refusal(
            "unknown-examples",
            f"a record that knows the {len(ids):,} {split} examples of the student",
            f"{missing:,} that are unknown to {record.path.name}",
        )
    return log_probs[rows]
