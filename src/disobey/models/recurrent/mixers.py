"""Channel mixers: the matrix Q_t that makes a diagonal recurrence dense.

A mixer reads the input x_t and, optionally, the previous state, and gives ``P = I - Q`` as a value
that can be applied, solved with, or written out. P is what the recurrence needs: P = 0 leaves it
diagonal and ``|P| < 1`` makes its iteration contract. Shapes: ``...`` is (B, T) or (B,), D the inner
width, R the rank.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Complement(Protocol):
    """``P = I - Q`` at every position."""

    def apply(self, vector: Tensor) -> Tensor:
        """``P v``: ``(..., D)`` to ``(..., D)``."""
        ...

    def solve(self, gain: Tensor, vector: Tensor) -> Tensor:
        """The h with ``h = gain * (P h) + vector``, exactly."""
        ...

    def dense(self) -> Tensor:
        """P written out, ``(..., D, D)``: for tests and spectra."""
        ...


@dataclass(frozen=True)
class LowRank:
    """``P = diag(diagonal) + left rightᵀ``: diagonal ``(..., D)`` or None, the factors ``(..., R, D)``."""

    left: Tensor
    right: Tensor
    diagonal: Tensor | None = None

    def apply(self, vector: Tensor) -> Tensor:
        """``P v`` in O(D R)."""
        coefficients = (self.right * vector.unsqueeze(-2)).sum(-1, keepdim=True)
        mixed = (self.left * coefficients).sum(-2)
        return mixed if self.diagonal is None else mixed + self.diagonal * vector

    def solve(self, gain: Tensor, vector: Tensor) -> Tensor:
        """Woodbury: one R×R system; no iteration, and exact gradients."""
        left = self.left * gain.unsqueeze(-2)
        if self.diagonal is not None:
            inverse = 1 / (1 - gain * self.diagonal)
            left, vector = left * inverse.unsqueeze(-2), vector * inverse
        known = (self.right * vector.unsqueeze(-2)).sum(-1)
        if left.shape[-2] == 1:
            coefficients = known / (1 - (self.right * left).sum(-1))
        else:
            system = torch.eye(left.shape[-2], dtype=left.dtype, device=left.device) - self.right @ left.mT
            coefficients = torch.linalg.solve(system, known)
        return vector + (left * coefficients.unsqueeze(-1)).sum(-2)

    def dense(self) -> Tensor:
        """P as a matrix."""
        matrix = self.left.mT @ self.right
        return matrix if self.diagonal is None else matrix + torch.diag_embed(self.diagonal)


@dataclass(frozen=True)
class Kronecker:
    """``P = first ⊗ second``: ``(..., M, M)`` and ``(..., N, N)`` with M N = D."""

    first: Tensor
    second: Tensor

    def apply(self, vector: Tensor) -> Tensor:
        """``P v`` in O(D (M + N))."""
        grid = vector.unflatten(-1, (self.first.shape[-1], self.second.shape[-1]))
        return (self.first @ grid @ self.second.mT).flatten(-2)

    def solve(self, gain: Tensor, vector: Tensor) -> Tensor:
        """A dense D×D solve, O(D³): the gain breaks the Kronecker structure."""
        matrix = self.dense()
        system = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device) - gain.unsqueeze(-1) * matrix
        return torch.linalg.solve(system, vector)

    def dense(self) -> Tensor:
        """P as a matrix."""
        product = self.first[..., :, None, :, None] * self.second[..., None, :, None, :]
        return product.flatten(-2).flatten(-3, -2)


class Mixer(nn.Module):
    """What all mixers share: linear features of the input, plus linear features of the previous state.

    `features` is the sum of both; subclasses turn it into a `Complement`. The two parts are separate
    because the first is known for the whole sequence, while the second changes in every iteration.
    """

    def __init__(self, d_model: int, d_inner: int, features: int, *, state_dependent: bool) -> None:
        super().__init__()
        self.d_inner = d_inner
        self.from_input = nn.Linear(d_model, features)
        self.from_state = nn.Linear(d_inner, features, bias=False) if state_dependent else None

    def features(self, x: Tensor) -> Tensor:
        """The part that depends on the input only: ``(..., d_model)`` to ``(..., F)``."""
        return self.from_input(x)

    def forward(self, features: Tensor, previous: Tensor | None = None) -> Complement:
        """P from `features` of the input and the previous state ``(..., D)`` (where the mixer reads it)."""
        if self.from_state is not None and previous is not None:
            features = features + self.from_state(previous)
        return self.complement(features)

    def complement(self, features: Tensor) -> Complement:
        raise NotImplementedError


class HouseholderMixer(Mixer):
    """Q as a product of R generalized Householder matrices ``I - scale α_i u_i u_iᵀ``, |u_i| = 1, 0 < α_i < 1.

    `scale` = 1 (the paper) makes each factor a contraction towards a hyperplane and, at rank 1, certifies
    convergence. `scale` = 2 (the paper's code) allows reflections and loses the certificate.
    """

    def __init__(
        self, d_model: int, d_inner: int, rank: int = 1, *, scale: float = 1.0, state_dependent: bool = True
    ) -> None:
        super().__init__(d_model, d_inner, rank * (d_inner + 1), state_dependent=state_dependent)
        self.rank, self.scale = rank, scale

    def complement(self, features: Tensor) -> LowRank:
        """Compact (WY) form: ``Q_1 ... Q_R = I - Σ_i left_i right_iᵀ``."""
        keys, strengths = features.split((self.rank * self.d_inner, self.rank), dim=-1)
        units = F.normalize(keys.unflatten(-1, (self.rank, self.d_inner)), dim=-1, eps=1e-6)
        strengths = self.scale * torch.sigmoid(strengths).unsqueeze(-1)
        if self.rank == 1:
            return LowRank(strengths * units, units)
        lefts: list[Tensor] = []
        for i in range(self.rank):
            unit = units[..., i, :]
            image = unit  # Q_1 ... Q_{i-1} u_i
            for j, left in enumerate(lefts):
                image = image - left * (units[..., j, :] * unit).sum(-1, keepdim=True)
            lefts.append(strengths[..., i, :] * image)
        return LowRank(torch.stack(lefts, dim=-2), units)


class DiagonalLowRankMixer(Mixer):
    """``P = diag(p) + √(1-p) (Σ_i α_i u_i u_iᵀ / R) √(1-p)`` with 0 < p, α < 1, times `scale`.

    Symmetric with eigenvalues in [0, 1) at `scale` = 1, so it is certified at every rank.
    """

    def __init__(
        self, d_model: int, d_inner: int, rank: int = 1, *, scale: float = 1.0, state_dependent: bool = True
    ) -> None:
        super().__init__(d_model, d_inner, rank * (d_inner + 1) + d_inner, state_dependent=state_dependent)
        self.rank, self.scale = rank, scale

    def complement(self, features: Tensor) -> LowRank:
        keys, strengths, diagonal = features.split((self.rank * self.d_inner, self.rank, self.d_inner), dim=-1)
        units = F.normalize(keys.unflatten(-1, (self.rank, self.d_inner)), dim=-1, eps=1e-6)
        diagonal = torch.sigmoid(diagonal - 3.0)  # mostly low rank at initialization
        room = units * (1 - diagonal).sqrt().unsqueeze(-2)
        strengths = torch.sigmoid(strengths).unsqueeze(-1) / self.rank
        return LowRank(self.scale * strengths * room, room, self.scale * diagonal)


class KroneckerMixer(Mixer):
    """``P = scale K¹ ⊗ K²``, each factor positive semidefinite with spectral norm below 1.

    A factor is ``L Lᵀ`` divided by a bound of its spectral norm, ``(trace (L Lᵀ)^p)^(1/p)`` with p = 32: never
    too small, hence a certificate, and at most n^(1/32) too large (7 % at n = 8). A few power iterations,
    as in the paper, underestimate the norm where eigenvalues are close (seen: by 17 % after eight).
    """

    def __init__(
        self,
        d_model: int,
        d_inner: int,
        rank: int = 1,
        *,
        scale: float = 1.0,
        state_dependent: bool = True,
    ) -> None:
        self.sides = _sides(d_inner)
        features = sum(n * n for n in self.sides) + 1
        super().__init__(d_model, d_inner, features, state_dependent=state_dependent)
        self.scale = scale

    def complement(self, features: Tensor) -> Kronecker:
        m, n = self.sides
        first, second, strength = features.split((m * m, n * n, 1), dim=-1)
        strength = self.scale * torch.sigmoid(strength).unsqueeze(-1)
        factors = [self._factor(first.unflatten(-1, (m, m))), self._factor(second.unflatten(-1, (n, n)))]
        return Kronecker(strength * factors[0], factors[1])

    def _factor(self, root: Tensor) -> Tensor:
        gram = root @ root.mT
        bound = _trace(gram) + 1e-12
        power = gram / bound
        for doubling in range(1, 6):  # renormalized at every squaring, or float32 would underflow
            power = power @ power
            trace = _trace(power)
            bound, power = bound * trace ** (0.5**doubling), power / trace
        return gram / (bound * (1 + 1e-6))


def _trace(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]


def _sides(d_inner: int) -> tuple[int, int]:
    """The most nearly square factorization: 64 to (8, 8), 96 to (8, 12)."""
    side = next(n for n in range(int(d_inner**0.5), 0, -1) if d_inner % n == 0)
    return side, d_inner // side


MIXERS: dict[str, type[Mixer]] = {
    "householder": HouseholderMixer,
    "diagonal_low_rank": DiagonalLowRankMixer,
    "kronecker": KroneckerMixer,
}


def build_mixer(
    name: str, d_model: int, d_inner: int, rank: int = 1, *, scale: float = 1.0, state_dependent: bool = True
) -> Mixer:
    """A mixer by name: householder, diagonal_low_rank or kronecker (which has no rank)."""
    if name not in MIXERS:
        raise ValueError(f"expected a mixer among {sorted(MIXERS)}, got {name!r}")
    if rank < 1 or rank > d_inner:
        raise ValueError(f"expected a rank from 1 to d_inner = {d_inner}, got {rank}")
    return MIXERS[name](d_model, d_inner, rank, scale=scale, state_dependent=state_dependent)  # type: ignore[call-arg]
