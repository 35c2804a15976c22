"""Features beside the predictions: which belong together, what is compared, and what comes of bad ones."""

import numpy as np
import pytest

from disobey.diagnosis.checks.files import unread_arrays
from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.input.join import read_two
from disobey.diagnosis.input.pair import pair_from
from disobey.diagnosis.report.knowledge import representations
from disobey.measures.similarity import cka
from tests.support.refusals import refuses


def _arrays(n=300):
    rng = np.random.default_rng(0)
    scores = 2 * rng.normal(size=(n, 3))
    x = rng.normal(size=(n, 4))
    return {
        "teacher": scores,
        "student": scores + 0.3 * rng.normal(size=scores.shape),
        "features_teacher_last": x,
        "features_student_last": 3 * x[:, ::-1] + 1,
        "features_twin_last": x[:, :1] + 2 * rng.normal(size=(n, 2, 3)).reshape(n, 6),
        "features_teacher": rng.normal(size=(n, 5)),
        "features_student": rng.normal(size=(n, 2, 4)),
    }


def test_layers_are_compared_by_name():
    arrays = _arrays()
    table = representations(gather(pair_from(arrays)))
    assert table is not None
    rows = {row[0]: row[1:] for row in table.rows}
    student, twin, difference, widths = rows["last"]
    assert student.value == pytest.approx(1)
    assert twin.value == pytest.approx(cka(arrays["features_teacher_last"], arrays["features_twin_last"]))
    assert difference.value == pytest.approx(student.value - twin.value)
    assert difference.low > 0
    assert (student.n, student.over, widths) == (300, "examples", "4 to 4")
    unrelated = rows["features"]
    assert unrelated[0].low < 0 < unrelated[0].high
    assert unrelated[1] is None
    assert unrelated[3] == "5 to 8"


def test_without_features_there_is_no_table_and_a_single_side_is_named():
    arrays = {k: v for k, v in _arrays().items() if "student_" not in k and k != "features_student"}
    evidence = gather(pair_from(arrays))
    assert representations(evidence) is None
    finding = unread_arrays(evidence)
    assert finding is not None
    assert "features_teacher_last" in finding.message


def test_two_files_keep_both_sides(tmp_path):
    arrays = _arrays()
    for side in ("teacher", "student"):
        np.savez(tmp_path / f"{side}.npz", logits=arrays[side], features_last=arrays[f"features_{side}_last"])
    table = representations(gather(read_two(tmp_path / "teacher.npz", tmp_path / "student.npz")))
    assert table is not None
    assert [row[0] for row in table.rows] == ["last"]
    assert table.rows[0][1].value == pytest.approx(1)


def test_bad_features_are_named():
    arrays = _arrays()
    arrays["features_student"][7] = np.nan
    with refuses("not-finite", "row 7"):
        representations(gather(pair_from(arrays)))
