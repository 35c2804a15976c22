"""How a fixed point is found, as a value: by iterating over whole sequences, or exactly, step by step.

A layer gives its solver two functions. `sweep` maps an estimate of all states ``(B, T, D)`` to a better one, in
parallel over time; `walk` computes the same states sequentially and exactly. Replacing ``layer.solver`` after training
changes the cost of inference and nothing else.

Why the gradient of `Iterate` is written by hand: autograd through the iteration would store every sweep. By the
implicit function theorem the gradient at the solution needs only one sweep, whose adjoint is iterated in the same way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from disobey.errors import refusal

Gradient = Literal["ift", "one_step", "unroll"]
Sweep = Callable[[Tensor], Tensor]
Walk = Callable[[], Tensor]


@dataclass(frozen=True)
class Solve:
    """What the last solve did. The tensors are on the device; reading them waits for it.

    Attributes:
        iterations: number of sweeps, or of steps for `Exact`.
        residual: max |last change| / max |states| of every sequence, ``(B,)``.
        converged: whether the residual is finite and within the tolerance, ``(B,)``; False for a diverging sequence.
    """

    iterations: int
    residual: Tensor  # (B,): max |last change| / max |states|, per sequence
    converged: Tensor  # (B,): residual within tolerance and finite; a diverging sequence never is


@dataclass(frozen=True)
class Exact:
    """Walks through time and solves each step exactly: T steps, no tolerance, gradients by autograd."""

    def __call__(self, sweep: Sweep, walk: Walk, start: Tensor) -> tuple[Tensor, Solve]:
        """The states of ``walk`` and a report."""
        del sweep  # the interface of solvers: `Iterate` needs it
        states = walk()
        finite = torch.isfinite(states.detach()).flatten(1).all(1)
        residual = torch.where(finite, 0.0, torch.inf)
        return states, Solve(start.shape[1], residual, finite)


@dataclass(frozen=True)
class Iterate:
    """Repeats the sweep until no sequence of the batch changes by more than ``tol``.

    The residual is relative, ``max |Δh| / max |h|``. ``tol=0`` runs exactly ``max_iter`` sweeps and never waits for the
    device.

    Attributes:
        max_iter: largest number of sweeps.
        tol: relative tolerance.
        gradient: how the backward pass treats the solution. ``"ift"`` solves the adjoint fixed point by the same
            iteration and tolerance (exact up to it), ``"one_step"`` differentiates one more sweep, ``"unroll"`` the
            last ``unroll`` sweeps.
        unroll: number of sweeps for ``"unroll"``.
        check_every: number of sweeps between two checks of the residual; by default 1 on CPUs and 4 elsewhere, because
            a check waits for the device.

    Raises:
        Refusal: ``iterate-settings`` or ``unknown-gradient``.
    """

    max_iter: int = 64
    tol: float = 1e-3
    gradient: Gradient = "ift"
    unroll: int = 4
    check_every: int | None = None

    def __post_init__(self) -> None:
        if self.max_iter < 1 or self.unroll < 1 or self.tol < 0:
            raise refusal("iterate-settings", "max_iter >= 1, unroll >= 1 and tol >= 0", self)
        if self.gradient not in ("ift", "one_step", "unroll"):
            expected = "the gradient 'ift', 'one_step' or 'unroll'"
            raise refusal("unknown-gradient", expected, repr(self.gradient))

    def __call__(self, sweep: Sweep, walk: Walk, start: Tensor) -> tuple[Tensor, Solve]:
        """The states after the last sweep, and a report."""
        del walk  # the interface of solvers: `Exact` needs it
        if not torch.is_grad_enabled():
            return self.repeat(sweep, start, self.max_iter)
        if self.gradient == "unroll":
            return self._unrolled(sweep, start)
        if self.max_iter == 1:  # the solution is one sweep of the start, so autograd is enough
            states = sweep(start)
            return states, self._report(1, states.detach(), start)
        with torch.no_grad():
            found, solve = self.repeat(sweep, start, self.max_iter)
        if self.gradient == "one_step":
            return sweep(found), solve
        found = found.detach().requires_grad_()
        return _Implicit.apply(sweep(found), found, self), solve

    def repeat(self, sweep: Sweep, start: Tensor, sweeps: int) -> tuple[Tensor, Solve]:
        """At most this many sweeps from ``start``, and a report; differentiable if gradients are enabled."""
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
        # A residual that is not finite will stay so.
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


# torch.compile would unroll T steps or trace a loop that depends on data; the layers around it are compiled.
_eager_solve = torch.compiler.disable(_solve)


def solve(solver: Exact | Iterate, sweep: Sweep, walk: Walk, start: Tensor) -> tuple[Tensor, Solve]:
    """The states and the report of a solver.

    Args:
        solver: `Exact` or `Iterate`.
        sweep: maps states ``(B, T, D)`` to better ones.
        walk: returns the exact states ``(B, T, D)``.
        start: first estimate ``(B, T, D)``.

    Returns:
        States ``(B, T, D)`` and what the solve took.
    """
    return _eager_solve(solver, sweep, walk, start)  # pyright: ignore[reportCallIssue]


def diagonal(solver: Exact | Iterate) -> bool:
    """Whether a solver leaves the recurrence diagonal: one sweep from zero never mixes the states."""
    return isinstance(solver, Iterate) and solver.max_iter == 1


def relative_change(states: Tensor, last: Tensor) -> Tensor:
    """``max |Δh| / max |h|`` of every sequence, ``(B, ...)`` to ``(B,)``; NaN and infinity are kept.

    >>> relative_change(torch.tensor([[2.0, 4.0]]), torch.tensor([[2.0, 3.0]])).tolist()
    [0.25]
    """
    change = (states - last).abs().flatten(1).amax(1)
    return change / states.abs().flatten(1).amax(1).clamp_min(torch.finfo(states.dtype).tiny)


class _Implicit(torch.autograd.Function):
    """Identity in the forward pass; the backward pass maps g to the y with ``y = g + Jᵀ y``, J a sweep's Jacobian."""

    @staticmethod
    def forward(ctx, swept: Tensor, found: Tensor, solver: Iterate) -> Tensor:
        ctx.swept, ctx.found, ctx.solver = swept, found, solver
        return swept.view_as(swept)

    @staticmethod
    def backward(ctx, grad: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        def adjoint(guess: Tensor) -> Tensor:
            # The graph is used again by every sweep, and finally by the parameters.
            (pulled,) = torch.autograd.grad(ctx.swept, ctx.found, guess, retain_graph=True)
            return grad + pulled

        solution, _ = ctx.solver.repeat(adjoint, grad, ctx.solver.max_iter)
        return solution, None, None
