"""FixedPointMamba: the matrix state of a selective layer, with its outputs mixed by a fixed point.

Section 4 of arXiv:2503.10799. With P = I - Q the iteration on the outputs y ``(B, T, D)`` is ``x̃ = u + P_t (y - u)``,
``H_t = λ_t ⊙ H_{t-1} + b_t (Δ_t x̃_t)ᵀ``, ``y_t = c_tᵀ H_t``, where P, b and c may depend on y_{t-1}. Here ``Δ = 1 -
λ`` and |b| = |c| = 1, so that the iteration contracts for a mixer with |P| <= 1. ``norm="loop"`` is the published form,
a LayerNorm of ``c_tᵀ H_t + skip ⊙ x̃`` inside the iteration; it has no certificate and no closed form. ``norm="after"``
keeps the loop linear in y, so that a step is one Woodbury solve.

Shapes: B batch, T time, D = d_inner, N = d_state.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disobey.errors import refusal
from disobey.models.recurrent.fixed_point import SolverLike, build_solver, shifted, unit_rms
from disobey.models.recurrent.linear_rnn import linear_recurrence
from disobey.models.recurrent.mixers import Complement, build_mixer
from disobey.models.recurrent.solvers import Gradient, Solve, diagonal, solve

Reads = tuple[str, ...]
State = tuple[Tensor, Tensor]  # H (B, N, D) and the last output of the recurrence (B, D)


class FixedPointMamba(nn.Module):
    """A selective layer with a matrix state whose channels are mixed by a fixed point.

    ``forward(x, state=None)`` takes ``(B, T, d_model)`` and returns outputs and the last state, the pair ``(H, y)`` of
    ``(B, N, D)`` and ``(B, D)``. `step` takes one position and solves it exactly (with ``norm="loop"`` by
    ``inner_iter`` iterations of this position alone).

    Args:
        d_model: features of input and output.
        d_inner: features D of the recurrence; 2 d_model by default.
        d_state: rows N of the matrix state.
        rank: as in `FixedPointRNN`.
        mixer: as in `FixedPointRNN`.
        solver: as in `FixedPointRNN`.
        max_iter: as in `FixedPointRNN`.
        tol: as in `FixedPointRNN`.
        gradient: as in `FixedPointRNN`.
        scale: as in `FixedPointRNN`.
        reads: which parameters depend on y_{t-1}: any of ``"mixer"``, ``"b"`` and ``"c"``. Copying needs b and c, state
            tracking needs the mixer.
        normalize_state: as in `FixedPointRNN`.
        norm: ``"after"`` or ``"loop"``.
        inner_iter: iterations per step with ``norm="loop"``.
        init_decay: as in `FixedPointRNN`.

    Raises:
        Refusal: ``mamba-options``, or as in `FixedPointRNN`.
    """

    def __init__(
        self,
        d_model: int,
        d_inner: int | None = None,
        *,
        d_state: int = 8,
        rank: int = 1,
        mixer: str = "householder",
        solver: SolverLike = "exact",
        max_iter: int = 64,
        tol: float = 1e-3,
        gradient: Gradient = "ift",
        scale: float = 1.0,
        reads: Reads = ("mixer", "b", "c"),
        normalize_state: bool = True,
        norm: Literal["after", "loop"] = "after",
        inner_iter: int = 64,
        init_decay: float = 0.5,
    ) -> None:
        super().__init__()
        if set(reads) - {"mixer", "b", "c"} or norm not in ("after", "loop"):
            got = f"reads {reads}, norm {norm!r}"
            raise refusal("mamba-options", "reads out of mixer, b and c, and norm 'after' or 'loop'", got)
        self.d_inner, self.d_state = d_inner or 2 * d_model, d_state
        self.norm, self.inner_iter, self.normalize_state = norm, inner_iter, normalize_state
        self.solver = build_solver(solver, max_iter, tol, gradient)
        self.to_inner = nn.Linear(d_model, 3 * self.d_inner)  # drive, decay, gate
        self.keys = _Reader(d_model, self.d_inner, d_state, "b" in reads)
        self.readouts = _Reader(d_model, self.d_inner, d_state, "c" in reads)
        dependent = "mixer" in reads
        self.mixer = build_mixer(mixer, d_model, self.d_inner, rank, scale=scale, state_dependent=dependent)
        self.skip = nn.Parameter(torch.ones(self.d_inner))
        self.gate_state = nn.Linear(self.d_inner, self.d_inner, bias=False)
        self.layer_norm = nn.LayerNorm(self.d_inner)
        self.to_output = nn.Linear(self.d_inner, d_model)
        self.last_solve: Solve | None = None
        with torch.no_grad():
            logit = float(torch.logit(torch.tensor(init_decay)))
            self.to_inner.bias[self.d_inner : 2 * self.d_inner].fill_(logit)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Outputs ``(B, T, d_model)`` and the last state ``(H, y)``."""
        now, gate = self._project(x)
        matrix, first = self._initial(now[1], state)
        with torch.autocast(x.device.type, enabled=False):

            def sweep(outputs: Tensor) -> Tensor:
                previous = self._previous(shifted(outputs, first))
                keys, readouts, mixed = self._selected(now, previous)
                matrices, target = self._matrices(now, keys, mixed, outputs, matrix)
                return self._emit(torch.einsum("btn,btnd->btd", readouts, matrices), target)

            def walk() -> Tensor:
                return self._walk(now, matrix, first)

            outputs, self.last_solve = solve(self.solver, sweep, walk, torch.zeros_like(now[1]))
            # The matrix states of the solution are returned, so that a sequence can be continued.
            basis = torch.zeros_like(outputs) if diagonal(self.solver) else outputs
            keys, _, mixed = self._selected(now, self._previous(shifted(basis, first)))
            matrices, _ = self._matrices(now, keys, mixed, basis, matrix)
        y = self._finish(outputs, now[1], gate, shifted(outputs, first))
        return y, (matrices[:, -1], outputs[:, -1])

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """One position: ``(B, d_model)`` to ``(B, d_model)`` and the next state."""
        now, gate = self._project(x)
        matrix, last = self._initial(now[1], state)
        with torch.autocast(x.device.type, enabled=False):
            matrix, output = self._advance(now, matrix, last)
        return self._finish(output, now[1], gate, last), (matrix, output)

    def _initial(self, drive: Tensor, state: State | None) -> State:
        if state is not None:
            return state[0].to(drive.dtype), state[1].to(drive.dtype)
        rows = len(drive)
        return drive.new_zeros(rows, self.d_state, self.d_inner), drive.new_zeros(rows, self.d_inner)

    def _project(self, x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """(decay, drive, features of keys, readouts and mixer), all in full precision; and the input of the gate."""
        drive, decay, gate = self.to_inner(x).chunk(3, dim=-1)
        parts = (decay, drive, self.keys.features(x), self.readouts.features(x), self.mixer.features(x))
        decay, *rest = (p.float() if p.dtype in (torch.float16, torch.bfloat16) else p for p in parts)
        return (torch.sigmoid(decay), *rest), gate

    def _previous(self, outputs: Tensor) -> Tensor:
        return unit_rms(outputs) if self.normalize_state else outputs

    def _selected(self, now: tuple[Tensor, ...], previous: Tensor) -> tuple[Tensor, Tensor, Complement]:
        _, _, keys, readouts, features = now
        return self.keys(keys, previous), self.readouts(readouts, previous), self.mixer(features, previous)

    def _matrices(
        self, now: tuple[Tensor, ...], keys: Tensor, mixed: Complement, outputs: Tensor, matrix: Tensor
    ) -> tuple[Tensor, Tensor]:
        """All H ``(B, T, N, D)`` for these outputs, and x̃ ``(B, T, D)``."""
        decay, drive = now[0], now[1]
        target = drive + mixed.apply(outputs - drive)
        inputs = keys.unsqueeze(-1) * ((1 - decay) * target).unsqueeze(-2)
        decays = decay.unsqueeze(-2).expand_as(inputs)
        states = linear_recurrence(decays.flatten(2), inputs.flatten(2), matrix.flatten(1))
        return states.unflatten(2, inputs.shape[2:]), target

    def _emit(self, read: Tensor, target: Tensor) -> Tensor:
        if self.norm == "after":
            return read
        return F.layer_norm(read + self.skip * target, (self.d_inner,))

    def _finish(self, outputs: Tensor, drive: Tensor, gate: Tensor, before: Tensor) -> Tensor:
        if self.norm == "after":
            outputs = outputs + self.skip * drive
        return self.to_output(self.layer_norm(outputs) * F.silu(gate + self.gate_state(before)))

    def _advance(self, now: tuple[Tensor, ...], matrix: Tensor, last: Tensor) -> State:
        """H and y of one position: one linear solve, or with the norm in the loop an iteration of this position."""
        decay, drive = now[0], now[1]
        unmixed = diagonal(self.solver)
        keys, readouts, mixed = self._selected(now, self._previous(torch.zeros_like(last) if unmixed else last))
        kept = decay.unsqueeze(-2) * matrix
        remembered = torch.einsum("bn,bnd->bd", readouts, kept)
        gain = (keys * readouts).sum(-1, keepdim=True) * (1 - decay)
        output = torch.zeros_like(drive)
        if unmixed:
            target = drive - mixed.apply(drive)
            output = self._emit(remembered + gain * target, target)
            return kept + keys.unsqueeze(-1) * ((1 - decay) * target).unsqueeze(-2), output
        if self.norm == "after":
            # With w = y - u the step is w = (remembered + gain u - u) + gain P w.
            output = drive + mixed.solve(gain, remembered + gain * drive - drive)
        else:
            for _ in range(self.inner_iter):
                target = drive + mixed.apply(output - drive)
                output = self._emit(remembered + gain * target, target)
        target = drive + mixed.apply(output - drive)
        return kept + keys.unsqueeze(-1) * ((1 - decay) * target).unsqueeze(-2), output

    def _walk(self, now: tuple[Tensor, ...], matrix: Tensor, last: Tensor) -> Tensor:
        outputs = []
        for position in zip(*(part.unbind(1) for part in now), strict=True):
            matrix, last = self._advance(position, matrix, last)
            outputs.append(last)
        return torch.stack(outputs, dim=1)


class _Reader(nn.Module):
    """A unit vector ``(..., N)`` from the input and, if it is state-dependent, from the previous output."""

    def __init__(self, d_model: int, d_inner: int, d_state: int, state_dependent: bool) -> None:
        super().__init__()
        self.features = nn.Linear(d_model, d_state)
        self.from_state = nn.Linear(d_inner, d_state, bias=False) if state_dependent else None

    def forward(self, features: Tensor, previous: Tensor) -> Tensor:
        if self.from_state is not None:
            features = features + self.from_state(previous)
        return F.normalize(features, dim=-1, eps=1e-6)
