"""What cannot be trained or repeated is noticed at the first batch; what diverges, within a hundred steps."""

import time
from dataclasses import replace

import pytest
import torch

from disobey.data.dataset import DataSpec
from disobey.models.spec import ModelSpec
from disobey.records.store import Store
from disobey.training import loop
from disobey.training.execution.engine import run_all
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec
from disobey.training.stacked import loop as stacked_loop
from disobey.training.stacked import train as stacked_train

DATA = DataSpec("digits-8x8", train=100)
PLAIN = Recipe(DATA, ModelSpec("mlp", width=8), OptimSpec(steps=5, batch=16))

FACTORY = """
import random
import numpy as np
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Linear(64, 10)
        self.head = nn.Linear(10, classes)
    def forward(self, x):
        return self.head(self.body(x.flatten(1)).relu())

class Tied(Net):
    def __init__(self, classes):
        super().__init__(classes)
        self.again = nn.Linear(10, 10)
        self.third = nn.Linear(10, 10)
        self.third.weight = self.again.weight
    def forward(self, x):
        h = self.body(x.flatten(1)).relu()
        return self.head(self.third(self.again(h).relu()).relu())

class Noisy(Net):
    def forward(self, x):
        return super().forward(x) + random.random()

def plain(shape, classes): return Net(classes)
def wide(shape, classes): return Net(classes + 1)
def tied(shape, classes): return Tied(classes)
def noisy(shape, classes): return Noisy(classes)
def infinite(shape, classes):
    net = Net(classes)
    nn.init.constant_(net.head.bias, float("inf"))
    return net
def drawn(shape, classes):
    net = Net(classes)
    with torch.no_grad():
        net.head.weight.copy_(torch.from_numpy(np.random.default_rng().normal(size=tuple(net.head.weight.shape))))
    return net
def dropped(shape, classes): return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, classes))
"""


def outcome_of(tmp_path, factory, steps=100_000):
    path = tmp_path / "mine.py"
    path.write_text(FACTORY)
    run = Run(replace(PLAIN, model=ModelSpec(f"{path}:{factory}"), optim=replace(PLAIN.optim, steps=steps)))
    return run, run_all([run], Store(tmp_path / "store"), workers=0)


@pytest.mark.parametrize(
    ("factory", "id"),
    [
        ("wide", "wrong-outputs"),
        ("infinite", "not-finite-outputs"),
        ("drawn", "unseeded-weights"),
        ("noisy", "unseeded-outputs"),
    ],
)
def test_unsound_networks_fail_before_they_are_trained(tmp_path, factory, id):
    """Each was trained in full first (here: 100,000 steps), and lost or kept with numbers that nobody can repeat."""
    began = time.monotonic()
    run, outcome = outcome_of(tmp_path, factory)
    assert outcome.failed[run].id == id
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("factory", ["plain", "tied", "dropped"])
def test_sound_networks_are_trained_and_read_back(tmp_path, factory):
    """Tied weights were trained in full, and lost: safetensors writes no shared memory."""
    run, outcome = outcome_of(tmp_path, factory, steps=5)
    assert not outcome.failed, outcome.failed[run].message
    from disobey.data.load import load
    from disobey.training.restore import trained

    model = trained(run, outcome.records[run], load(DATA, 0))
    if factory == "tied":
        assert model.third.weight is model.again.weight


@pytest.mark.parametrize("factory", ["mlp", "cnn"])
def test_divergence_is_noticed_within_a_hundred_steps(tmp_path, factory):
    optim = OptimSpec(steps=200_000, batch=16, lr=1e30)
    run = Run(replace(PLAIN, model=ModelSpec(factory, width=8), optim=optim))
    began = time.monotonic()
    outcome = run_all([run], Store(tmp_path), workers=0)
    assert outcome.failed[run].id == "diverged"
    assert "of 200000" in outcome.failed[run].message
    assert time.monotonic() - began < 60


def test_the_patrol_reads_what_is_ready():
    patrol, losses = loop.Patrol(), torch.zeros(200)
    losses[60:] = torch.nan
    assert [done for done in range(1, 201) if patrol(done, losses)] == [100, 150, 200]
    stack = torch.zeros(200, 2)
    stack[60:, 0] = torch.nan
    assert not any(loop.Patrol()(done, stack) for done in range(1, 201)), "one slice goes on"


def test_a_stack_that_raises_takes_only_the_guilty_run_with_it(tmp_path, monkeypatch):
    """All members of a stack failed where one did."""
    runs = [Run(PLAIN, seed) for seed in range(4)]
    whole = run_all(runs, Store(tmp_path / "whole"), workers=0).records
    fit_stack = stacked_loop.fit_stack

    def poisoned(slices, **kwargs):
        if any(one.run.seed == 2 for one in slices):
            raise RuntimeError("seed 2 is poison")
        return fit_stack(slices, **kwargs)

    monkeypatch.setattr(stacked_train, "fit_stack", poisoned)
    from disobey.training.tasks import classification

    monkeypatch.setattr(classification, "fit_stack", poisoned)
    outcome = run_all(runs, Store(tmp_path / "store"), workers=0)
    assert set(outcome.failed) == {runs[2]}
    assert "seed 2 is poison" in outcome.failed[runs[2]].message
    for run in (runs[0], runs[1], runs[3]):
        for name in ("weights/last.safetensors", "predictions/test.npy"):
            assert (outcome.records[run].path / name).read_bytes() == (whole[run].path / name).read_bytes()
