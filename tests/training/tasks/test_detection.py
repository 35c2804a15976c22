"""Classes of boxes: a true box is an example, its image the cluster; what is trained, kept and refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from disobey.data.boxes import packed, present
from disobey.data.dataset import DataSpec
from disobey.data.load import load
from disobey.measures.detection import Boxes, average_precision, near, suppressed
from disobey.models.detector import Detector
from disobey.models.spec import ModelSpec
from disobey.records.runs import pair
from disobey.records.store import Store
from disobey.targets.schedule import distill
from disobey.training.batches import Batch
from disobey.training.execution.engine import run_all
from disobey.training.objective import Objective
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec, Teaching
from disobey.training.tasks.detection.cells import NONE, assigned, boxes_at, centres, decoded, own_cells, sides_to
from disobey.training.tasks.detection.fitting import precision_of, read, true_boxes
from disobey.training.tasks.detection.objective import CellObjective, generalized_overlap
from disobey.training.teacher_table import Table
from disobey.training.train import train
from tests.support.refusals import refuses

DATA = DataSpec("scenes-boxes#examples=40,size=20")
TEACHER = Recipe(DATA, ModelSpec("detector", width=4), OptimSpec(lr=1e-2, steps=6, batch=8), keep=(3,))
STUDENT = replace(TEACHER, targets=distill(4.0), teacher=TEACHER, replica=1, keep=())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("detection"))
    twin = replace(TEACHER, replica=1, keep=())
    outcome = run_all([Run(STUDENT), Run(twin)], store, workers=0)
    assert not outcome.failed
    return store, [outcome.records[Run(recipe)] for recipe in (TEACHER, STUDENT, twin)]


def test_the_record_is_one_of_true_boxes_whose_clusters_are_images(trained):
    _, (teacher, student, twin) = trained
    data = load(DATA, 0)
    found = pair(teacher, student, "test", twin=twin)
    labels = data.test.labels[present(data.test.labels)]
    assert found.teacher.shape == (len(labels), 6)
    assert found.labels is not None
    assert np.array_equal(found.labels, labels[:, 4])
    assert np.array_equal(student.examples["test.box"], labels[:, :4])
    assert found.cluster is not None
    assert set(found.cluster) <= set(data.test.ids)
    assert_allclose(np.exp(np.asarray(found.student)).sum(axis=1), 1, rtol=1e-5)
    assert teacher.log_probs("test", 3).shape == found.teacher.shape
    rows = student.history["test.found"]
    assert rows.shape[1] == 7
    assert set(rows[:, 0]) <= set(student.history["test.images"])
    assert np.unique(rows[:, 0], return_counts=True)[1].max() <= 20
    right = np.asarray(found.student).argmax(axis=1) == found.labels
    assert student.summary["test_accuracy"] == pytest.approx(right.mean())
    assert student.summary["test_ap"] == pytest.approx(precision_of(data.test, rows))
    boxes = true_boxes(data.test)
    near = [
        (box_images(boxes, image) & overlapping(boxes, box)).sum() > 1
        for image, box in zip(boxes.images, boxes.boxes, strict=True)
    ]
    assert student.examples["test.boundary"].astype(bool).tolist() == near


def box_images(boxes, image):
    return boxes.images == image


def overlapping(boxes, box):
    low, high = np.maximum(boxes.boxes[:, :2], box[:2]), np.minimum(boxes.boxes[:, 2:], box[2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    areas = (boxes.boxes[:, 2:] - boxes.boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return shared / (areas - shared) >= 0.1


def test_equal_runs_give_equal_bits_with_the_table_at_hand_and_made_anew(trained, tmp_path):
    store, (_, student, _) = trained
    table = np.load(next((store.root / "cache").glob("*.npy")))
    assert table.dtype == np.float16
    assert table.shape == (20 * 25, 6)
    again = run_all([Run(STUDENT)], Store(tmp_path), workers=0).records[Run(STUDENT)]
    assert again.weights().read_bytes() == student.weights().read_bytes()


def test_rounded_steps_are_other_steps_and_answers_keep_their_digits(trained, tmp_path):
    _, (teacher, _, _) = trained
    run = Run(replace(TEACHER, optim=replace(TEACHER.optim, precision="bfloat16")))
    record = train(run, Store(tmp_path), device="cpu")
    rounded, whole = record.log_probs("test"), teacher.log_probs("test")
    assert rounded.dtype == np.float32
    assert not np.array_equal(rounded, whole)
    assert np.abs(rounded - whole).mean() < 0.5


class Killed(BaseException):
    pass


class Killer:
    every = 1

    def record(self, step, model, losses):
        if step == 4:
            raise Killed


def test_a_run_that_was_killed_goes_on_with_the_same_bits(trained, tmp_path):
    _, (_, student, _) = trained
    run, store = Run(STUDENT), Store(tmp_path)
    train(Run(TEACHER), store, device="cpu")
    with pytest.raises(Killed):
        train(run, store, observers=[Killer()], device="cpu", checkpoint=1e-9)
    assert store.resume_file(run.id).is_file()
    again = train(run, store, device="cpu")
    for name in ("weights/last.safetensors", "history.safetensors", "predictions/test.npy"):
        assert (again.path / name).read_bytes() == (student.path / name).read_bytes()


def test_the_gradient_is_that_of_the_loss_in_words():
    torch.manual_seed(0)
    net, inputs, rows = Detector((3, 8, 12), 3, width=4), torch.randn(2, 3, 8, 12), torch.tensor([3, 1])
    kinds = torch.randint(0, 3, (5, 6))
    sides, taught = torch.rand(30, 4) + 0.2, torch.randn(30, 3)
    held = (kinds > 0).flatten()
    inner = Objective(distill(2.0, weight=0.5), 10, kinds.flatten(), Table(taught, "plain"))
    loss = CellObjective(inner, held, sides, 6).backward(0, net, Batch(inputs, rows))
    fast = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    out = net(inputs).permute(0, 2, 3, 1).reshape(2, 6, 7)
    logits, boxes = out[..., :3], out[..., 3:]
    parts = []
    for image, row in enumerate(rows):
        for cell in range(6):
            label, answer = kinds[row, cell], taught.view(5, 6, 3)[row, cell]
            own = torch.nn.functional.cross_entropy(logits[image, cell], label) * 0.5
            p = torch.softmax(answer / 2, -1)
            own = own + 0.5 * 4 * (p * (p.log() - torch.log_softmax(logits[image, cell] / 2, -1))).sum()
            overlap = generalized_overlap(boxes[image, cell][None], sides.view(5, 6, 4)[row, cell][None])[0]
            parts.append((bool(label > 0), own, 1 - overlap))
    of_boxes = torch.stack([own for has, own, _ in parts if has]).mean()
    of_ground = torch.stack([own for has, own, _ in parts if not has]).mean()
    slow = (of_boxes + of_ground) / 2 + torch.stack([box for has, _, box in parts if has]).mean()
    slow.backward()
    torch.testing.assert_close(loss, slow.detach(), rtol=1e-4, atol=1e-5)
    for a, b in zip(fast, net.parameters(), strict=True):
        torch.testing.assert_close(a, b.grad, rtol=1e-3, atol=1e-5)


def test_batches_without_boxes_have_a_loss():
    net, inputs = Detector((3, 8, 8), 3, width=4), torch.randn(2, 3, 8, 8)
    inner = Objective(distill(1.0), 10, torch.zeros(8, dtype=torch.int64), Table(torch.randn(8, 3), "plain"))
    objective = CellObjective(inner, torch.zeros(8, dtype=torch.bool), torch.ones(8, 4), 4)
    assert bool(torch.isfinite(objective.backward(0, net, Batch(inputs, torch.tensor([0, 1])))))


def test_the_generalized_overlap_of_boxes_apart_is_negative_and_of_equal_ones_one():
    true = torch.tensor([[1.0, 2.0, 1.0, 0.5], [-1.0, 1.0, 3.0, 1.0]])
    assert_allclose(generalized_overlap(true[:1], true[:1]), 1.0, rtol=1e-6)
    apart = generalized_overlap(torch.tensor([[1.0, 1.0, 0.5, 1.0]]), true[1:])  # areas 3 and 4, 8 around both
    assert_allclose(apart, -1 / 8, rtol=1e-6)


def test_cells_answer_for_the_smallest_box_and_boxes_come_back_from_sides():
    rng = np.random.default_rng(0)
    low = rng.integers(0, 20, (30, 2))
    boxes = np.concatenate([low, low + rng.integers(1, 12, (30, 2))], axis=1)
    labels = packed(boxes, rng.integers(1, 4, 30), np.sort(rng.integers(0, 8, 30)), 9)
    cells = assigned(labels, 8, 8)
    places, own = centres(8, 8), own_cells(labels, 8, 8)
    for image in range(9):
        rows = [box for box in labels[image] if box[4] > 0]
        for cell in range(64):
            area = {}
            for number, (left, top, right, bottom, _) in enumerate(rows):
                middle, half = np.array([left + right, top + bottom]) / 2, np.array([right - left, bottom - top]) / 4
                if (np.abs(places[cell] - middle) <= half).all() or own[image, number] == cell:
                    area[number] = (right - left) * (bottom - top)
            best = min(area.values(), default=0)
            chosen = cells[image, cell]
            assert (chosen == NONE) == (not area)
            assert not area or area[chosen] == best
    back = boxes_at(sides_to(labels, cells, 8, 8), 8, 8)
    images, held = np.nonzero(cells != NONE)
    assert_allclose(back[images, held], labels[images, cells[images, held], :4], atol=1e-4)


def test_suppression_of_many_images_is_that_of_each():
    rng = np.random.default_rng(1)
    low = rng.uniform(0, 20, (5, 36, 2))
    boxes = np.concatenate([low, low + rng.uniform(4, 14, (5, 36, 2))], axis=-1)
    logits = rng.normal(size=(5, 36, 4)) * 3
    log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    images, kept, kinds, scores = decoded(log_probs, boxes)
    for image in range(5):
        own = log_probs[image, :, 1:].argmax(axis=1) + 1
        score = np.exp(log_probs[image, :, 1:].max(axis=1))
        rows = np.flatnonzero(score >= 0.01)
        rows = rows[suppressed(boxes[image][rows], score[rows], own[rows])][:20]
        assert_allclose(kept[images == image], boxes[image][rows])
        assert np.array_equal(kinds[images == image], own[rows])
        assert_allclose(scores[images == image], score[rows])


class Oracle(torch.nn.Module):
    """Says of every cell what it was assigned."""

    def __init__(self, labels):
        super().__init__()
        cells = assigned(labels, 8, 8)
        kinds = np.where(cells == NONE, 0, np.take_along_axis(labels[..., 4], np.maximum(cells, 0), axis=1))
        logits = 20 * np.eye(6)[kinds.astype(int)]
        rows = np.concatenate([logits, sides_to(labels, cells, 8, 8)], axis=-1)
        self.maps = torch.from_numpy(rows.reshape(-1, 8, 8, 10)).permute(0, 3, 1, 2)
        self.start = 0

    def forward(self, x):
        self.start += len(x)
        return self.maps[self.start - len(x) : self.start]


def test_a_detector_that_is_told_the_true_boxes_finds_them_all():
    split = load(DataSpec("scenes-boxes#examples=200,occlusion=0"), 0).test
    has, own = present(split.labels), own_cells(split.labels, 8, 8)
    answers_for = np.take_along_axis(assigned(split.labels, 8, 8), own, axis=1)
    sound = ((answers_for == np.arange(has.shape[1])) | ~has).all(axis=1)
    truth = true_boxes(split)
    own, other, _ = near(truth, truth, 0.5)
    sound[truth.images[own[own != other]]] = False  # of these one suppresses the other
    split = split.take(np.flatnonzero(sound))
    answers, found = read(Oracle(split.labels), torch.zeros(len(split), 3, 32, 32), split)
    truth = true_boxes(split)
    assert len(truth) > 60
    assert np.array_equal(answers.argmax(axis=1), truth.classes)
    assert precision_of(split, found) == pytest.approx(1.0)
    some = Boxes(truth.boxes, truth.classes, truth.images, np.ones(len(truth)))
    assert average_precision(truth, some) == pytest.approx(1.0)


def test_other_rows_are_chosen_among_the_eligible_ones():
    marked, eligible = torch.zeros(40, dtype=torch.bool), torch.zeros(40, dtype=torch.bool)
    marked[:4], eligible[:12] = True, True
    taught = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    schedule = distill(1.0, control="sloped_unmarked", amount=0.5)
    labels = torch.zeros(40, dtype=torch.int64)
    objective = Objective(schedule, 10, labels, Table(taught, "plain"), marked=marked, eligible=eligible)
    changed = (objective.targets_of(schedule.terms[0])[0].diff(dim=1) - taught.diff(dim=1)).abs().amax(1) > 1e-5
    assert changed.sum() == 4
    assert set(changed.nonzero().flatten().tolist()) <= set(range(4, 12))


@pytest.mark.parametrize(
    ("change", "id"),
    [
        ({"model": ModelSpec("unet")}, "detection-network"),
        ({"model": ModelSpec("detector", width=6)}, "detection-network"),
        ({"teaching": Teaching(folds=2)}, "dense-data"),
        ({"teaching": Teaching(permute="rows")}, "detection-teaching"),
        ({"targets": distill(4.0, control="class_mean_of_all")}, "detection-target"),
        ({"teacher": Recipe()}, "detection-teaching"),
    ],
)
def test_what_does_not_go_together_is_refused_before_training(change, id, tmp_path):
    with refuses(id):
        run_all([Run(replace(STUDENT, **change))], Store(tmp_path), workers=0)
