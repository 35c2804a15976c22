"""Kinship and random-teacher on made-up records: planted effects get their words, no room gets none."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from disobey.studies.kinship.cells import OTHER, PARTS, SAME, Cell
from disobey.studies.kinship.study import Kinship
from disobey.studies.kit.imitation import ImitationSetup
from disobey.studies.random_teacher.cells import STUDENT
from disobey.studies.random_teacher.study import RandomTeacher
from disobey.training.recipe import Run, imitation_spec
from tests.support.refusals import refuses

SEEDS = (0, 1, 2, 3, 4)
KIN = replace(Kinship.smoke(), setup=ImitationSetup("digits-8x8", 200, seeds=SEEDS, steps=100, batch=16))
RANDOM = replace(RandomTeacher.smoke(), setup=ImitationSetup("digits-8x8", 200, seeds=SEEDS), widths=(2,))


@dataclass(frozen=True)
class Fake:
    """A record of numbers alone."""

    summary: dict
    history: dict

    def log_probs(self, split):
        return np.zeros((3, 1, 1))  # no classes: accuracies have no examples behind them

    @property
    def examples(self):
        return {"test.ids": np.arange(3)}


def kin_records(accuracy, spread=0.01):
    """Records in which ``accuracy(cell)`` is the class head's, with a little seed variation."""
    rng, found = np.random.default_rng(0), {}
    by_recipe = {KIN.line.student(cell): cell for cell in KIN.cells()}
    for run in KIN.plan():
        cell = by_recipe.get(run.recipe)
        noise = spread * rng.normal()
        summary = {"test_accuracy@0": 0.1, "test_accuracy": 0.9 + noise, "probe": 0.9 + noise, "probe@pixels": 0.8}
        history = {}
        if cell is not None:
            read = accuracy(cell)
            summary |= {"test_accuracy": read + noise, "toward": read + 0.01 * noise, "neighbours": 0.8 + noise}
            summary |= {"probe@start": 0.7, "probe": (0.9 if cell.age else 0.75) + noise, "probe@matched": 0.75}
            summary |= dict.fromkeys(("agreement", "divergence", "moved", "barrier", "rank", "dead"), 0.5 + noise)
            steps = 2 if cell.optimizer == "adam" else 4
            history = {"curve_loss": 1.0 / np.arange(1, steps + 1), "curve_accuracy": np.full(steps, read + noise)}
        found[run] = Fake(summary, history)
    return found


def inherited(cell):
    """A world in which shared first weights are everything."""
    if cell.learns == "classes":
        return 0.9 if cell.inputs == "data" else 0.3 if cell.alpha == SAME else 0.2
    sharing = 1 - max(cell.alpha)
    read = 0.1 + 0.6 * sharing * cell.age * (1 if cell.inputs == "noise" else 0.2) / cell.generation
    return 0.1 + 0.5 * (read - 0.1) if cell.optimizer.startswith("sgd") else read


def words(study, records):
    return {claim.id: claim.verdict for claim in study.verdicts(records).claims}


def test_a_world_of_shared_first_weights_gets_its_words():
    found = words(KIN, kin_records(inherited))
    supported = {"U0", "U1b", "U1c", "U2a", "U2b", "U2c", "U3c", "U4a", "U4b", "U4c", "U5", "U6", "U7"}
    assert {id for id, word in found.items() if word == "supported"} >= supported
    assert found["U1a"] in ("negligible", "undecided")  # heads alone inherit nothing here


def test_a_world_of_compatible_heads_is_told_apart():
    def heads(cell):
        return inherited(replace(cell, alpha=SAME if cell.alpha == PARTS["hidden layers drawn anew"] else cell.alpha))

    assert words(KIN, kin_records(heads))["U1a"] == "supported"


def test_without_transfer_no_rule_on_transfer_is_judged():
    verdicts = KIN.verdicts(kin_records(lambda cell: 0.9 if cell.learns == "classes" else 0.1))
    assert {claim.id for claim in verdicts.claims} <= {"U0", "U3a", "U3b", "U3c"}
    assert any("can test nothing" in reason for _, _, reason in verdicts.skipped)


def test_sgd_that_never_reaches_adams_loss_is_not_judged():
    records = kin_records(inherited)
    for seed in SEEDS:
        run = Run(KIN.line.student(Cell(optimizer="sgd, four times as long")), seed)
        records[run].history["curve_loss"][:] = 9.0
    verdicts = KIN.verdicts(records)
    assert "U7" in {id for id, _, _ in verdicts.skipped}


def test_generations_share_the_roots_first_weights_and_see_other_noise():
    first, second = (KIN.line.student(Cell(generation=g)) for g in (1, 2))
    assert second.teacher == first
    assert (first.replica, second.replica) == (1, 2)
    assert imitation_spec(KIN.line.student(Cell(OTHER))).alpha == (1.0, 1.0, 1.0)


def random_records(gain, supervised=0.2):
    rng, found = np.random.default_rng(0), {}
    (family,) = RANDOM.families
    by_recipe = {family.line.student(cell): cell for cell in family.cells}
    for run in RANDOM.plan():
        cell, noise = by_recipe.get(run.recipe), 0.003 * rng.normal()
        read = 0.5 if run.recipe.teacher is None else 0.5 + gain(cell)
        read += supervised if run.recipe == family.line.supervised() else 0.0
        read += 0.0 if run.recipe == family.line.teacher() else noise
        summary = dict.fromkeys(("probe", "neighbours", "short"), read)
        summary |= {"probe@pixels": 0.55, "probe@walk": 0.45 + noise, "probe@shuffled": 0.4 + noise}
        summary |= dict.fromkeys(("rank", "dead", "scale", "moved", "divergence", "parameters"), 0.5 + noise)
        found[run] = Fake(summary, {})
    return found


def learning(cell):
    if cell.numerics in ("float64", "SGD") and cell.alpha == 0:
        return 0.0
    if cell.inputs == "gaussian":
        return -0.1
    if cell.control != "none":
        return -0.05
    return 0.1 * cell.share if cell.alpha < 1 else 0.02


def test_a_world_in_which_random_teachers_teach():
    found = words(RANDOM, random_records(learning))
    wanted = {"R0", "R1a", "R1b", "R1c", "R1d", "R1e", "R2a", "R2b", "R2c", "R3a", "R3b", "R3c", "R4a", "R4b", "R4c"}
    assert {id for id, word in found.items() if word == "supported"} == wanted
    assert "R2d" not in found  # there is no other data


def test_positive_control_first():
    verdicts = RANDOM.verdicts(random_records(learning, supervised=0.0))
    assert [claim.id for claim in verdicts.claims] == ["R0"]
    assert any("can test nothing" in reason for _, _, reason in verdicts.skipped)


def test_students_of_fewer_images_have_the_same_teacher():
    (family,) = RANDOM.families
    few = [cell for cell in family.cells if cell.share < 1]
    assert few
    for cell in few:
        recipe = family.line.student(cell)
        assert recipe.teacher == family.line.student(STUDENT).teacher
        assert recipe.data.train == family.line.images(cell.share)


@pytest.mark.parametrize("kind", [Kinship, RandomTeacher])
def test_smoke_says_the_same_again(kind, ran, says):
    says(*ran(kind.smoke()), {"U0", "U3c"} if kind is Kinship else {"R0"})


def test_nonsense_is_refused():
    with refuses("kinship-options"):
        Kinship(curve=0)
    with refuses("random-teacher-options"):
        RandomTeacher(widths=())
    with refuses("bad-seeds"):
        ImitationSetup(seeds=(1, 1))
