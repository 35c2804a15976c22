"""Sequence models: embedding, L x [norm, layer, residual], norm, head; and the baselines LSTM and Transformer.

Every layer has ``forward(x, state=None) -> (y, state)`` and ``step(x, state) -> (y, state)``, so one model class
serves all. Shapes: B batch, T time, C classes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disobey.models.recurrent.diagonal import DiagonalRNN, SelectiveLayer
from disobey.models.recurrent.fixed_point import FixedPointRNN
from disobey.models.recurrent.fixed_point_mamba import FixedPointMamba
from disobey.models.recurrent.reflections import ReflectionRNN


class SequenceModel(nn.Module):
    """Logits at every position ``(B, T, C)`` from tokens ``(B, T)``; causal.

    >>> model = sequence_model("fixed_point", tokens=6, classes=6)
    >>> tuple(model(torch.zeros(2, 5, dtype=torch.long)).shape)
    (2, 5, 6)
    """

    def __init__(self, tokens: int, classes: int, d_model: int, layers: list[nn.Module]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, d_model)
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in layers)
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits ``(B, T, C)``."""
        return self.extend(tokens)[0]

    def extend(self, tokens: Tensor, states: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """Logits of a stretch ``(B, T)`` that continues from `states`, and the states after it."""
        return self._run(tokens, states, lambda layer: layer)

    def step(self, tokens: Tensor, states: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """Logits ``(B, C)`` of one position ``(B,)``, and the states after it."""
        return self._run(tokens, states, lambda layer: layer.step)

    def trace(self, tokens: Tensor, *, reads: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits ``(B, T, C)`` and the last layer's states at every position, ``(B, T, D)``.

        `reads` ``(B, T, D)`` is what that layer's mixer reads in place of its own previous state (`FixedPointRNN.trace`).
        Raises `ValueError` for a last layer without one vector of state a position.
        """
        x = self.embedding(tokens)
        for layer, norm in zip(self.layers[:-1], self.norms[:-1], strict=True):
            x = x + layer(norm(x))[0]
        last: Any = self.layers[-1]
        if not hasattr(last, "trace") or (reads is not None and not isinstance(last, FixedPointRNN)):
            raise ValueError(
                f"expected a last layer with one state vector a position{' and a mixer' * (reads is not None)}: "
                f"FixedPointRNN{'' if reads is not None else ', DiagonalRNN or LSTMLayer'}; came {type(last).__name__}"
            )
        options = {} if reads is None else {"reads": reads}
        y, states = last.trace(self.norms[-1](x), **options)
        return self.head(self.norm(x + y)), states

    def _run(self, tokens: Tensor, states: list[Any] | None, call: Callable) -> tuple[Tensor, list[Any]]:
        x = self.embedding(tokens)
        after = []
        for layer, norm, state in zip(self.layers, self.norms, states or [None] * len(self.layers), strict=True):
            y, state = call(layer)(norm(x), state)
            x = x + y
            after.append(state)
        return self.head(self.norm(x)), after


class LSTMLayer(nn.Module):
    """torch's LSTM behind the layers' interface; the state is the pair (h, c), ``(1, B, D)`` each."""

    def __init__(self, d_model: int, d_inner: int | None = None) -> None:
        super().__init__()
        self.lstm = nn.LSTM(d_model, d_inner or 2 * d_model, batch_first=True)
        self.to_output = nn.Linear(d_inner or 2 * d_model, d_model)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Any]:
        """``(B, T, d_model)`` to the same, and the last state."""
        y, state = self.lstm(x, state)
        return self.to_output(y), state

    def trace(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs ``(B, T, d_model)`` and the hidden states h ``(B, T, D)``."""
        states, _ = self.lstm(x)
        return self.to_output(states), states

    def step(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Any]:
        """One position ``(B, d_model)``."""
        y, state = self(x[:, None], state)
        return y[:, 0], state


class TransformerLayer(nn.Module):
    """Causal self-attention and an MLP, with sinusoidal positions; the state is the past ``(B, t, d_model)``."""

    def __init__(self, d_model: int, d_inner: int | None = None, *, heads: int = 4) -> None:
        super().__init__()
        if d_model % (2 * heads):
            raise ValueError(f"expected d_model to be a multiple of 2 heads = {2 * heads}, got {d_model}")
        self.heads = heads
        self.to_qkv = nn.Linear(d_model, 3 * d_model)
        self.to_output = nn.Linear(d_model, d_model)
        d_inner = d_inner or 4 * d_model
        self.mlp = nn.Sequential(nn.Linear(d_model, d_inner), nn.GELU(), nn.Linear(d_inner, d_model))
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(B, T, d_model)`` to the same, and the whole past."""
        past = x if state is None else torch.cat((state, x), dim=1)
        total, new = past.shape[1], x.shape[1]
        placed = past + _positions(total, x)
        query, key, value = self.to_qkv(placed).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = torch.ones(new, total, dtype=torch.bool, device=x.device).tril(total - new)
        mixed = F.scaled_dot_product_attention(query[:, :, -new:], key, value, attn_mask=seen)
        y = self.to_output(mixed.transpose(1, 2).flatten(2))
        return y + self.mlp(self.norm(x + y)), past

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One position ``(B, d_model)``, attending to the past."""
        y, past = self(x[:, None], state)
        return y[:, 0], past


def _positions(steps: int, like: Tensor) -> Tensor:
    half = like.shape[-1] // 2
    rates = 10_000 ** (-torch.arange(half, device=like.device, dtype=torch.float32) / half)
    angles = torch.arange(steps, device=like.device, dtype=torch.float32)[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), dim=-1).to(like.dtype)


@dataclass(frozen=True)
class Tracking:
    """How to train a fixed-point layer to track a group's state, as a value; see `STATE_TRACKING`."""

    d_model: int = 32
    d_inner: int = 128
    rank: int = 2  # one factor also fits the training lengths, but extrapolates worse
    steps: int = 1000
    batch: int = 64
    longest: int = 12  # words of 2 to this many elements, drawn per batch; a label at every position
    learning_rate: float = 3e-3
    warmup: int = 100
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0

    def model(self) -> dict[str, int]:
        """Keyword arguments for `sequence_model`."""
        return {"d_model": self.d_model, "d_inner": self.d_inner, "rank": self.rank}

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """AdamW with the recipe's settings."""
        return torch.optim.AdamW(model.parameters(), lr=self.learning_rate, betas=self.betas)

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up times half a cosine down to zero.

        >>> [round(STATE_TRACKING.rate(step), 5) for step in (0, 100, 500, 999)]
        [3e-05, 0.00293, 0.0015, 0.0]
        """
        falling = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * falling * min(1.0, (step + 1) / self.warmup)

    def update(self, model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        """One optimizer step from gradients that are there: clipped, at this step's rate."""
        for parameters in optimizer.param_groups:
            parameters["lr"] = self.rate(step)
        nn.utils.clip_grad_norm_(model.parameters(), self.clip)
        optimizer.step()


STATE_TRACKING = Tracking()  # what was measured, seed by seed: docs/fixed-point-layers.md

LAYERS: dict[str, Callable[..., nn.Module]] = {
    "fixed_point": FixedPointRNN,
    "fixed_point_mamba": FixedPointMamba,
    "reflections": ReflectionRNN,
    "diagonal": DiagonalRNN,
    "diagonal_signed": lambda *args, **options: DiagonalRNN(*args, signed=True, **options),
    "selective": SelectiveLayer,
    "selective_signed": lambda *args, **options: SelectiveLayer(*args, signed=True, **options),
    "lstm": LSTMLayer,
    "transformer": TransformerLayer,
}


def sequence_model(
    layer: str,
    *,
    tokens: int,
    classes: int,
    d_model: int = 32,
    d_inner: int | None = None,
    depth: int = 1,
    **options: Any,
) -> SequenceModel:
    """A `SequenceModel` of `depth` layers by name (a key of `LAYERS`); `options` go to every layer's constructor.

    >>> model = sequence_model("fixed_point", tokens=6, classes=6, rank=2, mixer="householder")
    >>> model.layers[0].mixer.rank
    2
    """
    if layer not in LAYERS:
        raise ValueError(f"expected a layer among {sorted(LAYERS)}, got {layer!r}")
    layers = [LAYERS[layer](d_model, d_inner, **options) for _ in range(depth)]
    return SequenceModel(tokens, classes, d_model, layers)
