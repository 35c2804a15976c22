"""A long run goes on where it was killed, and ends with the bits of one that was never interrupted."""

from dataclasses import replace

import pytest
import torch

from disobey.data.dataset import DataSpec
from disobey.models.spec import ModelSpec
from disobey.records.store import Store
from disobey.targets.schedule import distill
from disobey.training import savepoint as module
from disobey.training.imitation import ImitationSpec
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec, SequenceSpec, StateTeaching
from disobey.training.train import train

DATA = DataSpec("digits-8x8", train=200)
CNN = Recipe(DATA, ModelSpec("cnn", width=4), OptimSpec(steps=40, batch=16))
SPEC = SequenceSpec(inner=8, rank=1, longest=4, lengths=(4, 6), count=16, powers=6)
WORD = Recipe(DataSpec("sequence:S3"), ModelSpec("fixed_point", width=8), OptimSpec(steps=20, batch=8), sequence=SPEC)
FILES = ("weights/*.safetensors", "predictions/*.npy", "history.safetensors", "examples.safetensors")


class Killed(BaseException):
    pass


class Killer:
    """Ends a run after some steps, as a kill would: nothing after it is done."""

    every = 1

    def __init__(self, step):
        self.step = step

    def record(self, step, model, losses):
        if step == self.step:
            raise Killed


def content(record):
    return {p.relative_to(record.path).as_posix(): p.read_bytes() for glob in FILES for p in record.path.glob(glob)}


def mlp(**changes):
    return replace(CNN, model=ModelSpec("mlp", width=8, dropout=0.3), **changes)


CASES = {
    "cnn": CNN,
    "adamw, clipped, chosen by validation, kept": replace(
        CNN,
        optim=replace(CNN.optim, name="adamw", clip=1.0, weight_decay=0.01),
        choose="validation",
        keep=(0, 7, 33),
        check=4,
    ),
    "sgd with momentum": replace(CNN, optim=replace(CNN.optim, name="sgd", lr=0.05, nesterov=True)),
    "mixup": replace(CNN, data=replace(DATA, augment="mixup")),
    "crops": replace(CNN, data=replace(DATA, augment="crop-flip")),
    "dropout": replace(CNN, model=ModelSpec("vit", width=16, depth=1, dropout=0.2)),
    "batch norms": replace(CNN, model=ModelSpec("resnet8", width=4)),
    "first weights shared, inputs of noise": replace(
        CNN,
        model=ModelSpec("mlp", width=8),
        teacher=replace(CNN, model=ModelSpec("mlp", width=8), imitation=ImitationSpec()),
        replica=1,
        imitation=ImitationSpec(learns="auxiliary", inputs="noise", curve=10),
    ),
    "student of a table": replace(CNN, targets=distill(2.0), teacher=CNN, replica=1),
    "student of mixtures": replace(
        CNN, data=replace(DATA, augment="mixup"), targets=distill(2.0), teacher=CNN, replica=1
    ),
}


def interrupted(run, tmp_path, at, **options):
    """Kills the run at these steps, one after the other, and lets it finish."""
    store = Store(tmp_path)
    for step in at:
        with pytest.raises(Killed):
            train(run, store, observers=[Killer(step)], device="cpu", checkpoint=1e-9, **options)
        assert store.resume_file(run.id).is_file()
        assert store.find(run.id) is None
    return store


@pytest.mark.parametrize("name", CASES)
def test_resumed_runs_end_with_the_same_bits(tmp_path, name):
    """Killed at steps 10 and 35, resumed twice."""
    run = Run(CASES[name])
    for root in ("whole", "again"):
        for teacher in run.teachers():
            train(teacher, Store(tmp_path / root), device="cpu")
    whole = content(train(run, Store(tmp_path / "whole"), device="cpu"))
    store = interrupted(run, tmp_path / "again", (10, 35))
    seen = []

    class Watcher(Killer):
        def record(self, step, model, losses):
            seen.append(step)

    assert content(train(run, store, device="cpu", observers=[Watcher(0)])) == whole
    assert seen == [35, 36, 37, 38, 39, 40], (
        "the last checkpoint was of step 34: the observer is asked before it is written"
    )
    assert not list((store.root / "resume").iterdir())


SEQUENCES = {
    "labels": WORD,
    "a teacher": replace(WORD, targets=distill(2.0), teacher=WORD, replica=1),
    "a control that draws": replace(WORD, targets=distill(2.0, control="sampled"), teacher=WORD, replica=1),
    "states in another order": replace(
        WORD,
        targets=distill(2.0),
        teacher=WORD,
        replica=1,
        sequence=replace(SPEC, states=StateTeaching(control="time", feed=0.5)),
    ),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_resumed_sequence_runs_end_with_the_same_bits(tmp_path, name):
    run = Run(SEQUENCES[name])
    for root in ("whole", "again"):
        for teacher in run.teachers():
            train(teacher, Store(tmp_path / root), device="cpu")
    whole = content(train(run, Store(tmp_path / "whole"), device="cpu"))
    store = interrupted(run, tmp_path / "again", (5, 13))
    assert content(train(run, store, device="cpu")) == whole


def test_short_runs_write_none(tmp_path):
    train(Run(CNN), Store(tmp_path), device="cpu")
    assert not (tmp_path / "resume").exists()


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "foreign", "versions"])
def test_a_checkpoint_that_cannot_be_believed_is_not(tmp_path, damage, monkeypatch):
    """The run begins anew, and ends with the same bits."""
    run = Run(CNN)
    whole = content(train(run, Store(tmp_path / "whole"), device="cpu"))
    store = interrupted(run, tmp_path / "again", (20,))
    path = store.resume_file(run.id)
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 8
    elif damage == "cut":
        del data[-50:]
    elif damage == "empty":
        data.clear()
    elif damage == "foreign":
        data[: len(module.MAGIC)] = bytes(len(module.MAGIC))
    else:
        monkeypatch.setattr(module, "made_with", lambda device: ["another version"])
    path.write_bytes(data)
    seen = []

    class Watcher(Killer):
        def record(self, step, model, losses):
            seen.append(step)

    assert content(train(run, store, device="cpu", observers=[Watcher(0)])) == whole
    assert seen[0] == 1


def test_no_checkpoint_of_a_run_that_diverges(tmp_path):
    run = Run(replace(CNN, optim=replace(CNN.optim, lr=1e30, steps=300)))
    with pytest.raises(ArithmeticError):
        train(run, Store(tmp_path), device="cpu", checkpoint=1e-9)
    path = Store(tmp_path).resume_file(run.id)
    if path.is_file():
        state = torch.load(__import__("io").BytesIO(path.read_bytes()[len(module.MAGIC) + 32 :]), weights_only=True)
        assert torch.isfinite(state["losses"]).all()
