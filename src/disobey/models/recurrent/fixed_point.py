"""FixedPointRNN: a dense linear recurrence computed as the fixed point of a diagonal one.

Iterate ``h_t ← λ_t h_{t-1} + (1-λ_t)(Q_t u_t + (I-Q_t) h_t)`` over whole sequences: every sweep is a scan,
and the limit is the dense recurrence ``h_t = A_t h_{t-1} + (I-A_t) u_t`` with
``A_t = (I + (Λ_t^{-1}-I) Q_t)^{-1}`` (Movahedi et al., "Fixed-Point RNNs", arXiv 2503.10799, Thm 3.1 and
section 3). One sweep alone is a diagonal RNN. Because Q_t may read h_{t-1}, the limit need not be
linear in the state. The limit is unique wherever every ``I - (I-Λ_t)(I-Q_t)`` is invertible: causality.

What the certified region (scale 1) cannot do: eigenvalues of A_t have positive real part and a weighted
distance to the drive never grows on constant input, so no such layer tracks g^k for unbounded k.
Shapes: B batch, T time, D = d_inner.
"""

import torch
from torch import Tensor, nn

from disobey.models.recurrent.householder_walk import householder_walk
from disobey.models.recurrent.linear_rnn import linear_recurrence
from disobey.models.recurrent.mixers import Complement, HouseholderMixer, Mixer, build_mixer
from disobey.models.recurrent.solvers import Exact, Gradient, Iterate, Solve, diagonal, solve

SolverLike = str | Exact | Iterate


def build_solver(solver: SolverLike, max_iter: int, tol: float, gradient: Gradient) -> Exact | Iterate:
    """A solver value from its name, ``"exact"`` or ``"iterate"``; values pass through."""
    if isinstance(solver, (Exact, Iterate)):
        return solver
    if solver == "exact":
        return Exact()
    if solver == "iterate":
        return Iterate(max_iter, tol, gradient)
    raise ValueError(f"expected solver 'exact' or 'iterate', got {solver!r}")


def unit_rms(state: Tensor) -> Tensor:
    """The state divided by its root mean square over features (zero stays zero)."""
    return state * torch.rsqrt(state.square().mean(-1, keepdim=True) + 1e-5)


def shifted(states: Tensor, first: Tensor) -> Tensor:
    """States before each step: ``(B, T, D)`` and the initial ``(B, D)`` to ``(B, T, D)``."""
    return torch.cat((first[:, None], states[:, :-1]), dim=1)


class FixedPointRNN(nn.Module):
    """A recurrent layer with a vector state whose transition is dense, input- and state-dependent.

    ``forward(x, state=None) -> (y, state)`` takes ``(B, T, d_model)`` and an optional state ``(B, d_inner)``;
    ``step(x, state)`` takes one position ``(B, d_model)`` and always solves it exactly, so it agrees with a
    converged `forward` (and, at ``max_iter=1``, is the diagonal step). ``last_solve`` reports the latest solve.

    ``solver="exact"`` walks through time with a rank-R solve a step: fastest on CPU and the best gradient.
    ``solver="iterate"`` runs scans until `tol`: parallel over time, up to `max_iter` sweeps. `scale` above
    1 leaves the certified region. ``normalize_state`` lets the mixer read h_{t-1} divided by its root
    mean square. `init_decay` is λ at zero input, `key_gain` multiplies the state's initial weights in the
    mixer; both defaults are measured choices (docs/fixed-point-layers.md: smaller λ or larger keys train worse).

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
            raise ValueError(f"expected 0 < init_decay < 1, got {init_decay}")
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
        """Outputs ``(B, T, d_model)`` and all states ``(B, T, d_inner)``.

        `reads` ``(B, T, d_inner)`` is what the mixer reads at each position in place of h_{t-1} (a teacher's states, say):
        the recurrence is then linear in its state. Raises `ValueError` where the mixer reads no state.
        """
        decay, drive, gate, features = self._project(x)
        first = drive.new_zeros(len(x), self.d_inner) if state is None else state.to(drive.dtype)
        with torch.autocast(x.device.type, enabled=False):  # half precision would stall the residual
            if reads is not None:
                features = features + self._from_reads(reads.to(drive.dtype))

            def sweep(states: Tensor) -> Tensor:
                previous = shifted(states, first) if reads is None else None
                target = drive + self._complement(features, previous).apply(states - drive)
                return linear_recurrence(decay, (1 - decay) * target, first)

            def walk() -> Tensor:
                return self._walk(decay, drive, features, first, fed=reads is not None)

            states, self.last_solve = solve(self.solver, sweep, walk, torch.zeros_like(drive))
        return self.to_output(states * gate), states

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One position: ``(B, d_model)`` to ``(B, d_model)`` and the next state, in O(D R) (cubic: Kronecker)."""
        decay, drive, gate, features = self._project(x)
        state = drive.new_zeros(len(x), self.d_inner) if state is None else state.to(drive.dtype)
        with torch.autocast(x.device.type, enabled=False):
            if diagonal(self.solver):
                mixed = self._complement(features, torch.zeros_like(state))
                state = decay * state + (1 - decay) * (drive - mixed.apply(drive))
            else:
                state = self._advance(decay, drive, features, state)
        return self.to_output(state * gate), state

    def contraction_rate(self, x: Tensor) -> Tensor:
        """Predicted rate: the largest spectral radius of ``(I-Λ_t)(I-Q_t)`` over time, ``(B,)``, at the solution.

        Below 1 the iteration converges from any start (asymptotically at this rate per sweep).
        Written out densely: O(T D³), for study and not for training.
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

    def _complement(self, features: Tensor, previous: Tensor | None) -> Complement:
        """P from features and the state before, or from features that hold what was read already (None)."""
        if previous is not None and self.normalize_state:
            previous = unit_rms(previous)
        return self.mixer(features, previous)

    def _from_reads(self, reads: Tensor) -> Tensor:
        if self.mixer.from_state is None:
            raise ValueError("reads are for a mixer that reads the state, but state_dependent is False")
        return self.mixer.from_state(unit_rms(reads) if self.normalize_state else reads)

    def _advance(self, decay: Tensor, drive: Tensor, features: Tensor, state: Tensor, *, fed: bool = False) -> Tensor:
        # With w = h - u the step reads w = λ (h_{t-1} - u) + (1-λ) P w: one solve, P never applied.
        mixed = self._complement(features, None if fed else state)
        return drive + mixed.solve(1 - decay, decay * (state - drive))

    def _walk(self, decay: Tensor, drive: Tensor, features: Tensor, first: Tensor, *, fed: bool = False) -> Tensor:
        mixer = self.mixer
        if isinstance(mixer, HouseholderMixer) and mixer.rank == 1:
            weight = None if mixer.from_state is None or fed else mixer.from_state.weight
            how = {"scale": mixer.scale, "normalize": self.normalize_state}
            return householder_walk(decay, drive, features, first, weight, **how)
        return self._generic_walk(decay, drive, features, first, fed=fed)

    def _generic_walk(
        self, decay: Tensor, drive: Tensor, features: Tensor, first: Tensor, *, fed: bool = False
    ) -> Tensor:
        state, states = first, []
        # unbind, never [:, t]: indexing would make the backward pass quadratic in T
        for now in zip(decay.unbind(1), drive.unbind(1), features.unbind(1), strict=True):
            state = self._advance(*now, state, fed=fed)
            states.append(state)
        return torch.stack(states, dim=1)
