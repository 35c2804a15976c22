"""The exact walk for one state-dependent Householder factor in plain torch, with its gradient written by hand.

Why by hand: the generic walk records about thirty small operations per step, and its backward pass runs twice as many;
most of the time is spent in launching them. Here the forward pass records none. In the backward pass everything that
does not depend on the adjoint is recomputed for the whole sequence at once, and only the chain through h_{t-1} remains
a loop. The values and gradients equal those of `FixedPointRNN._generic_walk` on every device; the tests compare both.
On CPUs with a compiler `householder_kernel` does the same for any number of factors.

Shapes: B batch, T time, D inner width.
"""

import torch
from torch import Tensor

EPS_RMS, EPS_KEY = 1e-5, 1e-6  # as in `fixed_point.unit_rms` and in `HouseholderMixer`


def householder_walk(
    decay: Tensor,
    drive: Tensor,
    features: Tensor,
    first: Tensor,
    weight: Tensor | None,
    *,
    scale: float,
    normalize: bool,
) -> Tensor:
    """States ``(B, T, D)`` of the exact walk. It is not twice differentiable.

    Args:
        decay: ``(B, T, D)``.
        drive: ``(B, T, D)``.
        features: of the input, ``(B, T, D + 1)``.
        first: initial state ``(B, D)``.
        weight: ``(D + 1, D)``, maps the (normalized) previous state to features; None if the mixer does not read the
            state.
        scale: of the mixer.
        normalize: whether the mixer reads the state divided by its root mean square.

    Returns:
        States ``(B, T, D)``.
    """
    return _Walk.apply(decay, drive, features, first, weight, scale, normalize)


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return torch.linalg.vecdot(first, second).unsqueeze(-1)


def inverse_rms(states: Tensor) -> Tensor:
    """One over the root mean square over features, ``(..., D)`` to ``(..., 1)``."""
    return torch.rsqrt(_dot(states, states) / states.shape[-1] + EPS_RMS)


class _Walk(torch.autograd.Function):
    @staticmethod
    def forward(ctx, decay, drive, features, first, weight, scale, normalize):
        states = torch.empty_like(drive, memory_format=torch.contiguous_format)
        width, gain = drive.shape[-1], 1 - decay
        transposed = None if weight is None else weight.t()
        raw, state = [], first
        rows = zip(*(v.unbind(1) for v in (decay, gain, drive, features, states)), strict=True)
        for a, g, u, f, out in rows:
            if transposed is not None:
                f = torch.addmm(f, state * inverse_rms(state) if normalize else state, transposed)
                raw.append(f)
            key = f[:, :width]
            unit = key / torch.linalg.vector_norm(key, dim=-1, keepdim=True).clamp_min(EPS_KEY)
            strength = scale * torch.sigmoid(f[:, width:])
            known, pull = a * (state - u), g * unit
            coefficient = strength * _dot(unit, known) / (1 - strength * _dot(unit, pull))
            state = torch.addcmul(known.add_(u), pull, coefficient, out=out)
        full = features if weight is None else torch.stack(raw, dim=1)
        ctx.save_for_backward(decay, drive, full, first, weight, states)
        ctx.how = scale, normalize
        return states

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        decay, drive, full, first, weight, states = ctx.saved_tensors
        scale, normalize = ctx.how
        width, gain = drive.shape[-1], 1 - decay
        before = torch.cat((first[:, None], states[:, :-1]), dim=1)
        shrink = inverse_rms(before) if normalize else torch.ones_like(before[..., :1])
        read = before * shrink
        key = full[..., :width]
        inverse_norm = 1 / torch.linalg.vector_norm(key, dim=-1, keepdim=True).clamp_min(EPS_KEY)
        unit = key * inverse_norm
        open_ = torch.sigmoid(full[..., width:])
        strength = scale * open_
        pull = gain * unit
        known = decay * (before - drive)
        projection = _dot(unit, known)
        amplified = strength / (1 - strength * _dot(unit, pull))  # α / (1 - α m)
        coefficient = amplified * projection
        # de = coefficient gain*G + (G·pull) direction, where only the adjoint G is not known beforehand
        direction = amplified * known + (2 * amplified * coefficient) * pull
        # dα = (G·pull) c / (1 - α m)², then through the sigmoid
        strength_gain = projection * amplified.square() * (1 - open_) / strength
        scaled_gain = coefficient * gain
        adjoints, d_full = torch.empty_like(states), torch.empty_like(full)
        carry = torch.zeros_like(first)
        names = (grad, adjoints, d_full, decay, pull, unit, amplified, direction, scaled_gain, strength_gain)
        rows = zip(*(v.unbind(1) for v in (*names, inverse_norm, shrink, read)), strict=True)
        for g, out, df, a, q, e, z, d, sg, st, inv, rms, n in reversed(list(rows)):
            adjoint = torch.add(g, carry, out=out)
            p = _dot(adjoint, q)
            carry = a * torch.addcmul(adjoint, p * z, e)
            if weight is None:
                continue
            de = torch.addcmul(sg * adjoint, p, d)
            torch.mul(torch.addcmul(de, _dot(e, de), e, value=-1), inv, out=df[:, :width])
            torch.mul(p, st, out=df[:, width:])
            dn = df @ weight
            carry += torch.addcmul(dn, _dot(n, dn) / width, n, value=-1) * rms if normalize else dn
        # Everything that the chain does not need, for the whole sequence at once.
        p = _dot(adjoints, pull)
        if weight is None:
            de = torch.addcmul(scaled_gain * adjoints, p, direction)
            d_full = torch.cat(((de - _dot(unit, de) * unit) * inverse_norm, p * strength_gain), dim=-1)
        through = torch.addcmul(adjoints, p * amplified, unit)
        d_gain = coefficient * unit * adjoints + (p * amplified * coefficient) * unit.square()
        d_decay = (before - drive) * through - d_gain
        d_weight = None if weight is None else d_full.flatten(0, 1).t() @ read.flatten(0, 1)
        return d_decay, adjoints - decay * through, d_full, carry, d_weight, None, None
