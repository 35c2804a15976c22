"""Imitation: starts, inputs, targets and readings are what they say; refusals come before any training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from disobey.data.dataset import DataSpec
from disobey.data.load import load
from disobey.measures.paths import distance
from disobey.models.near import near
from disobey.models.spec import ModelSpec
from disobey.records.store import Store
from disobey.training.context import Context
from disobey.training.execution.engine import run_all
from disobey.training.facts import Facts
from disobey.training.imitation import ImitationSpec, PruneSpec
from disobey.training.loop import fit
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec, Teaching
from disobey.training.tasks import TASKS
from disobey.training.tasks.imitation import rounds
from disobey.training.tasks.imitation.fitting import train_imitation
from disobey.training.tasks.imitation.inputs import ShownBatches, phase_randomized, repeating
from disobey.training.tasks.imitation.network import fresh, root, start
from disobey.training.tasks.imitation.objective import ImitationObjective, derangement
from tests.support.refusals import refuses

DATA = DataSpec("digits-8x8", train=300)
OPTIM = OptimSpec("adam", lr=2e-3, steps=30, batch=16, decay="constant")
TEACHER = Recipe(DATA, ModelSpec("mlp", width=16), OPTIM, keep=(0, 3), imitation=ImitationSpec(init="lecun"))


def student(teacher=TEACHER, optim=OPTIM, step=None, **options):
    spec = ImitationSpec(**{"init": "lecun", "learns": "auxiliary", "inputs": "noise", **options})
    return Recipe(DATA, TEACHER.model, optim, teacher=teacher, teaching=Teaching(step=step), replica=1, imitation=spec)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("imitation"))


def records(store, *recipes, seed=0):
    outcome = run_all([Run(recipe, seed) for recipe in recipes], store, workers=0)
    assert not outcome.failed, [failure.message for failure in outcome.failed.values()]
    return [outcome.records[Run(recipe, seed)] for recipe in recipes]


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_students_start_where_alpha_says_part_by_part(store):
    dataset = load(DATA, 0)
    first = weights(fresh(TEACHER, dataset, 0))
    for alpha in ((0.0, 0.0, 0.0), (1.0, 0.0, 0.3)):
        run = Run(student(alpha=alpha), 0)
        own = weights(fresh(run.recipe, dataset, 0))
        wanted = near(first, own, dict(zip(("encoder", "auxiliary", "classes"), alpha, strict=True)))
        assert all(torch.equal(wanted[k], v) for k, v in start(run, dataset, store).state_dict().items())


def test_students_of_students_share_the_roots_first_weights(store):
    dataset = load(DATA, 0)
    grandchild = Run(replace(student(student()), replica=2), 0)
    assert root(grandchild) == Run(TEACHER, 0)
    first = weights(fresh(TEACHER, dataset, 0))
    assert all(torch.equal(first[k], v) for k, v in start(grandchild, dataset, store).state_dict().items())


def test_double_precision_starts_at_the_same_numbers(store):
    dataset = load(DATA, 0)
    single, double = (start(Run(student(precision=p), 0), dataset, store) for p in ("float32", "float64"))
    for a, b in zip(single.parameters(), double.parameters(), strict=True):
        assert b.dtype == torch.float64
        assert torch.equal(a, b.float())


@pytest.mark.parametrize("inputs", ["noise", "gaussian"])
def test_noise_is_new_at_every_step_and_the_same_for_all_arms(inputs):
    shape = (1, 8, 8)
    batches = ShownBatches(Run(student(inputs=inputs), 0), shape, None)
    assert len(batches) == 30
    first, again, second = batches(0).inputs, batches(0).inputs, batches(1).inputs
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    other = ShownBatches(Run(student(inputs=inputs, alpha=(1.0, 1.0, 1.0)), 0), shape, None)(0).inputs
    assert torch.equal(first, other)
    assert float(first.abs().max()) <= 1 or inputs == "gaussian"


def shown(dataset, **options):
    found = repeating(Run(student(**options), 0), dataset)
    assert found is not None
    return found


def test_altered_inputs_keep_what_they_say():
    dataset = load(DATA, 0)
    own, permuted = (shown(dataset, inputs=inputs) for inputs in ("data", "permuted"))
    assert torch.equal(own.flatten(1).sort(dim=1).values, permuted.flatten(1).sort(dim=1).values)
    assert not torch.equal(own, permuted)
    phase = phase_randomized(own, torch.Generator().manual_seed(0))
    assert torch.allclose(torch.fft.fft2(own).abs(), torch.fft.fft2(phase).abs(), atol=1e-3)
    assert torch.allclose(own.mean(dim=(1, 2, 3)), phase.mean(dim=(1, 2, 3)), atol=1e-5)
    other = shown(dataset, inputs="other", other="colour-shapes")
    assert other.shape == own.shape


def test_controls_of_targets_are_controls():
    dataset = load(DATA, 0)
    teacher = fresh(TEACHER, dataset, 0).eval()
    labels = torch.zeros(300, dtype=torch.int64)

    def table(**options):
        run = Run(student(inputs="data", **options), 0)
        found = ImitationObjective(run, teacher, teacher, labels, repeating(run, dataset)).table
        assert found is not None
        return found

    plain, rows, constant = table(), table(control="rows"), table(control="constant")
    assert torch.equal(plain.sort(dim=0).values, rows.sort(dim=0).values)
    assert not bool((plain == rows).all(dim=1).any())
    assert len(constant.unique(dim=0)) == 1
    assert torch.allclose(constant[0].exp(), plain.softmax(-1).mean(dim=0), atol=1e-6)
    for n in (2, 3, 50):
        order = derangement(n, torch.Generator().manual_seed(n))
        assert sorted(order.tolist()) == list(range(n))
        assert not bool((order == torch.arange(n)).any())


def test_only_what_is_taught_moves(store):
    (record,) = records(store, student())
    dataset, run = load(DATA, 0), Run(student(), 0)
    found = train_imitation(run, Context(store, torch.device("cpu"))).model.state_dict()
    begin = start(run, dataset, store).state_dict()
    assert torch.equal(found["classes.weight"], begin["classes.weight"])  # a class head that nobody trains
    assert not torch.equal(found["auxiliary.weight"], begin["auxiliary.weight"])
    assert record.summary["moved"] > 0
    assert -1 <= record.summary["toward"] <= 1


def test_a_random_teacher_at_alpha_zero_teaches_nothing_where_rounding_is_not_amplified(store):
    """Adam multiplies gradients far below its eps by lr / eps: 1e5 times more than SGD does at the same rate."""
    by_sgd, damped, adam = records(
        store,
        student(optim=replace(OPTIM, name="sgd", lr=0.1), step=0, inputs="data"),
        student(optim=replace(OPTIM, eps=1.0), step=0, inputs="data", precision="float64"),
        student(step=0, inputs="data"),
    )
    assert by_sgd.summary["moved"] < 1e-4
    assert damped.summary["moved"] < 1e-6
    assert adam.summary["moved"] > 100 * by_sgd.summary["moved"]


def test_children_start_at_their_parent_and_differ_in_order_alone(store):
    labels = replace(TEACHER, replica=1, teacher=TEACHER, teaching=Teaching(step=3))
    first = replace(labels, imitation=ImitationSpec(origin="teacher", init="lecun"))
    sibling = ImitationSpec(origin="sibling", init="lecun", readings=("barrier",))
    second = replace(labels, replica=2, teacher=first, teaching=Teaching(), imitation=sibling)
    _, elder, younger = records(store, TEACHER, first, second)
    dataset = load(DATA, 0)
    begins = [weights(start(Run(recipe, 0), dataset, store)) for recipe in (first, second)]
    assert all(torch.equal(begins[0][k], v) for k, v in begins[1].items())
    assert not np.array_equal(elder.history["loss"], younger.history["loss"])
    assert elder.history["loss"][0] < records(store, TEACHER)[0].history["loss"][0]
    assert younger.summary["barrier"] > -0.5


def tickets_of(teacher, origin="teacher", step=None, **options):
    spec = replace(ImitationSpec(init="lecun", prune=PruneSpec(**options)), origin=origin)
    return replace(TEACHER, keep=(), replica=2, teacher=teacher, teaching=Teaching(step=step), imitation=spec)


def test_a_walk_is_as_long_as_the_teachers_way_and_leads_elsewhere(store):
    records(store, TEACHER)
    dataset = load(DATA, 0)
    first, end = (
        weights(fresh(TEACHER, dataset, 0)),
        load_file(store.folder(Run(TEACHER, 0).id) / "weights/last.safetensors"),
    )
    walked = weights(start(Run(tickets_of(TEACHER, "walk"), 0), dataset, store))
    for name in first:
        lengths = [float((other[name] - first[name]).norm()) for other in (end, walked)]
        assert lengths[0] == pytest.approx(lengths[1], rel=1e-4)
    assert distance(walked, end) > distance(first, end)


def test_rounds_of_pruning_leave_the_untrained_head_alone(store):
    recipe = tickets_of(TEACHER, step=3, rounds=2, share=0.4, moved=True)
    (found,) = records(store, recipe)
    keys = [f"{name}@{k}" for name in ("density", "ticket", "replaced") for k in range(3)]
    assert {*keys} <= found.summary.keys()
    assert [found.summary[f"density@{k}"] for k in range(3)] == pytest.approx([1, 0.6, 0.36], abs=1e-3)
    assert found.summary["replaced@0"] == found.summary["ticket@0"]
    last = load_file(found.weights())
    left = [int((v != 0).sum()) for k, v in last.items() if k.endswith("weight") and not k.startswith("auxiliary")]
    sizes = [v.numel() for k, v in last.items() if k.endswith("weight") and not k.startswith("auxiliary")]
    assert sum(left) / sum(sizes) == pytest.approx(0.36, abs=1e-3)
    begin = weights(start(Run(recipe, 0), load(DATA, 0), store))
    assert torch.equal(last["auxiliary.weight"], begin["auxiliary.weight"])
    assert (found.log_probs("test").argmax(-1) == load(DATA, 0).test.labels).mean() == found.summary["ticket@2"]


def test_killed_between_rounds_a_run_goes_on_there_and_says_the_same(store, tmp_path, monkeypatch):
    recipe, seen = tickets_of(TEACHER, step=3, rounds=3), []
    (whole,) = records(store, recipe)
    other = Store(tmp_path)
    records(other, TEACHER)
    context, run = Context(other, torch.device("cpu")), Run(recipe, 0)

    def killed(*args, **options):
        seen.append(len(seen))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return fit(*args, **options)

    monkeypatch.setattr(rounds, "fit", killed)
    with pytest.raises(KeyboardInterrupt):
        train_imitation(run, context)
    (again,) = records(other, recipe)
    assert len(seen) == 5  # two rounds, the third that was killed, and the third and fourth
    ticks = [key for key in whole.summary if "@" in key]
    assert [again.summary[key] for key in ticks] == [whole.summary[key] for key in ticks]
    assert not other.resume_folder(run.id).exists()


def test_readings_are_there_where_they_are_asked_for(store):
    wanted = ("probes", "short", "barrier", "start", "matched", "walk", "shuffled", "pixels")
    plain, read = records(store, student(), student(readings=wanted, curve=3))
    assert not any(key.startswith(("probe", "barrier")) for key in plain.summary)
    for name in ("start", "matched", "walk", "shuffled", "pixels"):
        assert 0 < read.summary[f"probe@{name}"] <= 1
    assert read.summary["barrier"] >= -1
    assert list(read.history["curve_step"]) == [10, 20, 30]
    assert read.log_probs("test").shape == (360, 10)
    assert np.allclose(np.exp(read.log_probs("test")).sum(axis=1), 1, atol=1e-5)


def test_what_cannot_run_is_refused_before_training():
    def check(recipe):
        TASKS["imitation"].check(Run(recipe, 0), Facts())

    check(student())
    with refuses("no-teacher"):
        check(replace(student(), teacher=None))
    with refuses("other-architecture"):
        check(student(outputs=5))
    with refuses("imitation-teacher"):
        check(replace(student(), teacher=Recipe(DATA, TEACHER.model, OPTIM)))
    with refuses("imitation-weights"):
        check(replace(student(), choose="validation"))
    with refuses("imitation-targets"):
        check(replace(student(), data=replace(DATA, augment="crop")))
    with refuses("imitation-kind"):
        check(replace(TEACHER, data=DataSpec("languages")))
    with refuses("imitation-labels"):
        check(replace(TEACHER, data=DataSpec("scenes-boxes#examples=40")))
    with refuses("other-data"):
        student(inputs="other")
    with refuses("other-data"):
        student(other="mnist-5k")
    with refuses("control-of-noise"):
        student(control="rows")
    with refuses("prune-labels"):
        student(prune=PruneSpec())
    with refuses("prune-rounds"):
        PruneSpec(rounds=0)
    with refuses("labels-of-inputs"):
        ImitationSpec(inputs="noise")
