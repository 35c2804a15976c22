"""The schedule on the answers of a batch, and its backward pass.

Shapes: B batch, T time, C classes, M answers of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from disobey.errors import refusal
from disobey.models.recurrent.sequence import SequenceModel
from disobey.targets.controls import controlled
from disobey.targets.losses import label_loss, loss_at
from disobey.targets.schedule import Term
from disobey.training.objective import ScheduleTerms
from disobey.training.recipe import Run, sequence_spec
from disobey.training.seeds import torch_stream
from disobey.training.tasks.sequences.batches import SequenceBatch
from disobey.training.tasks.sequences.consistency import inconsistency
from disobey.training.tasks.sequences.states import StateLesson


class SequenceObjective:
    """What a run on sequences minimizes: the loss of the answers, and what a lesson on states adds to it.

    Args:
        run: its targets and its generator.
        teacher: where a term uses one.
        lesson: regression on the teacher's states.
    """

    def __init__(self, run: Run, teacher: SequenceModel | None = None, lesson: StateLesson | None = None):
        self.terms = ScheduleTerms(run.recipe.targets, run.recipe.optim.steps)
        self.teacher = None if teacher is None else teacher.eval().requires_grad_(False)
        self.lesson = lesson
        self.generator = torch_stream(run.seed, "control", run.recipe.replica)
        spec = sequence_spec(run.recipe)
        self.consistency, self.grown = spec.consistency, spec.grow * run.recipe.optim.steps

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint within the run: where generators are, and what the states left unexplained so far."""
        own = {"generator": self.generator.get_state()}
        if self.lesson is None:
            return own
        return own | {"states": self.lesson.generator.get_state(), "unexplained": self.lesson.unexplained}

    def restore(self, state: dict[str, Tensor]) -> None:
        """From a checkpoint within the run."""
        self.generator.set_state(state["generator"].cpu())
        if self.lesson is not None:
            self.lesson.generator.set_state(state["states"].cpu())
            self.lesson.unexplained.copy_(state["unexplained"])

    def backward(self, step: int, model: SequenceModel, batch: SequenceBatch) -> Tensor:
        """Forward and backward pass of a batch, for `loop.fit`; the loss of the answers alone, ()."""
        answered = batch.answered
        logits, extra = self._forward(step, model, batch)

        def teacher_logits() -> Tensor:
            assert self.teacher is not None
            with torch.no_grad():
                return self.teacher(batch.inputs)[answered]

        labels = batch.targets[answered]
        loss = sequence_loss(self.terms(step), logits[answered], labels, teacher_logits, self.generator)
        (loss + extra).backward()
        return loss.detach()

    def _forward(self, step: int, model: SequenceModel, batch: SequenceBatch) -> tuple[Tensor, Tensor | float]:
        """Logits (B, T, C), and what is minimized besides the loss of the answers."""
        if self.lesson is not None:
            return self.lesson(model, batch.inputs, step)
        if self.consistency and step >= self.grown:
            logits, states = model.trace(batch.inputs)
            return logits, self.consistency * inconsistency(model, states, batch.targets)
        return model(batch.inputs), 0.0


def sequence_loss(
    terms: Sequence[Term],
    logits: Tensor,
    labels: Tensor,
    teacher_logits: Callable[[], Tensor],
    generator: torch.Generator,
) -> Tensor:
    """The objective on the answers of a batch, ().

    Args:
        terms: what holds at this step.
        logits: of the student (M, C).
        labels: the right answers (M,).
        teacher_logits: gives the teacher's logits (M, C).
        generator: of what controls of the teacher draw.

    Raises:
        Refusal: ``label-control``, for controls of label terms, which need a whole data set.
    """
    total = logits.new_zeros(())
    for term in terms:
        if term.source == "labels":
            if term.control:
                raise refusal("label-control", "label terms without a control for sequences", repr(term.control))
            value = label_loss(term.loss, term.temperature, term.smoothing)(logits, labels)
        else:
            target, weights = teacher_logits(), None
            if term.control:
                target, weights = controlled(
                    term.control, target, labels, generator, temperature=term.temperature, amount=term.amount
                )
            value = loss_at(term.loss, term.temperature)(logits, target)
            value = value if weights is None else value * weights
        total = total + term.weight * value.mean()
    return total
