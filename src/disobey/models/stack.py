"""Many equal small networks as one module: batched matrix products instead of many small ones.

Shapes: K networks ("slices"), B batch, D features, C classes; weights (K, out, in), as in `torch.nn.Linear`.

Why gradients are written by hand and sizes are padded. A small network spends most of its time in launching operations,
not in arithmetic; one batched product for K networks launches as many as a single network. Writing the backward pass
out saves the graph and lets all parameters be one tensor, so that the optimizer has one tensor to step.

A stacked run must equal a single run to the last bit; otherwise a result would depend on which other runs happened to
be trained with it. So the bits of a slice must not depend on K, on its place or on its neighbours. On a CPU this
requires memory in which every slice fills whole cache lines: the kernels of matrix products choose their code path by
alignment, and optimizers round the last few numbers of a tensor, which do not fill a vector register, differently. So
sizes are padded with zeros where necessary (10 classes to 16; 784 inputs and a width of 100 not at all). Padded
weights, units and classes have zero gradients and stay exactly zero. The decision and its measurements:
docs/decisions/0002-stacked-training.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise

import torch
from torch import Tensor, nn

from disobey.errors import refusal
from disobey.models.mlp import MLP

LINE = 16  # float32 numbers per cache line (float64: two lines)


def padded(size: int, multiple: int = LINE) -> int:
    """The smallest multiple that is not below ``size``.

    >>> padded(10), padded(784)
    (16, 784)
    """
    return -(-size // multiple) * multiple


def stackable(model: nn.Module) -> bool:
    """Whether the slices of a stack of such models would be independent: no batch norm, no active dropout.

    >>> stackable(MLP((64,), 10)), stackable(MLP((64,), 10, dropout=0.1))
    (True, False)
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            return False
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
            return False
    return True


class MLPStack(nn.Module):
    """K equal `MLP`s: ``(K, B, D)`` to ``(K, B, C)``, with their gradients computed without a graph.

    Training uses `inputs` (where to write a batch), `run` and `backward`. In them units come before examples, (K,
    width, B), because a softmax over few classes is twenty times as fast across examples as along them. `forward` is
    the ordinary module for everything else. All numbers are one parameter, ``flat``, so that an optimizer has one
    tensor to step. Bits do not depend on K for batches of a multiple of 16 rows.

    Args:
        models: MLPs of one shape, without active dropout.

    Raises:
        Refusal: ``not-stackable`` or ``stack-shapes``.

    Example:
        >>> models = [MLP((64,), 10, width=32, depth=1) for _ in range(3)]
        >>> stack = MLPStack(models)
        >>> x = torch.randn(5, 64)
        >>> torch.allclose(stack(x.expand(3, 5, 64))[2], models[2](x), atol=1e-6)
        True
    """

    def __init__(self, models: Sequence[MLP]):
        super().__init__()
        if not models or not all(isinstance(m, MLP) and stackable(m) for m in models):
            raise refusal("not-stackable", "one or more MLPs without active dropout", "other models")
        layers = [_linears(model) for model in models]
        shapes = [[tuple(layer.weight.shape) for layer in one] for one in layers]
        if shapes.count(shapes[0]) != len(shapes):
            raise refusal("stack-shapes", "MLPs of one shape", f"{shapes[0]} and others")
        sizes = [shapes[0][0][1], *(out for out, _ in shapes[0])]
        wide = [padded(sizes[0]), *(padded(size, 4) for size in sizes[1:-1]), padded(sizes[-1])]  # 4 * 4: a line
        self.size, self.sizes, self.wide = len(models), tuple(sizes), tuple(wide)
        self.names = [(f"{name}.weight", f"{name}.bias") for name in _names(models[0])]
        first = layers[0][0].weight
        total = self.size * sum(out * into + padded(out) for into, out in self._shapes())
        self.flat = nn.Parameter(first.new_zeros(total))
        self.weights, self.biases = self._cut(self.flat.detach())
        self._last: tuple[list[Tensor], list[Tensor]] | None = None  # of the gradients
        for k, one in enumerate(layers):
            views = self.views(k)
            for (name, bias), layer in zip(self.names, one, strict=True):
                views[name].copy_(layer.weight.detach())
                views[bias].copy_(layer.bias.detach())

    @property
    def classes(self) -> int:
        """C, without padding."""
        return self.sizes[-1]

    def forward(self, x: Tensor) -> Tensor:
        """(K, B, D), or (B, D) for the same batch in every slice, to logits (K, B, C)."""
        x = x.expand(self.size, *x.shape) if x.ndim == 2 else x
        x = nn.functional.pad(x, (0, self.wide[0] - x.shape[-1]))
        for place, (weight, bias) in enumerate(zip(*self._cut(self.flat), strict=True)):
            rows = self._rows(place)
            part = torch.baddbmm(bias[:, :rows].transpose(1, 2), x, weight[:, :rows].transpose(1, 2))
            x = part if place == len(self.names) - 1 else part.relu()
        return x

    def inputs(self, streams: int, batch: int) -> Tensor:
        """Zeros (U, B, D padded) to write the batches of U streams into."""
        return self.flat.detach().new_zeros(streams, batch, self.wide[0])

    @torch.no_grad()
    def run(self, x: Tensor, spans: Sequence[tuple[int, int]]) -> list[Tensor]:
        """The forward pass, without a graph.

        Args:
            x: batches of U streams, (U, B, D padded).
            spans: the slices ``spans[u]`` = (first, end) use ``x[u]``; in order and without gaps.

        Returns:
            What `backward` needs: units (K, width, B) of every layer; the last are the logits (K, C, B).
        """
        rows = self._rows(0)
        weight, bias, turned = self.weights[0][:, :rows], self.biases[0][:, :rows], x.transpose(1, 2)
        if len(x) == self.size:
            out = torch.baddbmm(bias, weight, turned)
        else:
            out = weight.new_empty(self.size, rows, x.shape[1])
            for one, (first, end) in zip(turned, spans, strict=True):
                part = slice(first, end)
                torch.baddbmm(bias[part], weight[part], one.expand(end - first, *one.shape), out=out[part])
        units = [out]
        for place in range(1, len(self.weights)):
            rows = self._rows(place)
            units.append(torch.baddbmm(self.biases[place][:, :rows], self.weights[place][:, :rows], units[-1].relu_()))
        return units

    @torch.no_grad()
    def backward(self, x: Tensor, spans: Sequence[tuple[int, int]], units: Sequence[Tensor], gradient: Tensor) -> None:
        """The backward pass: writes the gradients of all parameters.

        Args:
            x: as in `run`.
            spans: as in `run`.
            units: what `run` returned.
            gradient: of the logits, (K, C padded, B).
        """
        weights, biases = self.gradients()
        for place in range(len(weights) - 1, -1, -1):
            torch.sum(gradient, 2, keepdim=True, out=biases[place][:, : gradient.shape[1]])
            if place > 0:
                torch.bmm(gradient, units[place - 1].transpose(1, 2), out=weights[place])
                back = torch.bmm(self.weights[place].transpose(1, 2), gradient)
                gradient = torch.ops.aten.threshold_backward(back, units[place - 1], 0)
            elif len(x) == self.size:
                torch.bmm(gradient, x, out=weights[0])
            else:
                for one, (first, end) in zip(x, spans, strict=True):
                    part = slice(first, end)
                    torch.bmm(gradient[part], one.expand(end - first, *one.shape), out=weights[0][part])

    @torch.no_grad()
    def answers(self, x: Tensor) -> Tensor:
        """Logits (K, C, B) for one batch (B, D padded) that all slices see; equal bits need B a multiple of 16."""
        return self.run(x.unsqueeze(0), [(0, self.size)])[-1]

    def gradients(self) -> tuple[list[Tensor], list[Tensor]]:
        """Views of the parameter's gradient: weights (K, out, in) and biases (K, out, 1) of every layer."""
        if self._last is None or self.flat.grad is None:
            self.flat.grad = torch.zeros_like(self.flat)
            self._last = self._cut(self.flat.grad)
        return self._last

    def state(self, k: int) -> dict[str, Tensor]:
        """The ordinary state dictionary of one slice, as exact copies."""
        return {name: value.clone(memory_format=torch.contiguous_format) for name, value in self.views(k).items()}

    def views(self, k: int) -> dict[str, Tensor]:
        """The parameters of one slice by their ordinary names; they share the stack's memory."""
        found = {}
        for place, (weight, bias) in enumerate(self.names):
            rows, columns = self.sizes[place + 1], self.sizes[place]
            found[weight] = self.weights[place][k, :rows, :columns]
            found[bias] = self.biases[place][k, :rows, 0]
        return found

    def _shapes(self) -> list[tuple[int, int]]:
        """(in, out) of every layer as stored."""
        return list(pairwise(self.wide))

    def _rows(self, place: int) -> int:
        """The number of outputs of a layer without those that only fill cache lines; for the last layer the classes."""
        return self.classes if place == len(self.names) - 1 else self.wide[place + 1]

    def _cut(self, flat: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Weights (K, out, in) and biases (K, out, 1) as views of the flat tensor."""
        weights, biases, at = [], [], 0
        for into, out in self._shapes():
            size = self.size * out * into
            weights.append(flat[at : at + size].view(self.size, out, into))
            at += size
            size = self.size * padded(out)
            biases.append(flat[at : at + size].view(self.size, padded(out), 1))
            at += size
        return weights, biases


class FunctionalStack(nn.Module):
    """K equal networks of any kind that `stackable` allows, by `torch.func`: ``(K, B, ...)`` to ``(K, B, C)``.

    It is meant for GPUs, where launching the many kernels of a small network costs more than their work. On a CPU it is
    slower than one network after the other, because `vmap` turns convolutions into grouped ones, which have no fast
    kernels. It has the same `inputs`, `run` and `backward` as `MLPStack`, and keeps the graph between them.

    Args:
        models: equal networks.
        shape: of one example; needed for `inputs`, `run` and `backward`, which take flat inputs.
        classes: C; needed for the same.

    Raises:
        Refusal: ``not-stackable``.

    Example:
        >>> nets = [MLP((4,), 2, width=8) for _ in range(2)]
        >>> FunctionalStack(nets)(torch.zeros(2, 3, 4)).shape
        torch.Size([2, 3, 2])
    """

    def __init__(self, models: Sequence[nn.Module], shape: Sequence[int] = (), classes: int = 0):
        super().__init__()
        if not models or not all(stackable(model) for model in models):
            raise refusal("not-stackable", "one or more models without batch norm and active dropout", "others")
        stacked, buffers = torch.func.stack_module_state(list(models))
        self.size, self.shape = len(models), tuple(shape)
        self.sizes = self.wide = (math.prod(shape), classes)
        self.names = list(stacked)
        self.stacked = nn.ParameterList(nn.Parameter(stacked[name].detach()) for name in self.names)
        self.kept: dict[str, Tensor] = buffers
        self._logits: Tensor | None = None
        base = deepcopy(models[0]).to("meta")

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
            return torch.func.functional_call(base, (parameters, buffers), (x,))

        self._all = torch.func.vmap(one)
        self._shared = torch.func.vmap(one, in_dims=(0, 0, None))

    def forward(self, x: Tensor, *, shared: bool = False) -> Tensor:
        """Logits (K, B, C) of ``x`` (K, B, ...), or of (B, ...) for the same batch in every slice with ``shared``."""
        parameters = dict(zip(self.names, self.stacked, strict=True))
        return (self._shared if shared else self._all)(parameters, self.kept, x)

    def inputs(self, streams: int, batch: int) -> Tensor:
        """Zeros (U, B, D) to write the batches of U streams into."""
        return self.stacked[0].detach().new_zeros(streams, batch, self.wide[0])

    def run(self, x: Tensor, spans: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Logits (K, C, B), whose graph is kept for `backward`; ``x`` (U, B, D) and ``spans`` as in `MLPStack.run`."""
        images = x.view(*x.shape[:2], *self.shape)
        if len(x) > 1 and len(x) != self.size:
            images = torch.cat([one.expand(b - a, *one.shape) for one, (a, b) in zip(images, spans, strict=True)])
        with torch.enable_grad():
            logits = self(images[0], shared=True) if len(x) == 1 else self(images)
        self._logits = logits
        return [logits.detach().transpose(1, 2).contiguous()]

    def backward(self, x: Tensor, spans: Sequence[tuple[int, int]], units: Sequence[Tensor], gradient: Tensor) -> None:
        """The backward pass: writes the gradients of all parameters. ``gradient`` (K, C, B) is that of the logits."""
        del x, spans, units  # the interface of `MLPStack`; the graph holds all of them
        assert self._logits is not None
        for parameter in self.stacked:
            parameter.grad = None
        self._logits.backward(gradient.transpose(1, 2))
        self._logits = None

    @torch.no_grad()
    def answers(self, x: Tensor) -> Tensor:
        """Logits (K, C, B) for one batch (B, D) that all slices see."""
        return self(x.view(len(x), *self.shape), shared=True).transpose(1, 2)

    def gradients(self) -> tuple[list[Tensor], list[Tensor]]:
        """Gradients (K, ...) of all parameters, and no biases apart from them."""
        return [p.grad for p in self.stacked if p.grad is not None], []

    def state(self, k: int) -> dict[str, Tensor]:
        """The ordinary state dictionary of one slice, as exact copies."""
        parameters = {name: value.detach()[k].clone() for name, value in zip(self.names, self.stacked, strict=True)}
        return parameters | {name: value[k].clone() for name, value in self.kept.items()}

    def views(self, k: int) -> dict[str, Tensor]:
        """The parameters of one slice by their ordinary names; they share the stack's memory."""
        return {name: value.detach()[k] for name, value in zip(self.names, self.stacked, strict=True)}


Stack = MLPStack | FunctionalStack


def stack_of(models: Sequence[nn.Module], shape: Sequence[int], classes: int) -> Stack:
    """The stack for these models: batched products for MLPs, `torch.func` for all others.

    Args:
        models: equal networks.
        shape: of one example.
        classes: C.

    Returns:
        The stack.
    """
    if all(isinstance(model, MLP) for model in models):
        return MLPStack(models)  # type: ignore[arg-type]
    return FunctionalStack(models, shape, classes)


def _names(model: MLP) -> list[str]:
    return [*(f"hidden.{name}.0" for name in model.hidden), "head"]


def _linears(model: MLP) -> list[nn.Linear]:
    return [model.get_submodule(name) for name in _names(model)]  # type: ignore[misc]
