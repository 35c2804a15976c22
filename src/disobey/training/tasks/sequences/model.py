"""From a recipe on sequences to its model, and what of such a recipe cannot run."""

from __future__ import annotations

from typing import Any

from disobey.models.recurrent.sequence import LAYERS, SequenceModel, sequence_model
from disobey.models.recurrent.solvers import Exact, Iterate
from disobey.training.recipe import Recipe, Run, Teaching
from disobey.training.seeds import seeded
from disobey.training.specs import SequenceSpec, task_of
from disobey.training.tasks.sequences.words import Stream, tracks_state, words_of

FIXED_POINTS = ("fixed_point", "fixed_point_mamba")
TRACED = ("fixed_point", "diagonal", "diagonal_signed", "lstm")  # layers with one vector of state a position


def solver_of(spec: SequenceSpec) -> Exact | Iterate:
    """The solver of training, a value."""
    if not spec.sweeps:
        return Exact()
    return Iterate(spec.sweeps, spec.tol, spec.gradient, unroll=spec.sweeps)


def layer_options(layer: str, spec: SequenceSpec) -> dict[str, Any]:
    """Keyword arguments of the layer's constructor beside its widths; none for layers without a fixed point."""
    if layer not in FIXED_POINTS:
        return {}
    options: dict[str, Any] = {
        "rank": spec.rank, "mixer": spec.mixer, "scale": spec.scale, "solver": solver_of(spec),
        "normalize_state": spec.normalize,
    }  # fmt: skip
    if layer == "fixed_point":
        return options | {"state_dependent": spec.state_dependent}
    return options | ({} if spec.state_dependent else {"reads": ()})


def sequence_net(recipe: Recipe, seed: int) -> SequenceModel:
    """The recipe's model with its initial weights for this seed, on the CPU."""
    spec, layer = recipe.sequence, recipe.model.name
    assert spec is not None
    sample = words_of(task_of(recipe.data.name), 1, spec.longest, 0)
    with seeded(seed, "init", recipe.replica):
        return sequence_model(
            layer,
            tokens=sample.tokens,
            classes=sample.classes,
            d_model=recipe.model.width or 32,
            d_inner=spec.inner,
            depth=recipe.model.depth or 1,
            **layer_options(layer, spec),
        )


def check_sequence(run: Run) -> None:
    """Raises `ValueError` for tasks, layers and options that do not go together; trains nothing."""
    recipe = run.recipe
    spec = recipe.sequence
    assert spec is not None
    if recipe.model.name not in LAYERS:
        raise ValueError(f"expected a layer out of {', '.join(LAYERS)} for sequences; came {recipe.model.name!r}")
    if recipe.keep or recipe.choose != "last" or recipe.check:
        raise ValueError(
            "expected the last weights for sequences: keep, choose and check are for data sets with splits"
        )
    if recipe.teaching != Teaching(seed=recipe.teaching.seed):
        raise ValueError(
            "expected one finished teacher for sequences: of `teaching` only the seed means something here"
        )
    if recipe.teacher is not None and recipe.teacher.sequence is None:
        raise ValueError("expected a teacher that is trained on sequences too")
    if spec.start == "teacher" and recipe.teacher is None:
        raise ValueError("start='teacher' asks for a teacher's weights, but the recipe has no teacher")
    _check_states(recipe, spec)
    task = task_of(recipe.data.name)
    for length in (spec.shortest, *spec.lengths):  # too short an expression is refused here, not at step 300
        words_of(task, 1, length, 0)
    Stream(run)
    sequence_net(recipe, run.seed)


def _check_states(recipe: Recipe, spec: SequenceSpec) -> None:
    """Refuses regression on states that are not there, mixers that cannot be fed, and probes without an answer."""
    involved = [recipe] if spec.probe or spec.states else []
    if spec.states:
        if recipe.teacher is None:
            raise ValueError("states ask for a teacher's states, but the recipe has no teacher")
        involved.append(recipe.teacher)
        if spec.states.feed and (recipe.model.name != "fixed_point" or not spec.state_dependent):
            raise ValueError(f"expected a fixed_point layer that reads its state to be fed, came {recipe.model.name!r}")
    for one in involved:
        if one.model.name not in TRACED:
            raise ValueError(f"expected layers with a vector of state ({', '.join(TRACED)}), came {one.model.name!r}")
    if spec.probe and not tracks_state(task_of(recipe.data.name)):
        raise ValueError(f"expected a group or parity to probe, which ask at every position; came {recipe.data.name!r}")
