"""Predictions keep their contract; results read back what they wrote; pairs are joined by id."""

import json
import math

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.special import log_softmax, softmax

from disobey.records.predictions import Predictions
from disobey.records.results import (
    Axis,
    Chart,
    Claim,
    Estimate,
    Exhibit,
    Finding,
    Gallery,
    Guess,
    Result,
    Rule,
    Table,
    Text,
)
from disobey.records.runs import RunRecord, pair
from tests.support.refusals import refuses

RNG = np.random.default_rng(0)


def logits(n=7, c=3):
    return RNG.normal(size=(n, c)) * 5


def test_a_row_constant_changes_nothing():
    z = logits()
    shift = RNG.normal(size=(7, 1)) * 100
    np.testing.assert_allclose(
        Predictions.from_logits(z, z).teacher, Predictions.from_logits(z + shift, z).teacher, atol=1e-12
    )


def test_extreme_logits_stay_finite_numbers():
    p = Predictions.from_logits([[1e4, -1e4]], [[-1e4, 1e4]])
    assert p.teacher.tolist() == [[0.0, -20000.0]]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"student": logits(6)}, "student"),
        ({"student": logits(7, 4)}, "student"),
        ({"twin": logits(6)}, "twin"),
        ({"labels": np.zeros(6, int)}, "labels"),
        ({"ids": np.zeros(6, int)}, "ids"),
        ({"teacher": logits(0)}, "N >= 1"),
        ({"teacher": logits(7, 1)}, "C >= 2"),
    ],
)
def test_shapes_that_do_not_fit(changes, said):
    parts = {"teacher": logits(), "student": logits(), "labels": None} | changes
    with pytest.raises(ValueError, match=said):
        Predictions.from_logits(**parts)


def test_chunks_are_all_rows_in_order_as_float64():
    p = Predictions.from_logits(logits(10), logits(10), np.arange(10) % 3, twin=logits(10), groups=np.arange(10))
    half = Predictions(p.teacher.astype(np.float16), p.student.astype(np.float16), p.labels, p.ids, twin=p.twin)
    parts = list(half.chunks(4))
    assert [len(c) for c in parts] == [4, 4, 2]
    assert all(c.teacher.dtype == np.float64 for c in parts)
    np.testing.assert_array_equal(np.concatenate([c.teacher for c in parts]), half.teacher.astype(np.float64))
    np.testing.assert_array_equal(np.concatenate([c.ids for c in parts]), p.ids)


E = Estimate("slope", 1.2, 1.1, 1.3, 0.95, 5, "runs")
BLOCKS = (
    Table("t", ("a", "b", "c"), ((1, "x", E), (None, True, 2.5)), "caption", levels=(("split", "test"),)),
    Chart(
        "c",
        "t",
        "line",
        {"x": (1.0, None), "kind": ("a", "b")},
        Axis("x", "X", "log"),
        Axis("x", "Y"),
        "alt",
        color=Axis("kind", ""),
        rules=(Rule(1.0, 0.0, "y = x"),),
        tooltip=("x",),
        key="kind",
        levels=(("split", "test"), ("label noise", "0%")),
    ),
    Gallery(
        "g",
        (
            Exhibit("e", ("one", "two"), image=((0, 255), (3, 4))),
            Exhibit("e", (), text="<b>", guesses=(Guess("teacher", (("cat", 0.9), ("dog", 0.1))),), key="7"),
        ),
        "c",
    ),
    Text("Methods", "words — and “quotes”"),
    Claim("c", "s", "contradicted", (E,), "r", "C1", "here", "n"),
    Claim(
        "c",
        "s",
        "negligible",
        (E, E),
        "r",
        literal="supported",
        corrected="undecided",
        p_value=0.01,
        adjusted=0.06,
        deciding=1,
        border=0.0,
        margin=0.005,
        direction=-1,
        unit="points",
        detectable=0.008,
        robust=(E,),
        levels=(("label noise", "20%"), ("student", "self")),
        said="sha256:0123",
    ),
    Finding("f", "warning", "m", (E,), "try"),
)


def test_results_read_back(tmp_path):
    settings = {"data": "d", "nested": {"n": 1}}
    result = Result("s", "q?", BLOCKS, "two sentences", True, settings, "It pays.", ("C3",), ("A run is missing.",))
    again = Result.from_json(result.to_json())
    assert again == result
    assert again.to_json() == result.to_json()
    result.write(tmp_path / "result.json")
    assert Result.read(tmp_path / "result.json") == result
    assert result.of(Claim) == BLOCKS[4:6]


@pytest.mark.parametrize(("old", "new"), [("refuted", "contradicted"), ("inconclusive", "undecided")])
def test_the_words_of_older_results_are_read_as_those_of_today(old, new):
    result = Result("s", "q", (Claim("c", "s", new, (E,), "r", name="C1"),))
    text = result.to_json()
    fields = json.loads(text)
    assert fields["blocks"][0]["verdict"] == new
    fields["blocks"][0] = {k: v for k, v in fields["blocks"][0].items() if k in ("type", "text", "source", "evidence")}
    fields["blocks"][0] |= {"rule": "r", "name": "C1", "verdict": old}
    assert Result.from_json(json.dumps(fields)) == result


def test_a_claim_rests_on_one_of_its_own_estimates():
    text = Result("s", "q", (Claim("c", "s", "undecided", (E,), "r", deciding=1),)).to_json()
    with refuses("not-a-result", "an index into its evidence", "1"):
        Result.from_json(text)


def test_unknown_bounds_survive_as_unknown():
    e = Estimate("a", 1.0, math.nan, math.nan, 0.95, 1, "runs")
    text = Result("s", "q", (Claim("c", "s", "undecided", (e,), "r"),)).to_json()
    assert "NaN" not in text
    read = Result.from_json(text).blocks[0].evidence[0]
    assert not read.known
    assert math.isnan(read.low)


def test_numpy_values_are_written_as_numbers():
    e = Estimate("a", np.float64(1.5), np.float32(1.0), np.float64(2), 0.95, np.int64(3), "runs")
    assert (
        json.loads(Result("s", "q", (Claim("c", "s", "supported", (e,), "r"),)).to_json())["blocks"][0]["evidence"][0][
            "n"
        ]
        == 3
    )


@pytest.mark.parametrize(
    "text", ["", "null", "[]", '{"type": "Table"}', '{"type": "Estimate", "name": 1}', '{"study": 1}']
)
def test_something_else_is_refused(text):
    with refuses("not-a-result"):
        Result.from_json(text)


def record(path, ids, z, given=None):
    (path / "predictions").mkdir(parents=True)
    (path / "run.json").write_text('{"recipe": {}, "seed": 0}')
    ids = np.asarray(ids)
    labels = ids % 3
    save_file(
        {"test.ids": ids, "test.labels": labels, "test.given": labels if given is None else given},
        path / "examples.safetensors",
    )
    np.save(path / "predictions" / "test.npy", log_softmax(z, axis=1).astype(np.float32))
    return RunRecord(path)


def test_pairs_are_joined_by_id(tmp_path):
    z = logits(6)
    teacher = record(tmp_path / "t", [10, 11, 12, 13, 14, 15], z)
    student = record(tmp_path / "s", [15, 11], z[[5, 1]])
    p = pair(teacher, student)
    np.testing.assert_allclose(p.teacher, p.student)
    assert p.ids.tolist() == [15, 11]
    with refuses("unknown-examples", "1 that", "the 2 test"):
        pair(teacher, record(tmp_path / "u", [15, 99], z[:2]))


def test_several_teachers_speak_as_their_mean_probability(tmp_path):
    a, b = logits(4), logits(4)
    teachers = [record(tmp_path / "a", range(4), a), record(tmp_path / "b", range(4), b)]
    p = pair(teachers, teachers[0])
    np.testing.assert_allclose(np.exp(p.teacher), (softmax(a, 1) + softmax(b, 1)) / 2, rtol=1e-5)


def test_open_intervals_survive_being_written():
    open_above = Estimate("factor", 3.0, 2.0, math.inf, 0.95, 5, "runs")
    result = Result("demo", "?", (Claim("t", "s", "undecided", (open_above,), "r"),))
    text = result.to_json()
    assert Result.from_json(text).of(Claim)[0].evidence == (open_above,)
    assert '"high": "inf"' in text
    assert str(open_above) == "3 [2, inf] (95% over 5 runs)"
    assert open_above.bounded
    assert not open_above.known
