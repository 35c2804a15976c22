"""Label terms that spare confusable classes, inside training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from disobey.data.dataset import DataSpec
from disobey.data.load import load
from disobey.data.tensors import inputs_tensor
from disobey.models.spec import ModelSpec
from disobey.records.store import Store
from disobey.targets.schedule import labels
from disobey.targets.teacher_free import class_confusion, mask_confusable, masked_cross_entropy, relative_strength
from disobey.training.batches import order_of
from disobey.training.execution.engine import run_all
from disobey.training.recipe import Recipe, Run
from disobey.training.restore import built
from disobey.training.specs import OptimSpec
from disobey.training.train import train
from tests.support.refusals import refuses
from tests.support.rounding import UNITS, Trace, departure

BASE = Recipe(
    DataSpec("digits-8x8", train=200, noise=0.1), ModelSpec("mlp", width=16), OptimSpec(lr=0.01, steps=20, batch=32)
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


def departure_from_slow_training(run, store, begin, amount):
    """Of the run's training, step by step; the student's own confusion, measured after ``begin`` steps, by autograd."""
    trace = Trace()
    train(run, store, observers=[trace])
    dataset = load(run.recipe.data, run.seed)
    model, x = built(run.recipe, dataset, run.seed).double(), inputs_tensor(dataset, "train").double()
    y, order = torch.from_numpy(dataset.train.observed), order_of(run, len(x))
    strength = []

    def backward(step):
        if step == begin:
            with torch.no_grad():
                strength.append(relative_strength(class_confusion(model(x), y)))
        z, told = model(x[order.rows[step]]), y[order.rows[step]]
        spared = [masked_cross_entropy(z, told, measured, amount).mean() for measured in strength]
        (spared[0] if spared else F.cross_entropy(z, told)).backward()

    assert len(trace.weights) == len(order)
    return departure(model, run.recipe.optim, backward, trace.weights)


def test_own_confusion_equals_the_slow_twin(store):
    run = Run(replace(BASE, targets=mask_confusable("student", amount=0.7, after=0.25)))
    assert departure_from_slow_training(run, store, begin=5, amount=0.7) < UNITS


@pytest.mark.parametrize(
    "targets",
    [labels(), mask_confusable("groups", groups=range(10)), mask_confusable("student", amount=0.0)],
    ids=["labels", "groups of one", "amount of zero"],
)
def test_sparing_nothing_is_label_training(tmp_path, targets):
    run = Run(replace(BASE, targets=targets))
    assert departure_from_slow_training(run, Store(tmp_path), begin=None, amount=0.0) < UNITS


def test_a_teachers_confusion_needs_the_teacher_and_changes_the_student(store):
    recipe = replace(BASE, targets=mask_confusable("teacher"), teacher=BASE, replica=1)
    twin = replace(recipe, targets=labels(), teacher=None)
    records = run_all([Run(recipe), Run(twin)], store, workers=0).records
    assert not np.allclose(records[Run(recipe)].log_probs("test"), records[Run(twin)].log_probs("test"))
    with refuses("no-teacher"):
        replace(BASE, targets=mask_confusable("teacher"))


def test_groups_of_another_number_of_classes_are_refused(store):
    run = Run(replace(BASE, targets=mask_confusable("groups", groups=(0, 0, 1))))
    failure = run_all([run], store, workers=0).failed[run]
    assert failure.id == "group-of-each-class"
    assert "10" in failure.message


def test_keys_of_other_terms_stay():
    assert Recipe().key() == "44136fa355b3678a1146"
    recipe = replace(BASE, targets=mask_confusable("groups", groups=(0,) * 10))
    assert Recipe.from_json(recipe.to_json()) == recipe
