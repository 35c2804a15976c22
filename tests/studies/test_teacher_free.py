"""The study teacher-free: whole in smoke, equal arms, tuning that looks at validation only."""

from dataclasses import replace

import numpy as np
import pytest

from disobey.data.load import load
from disobey.records.results import Table
from disobey.studies.teacher_free import Arm, TeacherFree
from disobey.training.recipe import Run


@pytest.fixture(scope="module")
def smoke(ran):
    return ran(TeacherFree.smoke())


def test_smoke_says_everything_and_the_same_again(smoke, says):
    says(*smoke, {"F0", "F1", "F2", "F3", "F4", "F5"})


def test_teachers_are_reported(smoke):
    study, records = smoke
    (table,) = (t for t in study.analyze(records).of(Table) if t.title.startswith("Teachers"))
    assert [row[:3] for row in table.rows] == [
        (structure, family, model)
        for structure in ("plain", "split")
        for family, model in (("KD", "mlp:16"), ("self-KD", "mlp:8"))
    ]
    best = study.recipe(Arm("plain", "KD")).teacher
    accuracies = [records[Run(best, seed)].summary["test_accuracy"] for seed in (0, 1)]
    assert table.rows[0][-1].value == pytest.approx(np.mean(accuracies))


def test_arms_share_everything_but_the_targets():
    study = TeacherFree()
    plain = study.recipe(Arm("plain", "labels"))
    for arm in study.arms("plain"):
        recipe = study.recipe(arm)
        assert replace(recipe, targets=plain.targets, teacher=None) == plain
    assert study.recipe(Arm("plain", "self-KD")).teacher.model == plain.model
    assert study.recipe(Arm("plain", "KD")).teacher.model != plain.model


def test_the_best_amount_is_that_of_validation():
    study = replace(TeacherFree.smoke(), smoothings=(0.1, 0.2))
    validation = {arm: np.array([arm.amount, arm.amount]) for arm in study.arms("split")}
    chosen = study._chosen("split", validation)
    assert chosen["smoothing"] == Arm("split", "smoothing", 0.2)
    assert chosen["labels"] == Arm("split", "labels")
    even = dict.fromkeys(study.arms("split"), np.zeros(2))
    assert study._chosen("split", even)["smoothing"].amount == 0.1


def test_more_similar_classes_is_a_claim_of_its_own(smoke):
    study, _ = smoke
    both = replace(study, structures=("merged", "split"))
    values = {arm: np.array([0.5, 0.6]) for s in both.structures for arm in both.arms(s)}
    chosen = {s: both._chosen(s, values) for s in both.structures}
    gained = {a: v + (0.1 + np.array([0.0, 0.001])) * (a.structure == "split" and a.family == "own confusion")
              for a, v in values.items()}  # fmt: skip
    (claim,) = both._similarity_claim(chosen, gained)
    assert claim.verdict == "supported"
    assert study._similarity_claim(chosen, gained) == []


def test_hierarchies_reach_the_arms():
    split = load(TeacherFree.smoke().under("split").setup.spec, 0)
    assert TeacherFree.smoke().hierarchy("split") == tuple(int(name[:-1]) for name in split.classes)
    assert TeacherFree().hierarchy("plain") == ()
    given = TeacherFree(groups=(0, 0, 0, 0, 0, 1, 1, 1, 1, 1))
    assert given.hierarchy("plain") == given.groups
    assert "hierarchy" not in {arm.family for arm in given.arms("merged")}


def test_plain_against_grouped_where_nothing_is_split(smoke):
    study = replace(smoke[0], structures=("grouped", "plain"), groups=tuple(range(10)))
    study = replace(study, setup=replace(study.setup, data="split:digits-8x8"))
    values = {a: np.array([0.5, 0.6]) - 0.1 * (a.structure == "plain" and a.family == "own confusion")
              * np.array([1.0, 1.1]) for s in study.structures for a in study.arms(s)}  # fmt: skip
    chosen = {s: study._chosen(s, values) for s in study.structures}
    (claim,) = study._similarity_claim(chosen, values)
    assert claim.verdict == "refuted"
    assert claim.evidence[0].name == "gain of sparing, plain − grouped classes"


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="expected"):
        TeacherFree(amounts=())
