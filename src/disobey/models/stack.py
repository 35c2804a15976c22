"""Many equal small networks as one module: batched matrix products instead of one small product after another.

Shapes: K networks ("slices"), B batch, D features, C classes; weights (K, out, in), as in `torch.nn.Linear`.

A slice's bits do not depend on K, on its place or on its neighbours. On CPU that takes memory in which every slice fills
whole cache lines: the kernels of matrix products choose by alignment, and optimizers round the last few numbers of a
tensor, which no longer fill a vector, differently. So sizes are padded with zeros where they must be (10 classes to 16;
784 inputs and a width of 100 not at all). Padded weights, units and classes get
zero gradients and stay exactly zero. Decision and measurements: docs/decisions/0002-stacked-training.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from disobey.models.mlp import MLP

LINE = 16  # numbers in a cache line of float32 (two lines of float64)


def padded(size: int, multiple: int = LINE) -> int:
    """The next multiple.

    >>> padded(10), padded(784)
    (16, 784)
    """
    return -(-size // multiple) * multiple


def stackable(model: nn.Module) -> bool:
    """Whether slices of such a model are independent of one another: no batch norm, no active dropout.

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
    """K equal `MLP`s: ``(K, B, D)`` to ``(K, B, C)``, and their gradients without a graph.

    models: without active dropout, of one shape. Training uses `inputs` (where to put a batch), `run` and `backward`;
    `forward` is the plain module for everything else. Bits are free of K for batches of a multiple of 16 rows.

    >>> models = [MLP((64,), 10, width=32, depth=1) for _ in range(3)]
    >>> stack = MLPStack(models)
    >>> x = torch.randn(5, 64)
    >>> torch.allclose(stack(x.expand(3, 5, 64))[2], models[2](x), atol=1e-6)
    True
    """

    def __init__(self, models: Sequence[MLP]):
        super().__init__()
        if not models or not all(isinstance(m, MLP) and stackable(m) for m in models):
            raise ValueError("expected one or more MLPs without active dropout; others are trained one by one")
        layers = [_linears(model) for model in models]
        shapes = [[tuple(layer.weight.shape) for layer in one] for one in layers]
        if shapes.count(shapes[0]) != len(shapes):
            raise ValueError(f"expected MLPs of one shape, came {shapes[0]} and others")
        sizes = [shapes[0][0][1], *(out for out, _ in shapes[0])]
        wide = [padded(sizes[0]), *(padded(size, 4) for size in sizes[1:-1]), padded(sizes[-1])]  # 4 * 4: a line
        self.size, self.sizes, self.wide = len(models), tuple(sizes), tuple(wide)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        self.names = [(f"{name}.weight", f"{name}.bias") for name in _names(models[0])]
        for place in range(len(sizes) - 1):
            first = layers[0][place].weight
            weight = first.new_zeros(self.size, wide[place + 1], wide[place])
            bias = first.new_zeros(self.size, 1, padded(wide[place + 1]))
            for k, one in enumerate(layers):
                weight[k, : sizes[place + 1], : sizes[place]] = one[place].weight.detach()
                bias[k, 0, : sizes[place + 1]] = one[place].bias.detach()
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(bias))

    @property
    def classes(self) -> int:
        return self.sizes[-1]

    def forward(self, x: Tensor) -> Tensor:
        """(K, B, D), or (B, D) for the same batch in every slice, to logits (K, B, C)."""
        x = x.expand(self.size, *x.shape) if x.ndim == 2 else x
        x = torch.nn.functional.pad(x, (0, self.wide[0] - x.shape[-1]))
        for place in range(len(self.weights)):
            weight, bias = self._used(place)
            x = torch.baddbmm(bias, x.relu() if place else x, weight.transpose(1, 2))
        return x

    def inputs(self, streams: int, batch: int) -> Tensor:
        """Zeros (U, B, D padded) to write batches into."""
        return self.weights[0].new_zeros(streams, batch, self.wide[0])

    @torch.no_grad()
    def run(self, x: Tensor, spans: Sequence[tuple[int, int]]) -> list[Tensor]:
        """What `backward` needs: units (K, B, width) layer by layer, the last the logits (K, B, C).

        x: (U, B, D padded); the slices ``spans[u]`` = (first, end) read ``x[u]``, spans in order without gaps.
        """
        weight, bias = self._used(0)
        out = weight.new_empty(self.size, x.shape[1], weight.shape[1])
        if len(x) == self.size:
            torch.baddbmm(bias, x, weight.transpose(1, 2), out=out)
        else:
            for one, (first, end) in zip(x, spans, strict=True):
                part = slice(first, end)
                shared = one.expand(end - first, *one.shape)
                torch.baddbmm(bias[part], shared, weight[part].transpose(1, 2), out=out[part])
        units = [out]
        for place in range(1, len(self.weights)):
            weight, bias = self._used(place)
            units.append(torch.baddbmm(bias, units[-1].relu_(), weight.transpose(1, 2)))
        return units

    @torch.no_grad()
    def backward(self, x: Tensor, spans: Sequence[tuple[int, int]], units: Sequence[Tensor], gradient: Tensor) -> None:
        """Puts the gradients of all parameters in place. gradient: (K, B, C padded), of the logits."""
        for place in range(len(self.weights) - 1, -1, -1):
            weight, bias = self.weights[place], self.biases[place]
            if weight.grad is None:
                weight.grad, bias.grad = torch.empty_like(weight), torch.zeros_like(bias)
            torch.sum(gradient, 1, keepdim=True, out=bias.grad[..., : gradient.shape[-1]])
            turned = gradient.transpose(1, 2)
            if place > 0:
                torch.bmm(turned, units[place - 1], out=weight.grad)
                gradient = torch.ops.aten.threshold_backward(torch.bmm(gradient, weight), units[place - 1], 0)
            elif len(x) == self.size:
                torch.bmm(turned, x, out=weight.grad)
            else:
                for one, (first, end) in zip(x, spans, strict=True):
                    part = slice(first, end)
                    torch.bmm(turned[part], one.expand(end - first, *one.shape), out=weight.grad[part])

    @torch.no_grad()
    def answers(self, x: Tensor) -> Tensor:
        """Logits (K, B, C) for one batch (B, D padded) that all slices see; B a multiple of 16, or bits may move."""
        return self.run(x.unsqueeze(0), [(0, self.size)])[-1]

    def _used(self, place: int) -> tuple[Tensor, Tensor]:
        """A layer's weights and biases without what only fills lines; logits come out as (K, B, C)."""
        outputs = self.classes if place == len(self.weights) - 1 else self.wide[place + 1]
        return self.weights[place][:, :outputs], self.biases[place][..., :outputs]

    def state(self, k: int) -> dict[str, Tensor]:
        """The ordinary state dictionary of one slice: exact copies."""
        return {name: value.contiguous().clone() for name, value in self.views(k).items()}

    def views(self, k: int) -> dict[str, Tensor]:
        """The parameters of one slice by their ordinary names, sharing the stack's memory."""
        found = {}
        for place, (weight, bias) in enumerate(self.names):
            rows, columns = self.sizes[place + 1], self.sizes[place]
            found[weight] = self.weights[place].detach()[k, :rows, :columns]
            found[bias] = self.biases[place].detach()[k, 0, :rows]
        return found


class FunctionalStack(nn.Module):
    """K equal networks of any kind that `stackable` allows, by `torch.func`: ``(K, B, ...)`` to ``(K, B, C)``.

    For GPUs, where the many small kernels of a small network cost more than their work. On CPU this is slower than one
    network after the other (grouped products of `vmap` miss the fast kernels).

    >>> from disobey.models.convnet import ConvNet
    >>> nets = [MLP((4,), 2, width=8) for _ in range(2)]
    >>> FunctionalStack(nets)(torch.zeros(2, 3, 4)).shape
    torch.Size([2, 3, 2])
    """

    def __init__(self, models: Sequence[nn.Module]):
        super().__init__()
        if not models or not all(stackable(model) for model in models):
            raise ValueError("expected one or more models without batch norm and active dropout")
        stacked, buffers = torch.func.stack_module_state(list(models))
        self.size = len(models)
        self.names = list(stacked)
        self.stacked = nn.ParameterList(nn.Parameter(stacked[name].detach()) for name in self.names)
        self.kept: Mapping[str, Tensor] = buffers
        base = deepcopy(models[0]).to("meta")

        def one(parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor) -> Tensor:
            return torch.func.functional_call(base, (parameters, buffers), (x,))

        self._all = torch.func.vmap(one)
        self._shared = torch.func.vmap(one, in_dims=(0, 0, None))

    def forward(self, x: Tensor, *, shared: bool = False) -> Tensor:
        """shared: x is (B, ...), the same batch for every slice."""
        parameters = dict(zip(self.names, self.stacked, strict=True))
        return (self._shared if shared else self._all)(parameters, self.kept, x)

    def state(self, k: int) -> dict[str, Tensor]:
        parameters = {name: value.detach()[k].clone() for name, value in zip(self.names, self.stacked, strict=True)}
        return parameters | {name: value[k].clone() for name, value in self.kept.items()}

    def views(self, k: int) -> dict[str, Tensor]:
        return {name: value.detach()[k] for name, value in zip(self.names, self.stacked, strict=True)}


def _names(model: MLP) -> list[str]:
    return [*(f"hidden.{name}.0" for name in model.hidden), "head"]


def _linears(model: MLP) -> list[nn.Linear]:
    return [model.get_submodule(name) for name in _names(model)]  # type: ignore[misc]
