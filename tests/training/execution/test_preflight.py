"""What is checked before training is checked once, and its facts reach grouping."""

import warnings
from collections import Counter
from dataclasses import replace

import pytest
import torch

from disobey.data.dataset import DataSpec
from disobey.models.build import ModelSpec
from disobey.records.store import Store
from disobey.targets.schedule import distill
from disobey.training import prepare, restore
from disobey.training.execution.engine import run_all
from disobey.training.execution.preflight import check
from disobey.training.execution.workers import Inline, Local
from disobey.training.facts import NetworkFacts
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec, SequenceSpec
from disobey.training.tasks import classification
from tests.support.refusals import refuses

DATA = DataSpec("digits-8x8", train=100)
TEACHER = Recipe(DATA, ModelSpec("mlp", width=8), OptimSpec(steps=5, batch=16))
STUDENT = replace(TEACHER, targets=distill(2.0), teacher=TEACHER, replica=1)


@pytest.fixture
def entered(monkeypatch):
    """How often data is loaded and a network is built, by who asks."""
    calls = Counter()

    def counted(module, name):
        function = getattr(module, name)

        def counting(*args, **kwargs):
            calls[f"{module.__name__.rpartition('.')[2]}.{name}"] += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(module, name, counting)

    counted(classification, "load")
    counted(prepare, "load")
    counted(restore, "build")
    return calls


def test_data_is_loaded_and_networks_are_built_once_for_all_runs(entered):
    sizes = [replace(DATA, train=n) for n in (50, 100)]
    models = [ModelSpec("mlp", width=8), ModelSpec("deep-linear", width=8)]
    runs = [Run(Recipe(data, model), seed) for data in sizes for model in models for seed in range(3)]
    facts = check(runs)
    assert entered == {"classification.load": 2, "restore.build": 2}
    assert facts.network(runs[0]) == NetworkFacts(64 * 8 + 8 + 8 * 8 + 8 + 8 * 10 + 10, mlp=True)
    assert facts.network(runs[3]).parameters > 0
    assert not facts.network(runs[3]).mlp


def test_a_recipe_enters_the_data_once_to_check_and_once_to_train(entered, tmp_path):
    run_all([Run(TEACHER)], Store(tmp_path), workers=0)
    assert entered == {"classification.load": 1, "prepare.load": 1, "restore.build": 2}
    entered.clear()
    run_all([Run(STUDENT, seed) for seed in (0, 1)], Store(tmp_path), workers=0)
    # preflight; teacher 1; a stack of two students on their two seeds' data
    assert entered == {"classification.load": 1, "prepare.load": 3, "restore.build": 1 + 1 + 2 + 2}


def test_other_tasks_and_networks_that_are_not_built_are_not_stacked(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("raise RuntimeError('imported')\n")
    spec = SequenceSpec(inner=8, rank=1, longest=4, lengths=(4,), count=8, powers=0)
    runs = [
        Run(Recipe(DATA, ModelSpec(f"{path}:make"))),
        Run(Recipe(DataSpec("sequence:S3"), ModelSpec("lstm", width=8), sequence=spec)),
    ]
    facts = check(runs)
    assert [facts.network(run) for run in runs] == [NetworkFacts(), NetworkFacts()]


def test_pools_put_back_what_they_change_in_this_process():
    before, threads = list(warnings.filters), torch.get_num_threads()
    for pool in (Local(1), Inline()):
        pool.close()
        assert list(warnings.filters) == before
        assert torch.get_num_threads() == threads


@pytest.mark.parametrize("change", [{"steps": -1}, {"batch": 0}, {"lr": -0.1}, {"momentum": 2.0}])
def test_numbers_are_in_the_ranges_that_files_are_held_to(change):
    """`--steps -1` planned a negative number of training steps."""
    ((name, value),) = change.items()
    recipe = replace(TEACHER, optim=replace(TEACHER.optim, **change))
    with refuses("out-of-range", f"optim.{name}", str(value)):
        check([Run(recipe, 0)])
