"""`loop.fit` for many equal small networks at once: the same steps, evaluations, kept weights and failures per slice.

What a slice gives does not depend on the others, on their number or on its place (see `models.stack`).
Shapes: K slices, U streams of batches, B batch, D features.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor, nn

from disobey.data.augment import Views
from disobey.models.stack import Stack, padded, stack_of
from disobey.training.loop import Diverged, Fit, Patrol, diverged, evaluation_interval
from disobey.training.optim import Rates, optimizer
from disobey.training.predict import CHUNK
from disobey.training.prepare import Prepared
from disobey.training.stacked.grouping import stream
from disobey.training.stacked.objective import Rows, StackedObjective


def fit_stack(slices: Sequence[Prepared], *, validation: tuple[Tensor, Tensor] | None = None) -> list[Fit | Diverged]:
    """Trains the slices' models in place.

    Args:
        slices: runs that share the optimizer, on data of one form.
        validation: inputs (N, ...) and labels (N,), the same for all; needed where a recipe evaluates there.

    Returns:
        What training left of each slice, in their order.
    """
    places = sorted(range(len(slices)), key=lambda k: str(stream(slices[k].run)))
    fits = _Stack([slices[k] for k in places], validation).fit()
    return [fits[places.index(k)] for k in range(len(slices))]


class _Stack:
    """The slices, sorted by stream, in training."""

    def __init__(self, slices: Sequence[Prepared], validation: tuple[Tensor, Tensor] | None):
        optims = {one.run.recipe.optim for one in slices}
        assert len(optims) == 1, "a stack has one optimizer"
        self.slices, self.optim = list(slices), optims.pop()
        one = slices[0]
        shape = one.inputs.take(one.order.rows.new_zeros(1)).shape[1:]
        self.net = stack_of([one.model for one in slices], shape, len(one.dataset.classes))
        self.device = slices[0].order.rows.device
        self.feed = _Feed(self.slices, self.net)
        self.steps = len(slices[0].order)
        self.objective = StackedObjective([one.objective for one in slices], self.optim.batch, self.net.wide[-1])
        self.checks: list[dict[int, float]] = [{} for _ in slices]
        self.kept: list[dict[int, dict[str, Tensor]]] = [{} for _ in slices]
        self.best: list[tuple[float, int, dict[str, Tensor]]] = [(-math.inf, 0, {}) for _ in slices]
        self.every = [evaluation_interval(one.run.recipe, self.steps) for one in slices]
        self.validation = None
        if any(self.every):
            assert validation is not None
            inputs, labels = validation
            rows = self.net.inputs(1, padded(len(inputs)))[0]  # whole lines: bits free of the slice's place
            rows[: len(inputs), : self.net.sizes[0]] = inputs.flatten(1)
            self.validation = rows, labels

    def fit(self) -> list[Fit | Diverged]:
        net, optim = self.net, self.optim
        opt = optimizer(optim, net.parameters())
        rates = Rates(optim, opt)
        for k, one in enumerate(self.slices):
            _share(one.model, net.views(k))
            one.model.train()
        losses = torch.zeros(self.steps, net.size, device=self.device)
        self._keep(0)
        patrol = Patrol()
        for step in range(self.steps):
            x, at = self.feed(step)
            units = net.run(x, self.feed.spans)
            losses[step], gradient = self.objective(at, units[-1])
            net.backward(x, self.feed.spans, units, gradient)
            if optim.clip is not None:
                _clip(net, optim.clip)
            rates(step)
            opt.step()
            if patrol(step + 1, losses):
                break
            self._record(step + 1, losses)
        losses = losses.T.contiguous()
        return [self._finished(k, losses[k]) for k in range(net.size)]

    def _record(self, done: int, losses: Tensor) -> None:
        self._keep(done)
        evaluated = [k for k, every in enumerate(self.every) if every and (done % every == 0 or done == self.steps)]
        if evaluated:
            scores = self._accuracies()
            for k in evaluated:
                self.checks[k][done] = scores[k]
                if self.slices[k].run.recipe.choose == "validation" and scores[k] > self.best[k][0]:
                    self.best[k] = (scores[k], done, self.net.state(k))
        for k, one in enumerate(self.slices):
            for observer in one.observers:
                if done % observer.every == 0 or done == self.steps:
                    observer.record(done, one.model, losses[:, k])

    def _keep(self, done: int) -> None:
        for k, one in enumerate(self.slices):
            if done in one.run.recipe.keep:
                self.kept[k][done] = self.net.state(k)

    def _accuracies(self) -> list[float]:
        assert self.validation is not None
        rows, labels = self.validation
        predicted = torch.cat([self.net.answers(part).argmax(1) for part in rows.split(CHUNK)], 1)[:, : len(labels)]
        return (predicted == labels).double().mean(1).tolist()

    def _finished(self, k: int, losses: Tensor) -> Fit | Diverged:
        """The model gets memory and weights of its own, the chosen ones."""
        model, (_, step, weights) = self.slices[k].model, self.best[k]
        _share(model, self.net.state(k))
        failure = diverged(losses)
        if failure is not None:
            return failure
        if weights:
            _share(model, weights)
        return Fit(losses.cpu(), self.checks[k], self.kept[k], step if weights else self.steps)


class _Feed:
    """Batches for all streams: ``feed(step)`` gives x (U, B, D padded) and the rows behind it."""

    def __init__(self, slices: Sequence[Prepared], net: Stack):
        firsts: dict[Hashable, int] = {}
        for k, one in enumerate(slices):
            firsts.setdefault(stream(one.run), k)
        starts = list(firsts.values())
        ends = [*starts[1:], len(slices)]
        self.spans = list(zip(starts, ends, strict=True))
        self.leaders = [slices[k] for k in starts]
        batch = self.leaders[0].run.recipe.optim.batch
        self.x = net.inputs(len(starts), batch)
        self.features = net.sizes[0]
        device = self.leaders[0].order.rows.device
        counts = torch.tensor([end - start for start, end in self.spans], device=device)
        self.of = torch.arange(len(starts), device=device).repeat_interleave(counts)
        self.rows = torch.stack([one.order.rows for one in self.leaders], 1)  # (steps, U, B)
        views = [one.order.views for one in self.leaders]
        self.views = None if views[0] is None else torch.stack([v for v in views if v is not None], 1)
        self.table = None if self.views is not None else _joined(self.leaders, self.x.shape[-1])

    def __call__(self, step: int) -> tuple[Tensor, Rows]:
        rows = self.rows[step]
        views = None if self.views is None else self.views[step]
        if self.table is not None:
            lines, starts = self.table
            torch.index_select(lines, 0, (rows + starts).view(-1), out=self.x.view(-1, self.x.shape[-1]))
        else:
            for u, one in enumerate(self.leaders):
                batch = one.inputs.take(rows[u], None if views is None else views[u])
                self.x[u, :, : self.features] = batch.flatten(1)
        return self.x, Rows(step, rows, views, self.of)


def _joined(leaders: Sequence[Prepared], wide: int) -> tuple[Tensor, Tensor]:
    """All streams' inputs under one another (M, D padded), each data set once, and where each stream's begin (U, 1)."""
    starts: dict[Views, int] = {}
    parts, have = [], 0
    for one in leaders:
        if one.inputs in starts:
            continue
        starts[one.inputs] = have
        n = len(one.inputs)
        lines = one.inputs.take(torch.arange(n, device=one.order.rows.device)).flatten(1)
        parts.append(nn.functional.pad(lines, (0, wide - lines.shape[1])))
        have += n
    places = [[starts[one.inputs]] for one in leaders]
    return torch.cat(parts), torch.tensor(places, device=leaders[0].order.rows.device)


def _share(model: nn.Module, values: dict[str, Tensor]) -> None:
    """The model's parameters become these tensors, without a copy: an observer of it sees the stack's weights."""
    for name, parameter in model.named_parameters():
        parameter.data = values[name]


def _clip(net: Stack, largest: float) -> None:
    """`torch.nn.utils.clip_grad_norm_`, slice by slice."""
    gradients = [gradient for kind in net.gradients() for gradient in kind]
    norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients])
    factor = (largest / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp_max(1.0)
    for gradient in gradients:
        gradient.mul_(factor.view(-1, *[1] * (gradient.ndim - 1)))
