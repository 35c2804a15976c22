"""Results in Python: escaped HTML, short repr, data frames, a model card, a report; the schema fits what is written."""

import json
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from disobey.records.predictions import Predictions
from disobey.records.results import Claim, Estimate, Finding, Result, Table, Text
from disobey.records.schema import result_schema
from tests.support.refusals import refuses

BAD = "<script>alert(1)</script>"
NUMBER = Estimate(BAD, 0.5, 0.4, 0.6, 0.95, 100, "examples")
OPEN = Estimate("size", 3.0, 1.0, float("inf"), 0.95, 5, "runs")
TABLE = Table(BAD, ("what", BAD), ((BAD, NUMBER), ("open", OPEN), ("none", None)), BAD)
CLAIM = Claim(BAD, BAD, "supported", (NUMBER,), BAD, BAD, BAD, id="c")
FINDING = Finding(BAD, "warning", BAD, (OPEN,), id="f")
RESULT = Result("demo", BAD, (FINDING, TABLE, CLAIM, Text("Methods", BAD)), BAD, settings={"n": 1})


@pytest.mark.parametrize("value", [NUMBER, TABLE, CLAIM, RESULT], ids=lambda v: type(v).__name__)
def test_html_is_escaped_and_repr_is_short(value):
    html = value._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert len(repr(value)) < 250


def test_predictions_print_no_arrays():
    p = Predictions.from_logits(np.zeros((9999, 10)), np.zeros((9999, 10)))
    assert repr(p) == "Predictions(9,999 x 10, split 'test': teacher, student, ids)"


def test_frames():
    pytest.importorskip("pandas")
    frame = TABLE.to_frame()
    assert list(frame.columns) == ["what", BAD, f"{BAD} low", f"{BAD} high"]
    assert frame[f"{BAD} low"][0] == 0.4
    found = RESULT.to_frame()
    assert list(found["block"]) == ["finding", "table", "table", "claim"]
    assert found["over"][3] == "examples"


def test_without_pandas_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with refuses("no-pandas", "pandas"):
        TABLE.to_frame()


def test_a_model_card_has_no_markup_of_others():
    card = RESULT.model_card()
    assert "<script" not in card
    assert "✓ supported" in card


def test_the_report_is_written(tmp_path):
    page = RESULT.report(tmp_path / "out")
    assert page.read_text(encoding="utf-8").startswith("<!")
    assert Result.read(tmp_path / "out" / "result.json").blocks[1].rows[1][1] == OPEN


def test_the_schema_is_current_and_fits():
    schema = result_schema()
    kept = Path(__file__).parents[1] / "docs" / "reference" / "result.schema.json"
    assert json.loads(kept.read_text(encoding="utf-8")) == schema, "python -m disobey.records.schema > " + str(kept)
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    check.validate(json.loads(RESULT.to_json()))
    broken = json.loads(RESULT.to_json())
    broken["blocks"][2]["verdict"] = "perhaps"
    assert not check.is_valid(broken)
