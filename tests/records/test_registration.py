"""What was said before: written once, held against its hash, and compared with what is run."""

import json
from dataclasses import replace

import pytest

from disobey.records.registration import Registration
from tests.support.refusals import refuses

RULE = {"type": "Effect", "margin": 0.005, "border": 0.0, "words": "above 0"}
SAID = Registration(
    "demo",
    "Does it pay?",
    {"C1": {"text": "It pays.", "source": "us", "rule": RULE}},
    {"data": "mnist-5k", "steps": None, "temperatures": [1.0, 4.0]},
    (0, 1, 2),
    {},
    "2026-11-28T20:00:00Z",
)


def test_a_registration_survives_its_file(tmp_path):
    SAID.write(tmp_path / "said.json")
    read = Registration.read(tmp_path / "said.json")
    assert read.sha256 == SAID.sha256
    assert read.differences(SAID) == ()
    assert read.words == f"registered 2026-11-28T20:00:00Z, sha256 {SAID.sha256[:12]}"


def test_what_was_said_is_not_said_anew(tmp_path):
    SAID.write(tmp_path / "said.json")
    with refuses("registered-already"):
        SAID.write(tmp_path / "said.json")


def changed(value, path):
    """A JSON value with another leaf at ``path``."""
    if not path:
        return 0.01 if isinstance(value, float) else 99 if isinstance(value, int) else "other"
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:])
    return copy


@pytest.mark.parametrize(
    "path",
    [
        ("date",),
        ("study",),
        ("question",),
        ("seeds", 0),
        ("claims", "C1", "text"),
        ("claims", "C1", "rule", "margin"),
        ("settings", "data"),
    ],
    ids=lambda path: path[-1] if path else "",
)
def test_a_file_that_was_changed_is_refused(tmp_path, path):
    SAID.write(tmp_path / "said.json")
    value = changed(json.loads((tmp_path / "said.json").read_text()), path)
    if path == ("date",):
        value["date"] = "2026-11-27T20:00:00Z"
    (tmp_path / "said.json").write_text(json.dumps(value))
    with refuses("tampered-registration"):
        Registration.read(tmp_path / "said.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": "0"}', '{"sha256": 1}', "\xff"])
def test_what_is_no_registration_is_refused(tmp_path, text):
    (tmp_path / "said.json").write_text(text, encoding="latin-1")
    with refuses("not-a-registration"):
        Registration.read(tmp_path / "said.json")
    with refuses("not-a-registration"):
        Registration.read(tmp_path / "nothing.json")


def test_every_difference_is_named():
    now = replace(
        SAID,
        claims={"C1": {**SAID.claims["C1"], "rule": RULE | {"margin": 0.01}}, "C2": SAID.claims["C1"]},
        settings={"data": "digits-8x8", "steps": None, "temperatures": [1.0, 4.0], "batch": 64},
        seeds=(0, 1, 2, 3),
        stopping={"until_settled": True},
        date="2026-11-29T00:00:00Z",
    )
    found = SAID.differences(now)
    starts = [
        "claim C1: rule",
        "claim C2: not registered",
        "setting batch: not",
        "setting data: ",
        "stopping until",
        "seeds: ",
    ]
    assert [any(line.startswith(start) for line in found) for start in starts] == [True] * 6
    assert len(found) == 6
    assert SAID.differences(replace(SAID, date=now.date)) == ()
