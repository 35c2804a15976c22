"""The one decoder of everything that is read back: run.json, recipes and result.json, by the types of their fields.

A file may have been damaged, cut off, or written by somebody who means harm: what does not fit its type is a `Refusal`
that names the place, never another error, and nothing is read without a bound.
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, Literal

from disobey.errors import Refusal, refusal

DEEPEST = 100  # levels of objects and lists in each other: a recipe with a teacher of a teacher needs eight
WIDEST = 1 << 64  # of whole numbers
LARGEST_RESULT = 1 << 28  # bytes of a JSON file: the largest result of a study so far has 3 MiB


@dataclass(frozen=True)
class Rules:
    """How strictly `decode` reads.

    Attributes:
        unknown: whether fields that a class lacks are refused or left out (a newer version's).
        open_floats: None is an unknown number and "inf" an infinite one; else floats are finite, and 4 is read as 4.0.
        ranges: lowest and highest value (None: no bound) by ``Class.field``; of a tuple's field, for every item.
        renamed: new words by old ones by ``Class.field``: what an older version wrote.
        id: what every refusal is called; its own kind where not given: wrong-type, unknown-field, unknown-choice,
            out-of-range, too-deep, incomplete.
    """

    unknown: Literal["refuse", "drop"] = "refuse"
    open_floats: bool = False
    ranges: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    renamed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    id: str = ""

    def refused(self, kind: str, expected: str, got: object, where: str) -> Refusal:
        """The refusal of one field."""
        return refusal(self.id or kind, expected, got, where=where)


def parse_json(text: str | bytes, what: str, *, id: str = "not-json", where: object = "") -> Any:
    """JSON's value. Raises `Refusal` for everything that is none, NaN and numbers and nestings without end included."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise refusal(id, what, f"brackets in brackets, more than {DEEPEST} deep", where=where) from None
    except (ValueError, MemoryError) as error:  # also bytes that are no UTF-8 and integers of 5,000 digits
        raise refusal(id, what, error, where=where) from None


def _no_constant(name: str) -> float:
    raise ValueError(f"the number {name}")


def decode(value: Any, hint: Any, where: str, rules: Rules, depth: int = 0) -> Any:
    """``value`` (of `json.loads`) as the type ``hint``: dataclasses, tuples, mappings, unions, literals and scalars.

    Raises `Refusal` (id ``rules.id``) with the place of the first thing that does not fit.
    """
    if depth > DEEPEST:
        raise rules.refused("too-deep", f"at most {DEEPEST} levels", "more", where[:80])
    if hint in _SCALARS:
        return _scalar(value, hint, where, rules)
    if hint is Any:
        return _plain(value, where, rules, depth)
    if isinstance(hint, type) and is_dataclass(hint):
        return _instance(value, hint, where, rules, depth)
    origin, args = _parts(hint)
    if origin is Literal:
        if not isinstance(value, (str, int)) or value not in args:
            raise rules.refused("unknown-choice", f"one of {list(args)}", _seen(value), where)
        return value
    if origin is tuple:
        return _tuple(value, args, where, rules, depth)
    if origin in (typing.Union, types.UnionType):
        return _one_of(value, args, where, rules, depth)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise rules.refused("wrong-type", "an object", _seen(value), where)
        return {name: decode(item, args[1], f"{where}.{name}", rules, depth + 1) for name, item in value.items()}
    raise AssertionError(f"{where}: no decoder for {hint}")


_SCALARS = (str, int, float, bool, type(None))
_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}


@cache
def _parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    return typing.get_origin(hint), typing.get_args(hint)


@cache
def hints(kind: type) -> dict[str, Any]:
    """The types of a class's fields, looked up once: reading them takes longer than all the rest."""
    known = typing.get_type_hints(kind)
    return {f.name: known[f.name] for f in fields(kind)}


def _scalar(value: Any, hint: type, where: str, rules: Rules) -> Any:
    if hint is float:
        if type(value) is float or type(value) is int:
            with_point = _float(value)
            if math.isfinite(with_point):
                return value if rules.open_floats else with_point
        elif rules.open_floats and (value is None or value in ("inf", "-inf")):
            return math.nan if value is None else float(value)
    elif type(value) is hint and (hint is not int or -WIDEST <= value <= WIDEST):
        return value
    raise rules.refused("wrong-type", _NAMES[hint], _seen(value), where)


def _seen(value: Any) -> str:
    """What a message quotes of a value: never a whole nest of them."""
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, (list, tuple)) else repr(value)[:200]


def _float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _plain(value: Any, where: str, rules: Rules, depth: int) -> Any:
    """Any JSON, with tuples for lists."""
    if depth > DEEPEST:
        raise rules.refused("too-deep", f"at most {DEEPEST} levels", "more", where[:80])
    if isinstance(value, list):
        return tuple(_plain(item, where, rules, depth + 1) for item in value)
    if isinstance(value, dict):
        return {name: _plain(item, where, rules, depth + 1) for name, item in value.items()}
    if type(value) in (int, float):
        return _scalar(value, type(value), where, rules)
    return value


def _instance(value: Any, kind: type, where: str, rules: Rules, depth: int) -> Any:
    if not isinstance(value, dict):
        raise rules.refused("wrong-type", "an object with fields", _seen(value), where)
    known = hints(kind)
    unknown = sorted(value.keys() - known.keys())
    if unknown and rules.unknown == "refuse":
        raise rules.refused("unknown-field", f"fields out of {sorted(known)}", f"unknown {unknown}", where)
    given = {}
    for name, item in value.items():
        if name in known:
            place = f"{where}.{name}"
            if isinstance(item, str):
                item = rules.renamed.get(f"{kind.__name__}.{name}", {}).get(item, item)
            given[name] = decode(item, known[name], place, rules, depth + 1)
            bounds = rules.ranges.get(f"{kind.__name__}.{name}")
            if bounds is not None:
                _bounded(given[name], bounds, place, rules)
    try:
        return kind(**given)
    except Refusal:
        raise
    except (TypeError, ValueError, AssertionError) as error:  # a field without default is missing, or two contradict
        raise rules.refused("incomplete", f"the fields of {kind.__name__}", error, where) from None


def _bounded(value: Any, bounds: tuple[float | None, float | None], where: str, rules: Rules) -> None:
    low, high = bounds
    for number in value if isinstance(value, tuple) else (value,):
        if number is None or (isinstance(number, float) and math.isnan(number)):
            continue
        if (low is not None and number < low) or (high is not None and number > high):
            said = f"from {low:,}" if high is None else f"up to {high:,}" if low is None else f"in {low:,} .. {high:,}"
            raise rules.refused("out-of-range", f"a number {said}", _seen(number), where)


def _tuple(value: Any, args: tuple[Any, ...], where: str, rules: Rules, depth: int) -> tuple:
    if not isinstance(value, list):
        raise rules.refused("wrong-type", "a list", _seen(value), where)
    if args[-1] is Ellipsis:
        return tuple(decode(item, args[0], where, rules, depth + 1) for item in value)
    if len(value) != len(args):
        raise rules.refused("wrong-type", f"{len(args)} values", f"{len(value)}", where)
    return tuple(decode(item, kind, where, rules, depth + 1) for item, kind in zip(value, args, strict=True))


def _one_of(value: Any, args: tuple[Any, ...], where: str, rules: Rules, depth: int) -> Any:
    """A union: scalars by their type, objects by their ``type`` where several are possible."""
    if type(value) in args and type(value) in _SCALARS:
        return _scalar(value, type(value), where, rules)
    rest = [kind for kind in args if kind not in _SCALARS]
    if isinstance(value, dict):
        classes = [kind for kind in rest if is_dataclass(kind)]
        if len(classes) > 1 or "type" in value:
            classes = [kind for kind in classes if getattr(kind, "__name__", "") == value.get("type")]
        if classes:
            return decode(value, classes[0], where, rules, depth)
    elif isinstance(value, list):
        for kind in rest:
            if _parts(kind)[0] is tuple:
                return decode(value, kind, where, rules, depth)
    elif float in args:
        return _scalar(value, float, where, rules)
    elif literals := [kind for kind in rest if _parts(kind)[0] is Literal]:
        return decode(value, literals[0], where, rules, depth)
    names = " or ".join(_NAMES.get(kind, getattr(kind, "__name__", str(kind))) for kind in args)
    raise rules.refused("wrong-type", names, _seen(value), where)
