"""Values as JSON: `encode` writes the fields of a dataclass that are not at their defaults, `decode` reads them."""

from __future__ import annotations

import typing
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any

from disobey.records.decoding import Rules
from disobey.records.decoding import decode as typed


def encode(value: Any, hint: Any = None) -> Any:
    """Dataclasses to dictionaries of their non-default, compared fields; 4 and 4.0 are the same temperature."""
    if is_dataclass(value) and not isinstance(value, type):
        hints = _hints(type(value))
        return {
            f.name: encode(item, hints[f.name])
            for f in fields(value)
            if f.compare and ((item := getattr(value, f.name)) != f.default or f.default is MISSING)
        }
    if isinstance(value, tuple):
        args = typing.get_args(hint)
        inner = args[0] if args else None
        return [encode(item, inner) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and float in (hint, *typing.get_args(hint)):
        return float(value)
    return value


RANGES: dict[str, tuple[float | None, float | None]] = {
    "DataSpec.train": (1, None),
    "DataSpec.noise": (0, 1),
    "DataSpec.fold": (0, None),
    "ImitationSpec.alpha": (0, 1),
    "ImitationSpec.curve": (0, 10**6),
    "ImitationSpec.outputs": (1, 10**6),
    "ModelSpec.width": (1, 10**6),
    "ModelSpec.depth": (0, 10**4),
    "ModelSpec.dropout": (0, 1),
    "OptimSpec.lr": (0, None),
    "OptimSpec.steps": (0, 10**9),
    "OptimSpec.batch": (1, 10**7),
    "OptimSpec.warmup": (0, 10**9),
    "OptimSpec.milestones": (0, 1),
    "OptimSpec.gamma": (0, None),
    "OptimSpec.momentum": (0, 1),
    "OptimSpec.betas": (0, 1),
    "OptimSpec.weight_decay": (0, None),
    "OptimSpec.clip": (0, None),
    "OptimSpec.stop": (0, 10**9),
    "HeadSpec.count": (1, 10**6),
    "HeadSpec.factors": (1, 10**4),
    "OptimSpec.eps": (0, None),
    "Phase.over": (0, 1),
    "Phase.until": (0, 1),
    "Recipe.check": (0, 10**9),
    "Recipe.keep": (0, 10**9),
    "Recipe.replica": (0, 10**9),
    "SequenceSpec.budgets": (0, 10**9),
    "SequenceSpec.count": (1, 10**7),
    "SequenceSpec.consistency": (0, None),
    "SequenceSpec.constant": (0, 1),
    "SequenceSpec.grow": (0, 1),
    "SequenceSpec.inner": (1, 10**6),
    "SequenceSpec.lengths": (1, 10**6),
    "SequenceSpec.longest": (1, 10**6),
    "SequenceSpec.powers": (0, 10**6),
    "SequenceSpec.rank": (0, 10**6),
    "SequenceSpec.shortest": (1, 10**6),
    "SequenceSpec.sweeps": (0, 10**6),
    "SequenceSpec.tol": (0, None),
    "SequenceSpec.words": (0, 10**9),
    "StateTeaching.feed": (0, 1),
    "Teaching.folds": (0, 1000),
    "Teaching.members": (1, 1000),
    "Teaching.seed": (0, 2**63 - 1),
    "Teaching.step": (0, 10**9),
}
"""Lowest and highest value of a recipe's fields, whoever wrote them: what lies outside could only fail, or do harm."""
_RULES = Rules(ranges=RANGES)


def decode(value: Any, hint: Any, where: str = "recipe") -> Any:
    """The inverse of `encode`, by the decoder of everything that is read back (`records.decoding`).

    Args:
        value: decoded JSON.
        hint: the type to make of it.
        where: the field, for messages.

    Raises:
        Refusal: ``unknown-field``, ``wrong-type``, ``unknown-choice``, ``out-of-range``, ``too-deep`` or
            ``incomplete``; and what the dataclasses themselves refuse.
    """
    return typed(value, hint, where, _RULES)


@cache
def _hints(kind: type) -> dict[str, Any]:
    """The types of a class's fields, looked up once: reading them takes longer than all the rest of `decode`."""
    return typing.get_type_hints(kind)
