"""Schedules against PyTorch's own, step by step."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from disobey.training.optim import Rates, learning_rates, momenta, optimizer
from disobey.training.specs import OptimSpec


def torch_cycle(spec: OptimSpec) -> tuple[list[float], list[float]]:
    """Rate and momentum of every step, by `OneCycleLR`."""
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    opt = optimizer(spec, parameters)
    rise = spec.warmup / spec.steps if spec.warmup else 0.3
    kind = "cos" if spec.decay == "one-cycle" else "linear"
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        opt, spec.lr, total_steps=spec.steps, pct_start=rise, anneal_strategy=kind
    )
    rates, momentum = [], []
    for step in range(spec.steps):
        group = opt.param_groups[0]
        rates.append(group["lr"])
        momentum.append(group["momentum"] if spec.name == "sgd" else group["betas"][0])
        parameters[0].grad = torch.zeros(1)
        opt.step()
        if step < spec.steps - 1:
            schedule.step()
    return rates, momentum


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("decay", ["one-cycle", "one-cycle-linear"])
@pytest.mark.parametrize(("warmup", "steps"), [(0, 50), (10, 50), (0, 7)])
def test_one_cycle_is_that_of_torch(name, decay, warmup, steps):
    spec = OptimSpec(name, 0.3, steps, warmup=warmup, decay=decay)
    rates, momentum = torch_cycle(spec)
    np.testing.assert_allclose(learning_rates(spec), rates, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(momenta(spec), momentum, rtol=1e-12)


@pytest.mark.parametrize(("warmup", "steps"), [(1, 5), (5, 5), (9, 5), (0, 1), (0, 2), (0, 0)])
def test_short_cycles_have_a_rate_for_every_step(warmup, steps):
    rates = learning_rates(OptimSpec(lr=1.0, steps=steps, warmup=warmup, decay="one-cycle"))
    assert rates.shape == (steps,)
    assert (rates > 0).all()
    assert (rates <= 1).all()


def test_momentum_follows_cycles_only_and_only_where_there_is_some():
    cycle = OptimSpec("sgd", decay="one-cycle")
    assert momenta(OptimSpec("sgd")) is None
    assert momenta(replace(cycle, momentum=0.0)) is None
    low = momenta(replace(cycle, momentum=0.1))
    assert low is not None
    assert low.min() > 0


def test_rates_are_set_before_every_step():
    spec = OptimSpec("adam", 0.1, 4, decay="one-cycle", betas=(0.8, 0.99))
    opt = optimizer(spec, [torch.nn.Parameter(torch.zeros(1))])
    Rates(spec, opt)(0)
    assert opt.param_groups[0]["lr"] == pytest.approx(0.1 / 25)
    assert opt.param_groups[0]["betas"] == (pytest.approx(0.9), 0.99)
