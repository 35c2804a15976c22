"""One objective for a stack: a gather, a softmax and a subtraction for all slices instead of K calls of `Objective`.

Why: at 64-32-10, K calls cost more than the matrix products. Shapes: K slices, B batch, C classes, M rows of all tables
together; logits and gradients are (K, C, B), as in `models.stack.MLPStack`. The numbers are those of an `Objective`
for each slice, to rounding (tested in float64).

Two families of terms cover what studies do: soft targets (`cross_entropy` on labels or a teacher, `kl`), whose gradient
is weight * T * (softmax(z / T) - q), and differences of logits (`mse`, `mse_centred`). For all other terms, and where
terms vary over a phase, the slice's own objective is called.

How: the target tables of all slices are put under one another once, so that a step is one gather of rows, one softmax
and one subtraction for all slices of a family (`_Layer`). Tables that slices share are in memory once. Layers change
only where a phase of some slice's schedule ends.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from disobey.targets.gradients import soft_targets
from disobey.targets.losses import label_log_probs
from disobey.targets.schedule import Term
from disobey.training.batches import Batch
from disobey.training.objective import Objective

_FLOAT64_ABOVE = 32.0  # as in `targets.losses`: T squared times the rounding of float32 would show


@dataclass(frozen=True, eq=False)
class Rows:
    """The examples of one step. rows: (U, B) of each stream, views likewise or None. of: (K,) each slice's stream."""

    step: int
    rows: Tensor
    views: Tensor | None
    of: Tensor


@dataclass(frozen=True, eq=False)
class _Part:
    """What one term of one slice needs: a table of targets and how its rows are found."""

    family: str  # soft | difference | centred
    key: tuple  # equal keys, equal tables
    table: Tensor  # (M, C): probabilities or logits
    constant: Tensor | None  # (M,), the part of the loss that no student changes
    weights: Tensor | None  # (M,)
    temperature: float
    scale: float  # weight / B
    form: str  # of the table: plain | views | replay
    n_views: int


class StackedObjective:
    """The objectives of a stack's slices as one.

    Args:
        objectives: of the slices.
        batch: B.
        width: C padded to whole lines of memory.
    """

    def __init__(self, objectives: Sequence[Objective], batch: int, width: int):
        self.objectives, self.batch, self.width = tuple(objectives), batch, width
        self._changes = sorted({_first_step(o, end) for o in objectives for end in _ends(o)})
        self._layers: dict[int, tuple[list[_Layer], list[int]]] = {}
        self._tables: dict[tuple, _Part] = {}
        self._labels: list[Tensor] = []  # the label tensors met so far; arms of a cell share theirs
        self._gradient: Tensor | None = None

    def __call__(self, at: Rows, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (K, C, B) to losses (K,) and the gradient (K, C padded, B), whose pad is zero.

        The gradient's memory is used again at the next step.
        """
        era = bisect_right(self._changes, at.step)
        if era not in self._layers:
            self._layers = {era: self._build(at.step, logits)}
        layers, alone = self._layers[era]
        if self._gradient is None:
            self._gradient = logits.new_zeros(len(logits), self.width, logits.shape[2])
        gradient = self._gradient[:, : logits.shape[1]]
        losses = logits.new_zeros(len(logits), dtype=torch.promote_types(logits.dtype, torch.float32))
        whole = bool(layers) and layers[0].slices is None
        if not whole:
            gradient.zero_()
        for place, layer in enumerate(layers):
            value, part = layer(at, logits)
            part = part.to(logits.dtype)
            if layer.slices is None:
                gradient.copy_(part) if place == 0 else gradient.add_(part)
                losses += value
            else:
                gradient.index_add_(0, layer.slices, part)
                losses.index_add_(0, layer.slices, value.to(losses.dtype))
        for k in alone:
            stream = int(at.of[k])
            views = None if at.views is None else at.views[stream]
            own = logits[k].T.contiguous()
            value, part = self.objectives[k](at.step, own, Batch(own, at.rows[stream], views))
            gradient[k] = part.T
            losses[k] = value
        return losses, self._gradient

    def _build(self, step: int, logits: Tensor) -> tuple[list[_Layer], list[int]]:
        """The layers from this step to the next change, and the slices whose own objectives are called."""
        parts: list[list[_Part] | None] = [self._parts(o, step, logits) for o in self.objectives]
        alone = [k for k, found in enumerate(parts) if found is None]
        piles: dict[tuple, list[tuple[int, _Part]]] = {}
        for k, found in enumerate(parts):
            places: dict[tuple, int] = {}
            for part in found or ():
                kind = (part.family, part.table.dtype)
                places[kind] = places.get(kind, 0) + 1  # a slice's second term of a kind goes to a second layer
                piles.setdefault((*kind, places[kind]), []).append((k, part))
        layers = [_Layer(pile, len(self.objectives), self.batch, logits) for pile in piles.values()]
        return sorted(layers, key=lambda layer: layer.slices is not None), alone

    def _parts(self, objective: Objective, step: int, logits: Tensor) -> list[_Part] | None:
        """None where a layer cannot compute this slice's terms."""
        if objective.schedule.time_varying:
            return None
        parts = []
        for term in objective.terms(step):
            part = self._part(objective, term, logits)
            if part is None:
                return None
            parts.append(part)
        return parts

    def _part(self, objective: Objective, term: Term, logits: Tensor) -> _Part | None:
        scale = term.weight / self.batch
        if term.source == "labels":
            if term.control or term.loss != "cross_entropy":
                return None
            dtype = _wide(term.temperature, logits.dtype)
            key = ("labels", _place(self._labels, objective.labels), term.smoothing, dtype)
            if key not in self._tables:
                log_probs = label_log_probs(objective.labels, logits.shape[1], term.smoothing, dtype)
                self._tables[key] = _Part("soft", key, log_probs.exp(), None, None, 1.0, 1.0, "plain", 1)
            return _again(self._tables[key], term.temperature, scale)
        family = {"kl": "soft", "cross_entropy": "soft", "mse": "difference", "mse_centred": "centred"}.get(term.loss)
        table = objective.table
        if family is None or table is None or table.form not in ("plain", "views", "replay"):
            return None
        at = term.temperature if term.loss == "kl" or term.loss == "cross_entropy" or term.control else 1.0
        labels = _place(self._labels, objective.labels)
        key = (term.loss, table, labels, objective.seed, term.control, term.amount, at)
        if key not in self._tables:
            targets, weights = objective.targets_of(term)
            constant = None
            if family == "soft":
                soft = soft_targets(targets, term.temperature)
                targets, constant = soft.probs, soft.constant if term.loss == "kl" else None
            else:
                targets = targets.to(torch.promote_types(logits.dtype, torch.float32))
            self._tables[key] = _Part(family, key, targets, constant, weights, 1.0, 1.0, table.form, table.n_views)
        return _again(self._tables[key], term.temperature if family == "soft" else 1.0, scale)


class _Layer:
    """At most one term of every slice, of one family and precision: computed together."""

    def __init__(self, pile: Sequence[tuple[int, _Part]], size: int, batch: int, logits: Tensor):
        chosen, parts = [k for k, _ in pile], [part for _, part in pile]
        device = logits.device
        self.family, self.batch = parts[0].family, batch
        self.slices = None if chosen == list(range(size)) else torch.tensor(chosen, device=device)
        starts: dict[tuple, int] = {}
        tables, constants, weights, have = [], [], [], 0
        some = any(part.constant is not None for part in parts)
        weighted = any(part.weights is not None for part in parts)
        for part in parts:
            if part.key in starts:
                continue
            starts[part.key], rows = have, len(part.table)
            have += rows
            tables.append(part.table)
            constants.append(part.table.new_zeros(rows) if part.constant is None else part.constant)
            weights.append(part.table.new_ones(rows) if part.weights is None else part.weights.to(part.table.dtype))
        self.table = torch.cat(tables)
        self.constant = torch.cat(constants) if some else None
        self.weights = torch.cat(weights) if weighted else None

        def column(values: Iterable[float], dtype: torch.dtype) -> Tensor:
            return torch.tensor(list(values), dtype=dtype, device=device).unsqueeze(-1)

        dtype = self.table.dtype
        hot = any(part.temperature != 1.0 for part in parts)
        self.temperature = column((p.temperature for p in parts), dtype).unsqueeze(-1) if hot else None
        self.squared = column((p.temperature**2 for p in parts), dtype) if hot else None
        self.factor = column((p.temperature * p.scale for p in parts), dtype).unsqueeze(-1)
        self.scale = column((p.scale for p in parts), dtype).squeeze(-1)
        self.start = column([starts[p.key] for p in parts], torch.int64)
        self.by_row = column([p.n_views if p.form == "views" else int(p.form == "plain") for p in parts], torch.int64)
        self.by_view = column([int(p.form == "views") for p in parts], torch.int64)
        self.by_place = column([int(p.form == "replay") for p in parts], torch.int64)
        self.forms = {part.form for part in parts}
        self.places = torch.arange(batch, device=device)
        self._of: Tensor | None = None

    def __call__(self, at: Rows, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (k,) and gradients (k, C, B) of this layer's slices."""
        z = logits if self.slices is None else logits.index_select(0, self.slices)
        k, classes, size = z.shape
        where = self._where(at).view(-1)
        target = self.table.index_select(0, where).view(k, size, classes).transpose(1, 2)
        if z.dtype != target.dtype:
            z = z.to(target.dtype)
        if self.family == "soft":
            log_q = torch.log_softmax(z if self.temperature is None else z / self.temperature, 1)
            value = (log_q * target).sum(1)
            value = value.neg_() if self.squared is None else value.mul_(self.squared).neg_()
            if self.constant is not None:
                value += self.constant.index_select(0, where).view(k, size)
            gradient = log_q.exp_().sub_(target).mul_(self.factor)
        else:
            gradient = torch.where(target == -torch.inf, 0.0, z - target)
            if self.family == "centred":
                known = (target != -torch.inf).to(gradient.dtype)
                gradient -= gradient.sum(1, keepdim=True) / known.sum(1, keepdim=True) * known
            value = gradient.square().mean(1).div_(2)
            gradient = gradient.mul_(self.factor / classes)
        if self.weights is not None:
            weights = self.weights.index_select(0, where).view(k, size)
            value, gradient = value * weights, gradient.mul_(weights.unsqueeze(1))
        return value.sum(-1).mul_(self.scale), gradient

    def _where(self, at: Rows) -> Tensor:
        """(k, B): the rows of this layer's table."""
        if self._of is None:
            self._of = at.of if self.slices is None else at.of.index_select(0, self.slices)
        rows = at.rows.index_select(0, self._of)
        if self.forms == {"plain"}:
            return rows.add_(self.start)
        where = rows * self.by_row + self.start
        if "views" in self.forms:
            assert at.views is not None
            where += at.views.index_select(0, self._of) * self.by_view
        if "replay" in self.forms:
            where += (at.step * self.batch + self.places) * self.by_place
        return where


def _place(known: list[Tensor], tensor: Tensor) -> int:
    """Where this very tensor stands in the list, at whose end it is put where it is new."""
    for place, other in enumerate(known):
        if other is tensor:
            return place
    known.append(tensor)
    return len(known) - 1


def _again(part: _Part, temperature: float, scale: float) -> _Part:
    """The same table at another temperature and weight."""
    return replace(part, temperature=temperature, scale=scale)


def _wide(temperature: float, dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if temperature > _FLOAT64_ABOVE else torch.promote_types(dtype, torch.float32)


def _ends(objective: Objective) -> list[float]:
    return [phase.until for phase in objective.schedule.phases[:-1]]


def _first_step(objective: Objective, end: float) -> int:
    """The first step whose progress is at least ``end``."""
    step = max(int(end * objective.steps) - 1, 0)
    while step / objective.steps < end:
        step += 1
    return step
