"""Lottery on made-up records: a planted world gets its words, and where nothing fails nothing is judged."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from disobey.studies.kit.imitation import ImitationSetup
from disobey.studies.kit.null import null_of
from disobey.studies.lottery.claims import FAR, FIRST, NOISE, STUDENT, WALK
from disobey.studies.lottery.study import Lottery
from disobey.training.imitation import PruneSpec
from disobey.training.recipe import imitation_spec
from tests.support.refusals import refuses

STUDY = replace(Lottery.smoke(), setup=ImitationSetup("digits-8x8", 200, seeds=(0, 1, 2, 3, 4)), rounds=4, share=0.5)
EARLY = "after 2 supervised steps"
PLANTED = {FIRST: 0.7, EARLY: 0.9, STUDENT: 0.9, WALK: 0.71, NOISE: 0.8, FAR: 0.75}


@dataclass(frozen=True)
class Fake:
    """A record of numbers alone."""

    summary: dict


def made_up(sparse, replaced=0.6):
    """Records in which dense networks reach 0.9 and tickets what ``sparse`` says of the start."""
    rng, found = np.random.default_rng(0), {}
    for run in STUDY.plan():
        name = next((start for start, arm in STUDY.arms().items() if arm.recipe == run.recipe), None)
        summary = {"test_accuracy": 0.9}
        if name is not None:
            for k in range(STUDY.rounds + 1):
                noise = 0.001 * rng.normal()
                summary |= {f"density@{k}": 0.5**k, f"ticket@{k}": (sparse[name] if k else 0.9) + noise}
                summary |= {f"replaced@{k}": (replaced if k else 0.9) + 0.001 * rng.normal()}
        found[run] = Fake(summary)
    return found


def words(records):
    return {claim.id: claim.verdict for claim in STUDY.verdicts(records).claims}


def test_a_world_in_which_random_teachers_hold_tickets():
    assert words(made_up(PLANTED)) == dict.fromkeys(("T0", "T1", "T2", "T3", "T4", "T5"), "supported")


def test_a_walk_that_does_as_well_leaves_nothing_to_the_teacher():
    found = words(made_up(PLANTED | {WALK: 0.9}))
    assert found["T1"] == "negligible"


def test_a_student_no_better_than_first_weights():
    found = words(made_up(PLANTED | dict.fromkeys((STUDENT, WALK, NOISE, FAR), 0.7), replaced=0.7))
    assert found["T2"] == "contradicted"
    assert {found[id] for id in ("T1", "T3", "T4", "T5")} == {"negligible"}


@pytest.mark.parametrize("change", [{FIRST: 0.9}, {EARLY: 0.7}])
def test_positive_control_first(change):
    verdicts = STUDY.verdicts(made_up(PLANTED | change))
    assert [claim.id for claim in verdicts.claims] == ["T0"]
    assert verdicts.claims[0].verdict == "contradicted"
    assert {id for id, _, reason in verdicts.skipped if "can test nothing" in reason} == {"T1", "T2", "T3", "T4", "T5"}


def test_arms_differ_in_their_start_alone():
    arms = STUDY.arms()
    assert set(arms) == {*PLANTED}
    for name, arm in arms.items():
        spec = imitation_spec(arm.recipe)
        plain = replace(spec, origin="teacher", prune=PruneSpec(STUDY.rounds, STUDY.share))
        like = replace(arm.recipe, teacher=arms[FIRST].recipe.teacher, teaching=arms[FIRST].recipe.teaching)
        assert replace(like, imitation=plain) == arms[FIRST].recipe, name
    assert arms[WALK].recipe.teacher == arms[STUDENT].recipe.teacher


def test_without_controls_its_null_is_centred():
    assert null_of(STUDY, pool=6).places == ()


def test_smoke_says_the_same_again(ran, says):
    says(*ran(Lottery.smoke()), {"T0"})


def test_nonsense_is_refused():
    with refuses("lottery-moments"):
        Lottery(moments=(0,))
    with refuses("lottery-moments"):
        Lottery(moments=(5, 10))
    with refuses("lottery-rounds"):
        Lottery(rounds=1, share=0.5)
    with refuses("lottery-rounds"):
        Lottery(judged=(0.01, 0.02))
    with refuses("prune-rounds"):
        Lottery(share=1.0)
