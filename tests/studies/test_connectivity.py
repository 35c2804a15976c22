"""Connectivity on made-up barriers: planted worlds get their words, and seldom large barriers are no proof of none."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from disobey.studies.connectivity import CONTROL, STUDENT, Connectivity
from disobey.studies.kit.imitation import ImitationSetup
from tests.support.refusals import refuses

FIRST, LAST = "first weights", "after 2 supervised steps"
STUDY = replace(Connectivity.smoke(), setup=ImitationSetup("digits-8x8", 200, seeds=(0, 1, 2, 3, 4, 5)))
NONE = np.array([0.001, 0.002, 0.0, 0.003, 0.001, 0.002])
PLANTED = {FIRST: NONE + 0.4, LAST: NONE, STUDENT: NONE, CONTROL: NONE[::-1] + 0.3}


@dataclass(frozen=True)
class Fake:
    """A record of numbers alone."""

    summary: dict


def words(barriers):
    found = {}
    for run in STUDY.plan():
        name = next((s for s, arms in STUDY.arms().items() if run.recipe in [arm.recipe for arm in arms]), None)
        found[run] = Fake({} if name is None else {"barrier": float(barriers[name][run.seed])})
    verdicts = STUDY.verdicts(found)
    return {claim.id: claim.verdict for claim in verdicts.claims}, verdicts


def test_a_world_in_which_random_teachers_lead_into_a_basin():
    assert words(PLANTED)[0] == dict.fromkeys(("L0", "L1", "L2", "L3", "L4"), "supported")


def test_a_student_behind_the_barrier_of_first_weights():
    found, _ = words(PLANTED | {STUDENT: PLANTED[FIRST] + NONE[::-1]})
    assert (found["L1"], found["L2"]) == ("supported", "contradicted")


def test_one_large_barrier_of_six_leaves_it_open_and_is_said():
    seldom = NONE.copy()
    seldom[2] = 0.5
    found, verdicts = words(PLANTED | {LAST: seldom})
    (claim,) = verdicts.of("L1")
    assert found["L1"] == "undecided"
    assert claim.evidence[0].value == pytest.approx(5 / 6)
    assert "0.500" in claim.note


def test_positive_control_first():
    found, verdicts = words(PLANTED | {FIRST: NONE})
    assert list(found) == ["L0"]
    assert {id for id, _, reason in verdicts.skipped if "can test nothing" in reason} == {"L1", "L2", "L3", "L4"}


def test_nonsense_is_refused():
    with refuses("connectivity-options"):
        Connectivity(moments=(5, 10))
    with refuses("connectivity-options"):
        Connectivity(children=1)
