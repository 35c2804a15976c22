"""`Trajectory`: a student's predictions on a fixed held-out set while it is trained.

Used by the Lightning and Transformers callbacks, and by hand inside any loop::

    trajectory = Trajectory(teacher_logits, labels, every=100)
    ...
    trajectory.record(step, lambda: student_logits())   # every step; runs the model every 100th
    trajectory.write("trajectory.npz")
    result = trajectory.result()
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disobey.diagnosis.diagnose import as_array
from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.evidence.intervals import estimates
from disobey.diagnosis.input.pair import pair_from
from disobey.errors import refusal
from disobey.measures import agreement, deviation
from disobey.records.files import atomic
from disobey.records.results import Axis, Chart, Estimate, Finding, Result, Table

MEASURES = (
    agreement.MEASURES["agreement"],
    deviation.MEASURES["ols_slope"],
    agreement.MEASURES["kl"],
    agreement.MEASURES["student_accuracy"],
)


@dataclass
class Trajectory:
    """Scores of a student at several steps of its training, beside its teacher's.

    Attributes:
        teacher: (N, C) scores on the held-out set.
        labels: (N,) where known.
        every: steps from one record to the next.
        steps: the steps that were recorded.
        students: (N, C) scores at each of them.
    """

    teacher: ArrayLike
    labels: ArrayLike | None = None
    every: int = 100
    steps: list[int] = field(default_factory=list)
    students: list[NDArray] = field(default_factory=list)

    def __post_init__(self):
        if self.every < 1:
            raise refusal("every", "a number of steps from 1", self.every, where="every")
        self.teacher = as_array(self.teacher, "teacher").astype(np.float32)
        if self.labels is not None:
            self.labels = as_array(self.labels, "labels")

    def due(self, step: int) -> bool:
        """Whether a step is to be recorded: the first one, then every ``every`` steps, each once."""
        return (not self.steps or step != self.steps[-1]) and step % self.every == 0

    def record(self, step: int, predict: Callable[[], ArrayLike], *, always: bool = False) -> bool:
        """Records the student's scores where the step is due.

        Args:
            step: steps trained so far.
            predict: gives (N, C) scores; called only where they are recorded.
            always: record also where the step is not due.

        Returns:
            Whether the step was recorded.

        Raises:
            ValueError: the scores have another shape than the teacher's.
        """
        if not (self.due(step) or (always and step not in self.steps)):
            return False
        scores = as_array(predict(), "student").astype(np.float32)
        if scores.shape != np.shape(self.teacher):
            raise refusal(
                "shape",
                f"the teacher's shape {np.shape(self.teacher)}",
                scores.shape,
                "the same held-out examples, in a loader that does not shuffle or drop the last batch",
                where="student",
            )
        self.steps.append(step)
        self.students.append(scores)
        return True

    def write(self, path: Path | str) -> Path:
        """``teacher``, ``labels`` and ``student/stepNNN`` as .npz; `disobey diagnose` reads it."""
        arrays: dict[str, NDArray] = {"teacher": np.asarray(self.teacher)}
        if self.labels is not None:
            arrays["labels"] = np.asarray(self.labels)
        # The last record first: it is the student that a diagnosis is about.
        for step, scores in reversed(list(zip(self.steps, self.students, strict=True))):
            arrays[f"student/step{step}"] = scores
        path = Path(path)
        with atomic(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        return path

    def estimates(self, level: float = 0.95) -> dict[int, dict[str, Estimate]]:
        """Agreement, slope, KL and accuracy at every recorded step, with intervals over the held-out examples."""
        out = {}
        for step, scores in zip(self.steps, self.students, strict=True):
            arrays = {"teacher": np.asarray(self.teacher), "student": scores}
            if self.labels is not None:
                arrays["labels"] = np.asarray(self.labels)
            out[step] = estimates(gather(pair_from(arrays), level=level), list(MEASURES), resamples=300)
        return out

    def result(self, level: float = 0.95) -> Result:
        """The trajectory as a `Result`: one chart per measure, and a table."""
        if not self.steps:
            got = "none: training was shorter than the first one"
            raise refusal("no-step", "at least one recorded step", got, where="trajectory")
        found = self.estimates(level)
        names = [m.name for m in MEASURES if any(m.name in at for at in found.values())]
        charts = tuple(_chart(name, {s: at[name] for s, at in found.items() if name in at}) for name in names)
        rows = tuple((step, *(at.get(name) for name in names)) for step, at in found.items())
        table = Table("Along training", ("step", *names), rows, "Intervals over the held-out examples.")
        last = found[self.steps[-1]]["agreement"]
        message = f"{len(self.steps)} evaluations on the same examples: report a checkpoint chosen on them on others."
        finding = Finding("best of many", "note", message, (), "Keep a separate validation split.")
        summary = (
            f"After {self.steps[-1]:,} steps student and teacher agree on {last.value:.1%} of the examples. {message}"
        )
        return Result(
            "trajectory", "How does the student come to agree with its teacher?", (*charts, table, finding), summary
        )


def _chart(name: str, found: dict[int, Estimate]) -> Chart:
    about = next(m.about for m in MEASURES if m.name == name)
    data = {
        "step": tuple(found),
        name: tuple(e.value for e in found.values()),
        "low": tuple(e.low for e in found.values()),
        "high": tuple(e.high for e in found.values()),
    }
    return Chart(
        f"trajectory-{name}",
        about[:1].upper() + about[1:],
        "line",
        data,
        Axis("step", "training step"),
        Axis(name, name),
        f"Line of {name} against the training step, with its interval.",
        low="low",
        high="high",
    )
