import pytest
import torch

from disobey.targets.arms import ARMS
from disobey.targets.controls import CONTROLS, OF_ALL, controlled
from disobey.targets.losses import LOSSES, label_loss, loss_at


def test_every_arm_of_the_table_is_there():
    numbers = {int(name[1:].rstrip("abc")) for name in ARMS}
    assert numbers == set(range(19))
    used = {arm.control for arm in ARMS.values() if arm.control}
    said_otherwise = {"teacher", "labels", "smoothed"}  # what schedules say in other words
    beyond = {"rank_only"}  # of `teacher-choice`, no arm of the paper's table
    assert used | said_otherwise | beyond == {*CONTROLS, OF_ALL}


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_trains(name):
    arm = ARMS[name]
    (term,) = arm.schedule(4.0).at(0.0)
    assert term.loss in LOSSES
    assert term.temperature == (4.0 if arm.tempered else 1.0)
    labels = torch.arange(12) % 4
    generator = torch.Generator().manual_seed(0)
    teacher = 3 * torch.randn(12, 4, generator=generator) + 3 * torch.eye(4)[labels]
    student = torch.randn(12, 4, generator=generator, requires_grad=True)
    if term.source == "labels":
        loss = label_loss(term.loss, term.temperature, term.smoothing)(student, labels)
    else:
        target, weights = controlled(
            term.control or "teacher",
            teacher,
            labels,
            generator,
            temperature=term.temperature,
            amount=term.amount,
            pool=(teacher, labels),
        )
        loss = loss_at(term.loss, term.temperature)(student, target) * (1 if weights is None else weights)
    loss.mean().backward()
    assert loss.shape == (12,)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    assert student.grad.norm() > 1e-3


def test_arms_with_amounts_take_others():
    assert ARMS["A3"].schedule(amount=0.4).phases[0].terms[0].smoothing == 0.4
    assert ARMS["A16"].schedule(amount=5).phases[0].terms[0].amount == 5
    assert ARMS["A16"].schedule().phases[0].terms[0].amount == ARMS["A16"].amounts[0]


def test_arms_are_different_runs_unless_preparation_tells_them_apart():
    schedules = {name: arm.schedule() for name, arm in ARMS.items() if not arm.needs}
    assert len(set(schedules.values())) == len(schedules)
