"""DeltaProductRNN: a matrix state that R delta rules a token write to; one of them is DeltaNet.

``S ← (I - β k kᵀ) S + β k vᵀ``, R times a token, in each of H heads of n × n numbers, with unit keys k, values v and
strengths β in (0, 2) read from the input; the output is ``Sᵀ q``. After Yang et al. (DeltaNet, arXiv 2406.06484) and
Siems et al. (DeltaProduct, arXiv 2502.10297), without their short convolution, which looks at tokens nearby and would
hide what the recurrence does. At β = 2 the transition is that of `ReflectionRNN`; what differs is that the state starts
empty, every rule also writes, and a query reads.

Shapes: B batch, T time, D = n H, the heads innermost.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disobey.errors import refusal
from disobey.models.recurrent.reflection_walk import EPS, reflection_walk


class DeltaProductRNN(nn.Module):
    """A recurrent layer with a matrix of state in every head.

    ``forward(x, state=None) -> (y, state)`` takes ``(B, T, d_model)`` and an optional state ``(B, n, D)``: in every
    head n rows, of keys, by n columns, of values; ``step(x, state)`` takes one position and agrees with it.

    Args:
        d_model: width of inputs and outputs.
        d_inner: D, n times heads; twice ``d_model`` where not given.
        heads: H.
        rank: R, delta rules a token.
        gate: whether a head's state also decays, by a number in (0, 1) read from the input, 0.95 before training.

    Raises:
        Refusal: ``heads``.

    >>> layer = DeltaProductRNN(8, 16, heads=4, rank=2)
    >>> y, state = layer(torch.zeros(2, 5, 8))
    >>> tuple(y.shape), tuple(state.shape)
    ((2, 5, 8), (2, 4, 16))
    """

    def __init__(
        self, d_model: int, d_inner: int | None = None, *, heads: int = 8, rank: int = 1, gate: bool = False
    ) -> None:
        super().__init__()
        self.d_model, self.d_inner = d_model, d_inner or 2 * d_model
        if heads < 1 or self.d_inner % heads or rank < 1:
            raise refusal("heads", f"heads >= 1 that divide d_inner = {self.d_inner}, rank >= 1", f"{heads}, {rank}")
        self.heads, self.rank, self.n = heads, rank, self.d_inner // heads
        self.to_rules = nn.Linear(d_model, 2 * rank * self.d_inner)  # keys and values
        self.to_strengths = nn.Linear(d_model, rank * heads)
        self.to_query = nn.Linear(d_model, self.d_inner)
        self.to_gates = nn.Linear(d_model, heads) if gate else None
        self.norm = nn.LayerNorm(self.d_inner)
        self.to_output = nn.Linear(self.d_inner, d_model)
        if self.to_gates is not None:
            nn.init.zeros_(self.to_gates.weight)
            nn.init.constant_(self.to_gates.bias, 3.0)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Outputs ``(B, T, d_model)`` and the last state ``(B, n, D)``, from an empty one if none is given."""
        batch = len(x)
        query = self.to_query(x).unflatten(-1, (self.n, self.heads))
        with torch.autocast(x.device.type, enabled=False):  # a walk adds up its rounding errors
            given = self._rules(x)
            first = given[0].new_zeros(batch, self.n, self.n * self.heads) if state is None else state
            states = reflection_walk(given[0], first, *given[1:])[:, self.rank - 1 :: self.rank]
        cells = states.unflatten(-1, (self.n, self.heads)).to(query.dtype)  # (B, T, n of keys, n of values, H)
        read = (cells * query.unsqueeze(-2)).sum(2).flatten(-2)
        return self.to_output(self.norm(read)).to(x.dtype), states[:, -1]

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One position: ``(B, d_model)`` to outputs and the next state."""
        y, after = self(x[:, None], state)
        return y[:, 0], after

    def _rules(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """Keys, drive, gates and strengths of a walk of R T tokens with one factor each, a column of values a head."""
        x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        batch, time, _ = x.shape
        grid = (time * self.rank, self.n, self.heads)
        keys, values = (part.reshape(batch, *grid) for part in self.to_rules(x).chunk(2, dim=-1))
        strengths = 2 * torch.sigmoid(self.to_strengths(x)).reshape(batch, time * self.rank, self.heads)
        written = strengths.unsqueeze(2) * F.normalize(keys, dim=2, eps=EPS)
        drive = (written.unsqueeze(3) * values.unsqueeze(2)).flatten(-2)  # (B, R T, n, n H)
        columns = keys.unsqueeze(3).expand(*keys.shape[:3], self.n, self.heads).flatten(-2)
        gates = None
        if self.to_gates is not None:  # once a token, before its first rule: scaling commutes with the factor
            once = torch.sigmoid(self.to_gates(x)).unsqueeze(2)
            kept = torch.ones_like(once).expand(batch, time, self.rank - 1, self.heads)
            gates = torch.cat((once, kept), dim=2).flatten(1, 2).repeat(1, 1, self.n)
        return columns.unsqueeze(2), drive, gates, strengths.repeat(1, 1, self.n).unsqueeze(2)
