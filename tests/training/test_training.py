"""The loop against an obvious twin, and the promises of a run: same bits, paired arms, exact teacher tables."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from disobey.data.augment import Views
from disobey.data.dataset import DataSpec
from disobey.data.load import load
from disobey.models.spec import ModelSpec
from disobey.records.runs import pair
from disobey.records.store import Store
from disobey.targets.schedule import distill, labels, match, switch
from disobey.training.batches import order_of
from disobey.training.execution.engine import run_all
from disobey.training.loop import fit
from disobey.training.prepare import SharedInputs, prepared
from disobey.training.recipe import Recipe, Run
from disobey.training.restore import built, trained
from disobey.training.specs import OptimSpec, Teaching
from disobey.training.teacher_table import form_of
from disobey.training.train import train
from tests.support.rounding import UNITS, Trace, departure

DATA = DataSpec("digits-8x8", train=200, noise=0.2)
OPTIM = OptimSpec(lr=0.01, steps=25, batch=32)
TEACHER = Recipe(DATA, ModelSpec("mlp", width=16), OPTIM, keep=(5, 25))
STUDENT = Recipe(DATA, ModelSpec("mlp", width=16), OPTIM, distill(3.0, weight=0.7), TEACHER, replica=1)
TWIN = replace(STUDENT, targets=labels(), teacher=None)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def records(store):
    return run_all([Run(STUDENT), Run(TWIN)], store, workers=0).records


def trained_alike(run, store, loss, teacher_logits=None):
    """Trains the run, and asserts that every step is plain PyTorch's in float64, to rounding; the run's record."""
    trace = Trace()
    record = train(run, store, observers=[trace])
    assert departure_from_slow_training(run, trace, loss, teacher_logits) < UNITS
    ours = load_file(record.weights())
    assert all(torch.equal(ours[name], value) for name, value in trace.weights[-1].items())
    return record


def departure_from_slow_training(run, trace, loss, teacher_logits=None):
    """Autograd through a loss that is written out, no table, no shortcut. ``teacher_logits`` of a batch (B, ...)."""
    dataset = load(run.recipe.data, run.seed)
    model, views = built(run.recipe, dataset, run.seed).double(), Views.of(dataset, run.recipe.data.augment)
    y, order = torch.from_numpy(dataset.train.observed), order_of(run, len(views), views.count)

    def backward(step):
        rows = order.rows[step]
        x = views.take(rows, None if order.views is None else order.views[step]).double()
        loss(model(x), y[rows], None if teacher_logits is None else teacher_logits(x)).backward()

    assert len(trace.weights) == len(order)
    return departure(model, run.recipe.optim, backward, trace.weights)


def teacher_of(records):
    """The teacher as a function, in float64."""
    return torch.no_grad()(trained(Run(TEACHER), records[Run(TEACHER)], load(DATA, 0)).double())


def hinton(student, y, teacher, temperature=3.0, weight=0.7):
    soft = F.kl_div(F.log_softmax(student / temperature, 1), F.softmax(teacher / temperature, 1), reduction="batchmean")
    return weight * temperature**2 * soft + (1 - weight) * F.cross_entropy(student, y)


def test_distillation_equals_the_slow_twin(records, store):
    record = trained_alike(Run(STUDENT), _with_teachers(store, STUDENT), hinton, teacher_of(records))
    assert record.weights().read_bytes() == records[Run(STUDENT)].weights().read_bytes()


def test_labels_equal_the_slow_twin(records, tmp_path):
    record = trained_alike(Run(TWIN), Store(tmp_path), lambda z, y, _: F.cross_entropy(z, y))
    assert record.weights().read_bytes() == records[Run(TWIN)].weights().read_bytes()


def test_arms_share_initialization_and_order_teachers_do_not():
    dataset = load(DATA, 0)
    first = {
        name: built(recipe, dataset, 0).state_dict()
        for name, recipe in (("student", STUDENT), ("twin", TWIN), ("teacher", TEACHER))
    }
    key = next(iter(first["student"]))
    assert torch.equal(first["student"][key], first["twin"][key])
    assert not torch.equal(first["student"][key], first["teacher"][key])
    assert torch.equal(order_of(Run(STUDENT), 200).rows, order_of(Run(TWIN), 200).rows)
    assert not torch.equal(order_of(Run(STUDENT), 200).rows, order_of(Run(TEACHER), 200).rows)
    assert not torch.equal(order_of(Run(TWIN, 1), 200).rows, order_of(Run(TWIN, 0), 200).rows)


def test_order_visits_everything_equally_and_extends():
    run = Run(replace(TWIN, optim=replace(OPTIM, steps=50)))
    rows = order_of(run, 200).rows
    counts = torch.bincount(rows.flatten(), minlength=200)
    assert int(counts.max() - counts.min()) <= 1
    assert torch.equal(rows[:25], order_of(Run(TWIN), 200).rows)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_same_bits_whatever_the_workers(tmp_path, records, workers):
    again = run_all([Run(STUDENT), Run(TWIN)], Store(tmp_path), workers=workers).records
    for run, record in records.items():
        for split in ("train", "validation", "test"):
            assert np.array_equal(record.log_probs(split), again[run].log_probs(split))
        assert record.weights().read_bytes() == again[run].weights().read_bytes()


def test_records_say_what_was_trained_on(records):
    record = records[Run(TWIN)]
    assert (record.examples["train.given"] != record.examples["train.labels"]).mean() == pytest.approx(0.2)
    assert (record.examples["test.given"] == record.examples["test.labels"]).all()
    assert record.history["loss"].shape == (25,)
    probs = np.exp(record.log_probs("test").astype(np.float64))
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    p = pair(records[Run(TEACHER)], records[Run(STUDENT)], "train", twin=record)
    assert p.mislabelled.mean() == pytest.approx(0.2)


def test_kept_checkpoints_are_the_training_of_that_many_steps(tmp_path, records, store):
    short = replace(TEACHER, keep=(), optim=replace(OPTIM, stop=5))
    stopped = train(Run(short), Store(tmp_path))
    assert np.array_equal(stopped.log_probs("test"), records[Run(TEACHER)].log_probs("test", 5))
    assert np.array_equal(records[Run(TEACHER)].log_probs("test"), records[Run(TEACHER)].log_probs("test", 25))


def test_switching_by_value_is_the_same_run():
    kd = distill(3.0, weight=0.7)
    assert replace(STUDENT, targets=switch(labels(), kd, at=0.0)).key() == STUDENT.key()


def test_zero_weight_is_absence(store, records):
    silent = replace(STUDENT, targets=distill(3.0, weight=0.0))
    loud = run_all([Run(silent)], store, workers=0).records[Run(silent)]
    assert np.array_equal(loud.log_probs("test"), records[Run(TWIN)].log_probs("test"))


@pytest.mark.parametrize(
    "targets",
    [
        distill(4.0, loss="js"),
        distill(4.0, loss="reverse_kl", weight=0.5),
        match("mse"),
        match("mse_centred"),
        labels(0.1),
        distill(8.0, temperature_to=1.0),
        switch(labels(), distill(2.0), at=0.5, over=0.4),
    ],
)
def test_every_objective_learns(store, targets):
    recipe = replace(STUDENT, targets=targets, teacher=TEACHER if targets.uses_teacher else None)
    losses = run_all([Run(recipe)], store, workers=0).records[Run(recipe)].history["loss"]
    assert np.isfinite(losses).all()
    if not targets.time_varying:  # the losses of a moving objective are not comparable
        assert losses[-5:].mean() < losses[:5].mean()


IMAGES = replace(DATA, augment="crop")


@pytest.mark.parametrize(("steps", "form"), [(20, "replay"), (600, "views")])
def test_cached_views_equal_the_online_teacher(store, records, steps, form):
    """The table is the teacher: training from it and asking step by step are the same training, to rounding."""
    slow, teacher = partial(hinton, temperature=3.0, weight=1.0), teacher_of(records)
    optim = OptimSpec(lr=0.01, steps=steps, batch=32, stop=20)
    recipe = replace(STUDENT, data=IMAGES, optim=optim, targets=distill(3.0))
    assert form_of(Run(recipe), 200, 81, 10) == form
    trained_alike(Run(recipe), _with_teachers(store, recipe), slow, teacher)
    assert form_of(Run(recipe), 200, 81, 10, limit=0) == "online"
    one, trace = prepared(Run(recipe), SharedInputs(store, torch.device("cpu"))), Trace()
    assert one.objective.table is not None
    one.objective.table = None
    fit(one.model, one.run, one.batches, one.objective.backward, observers=[trace])
    assert departure_from_slow_training(one.run, trace, slow, teacher) < UNITS


def test_a_run_that_stops_early_leaves_no_short_table_to_the_whole_one(store):
    optim = OptimSpec(lr=0.01, steps=20, batch=32)
    whole = replace(STUDENT, data=IMAGES, optim=optim, targets=distill(5.0), replica=7)
    early = replace(whole, optim=replace(optim, stop=10))
    assert not run_all([Run(early)], store, workers=0).failed
    assert not run_all([Run(whole)], store, workers=0).failed


def _with_teachers(store, recipe):
    """A second store that has the teacher but not the student."""
    import shutil
    import tempfile

    other = Store(tempfile.mkdtemp(dir=store.root))
    other.prepare()
    for teacher in Run(recipe).teachers():
        shutil.copytree(store.folder(teacher.id), other.folder(teacher.id))
    return other


@pytest.mark.parametrize(
    "teaching", [Teaching(members=2), Teaching(folds=2), Teaching(step=5), Teaching(permute="rows")]
)
def test_teachers_of_every_kind(store, teaching):
    recipe = replace(STUDENT, teaching=teaching, targets=distill(2.0))
    outcome = run_all([Run(recipe)], store, workers=0)
    assert not outcome.failed
    record = outcome.records[Run(recipe)]
    agreed = record.log_probs("train").argmax(1)
    assert record.history["loss"][-5:].mean() < record.history["loss"][:5].mean()
    assert len(np.unique(agreed)) > 1


def test_cross_fitted_targets_come_from_models_that_did_not_see_the_example(store):
    recipe = replace(STUDENT, teaching=Teaching(folds=3), targets=distill(2.0))
    run = Run(recipe)
    records = run_all([run], store, workers=0).records
    all_ids = records[run].examples["train.ids"]
    seen = np.stack([np.isin(all_ids, records[t].examples["train.ids"]) for t in run.teachers()])
    assert (seen.sum(axis=0) == 2).all()


def test_controls_reshape_what_the_student_learns(store, records):
    """The argmax control is training on the teacher's labels; a control that changes nothing changes nothing."""
    same = replace(STUDENT, targets=distill(3.0, weight=0.7, control="teacher"))
    hard = replace(STUDENT, targets=distill(1.0, control="argmax"))
    weighted = replace(STUDENT, targets=distill(1.0, control="confidence_weighted", loss="cross_entropy"))
    teacher = teacher_of(records)
    trained_alike(Run(same), _with_teachers(store, same), hinton, teacher)
    trained_alike(
        Run(hard), _with_teachers(store, hard), lambda z, y, told: F.cross_entropy(z, told.argmax(1)), teacher
    )
    found = run_all([Run(hard), Run(weighted)], store, workers=0).records
    assert not np.array_equal(found[Run(weighted)].log_probs("test"), found[Run(hard)].log_probs("test"))


def test_a_control_needs_answers_that_repeat(store):
    mixed = replace(STUDENT, data=replace(DATA, augment="mixup"), targets=distill(2.0, control="argmax"))
    failed = run_all([Run(mixed)], store, workers=0).failed
    assert failed[Run(mixed)].id == "control-without-table"


def test_mixup_asks_the_teacher_about_the_mixed_images(store):
    recipe = replace(STUDENT, data=replace(DATA, augment="mixup"), targets=distill(2.0, weight=0.5))
    assert form_of(Run(recipe), 200, 1, 10) == "online"
    assert not run_all([Run(recipe)], store, workers=0).failed


def test_validation_chooses_the_best_look(store):
    recipe = replace(TWIN, choose="validation", check=5)
    record = run_all([Run(recipe)], store, workers=0).records[Run(recipe)]
    looks = dict(zip(record.history["check_step"], record.history["check_accuracy"], strict=True))
    assert list(looks) == [5, 10, 15, 20, 25]
    assert looks[record.summary["chosen_step"]] == max(looks.values())
    assert record.summary["validation_accuracy"] == pytest.approx(max(looks.values()))


def test_random_teachers_have_their_initial_weights(store):
    random = replace(TEACHER, keep=(), optim=replace(OPTIM, stop=0))
    record = run_all([Run(random)], store, workers=0).records[Run(random)]
    model = built(random, load(DATA, 0), 0)
    for name, value in load_file(record.weights()).items():
        assert torch.equal(value, model.state_dict()[name])
