"""A study's fields as a flat list of options: read by the command line, the documents, the tests and the results."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any, get_type_hints

from disobey.errors import refusal

_BY_DATA = "chosen by the data: "


@dataclass(frozen=True)
class Option:
    """One option of a study.

    Attributes:
        path: the fields that lead to it: ("setup", "steps").
        type: its type.
        value: its value in the study that was asked.
        words: what it does, as written under the field.
        chosen: what an open value (None, an empty text) stands for.
        formerly: the name that it had in the release before, without dashes; empty where it was always called so.
    """

    path: tuple[str, ...]
    type: Any
    value: Any
    words: str
    chosen: str = ""
    formerly: str = ""

    @property
    def name(self) -> str:
        """The last field's name: options are flat."""
        return self.path[-1]

    @property
    def flag(self) -> str:
        """The name on the command line."""
        return "--" + self.name.replace("_", "-")

    def default(self) -> str:
        """The value for people, an open one as what it stands for.

        >>> Option(("noise",), tuple, (0.0, 0.2), "").default()
        '0.0 0.2'
        """
        if self.value in (None, "", (), "default"):
            return self.chosen or "none"
        return " ".join(map(str, self.value)) if isinstance(self.value, tuple) else str(self.value)


def renamed(formerly: str, default: Any) -> Any:
    """A field whose option had another name in the release before: the old name goes on working, with a note."""
    return field(default=default, metadata={"formerly": formerly})


def options(study: Any) -> tuple[Option, ...]:
    """Every option of a study, in the order of its fields; those of its parts in their place.

    What open options stand for is said by a method ``chosen()`` of the study or of the part, where there is one and the
    data are at hand.
    """
    chosen: dict[str, str] = {}
    for part in reversed([study, *_parts(study)]):  # the whole knows better than its parts
        chosen |= _chosen(part)
    return tuple(replace(option, chosen=chosen.get(option.name, "")) for option in _options(study, ()))


def settings_of(study: Any) -> dict[str, Any]:
    """Every option with its value."""
    return {option.name: option.value for option in _options(study, ())}


def effective_settings(study: Any) -> dict[str, Any]:
    """With what a result was made: every option with its value, an open one with what it stood for on these data."""
    found = {}
    for option in options(study):
        is_open = option.value is None or option.value in ("", "default")
        found[option.name] = chosen_value(option.chosen) if is_open and option.chosen else option.value
    return found


def by_data(value: object, data: str) -> str:
    """An option's value that depends on the data, for help and documents.

    >>> by_data("1,200", "mnist-5k")
    'chosen by the data: 1,200 for mnist-5k'
    """
    return f"{_BY_DATA}{value} for {data}"


def chosen_value(words: str) -> str:
    """The value alone.

    >>> chosen_value(by_data("cnn:16", "mnist-5k"))
    'cnn:16'
    """
    return words.removeprefix(_BY_DATA).split(" for ", 1)[0] if words.startswith(_BY_DATA) else words


def changed(study: Any, values: Mapping[str, Any]) -> Any:
    """The study with other values of some options, all of them set at once; what is no option stays as it is.

    Raises:
        ValueError: a name is no option, or the study refuses a value.
    """
    paths = {option.name: option.path for option in _options(study, ())}
    unknown = sorted(set(values) - set(paths))
    if unknown:
        raise refusal("unknown-option", f"options out of {', '.join(paths)}", ", ".join(unknown))
    return _replaced(study, {paths[name]: value for name, value in values.items()})


def _replaced(value: Any, changes: Mapping[tuple[str, ...], Any]) -> Any:
    own = {path[0]: change for path, change in changes.items() if len(path) == 1}
    for part in dict.fromkeys(path[0] for path in changes if len(path) > 1):
        inner = {path[1:]: change for path, change in changes.items() if path[0] == part and len(path) > 1}
        own[part] = _replaced(getattr(value, part), inner)
    return replace(value, **own)


def _options(value: Any, path: tuple[str, ...]) -> Iterator[Option]:
    hints, words = get_type_hints(type(value)), _words(type(value))
    for f in fields(value):
        if not f.metadata.get("option", True):
            continue
        item, here = getattr(value, f.name), (*path, f.name)
        if is_dataclass(item):
            yield from _options(item, here)
        else:
            formerly = f.metadata.get("formerly", "")
            yield Option(here, hints[f.name], item, words.get(f.name, ""), formerly=formerly)


def _parts(value: Any) -> list[Any]:
    return [item for f in fields(value) if is_dataclass(item := getattr(value, f.name))]


def _chosen(value: Any) -> Mapping[str, str]:
    """Empty where the data cannot be had now: help works without files and without a network."""
    data = getattr(getattr(value, "setup", value), "data", "")
    if not hasattr(value, "chosen") or data.startswith("hub:"):
        return {}
    try:
        return value.chosen()
    except (ValueError, OSError):
        return {}


@cache
def _words(kind: type) -> Mapping[str, str]:
    """The text under every field of a dataclass, on one line."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # type: ignore[attr-defined]
    found = {}
    for line, under in pairwise(body):
        match line, under:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found
