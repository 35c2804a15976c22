"""Stacked training: a run's numbers are those of training it alone; its bits do not depend on its neighbours."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from disobey.data.augment import Views
from disobey.data.dataset import DataSpec
from disobey.data.tensors import black, inputs_tensor
from disobey.models.spec import ModelSpec
from disobey.records.store import Store
from disobey.targets.arms import ARMS
from disobey.targets.schedule import distill, labels, match, switch
from disobey.targets.teacher_free import mask_confusable
from disobey.training.execution.engine import run_all
from disobey.training.execution.preflight import check
from disobey.training.execution.queue import Grouping, Queue
from disobey.training.loop import Diverged, Fit, fit
from disobey.training.prepare import SharedInputs, prepared
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec, Teaching
from disobey.training.stacked import train as stacked_train
from disobey.training.stacked.grouping import stack_key, stream
from disobey.training.stacked.loop import fit_stack
from disobey.training.stacked.train import train_stack
from disobey.training.tasks import classification
from disobey.training.tasks.classification import fit_sequentially
from disobey.training.train import train
from tests.support.rounding import UNITS, Trace, departure_of

DATA = DataSpec("digits-8x8", train=150)
OPTIM = OptimSpec(lr=0.01, steps=40, batch=32)
TEACHER = Recipe(DATA, ModelSpec("mlp", width=12), OPTIM, keep=(20,))
STUDENT = Recipe(DATA, ModelSpec("mlp", width=12, depth=1), OPTIM, distill(3.0), TEACHER, replica=1)
SPLITS = ("train", "validation", "test")

TARGETS = {
    "labels": labels(),
    "smoothed": labels(0.1),
    "tempered labels": ARMS["A17"].schedule(3.0),
    "kd": distill(4.0),
    "kd and labels": distill(4.0, weight=0.9),
    "hot": distill(50.0, weight=0.7),
    "hard": distill(1.0, loss="cross_entropy"),
    "mse": match("mse"),
    "centred": match("mse_centred", weight=0.5),
    "weighted": ARMS["A8"].schedule(),
    "permuted": ARMS["A9a"].schedule(3.0),
    "one class left out": ARMS["A13"].schedule(),
    "switch": switch(distill(4.0), labels(0.1), at=0.33),
    "alone": distill(4.0, loss="js"),
    "moving": distill(8.0, temperature_to=1.0),
    "spare": mask_confusable("student", amount=0.7, after=0.25),
}


def student(name, **changes):
    targets = TARGETS[name]
    return replace(STUDENT, targets=targets, teacher=TEACHER if targets.uses_teacher else None, **changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    run_all([Run(student("kd"), seed) for seed in (0, 1)], store, workers=0)
    return store


def slices_of(store, runs, dtype=torch.float32):
    """The slices that `train` would make; for float64, every number of them."""
    shared = SharedInputs(store, torch.device("cpu"))
    slices = [prepared(run, shared) for run in runs]
    if dtype == torch.float64:
        doubled = SharedInputs(store, torch.device("cpu"))  # what slices share they share in float64 too
        for one in slices:
            one.model.double()
            table = one.objective.table
            one.inputs = doubled.get(one.inputs, partial(in_float64, one))
            if table is not None:
                one.objective.table = doubled.get(table, partial(replace, table, logits=table.logits.double()))
            one.objective.own = partial(torch.no_grad()(one.model), inputs_tensor(one.dataset, "train").double())
    return slices


def in_float64(one):
    """The views of a slice's inputs."""
    fill = black(one.dataset).double() if one.dataset.kind == "image" else None
    return Views(one.run.recipe.data.augment, inputs_tensor(one.dataset, "train").double(), fill)


def validation(one, dtype=torch.float32):
    inputs, labels = SharedInputs(Store(Path("unused")), torch.device("cpu")).validation(one.run)
    return inputs.to(dtype), labels


def alone(one, dtype=torch.float32):
    """The sequential loop."""
    return fit_sequentially(one, validation(one, dtype))


@pytest.mark.parametrize(
    "optim",
    [
        replace(OPTIM, weight_decay=1e-3),
        replace(OPTIM, name="adamw", weight_decay=0.1, decay="steps", clip=0.5),
        replace(OPTIM, name="sgd", lr=0.1, weight_decay=1e-3, warmup=5),
        replace(OPTIM, name="sgd", lr=0.1, nesterov=True, clip=0.3, stop=30),
    ],
    ids=["adam", "adamw-clip", "sgd", "nesterov-clip"],
)
def test_float64_equals_the_sequential_loop(store, optim):
    """Every objective, mixed sizes and seeds, choice by validation, kept checkpoints: to 1e-10 after 40 steps."""
    runs = [Run(student(name, optim=optim, keep=(0, 7, 40)), seed) for name in TARGETS for seed in (0, 1)]
    small = replace(DATA, train=30)
    runs += [
        Run(student("labels", optim=optim, data=small, choose="validation", check=3)),
        Run(student("labels", optim=optim, data=replace(DATA, noise=0.3))),
    ]
    assert_float64_equals(store, runs)


def assert_float64_equals(store, runs):
    """One stack of these runs and the sequential loop, both in float64."""
    slices, others = slices_of(store, runs, torch.float64), slices_of(store, runs, torch.float64)
    stacked = fit_stack(slices, validation=validation(slices[0], torch.float64))
    for one, other, ours in zip(slices, others, stacked, strict=True):
        slow = alone(other, torch.float64)
        assert isinstance(ours, type(slow))
        torch.testing.assert_close(ours.losses, slow.losses, rtol=1e-6, atol=1e-8)  # written in float32
        assert ours.kept.keys() == slow.kept.keys()
        for state, reference in [
            (one.model.state_dict(), other.model.state_dict()),
            *((ours.kept[s], slow.kept[s]) for s in ours.kept),
        ]:
            for name, value in reference.items():
                torch.testing.assert_close(state[name], value, rtol=0, atol=1e-10)
        assert (ours.chosen, ours.checks) == (slow.chosen, slow.checks)


@pytest.mark.parametrize("name", TARGETS)
def test_float32_is_the_sequential_loop_step_by_step_to_rounding(tmp_path, name):
    store, runs = Store(tmp_path), [Run(student(name), seed) for seed in (0, 1, 2)]
    run_all([teacher for run in runs for teacher in run.teachers()], store, workers=0)
    assert_float32_agrees(store, runs)


def assert_float32_agrees(store, runs):
    """Every step of the runs' stacks, as `train_stack` trains and records them, and of the sequential loop."""
    traces = {run: Trace() for run in runs}
    records = train_stack(runs, store, observers=lambda run: [traces[run]])
    for run, record in zip(runs, records, strict=True):
        recorded, last = load_file(record.weights()), traces[run].weights[-1]
        assert all(torch.equal(recorded[name], value) for name, value in last.items())
        (other,), sequential = slices_of(store, [run]), Trace()
        fit(other.model, run, other.batches, other.objective.backward, observers=[sequential])
        for trace in (traces[run], sequential):
            assert departure_of(*slices_of(store, [run], torch.float64), trace) < UNITS


def cell(seeds=(0, 1)):
    """Arms, sizes and seeds that go into one stack; widths and classes that fill no cache line."""
    return [
        Run(student(name, model=ModelSpec("mlp", width=13, depth=2), data=replace(DATA, train=train)), seed)
        for seed in seeds
        for train in (40, 150)
        for name in ("labels", "kd and labels", "centred", "permuted")
    ]


def contents(record):
    """Everything a record holds but its cost."""
    weights = {path.name: path.read_bytes() for path in (record.path / "weights").iterdir()}
    answers = {path.name: path.read_bytes() for path in (record.path / "predictions").iterdir()}
    return weights, answers, (record.path / "history.safetensors").read_bytes(), dict(record.summary)


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory):
    """Every run of the cell trained alone."""
    store = Store(tmp_path_factory.mktemp("alone"))
    return {run: contents(train(run, store)) for run in _in_order(cell(), store)}


def _in_order(runs, store):
    for run in runs:
        for teacher in run.teachers():
            train(teacher, store)
        yield run


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_bits_do_not_depend_on_workers_and_groups(tmp_path, one_by_one, workers):
    """Alone, in the stacks of any number of workers, in another order, with others missing: the same bytes."""
    outcome = run_all(cell()[::-1], Store(tmp_path), workers=workers)
    assert not outcome.failed
    for run in cell():
        assert contents(outcome.records[run]) == one_by_one[run], run.recipe.targets
    stacked = {outcome.records[run].cost.get("stacked", 1) for run in cell()}
    assert max(stacked) >= 3


def test_bits_after_a_resume(tmp_path, one_by_one):
    """Some runs are there already: the rest goes into other groups."""
    run_all(cell()[1::3], Store(tmp_path), workers=0)
    records = run_all(cell(), Store(tmp_path), workers=0)
    assert records.reused
    assert all(contents(records.records[run]) == one_by_one[run] for run in cell())


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "nesterov"])
def test_a_slices_bits_are_free_of_number_and_place(store, name):
    optim = replace(OPTIM, name=name.replace("nesterov", "sgd"), nesterov=name == "nesterov", weight_decay=1e-3)
    optim = replace(optim, steps=150, clip=1.0)
    runs = [
        Run(student(k, optim=optim, model=ModelSpec("mlp", width=17, depth=1)), seed)
        for k in ("labels", "kd", "mse")
        for seed in (0, 1, 2)
    ]
    run_all([Run(TEACHER, 2)], store, workers=0)
    whole = slices_of(store, runs)
    fits = fit_stack(whole)
    for places in ([0], [8], [5, 2, 7], [1, 3, 0, 8, 6]):
        part = slices_of(store, [runs[k] for k in places])
        for place, one, ours in zip(places, part, fit_stack(part), strict=True):
            reference = fits[place]
            assert isinstance(ours, Fit)
            assert isinstance(reference, Fit)
            assert torch.equal(ours.losses, reference.losses)
            for key, value in one.model.state_dict().items():
                assert torch.equal(value, whole[place].model.state_dict()[key])


def test_other_networks_through_functional_stacks(store):
    """What a GPU does with networks that are no MLPs, on the CPU in float64: as the sequential loop."""
    optim = replace(OPTIM, clip=0.5)
    model = ModelSpec("deep-linear", width=8)
    runs = [
        Run(student(name, model=model, optim=optim, keep=(7,), choose="validation", check=10), seed)
        for name in ("labels", "kd", "alone")
        for seed in (0, 1)
    ]
    slices, others = slices_of(store, runs, torch.float64), slices_of(store, runs, torch.float64)
    stacked = fit_stack(slices, validation=validation(slices[0], torch.float64))
    for one, other, ours in zip(slices, others, stacked, strict=True):
        slow = alone(other, torch.float64)
        assert isinstance(ours, Fit)
        assert (ours.chosen, ours.checks) == (slow.chosen, slow.checks)
        for state, reference in ((one.model.state_dict(), other.model.state_dict()), (ours.kept[7], slow.kept[7])):
            for name, value in reference.items():
                torch.testing.assert_close(state[name], value, rtol=0, atol=1e-10)


def test_one_diverged_slice_is_one_failed_run(tmp_path):
    """A weight beyond float32 blows one student up; its neighbours in the stack do not notice."""
    wild = replace(student("mse"), targets=match("mse", weight=1e39))
    runs = [Run(student("labels")), Run(wild), Run(student("kd"))]
    store = Store(tmp_path)
    outcome = run_all(runs, store, workers=0)
    assert set(outcome.failed) == {Run(wild)}
    assert outcome.failed[Run(wild)].id == "diverged"
    slices = slices_of(store, runs)
    assert [isinstance(one, Diverged) for one in fit_stack(slices)] == [False, True, False]
    quiet = run_all([runs[0], runs[2]], Store(tmp_path / "quiet"), workers=0)
    for run in (runs[0], runs[2]):
        assert contents(quiet.records[run]) == contents(outcome.records[run])


def test_what_breaks_one_run_is_that_runs(tmp_path, monkeypatch):
    """A failure while a run is prepared or written leaves the others of its stack alone."""
    store, runs = Store(tmp_path), [Run(student("labels"), seed) for seed in range(3)]
    write, prepare = stacked_train.write, stacked_train.prepared

    def full(folder, trained):
        if trained.run.seed == 1:
            raise OSError("no space left")
        write(folder, trained)

    def broken(run, *args):
        if run.seed == 2:
            raise RuntimeError("no luck today")
        return prepare(run, *args)

    with monkeypatch.context() as patch:
        patch.setattr(stacked_train, "write", full)
        patch.setattr(stacked_train, "prepared", broken)
        outcome = run_all(runs, store, workers=0)
    assert set(outcome.records) == {runs[0]}
    assert "no space left" in outcome.failed[runs[1]].message
    assert "no luck today" in outcome.failed[runs[2]].trace
    assert not run_all(runs, store, workers=0).failed
    assert not list((tmp_path / "tmp").iterdir())


def test_what_breaks_a_stack_fails_the_guilty_run_only(tmp_path, monkeypatch):
    """A stack that raised is trained member by member, so the error is that of the run which raises it alone."""
    store = Store(tmp_path)
    other = replace(student("labels"), model=ModelSpec("mlp", width=8))
    runs = [Run(student("labels"), seed) for seed in range(3)]

    def broken(slices, **kwargs):
        if runs[1] in [one.run for one in slices]:
            raise RuntimeError("the stack fell over")
        return fit_stack(slices, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(stacked_train, "fit_stack", broken)
        patch.setattr(classification, "fit_stack", broken)
        outcome = run_all([*runs, Run(other)], store, workers=0)
    assert set(outcome.failed) == {runs[1]}
    assert "the stack fell over" in outcome.failed[runs[1]].trace
    assert set(outcome.records) == {runs[0], runs[2], Run(other)}


def test_a_busy_run_is_left_out_of_its_stack(tmp_path):
    from disobey.records.store import Busy

    store, runs = Store(tmp_path), [Run(student("labels"), seed) for seed in range(3)]
    store.prepare()
    with store.lock(runs[1].id):
        found = train_stack(runs, store)
    assert [isinstance(one, Busy) for one in found] == [False, True, False]
    assert len(train_stack(runs, store)) == 3


def test_records_look_like_any_other(store):
    runs = [Run(student("kd", keep=(0, 10)), seed) for seed in (0, 1)]
    records = run_all(runs, store, workers=0).records
    for run in runs:
        record = records[run]
        assert record.cost["stacked"] == 2
        assert record.cost["examples"] == 40 * 32
        assert {f"{split}@{step}" for split in SPLITS for step in (0, 10)} < {
            p.stem for p in (record.path / "predictions").iterdir()
        }
        assert np.exp(record.log_probs("test", 10)).sum(1) == pytest.approx(1.0, abs=1e-5)


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
    ],
)
def test_who_is_stacked(change, stacked):
    assert (key(Run(replace(STUDENT, **change))) is not None) == stacked


def key(run):
    """The run's group, after its data and model were checked."""
    return stack_key(run, check([run]).network(run))


def test_augmented_views_and_their_tables(tmp_path):
    """Crops with a table of all views and a replayed one in one stack: as the sequential loop."""
    store, optim = Store(tmp_path), replace(OPTIM, stop=30)
    runs = [
        Run(student(name, data=replace(DATA, augment="crop", train=train), optim=optim), seed)
        for name in ("kd", "labels")
        for train in (15, 20)
        for seed in (0, 1)
    ]
    run_all([teacher for run in runs for teacher in run.teachers()], store, workers=0)
    assert len({key(run) for run in runs}) == 1
    assert [one.objective.table.form for one in slices_of(store, runs[:4])] == ["views", "views", "replay", "replay"]
    assert_float64_equals(store, runs)
    assert_float32_agrees(store, runs)


def queue(runs, have=(), most=4):
    return Queue(runs, have, Grouping(key, stream, lambda run: most))


def test_groups_are_cells_first_shared_between_workers():
    runs = [Run(student(name), seed) for name in ("labels", "smoothed") for seed in (0, 1, 2, 3)]
    waiting = queue(runs)
    assert [(r.seed, r.recipe.targets) for r in waiting.take(1)] == [
        (s, TARGETS[n]) for s in (0, 1) for n in ("labels", "smoothed")
    ]
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


def test_ensembles_and_cross_fitting_share_a_stack(store):
    runs = [Run(student("kd", teaching=t)) for t in (Teaching(members=2), Teaching(folds=2), Teaching(step=20))]
    outcome = run_all(runs, store, workers=0)
    assert not outcome.failed
    assert all(outcome.records[run].cost["stacked"] == 3 for run in runs)
