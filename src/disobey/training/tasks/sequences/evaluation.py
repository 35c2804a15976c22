"""What a trained sequence model can do: accuracies by length and by iterations, on random and on constant sequences.

All arrays are named ``eval_*``. Letters: K solvers (the one of training, then each of the spec's budgets), L lengths.
    eval_lengths (L,)    eval_budgets (K,): sweeps, 0 = the exact solver
    eval_last (K, L): share of sequences whose last answer is right
    eval_answers (K, L): share of answers that are right
    eval_whole (K, L): share of sequences whose every answer is right
    eval_positions (K, longest of the lengths): share of answers that are right by position, where every one is asked
    eval_prefixes (K, longest of the lengths): share of sequences whose answers up to a position are all right
    eval_powers (K, powers): share of the group's elements g (but the identity) whose power g^k is right, by k
For reflection layers: the arrays of `heads`.
For layers with a vector fixed point, at the longest training length (N sequences):
    eval_sweeps (tolerances,): sweeps that the worst sequence needed for the tolerances 1e-1, 1e-2, 1e-3 (128: not met)
    eval_residuals (32,): relative change in sweep 1, 2, ..., mean over sequences
    eval_radius (N,): predicted rate, the largest spectral radius of (I-Λ)(I-Q) over time
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from disobey.data.sources.sequences import IGNORED, Sequences
from disobey.models.recurrent.fixed_point import FixedPointRNN
from disobey.models.recurrent.sequence import SequenceModel
from disobey.models.recurrent.solvers import Exact, Iterate, Solve, Sweep, Walk, relative_change
from disobey.training.recipe import Recipe, sequence_spec
from disobey.training.specs import sequence_task
from disobey.training.tasks.sequences.batches import evaluation_sequences, powers_of, tracks_state
from disobey.training.tasks.sequences.heads import head_arrays
from disobey.training.tasks.sequences.model import FIXED_POINTS, solver_of

TOLERANCES = (1e-1, 1e-2, 1e-3)
MAX_SWEEPS = 128  # before a tolerance counts as not met
RESIDUAL_SWEEPS = 32  # whose residuals are written down
RADIUS_SEQUENCES = 2  # whose spectral radius is computed: it costs O(T D³)


@torch.no_grad()
def evaluation(model: SequenceModel, recipe: Recipe) -> dict[str, NDArray]:
    """All ``eval_*`` arrays of a trained model, which is left with the solver of its training."""
    spec, task = sequence_spec(recipe), sequence_task(recipe.data.name)
    iterates = recipe.model.name in FIXED_POINTS
    budgets = (spec.sweeps, *spec.budgets) if iterates else (0,)
    solvers = [solver_of(spec), *(Iterate(n, 0.0) if n else Exact() for n in spec.budgets)] if iterates else [None]
    lengths = [evaluation_sequences(task, spec.count, n) for n in spec.lengths]
    constant = powers_of(task, spec.powers) if spec.powers else None
    scores, powers, positions = [], [], []
    for solver in solvers:
        _use(model, solver)
        scores.append([_score(model, sequences) for sequences in lengths])
        if tracks_state(task):
            positions.append(_by_position(model, max(lengths, key=lambda s: s.inputs.shape[1])))
        if constant is not None:
            powers.append((_predicted(model, constant) == constant.targets).mean(axis=0))
    table = np.array(scores)  # (K, L, 3)
    arrays = {
        "eval_lengths": np.array(spec.lengths),
        "eval_budgets": np.array(budgets),
        "eval_last": table[..., 0],
        "eval_answers": table[..., 1],
        "eval_whole": table[..., 2],
    }
    if positions:
        arrays["eval_positions"], arrays["eval_prefixes"] = np.array(positions).swapaxes(0, 1)
    if constant is not None:
        arrays["eval_powers"] = np.array(powers)
    if recipe.model.name == "reflections" and tracks_state(task):
        arrays |= head_arrays(model, task)
    if recipe.model.name == "fixed_point":
        arrays |= _convergence(model, evaluation_sequences(task, 64, spec.longest))
    if iterates:
        _use(model, solver_of(spec))
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _use(model: SequenceModel, solver: Exact | Iterate | None) -> None:
    if solver is not None:
        for layer in model.layers:
            layer.solver = solver  # type: ignore[assignment]


def _predicted(model: SequenceModel, sequences: Sequences) -> NDArray:
    device = next(model.parameters()).device
    return model(torch.as_tensor(sequences.inputs, device=device)).argmax(-1).cpu().numpy()


def _score(model: SequenceModel, sequences: Sequences) -> tuple[float, float, float]:
    """Share of sequences whose last answer, of answers that, and of sequences whose every answer is right."""
    answered = sequences.targets != IGNORED
    right = _predicted(model, sequences) == sequences.targets
    return float(right[:, -1].mean()), float(right[answered].mean()), float((right | ~answered).all(axis=1).mean())


def _by_position(model: SequenceModel, sequences: Sequences) -> tuple[NDArray, NDArray]:
    right = _predicted(model, sequences) == sequences.targets
    return right.mean(axis=0), np.logical_and.accumulate(right, axis=1).mean(axis=0)


def _convergence(model: SequenceModel, sequences: Sequences) -> dict[str, NDArray]:
    """How the first layer's iteration converges on these sequences."""
    layer = model.layers[0]
    assert isinstance(layer, FixedPointRNN)
    x = model.norms[0](model.embedding(torch.as_tensor(sequences.inputs, device=model.head.weight.device)))
    needed = []
    for tolerance in TOLERANCES:
        layer.solver = Iterate(MAX_SWEEPS, tolerance)
        layer(x)
        assert layer.last_solve is not None
        needed.append(layer.last_solve.iterations if bool(layer.last_solve.converged.all()) else MAX_SWEEPS)
    residuals: list[float] = []
    layer.solver = _Recording(residuals)  # type: ignore[assignment]
    layer(x)
    radius = layer.contraction_rate(x[:RADIUS_SEQUENCES])
    return {
        "eval_sweeps": np.array(needed),
        "eval_residuals": np.array(residuals),
        "eval_radius": radius.double().cpu().numpy(),
    }


class _Recording:
    """A solver of `RESIDUAL_SWEEPS` sweeps that writes down the mean residual of each."""

    def __init__(self, into: list[float]):
        self.into = into

    def __call__(self, sweep: Sweep, _walk: Walk, start: Tensor) -> tuple[Tensor, Solve]:
        states, residual = start, torch.zeros(len(start))
        for _ in range(RESIDUAL_SWEEPS):
            last, states = states, sweep(states)
            residual = relative_change(states, last)
            self.into.append(float(residual.mean()))
        return states, Solve(RESIDUAL_SWEEPS, residual, torch.isfinite(residual))
