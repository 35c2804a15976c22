"""DeltaProduct: the walk against its definition, steps against the whole, and what ties it to reflections."""

import pytest
import torch

from disobey.models.recurrent.delta_product import DeltaProductRNN
from tests.support.refusals import refuses


def _layer(**options):
    torch.manual_seed(0)
    return DeltaProductRNN(5, 12, heads=3, **options).double()


def plain_states(layer, x):
    """S ← α (I - β k kᵀ) S + β k vᵀ by matrices, rule after rule: (B, T, H, n keys, n values)."""
    batch, time, _ = x.shape
    n, heads, rank = layer.n, layer.heads, layer.rank
    keys, values = (v.reshape(batch, time, rank, n, heads) for v in layer.to_rules(x).chunk(2, -1))
    strengths = 2 * torch.sigmoid(layer.to_strengths(x)).reshape(batch, time, rank, heads)
    gates = torch.ones(batch, time, heads) if layer.to_gates is None else torch.sigmoid(layer.to_gates(x))
    state, states = torch.zeros(batch, heads, n, n, dtype=x.dtype), []
    for t in range(time):
        state = gates[:, t, :, None, None] * state
        for r in range(rank):
            k = torch.nn.functional.normalize(keys[:, t, r], dim=1).transpose(1, 2).unsqueeze(-1)
            v, beta = values[:, t, r].transpose(1, 2).unsqueeze(-2), strengths[:, t, r, :, None, None]
            state = state - beta * k @ (k.mT @ state) + beta * k @ v
        states.append(state)
    return torch.stack(states, 1)


@pytest.mark.parametrize("options", [{}, {"rank": 3}, {"rank": 2, "gate": True}], ids=str)
def test_states_and_outputs_are_those_of_the_definition(options):
    layer, x = _layer(**options), torch.randn(2, 6, 5, dtype=torch.float64)
    y, last = layer(x)
    states = plain_states(layer, x)
    assert torch.allclose(last.unflatten(-1, (4, 3)), states[:, -1].movedim(1, -1), atol=1e-12)
    query = layer.to_query(x).unflatten(-1, (4, 3)).movedim(-1, 2)
    read = (states.mT @ query.unsqueeze(-1)).squeeze(-1).movedim(2, -1).flatten(-2)
    assert torch.allclose(y, layer.to_output(layer.norm(read)), atol=1e-12)
    state, rows = None, []
    for t in range(6):
        row, state = layer.step(x[:, t], state)
        rows.append(row)
    assert torch.allclose(torch.stack(rows, 1), y, atol=1e-12)


def test_refuses_heads_that_do_not_divide():
    with refuses("heads"):
        DeltaProductRNN(5, 12, heads=5)
