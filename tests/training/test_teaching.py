"""Ways a teacher becomes targets: fixed views, a head drawn anew, class means over all of its examples."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from disobey.data.dataset import DataSpec
from disobey.data.load import load
from disobey.models.spec import ModelSpec
from disobey.records.store import Store
from disobey.targets.arms import ARMS
from disobey.targets.schedule import distill
from disobey.training.execution.engine import run_all
from disobey.training.prepare import pool_of
from disobey.training.recipe import Recipe, Run
from disobey.training.restore import redraw_head, trained
from disobey.training.specs import OptimSpec, Teaching
from disobey.training.teacher_table import form_of
from tests.support.refusals import refuses

OPTIM = OptimSpec(lr=0.01, steps=12, batch=16)
TEACHER = Recipe(DataSpec("digits-8x8", train=120), ModelSpec("mlp", width=16), OPTIM)
STUDENT = Recipe(
    DataSpec("digits-8x8", train=40, augment="crop"), ModelSpec("mlp", width=8), OPTIM, distill(4.0), TEACHER, replica=1
)
FIXED = replace(STUDENT, teaching=Teaching(views="fixed"))
HEADLESS = replace(STUDENT, data=replace(STUDENT.data, augment="none"), teaching=Teaching(head="random"))
MEANS = replace(HEADLESS, targets=ARMS["A10b"].schedule(4.0), teaching=Teaching())

FIXED_CONTROL = replace(FIXED, targets=ARMS["A11"].schedule(4.0))


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    runs = [Run(recipe) for recipe in (STUDENT, FIXED, HEADLESS, MEANS, FIXED_CONTROL)]
    outcome = run_all(runs, Store(tmp_path_factory.mktemp("store")), workers=0)
    assert not outcome.failed
    return outcome.records


def test_fixed_targets_are_those_of_the_plain_examples():
    assert form_of(Run(STUDENT), 40, 81, 10) == "replay"
    assert form_of(Run(FIXED), 40, 81, 10) == "plain"
    with refuses("fixed-targets-of-mixtures"):
        replace(FIXED, data=replace(FIXED.data, augment="mixup"))


def test_every_way_is_another_run_with_another_result(records):
    answers = [records[Run(recipe)].log_probs("test") for recipe in (STUDENT, FIXED, HEADLESS, MEANS, FIXED_CONTROL)]
    assert len({a.tobytes() for a in map(np.asarray, answers)}) == 5


def test_a_head_drawn_anew_keeps_the_features(records):
    run, dataset = Run(TEACHER), load(TEACHER.data, 0)
    old, new = (trained(run, records[run], dataset) for _ in range(2))
    redraw_head(new, run)
    assert not torch.equal(old.head.weight, new.head.weight)
    torch.testing.assert_close(old.hidden.state_dict(), new.hidden.state_dict())
    again = trained(run, records[run], dataset)
    redraw_head(again, run)
    torch.testing.assert_close(again.state_dict(), new.state_dict())
    with refuses("no-linear-layer"):
        redraw_head(torch.nn.ReLU(), run)


def test_class_means_are_taken_from_all_that_the_teacher_saw(records):
    record = records[Run(TEACHER)]
    answers, labels = pool_of([record])
    assert answers.shape == (120, 10)
    assert torch.equal(labels, torch.from_numpy(load(TEACHER.data, 0).train.observed))
    with refuses("one-teacher", "2"):
        pool_of([record, record])
