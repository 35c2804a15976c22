"""Classes of pixels: a pixel is an example, the image its cluster; what is trained, kept and refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from disobey.data.dataset import VOID, DataSpec
from disobey.data.load import load
from disobey.models.spec import ModelSpec
from disobey.models.unet import UNet
from disobey.records.pixels import boundary, chosen
from disobey.records.runs import pair
from disobey.records.store import Store
from disobey.targets.schedule import distill
from disobey.training.batches import Batch
from disobey.training.execution.engine import run_all
from disobey.training.objective import Objective
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec, Teaching
from disobey.training.tasks.dense.fitting import confusion_of
from disobey.training.tasks.dense.objective import PixelObjective, flat
from disobey.training.teacher_table import Table
from tests.support.refusals import refuses

DATA = DataSpec("scenes#examples=40,size=20")
TEACHER = Recipe(DATA, ModelSpec("unet", width=4), OptimSpec(lr=1e-2, steps=6, batch=8), keep=(3,))
STUDENT = replace(TEACHER, targets=distill(4.0), teacher=TEACHER, replica=1, keep=())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("dense"))
    twin = replace(TEACHER, replica=1, keep=())
    outcome = run_all([Run(STUDENT), Run(twin)], store, workers=0)
    assert not outcome.failed
    return store, [outcome.records[Run(recipe)] for recipe in (TEACHER, STUDENT, twin)]


def test_the_record_is_one_of_pixels_whose_clusters_are_images(trained):
    _, (teacher, student, twin) = trained
    found = pair(teacher, student, "test", twin=twin)
    assert found.teacher.shape == (15 * 256, 6)
    assert len(np.unique(found.cluster)) == 15
    assert set(found.groups) == {"boundary", "interior"}
    np.testing.assert_allclose(np.exp(np.asarray(found.student)).sum(axis=1), 1, rtol=1e-5)
    assert teacher.log_probs("test", 3).shape == found.teacher.shape
    counts = student.history["test.confusion"]
    assert counts.sum() == 15 * 400
    assert student.summary["test_accuracy"] == pytest.approx(np.trace(counts.sum(0)) / counts.sum())
    data = load(DATA, 0)
    rows = np.searchsorted(data.test.ids, found.ids // 400)
    assert np.array_equal(data.test.labels.reshape(15, -1)[rows, found.ids % 400], found.labels)


def test_equal_runs_give_equal_bits_with_the_table_at_hand_and_made_anew(trained, tmp_path):
    store, (_, student, _) = trained
    assert len(list((store.root / "cache").glob("*.npy"))) == 1
    table = np.load(next((store.root / "cache").glob("*.npy")))
    assert table.dtype == np.float16
    assert table.shape == (20 * 400, 6)
    again = run_all([Run(STUDENT)], Store(tmp_path), workers=0).records[Run(STUDENT)]
    assert again.weights().read_bytes() == student.weights().read_bytes()


def test_the_objective_is_the_mean_over_pixels_with_a_class():
    torch.manual_seed(0)
    masks = torch.randint(-1, 3, (5, 4, 4))
    net, inputs, rows = UNet((3, 4, 4), 3, width=4), torch.randn(2, 3, 4, 4), torch.tensor([3, 1])
    taught = torch.randn(5 * 16, 3)
    schedule = distill(2.0, weight=0.5)
    objective = PixelObjective(Objective(schedule, 10, masks.flatten(), Table(taught, "plain")), masks)
    objective.backward(0, net, Batch(inputs, rows))
    fast = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    logits = net(inputs).permute(0, 2, 3, 1)
    own = masks[rows]
    keep = own >= 0
    target = taught.view(5, 4, 4, 3)[rows][keep]
    slow = torch.nn.functional.cross_entropy(logits[keep], own[keep]) * 0.5
    p = torch.softmax(target / 2, -1)
    divergence = (p * (p.log() - torch.log_softmax(logits[keep] / 2, -1))).sum(-1)
    (slow + 0.5 * 4 * divergence.mean()).backward()
    for a, b in zip(fast, net.parameters(), strict=True):
        torch.testing.assert_close(a, b.grad, rtol=1e-3, atol=1e-5)


def test_only_marked_pixels_are_reshaped():
    masks = torch.zeros(2, 4, 4, dtype=torch.int64)
    masks[:, :, 2:] = 1
    marked = torch.from_numpy(boundary(masks.numpy()).ravel())
    taught = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
    for control, where in (("sloped_marked", marked), ("sloped_unmarked", ~marked)):
        schedule = distill(1.0, control=control, amount=0.5)
        objective = Objective(schedule, 10, masks.flatten(), Table(taught, "plain"), marked=marked)
        changed = objective.targets_of(schedule.terms[0])[0].diff(dim=1) - taught.diff(dim=1)
        assert torch.equal((changed.abs() > 1e-5).flatten(), where)
    schedule = distill(1.0, control="sloped_marked", amount=0.5)
    with refuses("no-marked-rows"):
        Objective(schedule, 10, masks.flatten(), Table(taught, "plain")).targets_of(schedule.terms[0])


def test_boundaries_confusions_and_kept_pixels():
    masks = np.zeros((1, 4, 4), int)
    masks[0, :, 2:] = 1
    masks[0, 0, 0] = VOID
    assert boundary(masks)[0].tolist() == [[False, True, True, False]] * 4
    counts = confusion_of(masks, np.zeros((1, 4, 4), int), 2)
    assert counts.tolist() == [[[7, 0], [8, 0]]]
    valid = np.ones((3, 6, 6), bool)
    valid[1, :, 3:] = False
    places = chosen(valid, np.array([4, 7, 9]), 20)
    assert np.bincount(places // 36).tolist() == [20, 18, 20]
    alone = chosen(valid[2:], np.array([9]), 20)
    assert np.array_equal(alone, places[places >= 72] - 72)


def test_odd_sizes_and_rows():
    maps = UNet((1, 7, 9), 3, width=4)(torch.zeros(2, 1, 7, 9))
    assert maps.shape == (2, 3, 7, 9)
    assert torch.equal(flat(maps)[7 * 9 + 10], maps[1, :, 1, 1])


@pytest.mark.parametrize(
    ("change", "id"),
    [
        ({"model": ModelSpec("cnn")}, "dense-network"),
        ({"model": ModelSpec("unet", width=6)}, "dense-network"),
        ({"teaching": Teaching(folds=2)}, "dense-data"),
        ({"teaching": Teaching(permute="rows")}, "dense-teaching"),
        ({"targets": distill(4.0, control="class_mean_of_all")}, "dense-target"),
        ({"teacher": Recipe()}, "dense-teaching"),
    ],
)
def test_what_does_not_go_together_is_refused_before_training(change, id, tmp_path):
    with refuses(id):
        run_all([Run(replace(STUDENT, **change))], Store(tmp_path), workers=0)
