"""What a student is taught: labels, or its teacher's outputs on what it is shown.

Shapes: B batch, C classes, K auxiliary outputs, O taught outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from disobey.models.heads import TwoHeads
from disobey.training.predict import in_chunks
from disobey.training.recipe import Run, imitation_spec
from disobey.training.seeds import torch_stream
from disobey.training.tasks.imitation.inputs import Shown
from disobey.training.tasks.imitation.network import projection


class Taught:
    """The taught outputs of a network, (B, O): the same function for teacher and student."""

    def __init__(self, run: Run, model: TwoHeads):
        self.learns, self.classes = imitation_spec(run.recipe).learns, model.classes.out_features
        self.projection = projection(run, model.classes.in_features) if self.learns == "features" else None

    def __call__(self, model: TwoHeads, x: Tensor) -> Tensor:
        """Class logits, auxiliary outputs, or projected features; only the head that is taught is computed."""
        features = model.encoder(x)
        if self.projection is not None:
            return features @ self.projection.to(features)
        return model.auxiliary(features) if self.learns == "auxiliary" else model.classes(features)


class ImitationObjective:
    """Forward and backward pass of a batch, for `loop.fit`.

    Args:
        run: what is taught, and how it is compared.
        model: the student, for its sizes.
        teacher: in evaluation mode; None where labels are taught.
        labels: observed training labels (N,), where they are.
        inputs: those that repeat, of which the teacher is asked once.
    """

    def __init__(
        self, run: Run, model: TwoHeads, teacher: TwoHeads | None, labels: Tensor, inputs: Tensor | None
    ) -> None:
        self.spec, self.taught, self.teacher, self.labels = (
            imitation_spec(run.recipe),
            Taught(run, model),
            teacher,
            labels,
        )
        self.table: Tensor | None = None
        if teacher is not None and inputs is not None:
            self.table = answers(self.taught, teacher, inputs)
            if self.spec.control == "rows":
                self.table = self.table[derangement(len(inputs), torch_stream(run.seed, "control"))]
            elif self.spec.control == "constant":
                mean = self.table.double().log_softmax(-1).exp().mean(dim=0, keepdim=True).log()
                self.table = mean.to(self.table).expand(len(inputs), -1)

    def backward(self, step: int, model: nn.Module, batch: Shown) -> Tensor:
        """The loss, ()."""
        assert isinstance(model, TwoHeads)
        logits = self.taught(model, batch.inputs)
        loss = self.loss(logits, self.targets(batch))
        loss.backward()
        return loss.detach()

    def targets(self, batch: Shown) -> Tensor:
        """Labels (B,), or the teacher's outputs (B, O)."""
        if self.teacher is None:
            assert batch.rows is not None
            return self.labels[batch.rows]
        if self.table is not None:
            return self.table[batch.rows]
        with torch.no_grad():
            return self.taught(self.teacher, batch.inputs)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean over the batch, ()."""
        if self.teacher is None:
            return F.cross_entropy(logits, targets)
        if self.spec.loss == "mse":
            return (logits - targets).square().mean()
        target = targets.log_softmax(-1)
        return F.kl_div(logits.log_softmax(-1), target, log_target=True, reduction="batchmean")


def answers(taught: Taught, model: TwoHeads, inputs: Tensor) -> Tensor:
    """A network's taught outputs on many inputs, (N, O)."""
    dtype = next(model.parameters()).dtype
    with torch.inference_mode():
        parts = [taught(model, inputs[i : i + 256].to(dtype)) for i in range(0, len(inputs), 256)]
    return torch.cat(parts).clone()


def class_logits(model: TwoHeads, inputs: Tensor) -> Tensor:
    """The class head's logits on many inputs, (N, C), in evaluation mode."""
    dtype = next(model.parameters()).dtype
    return in_chunks(_ClassHead(model), len(inputs), lambda rows: inputs[rows].to(dtype))


class _ClassHead(nn.Module):
    """A network's classes alone."""

    def __init__(self, model: TwoHeads):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.classes(self.model.encoder(x))


def derangement(n: int, generator: torch.Generator) -> Tensor:
    """A random permutation (n,) under which nothing stays in its place, for n > 1.

    >>> order = derangement(5, torch.Generator().manual_seed(0))
    >>> sorted(order.tolist()), bool((order == torch.arange(5)).any())
    ([0, 1, 2, 3, 4], False)
    """
    cycle = torch.randperm(n, generator=generator)
    order = torch.empty_like(cycle)
    order[cycle] = cycle.roll(1)
    return order
