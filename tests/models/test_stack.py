"""Stacks of equal networks against the networks themselves."""

import pytest
import torch
from torch import nn

from disobey.models.convnet import ConvNet, LeNet
from disobey.models.mlp import MLP
from disobey.models.stack import FunctionalStack, MLPStack, padded, stackable
from tests.support.refusals import refuses

SHAPES = [((64,), 10, 32, 1), ((1, 7, 9), 10, 13, 2), ((5,), 3, 7, 3), ((20,), 2, 1, 1), ((6,), 4, 9, 0)]


def models(shape, classes, width, depth, count=3):
    torch.manual_seed(0)
    return [MLP(shape, classes, width=width, depth=depth) for _ in range(count)]


@pytest.mark.parametrize("case", SHAPES)
def test_a_round_trip_changes_no_bit(case):
    nets = models(*case)
    stack = MLPStack(nets)
    for k, net in enumerate(nets):
        state = stack.state(k)
        assert list(state) == list(net.state_dict())
        assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())
        net.load_state_dict(state)


@pytest.mark.parametrize("case", SHAPES)
@pytest.mark.parametrize("shared", [False, True])
def test_logits_and_gradients_equal_autograd(case, shared):
    """Values and all parameters' gradients against the slices' own graphs, and against the stack's own `forward`."""
    nets = [net.double() for net in models(*case)]
    stack, classes = MLPStack(nets), case[1]
    x = torch.randn(1 if shared else 3, 16, *case[0], dtype=torch.float64)
    out = torch.randn(3, 16, classes, dtype=torch.float64)
    rows = stack.inputs(len(x), 16)
    rows[..., : stack.sizes[0]] = x.flatten(2)
    gradient = torch.zeros(3, stack.wide[-1], 16, dtype=torch.float64)
    gradient[:, :classes] = out.transpose(1, 2)
    units = stack.run(rows, [(0, 3)])
    stack.backward(rows, [(0, 3)], units, gradient)
    written = stack.flat.grad.clone()
    weights, biases = stack.gradients()
    for k, net in enumerate(nets):
        logits = net(x[0 if shared else k])
        torch.testing.assert_close(units[-1][k].T, logits, rtol=0, atol=1e-12)
        logits.backward(out[k])
        for place, linear in enumerate(m for m in net.modules() if isinstance(m, nn.Linear)):
            rows_, columns = linear.weight.shape
            torch.testing.assert_close(weights[place][k, :rows_, :columns], linear.weight.grad, rtol=0, atol=1e-12)
            torch.testing.assert_close(biases[place][k, :rows_, 0], linear.bias.grad, rtol=0, atol=1e-12)
    stack.flat.grad = None
    stack(x.expand(3, *x.shape[1:]).flatten(2)).backward(out)
    torch.testing.assert_close(stack.flat.grad, written, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", SHAPES)
def test_what_only_fills_lines_stays_zero(case):
    """Training with weight decay moves no padded number, so it can move no other one."""
    stack = MLPStack(models(*case))
    real = torch.zeros_like(stack.flat, dtype=torch.bool)
    for k in range(3):
        for name, value in MLPStack.views(stack, k).items():
            value.fill_(value.abs().max() + 1)
            assert name
    real = stack.flat.detach() != 0
    optimizer = torch.optim.AdamW(stack.parameters(), lr=0.1, weight_decay=0.1, fused=True)
    for _ in range(5):
        rows = stack.inputs(3, 16)
        rows[..., : stack.sizes[0]] = torch.randn(3, 16, stack.sizes[0])
        units = stack.run(rows, [])
        gradient = torch.zeros(3, stack.wide[-1], 16)
        gradient[:, : stack.classes] = torch.randn(3, stack.classes, 16)
        stack.backward(rows, [], units, gradient)
        optimizer.step()
    assert (stack.flat.detach()[~real] == 0).all()
    assert int(real.sum()) == 3 * sum(p.numel() for p in models(*case)[0].parameters())


def test_streams_feed_their_slices():
    nets = models((20,), 4, 8, 1, count=5)
    stack, spans = MLPStack(nets), [(0, 2), (2, 3), (3, 5)]
    rows = stack.inputs(3, 16)
    rows[..., :20] = torch.randn(3, 16, 20)
    logits = stack.run(rows, spans)[-1]
    for x, (first, end) in zip(rows, spans, strict=True):
        for k in range(first, end):
            torch.testing.assert_close(logits[k].T, nets[k](x[:, :20]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("nets", "id"),
    [
        ([], "not-stackable"),
        ([MLP((4,), 2, dropout=0.5)], "not-stackable"),
        ([MLP((4,), 2), MLP((5,), 2)], "stack-shapes"),
        ([nn.Linear(4, 2)], "not-stackable"),
    ],
    ids=["none", "dropout", "shapes", "kind"],
)
def test_what_cannot_be_stacked_is_refused(nets, id):
    with refuses(id):
        MLPStack(nets)


def test_batch_norm_and_dropout_are_not_stackable():
    assert not stackable(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    assert not stackable(nn.Dropout(0.2))
    assert stackable(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.0), nn.GroupNorm(1, 2)))
    with refuses("not-stackable", "batch norm"):
        FunctionalStack([nn.BatchNorm1d(2)])
    assert [padded(n) for n in (1, 16, 17)] == [16, 16, 32]


class Small(nn.Module):
    """A convolution, a buffer and a linear layer."""

    def __init__(self):
        super().__init__()
        self.convolution, self.head = nn.Conv2d(1, 3, 3), nn.Linear(3, 4)
        self.register_buffer("shift", torch.rand(3))

    def forward(self, x):
        return self.head(self.convolution(x).relu().mean((2, 3)) + self.shift)


def test_a_functional_stack_equals_its_networks():
    """Any network without batch norm: values, gradients, exact state dictionaries, shared batches."""
    nets = [Small().double() for _ in range(3)]
    stack = FunctionalStack(nets)
    x, out = torch.randn(3, 6, 1, 5, 5, dtype=torch.float64), torch.randn(3, 6, 4, dtype=torch.float64)
    logits = stack(x)
    logits.backward(out)
    for k, net in enumerate(nets):
        assert all(torch.equal(stack.state(k)[name], value) for name, value in net.state_dict().items())
        torch.testing.assert_close(logits[k], net(x[k]), rtol=0, atol=1e-12)
        net(x[k]).backward(out[k])
        for name, parameter in net.named_parameters():
            stacked = stack.stacked[stack.names.index(name)].grad[k]
            torch.testing.assert_close(stacked, parameter.grad, rtol=0, atol=1e-12)
        torch.testing.assert_close(stack(x[0], shared=True)[k], net(x[0]), rtol=0, atol=1e-12)


def test_our_small_networks_go_through_functional_stacks():
    assert not stackable(ConvNet((1, 12, 12), 10, width=4))  # batch norm
    nets = [LeNet((1, 12, 12), 10, width=4) for _ in range(2)]
    x = torch.randn(2, 4, 1, 12, 12)
    stacked = FunctionalStack(nets)(x)
    for k, net in enumerate(nets):
        torch.testing.assert_close(stacked[k], net(x[k]), rtol=1e-4, atol=1e-5)
