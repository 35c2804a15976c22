"""Channel mixers: the matrix Q_t that makes a diagonal recurrence dense.

A mixer reads the input x_t and, if it is state-dependent, the previous state. It returns ``P = I - Q`` as a value that
can be applied, solved with, or written out. The recurrence needs P: P = 0 leaves it diagonal, and ``|P| < 1`` makes its
iteration contract.

Shapes: ``...`` is (B, T) or (B,), D the inner width, R the rank.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disobey.errors import refusal


class Complement(Protocol):
    """``P = I - Q`` at every position."""

    def apply(self, vector: Tensor) -> Tensor:
        """``P v``: ``(..., D)`` to ``(..., D)``."""
        ...

    def solve(self, gain: Tensor, vector: Tensor) -> Tensor:
        """The h with ``h = gain * (P h) + vector``, exactly: ``(..., D)``, ``(..., D)`` to ``(..., D)``."""
        ...

    def dense(self) -> Tensor:
        """P as a matrix, ``(..., D, D)``, for tests and spectra."""
        ...


@dataclass(frozen=True)
class LowRank:
    """``P = diag(diagonal) + left rightᵀ``.

    Attributes:
        left: ``(..., R, D)``.
        right: ``(..., R, D)``.
        diagonal: ``(..., D)``, or None for 0.
    """

    left: Tensor
    right: Tensor
    diagonal: Tensor | None = None

    def apply(self, vector: Tensor) -> Tensor:
        """``P v`` in O(D R)."""
        coefficients = (self.right * vector.unsqueeze(-2)).sum(-1, keepdim=True)
        mixed = (self.left * coefficients).sum(-2)
        return mixed if self.diagonal is None else mixed + self.diagonal * vector

    def solve(self, gain: Tensor, vector: Tensor) -> Tensor:
        """The h with ``h = gain * (P h) + vector`` by the Woodbury identity: one R×R system, with exact gradients."""
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
    """``P = first ⊗ second``, with M N = D.

    Attributes:
        first: ``(..., M, M)``.
        second: ``(..., N, N)``.
    """

    first: Tensor
    second: Tensor

    def apply(self, vector: Tensor) -> Tensor:
        """``P v`` in O(D (M + N))."""
        grid = vector.unflatten(-1, (self.first.shape[-1], self.second.shape[-1]))
        return (self.first @ grid @ self.second.mT).flatten(-2)

    def solve(self, gain: Tensor, vector: Tensor) -> Tensor:
        """The h with ``h = gain * (P h) + vector``: a dense D×D solve, O(D³), because the gain breaks the structure."""
        matrix = self.dense()
        system = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device) - gain.unsqueeze(-1) * matrix
        return torch.linalg.solve(system, vector)

    def dense(self) -> Tensor:
        """P as a matrix."""
        product = self.first[..., :, None, :, None] * self.second[..., None, :, None, :]
        return product.flatten(-2).flatten(-3, -2)


class Mixer(nn.Module):
    """The base of all mixers: linear features of the input plus linear features of the previous state.

    `features` gives the part of the input, `forward` adds the part of the state, and `complement` turns the sum into P.
    The two parts are separate because the first is computed once for the whole sequence, while the second changes in
    every iteration.

    Args:
        d_model: features of the input.
        d_inner: features D of the state.
        features: number of linear features.
        state_dependent: whether the mixer reads the previous state.
    """

    def __init__(self, d_model: int, d_inner: int, features: int, *, state_dependent: bool) -> None:
        super().__init__()
        self.d_inner = d_inner
        self.from_input = nn.Linear(d_model, features)
        self.from_state = nn.Linear(d_inner, features, bias=False) if state_dependent else None

    def features(self, x: Tensor) -> Tensor:
        """Features of the input: ``(..., d_model)`` to ``(..., F)``."""
        return self.from_input(x)

    def forward(self, features: Tensor, previous: Tensor | None = None) -> Complement:
        """P from ``features`` of the input and, if the mixer reads it, the previous state ``(..., D)``."""
        if self.from_state is not None and previous is not None:
            features = features + self.read(previous)
        return self.complement(features)

    def read(self, previous: Tensor) -> Tensor:
        """Features of the previous state, ``(..., D)`` to ``(..., F)``, in its type; only of mixers that read it."""
        assert self.from_state is not None
        return F.linear(previous, self.from_state.weight.to(previous.dtype))

    def complement(self, features: Tensor) -> Complement:
        """P from the sum of features ``(..., F)``; implemented by every mixer."""
        raise NotImplementedError


class HouseholderMixer(Mixer):
    """Q as a product of R generalized Householder matrices ``I - scale α_i u_i u_iᵀ`` with |u_i| = 1, 0 < α_i < 1.

    With scale 1 (the paper) every factor contracts towards a hyperplane, and convergence is certified at rank 1. Scale
    2 (the paper's code) allows reflections, without a certificate.

    Args:
        d_model: features of the input.
        d_inner: features D of the state.
        rank: number R of factors.
        scale: factor of every α_i.
        state_dependent: whether the mixer reads the previous state.
    """

    def __init__(
        self, d_model: int, d_inner: int, rank: int = 1, *, scale: float = 1.0, state_dependent: bool = True
    ) -> None:
        super().__init__(d_model, d_inner, rank * (d_inner + 1), state_dependent=state_dependent)
        self.rank, self.scale = rank, scale

    def complement(self, features: Tensor) -> LowRank:
        """P in the compact (WY) form: ``Q_1 ... Q_R = I - Σ_i left_i right_iᵀ``."""
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
    """``P = scale (diag(p) + √(1-p) (Σ_i α_i u_i u_iᵀ / R) √(1-p))`` with 0 < p, α < 1.

    P is symmetric with eigenvalues in [0, 1) at scale 1, so convergence is certified at every rank.

    Args:
        d_model: features of the input.
        d_inner: features D of the state.
        rank: number R of low-rank terms.
        scale: factor of P; above 1 convergence is not certified.
        state_dependent: whether the mixer reads the previous state.
    """

    def __init__(
        self, d_model: int, d_inner: int, rank: int = 1, *, scale: float = 1.0, state_dependent: bool = True
    ) -> None:
        super().__init__(d_model, d_inner, rank * (d_inner + 1) + d_inner, state_dependent=state_dependent)
        self.rank, self.scale = rank, scale

    def complement(self, features: Tensor) -> LowRank:
        """P as a diagonal plus R outer products."""
        keys, strengths, diagonal = features.split((self.rank * self.d_inner, self.rank, self.d_inner), dim=-1)
        units = F.normalize(keys.unflatten(-1, (self.rank, self.d_inner)), dim=-1, eps=1e-6)
        diagonal = torch.sigmoid(diagonal - 3.0)  # at initialization P is mostly of low rank
        room = units * (1 - diagonal).sqrt().unsqueeze(-2)
        strengths = torch.sigmoid(strengths).unsqueeze(-1) / self.rank
        return LowRank(self.scale * strengths * room, room, self.scale * diagonal)


class KroneckerMixer(Mixer):
    """``P = scale K¹ ⊗ K²``, each factor positive semidefinite with a spectral norm below 1.

    A factor is ``L Lᵀ`` divided by a bound of its spectral norm, ``(trace (L Lᵀ)^p)^(1/p)`` with p = 32. The bound is
    never too small, so convergence is certified, and at most n^(1/32) too large (7% at n = 8). A few power iterations,
    as in the paper, underestimate the norm if eigenvalues are close (by 17% after eight in one measurement).

    Args:
        d_model: features of the input.
        d_inner: features D of the state.
        rank: not used; the other mixers have one.
        scale: factor of P; above 1 convergence is not certified.
        state_dependent: whether the mixer reads the previous state.
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
        del rank
        self.sides = _sides(d_inner)
        features = sum(n * n for n in self.sides) + 1
        super().__init__(d_model, d_inner, features, state_dependent=state_dependent)
        self.scale = scale

    def complement(self, features: Tensor) -> Kronecker:
        """P as a Kronecker product of two bounded factors."""
        m, n = self.sides
        first, second, strength = features.split((m * m, n * n, 1), dim=-1)
        strength = self.scale * torch.sigmoid(strength).unsqueeze(-1)
        factors = [self._factor(first.unflatten(-1, (m, m))), self._factor(second.unflatten(-1, (n, n)))]
        return Kronecker(strength * factors[0], factors[1])

    def _factor(self, root: Tensor) -> Tensor:
        """``root rootᵀ`` divided by a bound of its spectral norm."""
        gram = root @ root.mT
        bound = _trace(gram) + 1e-12
        power = gram / bound
        for doubling in range(1, 6):  # normalized after every squaring, otherwise float32 underflows
            power = power @ power
            trace = _trace(power)
            bound, power = bound * trace ** (0.5**doubling), power / trace
        return gram / (bound * (1 + 1e-6))


def _trace(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]


def _sides(d_inner: int) -> tuple[int, int]:
    """The factorization of D that is closest to square: 64 to (8, 8), 96 to (8, 12)."""
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
    """A mixer by name.

    Args:
        name: ``householder``, ``diagonal_low_rank`` or ``kronecker``.
        d_model: features of the input.
        d_inner: features D of the state.
        rank: number of factors, from 1 to D; ``kronecker`` ignores it.
        scale: see the mixers.
        state_dependent: whether the mixer reads the previous state.

    Returns:
        The mixer.

    Raises:
        Refusal: ``unknown-mixer`` or ``mixer-rank``.
    """
    if name not in MIXERS:
        raise refusal("unknown-mixer", f"a mixer out of {', '.join(sorted(MIXERS))}", repr(name))
    if rank < 1 or rank > d_inner:
        raise refusal("mixer-rank", f"a rank from 1 to d_inner = {d_inner}", rank)
    return MIXERS[name](d_model, d_inner, rank, scale=scale, state_dependent=state_dependent)  # type: ignore[call-arg]
