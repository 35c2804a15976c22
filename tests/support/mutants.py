"""Damaged and hostile versions of something that is sound: of its bytes, and of its structure."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

ODD = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2**63,
    -(2**63),
    10**400,
    1e308,
    -1e308,
    5e-324,
    0.5,
    "",
    "x",
    "inf",
    "NaN",
    "../x",
    "/dev/zero",
    "<script>",
    "\u2028",
    "\ud800",
    "a" * 5_000,
    [],
    {},
    [[]],
    [None],
    {"type": "Estimate"},
    {"type": "Result"},
    {"": ""},
    [0] * 50,
)


def _places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _places(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value[:6]):  # the first few stand for all
            yield from _places(item, (*path, i))


def json_mutants(whole: Any, rng: random.Random, n: int) -> Iterator[Any]:
    """``n`` values like ``whole`` with one to three places replaced, removed, doubled, renamed or exchanged."""
    places = list(_places(whole))
    for _ in range(n):
        value = copy.deepcopy(whole)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            value = _changed(value, rng.choice(places), rng)
        yield value


def _changed(value: Any, path: tuple, rng: random.Random) -> Any:
    if not path:
        return rng.choice(ODD) if rng.random() < 0.1 else value
    place = value
    for step in path[:-1]:
        try:
            place = place[step]
        except (KeyError, IndexError, TypeError):
            return value
    key = path[-1]
    if not (isinstance(place, dict) and key in place) and not (
        isinstance(place, list) and isinstance(key, int) and key < len(place)
    ):
        return value
    deed = rng.randrange(6)
    if deed == 0:
        del place[key]
    elif deed == 1 and isinstance(place, list):
        place.insert(key, copy.deepcopy(place[key]))
    elif deed == 2 and isinstance(place, dict):
        place[rng.choice(("type", "column", "data", "x", str(key) + "_"))] = place.pop(key)
    elif deed == 3:
        other = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        place[key], place[other] = place[other], place[key]
    elif deed == 4:
        nest: Any = place[key]
        for _ in range(rng.choice((1, 3, 150))):
            nest = [nest] if rng.random() < 0.5 else {"a": nest}
        place[key] = nest
    else:
        place[key] = copy.deepcopy(rng.choice(ODD))
    return value


def bytes_mutants(whole: bytes, rng: random.Random, n: int) -> Iterator[bytes]:
    """``n`` versions with bits flipped, parts cut out, doubled, zeroed or overwritten by noise, or the end missing."""
    for _ in range(n):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 2, 4))):
            size = max(len(data), 1)
            start = rng.randrange(size) if rng.random() < 0.6 else rng.randrange(min(size, 256))  # headers matter most
            length = min(rng.choice((1, 2, 4, 8, 64, 1024)), size - start)
            deed = rng.randrange(7)
            if deed <= 1 and data:
                data[start] ^= 1 << rng.randrange(8)
            elif deed == 2:
                del data[start : start + length]
            elif deed == 3:
                data[start:start] = data[start : start + length]
            elif deed == 4:
                data[start : start + length] = bytes(length)
            elif deed == 5:
                data[start : start + length] = rng.randbytes(length)
            else:
                data[start : start + length] = b"\xff" * length
        if rng.random() < 0.1:
            del data[rng.randrange(max(len(data), 1)) :]
        yield bytes(data)
