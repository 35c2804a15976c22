"""`loss-switching`: its teachers, and that its map and its trends find what was planted."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from disobey.records.results import Chart, Claim, Table
from disobey.studies.deviation.study import Deviation
from disobey.studies.kit.setup import Setup
from disobey.studies.loss_switching.study import LossSwitching
from disobey.training.recipe import Run
from tests.support.refusals import refuses

WORDS = ("0.1", "0.5", "final", "mlp:32")
AGES = {"0.1": 0.1, "0.5": 0.5, "final": 1.0}


def grid(seeds=(0, 1, 2, 3, 4, 5), noise=(0.0, 0.2), teachers=WORDS):
    setup = Setup("digits-8x8", seeds=seeds, steps=60)
    return LossSwitching(setup, "mlp:16", teachers=teachers, label_noise=noise, switch_points=(0.5,))


def test_the_default_shares_its_ends_with_deviation():
    shared = set(LossSwitching().plan()) & set(Deviation().plan())
    assert len(shared) == 2 * 5 * 3  # noise levels, seeds; teacher, distillation, labels


def test_one_teacher_serves_all_ages_and_keeps_their_checkpoints():
    study = grid()
    teachers = {run.recipe for run in study.plan() if run.recipe.replica == 0}
    assert sorted((t.model.width, t.keep) for t in teachers) == [(16, (6, 15, 30))] * 2 + [(32, ())] * 2
    arm = study.arm(0.0, "0.1", "teacher first", 0.0, 0.5)
    assert (arm.recipe.teaching.step, arm.teacher_step) == (6, 6)
    assert arm.recipe.model.width == 16  # the student stays


@dataclass(frozen=True)
class Planted:
    """A record of which a given share of the test examples is right."""

    run: Run
    wrong: int
    examples: dict = field(default_factory=dict)
    summary: dict = field(default_factory=dict)

    def log_probs(self, split, step=None):
        rng = np.random.default_rng([self.run.seed, len(split)])
        labels = self.examples[f"{split}.labels"]
        said = labels.copy()
        said[: self.wrong] = (said[: self.wrong] + 1) % 10
        out = np.full((len(labels), 10), -8.0) + 0.01 * rng.normal(size=(len(labels), 10))
        out[np.arange(len(labels)), said] = -0.01
        return out


def records(study, effect):
    """Students whose switch to labels gains ``effect(noise, age)`` of 1,000 examples, give or take two."""
    found, labels = {}, np.arange(1000) % 10
    same = {f"{s}.labels": labels for s in ("train", "validation", "test")}
    same |= {f"{s}.ids": np.arange(1000) for s in ("train", "validation", "test")}
    same |= {f"{s}.given": labels for s in ("train", "validation", "test")}
    by_recipe = {arm.recipe: arm for arm in study.design().arms}
    for run in study.plan():
        rng, arm = np.random.default_rng(run.seed), by_recipe.get(run.recipe)
        right = 800 + int(rng.integers(-5, 6))
        if arm is not None and arm["first"] == "teacher first" and arm["at"] == 0.5:
            age = AGES.get(str(arm["teacher"]), 1.0)
            right += effect(arm.number("noise"), age) + int(np.random.default_rng([run.seed, 1]).integers(-2, 3))
        found[run] = Planted(run, 1000 - right, same)
    return found


def words(verdicts, id):
    return [claim.verdict for claim in verdicts.of(id)]


def test_a_planted_map_is_recovered():
    """Labels win after young teachers of clean labels by 40 points of a thousand, and lose as much with wrong ones."""
    study = grid()
    found = records(study, lambda noise, age: round((-40 if noise else 40) * -np.log10(age)))
    result = study.analyze(found)
    (table,) = (t for t in result.of(Table) if t.title == "Where labels after distillation win")
    who = {(row[0], row[1]): row[-1] for row in table.rows}
    assert who["0%", "10%-trained"] == "labels"
    assert who["20%", "10%-trained"] == "the teacher"
    assert who["0%", "final"] == who["20%", "final"] == "neither, by half a point"
    (chart,) = (c for c in result.of(Chart) if c.name == "labels-after-the-teacher")
    assert len(chart.data["gain"]) == 8
    trends = {(c.name, c.levels[0][1]): c.verdict for c in result.of(Claim) if c.name in ("S4", "S5")}
    assert trends["S4", "0%"] == "supported"
    assert trends["S4", "20%"] == "contradicted"
    assert trends["S5", "10%-trained"] == "supported"
    assert trends["S5", "final"] == "negligible"


def test_nothing_planted_is_an_equivalence_and_no_advice_but_the_plainest():
    study = grid(teachers=("final",), noise=(0.0,))
    result = study.analyze(records(study, lambda noise, age: 0))
    said = {claim.name: claim.verdict for claim in result.of(Claim)}
    assert said["S3"] == "supported"
    assert said["S2"] in ("negligible", "undecided")
    assert not {"S4", "S5"} & set(said)
    (main,) = (t for t in result.of(Table) if t.title.startswith("Recommendation"))
    assert main.rows[0] == ("recommended", "labels alone")


def test_advice_names_the_teacher_and_the_schedule_of_a_planted_winner():
    study = grid(noise=(0.0,), seeds=tuple(range(8)))
    result = study.analyze(records(study, lambda noise, age: 100 if age == 0.1 else 0))
    (main,) = (t for t in result.of(Table) if t.title.startswith("Recommendation"))
    assert main.rows[0][1] == "teacher first until 50%, 10%-trained teacher"
    assert ("teacher", "10%-trained") in main.rows


@pytest.mark.parametrize(
    ("id", "words"),
    [
        ("bad-teacher-age", ("1.5",)),
        ("same-teachers", ("final", "final")),
        ("same-teachers", ("early", "0.25")),
        ("same-teachers", ()),
    ],
)
def test_refusals(id, words):
    with refuses(id):
        LossSwitching(teachers=words)
