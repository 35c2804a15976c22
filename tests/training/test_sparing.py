"""Label terms that spare confusable classes, inside training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from disobey.data.dataset import DataSpec
from disobey.data.load import load
from disobey.data.tensors import inputs_tensor
from disobey.models.build import ModelSpec
from disobey.records.store import Store
from disobey.targets.schedule import labels
from disobey.targets.teacher_free import class_confusion, relative_strength, spare, spared_cross_entropy
from disobey.training.batches import order_of
from disobey.training.execution.engine import run_all
from disobey.training.optim import learning_rates
from disobey.training.recipe import Recipe, Run
from disobey.training.restore import built
from disobey.training.specs import OptimSpec
from tests.support.refusals import refuses

BASE = Recipe(
    DataSpec("digits-8x8", train=200, noise=0.1), ModelSpec("mlp", width=16), OptimSpec(lr=0.01, steps=20, batch=32)
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


def slow_training(run, begin):
    """The student's own confusion, measured after ``begin`` steps, with plain autograd."""
    dataset = load(run.recipe.data, run.seed)
    model, x = built(run.recipe, dataset, run.seed), inputs_tensor(dataset, "train")
    y, order = torch.from_numpy(dataset.train.given), order_of(run, len(x))
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0)
    strength = None
    for step, rate in enumerate(learning_rates(run.recipe.optim)):
        if step == begin:
            with torch.no_grad():
                strength = relative_strength(class_confusion(model(x), y))
        z, told = model(x[order.rows[step]]), y[order.rows[step]]
        loss = F.cross_entropy(z, told) if strength is None else spared_cross_entropy(z, told, strength, 0.7).mean()
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.state_dict()


def test_own_confusion_equals_the_slow_twin(store):
    run = Run(replace(BASE, targets=spare("student", amount=0.7, after=0.25)))
    ours = load_file(run_all([run], store, workers=0).records[run].weights())
    for name, value in slow_training(run, begin=5).items():
        torch.testing.assert_close(ours[name], value, rtol=2e-4, atol=2e-5)


def test_sparing_nothing_is_label_training(store):
    runs = [
        Run(replace(BASE, targets=t))
        for t in (labels(), spare("groups", groups=range(10)), spare("student", amount=0.0))
    ]
    records = run_all(runs, store, workers=0).records
    plain, *others = (records[run].log_probs("test") for run in runs)
    for other in others:
        np.testing.assert_allclose(other, plain, atol=1e-5)


def test_a_teachers_confusion_needs_the_teacher_and_changes_the_student(store):
    recipe = replace(BASE, targets=spare("teacher"), teacher=BASE, replica=1)
    twin = replace(recipe, targets=labels(), teacher=None)
    records = run_all([Run(recipe), Run(twin)], store, workers=0).records
    assert not np.allclose(records[Run(recipe)].log_probs("test"), records[Run(twin)].log_probs("test"))
    with refuses("no-teacher"):
        replace(BASE, targets=spare("teacher"))


def test_groups_of_another_number_of_classes_are_refused(store):
    run = Run(replace(BASE, targets=spare("groups", groups=(0, 0, 1))))
    assert "the group of each of 10 classes" in run_all([run], store, workers=0).failed[run].message


def test_keys_of_other_terms_stay():
    assert Recipe().key() == "44136fa355b3678a1146"
    recipe = replace(BASE, targets=spare("groups", groups=(0,) * 10))
    assert Recipe.from_json(recipe.to_json()) == recipe
