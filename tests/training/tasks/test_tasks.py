"""The protocol of a kind of learning: what is there keeps to it, and a third kind is one module and two lines."""

from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from disobey.data.dataset import DataSpec
from disobey.models.spec import ModelSpec
from disobey.records.store import Store
from disobey.training import specs
from disobey.training.context import Clock
from disobey.training.execution.engine import run_all
from disobey.training.loop import fit
from disobey.training.recipe import Recipe, Run
from disobey.training.record_writer import Content, write_record
from disobey.training.seeds import seeded, torch_stream
from disobey.training.specs import OptimSpec
from disobey.training.tasks import TASKS
from tests.support.refusals import refuses

MASKS = Recipe(DataSpec("masks:squares"), ModelSpec("toy-unet"), OptimSpec(lr=0.05, steps=40, batch=8), keep=(10,))


# A third kind of learning: which pixels of a noisy image belong to the bright square.


@dataclass(frozen=True)
class Masks:
    """Batches of noisy images and their masks, (B, 1, 8, 8) each, drawn step by step."""

    run: Run

    def __len__(self):
        return self.run.recipe.optim.steps

    def __call__(self, step):
        return draw(self.run.recipe.optim.batch, torch_stream(self.run.seed + step, "order"))


def draw(count, generator):
    places = torch.randint(5, (count, 2), generator=generator)
    masks = torch.zeros(count, 1, 8, 8)
    for mask, (top, left) in zip(masks, places.tolist(), strict=True):
        mask[0, top : top + 4, left : left + 4] = 1.0
    return masks + 0.3 * torch.randn(masks.shape, generator=generator), masks


def backward(step, model, batch):
    images, masks = batch
    loss = nn.functional.binary_cross_entropy_with_logits(model(images), masks)
    loss.backward()
    return loss.detach()


def pixel_accuracy(model, images, masks):
    return float(((model(images) > 0) == (masks > 0)).double().mean())


def check(run, facts):
    assert run.recipe.model.name == "toy-unet"


def train(run, context):
    clock = Clock()
    with seeded(run.seed, "init"):
        model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))
    images, masks = draw(64, torch_stream(run.seed, "views"))
    score = partial(pixel_accuracy, images=images, masks=masks)
    result = fit(model, run, Masks(run), backward, score=score, observers=context.observers)
    return SimpleNamespace(run=run, model=model, fit=result, accuracy=score(model), cost=clock.cost())


def write(folder, trained):
    weights = {"last": trained.model.state_dict(), **{str(step): kept for step, kept in trained.fit.kept.items()}}
    history, data = {"loss": trained.fit.losses.numpy()}, {"name": "masks", "fingerprint": "", "source": "this test"}
    summary = {"pixel_accuracy": trained.accuracy, "chosen_step": trained.fit.chosen}
    write_record(folder, trained.run, Content(weights, history, data, summary, trained.cost))


@pytest.fixture
def third_kind(monkeypatch):
    """The two lines."""
    monkeypatch.setitem(specs.LEARNED, "masks:", "masks")
    monkeypatch.setitem(TASKS, "masks", SimpleNamespace(check=check, train=train, write=write))


def test_a_third_kind_is_trained_kept_and_reused(third_kind, tmp_path):
    chosen = replace(MASKS, choose="validation", check=10)
    runs = [Run(MASKS), Run(chosen)]
    outcome = run_all(runs, Store(tmp_path), workers=0)
    assert not outcome.failed
    record = outcome.records[Run(MASKS)]
    assert record.history["loss"][-5:].mean() < 0.5 * record.history["loss"][:5].mean()
    assert record.summary["pixel_accuracy"] > 0.9
    assert record.weights(10).is_file()
    assert outcome.records[Run(chosen)].summary["chosen_step"] in (10, 20, 30, 40)
    again = run_all(runs, Store(tmp_path / "again"), workers=0).records
    assert again[Run(MASKS)].weights().read_bytes() == record.weights().read_bytes()
    assert run_all(runs, Store(tmp_path), workers=0).reused == set(runs)


def test_a_third_kind_fails_as_any_other(third_kind, tmp_path):
    wild = Run(replace(MASKS, optim=replace(MASKS.optim, lr=1e38)))
    outcome = run_all([wild], Store(tmp_path), workers=0)
    assert outcome.failed[wild].id == "diverged"


def test_without_the_two_lines_it_is_unknown_data(tmp_path):
    with pytest.raises(ValueError, match="masks:squares"):
        run_all([Run(MASKS)], Store(tmp_path), workers=0)


@pytest.mark.parametrize("name", TASKS)
def test_tasks_keep_to_the_protocol(name):
    assert all(callable(getattr(TASKS[name], part)) for part in ("check", "train", "write"))


def test_a_teacher_of_another_kind_is_refused_before_training(tmp_path):
    spec = specs.SequenceSpec(inner=8, rank=1, longest=4, lengths=(4,), count=8, powers=0)
    run = Run(Recipe(DataSpec("sequence:S3"), ModelSpec("lstm", width=8), sequence=spec, teacher=Recipe()))
    with refuses("sequence-teacher"):
        run_all([run], Store(tmp_path), workers=0)
