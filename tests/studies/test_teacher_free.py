"""The study teacher-free: whole in smoke, equal arms, tuning on validation only."""

from dataclasses import replace

import numpy as np
import pytest

from disobey.data.load import load
from disobey.records.results import Table
from disobey.studies.kit.design import Design
from disobey.studies.kit.evidence import Evidence
from disobey.studies.teacher_free.study import TeacherFree
from disobey.training.recipe import Run
from tests.support.refusals import refuses


@pytest.fixture(scope="module")
def smoke(ran):
    return ran(TeacherFree.smoke())


class Summary:
    """A record of nothing but accuracies."""

    def __init__(self, validation, test):
        self.summary = {"validation_accuracy": validation, "test_accuracy": test}


def evidence(study, accuracy):
    """Evidence in which ``accuracy(arm, seed)`` gives validation and test accuracy of every arm."""
    from disobey.studies.kit.evidence import run_summary

    design = study.design()
    records = {Run(recipe, seed): Summary(0.5, 0.5) for recipe in design.recipes() for seed in design.seeds}
    records |= {Run(arm.recipe, seed): Summary(*accuracy(arm, seed)) for arm in design.arms for seed in design.seeds}
    return design, Evidence.read(design, records, run_summary, splits=("validation", "test"))


def tuned(study, design, e):
    return {structure: study.tuned(structure, design, e) for structure in study.structures}


def test_smoke_says_everything_and_the_same_again(smoke, says):
    says(*smoke, {"F0", "F1", "F2", "F3", "F4", "F5"})


def test_what_is_not_judged_is_said(smoke):
    study, records = smoke
    methods = study.analyze(records).blocks[-1]
    assert "F6 (needs --structures" in methods.body


def test_teachers_are_reported(smoke):
    study, records = smoke
    (table,) = (t for t in study.analyze(records).of(Table) if t.title.startswith("Teachers"))
    assert [row[:3] for row in table.rows] == [
        (structure, family, model)
        for structure in ("plain", "split")
        for family, model in (("KD", "mlp:16"), ("self-KD", "mlp:8"))
    ]
    best = study.design().one(structure="plain", signal="KD").recipe.teacher
    accuracies = [records[Run(best, seed)].summary["test_accuracy"] for seed in (0, 1)]
    assert table.rows[0][-1].value == pytest.approx(np.mean(accuracies))


def test_arms_share_everything_but_the_targets():
    study = TeacherFree()
    design = study.design()
    plain = design.one(structure="plain", signal="labels")
    for arm in design.where(structure="plain"):
        assert replace(arm.recipe, targets=plain.recipe.targets, teacher=None) == plain.recipe == arm.control
    assert design.one(structure="plain", signal="self-KD").recipe.teacher.model == plain.recipe.model
    assert design.one(structure="plain", signal="KD").recipe.teacher.model != plain.recipe.model


def test_the_best_amount_is_that_of_validation():
    study = replace(TeacherFree.smoke(), smoothings=(0.1, 0.2))
    best = tuned(study, *evidence(study, lambda arm, seed: (arm["amount"], -arm["amount"])))["split"].best
    assert best["smoothing"]["amount"] == 0.2
    assert best["labels"]["signal"] == "labels"
    even = tuned(study, *evidence(study, lambda arm, seed: (0.5, 0.5)))["split"].best
    assert even["smoothing"]["amount"] == 0.1


def similarity(study, accuracy):
    design, e = evidence(study, accuracy)
    return study.similarity(tuned(study, design, e), e)


def test_more_similar_classes_is_a_claim_of_its_own():
    def accuracy(arm, seed):
        gained = arm["structure"] == "split" and arm["signal"] == "own confusion"
        return 0.5, 0.5 + 0.1 * seed + (0.1 + 0.001 * seed) * gained

    study = TeacherFree.smoke()
    study = replace(study, setup=replace(study.setup, seeds=(0, 1, 2)))
    (claim,) = similarity(replace(study, structures=("merged", "split")), accuracy).claims
    assert claim.verdict == "supported"
    assert similarity(study, accuracy).claims == ()
    assert similarity(study, accuracy).skipped[0][0] == "F6"


def test_plain_against_grouped_where_nothing_is_split():
    def accuracy(arm, seed):
        lost = arm["structure"] == "plain" and arm["signal"] == "own confusion"
        return 0.5, 0.5 + 0.1 * seed - (0.1 + 0.01 * seed) * lost

    study = replace(TeacherFree.smoke(), structures=("grouped", "plain"), groups=tuple(range(10)))
    study = replace(study, setup=replace(study.setup, data="split:digits-8x8", seeds=(0, 1, 2)))
    (claim,) = similarity(study, accuracy).claims
    assert claim.verdict == "contradicted"
    assert claim.evidence[0].name == "gain of masking, plain − grouped classes"


def test_hierarchies_reach_the_arms():
    study = TeacherFree.smoke()
    split = load(study.recipes("split").setup.spec, 0)
    assert study.hierarchy("split") == tuple(int(name[:-1]) for name in split.classes)
    assert TeacherFree().hierarchy("plain") == ()
    given = TeacherFree(groups=(0, 0, 0, 0, 0, 1, 1, 1, 1, 1))
    assert given.hierarchy("plain") == given.groups
    assert not Design(tuple(given.arms("merged")), (0,)).where(signal="hierarchy")


def test_bad_options_are_refused():
    with refuses("nothing-to-compare"):
        TeacherFree(amounts=())
