"""The schedule on the tokens of a batch, and its backward pass.

Shapes: B batch, T time, C pieces, M = B·T positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from disobey.models.language import CausalTransformer
from disobey.targets.losses import label_loss, loss_at
from disobey.targets.schedule import Term
from disobey.targets.truncation import TRUNCATED
from disobey.training.objective import ScheduleTerms
from disobey.training.recipe import Run
from disobey.training.seeds import torch_stream


class TokenObjective:
    """What a run on running text minimizes: the mean over all positions of a batch.

    Args:
        run: its targets and its generator, from which draws are made in the order of the steps.
        teacher: in evaluation mode, where a term uses one.
    """

    def __init__(self, run: Run, teacher: CausalTransformer | None):
        self.terms = ScheduleTerms(run.recipe.targets, run.recipe.optim.steps)
        self.teacher = teacher
        self.generator = torch_stream(run.seed, "control", run.recipe.replica)

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint within the run: where the generator is."""
        return {"generator": self.generator.get_state()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """From a checkpoint within the run."""
        self.generator.set_state(state["generator"].cpu())

    def backward(self, step: int, model: CausalTransformer, batch: Tensor) -> Tensor:
        """Forward and backward pass of windows (B, T + 1), for `loop.fit`; the loss, ()."""
        inputs, labels = batch[:, :-1], batch[:, 1:].reshape(-1)
        terms = self.terms(step)
        logits = model(inputs).flatten(0, 1)
        taught: Tensor | None = None
        if self.teacher is not None and any(term.source == "teacher" for term in terms):
            with torch.no_grad():
                taught = self.teacher(inputs).flatten(0, 1)
        loss = logits.new_zeros(())
        for term in terms:
            loss = loss + term.weight * self._term(term, logits, labels, taught).mean()
        loss.backward()
        return loss.detach()

    def _term(self, term: Term, logits: Tensor, labels: Tensor, taught: Tensor | None) -> Tensor:
        """One summand, (M,)."""
        if term.source == "labels":
            return label_loss(term.loss, term.temperature, term.smoothing)(logits, labels)
        assert taught is not None
        if term.control:
            return TRUNCATED[term.control](logits, taught, int(term.amount), self.generator, term.temperature)
        return loss_at(term.loss, term.temperature)(logits, taught)
