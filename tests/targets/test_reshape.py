"""Reshaped teachers: what an obedient student would show, exactly."""

import pytest
import torch

from disobey.targets.controls import controlled
from disobey.targets.losses import loss_at
from disobey.targets.reshape import RESHAPES, sloped, top_log_odds, underfit_lowest, underfit_random
from tests.support.refusals import refuses


@pytest.fixture
def log_probs():
    generator = torch.Generator().manual_seed(0)
    return torch.log_softmax(3 * torch.randn(40, 5, generator=generator, dtype=torch.float64), -1)


def seeded():
    return torch.Generator().manual_seed(1)


def log_odds_of(log_probs, classes):
    rest = log_probs.scatter(-1, classes[:, None], -torch.inf).logsumexp(-1)
    return log_probs.gather(-1, classes[:, None]).squeeze(-1) - rest


@pytest.mark.parametrize("slope", [0.7, 1.0, 1.3, 1.6])
def test_an_obedient_student_has_the_forced_slope(log_probs, slope):
    x = top_log_odds(log_probs)
    y = log_odds_of(sloped(log_probs, slope), log_probs.argmax(-1))
    torch.testing.assert_close(y, slope * x)


@pytest.mark.parametrize("name", RESHAPES)
def test_amount_1_changes_nothing_and_rows_are_distributions(log_probs, name):
    torch.testing.assert_close(RESHAPES[name](log_probs, seeded(), 1.0), log_probs)
    changed = RESHAPES[name](log_probs, seeded(), 2.0)
    torch.testing.assert_close(changed.exp().sum(-1), torch.ones(40, dtype=torch.float64))


def test_the_random_quarter_gets_the_same_changes(log_probs):
    top, x = log_probs.argmax(-1), top_log_odds(log_probs)
    low = log_odds_of(underfit_lowest(log_probs, 2.0), top) - x
    random = log_odds_of(underfit_random(log_probs, seeded(), 2.0), top) - x
    assert set(torch.nonzero(low.abs() > 1e-9).flatten().tolist()) == set(x.argsort()[:10].tolist())
    assert bool((low < 1e-9).all())
    torch.testing.assert_close(low.sort().values, random.sort().values)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("name", RESHAPES)
def test_the_loss_has_no_gradient_at_the_reshaped_teacher(log_probs, name, temperature):
    labels = torch.zeros(40, dtype=torch.long)
    target, weights = controlled(name, log_probs, labels, seeded(), temperature=temperature, amount=1.6)
    student = target.clone().requires_grad_(True)
    loss_at("kl", temperature)(student, target).sum().backward()
    assert weights is None
    assert student.grad is not None
    assert float(student.grad.abs().max()) < 1e-6


def test_gradients_at_the_plain_teacher_push_towards_the_forced_slope(log_probs):
    student = log_probs.clone().requires_grad_(True)
    loss_at("kl")(student, sloped(log_probs, 1.6)).sum().backward()
    top = log_probs.argmax(-1, keepdim=True)
    assert student.grad is not None
    step = -student.grad.gather(-1, top).squeeze(-1)
    x = top_log_odds(log_probs)
    assert torch.equal(step > 0, x > 0)


@pytest.mark.parametrize("amount", [0.0, -1.0, float("inf")])
def test_amounts_must_be_positive(log_probs, amount):
    with refuses("reshape-amount"):
        sloped(log_probs, amount)
