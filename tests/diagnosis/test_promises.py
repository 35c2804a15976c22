"""What a diagnosis promises: every seed counts, one interval a number, nothing judged that is out of order."""

import re

import numpy as np
import pytest

import disobey
from disobey.cli import diagnose as command
from disobey.cli.main import main
from disobey.diagnosis.checks import numbers, outcome
from disobey.diagnosis.diagnose import diagnose, judged
from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.evidence.intervals import estimate
from disobey.diagnosis.input.join import read_pair
from disobey.diagnosis.input.matrices import whole
from disobey.diagnosis.input.pair import pair_from
from disobey.measures import agreement
from disobey.measures.inference.measure import minus_twin, on_twin
from disobey.records.results import Estimate, Finding, Result, Table
from tests.support import reference_pairs as pairs
from tests.support.refusals import refuses


def _seeds(n=1200, better=0.0, seeds=3, seed=0):
    """Students and controls of which the first student is lucky; ``better``: by how much all students are."""
    rng = np.random.default_rng([31, seed])
    z, y = pairs.world(rng, n, 5, 1.5)
    arrays = {"teacher": z + 0.5 * rng.normal(size=z.shape), "labels": y}
    for i in range(seeds):
        arrays[f"student/{i}"] = z + (0.2 if i == 0 else 1.2 - better) * rng.normal(size=z.shape)
        arrays[f"twin/{i}"] = z + 1.2 * rng.normal(size=z.shape)
    return arrays


def _found(result_or_findings, id):
    findings = result_or_findings.of(Finding) if isinstance(result_or_findings, Result) else result_or_findings
    return next(f for f in findings if f.id == id)


def test_the_first_sentence_says_whether_it_paid():
    """Audit: three seeds without any gain "left their mark", and the gain was nowhere in the summary."""
    arrays = _seeds()
    result = diagnose(pair_from(arrays))
    gain = _found(result, "gain")
    assert result.summary.startswith("Student − control (twin): ")
    assert (gain.status, gain.case) == ("note", "open")
    assert "not distinguishable" in result.summary.split(". ")[0]
    accuracies = [(arrays[name].argmax(axis=1) == arrays["labels"]).mean() for name in arrays if "/" in name]
    assert gain.evidence[0].value == pytest.approx(np.mean(accuracies[::2]) - np.mean(accuracies[1::2]), abs=1e-12)
    assert (gain.evidence[0].over, gain.evidence[0].n) == ("runs", 3)
    one = {n.removesuffix("/0"): a for n, a in arrays.items() if n in ("teacher", "labels", "student/0", "twin/0")}
    alone = _found(diagnose(pair_from(one)), "gain")
    assert alone.case == "paid", "the lucky one alone"
    assert "one training of each" in alone.headline


@pytest.mark.parametrize(("better", "case"), [(0.7, "paid"), (-2.0, "cost")])
def test_a_gain_over_all_seeds_is_called_one(better, case):
    arrays = _seeds(better=better, seeds=5)
    first = arrays.pop("student/0")
    assert len(first)
    del arrays["twin/0"]
    assert _found(judged(gather(pair_from(arrays)), [outcome.gain]), "gain").case == case


def test_every_check_uses_every_seed():
    """The first of three students is right, calibrated and of its own; what is wrong with the others is found."""
    arrays = pairs.clean(3, kind="plain")
    rng = np.random.default_rng(0)
    student = arrays.pop("student")
    twin = arrays.pop("twin")
    near = [student + 0.3 * rng.normal(size=student.shape) for _ in range(3)]
    twins = {f"twin/{i}": twin + 0.3 * rng.normal(size=twin.shape) for i in range(3)}

    def findings(*students):
        named = {f"student/{i}": array for i, array in enumerate(students)}
        return judged(gather(pair_from(arrays | named | twins)))

    def warned(*students):
        return {f.id for f in findings(*students) if f.status == "warning"}

    assert not warned(*near)
    sharp = findings(near[0], 6 * near[1], 6 * near[2])
    ones = [
        judged(gather(pair_from(arrays | {"student": s, "twin": twin}))) for s in (near[0], *(6 * s for s in near[1:]))
    ]
    for id in ("calibrated-student", "temperature-slip", "capacity-gap", "gain"):
        found = _found(sharp, id).evidence[0]
        assert found.n == 3
        if id != "gain":
            assert found.value == pytest.approx(np.mean([_found(one, id).evidence[0].value for one in ones]), rel=1e-6)
    assert "constant-rows" in warned(near[0], near[1], np.tile(near[2][:1], (len(student), 1)))
    assert "identical-models" in warned(near[0], near[1], twins["twin/2"])
    softened = np.exp(near[2]) / np.exp(near[2]).sum(axis=1, keepdims=True)
    assert "stated-values" in warned(near[0], near[1], 5 + softened)


def test_an_estimate_over_seeds_is_their_mean_with_both_errors():
    arrays = _seeds(seeds=4)
    evidence = gather(pair_from(arrays))
    form = minus_twin(agreement.MEASURES["student_accuracy"])
    right = {n: (a.argmax(axis=1) == arrays["labels"]).astype(float) for n, a in arrays.items() if "/" in n}
    each = np.array([right[f"student/{i}"] - right[f"twin/{i}"] for i in range(4)])
    both, fixed = estimate(evidence, form), estimate(evidence, form, fixed=True)
    assert both.value == pytest.approx(each.mean(), abs=1e-12)
    over_examples = 1.962 * each.mean(axis=0).std(ddof=1) / np.sqrt(each.shape[1])
    over_runs = 3.1824 * each.mean(axis=1).std(ddof=1) / 2
    assert (fixed.high - fixed.low) / 2 == pytest.approx(over_examples, rel=0.1)
    assert (both.high - both.low) / 2 == pytest.approx(np.hypot(over_examples, over_runs), rel=0.1)
    assert (fixed.over, both.over, both.n) == ("examples", "runs", 4)
    # An only control is taken to vary as the students do; the teacher does not vary.
    lone = gather(pair_from({n: a for n, a in arrays.items() if "twin" not in n or n == "twin/0"}))
    assert estimate(lone, on_twin(agreement.MEASURES["student_accuracy"])).over == "examples"
    assert estimate(lone, agreement.MEASURES["teacher_accuracy"]).over == "examples"
    half = 3.1824 * (each.mean(axis=1) + right["twin/0"].mean()).std(ddof=1) * np.sqrt(1 + 1 / 4)
    assert estimate(lone, form).high - estimate(lone, form).low > 0.5 * half


def _numbers(result):
    """Every interval by the value it belongs to, of whatever is not at the level that only decides."""
    cells = [cell for table in result.of(Table) for row in table.rows for cell in row if isinstance(cell, Estimate)]
    return [*cells, *(e for finding in result.of(Finding) for e in finding.evidence)]


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_number_has_one_interval_on_a_page(seeds):
    """Audit: student − twin accuracy was [-.0059, .0042] in one place and [-.0065, .0045] in another."""
    arrays = _seeds(seeds=seeds)
    result = diagnose(pair_from({n.removesuffix("/0") if seeds == 1 else n: a for n, a in arrays.items()}))
    seen = {}
    for number in _numbers(result):
        if number.bounded and number.n > 1:
            seen.setdefault(f"{number.value:.12g}", set()).add((round(number.low, 9), round(number.high, 9)))
    gain = _found(result, "gain").evidence[0]
    assert len(seen[f"{gain.value:.12g}"]) == 1
    titles = ("Accuracy and flips", "Agreement and divergence")
    rows = {row[0]: row for table in result.of(Table) if table.title in titles for row in table.rows}
    assert rows["student_accuracy"][3].low == gain.low
    for name in ("agreement", "student_accuracy"):
        for cell in rows[name][1:4]:
            assert len(seen[f"{cell.value:.12g}"]) == 1, (name, seen[f"{cell.value:.12g}"])


@pytest.mark.parametrize(
    ("fault", "cause", "withheld"),
    [
        (pairs.shuffled_rows, "row-alignment", {"capacity-gap", "calibrated-student", "temperature-slip"}),
        (pairs.permuted_classes, "class-order", {"capacity-gap", "calibrated-student", "temperature-slip"}),
        (pairs.shuffled_labels, "label-alignment", {"plausible-teacher", "capacity-gap", "gain"}),
        (pairs.shuffled_twin, "twin-alignment", {"distillation-visible", "negative-transfer", "gain"}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_follows_from_misaligned_rows_is_withheld(fault, cause, withheld):
    """Audit: a shuffled pair was told to take a larger student and to rescale its logits."""
    findings = judged(gather(pair_from(fault(1))))
    ids = {f.id for f in findings}
    assert _found(findings, cause).status == "warning"
    assert not withheld & ids
    message = _found(findings, "not-judged").message
    assert all(id.replace("-", " ") in message for id in withheld)
    assert "best of many" not in message, "there are no checkpoints"
    aligning = {"row-alignment", "class-order"} if cause == "class-order" else {cause}
    assert {f.id for f in findings if f.status == "warning"} <= aligning
    assert "not-judged" not in {f.id for f in judged(gather(pair_from(pairs.clean(1))))}


def test_a_label_fault_leaves_student_beside_teacher_judged():
    findings = judged(gather(pair_from(pairs.shuffled_labels(1))))
    assert {"distillation-visible", "temperature-slip"} <= {f.id for f in findings}


@pytest.mark.parametrize("classes", [3, 10, 77])
@pytest.mark.parametrize("spread", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("kind", ["logits", "log-probabilities", "probabilities"])
def test_an_undertrained_student_took_no_softmax_twice(classes, spread, kind):
    """Audit: raw logits that span less than 1 nat were called a softmax of probabilities."""
    arrays = pairs.clean(3, kind="plain") if classes == 10 else None
    rng = np.random.default_rng([5, classes])
    z, y = pairs.world(rng, 800, classes, 2.0)
    teacher = z if arrays is None else arrays["teacher"][:800]
    y = y if arrays is None else arrays["labels"][:800]
    student = spread * rng.normal(size=teacher.shape) + spread * np.eye(teacher.shape[1])[y]
    assert (student < 0).any()
    log_probs = student - np.log(np.exp(student).sum(axis=1, keepdims=True))
    saved = {"logits": student, "log-probabilities": log_probs, "probabilities": np.exp(log_probs)}[kind]
    found = judged(gather(pair_from({"teacher": teacher, "student": saved})), [numbers.stated_values])
    assert found[0].case != "softmax-twice"


@pytest.mark.parametrize("kind", ["logits", "log-probabilities", "probabilities"])
@pytest.mark.parametrize("classes", [3, 10, 77])
def test_a_second_softmax_is_found_however_it_was_saved(classes, kind):
    rng = np.random.default_rng([6, classes])
    z, _ = pairs.world(rng, 800, classes, 2.0)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    q = np.exp(p) / np.exp(p).sum(axis=1, keepdims=True)
    saved = {"logits": p + 1, "log-probabilities": np.log(q), "probabilities": q}[kind]
    found = judged(gather(pair_from({"teacher": z, "student": saved})), [numbers.stated_values])
    assert (found[0].status, found[0].case) == ("warning", "softmax-twice")


def test_an_undertrained_module_is_no_softmax_twice():
    import torch

    torch.manual_seed(0)
    teacher, student = torch.nn.Linear(16, 10), torch.nn.Linear(16, 10)
    batches = [(torch.randn(100, 16), torch.randint(10, (100,))) for _ in range(4)]
    with torch.no_grad():
        teacher.weight *= 8
        student.weight *= 0.5
    result = disobey.diagnose(disobey.predict_pair(teacher, student, batches))
    assert _found(result, "stated-values").status == "ok"


def test_differences_of_shares_are_told_in_points():
    findings = [
        *judged(gather(pair_from(pairs.negative_transfer(1)))),
        *judged(gather(pair_from(pairs.overconfident(1)))),
    ]
    for id in ("negative-transfer", "calibrated-student", "gain", "test-size"):
        for finding in (f for f in findings if f.id == id):
            assert " points" in finding.message
            assert not re.search(r"[+−-]\d+(\.\d+)?%", finding.message), finding.message


def _save(folder, arrays, **names):
    for name, array in arrays.items():
        np.save(folder / f"{names.get(name, name)}.npy", array)


def test_two_files_in_order_are_teacher_and_student(tmp_path, monkeypatch, capsys):
    """Audit: `diagnose t.npy s.npy` was refused, and the remedy did not name the option that works."""
    monkeypatch.chdir(tmp_path)
    a = pairs.clean(3, 300, kind="plain")
    _save(tmp_path, a, teacher="t", student="s", labels="classes_of", twin="w")
    assert main(["diagnose", "t.npy", "s.npy", "--out", "o"]) == 0
    said = capsys.readouterr().out
    assert "t as the teacher, s as the student" in said
    pair = read_pair("t.npy", "s.npy", "classes_of.npy", "w.npy")
    np.testing.assert_array_equal(whole(pair.teacher), a["teacher"])
    np.testing.assert_array_equal(whole(pair.students["student"]), a["student"])
    np.testing.assert_array_equal(whole(pair.twins["twin"]), a["twin"])
    np.testing.assert_array_equal(pair.labels, a["labels"])
    assert "--teacher FILE" in _found(diagnose(pair), "read-as").advice


def test_names_come_before_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a = pairs.clean(3, 100, kind="plain")
    _save(tmp_path, a)
    swapped = read_pair("student.npy", "teacher.npy")
    np.testing.assert_array_equal(whole(swapped.teacher), a["teacher"])
    assert "by_position" not in swapped.facts
    for name, array in (("x", a["teacher"]), ("y2", a["student"][:, :2])):
        np.save(f"{name}.npy", array)
    with refuses("missing-teacher"):
        read_pair("x.npy", "y2.npy")
    np.savez("hf.npz", logits_teacher=a["teacher"], logits_student=a["student"], y=a["labels"])
    assert read_pair("hf.npz").labels is not None


def test_the_terminal_shows_warnings_and_notes_and_all_with_verbose(tmp_path, capsys):
    np.savez(tmp_path / "pair.npz", **pairs.clean(3, 300, kind="plain"))
    words = ["diagnose", str(tmp_path / "pair.npz"), "--out", str(tmp_path / "o")]
    assert main(words) == 0
    short = capsys.readouterr().out
    assert main([*words, "--verbose"]) == 0
    long = capsys.readouterr()
    assert "row alignment: " in long.out
    assert "row alignment: " not in short
    findings = Result.read(tmp_path / "o" / "result.json").of(Finding)
    well = [f for f in findings if f.status == "ok"]
    assert f"{len(well)} checks found nothing to mend" in short
    assert all(f"{f.name}: " in short for f in findings if f.status != "ok")
    assert long.err == "", "no progress where there is no terminal"


def test_progress_is_told_on_a_terminal(monkeypatch):
    import io

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    from disobey.cli.stages import stages

    told = Terminal()
    monkeypatch.setattr("sys.stderr", told)
    monkeypatch.setenv("TERM", "xterm")
    with stages(False) as tell:
        tell("reading [3,000] examples")
    assert "reading [3,000] examples" in told.getvalue()
    stages_heard = []
    arrays = pairs.clean(3, 200, kind="plain")
    from disobey.diagnosis.diagnose import report

    report(gather(pair_from(arrays)), tell=stages_heard.append)
    assert any("table" in stage for stage in stages_heard)
    assert any("figure" in stage for stage in stages_heard)


@pytest.mark.parametrize(
    ("words", "left", "file"),
    [
        (["p.npz", "--json"], ["p.npz", "--json"], None),
        (["--json", "p.npz"], ["--json", "p.npz"], None),
        (["p.npz", "--json", "-", "--quiet"], ["p.npz", "--json", "--quiet"], None),
        (["p.npz", "--json", "r.json"], ["p.npz"], "r.json"),
        (["p.npz", "--json=r.json"], ["p.npz"], "r.json"),
    ],
)
def test_json_with_a_file_goes_on_working_for_a_release(words, left, file, capsys):
    found = command._old_json(words)
    assert found[0] == left
    assert str(found[1]) == str(file)
    assert ("stops working" in capsys.readouterr().err) is (words != left)
