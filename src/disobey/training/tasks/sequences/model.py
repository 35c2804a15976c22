"""From a recipe on sequences to its model, and what of such a recipe cannot run."""

from __future__ import annotations

from typing import Any

from disobey.errors import refusal
from disobey.models.recurrent.sequence import LAYERS, SequenceModel, sequence_model
from disobey.models.recurrent.solvers import Exact, Iterate
from disobey.training.recipe import Recipe, Run, sequence_spec
from disobey.training.seeds import seeded
from disobey.training.specs import SequenceSpec, Teaching, sequence_task
from disobey.training.tasks.sequences.batches import SequenceBatches, sequences_of, tracks_state

FIXED_POINTS = ("fixed_point", "fixed_point_mamba", "reflections")
TRACED = (
    "fixed_point",
    "reflections",
    "diagonal",
    "diagonal_signed",
    "lstm",
    "elman",
)  # layers with one vector of state a position


def solver_of(spec: SequenceSpec) -> Exact | Iterate:
    """The solver of training, a value."""
    if not spec.sweeps:
        return Exact()
    return Iterate(spec.sweeps, spec.tol, spec.gradient, unroll=spec.sweeps)


def layer_options(layer: str, spec: SequenceSpec) -> dict[str, Any]:
    """Keyword arguments of the layer's constructor beside its widths; none for layers without options."""
    heads = spec.heads
    if layer == "delta_product":
        return {"heads": heads.count, "rank": heads.factors, "gate": heads.gate}
    if layer == "reflections":
        found = {"heads": heads.count, "rank": heads.factors, "strength": heads.strength, "solver": solver_of(spec)}
        return found | {"drive": heads.drive, "gate": heads.gate}
    if layer not in FIXED_POINTS:
        return {}
    options: dict[str, Any] = {
        "rank": spec.rank,
        "mixer": spec.mixer,
        "scale": spec.scale,
        "solver": solver_of(spec),
        "normalize_state": spec.normalize,
    }
    if layer == "fixed_point":
        return options | {"state_dependent": spec.state_dependent}
    return options | ({} if spec.state_dependent else {"reads": ()})


def sequence_net(recipe: Recipe, seed: int) -> SequenceModel:
    """The recipe's model with its initial weights for this seed, on the CPU."""
    spec, layer = sequence_spec(recipe), recipe.model.name
    sample = sequences_of(sequence_task(recipe.data.name), 1, spec.longest, 0)
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
    """Refuses tasks, layers and options that do not go together; trains nothing.

    Raises:
        Refusal: ``sequence-layer``, ``sequence-weights``, ``sequence-teaching``, ``sequence-teacher``, ``no-teacher``,
            or what states, probes, the task and the layer themselves refuse.
    """
    recipe = run.recipe
    spec = sequence_spec(recipe)
    if recipe.model.name not in LAYERS:
        layers = f"a layer out of {', '.join(LAYERS)} for sequences"
        raise refusal("sequence-layer", layers, repr(recipe.model.name))
    if recipe.keep or recipe.choose != "last" or recipe.check:
        raise refusal(
            "sequence-weights",
            "the last weights for sequences, which have no splits",
            f"keep={recipe.keep}, choose={recipe.choose!r}, check={recipe.check}",
        )
    if recipe.teaching != Teaching(seed=recipe.teaching.seed):
        raise refusal(
            "sequence-teaching", "one finished teacher for sequences, with no option but its seed", recipe.teaching
        )
    if recipe.teacher is not None and recipe.teacher.task != recipe.task:
        raise refusal("sequence-teacher", "a teacher that is trained on sequences too", recipe.teacher.data.name)
    if spec.start == "teacher" and recipe.teacher is None:
        raise refusal("no-teacher", "a teacher for start='teacher'", "none", "teacher=Recipe(...)")
    _check_states(recipe, spec)
    task = sequence_task(recipe.data.name)
    for length in (spec.shortest, *spec.lengths):  # too short an expression is refused here, not at step 300
        sequences_of(task, 1, length, 0)
    SequenceBatches(run)
    sequence_net(recipe, run.seed)


def _check_states(recipe: Recipe, spec: SequenceSpec) -> None:
    """Refuses regression on states that are not there, mixers that cannot be fed, and probes without an answer."""
    involved = [recipe] if spec.probe or spec.states or spec.consistency else []
    task = sequence_task(recipe.data.name)
    if spec.consistency and (not tracks_state(task) or spec.states):
        raise refusal("consistency", "a group (or parity) and no regression on a teacher's states", repr(task))
    if spec.states:
        if recipe.teacher is None:
            raise refusal("no-teacher", "a teacher for regression on its states", "none", "teacher=Recipe(...)")
        involved.append(recipe.teacher)
        if spec.states.feed and (recipe.model.name != "fixed_point" or not spec.state_dependent):
            raise refusal(
                "mixer-not-fed", "a fixed_point layer that reads its state", repr(recipe.model.name), "feed=0"
            )
    for one in involved:
        if one.model.name not in TRACED:
            raise refusal(
                "no-vector-state", f"a layer with a vector of state ({', '.join(TRACED)})", repr(one.model.name)
            )
    if spec.probe and not tracks_state(task):
        raise refusal(
            "probe-without-answers", "a group or parity to probe, which ask at every position", repr(recipe.data.name)
        )
