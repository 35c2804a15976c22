"""Rules of verdicts: every branch of every rule, and what each needs before it says a word."""

import math

import numpy as np
import pytest

from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Estimate
from disobey.studies.kit.verdicts import (
    AllOf,
    BeyondControl,
    Effect,
    Equivalence,
    OneSide,
    above,
    below,
    beyond_control,
    decide,
    detectable,
    gain,
    most_of,
    shares_level,
    side,
)


def estimate(low, high, n=5, over="runs"):
    return Estimate("x", (low + high) / 2, low, high, 0.95, n, over)


UNKNOWN = Estimate("x", 0.4, math.nan, math.nan, 0.95, 1, "runs")
UP, DOWN, ACROSS, SMALL = estimate(0.1, 0.3), estimate(-0.3, -0.1), estimate(-0.1, 0.1), estimate(0.01, 0.03)
BELOW_ZERO = below(0.0)


@pytest.mark.parametrize(
    ("rule", "interval", "verdict"),
    [
        (Effect(), UP, "supported"),
        (Effect(), DOWN, "contradicted"),
        (Effect(), ACROSS, "undecided"),
        (Effect(), estimate(0.0, 0.2), "undecided"),  # touching the border is not beyond it
        (Effect(margin=0.05), SMALL, "negligible"),  # surely above 0, and too small to matter
        (Effect(margin=0.02), SMALL, "supported"),
        (Effect(margin=0.2), ACROSS, "negligible"),
        (Effect(margin=0.1), ACROSS, "undecided"),  # touching the margin is not within it
        (Effect(margin=0.3), UP, "supported"),  # from either side
        (Effect(), estimate(-0.2, 0.0), "undecided"),
        (Effect(margin=0.2), DOWN, "contradicted"),
        (Effect(existence=True), UP, "supported"),
        (Effect(existence=True), DOWN, "undecided"),  # one setting does not contradict that something can be
        (BELOW_ZERO, DOWN, "supported"),
        (BELOW_ZERO, UP, "contradicted"),
        (above(0.2), UP, "undecided"),
        (above(0.05), UP, "supported"),
        (above(0.5), UP, "contradicted"),
        (above(0.05, margin=0.3), UP, "negligible"),
        (below(0.5), UP, "supported"),
        (Effect(-1, 0.05, wrong=0.2), UP, "undecided"),  # between the two borders
        (Effect(-1, 0.05, wrong=0.08), UP, "contradicted"),
        (Equivalence(0.5), UP, "supported"),
        (Equivalence(0.05), UP, "contradicted"),
        (Equivalence(0.05), DOWN, "contradicted"),
        (Equivalence(0.2), UP, "undecided"),
        (Equivalence(0.2, center=0.2), UP, "supported"),
        (Equivalence(0.1, center=0.2), UP, "undecided"),  # touches
        (Equivalence(0.1, center=0.5), UP, "contradicted"),
        (most_of(0.5), estimate(0.6, 1.2), "supported"),
        (most_of(0.5), UP, "contradicted"),
        (most_of(0.5), estimate(0.4, 0.9), "undecided"),
    ],
)
def test_a_rule_on_one_number(rule, interval, verdict):
    assert decide(rule, [[interval]]).word == verdict


@pytest.mark.parametrize(
    ("student", "minus_control", "literal", "verdict"),
    [
        (DOWN, DOWN, "supported", "supported"),
        (DOWN, ACROSS, "supported", "undecided"),
        (DOWN, UP, "supported", "contradicted"),
        (UP, ACROSS, "contradicted", "undecided"),  # the literal line contradicts nothing alone ...
        (UP, DOWN, "contradicted", "undecided"),  # ... but what is literally false is not supported
        (ACROSS, DOWN, "undecided", "supported"),
        (ACROSS, UP, "undecided", "contradicted"),
        (UNKNOWN, DOWN, "undecided", "supported"),
        (DOWN, UNKNOWN, "supported", "undecided"),
        (DOWN, estimate(-0.03, -0.01), "supported", "negligible"),
    ],
)
def test_the_word_is_that_of_the_line_beyond_the_control(student, minus_control, literal, verdict):
    decision = decide(BeyondControl(BELOW_ZERO, below(0.0, margin=0.05)), [[student, minus_control]])
    assert (decision.literal, decision.word, decision.deciding) == (literal, verdict, 1)


def test_a_literal_rule_has_a_border_of_its_own_and_its_difference_has_none():
    rule = beyond_control(above(1.0, margin=0.05))
    assert (rule.literal.border, rule.beyond.border, rule.beyond.margin) == (1.0, 0.0, 0.05)
    assert decide(rule, [[estimate(1.1, 1.3), UP]]).word == "supported"
    assert decide(rule, [[estimate(0.9, 1.3), UP]]).word == "supported"
    assert decide(rule, [[UP, UP]]).word == "undecided"


@pytest.mark.parametrize(
    ("intervals", "verdict", "deciding"),
    [
        ([UP, UP], "supported", 0),
        ([DOWN, DOWN], "supported", 0),
        ([UP, DOWN], "contradicted", 1),
        ([ACROSS, UP, DOWN], "contradicted", 1),
        ([UP, ACROSS], "undecided", 1),
        ([SMALL, SMALL], "negligible", 0),
        ([SMALL, UP], "supported", 0),
        ([UP, UNKNOWN], "undecided", 1),
        ([SMALL, estimate(0.01, 0.05)], "supported", 0),  # touching the margin is not within it
        ([SMALL, estimate(-0.05, 0.03)], "undecided", 1),
    ],
)
def test_one_side(intervals, verdict, deciding):
    decision = decide(OneSide(margin=0.05), [intervals])
    assert (decision.word, decision.deciding) == (verdict, deciding)


TWO = AllOf((("rises", Effect(margin=0.05)), ("stays", Equivalence(0.5))))


@pytest.mark.parametrize(
    ("groups", "verdict", "deciding"),
    [
        ([[UP], [UP]], "supported", 0),
        ([[UP, UP], [ACROSS, UP]], "supported", 0),
        ([[UP, ACROSS], [UP]], "undecided", 1),
        ([[UP, DOWN], [UP]], "contradicted", 1),
        ([[UP], [estimate(0.6, 0.8)]], "contradicted", 1),
        ([[SMALL], [UP]], "negligible", 0),
        ([[SMALL, ACROSS], [UP]], "undecided", 1),
        ([[UP], [UNKNOWN]], "undecided", 1),
    ],
)
def test_every_part_must_hold_and_one_contradicts(groups, verdict, deciding):
    decision = decide(TWO, groups)
    assert (decision.word, decision.deciding) == (verdict, deciding)


def test_several_chances_to_contradict_share_the_level_out():
    groups = [[UP, DOWN], [UP]]
    assert shares_level(TWO, groups) == 3
    assert shares_level(Effect(), [[UP, DOWN]]) == 1
    wider = [[UP, estimate(-0.3, 0.1)], [UP]]  # the same numbers at a higher level
    assert decide(TWO, groups, wider).word == "undecided"
    assert decide(TWO, [[UP, UP], [UP]], [[ACROSS, ACROSS], [UP]]).word == "supported"  # all of them need no correction


@pytest.mark.parametrize("rule", [Effect(), BELOW_ZERO, above(1.0), below(1.0), Equivalence(0.5), most_of(0.3)])
@pytest.mark.parametrize(
    "interval",
    [UNKNOWN, estimate(0.31, 0.4, n=2), estimate(0.4, 0.4), estimate(0.31, 0.4, n=2, over="runs and examples")],
)
def test_nothing_is_decided_without_an_interval_seeds_or_variation(rule, interval):
    assert decide(rule, [[interval]]).word == "undecided"
    assert decide(OneSide(0.5), [[interval]]).word == "undecided"
    assert decide(AllOf((("x", rule),)), [[interval]]).word == "undecided"


def test_sides_are_of_zero_unless_told_otherwise():
    assert (side(UP), side(DOWN), side(ACROSS)) == (1, -1, 0)
    assert (side(UP, 0.05), side(UP, 0.2), side(UP, 0.3), side(UP, 0.1), side(UP, 1.0)) == (1, 0, 0, 0, -1)


def test_three_seeds_decide_and_exact_cases_may_have_no_width():
    assert decide(Effect(), [[estimate(0.1, 0.2, n=3)]]).word == "supported"
    assert decide(Effect(), [[estimate(0.1, 0.1, n=1, over="cases")]]).word == "supported"


def test_notes_say_what_a_reader_must_know():
    rule = beyond_control(BELOW_ZERO)
    assert decide(rule, [[DOWN, DOWN]]).note == ""
    assert "control" in decide(rule, [[DOWN, ACROSS]]).note  # selection alone would have shown it
    assert "the other side" in decide(rule, [[UP, DOWN]]).note
    assert decide(most_of(0.5), [[UP]]).note == ""
    assert decide(most_of(0.5), [[UNKNOWN]]).note != ""
    assert decide(AllOf((("share", most_of(0.5)),)), [[UNKNOWN]]).note == decide(most_of(0.5), [[UNKNOWN]]).note
    assert "3 seeds" in decide(Effect(), [[estimate(0.1, 0.3, n=2)]]).note
    assert "vary" in decide(Effect(), [[estimate(0.1, 0.1)]]).note


def test_rules_are_values_that_carry_their_words():
    assert above(0.0) == Effect()
    assert Equivalence(0.1) != Equivalence(0.2)
    for rule in (Effect(), above(1.5), beyond_control(BELOW_ZERO), Equivalence(0.02), most_of(0.25), OneSide(), TWO):
        assert "supported" in rule.words
        assert "contradicted" in rule.words
    assert "1.5" in above(1.5).words
    assert "0.5 points" in gain().words
    assert "negligible" in gain().words
    assert "cannot contradict" in Effect(existence=True).words


@pytest.mark.parametrize("n", [3, 5, 12])
def test_what_could_have_been_seen_is_seen_that_often(n):
    """Planted effects of the size that is said are found in four of five studies."""
    rng = np.random.default_rng(n)
    sizes = [detectable(mean_over_runs(rng.normal(size=n), "x")) for _ in range(400)]
    effect = float(np.mean(sizes))
    found = [decide(Effect(), [[mean_over_runs(effect + rng.normal(size=n), "x")]]).word for _ in range(2000)]
    assert 0.7 < np.mean(np.array(found) == "supported") < 0.9
    assert math.isnan(detectable(UNKNOWN))
