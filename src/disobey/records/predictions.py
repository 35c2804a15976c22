"""`Predictions`: what a teacher and a student say of the same examples. Every measure starts here.

Shapes: N examples, C classes. Natural log. Example axis first, class axis last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from disobey.errors import refusal


@dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """Log-probabilities of a teacher, a student and (optionally) a twin on the same N examples.

    teacher, student, twin: (N, C), any float type, memory-mapped where large; ``chunks`` hands them out as float64.
    The *twin* is the student trained without the teacher: the control beside every effect.
    labels: (N,) integers, the *true* classes. ids: (N,). mislabelled: (N,) bool, where the label that training
    saw was not the true one. groups: (N,) any names to report by. class_names: C strings. cluster: (N,) which text,
    prompt or image an example belongs to: its examples are not independent, and intervals are then over clusters.
    """

    teacher: NDArray
    student: NDArray
    labels: NDArray | None
    ids: NDArray
    split: str = "test"
    twin: NDArray | None = None
    mislabelled: NDArray | None = None
    groups: NDArray | None = None
    class_names: tuple[str, ...] | None = None
    cluster: NDArray | None = None

    def __post_init__(self):
        shape = self.teacher.shape
        if len(shape) != 2 or shape[0] == 0 or shape[1] < 2:
            raise refusal("bad-shape", "teacher log-probabilities of shape (N, C) with N >= 1 and C >= 2", shape)
        for name in ("student", "twin"):
            other = getattr(self, name)
            if other is not None and other.shape != shape:
                raise refusal(
                    "shapes-differ",
                    f"teacher and {name} of the same examples and classes",
                    f"teacher {shape}, {name} {other.shape}",
                )
        for name in ("labels", "ids", "mislabelled", "groups", "cluster"):
            column = getattr(self, name)
            if column is not None and column.shape != shape[:1]:
                raise refusal("bad-shape", f"{name} of shape ({shape[0]},)", column.shape)

    @classmethod
    def from_logits(
        cls,
        teacher: NDArray,
        student: NDArray,
        labels: NDArray | None = None,
        *,
        ids: NDArray | None = None,
        split: str = "test",
        twin: NDArray | None = None,
        class_names: tuple[str, ...] | None = None,
        **columns: NDArray | None,
    ) -> Self:
        """From logits (or log-probabilities: adding a constant to a row changes nothing), kept in float64.

        >>> p = Predictions.from_logits([[2.0, 0.0]], [[1.0, 1.0]], [0])
        >>> p.student.round(3)
        array([[-0.693, -0.693]])
        """

        def normalized(logits) -> NDArray:
            return log_softmax(np.asarray(logits, dtype=np.float64), axis=-1)

        teacher = normalized(teacher)
        return cls(
            teacher=teacher,
            student=normalized(student),
            labels=None if labels is None else np.asarray(labels),
            ids=np.arange(len(teacher)) if ids is None else np.asarray(ids),
            split=split,
            twin=None if twin is None else normalized(twin),
            class_names=class_names,
            **{name: None if value is None else np.asarray(value) for name, value in columns.items()},
        )

    def __len__(self) -> int:
        return len(self.teacher)

    def __repr__(self) -> str:
        """Sizes and what is there; never the arrays."""
        held = [f.name for f in fields(self) if f.name != "split" and getattr(self, f.name) is not None]
        return f"Predictions({len(self):,} x {self.n_classes:,}, split {self.split!r}: {', '.join(held)})"

    @property
    def n_classes(self) -> int:
        """C."""
        return self.teacher.shape[1]

    def take(self, rows: NDArray | slice) -> Predictions:
        """These rows only (indices, a mask or a slice), in this order."""
        arrays = {f.name: value[rows] for f in fields(self) if isinstance(value := getattr(self, f.name), np.ndarray)}
        return replace(self, **arrays)

    def chunks(self, rows: int = 65_536) -> Iterator[Predictions]:
        """Consecutive parts of at most ``rows`` rows, in float64: a million by a thousand need not fit in memory."""
        for start in range(0, len(self), rows):
            part = self.take(slice(start, start + rows))
            floats = {
                name: np.asarray(value, dtype=np.float64)
                for name in ("teacher", "student", "twin")
                if (value := getattr(part, name)) is not None
            }
            yield replace(part, **floats)

    def with_student(self, student: NDArray) -> Predictions:
        """The same teacher and examples with somebody else in the student's place (the twin, say)."""
        return replace(self, student=student)
