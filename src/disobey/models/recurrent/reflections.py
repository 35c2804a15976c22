"""ReflectionRNN: heads of exact reflections, a dense recurrence that is learned and tracks any group.

``h_t = g_t A_t h_{t-1} + b_t`` where ``A_t`` multiplies R factors ``I - s u uᵀ`` in each of H heads of n dimensions,
with u read from the input and s = 2: an orthogonal matrix, so nothing fades and eigenvalues of -1 are at hand, without
which no group that has an involution is represented faithfully. It is equation (3) of Movahedi et al. ("Fixed-Point
RNNs", arXiv 2503.10799), ``h_t = Q_t⁻¹ Λ_t h_{t-1} + B_t x_t``, at Λ = I and orthogonal Q, and DeltaProduct (Siems et
al., arXiv 2502.10297) with β = 2 and neither keys nor values to write.

It is the fixed point of a diagonal recurrence by another splitting than the paper's:

    h_t ← Λ_t h_{t-1} + [(A_t - Λ_t) h_{t-1}] of the sweep before + b_t,    Λ_t = diag(A_t).

The coupling is shifted in time, so its error operator is strictly lower triangular: l sweeps are exact at the first l
positions, T sweeps everywhere, forward and adjoint, whatever A is. No certificate of contraction is needed, and none
is possible: a layer whose number of sweeps does not grow with T cannot track A5, whose word problem is NC¹-complete.
One sweep is a signed diagonal recurrence with decays in [-1, 1].

Shapes: B batch, T time, D = d_inner = n H, the heads innermost.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disobey.errors import refusal
from disobey.models.recurrent.fixed_point import SolverLike, build_solver, shifted, unit_rms
from disobey.models.recurrent.linear_rnn import linear_recurrence
from disobey.models.recurrent.reflection_walk import apply_factors, reflection_walk
from disobey.models.recurrent.solvers import Exact, Gradient, Solve, diagonal, solve

Strength = Literal["reflection", "bounded", "projection"]
LARGEST_STRENGTH = {"reflection": None, "bounded": 2.0, "projection": 1.0}  # of the sigmoid; None: always 2


class ReflectionRNN(nn.Module):
    """A recurrent layer whose transition is a product of reflections in small heads.

    ``forward(x, state=None) -> (y, state)`` takes ``(B, T, d_model)`` and an optional state ``(B, d_inner)``;
    ``step(x, state)`` takes one position and agrees with it. ``last_solve`` reports the latest solve.

    An exact reflection has determinant -1, so R of them fix every head's determinant at (-1)^R: a group with odd
    permutations needs heads one dimension larger than its representation (S5: n = 5, the standard one beside the sign).

    Args:
        d_model: width of inputs and outputs. d_inner: numbers of state, n times heads; twice ``d_model`` where not
        given. heads: H; ``d_inner`` is a multiple of it. rank: R, factors a token. strength: s of the factors:
        ``reflection`` is 2, ``bounded`` is read from the input in (0, 2), ``projection`` in (0, 1). drive: whether the
        input adds b_t to the state. gate: whether each head is multiplied by a number in (0, 1) read from the input,
        0.95 at the start of training. state_dependent: whether u reads the state before it too (divided by its root
        mean square). solver: ``exact`` walks through time; ``iterate`` sweeps over it, at most ``max_iter`` times,
        until ``tol``. max_iter: most sweeps. tol: relative change at which sweeping stops. gradient: of the iteration,
        see `Iterate`.

    >>> layer = ReflectionRNN(8, 16, heads=4)
    >>> y, state = layer(torch.zeros(2, 5, 8))
    >>> tuple(y.shape), tuple(state.shape)
    ((2, 5, 8), (2, 16))
    """

    def __init__(
        self,
        d_model: int,
        d_inner: int | None = None,
        *,
        heads: int = 16,
        rank: int = 4,
        strength: Strength = "reflection",
        drive: bool = False,
        gate: bool = False,
        state_dependent: bool = False,
        solver: SolverLike = "exact",
        max_iter: int = 64,
        tol: float = 0.0,
        gradient: Gradient = "ift",
    ) -> None:
        super().__init__()
        self.d_model, self.d_inner = d_model, d_inner or 2 * d_model
        if heads < 1 or self.d_inner % heads or rank < 1:
            raise refusal("heads", f"heads >= 1 that divide d_inner = {self.d_inner}, rank >= 1", f"{heads}, {rank}")
        if strength not in LARGEST_STRENGTH:
            raise refusal("strength", f"a strength out of {', '.join(LARGEST_STRENGTH)}", repr(strength))
        self.heads, self.rank, self.n = heads, rank, self.d_inner // heads
        self.strength = strength
        self.solver = build_solver(solver, max_iter, tol, gradient)
        self.to_keys = nn.Linear(d_model, rank * self.d_inner)
        self.from_state = nn.Linear(self.d_inner, rank * self.d_inner, bias=False) if state_dependent else None
        self.to_strengths = None if strength == "reflection" else nn.Linear(d_model, rank * heads)
        self.to_drive = nn.Linear(d_model, self.d_inner) if drive else None
        self.to_gates = nn.Linear(d_model, heads) if gate else None
        self.start = nn.Parameter(torch.randn(self.d_inner))  # of the norm that all states keep
        self.norm = nn.LayerNorm(self.d_inner)
        self.to_output = nn.Linear(self.d_inner, d_model)
        self.last_solve: Solve | None = None
        if self.to_gates is not None:
            nn.init.zeros_(self.to_gates.weight)
            nn.init.constant_(self.to_gates.bias, 3.0)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Outputs ``(B, T, d_model)`` and the last state ``(B, d_inner)``, from the learned start if none is given."""
        y, states = self.trace(x, state)
        return y, states[:, -1]

    def trace(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Outputs ``(B, T, d_model)`` and all states ``(B, T, d_inner)``."""
        keys, strengths, gates, drive = self._project(x)
        first = self._first(len(x), keys, state)
        with torch.autocast(x.device.type, enabled=False):  # a walk adds up its rounding errors
            # What all sweeps share is computed outside of them, where the gradient reaches it.
            shared = not isinstance(self.solver, Exact) and self.from_state is None
            dense = self._dense(keys, strengths, gates) if shared else None

            def sweep(states: Tensor) -> Tensor:
                before = shifted(states, first)
                now = self._dense(keys, strengths, gates, before) if dense is None else dense
                decay = _diagonal(now)
                coupled = (now * self._grid(before).unsqueeze(2)).sum(3).flatten(-2) - decay * before
                return linear_recurrence(decay, coupled if drive is None else coupled + drive, first)

            def walk() -> Tensor:
                if self.from_state is not None:
                    return self._reading_walk(keys, strengths, gates, drive, first)
                given = None if drive is None else self._grid(drive)
                return reflection_walk(self._factors(keys), self._grid(first), given, gates, strengths).flatten(-2)

            start = keys.new_zeros(*keys.shape[:2], self.d_inner)
            states, self.last_solve = solve(self.solver, sweep, walk, start)
        return self._read(states, x), states

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One position: ``(B, d_model)`` to ``(B, d_model)`` and the next state, in O(R D)."""
        keys, strengths, gates, drive = self._project(x[:, None])
        before = self._first(len(x), keys, state)
        with torch.autocast(x.device.type, enabled=False):
            if diagonal(self.solver) and state is not None:  # one sweep: all but the first position are diagonal
                decay = _diagonal(self._dense(keys, strengths, gates, before[:, None]))[:, 0]
                after = decay * before if drive is None else decay * before + drive[:, 0]
            else:
                after = self._advance(keys, strengths, gates, drive, before[:, None])[:, 0]
        return self._read(after, x), after

    def transitions(self, x: Tensor, states: Tensor | None = None) -> Tensor:
        """A_t of every head, ``(B, T, H, n, n)``, gates included; ``states`` (B, T, D) are those before each token."""
        keys, strengths, gates, _ = self._project(x)
        return self._dense(keys, strengths, gates, states).movedim(-1, 2)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Keys (B, T, R n H), strengths (B, T, R, H), gates (B, T, H), drive (B, T, D), in float32 at least."""

        def read(layer: nn.Linear | None) -> Tensor | None:
            value = None if layer is None else layer(x)
            return value.float() if value is not None and value.dtype in (torch.float16, torch.bfloat16) else value

        keys, strengths, gates = read(self.to_keys), read(self.to_strengths), read(self.to_gates)
        assert keys is not None
        if strengths is not None:
            largest = LARGEST_STRENGTH[self.strength]
            assert largest is not None
            strengths = largest * torch.sigmoid(strengths).unflatten(-1, (self.rank, self.heads))
        return keys, strengths, None if gates is None else torch.sigmoid(gates), read(self.to_drive)

    def _first(self, batch: int, like: Tensor, state: Tensor | None) -> Tensor:
        first = self.start.expand(batch, self.d_inner) if state is None else state
        return first.to(like.dtype)

    def _grid(self, states: Tensor) -> Tensor:
        return states.unflatten(-1, (self.n, self.heads))

    def _factors(self, keys: Tensor, before: Tensor | None = None) -> Tensor:
        """Keys as (B, T, R, n, H), the state's part added where the layer reads it."""
        if self.from_state is not None:
            if before is None:
                raise refusal("states", "the states before each token: this layer reads them", "none")
            keys = keys + F.linear(unit_rms(before), self.from_state.weight.to(keys.dtype))
        return keys.unflatten(-1, (self.rank, self.n, self.heads))

    def _advance(
        self, keys: Tensor, strengths: Tensor | None, gates: Tensor | None, drive: Tensor | None, before: Tensor
    ) -> Tensor:
        """The states after each token from those before it, all tokens at once: (B, T, D) to (B, T, D)."""
        after = apply_factors(self._factors(keys, before), strengths, self._grid(before))
        after = after if gates is None else after * gates.unsqueeze(-2)
        return after.flatten(-2) if drive is None else after.flatten(-2) + drive

    def _reading_walk(
        self, keys: Tensor, strengths: Tensor | None, gates: Tensor | None, drive: Tensor | None, first: Tensor
    ) -> Tensor:
        state, states = first, []
        for t in range(keys.shape[1]):
            s, g, b = (None if v is None else v[:, t : t + 1] for v in (strengths, gates, drive))
            state = self._advance(keys[:, t : t + 1], s, g, b, state[:, None])[:, 0]
            states.append(state)
        return torch.stack(states, dim=1)

    def _dense(
        self, keys: Tensor, strengths: Tensor | None, gates: Tensor | None, before: Tensor | None = None
    ) -> Tensor:
        """A as (B, T, n, n, H), gates included: the factors applied to every basis vector; columns are the second n."""
        factors = self._factors(keys, before)
        eye = torch.eye(self.n, dtype=factors.dtype, device=factors.device)
        columns = eye[..., None].expand(*factors.shape[:2], self.n, self.n, self.heads)
        given = None if strengths is None else strengths.unsqueeze(2)
        dense = apply_factors(factors.unsqueeze(2), given, columns).transpose(2, 3)
        return dense if gates is None else dense * gates[:, :, None, None]

    def _read(self, states: Tensor, like: Tensor) -> Tensor:
        return self.to_output(self.norm(states.to(self.norm.weight.dtype))).to(like.dtype)


def _diagonal(dense: Tensor) -> Tensor:
    """Λ = diag(A): (B, T, n, n, H) to (B, T, D)."""
    return dense.diagonal(dim1=2, dim2=3).movedim(-1, 2).flatten(-2)
