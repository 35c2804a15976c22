"""The kit by itself: every branch of every rule, designs, evidence on planted records, claims."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import log_softmax

from disobey.data.dataset import DataSpec
from disobey.measures.inference.comparisons import equivalent
from disobey.measures.inference.runs import mean_over_runs, paired_difference
from disobey.records.results import Estimate
from disobey.studies.kit.claims import ClaimSpec, Noted, Skip, Source, Verdicts, judge
from disobey.studies.kit.design import Arm, Design, factors
from disobey.studies.kit.evidence import CONTROL, Evidence, rank_association, run_summary
from disobey.studies.kit.methods import methods_text
from disobey.studies.kit.verdicts import (
    ABOVE_ZERO,
    BELOW_ZERO,
    above,
    at_level,
    below,
    beyond_control,
    decide,
    most_of,
    within,
)
from disobey.targets.schedule import distill
from disobey.training.recipe import Recipe, Run
from tests.support.refusals import refuses


def estimate(low, high, n=5):
    return Estimate("x", (low + high) / 2, low, high, 0.95, n, "runs")


UNKNOWN = Estimate("x", 0.4, math.nan, math.nan, 0.95, 1, "runs")
UP, DOWN, ACROSS = estimate(0.1, 0.3), estimate(-0.3, -0.1), estimate(-0.1, 0.1)


@pytest.mark.parametrize(
    ("rule", "estimates", "verdict"),
    [
        (ABOVE_ZERO, [UP], "supported"),
        (ABOVE_ZERO, [DOWN], "contradicted"),
        (ABOVE_ZERO, [ACROSS], "undecided"),
        (ABOVE_ZERO, [estimate(0.0, 0.2)], "undecided"),  # touching the border is not beyond it
        (BELOW_ZERO, [DOWN], "supported"),
        (BELOW_ZERO, [UP], "contradicted"),
        (above(0.2), [UP], "undecided"),
        (above(0.05), [UP], "supported"),
        (above(0.5), [UP], "contradicted"),
        (below(0.5), [UP], "supported"),
        (beyond_control(BELOW_ZERO), [DOWN, DOWN], "supported"),
        (beyond_control(BELOW_ZERO), [DOWN, ACROSS], "undecided"),
        (beyond_control(BELOW_ZERO), [DOWN, UP], "contradicted"),
        (beyond_control(BELOW_ZERO), [UP, DOWN], "contradicted"),
        (beyond_control(above(1.0)), [estimate(1.1, 1.3), UP], "supported"),
        (beyond_control(above(1.0)), [estimate(1.1, 1.3), DOWN], "contradicted"),
        (beyond_control(above(1.0)), [UP, UP], "contradicted"),  # not above 1
        (beyond_control(above(1.0)), [estimate(0.9, 1.3), UP], "undecided"),
        (within(0.5), [UP], "supported"),
        (within(0.05), [UP], "contradicted"),
        (within(0.05), [DOWN], "contradicted"),
        (within(0.2), [UP], "undecided"),
        (most_of(0.5), [estimate(0.6, 1.2)], "supported"),
        (most_of(0.5), [UP], "contradicted"),
        (most_of(0.5), [estimate(0.4, 0.9)], "undecided"),
    ],
)
def test_rules_decide(rule, estimates, verdict):
    assert decide(rule, estimates)[0] == verdict


@pytest.mark.parametrize("rule", [ABOVE_ZERO, BELOW_ZERO, above(1.0), below(1.0), within(0.1), most_of(0.5)])
def test_an_undefined_number_never_decides(rule):
    assert decide(rule, [UNKNOWN])[0] == "undecided"
    for other in (ABOVE_ZERO, BELOW_ZERO):
        assert decide(beyond_control(other), [UNKNOWN, UNKNOWN])[0] == "undecided"
        assert decide(beyond_control(other), [UNKNOWN, UP if other is ABOVE_ZERO else DOWN])[0] == "undecided"


def test_notes_say_what_a_reader_must_know():
    assert decide(beyond_control(BELOW_ZERO), [DOWN, DOWN])[1] == ""
    assert decide(beyond_control(BELOW_ZERO), [DOWN, ACROSS])[1] != ""  # selection alone would have shown it
    assert decide(most_of(0.5), [UP])[1] == ""
    assert decide(most_of(0.5), [UNKNOWN])[1] != ""


def test_rules_are_values_that_carry_their_words():
    assert above(0.0) == ABOVE_ZERO
    assert within(0.1) != within(0.2)
    for rule in (ABOVE_ZERO, BELOW_ZERO, above(1.5), beyond_control(BELOW_ZERO), within(0.02), most_of(0.25)):
        assert "supported" in rule.words
        assert "contradicted" in rule.words
    assert "1.5" in above(1.5).words
    assert "0.02" in within(0.02).words


def test_within_is_two_one_sided_tests():
    rng = np.random.default_rng(0)
    for _ in range(300):
        values = rng.normal(0.0, 0.02, size=int(rng.integers(2, 8)))
        margin = float(rng.uniform(0.001, 0.05))
        supported = decide(within(margin), [mean_over_runs(values, "x")])[0] == "supported"
        assert supported == equivalent(values, margin).equivalent


def test_another_level_is_the_interval_of_that_level():
    values = [0.1, 0.4, 0.35, 0.2]
    inner, direct = at_level(mean_over_runs(values, "x"), 0.9), mean_over_runs(values, "x", level=0.9)
    assert (inner.low, inner.high) == pytest.approx((direct.low, direct.high), rel=1e-12)


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


def test_rank_association_is_within_seeds():
    xs = [np.array([1.0, 1.0]), np.array([2.0, 2.0]), np.array([3.0, 3.0])]
    rising = rank_association(xs, [10 * x + np.array([0.0, 100.0]) for x in xs], "rho")
    assert rising.value == pytest.approx(1.0)
    assert rank_association(xs, [np.array([1.0, -1.0]) * x for x in xs], "rho").value == pytest.approx(0.0)
    assert rank_association(xs, [np.ones(2)] * 3, "rho").value == 0.0  # constant


# claims

PAPER = Source("arXiv 0000.00000", "Somebody, Somewhere 2000")
VALUES = {"a": [0.1, 0.2, 0.15], "b": [-0.1, -0.2, -0.15]}


@dataclass(frozen=True)
class Setting:
    label: str


def specs():
    return (
        ClaimSpec("Q1", "It helps.", PAPER, ABOVE_ZERO, lambda e, s: [mean_over_runs(e[s.label], "gain")]),
        ClaimSpec(
            "Q2", "It is noted.", PAPER, ABOVE_ZERO, lambda e, s: Noted([mean_over_runs(e[s.label], "gain")], "Look.")
        ),
        ClaimSpec("Q3", "It needs more.", PAPER, ABOVE_ZERO, lambda e, s: Skip("needs --more")),
    )


def test_claims_are_judged_setting_by_setting():
    verdicts = judge(specs(), VALUES, [Setting("a"), Setting("b")])
    assert [(c.name, c.setting, c.verdict) for c in verdicts.claims] == [
        ("Q1", "a", "supported"),
        ("Q2", "a", "supported"),
        ("Q1", "b", "contradicted"),
        ("Q2", "b", "contradicted"),
    ]
    assert {c.rule for c in verdicts.claims} == {ABOVE_ZERO.words}
    assert {c.source for c in verdicts.claims} == {PAPER.name}
    assert verdicts.of("Q2")[0].note == "Look."
    assert verdicts.claims[0].evidence == (mean_over_runs(VALUES["a"], "gain"),)


def test_verdicts_count_add_and_say_what_was_not_judged():
    first, second = (judge(specs(), VALUES, [Setting(name)]) for name in ("a", "b"))
    both = first + second
    assert both == judge(specs(), VALUES, [Setting("a"), Setting("b")])
    assert both.summary() == "Of 4 claims, 2 supported, 2 contradicted."
    assert (both.tally("Q1"), both.tally("Q3")) == ("1 supported, 1 contradicted", "")
    assert both.gains("Q1") == "a: +15.00% supported; b: -15.00% contradicted"
    assert both.skipped == (("Q3", "a", "needs --more"), ("Q3", "b", "needs --more"))
    assert both.not_judged() == "Not judged: Q3 (needs --more)."
    assert Verdicts(()).not_judged() == ""


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
