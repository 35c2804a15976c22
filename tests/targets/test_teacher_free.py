"""Masking confusable classes: the correction of the theory at uniform predictions, nothing without structure."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import disobey
from disobey.targets.teacher_free import (
    class_confusion,
    group_strength,
    mask_confusable,
    masked_cross_entropy,
    masked_gradient,
    relative_strength,
)
from disobey.theory.class_similarity import SimilarClasses, corrected_ratio
from tests.support.refusals import refuses

LOGITS = torch.randn(40, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(40) % 5


def slow_gradient(logits, labels, strength, amount):
    """Entry by entry."""
    rows = []
    for z, y in zip(logits, labels, strict=True):
        g = torch.softmax(z, 0)
        g[y] -= 1
        for k in range(len(g)):
            if k != y:
                g[k] = (1 - amount * strength[y, k]) * g[k]
        rows.append(g - g.mean())
    return torch.stack(rows)


@pytest.mark.parametrize("amount", [0.0, 0.5, 1.0, 1.5])
def test_gradient_equals_the_slow_twin(amount):
    strength = relative_strength(class_confusion(LOGITS, LABELS))
    leaf = LOGITS.clone().requires_grad_(True)
    value = masked_cross_entropy(leaf, LABELS, strength, amount)
    (found,) = torch.autograd.grad(value.sum(), leaf)
    torch.testing.assert_close(found, slow_gradient(LOGITS, LABELS, strength, amount))
    torch.testing.assert_close(value.detach(), F.cross_entropy(LOGITS, LABELS, reduction="none"))


def test_amount_zero_or_no_structure_is_cross_entropy():
    plain = torch.softmax(LOGITS, 1) - F.one_hot(LABELS, 5)
    uniform = relative_strength(torch.full((5, 5), 0.2))
    for strength, amount in ((group_strength((0, 0, 1, 1, 2)), 0.0), (uniform, 1.0)):
        torch.testing.assert_close(masked_gradient(plain, LABELS, strength, amount), plain)


def test_zeroing_is_the_theory_at_uniform_predictions():
    """Counted without input noise: signal and residual power of a two-class-similar model, amount h against theory."""
    classes, amount = 4, 1.0
    pairs = np.array([(y, s) for y in range(classes) for s in range(classes) if s != y])
    model = SimilarClasses(len(pairs), classes, 50, 0.6, 0.3)
    # An example's secondary class stands in for its class's confusable one: one strength a row.
    gradient = torch.softmax(torch.zeros(len(pairs), classes, dtype=torch.float64), 1)
    gradient -= F.one_hot(torch.tensor(pairs[:, 0]), classes)
    masked = []
    for g, (y, s) in zip(gradient, pairs, strict=True):
        strength = torch.zeros(classes, classes)
        strength[y, s] = 1
        masked.append(masked_gradient(g[None], torch.tensor([y]), strength, amount)[0])
    inputs = np.zeros((len(pairs), model.features))
    rows = np.arange(len(pairs))
    inputs[rows, pairs[:, 0]] += model.own
    inputs[rows, pairs[:, 1]] += model.similarity
    signals = [np.sum((inputs.T @ r.numpy()) ** 2) for r in (torch.stack(masked), gradient)]
    powers = [float((r**2).sum()) for r in (torch.stack(masked), gradient)]
    ratio = signals[0] / signals[1] * powers[1] / powers[0]
    assert ratio == pytest.approx(corrected_ratio(model, amount), rel=1e-9)


def test_strength_ignores_scale_floor_and_order_of_classes():
    confusion = class_confusion(LOGITS, LABELS)
    noisy = 0.8 * confusion + 0.2 / 5
    torch.testing.assert_close(relative_strength(noisy), relative_strength(confusion))
    order = torch.tensor([3, 1, 4, 0, 2])
    moved = relative_strength(class_confusion(LOGITS[:, order], torch.argsort(order)[LABELS]))
    torch.testing.assert_close(moved, relative_strength(confusion)[order][:, order])


def test_rows_sum_to_zero_and_the_label_is_still_pulled_up():
    plain = torch.softmax(LOGITS, 1) - F.one_hot(LABELS, 5)
    masked = masked_gradient(plain, LABELS, group_strength((0, 0, 0, 1, 1)), 1.0)
    torch.testing.assert_close(masked.sum(1), torch.zeros(40, dtype=torch.float64))
    assert (masked[torch.arange(40), LABELS] < 0).all()


@pytest.mark.parametrize(
    ("wrong", "id"),
    [
        (lambda: mask_confusable("parents"), "unknown-mask"),
        (lambda: mask_confusable("groups"), "mask-groups"),
        (lambda: mask_confusable("student", groups=(0, 1)), "mask-groups"),
        (lambda: mask_confusable("student", after=1.0), "mask-start"),
        (lambda: masked_gradient(LOGITS, LABELS, group_strength(range(5)), 2.0), "mask-amount"),
    ],
)
def test_bad_options_are_refused(wrong, id):
    with refuses(id):
        wrong()


def test_schedules_hash_and_say_whether_they_use_the_teacher():
    assert mask_confusable("teacher").uses_teacher
    assert not mask_confusable("student").uses_teacher
    assert hash(mask_confusable("groups", groups=[0, 0, 1])) == hash(mask_confusable("groups", groups=(0, 0, 1)))


def test_old_names_mean_the_same():
    assert disobey.spare is disobey.mask_confusable is mask_confusable
