"""The JSON schema of ``result.json``, made from the dataclasses, for programs that are not ours."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal

from disobey.records.results import Result


def result_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of what `Result.to_json` writes.

    Every object has a ``type``; numbers that are not finite are null, infinite bounds of an estimate are the texts
    "inf" and "-inf". Readers must accept properties that they do not know: later releases add some.

    Example:
        >>> result_schema()["$ref"]
        '#/$defs/Result'
    """
    made: dict[str, Any] = {}
    _define(Result, made)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "result.json of disobey",
        "$ref": "#/$defs/Result",
        "$defs": dict(sorted(made.items())),
    }


def _define(kind: type, made: dict[str, Any]) -> None:
    if kind.__name__ in made:
        return
    made[kind.__name__] = {}
    known = typing.get_type_hints(kind)
    properties = {"type": {"const": kind.__name__}}
    properties |= {field.name: _of(known[field.name], made) for field in fields(kind)}
    if kind.__name__ == "Estimate":
        number = {"anyOf": [{"type": "number"}, {"type": "null"}, {"enum": ["inf", "-inf"]}]}
        properties |= dict.fromkeys(("value", "low", "high"), number)
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    made[kind.__name__] = {"type": "object", "properties": properties, "required": ["type", *needed]}


def _of(hint: Any, made: dict[str, Any]) -> dict[str, Any]:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if is_dataclass(hint):
        _define(typing.cast(type, hint), made)
        return {"$ref": f"#/$defs/{hint.__name__}"}  # type: ignore[union-attr]
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_of(arg, made) for arg in args]}
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return {"type": "array", "items": _of(args[0], made)}
        return {"type": "array", "prefixItems": [_of(a, made) for a in args], "minItems": len(args)}
    if origin is Mapping or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return {"type": "object", "additionalProperties": _of(args[1], made)}
    plain = {str: "string", int: "integer", bool: "boolean", type(None): "null"}
    if hint is float:
        return {"type": ["number", "null"]}
    return {"type": plain[hint]} if hint in plain else {}


if __name__ == "__main__":
    import json

    print(json.dumps(result_schema(), indent=1, ensure_ascii=False))
