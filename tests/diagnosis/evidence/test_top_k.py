"""Lists of k tokens: exact where nothing is left out, lower bounds where something is, unknown where unknown."""

import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr

from disobey.diagnosis.diagnose import diagnose
from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.evidence.streaming import forward_and_reverse
from disobey.diagnosis.input.join import with_twin
from disobey.diagnosis.input.pair import pair_from
from disobey.measures.agreement import choices
from disobey.measures.deviation import confidence
from disobey.measures.inference.measure import columns_beside, columns_on
from disobey.measures.information import softness
from disobey.records.predictions import Predictions
from disobey.records.results import Chart, Finding
from tests.support.refusals import refuses


def _lists(k, n=200, vocabulary=30, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    t = log_softmax(2.5 * rng.normal(size=(n, vocabulary)), axis=1)
    s = log_softmax(t + 0.7 * rng.normal(size=t.shape), axis=1)
    ids = np.argsort(-t, axis=1)[:, :k]
    arrays = {
        "topk_ids": ids.astype(np.int32),
        "topk_teacher": np.take_along_axis(t, ids, 1).astype(dtype),
        "topk_student": np.take_along_axis(s, ids, 1).astype(dtype),
    }
    return arrays, t, s


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_whole_lists_are_the_dense_pair(dtype):
    arrays, t, s = _lists(30, dtype=dtype)
    found, dense = gather(pair_from(arrays)), Predictions.from_logits(t, s)
    slack = 2e-2 if dtype == np.float16 else 1e-4
    for function in (confidence, choices, softness(1.0)):
        for one, two in zip(found.of(function)[:2], function(dense)[:2], strict=True):
            np.testing.assert_allclose(one, two, atol=slack, rtol=slack)
    kl = rel_entr(np.exp(t), np.exp(s)).sum(1)
    np.testing.assert_allclose(found.of(forward_and_reverse)[0], kl, atol=slack)


def test_shorter_lists_are_lower_bounds_that_grow():
    exact = None
    means = []
    for k in (3, 6, 12, 24, 30):
        arrays, t, s = _lists(k)
        exact = rel_entr(np.exp(t), np.exp(s)).sum(1)
        kl = gather(pair_from(arrays)).of(forward_and_reverse)[0]
        assert (kl <= exact + 1e-5).all()
        means.append(kl.mean())
    assert np.all(np.diff(means) > 0)
    assert means[-1] == pytest.approx(exact.mean(), abs=1e-5)


def test_log_odds_need_only_the_top_token():
    arrays, t, s = _lists(4)
    top = t.argmax(1)
    rows = np.arange(len(t))
    x, y = gather(pair_from(arrays)).of(confidence)[:2]
    for found, logs in ((x, t), (y, s)):
        p = np.exp(logs[rows, top])
        np.testing.assert_allclose(found, np.log(p / (1 - p)), atol=2e-4)


def test_agreement_is_at_least_what_is_said():
    arrays, t, s = _lists(4)
    truth = (t.argmax(1) == s.argmax(1)).mean()
    found = gather(pair_from(arrays))
    low = found.of(choices)[1].mean()
    assert low <= truth + 1e-6 <= 2e-6 + low + found.sparse["undecided"].mean()
    exact = gather(pair_from(arrays | {"topk_student_top": s.argmax(1)}))
    assert exact.of(choices)[1].mean() == pytest.approx(truth)


def test_unknown_entries_are_counted_not_guessed():
    arrays, t, s = _lists(8)
    arrays["topk_student"][::2, 5] = np.nan
    found = gather(pair_from(arrays))
    lost = np.exp(np.sort(t, axis=1)[::2, ::-1][:, 5])
    np.testing.assert_allclose(found.sparse["unknown_mass"][::2], lost, atol=1e-5)
    assert (found.of(forward_and_reverse)[0] <= rel_entr(np.exp(t), np.exp(s)).sum(1) + 1e-5).all()


def _twin(arrays, t, seed=9):
    """The same lists with a twin of its own noise; its whole distribution."""
    w = log_softmax(t + 1.5 * np.random.default_rng(seed).normal(size=t.shape), axis=1)
    return {"topk_twin": np.take_along_axis(w, arrays["topk_ids"].astype(int), 1).astype(np.float32)}, w


def test_a_twin_is_the_dense_pairs_twin():
    arrays, t, s = _lists(30)
    more, w = _twin(arrays, t)
    labels = np.random.default_rng(1).integers(30, size=len(t))
    found = gather(pair_from(arrays | more | {"labels": labels}))
    dense = Predictions.from_logits(t, s, labels, twin=w)
    for function in (confidence, choices, forward_and_reverse):
        for form in (columns_on(function, "twin"), columns_beside(function, "twin")):
            for one, two in zip(found.of(form), form(dense), strict=True):
                np.testing.assert_allclose(one, two, atol=1e-4, rtol=1e-4)
    result = diagnose(pair_from(arrays | more))
    assert next(f for f in result.of(Finding) if f.id == "distillation-visible").status == "ok"
    chart = result.of(Chart)[0].data
    of_twin = np.array(chart["model"]) == "control (twin)"
    y = confidence(dense.with_student(w))[1]
    np.testing.assert_allclose(np.array(chart["y"])[of_twin], y, atol=1e-3)
    assert "NaN" not in result.to_json()


def test_a_twin_from_another_file(tmp_path):
    arrays, t, s = _lists(8)
    more, w = _twin(arrays, t)
    pair = pair_from(arrays)
    np.savez(tmp_path / "a.npz", topk_ids=arrays["topk_ids"], topk_student=more["topk_twin"])
    joined = with_twin(pair, tmp_path / "a.npz")
    both = gather(joined), gather(pair_from(arrays | more))
    np.testing.assert_array_equal(*(f.of(columns_on(confidence, "twin"))[1] for f in both))
    np.savez(tmp_path / "b.npz", topk_ids=arrays["topk_ids"] + 1, topk_twin=more["topk_twin"])
    np.savez(tmp_path / "c.npz", twin=w)
    for name, id in (("b.npz", "ids-differ"), ("c.npz", "missing-top-k")):
        with refuses(id, name):
            with_twin(pair, tmp_path / name)
    exact = arrays | {"topk_student_top": s.argmax(1)}
    with refuses("half-rule", "'topk_twin_top'", "'topk_student_top'"):
        pair_from(exact | more)
    with refuses("half-rule", "'topk_twin_top'"):
        with_twin(pair_from(exact), tmp_path / "a.npz")


def test_report_and_refusals():
    arrays, t, s = _lists(8)
    rows = np.arange(len(t))
    labels = t.argmax(1)
    more = {"labels": labels, "label_teacher": t[rows, labels], "label_student": s[rows, labels]}
    result = diagnose(pair_from(arrays | more))
    assert "NaN" not in result.to_json()
    nll = next(
        row for b in result.blocks if getattr(b, "title", "") == "Calibration" for row in b.rows if row[0] == "nll"
    )
    assert nll[2].value == pytest.approx(-s[rows, labels].mean(), rel=1e-5)
    with refuses("top-k-mass"):
        gather(pair_from(arrays | {"topk_teacher": arrays["topk_teacher"] + 2}))
    with refuses("top-k-shape"):
        pair_from(arrays | {"topk_teacher": arrays["topk_teacher"][:, :3]})
    with refuses("token-id-type"):
        pair_from(arrays | {"topk_ids": arrays["topk_teacher"]})
    with refuses("missing-top-k", "topk_student"):
        pair_from({k: v for k, v in arrays.items() if k != "topk_student"})
