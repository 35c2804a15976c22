"""State distillation: a student's states are tied to its teacher's by linear maps that are learned with it.

The loss is the share of the variance of the teacher's states that a linear map of the student's states leaves
unexplained: the student must carry what the teacher carries, in any basis. Optionally the student's mixer reads a
linear map of the teacher's previous state for a share of training; the student's own states are then tied to that map
too, so that it can do without. Shapes: B batch, T time, D the student's state, E the teacher's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from disobey.errors import refusal
from disobey.models.recurrent.fixed_point import shifted
from disobey.models.recurrent.sequence import SequenceModel
from disobey.training.recipe import Run, sequence_spec
from disobey.training.seeds import seeded, torch_stream


class StateLesson:
    """What a run with `StateTeaching` asks at every step: ``logits, loss = lesson(student, tokens, step)``."""

    def __init__(self, run: Run, student: SequenceModel, teacher: SequenceModel):
        spec = sequence_spec(run.recipe)
        assert spec.states is not None
        self.spec, self.teacher, self.steps = spec.states, teacher.eval().requires_grad_(False), run.recipe.optim.steps
        self.luck = torch_stream(run.seed, "dropout", run.recipe.replica)
        device = student.head.weight.device
        tokens = torch.zeros(1, 1, dtype=torch.long, device=device)
        with torch.no_grad():
            mine, theirs = (model.trace(tokens)[1].shape[-1] for model in (student, teacher))
        with seeded(run.seed, "dropout", run.recipe.replica):
            self.ties = StateTies(mine, theirs, feeds=self.spec.feed > 0).to(device)
        self.unexplained = torch.zeros(self.steps, device=device)  # of the teacher's states, by step

    def __call__(self, student: SequenceModel, tokens: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """The student's logits (B, T, C) and the weighted loss of its states, ()."""
        with torch.no_grad():
            taught = scrambled(self.teacher.trace(tokens)[1], self.spec.control, self.luck)
        reads = self.ties.reads(taught) if step < self.spec.feed * self.steps else None
        logits, states = student.trace(tokens, reads=reads)
        explained = unexplained(self.ties.explain(states), taught)
        self.unexplained[step] = explained.detach()
        tied = 0.0 if self.ties.feed is None else unexplained(self.ties.feed(taught), states)
        return logits, self.spec.weight * (explained + tied)


class StateTies(nn.Module):
    """The maps, both affine: student to teacher (B, T, D) to (B, T, E), and back where the mixer is fed."""

    def __init__(self, student: int, teacher: int, *, feeds: bool) -> None:
        super().__init__()
        self.explain = nn.Linear(student, teacher)
        self.feed = nn.Linear(teacher, student) if feeds else None

    def reads(self, taught: Tensor) -> Tensor:
        """What the mixer reads at each position: the map of the teacher's state before it, zeros at first."""
        assert self.feed is not None
        mapped = self.feed(taught)
        return shifted(mapped, torch.zeros_like(mapped[:, 0]))


def unexplained(guess: Tensor, wanted: Tensor) -> Tensor:
    """Share of the variance of ``wanted`` (B, T, E) over batch and time that is missed: 0 exact, 1 as its mean is, ().

    >>> wanted = torch.tensor([[[0.0], [2.0]]])
    >>> float(unexplained(wanted, wanted)), float(unexplained(torch.ones(1, 2, 1), wanted))
    (0.0, 1.0)
    """
    fixed = wanted.detach()
    variance = (fixed - fixed.mean(dim=(0, 1))).square().sum()
    return (guess - wanted).square().sum() / variance.clamp_min(torch.finfo(wanted.dtype).tiny)


def scrambled(states: Tensor, control: str, luck: torch.Generator) -> Tensor:
    """The states (B, T, E) as they are (``none``), each word's in another order of time, or those of another word.

    >>> states = torch.arange(6.0).reshape(2, 3, 1)
    >>> scrambled(states, "words", torch.Generator()).flatten().tolist()
    [3.0, 4.0, 5.0, 0.0, 1.0, 2.0]
    """
    if control == "none":
        return states
    rows, steps = states.shape[:2]
    if control == "words":
        by = int(torch.randint(1, rows, (1,), generator=luck)) if rows > 1 else 0
        return states.roll(by, dims=0)
    if control == "time":
        order = torch.rand(rows, steps, generator=luck).argsort(dim=1).to(states.device)
        return states.gather(1, order[..., None].expand_as(states))
    raise refusal("state-control", "a control none, time or words", repr(control))
