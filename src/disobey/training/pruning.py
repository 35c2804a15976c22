"""Iterative magnitude pruning with rewinding: lottery tickets of any module, resumed at the round it was killed in.

Frankle et al. (2020), "Linear mode connectivity and the lottery ticket hypothesis", arXiv:1912.05671: train, prune the
smallest weights, put the others back to where they were at the rewinding point, and train again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from disobey.errors import refusal
from disobey.models.masks import Mask, apply_mask, by_magnitude, density, whole
from disobey.records.files import atomic

Trainer = Callable[[nn.Module, Mask, int], None]
"""``train(model, mask, round)`` trains in place; calls `disobey.models.masks.apply_mask` after every step."""


@dataclass(frozen=True, eq=False)
class Round:
    """One round. number: from 0, which is dense; mask: of its training; weights: at its end."""

    number: int
    mask: Mask
    weights: Mapping[str, Tensor]

    @property
    def density(self) -> float:
        """Share of the prunable weights that the round trained."""
        return density(self.mask)


def tickets(
    model: nn.Module,
    train: Trainer,
    *,
    rounds: int,
    share: float = 0.2,
    rewind: Mapping[str, Tensor] | None = None,
    layerwise: bool = False,
    among: Mask | None = None,
    folder: Path | None = None,
) -> list[Round]:
    """The rounds of iterative magnitude pruning.

    Args:
        model: any module, changed in place; it ends as the last round left it.
        train: one training; equal arguments must give equal weights, or a resumed pruning is another one.
        rounds: prunings; the dense round comes before them, so that ``rounds + 1`` are returned.
        share: of the weights left that every pruning takes.
        rewind: the weights that every round starts from (those of an early step, or of a student's checkpoint); the
            model's own first weights where not given.
        layerwise: prune the share of every layer and not of all together.
        among: True where a weight may be pruned: of some layers alone, say; all of them where not given.
        folder: where finished rounds are kept, to go on from after an interruption; for one pruning alone.

    Returns:
        Every round, the dense one first.

    Raises:
        Refusal: ``prune-rounds``, ``prune-share``, or ``other-pruning`` for a folder of another network.

    Example:
        >>> net = nn.Linear(5, 2)
        >>> [round(one.density, 2) for one in tickets(net, lambda model, mask, number: None, rounds=2)]
        [1.0, 0.8, 0.6]
    """
    if rounds < 0 or not 0 < share < 1:
        raise refusal("prune-rounds", "at least 0 rounds and a share between 0 and 1", f"{rounds} and {share}")
    start = {name: value.clone() for name, value in (model.state_dict() if rewind is None else rewind).items()}
    mask, done = whole(model) if among is None else among, []
    for number in range(rounds + 1):
        done.append(_trained(model, train, start, mask, number, folder))
        mask = by_magnitude(done[-1].weights, mask, share, layerwise=layerwise)
    model.load_state_dict(dict(done[-1].weights))
    return done


def trained_under(
    model: nn.Module,
    train: Trainer,
    masks: Sequence[Mask],
    *,
    rewind: Mapping[str, Tensor] | None = None,
    folder: Path | None = None,
) -> list[Round]:
    """One training under each of several masks, all from the same weights: controls of tickets.

    Args:
        model: any module, changed in place.
        train: as for `tickets`; rounds are numbered from 0.
        masks: of any origin, as `disobey.models.masks.moved_within_layers` makes them.
        rewind: the weights that every training starts from; the model's own where not given.
        folder: where finished ones are kept, as for `tickets`, and not that of a pruning.

    Raises:
        Refusal: ``other-pruning`` for a folder of other masks.

    Example:
        >>> net = nn.Linear(5, 2)
        >>> mask = by_magnitude({"weight": net.weight.detach()}, whole(net), 0.5)
        >>> [one.density for one in trained_under(net, lambda model, mask, number: None, [whole(net), mask])]
        [1.0, 0.5]
    """
    start = {name: value.clone() for name, value in (model.state_dict() if rewind is None else rewind).items()}
    return [_trained(model, train, start, mask, number, folder) for number, mask in enumerate(masks)]


def _trained(
    model: nn.Module, train: Trainer, start: Mapping[str, Tensor], mask: Mask, number: int, folder: Path | None
) -> Round:
    """One round from the weights ``start``, read where it is finished."""
    kept = None if folder is None else _read(folder / f"round-{number}.safetensors", mask)
    if kept is None:
        model.load_state_dict(dict(start))
        train(apply_mask(model, mask), mask, number)
        apply_mask(model, mask)
        kept = {name: value.detach().clone() for name, value in model.state_dict().items()}
        if folder is not None:
            _write(folder / f"round-{number}.safetensors", mask, kept)
    return Round(number, mask, kept)


def _write(path: Path, mask: Mask, weights: Mapping[str, Tensor]) -> None:
    parts = {f"weights.{k}": v.contiguous() for k, v in weights.items()} | {f"mask.{k}": v for k, v in mask.items()}
    with atomic(path) as temporary:
        save_file(parts, temporary)


def _read(path: Path, mask: Mask) -> dict[str, Tensor] | None:
    """The weights of a finished round, if its mask is the one that is wanted; None where there is none yet."""
    if not path.is_file():
        return None
    parts = load_file(path)
    found = {k.removeprefix("mask."): v for k, v in parts.items() if k.startswith("mask.")}
    if found.keys() != mask.keys() or not all(torch.equal(found[k], v) for k, v in mask.items()):
        raise refusal("other-pruning", "rounds of this pruning", "those of another", "an empty folder", where=str(path))
    return {k.removeprefix("weights."): v for k, v in parts.items() if k.startswith("weights.")}
