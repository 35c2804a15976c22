"""Weights near other weights: where a student starts when it starts close to its teacher.

Sarnthein et al. (2023), "Random teachers are good teachers", arXiv:2302.12091, section 4: the student starts at
``((1 - alpha) teacher + alpha fresh) / delta`` with ``delta = sqrt(alpha² + (1 - alpha)²)``, which keeps the variance
of independent weights. Parts of a network may have distances of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from disobey.errors import refusal

State = Mapping[str, Tensor]


def mixed(first: Tensor, second: Tensor, alpha: float) -> Tensor:
    """``first`` at 0, ``second`` at 1, and between them a mixture with the variance of independent weights.

    At 0 and 1 the tensors themselves, to the last bit: in float32 a tiny ``alpha`` also gives ``first`` but for the
    rounding of a few weights.

    Raises:
        Refusal: ``alpha-range``.

    >>> mixed(torch.tensor([3.0]), torch.tensor([4.0]), 0.5)
    tensor([4.9497])
    """
    if not 0 <= alpha <= 1:
        raise refusal("alpha-range", "alpha, a distance from the teacher, in [0, 1]", alpha)
    if alpha in (0.0, 1.0):
        return (second if alpha else first).clone()
    return ((1 - alpha) * first + alpha * second) / math.sqrt(alpha**2 + (1 - alpha) ** 2)


def near(teacher: State, fresh: State, alpha: float | Mapping[str, float]) -> dict[str, Tensor]:
    """Weights at the distance ``alpha`` from the teacher's.

    Whole numbers (counters of batch norms) are the teacher's. Running statistics are mixed like weights: recompute them
    where it matters (`disobey.measures.paths.reestimated`), or use networks without.

    Args:
        teacher: a state dictionary.
        fresh: the state dictionary of an independent initialization.
        alpha: one number in [0, 1], or a number by the beginning of names; the longest beginning that fits counts, and
            ``""`` fits all.

    Returns:
        A new state dictionary.

    Raises:
        Refusal: ``alpha-range``, ``other-tensors``, or ``no-alpha`` for a tensor that no beginning fits.

    Example:
        >>> a, b = (nn.Linear(2, 2).state_dict() for _ in range(2))
        >>> start = near(a, b, {"": 0.0, "bias": 1.0})
        >>> bool((start["weight"] == a["weight"]).all()), bool((start["bias"] == b["bias"]).all())
        (True, True)
    """
    check_same(teacher, fresh)
    by_part = {"": alpha} if isinstance(alpha, (int, float)) else dict(alpha)
    start = {}
    for name, value in teacher.items():
        fitting = [part for part in by_part if name.startswith(part)]
        if not fitting:
            raise refusal("no-alpha", f"alpha for every tensor, by beginnings {list(by_part)}", f"none for {name}")
        floating = value.is_floating_point()
        start[name] = mixed(value, fresh[name], by_part[max(fitting, key=len)]) if floating else value.clone()
    return start


def neighbour(teacher: State, epsilon: float, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights at a relative distance from the teacher's, in a random direction.

    Every tensor moves by ``epsilon`` times its own norm; tensors of zeros (fresh biases) stay.

    Args:
        teacher: a state dictionary.
        epsilon: relative distance, at least 0.
        generator: of the direction, on the CPU.

    Returns:
        A new state dictionary.

    Raises:
        Refusal: ``epsilon-range``.

    Example:
        >>> moved = neighbour({"w": torch.tensor([3.0, 4.0])}, 0.1, torch.Generator().manual_seed(0))["w"]
        >>> round(float((moved - torch.tensor([3.0, 4.0])).norm()), 4)
        0.5
    """
    if not epsilon >= 0:
        raise refusal("epsilon-range", "a relative distance of at least 0", epsilon)
    return step_along(teacher, {k: epsilon * v.double().norm() for k, v in teacher.items()}, generator)


def random_walk(start: State, end: State, generator: torch.Generator) -> dict[str, Tensor]:
    """As far from ``start`` as ``end`` is, tensor by tensor, but in random directions: what mere movement does.

    >>> a, b = {"w": torch.zeros(3)}, {"w": torch.ones(3)}
    >>> round(float(random_walk(a, b, torch.Generator().manual_seed(0))["w"].norm()), 4)
    1.7321
    """
    check_same(start, end)
    return step_along(start, {k: (end[k].double() - v.double()).norm() for k, v in start.items()}, generator)


def shuffled(state: State, generator: torch.Generator) -> dict[str, Tensor]:
    """The same numbers, permuted within every tensor: what the distribution of the weights alone does."""
    return {
        name: value.flatten()[torch.randperm(value.numel(), generator=generator)].view(value.shape).clone()
        for name, value in state.items()
    }


def step_along(start: State, lengths: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """A step of the given length in a random direction, in every tensor of floating numbers."""
    moved = {}
    for name, value in start.items():
        if not value.is_floating_point():
            moved[name] = value.clone()
            continue
        direction = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        moved[name] = (value.double() + direction * (lengths[name] / direction.norm().clamp_min(1e-300))).to(value)
    return moved


def lecun(model: nn.Module, generator: torch.Generator | None = None) -> nn.Module:
    """Draws linear and convolutional weights from N(0, 1 / fan-in), biases 0, in place; the model.

    >>> generator = torch.Generator().manual_seed(0)
    >>> round(float(lecun(nn.Linear(400, 50), generator).weight.detach().std()), 2)
    0.05
    """
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            with torch.no_grad():
                module.weight.normal_(0.0, module.weight[0].numel() ** -0.5, generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
    return model


def check_same(first: State, second: State) -> None:
    """Refuses state dictionaries of different names or shapes (``other-tensors``)."""
    a, b = ({name: tuple(value.shape) for name, value in state.items()} for state in (first, second))
    if a != b:
        raise refusal("other-tensors", "weights of one architecture", f"{sorted(set(a.items()) ^ set(b.items()))[:4]}")
