"""Values as JSON: `encode` writes the fields of a dataclass that differ from their defaults, `decode` reads them back."""

from __future__ import annotations

import types
import typing
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal

from disobey.errors import refusal


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


def decode(value: Any, hint: Any, where: str = "recipe") -> Any:
    """The inverse of `encode`.

    Args:
        value: decoded JSON.
        hint: the type to make of it.
        where: the field, for messages.

    Raises:
        Refusal: ``unknown-field``, ``wrong-type`` or ``unknown-choice``; and what the dataclasses themselves refuse.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return decode(value, next(a for a in args if a is not type(None)), where)
    if is_dataclass(hint) and isinstance(hint, type):
        return _decode_fields(value, hint, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise refusal("wrong-type", "a list", repr(value), where=where)
        return tuple(decode(item, _type_of_item(args, i), where) for i, item in enumerate(value))
    if origin is Literal:
        if value not in args:
            raise refusal("unknown-choice", f"one of {list(args)}", repr(value), where=where)
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and (not isinstance(value, hint) or (hint is int and isinstance(value, bool))):
        raise refusal("wrong-type", hint.__name__, repr(value), where=where)
    return value


def _decode_fields(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, dict):
        raise refusal("wrong-type", "an object with fields", repr(value), where=where)
    hints = _hints(kind)
    known = [f.name for f in fields(kind)]
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise refusal("unknown-field", f"fields out of {sorted(known)}", f"unknown {unknown}", where=where)
    return kind(**{name: decode(item, hints[name], f"{where}.{name}") for name, item in value.items()})


def _type_of_item(args: tuple[Any, ...], index: int) -> Any:
    """Of a tuple's item: all alike in ``tuple[X, ...]``, by position otherwise."""
    return args[0] if args[-1] is Ellipsis else args[min(index, len(args) - 1)]


@cache
def _hints(kind: type) -> dict[str, Any]:
    """The types of a class's fields, looked up once: reading them takes longer than all the rest of `decode`."""
    return typing.get_type_hints(kind)
