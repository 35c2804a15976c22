"""Which runs are trained together, and when: by recipe and network, teachers first, shared between workers."""

from dataclasses import replace

import pytest

from disobey.data.dataset import DataSpec
from disobey.models.build import ModelSpec
from disobey.targets.schedule import distill, labels, match
from disobey.training.execution.preflight import check
from disobey.training.execution.queue import Grouping, Queue
from disobey.training.facts import NetworkFacts
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec
from disobey.training.stacked.grouping import MAX_SLICES, MIN_SLICES, max_slices, stack_key, stream

DATA = DataSpec("digits-8x8", train=150)
OPTIM = OptimSpec(lr=0.01, steps=40, batch=32)
TEACHER = Recipe(DATA, ModelSpec("mlp", width=12), OPTIM)
STUDENT = Recipe(DATA, ModelSpec("mlp", width=12, depth=1), OPTIM, distill(3.0), TEACHER, replica=1)
SCHEDULES = {"labels": labels(), "smoothed": labels(0.1), "kd": distill(4.0), "mse": match("mse")}


def student(name):
    targets = SCHEDULES[name]
    return replace(STUDENT, targets=targets, teacher=TEACHER if targets.uses_teacher else None)


def key(run):
    """The run's group, after its data and model were checked."""
    return stack_key(run, check([run]).network(run))


@pytest.mark.parametrize(
    ("change", "stacked"),
    [
        ({}, True),
        ({"targets": distill(2.0, loss="reverse_kl")}, True),
        ({"data": replace(DATA, augment="crop")}, True),
        ({"data": replace(DATA, augment="mixup")}, False),
        ({"model": ModelSpec("mlp", width=12, dropout=0.1)}, False),
        ({"model": ModelSpec("mlp", width=1024)}, False),
        ({"model": ModelSpec("cnn", width=2)}, False),
        ({"model": ModelSpec("linear")}, True),
        ({"optim": replace(OPTIM, batch=20)}, False),
        ({"optim": replace(OPTIM, decay="one-cycle")}, True),
        ({"optim": replace(OPTIM, precision="bfloat16")}, False),
    ],
)
def test_who_is_stacked(change, stacked):
    assert (key(Run(replace(STUDENT, **change))) is not None) == stacked


def test_large_networks_make_small_stacks():
    sizes = [max_slices(NetworkFacts(parameters, mlp=True)) for parameters in (1_000, 40_000, 150_000)]
    assert sizes == [MAX_SLICES["cpu"], 16, MIN_SLICES]
    assert max_slices(NetworkFacts(150_000), "cuda") == MAX_SLICES["cuda"]


def queue(runs, have=(), most=4):
    return Queue(runs, have, Grouping(key, stream, lambda run: most))


def test_groups_are_cells_first_shared_between_workers():
    runs = [Run(student(name), seed) for name in ("labels", "smoothed") for seed in (0, 1, 2, 3)]
    waiting = queue(runs)
    taken = [(run.seed, run.recipe.targets) for run in waiting.take(1)]
    assert taken == [(seed, SCHEDULES[name]) for seed in (0, 1) for name in ("labels", "smoothed")]
    assert len(waiting) == 4
    assert [len(waiting.take(2)) for _ in range(4)] == [2, 1, 1, 0]


def test_students_wait_for_their_teachers():
    runs = [Run(TEACHER), Run(student("kd")), Run(student("mse"))]
    waiting = queue(runs)
    assert waiting.take(1) == [Run(TEACHER)]
    assert waiting.take(1) == []
    waiting.finished(Run(TEACHER))
    assert set(waiting.take(1)) == set(runs[1:])
    assert not waiting
    failing = queue(runs)
    failing.take(1)
    assert failing.lost(Run(TEACHER)) == runs[1:]
    assert not failing


def test_a_busy_run_comes_back_later():
    waiting = queue([Run(student("labels"))])
    (run,) = waiting.take(1)
    waiting.again(run, 60.0)
    assert len(waiting) == 1
    assert waiting.take(1) == []
    waiting.again(run, 0.0)
    assert waiting.take(1) == [run]
