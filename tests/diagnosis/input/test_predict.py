"""Two modules and batches: the right numbers, the modes restored, and what makes them meaningless refused."""

import numpy as np
import pytest
import torch
from torch import nn

import disobey
from tests.support.refusals import refuses


def _net(seed, classes=3, extra=()):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), *extra, nn.Linear(16, classes))


def _batches(n=50, size=8):
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(n, 4, generator=rng), torch.randint(3, (n,), generator=rng)
    return list(zip(x.split(size), y.split(size), strict=True)), x, y


def test_log_probabilities_are_the_models_own():
    batches, x, y = _batches()
    teacher, student = _net(0, extra=[nn.Dropout(0.5)]), _net(1, extra=[nn.BatchNorm1d(16)])
    teacher.train()
    found = disobey.predict_pair(teacher, student, batches, twin=_net(2))
    assert teacher.training
    assert teacher[2].training
    with torch.no_grad():
        np.testing.assert_allclose(found.teacher, teacher.eval()(x).log_softmax(1).numpy(), atol=1e-6)
        np.testing.assert_allclose(found.student, student.eval()(x).log_softmax(1).numpy(), atol=1e-6)
    np.testing.assert_array_equal(found.labels, y.numpy())
    assert disobey.diagnose(found).summary
    assert len(disobey.predict_pair(teacher, student, batches, limit=11)) == 11


def test_what_is_no_model_and_what_gives_nan_is_told_so():
    batches, _, _ = _batches()
    with refuses("not-a-module", "teacher", "str"):
        disobey.predict_pair("teacher.pt", _net(1), batches)  # type: ignore[arg-type]
    broken = _net(1)
    nn.init.constant_(broken[2].bias, float("nan"))
    with refuses("not-finite", "student"):
        disobey.predict_pair(_net(0), broken, batches)


def test_inputs_of_every_shape():
    batches, _x, _ = _batches()
    a, b = _net(0), _net(1)
    expected = disobey.predict_pair(a, b, batches).student

    class Named(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, values):
            return {"logits": self.net(values)}

    for found in (
        disobey.predict_pair(a, b, [xs for xs, _ in batches]),
        disobey.predict_pair(Named(a), Named(b), [{"values": xs, "labels": ys} for xs, ys in batches]),
        disobey.predict_pair(a, b, [[xs] for xs, _ in batches], forward=lambda model, inputs: (model(inputs), None)),
    ):
        np.testing.assert_allclose(found.student, expected, atol=1e-6)


def test_tokens_are_examples_and_ignored_ones_are_left_out():
    x = torch.randn(2, 5, 4)
    y = torch.tensor([[0, 1, -100, 2, 0], [-100, 1, 1, 1, -100]])
    found = disobey.predict_pair(_net(0), _net(1), [(x, y)])
    assert found.teacher.shape == (7, 3)
    np.testing.assert_array_equal(found.labels, [0, 1, 2, 0, 1, 1, 1])


class _AlwaysTraining(nn.Dropout):
    def train(self, mode=True):
        return super().train(True)


class _Noisy(nn.Module):
    def forward(self, x):
        return x[:, :3] + torch.rand(len(x), 3)


@pytest.mark.parametrize(
    ("student", "id"),
    [
        (_Noisy(), "random-output"),
        (_net(1, extra=[_AlwaysTraining(0.5)]), "training-mode"),
        (_net(1, extra=[nn.BatchNorm1d(16, track_running_stats=False)]), "batch-norm"),
        (_net(1, classes=4), "other-shape"),
        (nn.Sequential(nn.Linear(4, 3), nn.Flatten(0)), "logit-shape"),
    ],
)
def test_meaningless_models_are_refused(student, id):
    with refuses(id, "student"):
        disobey.predict_pair(_net(0), student, _batches()[0])


def test_bad_batches_are_refused():
    a, b = _net(0), _net(1)
    x = torch.randn(5, 4)
    for batches, id in (
        ([], "no-batches"),
        ([(x, torch.full((5,), 7))], "label-range"),
        ([(x, torch.rand(5))], "label-type"),
        ([(x, torch.zeros(4, dtype=torch.long))], "label-shape"),
        ([(x * float("nan"), torch.zeros(5, dtype=torch.long))], "not-finite"),
        ([(x, None, 3)], "batch-form"),
    ):
        with refuses(id):
            disobey.predict_pair(a, b, batches)
