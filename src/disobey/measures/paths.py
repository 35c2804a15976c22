"""Between weights: how far, along which loss, and whether there is a barrier.

Everything works on state dictionaries and a function of the caller that scores one, so on any network. Batch norms need
care: their statistics belong to weights, and the mean of two sets of statistics belongs to no network. `reestimated`
gives a network the statistics of its weights.
Shapes: P points on a path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from disobey.errors import refusal

State = Mapping[str, Tensor]
Score = Callable[[dict[str, Tensor]], float]


def distance(first: State, second: State) -> float:
    """Euclidean distance of all weights that are numbers with a fraction.

    >>> distance({"w": torch.zeros(2)}, {"w": torch.tensor([3.0, 4.0])})
    5.0
    """
    return float(sum((second[k].double() - v.double()).square().sum() for k, v in _floating(first))) ** 0.5


def alignment(start: State, first: State, second: State) -> float:
    """Cosine between two movements from one start; NaN where one of them did not move.

    >>> s, a = {"w": torch.zeros(2)}, {"w": torch.tensor([1.0, 1.0])}
    >>> round(alignment(s, a, {"w": torch.tensor([1.0, 0.0])}), 3)
    0.707
    """
    inner = a = b = 0.0
    for name, value in _floating(start):
        one, two = first[name].double() - value.double(), second[name].double() - value.double()
        inner, a, b = inner + float((one * two).sum()), a + float(one.square().sum()), b + float(two.square().sum())
    return inner / (a * b) ** 0.5 if a > 0 and b > 0 else float("nan")


def between(first: State, second: State, share: float) -> dict[str, Tensor]:
    """The weights at ``share`` of the straight line from the first to the second; whole numbers are the first's."""
    return {
        name: torch.lerp(value, second[name], share) if value.is_floating_point() else value.clone()
        for name, value in first.items()
    }


@dataclass(frozen=True, eq=False)
class Path:
    """Scores along a line. shares: (P,) from 0 to 1; scores: (P,), lower is better (an error or a loss)."""

    shares: NDArray
    scores: NDArray

    @property
    def barrier(self) -> float:
        """The highest score minus the mean of the two ends', at least 0 up to the ends' difference.

        Frankle et al. (2020), arXiv:1912.05671: a pair is connected where this is small.
        """
        return float(self.scores.max() - (self.scores[0] + self.scores[-1]) / 2)

    @property
    def bump(self) -> float:
        """The highest score above the straight line between the ends': 0 for a monotone convex path."""
        line = self.scores[0] + self.shares * (self.scores[-1] - self.scores[0])
        return float((self.scores - line).max())


def path(first: State, second: State, score: Score, *, points: int = 11) -> Path:
    """Scores of the weights on the straight line between two networks.

    Args:
        first: state dictionary.
        second: state dictionary of the same architecture.
        score: of a state dictionary; wrap it in `reestimated` for networks with batch norms.
        points: P, with both ends.

    Raises:
        Refusal: ``other-tensors`` or ``path-points``.

    Example:
        >>> hill = lambda state: 1 - abs(float(state["w"]))  # a planted barrier of height 1 at 0
        >>> path({"w": torch.tensor(-1.0)}, {"w": torch.tensor(1.0)}, hill, points=5).barrier
        1.0
    """
    if points < 3:
        raise refusal("path-points", "at least 3 points, both ends among them", points)
    if {k: v.shape for k, v in first.items()} != {k: v.shape for k, v in second.items()}:
        raise refusal("other-tensors", "weights of one architecture", "other names or shapes")
    shares = np.linspace(0.0, 1.0, points)
    return Path(shares, np.array([score(between(first, second, float(share))) for share in shares]))


@dataclass(frozen=True, eq=False)
class Plane:
    """The plane through three networks. across, up: orthonormal directions; places: (3, 2) of the three."""

    origin: State
    across: State
    up: State
    places: NDArray

    def at(self, x: float, y: float) -> dict[str, Tensor]:
        """The weights at a place of the plane, distances as in weight space."""
        return {
            name: (value.double() + x * self.across[name] + y * self.up[name]).to(value)
            if value.is_floating_point()
            else value.clone()
            for name, value in self.origin.items()
        }


def plane(origin: State, first: State, second: State) -> Plane:
    """The plane through three networks: ``origin`` at (0, 0), ``first`` on the first axis.

    Raises:
        Refusal: ``on-a-line``, where the three lie on one.

    Example:
        >>> o, a, b = ({"w": torch.tensor(v)} for v in ([0.0, 0.0], [2.0, 0.0], [1.0, 1.0]))
        >>> plane(o, a, b).places.round(3).tolist()
        [[0.0, 0.0], [2.0, 0.0], [1.0, 1.0]]
    """
    one = {k: first[k].double() - v.double() for k, v in _floating(origin)}
    two = {k: second[k].double() - v.double() for k, v in _floating(origin)}
    length = _dot(one, one) ** 0.5
    across = {k: v / max(length, 1e-300) for k, v in one.items()}
    along = _dot(two, across)
    rest = {k: v - along * across[k] for k, v in two.items()}
    height = _dot(rest, rest) ** 0.5
    if not (length > 0 and height > 1e-9 * length):
        raise refusal("on-a-line", "three networks that do not lie on a line", "three on one")
    up = {k: v / height for k, v in rest.items()}
    return Plane(origin, across, up, np.array([[0.0, 0.0], [length, 0.0], [along, height]]))


def surface(of: Plane, score: Score, xs: Sequence[float], ys: Sequence[float]) -> NDArray:
    """Scores on a grid of the plane, (len(ys), len(xs))."""
    return np.array([[score(of.at(x, y)) for x in xs] for y in ys])


def asymmetry(center: State, towards: State, score: Score, lengths: Sequence[float]) -> NDArray:
    """Log ratio of the score on the far side to that towards a network, at every length (in weight space).

    Positive where the ascent is steeper away from ``towards``: the valley is asymmetric in its favour.

    Example:
        >>> valley = lambda state: float(state["w"]) ** 2 * (4.0 if state["w"] < 0 else 1.0)
        >>> asymmetry({"w": torch.tensor(0.0)}, {"w": torch.tensor(1.0)}, valley, [0.5]).round(3).tolist()
        [1.386]
    """
    norm = distance(center, towards)
    ratios = []
    for length in lengths:
        here, there = (score(between(center, towards, sign * length / norm)) for sign in (1, -1))
        ratios.append(np.log(there / here))
    return np.array(ratios)


@torch.no_grad()
def reestimated(model: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """Gives every batch norm the statistics of these batches, each counting the same, in place; the model.

    Networks without batch norms are returned as they are.

    Example:
        >>> net = nn.BatchNorm1d(1)
        >>> float(reestimated(net, [torch.tensor([[1.0], [3.0]])]).running_mean)
        2.0
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return model
    modes, momenta = {m: m.training for m in model.modules()}, [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches
        norm.train()
    try:
        for batch in batches:
            model(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, mode in modes.items():
            module.training = mode
    return model


def _floating(state: State) -> Iterable[tuple[str, Tensor]]:
    return ((name, value) for name, value in state.items() if value.is_floating_point())


def _dot(first: State, second: State) -> float:
    return float(sum((value * second[name]).sum() for name, value in first.items()))
