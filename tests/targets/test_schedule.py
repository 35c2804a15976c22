"""Schedules are values: pure in progress, continuous over windows, and they say whether they need a teacher."""

import numpy as np
import pytest

from disobey.targets.schedule import Phase, Schedule, Term, distill, labels, match, smooth, switch
from tests.support.refusals import refuses

KD, CE = distill(4.0), labels()


def weights(schedule, progress):
    found = {}
    for term in schedule.at(progress):
        found[term.source] = found.get(term.source, 0.0) + term.weight
    return found


@pytest.mark.parametrize("over", [0.0, 0.1, 0.6, 1.0])
@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_weights_always_add_up_to_one(at, over):
    for progress in np.linspace(0, 0.999, 97):
        assert sum(weights(switch(CE, KD, at=at, over=over), progress).values()) == pytest.approx(1.0)


def test_windows_are_continuous_and_centred():
    schedule = switch(CE, KD, at=0.5, over=0.2)
    grid = np.linspace(0, 0.999, 2001)
    teacher = [weights(schedule, p).get("teacher", 0.0) for p in grid]
    assert np.abs(np.diff(teacher)).max() < 0.01
    assert weights(schedule, 0.5)["teacher"] == pytest.approx(0.5)
    assert set(weights(schedule, 0.39)) == {"labels"}
    assert set(weights(schedule, 0.61)) == {"teacher"}


def test_abrupt_switches_happen_at_their_share():
    schedule = switch(CE, KD, at=0.25)
    assert set(weights(schedule, 0.2499)) == {"labels"}
    assert set(weights(schedule, 0.25)) == {"teacher"}


def test_the_ends_are_plain_schedules():
    assert switch(CE, KD, at=0) == KD
    assert switch(CE, KD, at=1) == CE


def test_temperatures_and_weights_move_within_their_phase():
    schedule = distill(10.0, temperature_to=2.0)
    assert [schedule.at(p)[0].temperature for p in (0.0, 0.5)] == [10.0, 6.0]
    two = Schedule((Phase((Term(weight_to=0.0),), 0.5), Phase((Term("teacher", "kl"),))))
    assert two.at(0.25)[0].weight == pytest.approx(0.5)
    assert two.at(0.75)[0].source == "teacher"
    assert two.time_varying
    assert not KD.time_varying


def test_which_schedules_use_the_teacher():
    assert KD.uses_teacher
    assert match().uses_teacher
    assert not CE.uses_teacher
    assert not smooth(0.1).uses_teacher
    assert switch(CE, KD, at=0.5).uses_teacher


def test_old_names_agree_with_the_new_ones():
    for schedule in (KD, CE, distill(10.0, temperature_to=2.0)):
        assert (schedule.listens, schedule.moves) == (schedule.uses_teacher, schedule.time_varying)


@pytest.mark.parametrize("at", [-0.1, 1.1])
def test_shares_outside_training(at):
    with refuses("switch-point", str(at)):
        switch(CE, KD, at=at)


def test_phases_must_end_with_training():
    with refuses("phase-order", "0.5"):
        Schedule((Phase((Term(),), 0.5),))
    with refuses("fade-window", "1.5"):
        Schedule((Phase((Term(),), over=1.5),))
    with refuses("several-phases", "2 and 1"):
        switch(switch(CE, KD, at=0.5), CE, at=0.5)
