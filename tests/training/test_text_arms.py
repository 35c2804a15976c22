"""Text beside images: every arm of the table trains on words, and the arms differ where their targets do."""

from dataclasses import replace

import numpy as np
import pytest

from disobey.data.dataset import DataSpec
from disobey.models.spec import ModelSpec
from disobey.records.store import Store
from disobey.targets.arms import ARMS
from disobey.training.execution.engine import run_all
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec, Teaching

TEXT = DataSpec("languages", train=360)
OPTIM = OptimSpec(lr=3e-2, steps=12, batch=32)
TEACHER = Recipe(TEXT, ModelSpec("text-bag", width=8), OPTIM)


def student(name: str) -> Recipe:
    arm = ARMS[name]
    teacher = TEACHER if name != "A18a" else replace(TEACHER, optim=replace(OPTIM, stop=0))
    if arm.source == "labels":
        return Recipe(replace(TEXT, train=90), TEACHER.model, OPTIM, arm.schedule(4.0), replica=1)
    teaching = Teaching(head="random" if name == "A18b" else "trained")
    return Recipe(replace(TEXT, train=90), TEACHER.model, OPTIM, arm.schedule(4.0), teacher, teaching, replica=1)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    runs = [Run(student(name)) for name in ARMS]
    return run_all(runs, Store(tmp_path_factory.mktemp("store")), workers=0)


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_trains_on_words(outcome, name):
    run = Run(student(name))
    assert run not in outcome.failed, outcome.failed[run].trace
    record = outcome.records[run]
    assert np.isfinite(record.log_probs("test")).all()
    assert np.isfinite(record.history["loss"]).all()
    assert record.log_probs("test").shape == (3600, 9)


def test_arms_are_paired_and_differ(outcome):
    """One subset for all; other targets, other students: no arm is another one under a new name."""
    records = {name: outcome.records[Run(student(name))] for name in ARMS}
    given = [record.examples["train.ids"] for record in records.values()]
    assert all(np.array_equal(ids, given[0]) for ids in given)
    answers = np.stack([record.log_probs("test").astype(np.float64).ravel() for record in records.values()])
    names = list(records)
    for i, name in enumerate(names):
        same = [names[j] for j in range(i) if np.allclose(answers[i], answers[j], atol=1e-5)]
        assert not same, f"{name} answers as {same}"
