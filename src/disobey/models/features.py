"""What a network computes on the way: named activations of our own models and of anybody's.

Our models carry ``feature_names``, a dictionary from the name of a feature to the dotted path of the module whose
output it is (state-dict names without the last part). Other modules are read by their dotted paths.

Shapes: B batch, T tokens, D features; maps (B, D, H, W).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def feature_paths(model: nn.Module) -> dict[str, str]:
    """Name -> dotted path of the module that gives a feature, in the order of the model's own list.

    Models without a list give their direct children.

    >>> feature_paths(nn.Sequential(nn.Linear(4, 8), nn.ReLU()))
    {'0': '0', '1': '1'}
    """
    listed = getattr(model, "feature_names", None)
    return dict(listed) if listed is not None else {name: name for name, _ in model.named_children()}


def features(model: nn.Module, x: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
    """Named features of a batch, each ``(B, D)``: maps averaged over places, sequences over tokens that are no padding.

    ``names`` are the model's feature names or dotted module paths; None is every feature the model lists, once.
    The model is run in evaluation mode without gradients and then put back as it was. For gradients, training mode or
    whole maps, open `recording` around your own forward pass.

    Raises ValueError for a name that the model does not have, and for one that was asked for and gave no tensor.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    >>> {name: value.shape for name, value in features(model, torch.zeros(2, 4), ["1"]).items()}
    {'1': torch.Size([2, 8])}
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad(), recording(model, names) as found:
            model(x)
    finally:
        for module, mode in modes.items():
            module.training = mode
    if names is not None and (silent := [name for name in names if name not in found]):
        raise ValueError(f"{', '.join(silent)}: the module was not run, or gave no tensor with a batch axis")
    tokens = x if x.dim() == 2 and not x.is_floating_point() else None
    return {name: pooled(value, tokens) for name, value in found.items() if value.dim() > 1}


@contextmanager
def recording(model: nn.Module, names: Sequence[str] | None = None) -> Iterator[dict[str, Tensor]]:
    """Within it, every forward pass of ``model`` fills the dictionary with the raw activations of named modules.

    A module that runs several times in a pass leaves its last output; of outputs with several parts, the first tensor
    is taken. Gradients flow through what is recorded.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    >>> with recording(model, ["0"]) as seen:
    ...     logits = model(torch.zeros(2, 4))
    >>> seen["0"].shape, seen["0"].requires_grad
    (torch.Size([2, 8]), True)
    """
    wanted = _wanted(model, names)
    found: dict[str, Tensor] = {}

    def keeper(name: str):
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            tensor = _first_tensor(output)
            if tensor is not None:
                found[name] = tensor

        return keep

    handles = [model.get_submodule(path).register_forward_hook(keeper(name)) for name, path in wanted.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def pooled(value: Tensor, tokens: Tensor | None = None) -> Tensor:
    """One row an example: maps ``(B, D, H, W)`` averaged over places, ``(B, T, D)`` over tokens other than 0.

    >>> pooled(torch.tensor([[[1.0], [3.0], [8.0]]]), torch.tensor([[5, 6, 0]]))
    tensor([[2.]])
    """
    if value.dim() == 3:
        if tokens is not None and tokens.shape == value.shape[:2]:
            keep = (tokens != 0).unsqueeze(-1)
            return (value * keep).sum(dim=1) / keep.sum(dim=1).clamp(min=1)
        return value.mean(dim=1)
    return value.flatten(2).mean(dim=2) if value.dim() > 3 else value


def _wanted(model: nn.Module, names: Sequence[str] | None) -> dict[str, str]:
    listed = feature_paths(model)
    if names is None:
        once = {path: name for name, path in reversed(listed.items())}  # the first name of a module
        return {name: path for name, path in listed.items() if once[path] == name}
    modules = dict(model.named_modules())
    wanted = {}
    for name in names:
        path = listed.get(name, name)
        if path not in modules or not path:
            near = difflib.get_close_matches(name, [*listed, *modules], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"{type(model).__name__} has no feature or module {name!r}{hint} Its features: {', '.join(listed)}; "
                "any path of named_modules() works too"
            )
        wanted[name] = path
    return wanted


def _first_tensor(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, dict):
        output = tuple(output.values())
    if isinstance(output, (tuple, list)) and output:
        return _first_tensor(output[0])
    return None
