"""How a fixed point is found, as a value: by iterating over whole sequences, or exactly, step by step.

A layer hands its solver two functions. `sweep` maps a guess of all states ``(B, T, D)`` to a better one,
in parallel over time; `walk` computes the same states sequentially and exactly. Swapping ``layer.solver``
after training changes the cost of inference and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Gradient = Literal["ift", "one_step", "unroll"]
Sweep = Callable[[Tensor], Tensor]
Walk = Callable[[], Tensor]


@dataclass(frozen=True)
class Solve:
    """What the last solve did. The tensors live on the device: reading one is what waits for it."""

    iterations: int
    residual: Tensor  # (B,): max |last change| / max |states|, per sequence
    converged: Tensor  # (B,): residual within tolerance and finite; a diverging sequence never is


@dataclass(frozen=True)
class Exact:
    """Walk through time, solving each step exactly: T steps, no tolerance, gradients by autograd."""

    def __call__(self, sweep: Sweep, walk: Walk, start: Tensor) -> tuple[Tensor, Solve]:
        states = walk()
        finite = torch.isfinite(states.detach()).flatten(1).all(1)
        residual = torch.where(finite, 0.0, torch.inf)
        return states, Solve(start.shape[1], residual, finite)


@dataclass(frozen=True)
class Iterate:
    """Repeat the sweep until the worst sequence of the batch changes by at most `tol`.

    The residual is relative, ``max |Δh| / max |h|``. ``tol=0`` runs exactly `max_iter` sweeps and never
    looks at the device. `gradient` is how the backward pass treats the solution: ``"ift"`` solves
    the adjoint fixed point by the same iteration and tolerance (exact up to it), ``"one_step"``
    differentiates one more sweep, ``"unroll"`` the last `unroll` sweeps. ``check_every`` sweeps the
    residual is read (default: each one on CPU, every fourth elsewhere, as reading waits for the device).
    """

    max_iter: int = 64
    tol: float = 1e-3
    gradient: Gradient = "ift"
    unroll: int = 4
    check_every: int | None = None

    def __post_init__(self) -> None:
        if self.max_iter < 1 or self.unroll < 1 or self.tol < 0:
            raise ValueError(f"expected max_iter, unroll >= 1 and tol >= 0, got {self}")
        if self.gradient not in ("ift", "one_step", "unroll"):
            raise ValueError(f"expected gradient ift, one_step or unroll, got {self.gradient!r}")

    def __call__(self, sweep: Sweep, walk: Walk, start: Tensor) -> tuple[Tensor, Solve]:
        if not torch.is_grad_enabled():
            return self.repeat(sweep, start, self.max_iter)
        if self.gradient == "unroll":
            return self._unrolled(sweep, start)
        if self.max_iter == 1:  # nothing to be implicit about: the solution is one sweep of the start
            states = sweep(start)
            return states, self._report(1, states.detach(), start)
        with torch.no_grad():
            found, solve = self.repeat(sweep, start, self.max_iter)
        if self.gradient == "one_step":
            return sweep(found), solve
        found = found.detach().requires_grad_()
        return _Implicit.apply(sweep(found), found, self), solve

    def repeat(self, sweep: Sweep, start: Tensor, sweeps: int) -> tuple[Tensor, Solve]:
        """At most this many sweeps from `start`, and the report; differentiable where gradients are on."""
        every = self.check_every or (1 if start.device.type == "cpu" else 4)
        states = last = start
        used = 0
        while used < sweeps:
            last, states = states, sweep(states)
            used += 1
            if self.tol > 0 and used % every == 0 and used < sweeps and self._done(states, last):
                break
        return states, self._report(used, states.detach(), last.detach())

    def _done(self, states: Tensor, last: Tensor) -> bool:
        residual = relative_change(states.detach(), last.detach())
        # not finite: nothing further will change that
        return bool(((residual <= self.tol) | ~torch.isfinite(residual)).all())

    def _report(self, used: int, states: Tensor, last: Tensor) -> Solve:
        residual = relative_change(states, last)
        return Solve(used, residual, residual <= self.tol)

    def _unrolled(self, sweep: Sweep, start: Tensor) -> tuple[Tensor, Solve]:
        kept = min(self.unroll, self.max_iter)
        states, solve = start, None
        if kept < self.max_iter:
            with torch.no_grad():
                states, solve = self.repeat(sweep, start, self.max_iter - kept)
        last = states
        for _ in range(kept):
            last, states = states, sweep(states)
        used = kept + (solve.iterations if solve else 0)
        return states, self._report(used, states.detach(), last.detach())


def _solve(solver: Exact | Iterate, sweep: Sweep, walk: Walk, start: Tensor) -> tuple[Tensor, Solve]:
    return solver(sweep, walk, start)


# Compiled, it would unroll T steps or trace a loop that waits for data; the layers around it do compile.
_eager_solve = torch.compiler.disable(_solve)


def solve(solver: Exact | Iterate, sweep: Sweep, walk: Walk, start: Tensor) -> tuple[Tensor, Solve]:
    """The states and what it took, by this solver."""
    return _eager_solve(solver, sweep, walk, start)  # pyright: ignore[reportCallIssue]


def diagonal(solver: Exact | Iterate) -> bool:
    """Whether this solver leaves the recurrence diagonal: one sweep from zero never mixes the states."""
    return isinstance(solver, Iterate) and solver.max_iter == 1


def relative_change(states: Tensor, last: Tensor) -> Tensor:
    """``max |Δh| / max |h|`` per sequence, ``(B, ...)`` to ``(B,)``; NaN and infinity stay so.

    >>> relative_change(torch.tensor([[2.0, 4.0]]), torch.tensor([[2.0, 3.0]])).tolist()
    [0.25]
    """
    change = (states - last).abs().flatten(1).amax(1)
    return change / states.abs().flatten(1).amax(1).clamp_min(torch.finfo(states.dtype).tiny)


class _Implicit(torch.autograd.Function):
    """Identity forward; backward turns g into the y with ``y = g + Jᵀ y``, J the sweep's Jacobian."""

    @staticmethod
    def forward(ctx, swept: Tensor, found: Tensor, solver: Iterate) -> Tensor:
        ctx.swept, ctx.found, ctx.solver = swept, found, solver
        return swept.view_as(swept)

    @staticmethod
    def backward(ctx, grad: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        def adjoint(guess: Tensor) -> Tensor:
            # the graph is used again by every sweep, and at last by the parameters
            (pulled,) = torch.autograd.grad(ctx.swept, ctx.found, guess, retain_graph=True)
            return grad + pulled

        solution, _ = ctx.solver.repeat(adjoint, grad, ctx.solver.max_iter)
        return solution, None, None
