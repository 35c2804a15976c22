"""Recipes are identities: stable, readable back, blind to names, sensitive to everything that decides a result."""

from dataclasses import replace

import pytest

from disobey.data.dataset import DataSpec
from disobey.models.spec import ModelSpec
from disobey.targets.schedule import distill, labels, switch
from disobey.training.presets import DEFAULTS, OF_DATA
from disobey.training.recipe import Recipe, Run, closure
from disobey.training.specs import LEARNED, OptimSpec, SequenceSpec, Teaching
from disobey.training.tasks import TASKS
from tests.support.refusals import refuses

TEACHER = Recipe(keep=(100,))
STUDENT = Recipe(targets=distill(4), teacher=TEACHER, teaching=Teaching(step=100), replica=1)
SOME = [
    Recipe(),
    TEACHER,
    STUDENT,
    Recipe(DataSpec("digits-8x8", train=100, noise=0.2, fold=(0, 2)), ModelSpec("mlp", width=8, depth=1)),
    Recipe(targets=switch(labels(0.1), distill(2, weight=0.5), at=0.3, over=0.2), teacher=STUDENT, choose="validation"),
    Recipe(optim=OptimSpec("sgd", 0.05, decay="steps", milestones=(0.5,), clip=1.0, stop=10)),
]


@pytest.mark.parametrize("recipe", SOME)
def test_reads_back(recipe):
    again = Recipe.from_json(recipe.to_json())
    assert again == recipe
    assert again.key() == recipe.key()


def test_keys_differ_where_anything_does():
    assert len({recipe.key() for recipe in SOME}) == len(SOME)
    changes = [{"replica": 1}, {"keep": (5,)}, {"choose": "validation"}, {"model": ModelSpec("mlp")}, {"check": 3}]
    assert len({replace(Recipe(), **change).key() for change in changes} | {Recipe().key()}) == len(changes) + 1


def test_name_and_number_type_are_not_identity():
    assert Recipe(name="a").key() == Recipe(name="b").key()
    assert Recipe(targets=distill(4), teacher=TEACHER).key() == Recipe(targets=distill(4.0), teacher=TEACHER).key()


def test_shipped_keys_are_pinned():
    """A default may never change its meaning: a change here is a new recipe and belongs in the changelog."""
    keys = {kind: Recipe(model=d.teacher, optim=d.optim).key() for kind, d in [*DEFAULTS.items(), *OF_DATA.items()]}
    assert Recipe().key() == "44136fa355b3678a1146"  # of {}
    assert keys == PINNED


PINNED = {
    "image": "91b0ba774e8feb42d276",
    "text": "5aca52a7e5566b5d9c4b",
    "features": "a9ffe348aef8982b4444",
    "modular-addition": "f3796a9576503cec1deb",
}


@pytest.mark.parametrize(
    ("text", "id", "named"),
    [
        ("{", "recipe-not-json", "line 1"),
        ('{"optim": {"name": "rmsprop"}}', "unknown-choice", "recipe.optim.name"),
        ('{"colour": 1}', "unknown-field", "['colour']"),
        ('{"replica": "one"}', "wrong-type", "recipe.replica"),
        ('{"replica": true}', "wrong-type", "recipe.replica"),
        ('{"keep": 3}', "wrong-type", "recipe.keep"),
        ('{"targets": {"phases": [{"terms": [{"source": "teacher"}]}]}}', "no-teacher", ""),
        ('{"teacher": {"optim": []}}', "wrong-type", "recipe.teacher.optim"),
        ("[]", "wrong-type", "recipe"),
    ],
)
def test_bad_recipes_say_what_is_wrong(text, id, named):
    with refuses(id, named):
        Recipe.from_json(text)


def test_teachers_come_first_and_once():
    runs = [Run(STUDENT, 0), Run(replace(STUDENT, replica=2), 0)]
    ordered = closure(runs)
    assert ordered == [Run(TEACHER, 0), *runs]


def test_ensembles_and_folds_name_their_members():
    ensemble = Run(replace(STUDENT, teacher=Recipe(), teaching=Teaching(members=3)), 7).teachers()
    assert [t.recipe.replica for t in ensemble] == [0, 1000, 2000]
    folds = Run(replace(STUDENT, teacher=Recipe(), teaching=Teaching(folds=2)), 7).teachers()
    assert [t.recipe.data.fold for t in folds] == [(0, 2), (1, 2)]
    fixed = Run(replace(STUDENT, teaching=Teaching(step=100, seed=3)), 7).teachers()
    assert [t.seed for t in fixed] == [3]


def test_a_checkpoint_must_be_kept():
    with refuses("step-not-kept", "100", "50"):
        replace(STUDENT, teaching=Teaching(step=50))


@pytest.mark.parametrize(
    ("changes", "id"),
    [
        ({"teacher": Recipe(), "teaching": Teaching(members=2, folds=2)}, "two-kinds-of-teachers"),
        ({"data": DataSpec(augment="mixup"), "teaching": Teaching(views="fixed")}, "fixed-targets-of-mixtures"),
        ({"targets": distill(4)}, "no-teacher"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(changes, id):
    with refuses(id):
        Recipe(**changes)


def test_the_name_of_the_data_decides_the_task():
    assert Recipe().task == "classification"
    assert Recipe(DataSpec("sequence:S3"), sequence=SequenceSpec()).task == "sequences"
    assert set(TASKS) >= {"classification", *LEARNED.values()}
