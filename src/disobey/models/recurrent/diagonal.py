"""Diagonal recurrences: the baselines that a fixed point makes dense.

Both are selective (decay and inputs depend on x_t) and have the same ``forward`` and ``step`` as the fixed-point
layers. With decays in (0, 1) neither can learn even parity. With decays in (-1, 1) they learn parity, but (in one
layer) no group that does not commute.

Shapes: B batch, T time, D = d_inner, N = d_state.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disobey.models.recurrent.linear_rnn import linear_recurrence


def _full_precision(*tensors: Tensor) -> tuple[Tensor, ...]:
    halves = (torch.float16, torch.bfloat16)
    return tuple(t.float() if t.dtype in halves else t for t in tensors)


def _decay(raw: Tensor, signed: bool) -> Tensor:
    return torch.tanh(raw) if signed else torch.sigmoid(raw)


class DiagonalRNN(nn.Module):
    """``h_t = λ_t ⊙ h_{t-1} + (1 - |λ_t|) ⊙ u_t`` with a gated output; vector state ``(B, D)``.

    Args:
        d_model: features of input and output.
        d_inner: features D of the state; 2 d_model by default.
        signed: decays in (-1, 1) instead of (0, 1).
    """

    def __init__(self, d_model: int, d_inner: int | None = None, *, signed: bool = False) -> None:
        super().__init__()
        self.d_inner, self.signed = d_inner or 2 * d_model, signed
        self.to_inner = nn.Linear(d_model, 3 * self.d_inner)
        self.to_output = nn.Linear(self.d_inner, d_model)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Outputs ``(B, T, d_model)`` and the last state ``(B, D)``."""
        y, states = self.trace(x, state)
        return y, states[:, -1]

    def trace(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Outputs ``(B, T, d_model)`` and all states ``(B, T, D)``."""
        decay, inputs, gate = self._project(x)
        states = linear_recurrence(decay, inputs, state)
        return self.to_output(states * gate), states

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One position: ``(B, d_model)`` to outputs and the next state."""
        decay, inputs, gate = self._project(x)
        state = inputs if state is None else decay * state + inputs
        return self.to_output(state * gate), state

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        drive, raw, gate = self.to_inner(x).chunk(3, dim=-1)
        drive, raw = _full_precision(drive, raw)
        decay = _decay(raw, self.signed)
        return decay, (1 - decay.abs()) * drive, F.silu(gate)


class SelectiveLayer(nn.Module):
    """A Mamba-like layer: ``H_t = λ_t ⊙ H_{t-1} + b_t (Δ_t u_t)ᵀ``, ``y_t = c_tᵀ H_t + D ⊙ u_t``, gated.

    ``λ_t = exp(-Δ_t a)`` with Δ_t = softplus and a > 0 for every state and channel. The convolution of Mamba is left
    out, so that what the layer can express is due to the recurrence. Matrix state ``(B, N, D)``.

    Args:
        d_model: features of input and output.
        d_inner: features D; 2 d_model by default.
        d_state: rows N of the matrix state.
        signed: multiply λ_t by a tanh of the input, so that it is in (-1, 1).
    """

    def __init__(self, d_model: int, d_inner: int | None = None, *, d_state: int = 8, signed: bool = False) -> None:
        super().__init__()
        self.d_inner, self.d_state, self.signed = d_inner or 2 * d_model, d_state, signed
        self.to_inner = nn.Linear(d_model, (4 if signed else 3) * self.d_inner + 2 * d_state)
        self.log_rate = nn.Parameter(torch.arange(1.0, d_state + 1).log()[:, None].repeat(1, self.d_inner))
        self.skip = nn.Parameter(torch.ones(self.d_inner))
        self.to_output = nn.Linear(self.d_inner, d_model)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Outputs ``(B, T, d_model)`` and the last state ``(B, N, D)``."""
        decay, inputs, readout, drive, gate = self._project(x)
        first = None if state is None else state.flatten(1)
        states = linear_recurrence(decay.flatten(2), inputs.flatten(2), first).unflatten(2, decay.shape[2:])
        return self._read(states, readout, drive, gate), states[:, -1]

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One position: ``(B, d_model)`` to outputs and the next state."""
        decay, inputs, readout, drive, gate = self._project(x)
        state = inputs if state is None else decay * state + inputs
        return self._read(state, readout, drive, gate), state

    def _read(self, states: Tensor, readout: Tensor, drive: Tensor, gate: Tensor) -> Tensor:
        y = torch.einsum("...n,...nd->...d", readout, states) + self.skip * drive
        return self.to_output(y * gate)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        sizes = [self.d_inner] * (4 if self.signed else 3) + [self.d_state] * 2
        drive, raw, gate, *sign, keys, readout = self.to_inner(x).split(sizes, dim=-1)
        drive, raw, keys, readout = _full_precision(drive, raw, keys, readout)
        size = F.softplus(raw - 2.0)
        decay = torch.exp(-size.unsqueeze(-2) * self.log_rate.exp())
        if sign:
            decay = decay * torch.tanh(sign[0].to(decay.dtype)).unsqueeze(-2)
        keys, readout = F.normalize(keys, dim=-1), F.normalize(readout, dim=-1)
        return decay, keys.unsqueeze(-1) * (size * drive).unsqueeze(-2), readout, drive, F.silu(gate)
