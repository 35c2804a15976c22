"""Is a valley asymmetric, and more so in one direction than in others? And which part of a plane to look at.

Everything works on state dictionaries and a function of the caller that scores one, so on any network; planes
themselves are in `paths`. Shapes: R directions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disobey.measures.paths import Plane, Score, State, asymmetry, distance


@dataclass(frozen=True, eq=False)
class Asymmetry:
    """Log ratio of the score on the far side to that on the near side.

    Attributes:
        own: towards one network.
        others: in other directions, (R,).
    """

    own: float
    others: NDArray

    @property
    def beyond(self) -> float:
        """Own minus the mean of the others."""
        return self.own - float(self.others.mean())

    @property
    def share_above(self) -> float:
        """Share of the directions, the own among them, that are at least as asymmetric: a one-sided p-value.

        >>> Asymmetry(2.0, np.array([0.1, -0.3, 0.2])).share_above
        0.25
        """
        return float((1 + (self.others >= self.own).sum()) / (1 + len(self.others)))


def asymmetry_beside(
    center: State, towards: State, others: Iterable[State], score: Score, *, length: float | None = None
) -> Asymmetry:
    """The asymmetry of a valley towards one network, beside that in other directions.

    Sarnthein et al. (2023), arXiv:2302.12091, section 4.3, show the first; the second is what chance and a bent
    valley give, and should be as long: `disobey.models.near.random_walk` makes directions.

    Args:
        center: where the score is smallest, a teacher's weights say.
        towards: the network.
        others: weights at the ends of other directions, R of them.
        score: of a state dictionary, above 0 off the center.
        length: of all steps, in weight space; the distance to ``towards`` where not given.

    Returns:
        log(score(center − length·u) / score(center + length·u)) for every direction u.

    Example:
        >>> import torch
        >>> valley = lambda s: float(s["w"][0]) ** 2 * (4.0 if s["w"][0] < 0 else 1.0) + float(s["w"][1]) ** 2
        >>> center, right, up = ({"w": torch.tensor(v)} for v in ([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]))
        >>> found = asymmetry_beside(center, right, [up], valley)
        >>> round(found.own, 3), found.others.round(3).tolist()
        (1.386, [0.0])
    """
    step = distance(center, towards) if length is None else length
    own = float(asymmetry(center, towards, score, [step])[0])
    return Asymmetry(own, np.array([float(asymmetry(center, other, score, [step])[0]) for other in others]))


def axes_around(of: Plane, points: int, *, margin: float = 0.3) -> tuple[NDArray, NDArray]:
    """Where to score a plane so that its three networks lie on the grid.

    Args:
        of: the plane.
        points: of each axis, at least; those of the three networks are added.
        margin: how far the grid goes beyond the networks, over their extent.

    Returns:
        x and y coordinates, ascending.

    Example:
        >>> import torch
        >>> from disobey.measures.paths import plane
        >>> o, a, b = ({"w": torch.tensor(v)} for v in ([0.0, 0.0], [2.0, 0.0], [1.0, 1.0]))
        >>> xs, ys = axes_around(plane(o, a, b), 3, margin=0.5)
        >>> xs.tolist(), ys.tolist()
        ([-1.0, 0.0, 1.0, 2.0, 3.0], [-0.5, 0.0, 0.5, 1.0, 1.5])
    """
    found = []
    for values in of.places.T:
        low, high = float(values.min()), float(values.max())
        beyond = margin * (high - low)
        even = np.linspace(low - beyond, high + beyond, points)
        gap = (high - low + 2 * beyond) / max(points - 1, 1) / 4
        away = even[np.abs(even[:, None] - values[None]).min(axis=1) > gap]  # no line beside another
        found.append(np.unique(np.concatenate([away, values]).round(12)))
    return found[0], found[1]
