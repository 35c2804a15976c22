"""`KDLoss` in a plain loop is what the laboratory's own loop trains on, and refuses what it cannot do."""

import subprocess
import sys

import pytest
import torch

from disobey.targets.controls import CONTROLS, PAPER_IDS, controlled
from disobey.targets.kd_loss import BY_ROW, KDLoss, scheduled_loss
from disobey.targets.losses import distillation
from disobey.targets.schedule import distill, labels, match, switch
from disobey.targets.teacher_free import mask_confusable
from disobey.training.batches import Batch
from disobey.training.objective import Objective
from disobey.training.teacher_table import Table
from tests.support.refusals import refuses

GENERATOR = torch.Generator().manual_seed(0)
STUDENT = torch.randn(6, 4, generator=GENERATOR)
TEACHER = torch.randn(6, 4, generator=GENERATOR)
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
SCHEDULES = {
    "mixture": distill(4.0, weight=0.9),
    "switch": switch(labels(0.1), distill(2.0), at=0.5, over=0.4),
    "annealed": distill(8.0, temperature_to=1.0),
    "match": match(weight=0.5),
    "reverse": distill(2.0, loss="reverse_kl"),
    "control": distill(2.0, control="confidence_only"),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("step", [0, 4, 9])
def test_value_and_gradient_are_the_laboratorys_own(name, step):
    schedule = SCHEDULES[name]
    table = Table(TEACHER, "plain")
    rows = torch.arange(6)
    value, gradient = Objective(schedule, 10, LABELS, table)(step, STUDENT, Batch(STUDENT, rows, rows * 0))
    leaf = STUDENT.clone().requires_grad_()
    loss = KDLoss(schedule)(leaf, LABELS, TEACHER, progress=step / 10)
    loss.backward()
    torch.testing.assert_close(loss.detach(), value.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(leaf.grad, gradient.float(), rtol=1e-4, atol=1e-5)


def test_the_default_is_the_usual_mixture():
    expected = distillation(STUDENT, TEACHER, LABELS, temperature=4.0, weight=0.9)
    torch.testing.assert_close(KDLoss(reduction="none")(STUDENT, LABELS, TEACHER), expected)


def test_ignored_positions_count_nowhere():
    logits, teacher = STUDENT.view(2, 3, 4).clone().requires_grad_(), TEACHER.view(2, 3, 4)
    observed = LABELS.view(2, 3).clone()
    observed[0, 1] = -100
    loss = SCHEDULES["mixture"].loss(logits, observed, teacher)
    loss.backward()
    kept = [0, 2, 3, 4, 5]
    expected = SCHEDULES["mixture"].loss(STUDENT[kept], LABELS[kept], TEACHER[kept])
    torch.testing.assert_close(loss, expected)
    assert logits.grad[0, 1].abs().sum() == 0
    each = KDLoss(SCHEDULES["mixture"], reduction="none")(logits, observed, teacher)
    assert each.shape == (2, 3)
    assert each[0, 1] == 0
    assert float(KDLoss()(STUDENT, torch.full((6,), -100), TEACHER)) == 0


def test_no_gradient_flows_into_the_teacher():
    teacher = TEACHER.clone().requires_grad_()
    student = STUDENT.clone().requires_grad_()
    KDLoss()(student, LABELS, teacher).backward()
    assert teacher.grad is None


def test_a_module_moves_and_prints():
    loss = KDLoss(SCHEDULES["switch"])
    assert list(loss.parameters()) == []
    assert "T=2" in repr(loss)


AMOUNTS = {"smoothed": 0.2, "virtual_teacher": 20.0}


def test_controls_by_row_need_no_table():
    for name in BY_ROW - {"teacher", "labels"}:
        whole, _ = controlled(name, TEACHER, LABELS, torch.Generator(), temperature=2.0, amount=AMOUNTS.get(name, 2.0))
        rows = [
            controlled(
                name,
                TEACHER[i : i + 1],
                LABELS[i : i + 1],
                torch.Generator(),
                temperature=2.0,
                amount=AMOUNTS.get(name, 2.0),
            )
            for i in range(6)
        ]
        torch.testing.assert_close(whole, torch.cat([logits for logits, _ in rows]))


@pytest.mark.parametrize("name", sorted(set(CONTROLS) - BY_ROW - {"margin"}))
def test_other_controls_are_refused(name):
    with refuses("control-needs-table", name):
        KDLoss(distill(2.0, control=name))(STUDENT, LABELS, TEACHER)


def test_what_cannot_be_done_is_refused():
    with refuses("progress-missing"):
        KDLoss(SCHEDULES["switch"])(STUDENT, LABELS, TEACHER)
    with refuses("progress-range", "1.5"):
        KDLoss()(STUDENT, LABELS, TEACHER, progress=1.5)
    with refuses("teacher-missing"):
        KDLoss()(STUDENT, LABELS)
    with refuses("logit-shapes", "(6, 3)"):
        KDLoss()(STUDENT, LABELS, TEACHER[:, :3])
    with refuses("logit-shapes"):
        KDLoss()(STUDENT, LABELS[:5], TEACHER)
    with refuses("mask-needs-recipe", "spare_student"):
        KDLoss(mask_confusable("student", amount=0.5, after=0.0))(STUDENT, LABELS, TEACHER)
    with refuses("unknown-reduction"):
        scheduled_loss(labels(), STUDENT, LABELS, reduction="sum")  # type: ignore[arg-type]


def test_controls_answer_to_the_ids_of_their_arms():
    for id, control in PAPER_IDS.items():
        if control == "class_mean_of_all":
            continue
        drawn = [
            controlled(
                who,
                TEACHER,
                LABELS,
                torch.Generator().manual_seed(1),
                temperature=2.0,
                amount=AMOUNTS.get(control, 2.0),
            )[0]
            for who in (id, control)
        ]
        assert torch.equal(*drawn), id
    with refuses("unknown-control", "A17"):
        controlled("A17", TEACHER, LABELS, torch.Generator())


def test_import_stays_light():
    code = """
import sys, disobey
assert not {"torch", "scipy", "numpy", "sklearn"} & set(sys.modules), sorted(sys.modules)
disobey.distill(4.0), disobey.labels()
assert "torch" not in sys.modules
disobey.measure([[1.0, 0.0]], [[0.0, 1.0]])
assert "torch" not in sys.modules
disobey.KDLoss(disobey.distill(4.0))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
