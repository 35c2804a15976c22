"""Forward and backward pass of a classifier's batch: in the recipe's precision, compiled or captured where asked for.

Evaluation and everything that is written down go through the network itself, in float32. Shapes: B batch, C classes.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from disobey.targets.schedule import Term
from disobey.training.acceleration import PLAIN, Acceleration
from disobey.training.batches import Batch
from disobey.training.loop import Backward
from disobey.training.objective import Objective
from disobey.training.prepare import Prepared
from disobey.training.specs import Precision

Forward = Callable[[Tensor], Tensor]
"""Inputs (B, ...) to logits (B, C) float32."""

WARM = 3  # steps before a capture: libraries choose their kernels and allocate


@dataclass(eq=False)
class Step:
    """``step.backward`` is what `loop.fit` runs; ``step.notes()`` is what the record says of it."""

    backward: Backward
    acceleration: Acceleration = PLAIN
    compiled: bool = False
    captured: Captured | None = None
    reasons: list[str] = field(default_factory=list)

    @property
    def how(self) -> tuple[str, ...]:
        """What the last bits of the weights depend on, beside recipe and device."""
        return ("compiled",) * self.compiled + ("captured",) * (self.captured is not None)

    def notes(self) -> dict[str, str]:
        """``step``: how steps were computed, and ``not_accelerated``: why not as asked; nothing of a plain run."""
        if not self.acceleration.asked:
            return {}
        replays = self.captured is not None and bool(self.captured.graphs)
        words = ["compiled"] * self.compiled + ["captured"] * replays
        reasons = [*self.reasons, *filter(None, [self.captured.reason if self.captured else ""])]
        said = {"step": ", ".join(words), "not_accelerated": "; ".join(reasons)}
        return {name: value for name, value in said.items() if value}


def step_of(one: Prepared, acceleration: Acceleration = PLAIN) -> Step:
    """The step of a prepared run, which is tried on its first examples where it is compiled."""
    device, precision = one.order.rows.device, one.run.recipe.optim.precision
    reasons: list[str] = []
    network: Forward = one.model
    if acceleration.compile and len(one.order):
        network, why = _compiled(one, precision)
        reasons += [why] if why else []
    forward = forward_pass(network, precision, device)

    def backward(step: int, _model: nn.Module, batch: Batch) -> Tensor:
        return one.objective.backward(step, forward, batch)

    captured = None
    if acceleration.capture:
        why = obstacle(one)
        captured = None if why else Captured(backward, one.objective, device)
        reasons += [why] if why else []
    compiled = network is not one.model
    return Step(backward if captured is None else captured, acceleration, compiled, captured, reasons)


def forward_pass(model: Forward, precision: Precision, device: torch.device) -> Forward:
    """The network's training pass under autocast where the recipe says so; logits come out in float32.

    Weights stay in float32 and so do their gradients: what is rounded are products, convolutions and what lies between.
    """
    if precision != "bfloat16":
        return model

    def forward(inputs: Tensor) -> Tensor:
        # no cache of rounded weights: a step uses them once, and a captured step must round them every time
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            logits = model(inputs)
        return logits.float()

    return forward


def _compiled(one: Prepared, precision: Precision) -> tuple[Forward, str]:
    """The compiled network, or the network and why not. It is tried at once, so that no step is half done."""
    model, order = one.model, one.order
    rows, views = order.rows[0], None if order.views is None else order.views[0]
    before = {name: value.detach().clone() for name, value in model.state_dict().items()}
    devices = [rows.device] if rows.device.type == "cuda" else []
    model.train()
    try:
        with torch.random.fork_rng(devices), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the compiler imports, about which users can do nothing
            network = torch.compile(model, dynamic=False)
            forward_pass(network, precision, rows.device)(one.inputs.take(rows, views)).sum().backward()
    except Exception as error:  # no compiler, or an operation that it does not know: whatever it raises
        first = (str(error).strip().splitlines() or [""])[0]
        return model, f"compiling failed: {type(error).__name__}: {first}"
    finally:
        model.load_state_dict(before)
        model.zero_grad(set_to_none=True)
    return network, ""


def obstacle(one: Prepared) -> str:
    """Why a run's steps cannot be captured; "" where nothing is known that speaks against it."""
    if one.order.rows.device.type != "cuda":
        return "steps are captured on GPUs only"
    if one.run.recipe.data.augment == "mixup":
        return "mixup draws numbers at every step, which a captured step cannot"
    if one.objective.schedule.time_varying:
        return "the objective changes at every step, which a captured one cannot"
    return ""


class Captured:
    """``captured(step, model, batch)`` is a `loop.Backward` that replays forward and backward pass as one CUDA graph.

    One graph for each set of terms that the schedule holds, captured after three ordinary steps on them. The optimizer
    stays outside: its rate and momentum change every step, and its fused kernels are few and queue up behind a graph
    that still runs. Captured kernels read the batch from memory of their own, into which every batch is copied, and
    write gradients where they did before.
    """

    def __init__(self, backward: Backward, objective: Objective, device: torch.device):
        self.backward, self.objective, self.device = backward, objective, device
        self.stream = torch.cuda.Stream(device)
        self.graphs: dict[tuple[Term, ...], _Graph] = {}
        self.seen: Counter[tuple[Term, ...]] = Counter()
        self.reason = ""

    def __call__(self, step: int, model: nn.Module, batch: Batch) -> Tensor:
        """The loss of the batch, (); the parameters hold its gradients."""
        terms = self.objective.terms(step)
        graph = self.graphs.get(terms)
        if graph is None and not self.reason and self.seen[terms] == WARM:
            graph = self._captured(step, model, batch, terms)
        if graph is not None:
            return graph.replay(step, batch)
        self.seen[terms] += 1
        return self.backward(step, model, batch) if self.reason else self._warm(step, model, batch)

    def _warm(self, step: int, model: nn.Module, batch: Batch) -> Tensor:
        """An ordinary step on a stream of its own, as captures need it; a step that draws is never captured."""
        main, before = torch.cuda.current_stream(self.device), torch.cuda.get_rng_state(self.device)
        self.stream.wait_stream(main)
        with torch.cuda.stream(self.stream):
            loss = self.backward(step, model, batch)
        main.wait_stream(self.stream)
        if not torch.equal(before, torch.cuda.get_rng_state(self.device)):
            self.reason = (
                "the network draws numbers at every step (dropout), which a captured step would draw otherwise"
            )
        return loss

    def _captured(self, step: int, model: nn.Module, batch: Batch, terms: tuple[Term, ...]) -> _Graph | None:
        try:
            self.graphs[terms] = _Graph(self.backward, step, model, batch)
        except RuntimeError as error:  # what waits for the device cannot be captured
            self.reason = f"capturing failed: {(str(error).strip().splitlines() or [''])[0]}"
            model.zero_grad(set_to_none=True)
        return self.graphs.get(terms)


class _Graph:
    """One captured pass, with the memory that it reads and writes."""

    def __init__(self, backward: Backward, step: int, model: nn.Module, batch: Batch):
        views = None if batch.views is None else batch.views.clone()
        self.first = torch.arange(len(batch.rows), device=batch.rows.device)
        place = self.first + step * len(self.first)
        self.batch = Batch(batch.inputs.clone(), batch.rows.clone(), views, None, place)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = backward(step, model, self.batch)
        self.gradients = [(parameter, parameter.grad) for parameter in model.parameters()]

    def replay(self, step: int, batch: Batch) -> Tensor:
        """The loss of this batch, (), in memory that the next replay writes to."""
        self.batch.inputs.copy_(batch.inputs)
        self.batch.rows.copy_(batch.rows)
        if batch.views is not None and self.batch.views is not None:
            self.batch.views.copy_(batch.views)
        if self.batch.place is not None:
            torch.add(self.first, step * len(self.first), out=self.batch.place)
        self.graph.replay()
        for parameter, gradient in self.gradients:
            parameter.grad = gradient
        return self.loss
