"""Intermediate activations by name, of our own models and of any other.

Our models have the attribute ``feature_names``, a dictionary from the name of a feature to the dotted path of the
module whose output it is. In other modules, activations are found by their dotted paths.

Shapes: B batch, T tokens, D features; maps (B, D, H, W).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from disobey.errors import refusal


def feature_paths(model: nn.Module) -> dict[str, str]:
    """Feature name -> dotted path of the module whose output it is, in the order of the model's own list.

    A model without ``feature_names`` gives its direct children.

    >>> feature_paths(nn.Sequential(nn.Linear(4, 8), nn.ReLU()))
    {'0': '0', '1': '1'}
    """
    listed = getattr(model, "feature_names", None)
    return dict(listed) if listed is not None else {name: name for name, _ in model.named_children()}


def features(model: nn.Module, x: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
    """Named features of a batch: maps averaged over positions, sequences averaged over tokens that are no padding.

    The model runs in evaluation mode without gradients and is then restored to its previous mode. For gradients,
    training mode or unpooled maps, use `recording` around your own forward pass.

    Args:
        model: any module.
        x: a batch of its inputs.
        names: feature names of the model or dotted module paths; None means every feature that the model lists, once.

    Returns:
        Name -> ``(B, D)``.

    Raises:
        Refusal: ``unknown-feature``, or ``silent-feature`` if a module that was asked for did not run or gave no
            tensor.

    Example:
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
        expected = "an output tensor with a batch axis from every module"
        raise refusal("silent-feature", expected, f"none from {', '.join(silent)}", "a module that runs in forward")
    tokens = x if x.dim() == 2 and not x.is_floating_point() else None
    return {name: pooled(value, tokens) for name, value in found.items() if value.dim() > 1}


def feature_rows(model: nn.Module, inputs: Tensor, name: str = "penultimate", *, chunk: int = 256) -> Tensor:
    """One feature of many examples, chunk by chunk: what probes are fitted to.

    Args:
        model: any module.
        inputs: (N, ...), on the model's device.
        name: a feature name of the model or a dotted module path.
        chunk: examples that are held at once; fixed, because the last bits of a product depend on it.

    Returns:
        ``(N, D)`` on the CPU.

    Raises:
        Refusal: as in `features`.

    Example:
        >>> feature_rows(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), torch.zeros(600, 4), "1").shape
        torch.Size([600, 8])
    """
    parts = [features(model, inputs[i : i + chunk], [name])[name].cpu() for i in range(0, len(inputs), chunk)]
    return torch.cat(parts)


@contextmanager
def recording(model: nn.Module, names: Sequence[str] | None = None) -> Iterator[dict[str, Tensor]]:
    """A context in which every forward pass fills a dictionary with the outputs of named modules.

    If a module runs several times in one pass, its last output is kept. If an output has several parts, the first
    tensor is kept. Gradients flow through what is recorded.

    Args:
        model: any module.
        names: as in `features`.

    Yields:
        Name -> unpooled output, filled by forward passes within the context.

    Raises:
        Refusal: ``unknown-feature``.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
        >>> with recording(model, ["0"]) as seen:
        ...     logits = model(torch.zeros(2, 4))
        >>> seen["0"].shape, seen["0"].requires_grad
        (torch.Size([2, 8]), True)
    """
    wanted = _wanted(model, names)
    found: dict[str, Tensor] = {}

    def keeper(name: str):
        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
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
    """One row per example.

    Args:
        value: maps ``(B, D, H, W)``, which are averaged over positions; ``(B, T, D)``, which are averaged over tokens;
            or ``(B, D)``.
        tokens: token ids ``(B, T)``, if tokens with the id 0 are padding.

    Returns:
        ``(B, D)``.

    Example:
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
            expected = f"a feature out of {', '.join(listed)}, or any path of named_modules()"
            attempt = repr(near[0]) if near else ""
            raise refusal("unknown-feature", expected, repr(name), attempt, where=type(model).__name__)
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
