"""Two networks that differ by the order of their units only are the same function: finding that order.

Weight matching (Ainsworth, Hayase and Srinivasa 2023, "Git Re-Basin", arXiv:2209.04836, section 3.2) for chains of
linear and convolutional layers: units of every inner layer are matched in turn, so that the inner product with the
other network's weights is largest, until nothing changes. It finds a local optimum, not the best order in general.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from disobey.errors import refusal

State = Mapping[str, Tensor]


def chain(model: nn.Module) -> tuple[str, ...]:
    """Names of the linear and convolutional layers in the order in which they were defined.

    For networks that are a chain of them: no branches, no normalization with learned weights.

    >>> chain(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    ('0', '2')
    """
    kinds = (nn.Linear, nn.modules.conv._ConvNd)
    return tuple(name for name, module in model.named_modules() if isinstance(module, kinds))


def permuted(state: State, layers: Sequence[str], orders: Sequence[NDArray]) -> dict[str, Tensor]:
    """The same function with the units of every inner layer in another order.

    Args:
        state: state dictionary of a chain.
        layers: its layers, see `chain`.
        orders: for every layer but the last, which unit comes first, second and so on.

    Returns:
        A new state dictionary.
    """
    new = {name: value.clone() for name, value in state.items()}
    for place, order in enumerate(orders):
        here, after, rows = layers[place], layers[place + 1], torch.as_tensor(np.ascontiguousarray(order))
        new[f"{here}.weight"] = new[f"{here}.weight"][rows]
        if f"{here}.bias" in new:
            new[f"{here}.bias"] = new[f"{here}.bias"][rows]
        new[f"{after}.weight"] = _columns(new[f"{after}.weight"], rows)
    return new


def matched(reference: State, other: State, layers: Sequence[str], *, sweeps: int = 50) -> dict[str, Tensor]:
    """``other`` with its units in the order that fits ``reference`` best.

    Args:
        reference: state dictionary of a chain.
        other: state dictionary of the same architecture.
        layers: see `chain`.
        sweeps: passes over the layers at most.

    Returns:
        A new state dictionary, the same function as ``other``.

    Raises:
        Refusal: ``no-inner-layer``.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).state_dict()
        >>> moved = permuted(net, ("0", "2"), [np.array([2, 0, 1])])
        >>> all(torch.equal(a, b) for a, b in zip(matched(net, moved, ("0", "2")).values(), net.values()))
        True
    """
    if len(layers) < 2:
        raise refusal("no-inner-layer", "at least two layers in a chain", len(layers))
    orders = [np.arange(len(other[f"{name}.weight"])) for name in layers[:-1]]
    for _ in range(sweeps):
        changed = False
        for place in range(len(orders)):
            rest = [*orders]
            rest[place] = np.arange(len(orders[place]))
            moved = permuted(other, layers, rest)  # all layers but this one in their present order
            gain = _likeness(reference, moved, layers[place], layers[place + 1])
            _, order = linear_sum_assignment(gain, maximize=True)
            present = gain[np.arange(len(order)), orders[place]].sum()
            if gain[np.arange(len(order)), order].sum() > present + 1e-9 * abs(present):
                orders[place], changed = order, True
        if not changed:
            break
    return permuted(other, layers, orders)


def _likeness(reference: State, other: State, here: str, after: str) -> NDArray:
    """Inner products of every unit of the reference with every unit of the other, incoming and outgoing weights."""
    total = 0.0
    pairs = [(reference[f"{here}.weight"].flatten(1), other[f"{here}.weight"].flatten(1))]
    if f"{here}.bias" in reference:
        pairs.append((reference[f"{here}.bias"][:, None], other[f"{here}.bias"][:, None]))
    units = len(pairs[0][0])
    outgoing = [_by_input(state[f"{after}.weight"], units) for state in (reference, other)]
    for one, two in [*pairs, (outgoing[0], outgoing[1])]:
        total = total + one.double() @ two.double().T
    assert isinstance(total, Tensor)
    return total.numpy()


def _by_input(weight: Tensor, units: int) -> Tensor:
    """(units, everything that reads them): a linear layer after a flattened map has several inputs a unit."""
    if weight.shape[1] == units:
        return weight.transpose(0, 1).flatten(1)
    return weight.view(len(weight), units, -1).transpose(0, 1).flatten(1)


def _columns(weight: Tensor, rows: Tensor) -> Tensor:
    if weight.shape[1] == len(rows):
        return weight[:, rows]
    return weight.view(len(weight), len(rows), -1)[:, rows].reshape(weight.shape)
