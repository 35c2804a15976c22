"""FixedPointRNN: a dense linear recurrence, computed as the fixed point of a diagonal one.

The layer iterates ``h_t ← λ_t h_{t-1} + (1-λ_t)(Q_t u_t + (I-Q_t) h_t)`` over whole sequences. Every sweep is a scan.
The limit is the dense recurrence ``h_t = A_t h_{t-1} + (I-A_t) u_t`` with ``A_t = (I + (Λ_t^{-1}-I) Q_t)^{-1}``
(Movahedi et al., "Fixed-Point RNNs", arXiv:2503.10799, theorem 3.1 and section 3). One sweep alone is a diagonal RNN.
Q_t may depend on h_{t-1}, so the limit need not be linear in the state. Because of causality the limit is unique
wherever every ``I - (I-Λ_t)(I-Q_t)`` is invertible.

Limits of the certified region (scale 1): the eigenvalues of A_t have positive real parts, and on constant input a
weighted distance to the drive never grows. So no such layer can track g^k for unbounded k.

Shapes: B batch, T time, D = d_inner.
"""

import torch
from torch import Tensor, nn

from disobey.errors import refusal
from disobey.models.recurrent.householder_kernel import compiled_walk, runs_here
from disobey.models.recurrent.householder_walk import householder_walk
from disobey.models.recurrent.linear_rnn import linear_recurrence
from disobey.models.recurrent.mixers import Complement, HouseholderMixer, Mixer, build_mixer
from disobey.models.recurrent.solvers import Exact, Gradient, Iterate, Solve, diagonal, solve

SolverLike = str | Exact | Iterate


def build_solver(solver: SolverLike, max_iter: int, tol: float, gradient: Gradient) -> Exact | Iterate:
    """A solver from its name.

    Args:
        solver: ``"exact"``, ``"iterate"``, or a solver, which is returned unchanged.
        max_iter: of `Iterate`.
        tol: of `Iterate`.
        gradient: of `Iterate`.

    Returns:
        The solver.

    Raises:
        Refusal: ``unknown-solver``.
    """
    if isinstance(solver, (Exact, Iterate)):
        return solver
    if solver == "exact":
        return Exact()
    if solver == "iterate":
        return Iterate(max_iter, tol, gradient)
    raise refusal("unknown-solver", "the solver 'exact' or 'iterate'", repr(solver))


def unit_rms(state: Tensor) -> Tensor:
    """The state divided by its root mean square over features (a zero state stays zero)."""
    return state * torch.rsqrt(state.square().mean(-1, keepdim=True) + 1e-5)


def shifted(states: Tensor, first: Tensor) -> Tensor:
    """The states before each step: states ``(B, T, D)`` and the initial state ``(B, D)`` to ``(B, T, D)``."""
    return torch.cat((first[:, None], states[:, :-1]), dim=1)


class FixedPointRNN(nn.Module):
    """A recurrent layer with a vector state whose transition matrix is dense and depends on the input and the state.

    ``forward(x, state=None)`` takes ``(B, T, d_model)`` and an optional state ``(B, d_inner)`` and returns outputs and
    the last state. ``step(x, state)`` takes one position and always solves it exactly, so it agrees with a converged
    `forward` (and with the diagonal step if ``max_iter=1``). ``last_solve`` reports the latest solve.

    Args:
        d_model: features of input and output.
        d_inner: features of the state; 2 d_model by default.
        rank: number R of factors of the mixer.
        mixer: ``"householder"``, ``"diagonal_low_rank"`` or ``"kronecker"`` (see `mixers`).
        solver: ``"exact"`` walks through time with a rank-R solve per step: fastest on CPUs, with the most accurate
            gradient. ``"iterate"`` runs scans until ``tol``, parallel over time. Or a solver.
        max_iter: largest number of sweeps of ``"iterate"``.
        tol: relative tolerance of ``"iterate"``.
        gradient: of ``"iterate"``: ``"ift"``, ``"one_step"`` or ``"unroll"`` (see `Iterate`).
        scale: strength of the mixer; above 1 convergence is not certified.
        state_dependent: whether the mixer reads h_{t-1}.
        normalize_state: whether it reads h_{t-1} divided by its root mean square.
        init_decay: λ at zero input before training, in (0, 1).
        key_gain: factor of the initial weights by which the mixer reads the state. Both defaults were measured: smaller
            λ and larger gains train worse (docs/guides/fixed-point-layers.md).

    Raises:
        Refusal: ``unknown-solver``, ``unknown-mixer``, ``mixer-rank`` or ``init-decay``.

    Example:
        >>> layer = FixedPointRNN(8, 16)
        >>> y, state = layer(torch.zeros(2, 5, 8))
        >>> tuple(y.shape), tuple(state.shape)
        ((2, 5, 8), (2, 16))
    """

    def __init__(
        self,
        d_model: int,
        d_inner: int | None = None,
        *,
        rank: int = 1,
        mixer: str = "householder",
        solver: SolverLike = "exact",
        max_iter: int = 64,
        tol: float = 1e-3,
        gradient: Gradient = "ift",
        scale: float = 1.0,
        state_dependent: bool = True,
        normalize_state: bool = True,
        init_decay: float = 0.5,
        key_gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.d_model, self.d_inner = d_model, d_inner or 2 * d_model
        self.normalize_state = normalize_state
        self.solver = build_solver(solver, max_iter, tol, gradient)
        self.to_inner = nn.Linear(d_model, 3 * self.d_inner)  # drive, decay, gate
        self.mixer: Mixer = build_mixer(
            mixer, d_model, self.d_inner, rank, scale=scale, state_dependent=state_dependent
        )
        self.to_output = nn.Linear(self.d_inner, d_model)
        self.last_solve: Solve | None = None
        if not 0 < init_decay < 1:
            raise refusal("init-decay", "0 < init_decay < 1", init_decay)
        with torch.no_grad():
            logit = torch.logit(torch.tensor(init_decay))
            self.to_inner.bias[self.d_inner : 2 * self.d_inner].fill_(float(logit))
            if self.mixer.from_state is not None:
                self.mixer.from_state.weight.mul_(key_gain)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Outputs ``(B, T, d_model)`` and the last state ``(B, d_inner)``."""
        y, states = self.trace(x, state)
        return y, states[:, -1]

    def trace(self, x: Tensor, state: Tensor | None = None, *, reads: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Outputs and the states at all positions.

        Args:
            x: ``(B, T, d_model)``.
            state: initial state ``(B, d_inner)``; zeros by default.
            reads: ``(B, T, d_inner)``, what the mixer reads at each position instead of h_{t-1}, for example the states
                of a teacher. The recurrence is then linear in its own state.

        Returns:
            Outputs ``(B, T, d_model)`` and states ``(B, T, d_inner)``.

        Raises:
            Refusal: ``no-state-reads`` if ``reads`` are given to a mixer that does not read the state.
        """
        decay, drive, gate, features = self._project(x)
        first = drive.new_zeros(len(x), self.d_inner) if state is None else state.to(drive.dtype)
        with torch.autocast(x.device.type, enabled=False):  # in half precision the residual would stop decreasing
            if reads is not None:
                features = features + self._from_reads(reads.to(drive.dtype))

            def sweep(states: Tensor) -> Tensor:
                previous = shifted(states, first) if reads is None else None
                target = drive + self._complement(features, previous).apply(states - drive)
                return linear_recurrence(decay, (1 - decay) * target, first)

            def walk() -> Tensor:
                return self._walk(decay, drive, features, first, fed=reads is not None)

            states, self.last_solve = solve(self.solver, sweep, walk, torch.zeros_like(drive))
        return self._read(states, gate), states

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One position: ``(B, d_model)`` to outputs and the next state, in O(D R) (Kronecker: O(D³))."""
        decay, drive, gate, features = self._project(x)
        state = drive.new_zeros(len(x), self.d_inner) if state is None else state.to(drive.dtype)
        with torch.autocast(x.device.type, enabled=False):
            if diagonal(self.solver):
                mixed = self._complement(features, torch.zeros_like(state))
                state = decay * state + (1 - decay) * (drive - mixed.apply(drive))
            else:
                state = self._advance(decay, drive, features, state)
        return self._read(state, gate), state

    def contraction_rate(self, x: Tensor) -> Tensor:
        """The predicted convergence rate: the largest spectral radius of ``(I-Λ_t)(I-Q_t)`` over time, at the solution.

        Below 1 the iteration converges from every start, asymptotically at this rate per sweep. The matrices are dense,
        so the cost is O(T D³): use it for analysis and not in training.

        Args:
            x: ``(B, T, d_model)``.

        Returns:
            One rate per sequence, ``(B,)``.
        """
        with torch.no_grad():
            decay, drive, _, features = self._project(x)
            first = torch.zeros_like(drive[:, 0])
            states = self._walk(decay, drive, features, first)
            matrices = (1 - decay).unsqueeze(-1) * self._complement(features, shifted(states, first)).dense()
            return torch.linalg.eigvals(matrices).abs().amax((-1, -2))

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        drive, decay, gate = self.to_inner(x).chunk(3, dim=-1)
        features = self.mixer.features(x)
        if drive.dtype in (torch.float16, torch.bfloat16):
            drive, decay, features = drive.float(), decay.float(), features.float()
        return torch.sigmoid(decay), drive, nn.functional.silu(gate), features

    def _read(self, states: Tensor, gate: Tensor) -> Tensor:
        return self.to_output((states * gate).to(gate.dtype))

    def _complement(self, features: Tensor, previous: Tensor | None) -> Complement:
        """P from features and the previous state; None if the features already include what the mixer reads."""
        if previous is not None and self.normalize_state:
            previous = unit_rms(previous)
        return self.mixer(features, previous)

    def _from_reads(self, reads: Tensor) -> Tensor:
        if self.mixer.from_state is None:
            raise refusal("no-state-reads", "a mixer that reads the state", "reads with state_dependent=False")
        return self.mixer.read(unit_rms(reads) if self.normalize_state else reads)

    def _advance(self, decay: Tensor, drive: Tensor, features: Tensor, state: Tensor, *, fed: bool = False) -> Tensor:
        # With w = h - u the step is w = λ (h_{t-1} - u) + (1-λ) P w: one solve, and P is never applied.
        mixed = self._complement(features, None if fed else state)
        return drive + mixed.solve(1 - decay, decay * (state - drive))

    def _walk(self, decay: Tensor, drive: Tensor, features: Tensor, first: Tensor, *, fed: bool = False) -> Tensor:
        mixer = self.mixer
        if isinstance(mixer, HouseholderMixer):
            weight = None if mixer.from_state is None or fed else mixer.from_state.weight.to(drive.dtype)
            how = {"scale": mixer.scale, "normalize": self.normalize_state}
            if runs_here(decay, mixer.rank):
                return compiled_walk(decay, drive, features, first, weight, rank=mixer.rank, **how)
            if mixer.rank == 1:
                return householder_walk(decay, drive, features, first, weight, **how)
        return self._generic_walk(decay, drive, features, first, fed=fed)

    def _generic_walk(
        self, decay: Tensor, drive: Tensor, features: Tensor, first: Tensor, *, fed: bool = False
    ) -> Tensor:
        state, states = first, []
        # unbind and not [:, t], because indexing makes the backward pass quadratic in T
        for now in zip(decay.unbind(1), drive.unbind(1), features.unbind(1), strict=True):
            state = self._advance(*now, state, fed=fed)
            states.append(state)
        return torch.stack(states, dim=1)
