"""The kit by itself: designs, evidence on planted records, claims."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import ttest_1samp

from disobey.data.dataset import DataSpec
from disobey.measures.inference.policy import Intervals, using
from disobey.measures.inference.runs import mean_over_runs, paired_difference
from disobey.studies.kit.claims import SMALLEST_P, ClaimSpec, Noted, Parts, Skip, Source, Verdicts, judge
from disobey.studies.kit.design import Arm, Design, factors
from disobey.studies.kit.evidence import CONTROL, Evidence, association_within, rank_association, run_summary
from disobey.studies.kit.methods import methods_text
from disobey.studies.kit.verdicts import AllOf, Effect, side
from disobey.targets.schedule import distill
from disobey.training.recipe import Recipe, Run
from tests.support.refusals import refuses

# designs


def recipe(**changes):
    return Recipe(DataSpec("digits-8x8"), **changes)


TEACHER = recipe()


def arm(label, replica, **levels):
    student = recipe(replica=replica, targets=distill(4.0), teacher=TEACHER)
    return Arm(label, student, control=recipe(replica=replica), factors=factors(**levels))


DESIGN = Design(
    (arm("a", 1, size=1, noise=0.0), arm("b", 2, size=2, noise=0.0), arm("c", 3, size=2, noise=0.2)), (3, 5)
)


def test_runs_go_seed_by_seed_and_every_recipe_once():
    runs = DESIGN.runs()
    assert [run.seed for run in runs] == [3] * 7 + [5] * 7
    assert len(set(runs)) == 14
    first, student, control = DESIGN.arms[0].recipes()
    assert [run.recipe for run in runs[:3]] == [first, student, control] == [TEACHER, *DESIGN.arms[0].recipes()[1:]]


def test_arms_are_found_by_their_factors():
    assert [a.label for a in DESIGN.where(size=2)] == ["b", "c"]
    assert DESIGN.one(size=2, noise=0.2).label == "c"
    assert DESIGN.maybe(size=3) is None
    assert DESIGN.arms[1]["noise"] == 0.0
    assert DESIGN.arms[1].number("size") == 2
    for levels in ({"size": 2}, {"size": 7}):
        with refuses("not-one-arm", str(levels)):
            DESIGN.one(**levels)


def test_the_control_stands_alone_beside_the_same_teacher():
    control = DESIGN.arms[0].control_arm()
    assert control.is_control
    assert control.recipe == DESIGN.arms[0].control
    assert control.compared_with == TEACHER
    with refuses("no-control", "'a'"):
        control.control_arm()


def test_only_complete_seeds_count():
    records = dict.fromkeys(DESIGN.runs())
    assert DESIGN.complete(records) == (3, 5)
    del records[Run(DESIGN.arms[2].control, 3)]
    assert DESIGN.complete(records) == (5,)
    with refuses("no-complete-seed"):
        DESIGN.complete({})


# evidence


@dataclass(frozen=True)
class Record:
    """A record of planted accuracy: that share of the examples gets the right class."""

    accuracy: float
    reads: list

    @property
    def summary(self):
        return {"test_accuracy": self.accuracy, "validation_accuracy": self.accuracy / 2, "last_loss": 1.0}

    @property
    def examples(self):
        labels = np.arange(100) % 4
        return {f"test.{key}": value for key, value in (("ids", np.arange(100)), ("labels", labels), ("given", labels))}

    def log_probs(self, split, step=None):
        self.reads.append((split, step))
        labels = np.arange(100) % 4
        right = np.arange(100) < round(100 * self.accuracy)
        logits = np.random.default_rng(0).normal(size=(100, 4))
        logits[np.arange(100), np.where(right, labels, (labels + 1) % 4)] += 8.0
        return log_softmax(logits, axis=1)


def planted(accuracies, design=DESIGN):
    """Records in which arm i has accuracies[i][seed], its control 5 or 10 points less, and the teacher 0.9."""
    reads: list = []  # of students and controls
    found = {Run(TEACHER, seed): Record(0.9, []) for seed in design.seeds}
    for a, row in zip(design.arms, accuracies, strict=True):
        for seed, accuracy in zip(design.seeds, row, strict=True):
            found[Run(a.recipe, seed)] = Record(accuracy, reads)
            found[Run(a.control, seed)] = Record(accuracy - 0.05 * (1 + (seed == 5)), reads)
    return found, reads


ACCURACIES = ((0.5, 0.6), (0.7, 0.9), (0.7, 0.7))


def test_evidence_is_one_number_a_seed():
    records, _ = planted(ACCURACIES)
    e = Evidence.read(DESIGN, records)
    a, b, _ = DESIGN.arms
    assert e.seeds == (3, 5)
    assert e.per_seed(a, "student_accuracy") == pytest.approx([0.5, 0.6])
    assert e.per_seed(a, "student_accuracy", minus=CONTROL) == pytest.approx([0.05, 0.1])
    assert e.per_seed(b, "student_accuracy", minus=a) == pytest.approx([0.2, 0.3])
    assert e.mean(b, "student_accuracy", minus=a).value == pytest.approx(0.25)
    assert e.means("student_accuracy", control=True)(a) == e.mean(a.control_arm(), "student_accuracy")
    assert e.summary(a.recipe, "test_accuracy").value == pytest.approx(0.55)
    pair = e.predictions(a, seed=5)
    assert np.mean(pair.student.argmax(axis=1) == pair.labels) == pytest.approx(0.6)
    assert pair.twin is not None


def test_evidence_reads_each_file_once():
    design = Design((DESIGN.arms[0], DESIGN.arms[0]), (3,))
    records, reads = planted(((0.5,), (0.5,)), design)
    Evidence.read(design, records)
    assert reads.count(("test", None)) == 2  # student and control


def test_an_incomplete_seed_is_left_out_whole():
    records, _ = planted(ACCURACIES)
    del records[Run(DESIGN.arms[1].control, 3)]
    e = Evidence.read(DESIGN, records)
    assert e.seeds == (5,)
    assert e.per_seed(DESIGN.arms[0], "student_accuracy") == pytest.approx([0.6])
    assert not e.mean(DESIGN.arms[0], "student_accuracy").known


def test_evidence_of_what_training_wrote_down():
    records, reads = planted(ACCURACIES)
    e = Evidence.read(DESIGN, records, run_summary, splits=("test", "validation"))
    assert reads == []
    assert e.per_seed(DESIGN.arms[0], "accuracy", split="validation") == pytest.approx([0.25, 0.3])
    assert e.per_seed(DESIGN.arms[0], "last_loss") == pytest.approx([1.0, 1.0])


def test_known_means_every_seed_of_student_and_control():
    records, _ = planted(ACCURACIES)
    e = Evidence.read(DESIGN, records)
    assert e.known(DESIGN.arms[0], "ols_slope")
    assert not e.known(DESIGN.arms[0], "ols_slope.mislabelled")  # nothing was mislabelled
    assert not e.known(DESIGN.arms[0], "no such measure")


SHARES = Design((arm("part", 1), arm("whole", 2), arm("none", 3)), (0, 1, 2, 3))


def test_a_share_is_a_ratio_of_paired_means_and_undefined_without_a_gain():
    none = np.array([0.50, 0.52, 0.54, 0.51])
    whole = none + np.array([0.10, 0.11, 0.09, 0.10])
    rows = (none + 0.08, whole, none)
    e = Evidence.read(SHARES, planted(rows, SHARES)[0], run_summary)
    part, all_of_it, nothing = SHARES.arms
    share = e.share(part, "accuracy", of=all_of_it, over=nothing)
    assert share.value == pytest.approx(0.8)
    assert share.low < 0.8 < share.high
    assert e.share(all_of_it, "accuracy", of=all_of_it, over=nothing).value == pytest.approx(1.0)
    for of, over in ((nothing, all_of_it), (all_of_it, all_of_it)):  # a loss, and no gain
        undefined = e.share(part, "accuracy", of=of, over=over)
        assert math.isnan(undefined.value)
        assert not undefined.known
    own = e.share(part, "accuracy", of=all_of_it)
    assert own == e.share(part, "accuracy", of=all_of_it, over=all_of_it.control_arm())


def test_accuracies_are_over_runs_and_examples_with_both_errors():
    e = Evidence.read(SHARES, planted(np.tile([0.5, 0.52, 0.54, 0.51], (3, 1)), SHARES)[0])
    accuracy = e.mean(SHARES.arms[0], "student_accuracy")
    assert accuracy.over == "runs and examples"
    plain = mean_over_runs(e.per_seed(SHARES.arms[0], "student_accuracy"), "x")
    error = e.example_error(SHARES.arms[0])
    assert error == pytest.approx(0.05, abs=0.002)  # the same examples are right in all runs: 0.5 / sqrt(100)
    assert accuracy.high - accuracy.low > 2 * 1.96 * error > plain.high - plain.low
    assert e.mean(SHARES.arms[0], "nll").over == "runs"


def test_association_within_settings_minus_that_of_controls():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 12))
    same = association_within(x, 2 * x + np.array([[0], [5], [-9]]), (x, rng.normal(size=(3, 12))), "r")
    assert same.value > 0.5
    assert same.low > 0
    both = association_within(x, 2 * x, (x[:1], -3 + x[:1]), "r")
    assert both.value == pytest.approx(0.0, abs=1e-12)  # the controls show as much
    assert not association_within(x[:, :3], x[:, :3], (x[:, :3], -x[:, :3]), "r").known


def test_rank_association_is_within_seeds():
    xs = [np.array([1.0, 1.0]), np.array([2.0, 2.0]), np.array([3.0, 3.0])]
    rising = rank_association(xs, [10 * x + np.array([0.0, 100.0]) for x in xs], "rho")
    assert rising.value == pytest.approx(1.0)
    assert rank_association(xs, [np.array([1.0, -1.0]) * x for x in xs], "rho").value == pytest.approx(0.0)
    assert rank_association(xs, [np.ones(2)] * 3, "rho").value == 0.0  # constant


# claims

PAPER = Source("arXiv 0000.00000", "Somebody, Somewhere 2000")
ALPHA = 1 - 0.95
VALUES = {"a": [0.1, 0.2, 0.15], "b": [-0.1, -0.2, -0.15]}


@dataclass(frozen=True)
class Setting:
    label: str


def specs():
    return (
        ClaimSpec("Q1", "It helps.", PAPER, Effect(), lambda e, s: [mean_over_runs(e[s.label], "gain")]),
        ClaimSpec(
            "Q2", "It is noted.", PAPER, Effect(), lambda e, s: Noted([mean_over_runs(e[s.label], "gain")], "Look.")
        ),
        ClaimSpec("Q3", "It needs more.", PAPER, Effect(), lambda e, s: Skip("needs --more")),
    )


def test_claims_are_judged_setting_by_setting():
    verdicts = judge(specs(), VALUES, [Setting("a"), Setting("b")])
    assert [(c.name, c.setting, c.verdict) for c in verdicts.claims] == [
        ("Q1", "a", "supported"),
        ("Q2", "a", "supported"),
        ("Q1", "b", "contradicted"),
        ("Q2", "b", "contradicted"),
    ]
    assert {c.rule for c in verdicts.claims} == {Effect().words}
    assert {c.source for c in verdicts.claims} == {PAPER.name}
    assert verdicts.of("Q2")[0].note == "Look."
    assert verdicts.claims[0].evidence == (mean_over_runs(VALUES["a"], "gain"),)


def test_verdicts_count_add_and_say_what_was_not_judged():
    first, second = (judge(specs(), VALUES, [Setting(name)]) for name in ("a", "b"))
    both = first + second
    assert both == judge(specs(), VALUES, [Setting("a"), Setting("b")])
    assert both.summary() == (
        "Of 4 claims, corrected for being several, 4 undecided (each on its own: 2 supported, 2 contradicted)."
    )
    assert (both.tally("Q1"), both.tally("Q3")) == ("1 supported, 1 contradicted", "")
    assert both.gains("Q1") == "a: +15.00 points, supported; b: -15.00 points, contradicted"
    assert both.skipped == (("Q3", "a", "needs --more"), ("Q3", "b", "needs --more"))
    assert both.not_judged() == "Not judged: Q3 (needs --more)."
    assert Verdicts(()).not_judged() == ""


def test_a_p_value_is_the_smallest_alpha_that_decides():
    values = [0.1, 0.2, 0.15, 0.12, 0.18]
    claim = judge(specs()[:1], {"a": values}, [Setting("a")]).claims[0]
    assert claim.p_value == pytest.approx(ttest_1samp(values, 0).pvalue, rel=0.005)
    at_that_level = mean_over_runs(values, "x", level=1 - claim.p_value * 1.01)
    assert side(at_that_level) == 1
    assert side(mean_over_runs(values, "x", level=1 - claim.p_value * 0.98)) == 0
    assert math.isnan(judge(specs()[:1], {"a": [0.1, -0.1, 0.0]}, [Setting("a")]).claims[0].p_value)


def test_words_are_corrected_for_all_claims_together():
    one, many = {"a": [0.1, 0.2, 0.15]}, {str(i): [0.1, -0.1, 0.0] for i in range(9)} | {"a": [0.1, 0.2, 0.15]}
    alone = judge(specs()[:1], one, [Setting("a")]).corrected().claims[0]
    assert (alone.verdict, alone.corrected) == ("supported", "supported")
    assert alone.adjusted == alone.p_value < 0.05
    beside = judge(specs()[:1], many, map(Setting, many)).corrected().of("Q1")[-1]
    assert beside.adjusted == pytest.approx(10 * alone.p_value)
    assert (beside.verdict, beside.corrected) == ("supported", "undecided")


def test_p_values_of_sure_claims_end_where_they_are_not_told_apart():
    values = 1 + 1e-5 * np.arange(8)
    assert judge(specs()[:1], {"a": values}, [Setting("a")]).claims[0].p_value == SMALLEST_P


@pytest.mark.parametrize(
    ("p_value", "kept"),
    [(0.04, True), (ALPHA, True), (ALPHA * (1 + 1e-9), True), (ALPHA * (1 + 1e-8), False), (0.08, False)],
)
def test_words_are_kept_up_to_the_level_itself(p_value, kept):
    claim = replace(judge(specs()[:1], VALUES, [Setting("a")]).claims[0], p_value=p_value)
    assert Verdicts((claim,)).corrected().claims[0].corrected == ("supported" if kept else "undecided")


@pytest.mark.parametrize(("shift", "word"), [(0.0, "undecided"), (0.2, "contradicted")])
def test_claims_of_many_parts_are_contradicted_at_a_shared_level(shift, word):
    """The second part is surely below 0, at a third of alpha only where it is shifted."""
    low, high = np.array([-0.1, -0.3, -0.2, -0.25, -0.02]) - shift, np.array([0.5, 0.6, 0.55, 0.52, 0.57])
    alone = mean_over_runs(low, "x")
    assert alone.high < 0
    assert (mean_over_runs(low, "x", level=1 - 0.05 / 3).high < 0) == (word == "contradicted")
    rule = AllOf((("first", Effect()), ("second", Effect())))
    spec = ClaimSpec(
        "Q4",
        "Both.",
        PAPER,
        rule,
        lambda e, s: Parts([[mean_over_runs(v, "x") for v in e[:2]], [mean_over_runs(e[2], "x")]]),
    )
    assert judge([spec], (high, low, high), [Setting("a")]).claims[0].verdict == word


def test_medians_and_midmeans_stand_beside_a_mean():
    claim = judge(specs()[:1], {"a": [0.1, 0.2, 0.15, 0.12, 0.18, 0.16, 0.13, 0.17, -4.0]}, [Setting("a")]).claims[0]
    median, midmean = claim.robust
    assert claim.evidence[0].value < 0 < median.low
    assert median.value == pytest.approx(0.15)
    assert midmean.low > 0


def test_intervals_follow_the_policy():
    with using(Intervals(level=0.99)):
        assert judge(specs()[:1], VALUES, [Setting("a")]).claims[0].evidence[0].level == 0.99
    with using(Intervals(anytime=True)):  # three seeds are too few for an interval that holds at any time
        assert judge(specs()[:1], VALUES, [Setting("a")]).claims[0].verdict == "undecided"


def test_methods_say_seeds_and_what_was_not_judged():
    text = methods_text("We trained.", (0, 1, 2), "Not judged: Q3 (why).", PAPER.cite).body
    assert text.startswith("We trained. Not judged: Q3 (why). ")
    assert "3 paired seeds" in text
    assert text.endswith("Cite: Somebody, Somewhere 2000.")


def test_a_paired_difference_is_the_mean_of_differences():
    records, _ = planted(ACCURACIES)
    e = Evidence.read(DESIGN, records)
    a, b, _ = DESIGN.arms
    direct = paired_difference(e.per_seed(b, "nll"), e.per_seed(a, "nll"), "x")
    assert e.mean(b, "nll", minus=a, name="x") == direct
