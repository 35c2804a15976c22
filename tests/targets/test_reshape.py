"""Reshaped teachers: what an obedient student would show, exactly."""

import pytest
import torch

from disobey.targets.controls import controlled
from disobey.targets.losses import loss_at
from disobey.targets.reshape import (
    RESHAPES,
    sloped,
    top_log_odds,
    underfit_lowest_kept,
    underfit_random_kept,
)
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


UNDERFITS = ("underfit_lowest_kept", "underfit_random_kept")


def falls(log_probs, name, factor=2.0):
    changed = RESHAPES[name](log_probs, seeded(), factor)
    return top_log_odds(log_probs) - log_odds_of(changed, log_probs.argmax(-1))


def test_the_random_quarter_gets_the_same_decreases(log_probs):
    low, random = (falls(log_probs, name) for name in UNDERFITS)
    lowest = set(top_log_odds(log_probs).argsort()[:10].tolist())
    assert set(torch.nonzero(low.abs() > 1e-9).flatten().tolist()) <= lowest
    assert bool((low > -1e-9).all())
    assert set(torch.nonzero(random.abs() > 1e-9).flatten().tolist()) != lowest
    torch.testing.assert_close(low.sort().values, random.sort().values)


@pytest.mark.parametrize("name", UNDERFITS)
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_an_underfit_keeps_every_class_and_half_of_its_lead(name, temperature):
    generator = torch.Generator().manual_seed(2)
    teacher = torch.log_softmax(2 * torch.randn(400, 7, generator=generator, dtype=torch.float64), -1)
    target, _ = controlled(
        name, teacher, torch.zeros(400, dtype=torch.long), seeded(), temperature=temperature, amount=8.0
    )
    first, second = teacher.topk(2, -1)[0].unbind(-1)
    top = teacher.argmax(-1, keepdim=True)
    after = target.gather(-1, top) - target.scatter(-1, top, -torch.inf).max(-1, keepdim=True).values
    assert bool((after.squeeze(-1) >= (first - second) / 2 - 1e-5).all())
    assert torch.equal(target.argmax(-1), teacher.argmax(-1))


def test_an_underfit_takes_what_the_factor_asks_where_the_lead_allows_it():
    p = torch.tensor([[0.75, 0.13, 0.12], *[[0.9, 0.05, 0.05]] * 3], dtype=torch.float64).log()
    x = top_log_odds(p)
    lead = float(p[0, 0] - p[0, 1])
    assert falls(p, "underfit_lowest_kept", 1.1)[0] == pytest.approx(0.1 * float(x[1] - x[0]))
    assert falls(p, "underfit_lowest_kept", 100.0)[0] == pytest.approx(lead / 2)


@pytest.mark.parametrize("seed", range(5))
def test_decreases_find_a_place_even_where_only_the_lowest_quarter_has_room(seed):
    tight = torch.tensor([[0.5, 0.5, 0.0001]] * 30 + [[0.55, 0.44, 0.01]] * 10, dtype=torch.float64).log()
    tight = torch.log_softmax(tight, -1)
    low = underfit_lowest_kept(tight, 2.0)
    random = underfit_random_kept(tight, torch.Generator().manual_seed(seed), 2.0)
    changes = [(top_log_odds(tight) - top_log_odds(q)).sort().values for q in (low, random)]
    torch.testing.assert_close(*changes)


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
