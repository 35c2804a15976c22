"""Sequence models: embedding, L x [norm, layer, residual], norm, head; and torch's baselines.

Every layer has ``forward(x, state=None) -> (y, state)`` and ``step(x, state) -> (y, state)``, so one model class serves
all of them.

Shapes: B batch, T time, C classes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disobey.errors import refusal
from disobey.models.recurrent.delta_product import DeltaProductRNN
from disobey.models.recurrent.diagonal import DiagonalRNN, SelectiveLayer
from disobey.models.recurrent.fixed_point import FixedPointRNN
from disobey.models.recurrent.fixed_point_mamba import FixedPointMamba
from disobey.models.recurrent.reflections import ReflectionRNN


class SequenceModel(nn.Module):
    """Logits at every position ``(B, T, C)`` from tokens ``(B, T)``; causal.

    Args:
        tokens: number of token ids.
        classes: C.
        d_model: features between the layers.
        layers: recurrent layers.

    Example:
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
        """Logits ``(B, T, C)`` of tokens ``(B, T)``."""
        return self.extend(tokens)[0]

    def extend(self, tokens: Tensor, states: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """Logits of tokens ``(B, T)`` that continue from ``states``, and the states after them."""
        return self._run(tokens, states, lambda layer: layer)

    def step(self, tokens: Tensor, states: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """Logits ``(B, C)`` of one position ``(B,)``, and the states after it."""
        return self._run(tokens, states, lambda layer: layer.step)

    def trace(self, tokens: Tensor, *, reads: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits and the states of the last layer at every position.

        Args:
            tokens: ``(B, T)``.
            reads: ``(B, T, D)``, what the mixer of the last layer reads instead of its own previous state (see
                `FixedPointRNN.trace`).

        Returns:
            Logits ``(B, T, C)`` and states ``(B, T, D)``.

        Raises:
            Refusal: ``no-state-trace`` if the last layer does not have one state vector per position.
        """
        x = self.embedding(tokens)
        for layer, norm in zip(self.layers[:-1], self.norms[:-1], strict=True):
            x = x + layer(norm(x))[0]
        last: Any = self.layers[-1]
        if not hasattr(last, "trace") or (reads is not None and not isinstance(last, FixedPointRNN)):
            fitting = (
                "FixedPointRNN, ReflectionRNN, DiagonalRNN, LSTMLayer or ElmanLayer"
                if reads is None
                else "FixedPointRNN, which has a mixer"
            )
            expected = f"a last layer with one state vector per position: {fitting}"
            raise refusal("no-state-trace", expected, type(last).__name__)
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
    """torch's LSTM with the interface of the layers; the state is the pair (h, c), ``(1, B, D)`` each.

    Args:
        d_model: features of input and output.
        d_inner: features D of the state; 2 d_model by default.
    """

    def __init__(self, d_model: int, d_inner: int | None = None) -> None:
        super().__init__()
        self.lstm = nn.LSTM(d_model, d_inner or 2 * d_model, batch_first=True)
        self.to_output = nn.Linear(d_inner or 2 * d_model, d_model)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Any]:
        """Outputs ``(B, T, d_model)`` and the last state."""
        y, state = self.lstm(x, state)
        return self.to_output(y), state

    def trace(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs ``(B, T, d_model)`` and the hidden states h ``(B, T, D)``."""
        states, _ = self.lstm(x)
        return self.to_output(states), states

    def step(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Any]:
        """One position: ``(B, d_model)`` to outputs and the next state."""
        y, state = self(x[:, None], state)
        return y[:, 0], state


class ElmanLayer(nn.Module):
    """torch's Elman network, ``h_t = tanh(W x_t + V h_{t-1} + b)``; the state is ``(1, B, D)``.

    Args:
        d_model: features of input and output.
        d_inner: features D of the state; 2 d_model by default.
    """

    def __init__(self, d_model: int, d_inner: int | None = None) -> None:
        super().__init__()
        self.rnn = nn.RNN(d_model, d_inner or 2 * d_model, batch_first=True)
        self.to_output = nn.Linear(d_inner or 2 * d_model, d_model)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Outputs ``(B, T, d_model)`` and the last state."""
        y, after = self.rnn(x, state)
        return self.to_output(y), after

    def trace(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs ``(B, T, d_model)`` and all states ``(B, T, D)``."""
        states, _ = self.rnn(x)
        return self.to_output(states), states

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One position: ``(B, d_model)`` to outputs and the next state."""
        y, after = self(x[:, None], state)
        return y[:, 0], after


class TransformerLayer(nn.Module):
    """Causal self-attention and an MLP, with sinusoidal positions; the state is the past ``(B, t, d_model)``.

    Args:
        d_model: features of input and output, a multiple of 2 heads.
        d_inner: hidden units of the MLP; 4 d_model by default.
        heads: number of attention heads.

    Raises:
        Refusal: ``attention-width``.
    """

    def __init__(self, d_model: int, d_inner: int | None = None, *, heads: int = 4) -> None:
        super().__init__()
        if d_model % (2 * heads):
            raise refusal("attention-width", f"d_model to be a multiple of 2 heads = {2 * heads}", d_model)
        self.heads = heads
        self.to_qkv = nn.Linear(d_model, 3 * d_model)
        self.to_output = nn.Linear(d_model, d_model)
        d_inner = d_inner or 4 * d_model
        self.mlp = nn.Sequential(nn.Linear(d_model, d_inner), nn.GELU(), nn.Linear(d_inner, d_model))
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Outputs ``(B, T, d_model)`` and the whole past."""
        past = x if state is None else torch.cat((state, x), dim=1)
        total, new = past.shape[1], x.shape[1]
        placed = past + _positions(total, x)
        query, key, value = self.to_qkv(placed).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = torch.ones(new, total, dtype=torch.bool, device=x.device).tril(total - new)
        mixed = F.scaled_dot_product_attention(query[:, :, -new:], key, value, attn_mask=seen)
        y = self.to_output(mixed.transpose(1, 2).flatten(2))
        return y + self.mlp(self.norm(x + y)), past

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One position ``(B, d_model)``, which attends to the past."""
        y, past = self(x[:, None], state)
        return y[:, 0], past


def _positions(steps: int, like: Tensor) -> Tensor:
    half = like.shape[-1] // 2
    rates = 10_000 ** (-torch.arange(half, device=like.device, dtype=torch.float32) / half)
    angles = torch.arange(steps, device=like.device, dtype=torch.float32)[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), dim=-1).to(like.dtype)


@dataclass(frozen=True)
class Tracking:
    """How to train a fixed-point layer to track the state of a group, as a value; see `STATE_TRACKING`.

    Attributes:
        d_model: as in `sequence_model`.
        d_inner: as in `sequence_model`.
        rank: of the mixer. One factor also fits the training lengths, but extrapolates worse.
        steps: training steps.
        batch: sequences per batch.
        longest: longest word; every batch has one length, drawn from 2 to this many elements, with a label per
            position.
        learning_rate: after warmup.
        warmup: steps of linear warmup.
        betas: of AdamW.
        clip: largest norm of the gradient.
    """

    d_model: int = 32
    d_inner: int = 128
    rank: int = 2
    steps: int = 1000
    batch: int = 64
    longest: int = 12
    learning_rate: float = 3e-3
    warmup: int = 100
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0

    def model(self) -> dict[str, int]:
        """Keyword arguments for `sequence_model`."""
        return {"d_model": self.d_model, "d_inner": self.d_inner, "rank": self.rank}

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """AdamW with these settings."""
        return torch.optim.AdamW(model.parameters(), lr=self.learning_rate, betas=self.betas)

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warmup times half a cosine down to zero.

        >>> [round(STATE_TRACKING.rate(step), 5) for step in (0, 100, 500, 999)]
        [3e-05, 0.00293, 0.0015, 0.0]
        """
        falling = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * falling * min(1.0, (step + 1) / self.warmup)

    def update(self, model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        """One optimizer step from the gradients of the parameters: clipped, at the learning rate of this step."""
        for parameters in optimizer.param_groups:
            parameters["lr"] = self.rate(step)
        nn.utils.clip_grad_norm_(model.parameters(), self.clip)
        optimizer.step()


STATE_TRACKING = Tracking()  # measured seed by seed in docs/guides/fixed-point-layers.md

LAYERS: dict[str, Callable[..., nn.Module]] = {
    "fixed_point": FixedPointRNN,
    "fixed_point_mamba": FixedPointMamba,
    "reflections": ReflectionRNN,
    "delta_product": DeltaProductRNN,
    "diagonal": DiagonalRNN,
    "diagonal_signed": lambda *args, **options: DiagonalRNN(*args, signed=True, **options),
    "selective": SelectiveLayer,
    "selective_signed": lambda *args, **options: SelectiveLayer(*args, signed=True, **options),
    "lstm": LSTMLayer,
    "elman": ElmanLayer,
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
    """A `SequenceModel` by the name of its layer.

    Args:
        layer: a key of `LAYERS`.
        tokens: number of token ids.
        classes: C.
        d_model: features between the layers.
        d_inner: features inside the layers.
        depth: number of layers.
        options: of every layer's constructor.

    Returns:
        The model.

    Raises:
        Refusal: ``unknown-layer``, or a refusal of the layer.

    Example:
        >>> model = sequence_model("fixed_point", tokens=6, classes=6, rank=2, mixer="householder")
        >>> model.layers[0].mixer.rank
        2
    """
    if layer not in LAYERS:
        raise refusal("unknown-layer", f"a layer out of {', '.join(sorted(LAYERS))}", repr(layer))
    layers = [LAYERS[layer](d_model, d_inner, **options) for _ in range(depth)]
    return SequenceModel(tokens, classes, d_model, layers)
