"""The whole way: arrays or files in, `Result`, report and exit status out."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import disobey
from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.input.pair import pair_from
from disobey.diagnosis.report.tables import CONTROL, DIFFERENCE
from disobey.measures import agreement, calibration
from disobey.measures.inference.measure import on_teacher
from disobey.records.results import Chart, Estimate, Finding, Gallery, Result, Table, Text
from tests.support.refusals import refuses


def _arrays(n=400, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    z = 2 * rng.normal(size=(n, classes))
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    labels = (p.cumsum(1) > rng.random((n, 1))).argmax(1)
    teacher = z + 0.3 * rng.normal(size=z.shape)
    return {
        "teacher": teacher,
        "student": 1.1 * teacher + 0.4 * rng.normal(size=z.shape),
        "labels": labels,
        "twin": z + 0.8 * rng.normal(size=z.shape),
    }


def _cells(result, name):
    return next(row for table in result.of(Table) for row in table.rows if row[0] == name)


@pytest.fixture(scope="module")
def result():
    a = _arrays()
    return disobey.diagnose(
        a["teacher"],
        a["student"],
        a["labels"],
        twin=a["twin"],
        groups=["a", "b"] * 200,
        class_names=list("vwxyz"),
        texts=["some text"] * 400,
    )


def test_numbers_are_scikit_learns(result):
    from scipy.special import rel_entr, softmax
    from sklearn.metrics import brier_score_loss, log_loss

    a = _arrays()
    p, q, w = (softmax(a[name], axis=1) for name in ("teacher", "student", "twin"))
    one_hot = np.eye(5)[a["labels"]]
    for cell, probs in zip(_cells(result, "nll")[1:4], (p, q, w), strict=True):
        assert cell.value == pytest.approx(log_loss(a["labels"], probs), rel=1e-9)
    brier = sum(brier_score_loss(one_hot[:, c], q[:, c]) for c in range(5))
    assert _cells(result, "brier")[2].value == pytest.approx(brier, rel=1e-9)
    assert _cells(result, "kl")[1].value == pytest.approx(rel_entr(p, q).sum(1).mean(), rel=1e-9)
    middle = (p + q) / 2
    shannon = 0.5 * (rel_entr(p, middle).sum(1) + rel_entr(q, middle).sum(1)).mean()
    assert _cells(result, "jensen_shannon")[1].value == pytest.approx(shannon, rel=1e-9)
    assert _cells(result, "student_accuracy")[1].value == (q.argmax(1) == a["labels"]).mean()


def test_calibration_error_is_torchmetrics():
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    a = _arrays()
    found = gather(pair_from(a))
    for measure, side in (
        (calibration.MEASURES["ece"], "student"),
        (on_teacher(calibration.MEASURES["ece"]), "teacher"),
    ):
        probs = torch.softmax(torch.tensor(a[side]), 1)
        theirs = multiclass_calibration_error(probs, torch.tensor(a["labels"]), 5, n_bins=15)
        ours = float(np.ravel(measure.statistic(*found.of(measure.columns), weights=np.ones((1, 400))))[0])
        assert ours == pytest.approx(float(theirs), abs=2e-6)


def test_each_groups_numbers_are_those_of_its_rows_alone(result):
    from scipy.special import rel_entr, softmax

    a = _arrays()
    p, q = (softmax(a[name], axis=1) for name in ("teacher", "student"))
    gap = q.max(axis=1) - (q.argmax(axis=1) == a["labels"])
    (table,) = (t for t in result.of(Table) if t.title == "By group")
    assert len(table.rows) == 2
    for row in table.rows:
        mine = slice("ab".index(row[0]), None, 2)
        cells = dict(zip(table.columns, row, strict=True))
        assert cells["n"] == 200
        assert cells["agreement"].value == (p.argmax(1) == q.argmax(1))[mine].mean()
        for name, column in (("KL (nats)", rel_entr(p, q).sum(axis=1)), ("over-confidence of the student", gap)):
            assert cells[name].value == pytest.approx(column[mine].mean(), abs=1e-6)
            half = 1.972 * column[mine].std(ddof=1) / np.sqrt(200)
            assert cells[name].high - cells[name].value == pytest.approx(half, rel=1e-3)


def test_rank_correlation_is_scipys():
    from scipy.stats import spearmanr

    a = _arrays(n=30)
    (column,) = gather(pair_from(a)).of(agreement.rank_agreement)
    for row in range(30):
        others = np.arange(5) != a["teacher"][row].argmax()
        assert column[row] == pytest.approx(spearmanr(a["teacher"][row][others], a["student"][row][others]).statistic)


def test_result_has_its_parts_and_survives_json(result):
    assert Result.from_json(result.to_json()).to_json() == result.to_json()
    assert {c.name for c in result.of(Chart)} >= {"logit-logit", "medians", "reliability", "class-deviation"}
    gallery = result.of(Gallery)[0]
    assert len(gallery.exhibits) == 12
    assert gallery.exhibits[0].text == "some text"
    titles = {t.title for t in result.of(Table)}
    assert titles >= {
        "By class",
        "By group",
        "Temperature between student and teacher",
        "What the teacher knows",
        "Calibration",
    }
    for table in result.of(Table):
        for row in table.rows:
            for cell in row:
                assert not isinstance(cell, Estimate) or np.isfinite(cell.value)
    visible = next(f for f in result.of(Finding) if f.id == "distillation-visible")
    assert (visible.status, visible.case) == ("ok", "effect")
    paid = next(f for f in result.of(Finding) if f.id == "gain")
    assert result.summary.startswith(paid.headline[:1].upper() + paid.headline[1:])
    assert visible.headline in result.summary
    assert result.summary.count(". ") >= 1


def test_same_evidence_same_bytes(result):
    a = _arrays()
    again = disobey.diagnose(
        a["teacher"] + 3.0,
        a["student"] - 1.0,
        a["labels"].tolist(),
        twin=a["twin"],
        groups=["a", "b"] * 200,
        class_names=list("vwxyz"),
        texts=["some text"] * 400,
    )
    first, second = (json.loads(r.to_json()) for r in (result, again))
    assert next(b for b in first["blocks"] if b["type"] == "Finding")["message"] == second["blocks"][0]["message"]
    assert _cells(again, "ols_slope")[1].value == pytest.approx(_cells(result, "ols_slope")[1].value, rel=1e-9)
    once_more = disobey.diagnose(
        a["teacher"],
        a["student"],
        a["labels"],
        twin=a["twin"],
        groups=["a", "b"] * 200,
        class_names=list("vwxyz"),
        texts=["some text"] * 400,
    )
    assert once_more.to_json() == result.to_json()


def test_calibration_is_compared_with_the_twin(result):
    table = next(t for t in result.of(Table) if t.title == "Calibration")
    assert table.columns == ("measure", "teacher", "student", CONTROL, DIFFERENCE, "meaning")
    for _, _, student, twin, difference, _ in table.rows:
        assert difference.value == pytest.approx(student.value - twin.value, abs=1e-12)


def test_what_the_teacher_explains_vanishes_with_other_teachers(result):
    agreement = _cells(result, "agreement beyond twin")[1]
    assert agreement.low > 0
    assert abs(_cells(result, "agreement, row-permuted teacher")[1].value) < agreement.value / 3
    explained = _cells(result, "explained beyond twin")[1]
    assert abs(_cells(result, "explained, class-permuted teacher")[1].value) < explained.value / 3


def test_what_cannot_differ_has_no_difference(result):
    """The teacher's accuracy is one; student and twin differ from it on different examples."""
    for name in ("teacher_accuracy", "student_right_where_they_differ", "teacher_right_where_they_differ"):
        assert _cells(result, name)[3] is None
    assert _cells(result, "student_accuracy")[3] is not None


def test_the_methods_say_what_several_students_are():
    a = _arrays(n=120)
    found = disobey.diagnose(a["teacher"], {"a": a["student"], "b": a["twin"]}, a["labels"])
    assert "means over 2 students" in found.of(Text)[0].body
    assert "the first student, student/a." in found.of(Text)[0].body
    moments = {"step100": a["student"], "step200": a["twin"]}
    found = disobey.diagnose(a["teacher"], moments, a["labels"])
    assert "Of 2 checkpoints everything is about the first, student/step100." in found.of(Text)[0].body


def test_what_a_pair_lacks_may_be_given_beside_it(tmp_path, result):
    """A twin beside `predict_pair`'s predictions or beside a path counts, and is never dropped."""
    a = _arrays()
    np.savez(tmp_path / "p.npz", teacher=a["teacher"], student=a["student"])
    more = {"twin": a["twin"], "groups": ["a", "b"] * 200, "class_names": list("vwxyz"), "texts": ["some text"] * 400}
    found = disobey.diagnose(tmp_path / "p.npz", labels=a["labels"], **more)
    assert found.blocks == result.blocks
    logs = {n: a[n] - np.log(np.exp(a[n]).sum(1, keepdims=True)) for n in ("teacher", "student")}
    pair = disobey.Predictions(logs["teacher"], logs["student"], None, np.arange(400))
    assert _cells(disobey.diagnose(pair, labels=a["labels"], twin=a["twin"]), "agreement")[2].value > 0
    np.savez(tmp_path / "q.npz", **a)
    for name in ("labels", "twin"):
        with refuses("column-twice", name):
            disobey.diagnose(tmp_path / "q.npz", **{name: a[name]})
    with refuses("row-counts", "labels", "400"):
        disobey.diagnose(tmp_path / "p.npz", labels=a["labels"][:9])


def test_seeds_are_paired():
    a = _arrays()
    rng = np.random.default_rng(1)
    arrays = {"teacher": a["teacher"], "labels": a["labels"]}
    for i in range(4):
        arrays[f"student/seed{i}"] = a["student"] + 0.3 * rng.normal(size=a["student"].shape)
        arrays[f"twin/seed{i}"] = a["twin"] + 0.3 * rng.normal(size=a["student"].shape)
    table = next(t for t in disobey.diagnose(pair_from(arrays)).of(Table) if t.title == "Over seeds")
    row = next(r for r in table.rows if r[0] == "agreement")
    assert (row[1].n, row[1].over) == (4, "runs")
    assert row[2].low > 0  # the students agree more than their twins
    assert row[4] < row[2].value


def test_tensors_and_arrays_say_the_same():
    import torch

    a = _arrays(n=60)
    one = disobey.diagnose(a["teacher"], a["student"], a["labels"])
    two = disobey.diagnose(*(torch.tensor(a[n]) for n in ("teacher", "student", "labels")))
    assert one.to_json() == two.to_json()


@pytest.mark.parametrize(
    "more", [{"labels": None}, {"twin": None}, {"labels": None, "twin": None}, {"classes": 2}, {"n": 3}, {"n": 1}]
)
def test_any_part_may_be_missing(more):
    a = _arrays(n=more.get("n", 120), classes=more.get("classes", 5)) | {k: v for k, v in more.items() if v is None}
    found = disobey.diagnose(a["teacher"], a["student"], a["labels"], twin=a["twin"])
    assert found.summary
    found.to_json()


def test_probabilities_of_zero_and_one_give_no_nan():
    hard = np.eye(4)[np.random.default_rng(0).integers(4, size=80)]
    found = disobey.diagnose(hard, hard[::-1].copy(), hard.argmax(1))
    assert "NaN" not in found.to_json()
    assert next(f for f in found.of(Finding) if f.id == "finite-values").status == "warning"


def test_extreme_values_give_no_warnings_of_numpys():
    a = _arrays(n=120)
    for sides in (
        {n: np.eye(5)[a[n].argmax(1)] for n in ("teacher", "student", "twin")},
        {n: 1e300 * a[n] for n in ("teacher", "student", "twin")},
    ):
        found = disobey.diagnose(sides["teacher"], sides["student"], a["labels"], twin=sides["twin"])
        assert "NaN" not in found.to_json()


def test_arrays_need_no_torch():
    """numpy and scipy are enough for arrays and files; `import disobey` itself is light."""
    code = (
        "import sys, disobey; light = 'numpy' not in sys.modules; import numpy as np; r = np.random.default_rng(0); "
        "t = r.normal(size=(60, 3)); disobey.diagnose(t, t + r.normal(size=t.shape), t.argmax(1)); "
        "print(light, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


@pytest.mark.browser
def test_hostile_names_are_inert(tmp_path):
    """Class names, ids, texts, groups and file keys that are scripts do nothing in a real browser."""
    playwright = pytest.importorskip("playwright.sync_api")
    from disobey.reports.page import write

    evil = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>\'"]}</script>{{7*7}}\u202e'
    a = _arrays(n=120, classes=3)
    arrays = a | {
        "class_names": np.array([evil + str(i) for i in range(3)]),
        "ids": np.array([f"{evil}{i}" for i in range(120)]),
        "group": np.array([evil, "b", "javascript:window.hit=1"] * 40),
        "texts": np.array([evil] * 120),
        evil: np.zeros(3),
    }
    path = write(disobey.diagnose(pair_from(arrays)), tmp_path)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium here: none of chromium, chromium-browser, google-chrome is on the PATH")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, headless=True, args=["--no-sandbox"])
        page = browser.new_page()
        errors, requests = [], []
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.on("request", lambda r: requests.append(r.url))
        page.goto(path.as_uri())
        page.wait_for_timeout(1500)
        assert page.evaluate("window.hit") is None
        assert page.locator("img[src='x']").count() == 0
        assert not errors
        assert all(url.startswith(("file:", "data:", "blob:")) for url in requests)
        assert "onerror" in page.locator("body").text_content()  # shown, as text
        browser.close()
