"""`Trajectory`: what a student says of a fixed held-out set while it is trained, and how it comes to obey or deviate.

Used by the Lightning and Transformers callbacks, and by hand inside any loop::

    watch = Trajectory(teacher_logits, labels, every=100)
    ...
    watch.look(step, lambda: student_logits())   # every step; runs the model every 100th
    watch.write("trajectory.npz")
    result = watch.result()
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from disobey.diagnosis.diagnose import as_array
from disobey.diagnosis.errors import problem
from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.evidence.intervals import estimates
from disobey.diagnosis.input.pair import pair_from
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
    """teacher: (N, C) scores on the held-out set; labels: (N,) where known; every: steps between looks."""

    teacher: ArrayLike
    labels: ArrayLike | None = None
    every: int = 100
    steps: list[int] = field(default_factory=list)
    students: list[NDArray] = field(default_factory=list)

    def __post_init__(self):
        if self.every < 1:
            raise problem("every", "a number of steps from 1", str(self.every))
        self.teacher = as_array(self.teacher, "teacher").astype(np.float32)
        if self.labels is not None:
            self.labels = as_array(self.labels, "labels")

    def due(self, step: int) -> bool:
        """Is it time to look? Once a step, at the first and then every ``every`` steps."""
        return (not self.steps or step != self.steps[-1]) and step % self.every == 0

    def look(self, step: int, predict: Callable[[], ArrayLike], *, always: bool = False) -> bool:
        """Records ``predict()``, (N, C) student scores, where the step is due; did it?"""
        if not (self.due(step) or (always and step not in self.steps)):
            return False
        scores = as_array(predict(), "student").astype(np.float32)
        if scores.shape != np.shape(self.teacher):
            raise problem(
                "student",
                f"the teacher's shape {np.shape(self.teacher)}",
                f"{scores.shape}",
                "the same held-out examples, in a loader that does not shuffle or drop the last batch",
            )
        self.steps.append(step)
        self.students.append(scores)
        return True

    def write(self, path: Path | str) -> Path:
        """``teacher``, ``labels`` and ``student/stepNNN`` as .npz; `disobey diagnose` reads it."""
        arrays: dict[str, NDArray] = {"teacher": np.asarray(self.teacher)}
        if self.labels is not None:
            arrays["labels"] = np.asarray(self.labels)
        # The last look first: it is the student that a diagnosis is about.
        for step, scores in reversed(list(zip(self.steps, self.students, strict=True))):
            arrays[f"student/step{step}"] = scores
        path = Path(path)
        with atomic(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        return path

    def estimates(self, level: float = 0.95) -> dict[int, dict[str, Estimate]]:
        """Agreement, slope, KL and accuracy at every look, with intervals over the held-out examples."""
        out = {}
        for step, scores in zip(self.steps, self.students, strict=True):
            arrays = {"teacher": np.asarray(self.teacher), "student": scores}
            if self.labels is not None:
                arrays["labels"] = np.asarray(self.labels)
            out[step] = estimates(gather(pair_from(arrays), level=level), list(MEASURES), resamples=300)
        return out

    def result(self, level: float = 0.95) -> Result:
        """The trajectory as a `Result`: a chart a measure and a table."""
        if not self.steps:
            raise problem("trajectory", "at least one look", "none: training was shorter than the first one")
        found = self.estimates(level)
        names = [m.name for m in MEASURES if any(m.name in at for at in found.values())]
        charts = tuple(_chart(name, {s: at[name] for s, at in found.items() if name in at}) for name in names)
        rows = tuple((step, *(at.get(name) for name in names)) for step, at in found.items())
        table = Table("Along training", ("step", *names), rows, "Intervals over the held-out examples.")
        last = found[self.steps[-1]]["agreement"]
        message = f"{len(self.steps)} looks at the same examples: choose no checkpoint by them and report it on them."
        finding = Finding("best of many", "note", message, (), "Keep a validation split apart.")
        summary = f"After {self.steps[-1]:,} steps student and teacher agree on {last.value:.1%} of the held-out examples. {message}"
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
