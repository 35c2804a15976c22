"""Masks of weights that stay: global and layerwise magnitude pruning, on any module.

Only the weights of linear and convolutional layers are pruned, as in open_lth; biases and norms stay. A mask is a
dictionary from the name of a weight to a tensor of booleans of its shape, True where the weight stays.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from disobey.errors import refusal

Mask = dict[str, Tensor]


def prunable(model: nn.Module) -> dict[str, Tensor]:
    """The weights that may be pruned, by name: those of linear and convolutional layers.

    >>> list(prunable(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))))
    ['0.weight', '2.weight']
    """
    kinds = (nn.Linear, nn.modules.conv._ConvNd)
    return {
        f"{name}.weight" if name else "weight": module.weight.detach()
        for name, module in model.named_modules()
        if isinstance(module, kinds)
    }


def whole(model: nn.Module) -> Mask:
    """The mask under which every weight stays."""
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable(model).items()}


def density(mask: Mapping[str, Tensor]) -> float:
    """Share of the weights that stay.

    >>> density({"w": torch.tensor([True, False, True, True])})
    0.75
    """
    return sum(int(part.sum()) for part in mask.values()) / sum(part.numel() for part in mask.values())


def by_magnitude(
    weights: Mapping[str, Tensor], mask: Mapping[str, Tensor], share: float, *, layerwise: bool = False
) -> Mask:
    """Prunes a share of the weights that are left, the smallest in magnitude.

    Args:
        weights: trained weights by name, at least those that the mask names.
        mask: what is left so far.
        share: of the weights left, in [0, 1]; the number that goes is rounded as `torch.nn.utils.prune` does.
        layerwise: the share of every tensor, and not of all together.

    Returns:
        The new mask, a part of the old one.

    Raises:
        Refusal: ``prune-share``.

    Example:
        >>> w = {"a": torch.tensor([1.0, -4.0]), "b": torch.tensor([0.5, 3.0])}
        >>> m = {name: torch.ones(2, dtype=torch.bool) for name in w}
        >>> {name: part.tolist() for name, part in by_magnitude(w, m, 0.5).items()}
        {'a': [False, True], 'b': [False, True]}
    """
    if not 0 <= share <= 1:
        raise refusal("prune-share", "a share of the weights left, in [0, 1]", share)
    groups = [[name] for name in mask] if layerwise else [list(mask)]
    new: Mask = {}
    for names in groups:
        left = torch.cat([weights[name].abs()[mask[name]] for name in names])
        gone = round(share * len(left))
        keep = torch.ones(len(left), dtype=torch.bool, device=left.device)
        keep[torch.topk(left, gone, largest=False).indices] = False
        sizes = [int(mask[name].sum()) for name in names]
        for name, part in zip(names, keep.split(sizes), strict=True):
            new[name] = mask[name].clone()
            new[name][mask[name]] = part
    return new


def moved_within_layers(mask: Mapping[str, Tensor], generator: torch.Generator) -> Mask:
    """As many weights in every tensor, at random places: a control that keeps the density of every layer.

    >>> moved = moved_within_layers({"w": torch.tensor([True, False, False])}, torch.Generator().manual_seed(0))
    >>> int(moved["w"].sum())
    1
    """
    return {
        name: part.flatten()[torch.randperm(part.numel(), generator=generator).to(part.device)].view(part.shape)
        for name, part in mask.items()
    }


@torch.no_grad()
def apply_mask(model: nn.Module, mask: Mapping[str, Tensor]) -> nn.Module:
    """Sets the pruned weights to zero, in place; the model. Gradients still reach them: apply again after a step."""
    own = dict(model.named_parameters())
    for name, part in mask.items():
        own[name].mul_(part.to(own[name]))
    return model
