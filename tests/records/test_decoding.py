"""Whatever is read back is decoded by its types: what does not fit is a refusal, never another error."""

import copy
import json
import random
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from disobey.bounds import read_bounded
from disobey.errors import Refusal
from disobey.records.decoding import Rules, decode, parse_json
from disobey.records.results import Result
from tests.support.mutants import bytes_mutants, json_mutants
from tests.support.refusals import refuses
from tests.support.sample_result import sample


@dataclass(frozen=True)
class Inner:
    lr: float = 0.1
    steps: tuple[int, ...] = ()
    pair: tuple[int, str] | None = None
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    inner: Inner
    again: "Outer | None" = None
    free: Any = None
    on: bool = False


SAMPLE = sample(points=3, many=4)
RULES = Rules(id="bad-recipe", ranges={"Inner.lr": (0, 1), "Inner.steps": (1, None)})


def test_what_fits_is_read():
    value = {"inner": {"lr": 1, "steps": [1, 2], "pair": [3, "x"], "kind": "b"}, "again": {"inner": {}}, "free": [[1]]}
    read = decode(value, Outer, "r", RULES)
    assert read == Outer(Inner(1.0, (1, 2), (3, "x"), "b"), Outer(Inner()), ((1,),))
    assert isinstance(read.inner.lr, float)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([], "r"),
        ({}, "Outer"),
        ({"inner": 1}, "r.inner"),
        ({"inner": {"lr": "0.1"}}, "r.inner.lr"),
        ({"inner": {"lr": True}}, "r.inner.lr"),
        ({"inner": {"lr": -0.1}}, "r.inner.lr"),
        ({"inner": {"lr": 10**400}}, "r.inner.lr"),
        ({"inner": {"steps": [1.0]}}, "r.inner.steps"),
        ({"inner": {"steps": [0]}}, "r.inner.steps"),
        ({"inner": {"steps": 3}}, "r.inner.steps"),
        ({"inner": {"pair": [1]}}, "r.inner.pair"),
        ({"inner": {"kind": "c"}}, "r.inner.kind"),
        ({"inner": {"kind": []}}, "r.inner.kind"),
        ({"inner": {}, "on": 1}, "r.on"),
        ({"inner": {}, "other": 1}, "other"),
        ({"inner": {}, "again": "x"}, "r.again"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_place(value, place):
    with refuses("bad-recipe", place):
        decode(value, Outer, "r", RULES)


def test_nests_without_end_are_refused():
    value = {"inner": {}}
    for _ in range(900):
        value = {"inner": {}, "again": value}
    with refuses("bad-recipe", "100 levels"):
        decode(value, Outer, "r", RULES)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 50_000, "1" * 5_000, "NaN", "-Infinity", "", b"\xff", "{} {}", "\x00"]
)
def test_what_is_no_json(text):
    with refuses("not-json"):
        parse_json(text, "JSON")


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    assert read_bounded(tmp_path / "a.json", 2) == b"{}"
    with refuses("file-too-large"):
        read_bounded(tmp_path / "a.json", 1)
    for place in ("/dev/zero", tmp_path):
        with refuses("not-a-file") if place != tmp_path else pytest.raises((Refusal, IsADirectoryError)):
            read_bounded(place, 9)
    import os

    os.mkfifo(tmp_path / "pipe")
    with refuses("not-a-file"):
        read_bounded(tmp_path / "pipe", 9)


def survives(text):
    """A damaged result is refused or read, and what was read can be written."""
    try:
        result = Result.from_json(text)
    except Refusal:
        return False
    json.loads(result.to_json())
    return True


@pytest.mark.parametrize("n", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_damaged_results_are_refusals(n):
    """``n`` mutants of a sound result's structure and as many of its bytes."""
    text = SAMPLE.to_json()
    for mutant in json_mutants(json.loads(text), random.Random(0), n):
        survives(json.dumps(mutant))
    for mutant in bytes_mutants(text.encode(), random.Random(1), n):
        try:
            survives(mutant.decode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:
            continue


def test_a_chart_of_columns_that_it_lacks_and_an_image_of_no_shape():
    whole = json.loads(SAMPLE.to_json())
    for kind, change in (
        ("Chart", lambda b: b["x"].update(column="elsewhere")),
        ("Chart", lambda b: b["data"].update({next(iter(b["data"])): [1]})),
        ("Gallery", lambda b: b["exhibits"][0].update(image=[[0, 1], [2]])),
        ("Gallery", lambda b: b["exhibits"][0].update(image=[[0, 999]])),
        ("Gallery", lambda b: b["exhibits"][0].update(image=[["<b>"]])),
        ("Table", lambda b: b["rows"].append([1])),
        ("Claim", lambda b: b.update(verdict="perhaps")),
        ("Claim", lambda b: b.pop("rule")),
    ):
        value = copy.deepcopy(whole)
        block = next(b for b in value["blocks"] if b["type"] == kind)
        change(block)
        with refuses("not-a-result"):
            Result.from_json(json.dumps(value))
