"""Sequence models: one interface for all layers, causality, and a group that is learned."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from disobey.models.recurrent.sequence import LAYERS, STATE_TRACKING, TransformerLayer, sequence_model
from disobey.models.recurrent.solvers import Iterate
from tests.support.refusals import refuses

NAMES = sorted(LAYERS)


def model(name, depth=2, **options):
    torch.manual_seed(0)
    return sequence_model(name, tokens=6, classes=4, d_model=16, depth=depth, **options).double()


@pytest.mark.parametrize("name", NAMES)
def test_step_and_extend_equal_forward(name):
    net, tokens = model(name), torch.randint(6, (3, 9), generator=torch.Generator().manual_seed(1))
    whole = net(tokens)
    assert whole.shape == (3, 9, 4)
    first, states = net.extend(tokens[:, :5])
    rest, _ = net.extend(tokens[:, 5:], states)
    torch.testing.assert_close(torch.cat((first, rest), 1), whole, rtol=0, atol=1e-11)
    states, outputs = None, []
    for t in range(9):
        logits, states = net.step(tokens[:, t], states)
        outputs.append(logits)
    torch.testing.assert_close(torch.stack(outputs, 1), whole, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_causal_and_trainable(name):
    net, tokens = model(name), torch.randint(6, (3, 9), generator=torch.Generator().manual_seed(2))
    changed = tokens.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % 6
    torch.testing.assert_close(net(tokens)[:, :6], net(changed)[:, :6], rtol=0, atol=1e-13)
    net(tokens).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_state_dict_round_trip(name):
    net, tokens = model(name), torch.randint(6, (2, 5), generator=torch.Generator().manual_seed(3))
    torch.manual_seed(9)
    other = sequence_model(name, tokens=6, classes=4, d_model=16, depth=2).double()
    other.load_state_dict(net.state_dict())
    assert torch.equal(net(tokens), other(tokens))


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("name", ["fixed_point", "reflections", "diagonal_signed", "lstm", "elman"])
def test_traced_states_are_the_last_layers(name, depth):
    net = model(name, depth=depth)
    tokens = torch.randint(6, (2, 5), generator=torch.Generator().manual_seed(0))
    logits, states = net.trace(tokens)
    torch.testing.assert_close(logits, net(tokens))
    last = net.extend(tokens)[1][-1]
    last = last[0][0] if name == "lstm" else last[0] if name == "elman" else last
    torch.testing.assert_close(states[:, -1], last)


def test_states_are_traced_only_where_there_is_one_vector_a_position():
    tokens = torch.zeros(1, 3, dtype=torch.long)
    with refuses("no-state-trace", "TransformerLayer"):
        model("transformer").trace(tokens)
    with refuses("no-state-trace", "FixedPointRNN, which has a mixer", "LSTMLayer"):
        model("lstm").trace(tokens, reads=torch.zeros(1, 3, 8))


def test_an_iterating_layer_in_a_model():
    exact, iterated = model("fixed_point"), model("fixed_point", solver="iterate", tol=1e-13, max_iter=500)
    iterated.load_state_dict(exact.state_dict())
    tokens = torch.randint(6, (2, 7), generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(iterated(tokens), exact(tokens), rtol=0, atol=1e-10)
    assert isinstance(iterated.layers[0].solver, Iterate)


def fitted_accuracy(name, table, steps, **options):
    """Train on words of 2 to 6 elements; last-token accuracy at 6."""
    random = np.random.default_rng(0)
    torch.manual_seed(0)
    net = sequence_model(name, tokens=len(table), classes=len(table), d_model=16, d_inner=48, **options)
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3, betas=(0.9, 0.95))

    def batch(count, length):
        words = torch.as_tensor(random.integers(len(table), size=(count, length)))
        state, products = torch.zeros(count, dtype=torch.long), []
        for t in range(length):
            state = torch.as_tensor(table)[state, words[:, t]]
            products.append(state)
        return words, torch.stack(products, 1)

    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * min(1, step / 50, 2 * (1 - step / steps))
        words, products = batch(64, int(random.integers(2, 7)))
        optimizer.zero_grad()
        cross_entropy(net(words).flatten(0, 1), products.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    words, products = batch(500, 6)
    with torch.no_grad():
        return float((net(words).argmax(-1) == products)[:, -1].float().mean())


def test_the_fixed_point_layer_tracks_parity_and_a_diagonal_one_does_not():
    table = np.array([[0, 1], [1, 0]])
    assert fitted_accuracy("fixed_point", table, 200) > 0.95
    assert fitted_accuracy("diagonal", table, 200) < 0.9


def test_errors():
    with refuses("unknown-layer", "fixed_point", "gru"):
        sequence_model("gru", tokens=2, classes=2)
    with refuses("attention-width", "heads", "12"):
        TransformerLayer(12)


@pytest.mark.slow
def test_the_recipe_learns_s3():
    """Half a minute of one core: words of 2 to 12 elements, evaluated at 12 and 40; chance is 1/6."""
    from disobey.data.sources.sequences import word_problem

    torch.manual_seed(0)
    net = sequence_model("fixed_point", tokens=6, classes=6, **STATE_TRACKING.model())
    optimizer = STATE_TRACKING.optimizer(net)
    random = np.random.default_rng(0)
    for step in range(STATE_TRACKING.steps):
        length = int(random.integers(2, STATE_TRACKING.longest + 1))
        words = word_problem("S3", STATE_TRACKING.batch, length, seed=step)
        optimizer.zero_grad()
        logits = net(torch.as_tensor(words.inputs)).flatten(0, 1)
        cross_entropy(logits, torch.as_tensor(words.targets).flatten()).backward()
        STATE_TRACKING.update(net, optimizer, step)
    right = {}
    for length in (12, 40):
        words = word_problem("S3", 500, length, seed=10**6)
        with torch.no_grad():
            guesses = net(torch.as_tensor(words.inputs)).argmax(-1).numpy()
        right[length] = (guesses[:, -1] == words.targets[:, -1]).mean()
    assert right[12] >= 0.95
    assert right[40] >= 0.8
