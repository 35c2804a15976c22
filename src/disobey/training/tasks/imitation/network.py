"""From a recipe on imitation to its network: first weights, the root of a line of teachers, and where a student starts.

The root is the teacher's teacher's ... first network, the one that was trained on labels (or not at all): it is its
first weights that a student may share, whatever became of them. Students of students share them too.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from disobey.data.dataset import Dataset
from disobey.data.load import load
from disobey.errors import refusal
from disobey.models.heads import ProjectionHead, TwoHeads
from disobey.models.near import lecun, near, random_walk
from disobey.records.store import Store
from disobey.training.imitation import PARTS
from disobey.training.recipe import Recipe, Run, imitation_spec
from disobey.training.restore import built, teacher_record
from disobey.training.seeds import seeded, torch_stream
from disobey.training.specs import Teaching

PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


def fresh(recipe: Recipe, dataset: Dataset, seed: int) -> TwoHeads:
    """The recipe's network with first weights of its own, on the CPU, in float32."""
    spec = imitation_spec(recipe)
    network = built(recipe, dataset, seed)
    with seeded(seed + 1, "init", recipe.replica):  # the heads do not depend on how many numbers the encoder drew
        head: nn.Module | int = spec.outputs
        if spec.head != "linear":
            features = network.head.in_features if isinstance(network.head, nn.Linear) else 0
            weight_norm = spec.head == "projection-weight-norm"
            head = ProjectionHead(features, spec.outputs, hidden=max(features, 256), weight_norm=weight_norm)
        model = TwoHeads(network, head)
        if spec.init == "lecun":
            generator = torch_stream(seed, "init", recipe.replica)
            for part in (model.encoder, model.classes, *([model.auxiliary] if spec.head == "linear" else [])):
                lecun(part, generator)
    return model


def root(run: Run) -> Run:
    """The first of the run's line: itself where it has no teacher."""
    while run.recipe.teacher is not None:
        (run,) = run.teachers()
    return run


def start(run: Run, dataset: Dataset, store: Store) -> TwoHeads:
    """The run's network where its training starts; teachers whose weights it starts from must be finished."""
    spec, dtype = imitation_spec(run.recipe), PRECISIONS[imitation_spec(run.recipe).precision]
    own = fresh(run.recipe, dataset, run.seed).to(dtype)
    if run.recipe.teacher is not None:
        alpha = dict(zip(PARTS, spec.alpha, strict=True))
        own.load_state_dict(near(_as(_origin(run, dataset, store), dtype), own.state_dict(), alpha))
    return own


def _origin(run: Run, dataset: Dataset, store: Store) -> Mapping[str, Tensor]:
    """The weights near which a student starts."""
    origin = imitation_spec(run.recipe).origin
    (teacher,) = run.teachers()
    if origin == "teacher":
        return load_file(teacher_record(store, teacher).weights(run.recipe.teaching.step))
    if origin == "walk":
        first, generator = root(run), torch_stream(run.seed, "control")
        begin = fresh(first.recipe, dataset, first.seed).state_dict()
        return random_walk(begin, load_file(teacher_record(store, teacher).weights(None)), generator)
    if origin == "sibling":
        return start(teacher, dataset, store).state_dict()
    first = root(run)
    return fresh(first.recipe, dataset, first.seed).state_dict()


def projection(run: Run, features: int) -> Tensor:
    """The random projection (features, K) that teacher and students of one root share."""
    first = root(run)
    outputs = imitation_spec(run.recipe).outputs
    generator = torch_stream(first.seed, "control", first.recipe.replica)
    return torch.randn(features, outputs, generator=generator, dtype=torch.float64) / features**0.5


def check_imitation(run: Run) -> None:
    """Refuses what cannot run; trains nothing.

    Raises:
        Refusal: ``imitation-targets``, ``imitation-teacher``, ``no-teacher``, ``imitation-weights``,
            ``other-architecture``, ``imitation-kind``, ``imitation-labels``, or what data and models refuse.
    """
    recipe, spec = run.recipe, imitation_spec(run.recipe)
    if recipe.targets != Recipe().targets or recipe.data.augment != "none":
        attempt = "imitation.learns and imitation.inputs, which say what is taught on what"
        raise refusal("imitation-targets", "no targets and no augmentation beside imitation", "some", attempt)
    if recipe.choose != "last" or recipe.check:
        raise refusal("imitation-weights", "the last weights for imitation", f"choose={recipe.choose!r}")
    if recipe.teaching != Teaching(step=recipe.teaching.step, seed=recipe.teaching.seed):
        raise refusal("imitation-teacher", "one teacher, with no option but its step and seed", recipe.teaching)
    if (recipe.teacher is None) != (spec.learns == "labels" and spec.origin == "first"):
        raise refusal("no-teacher", "a teacher for a student and none for labels", f"learns={spec.learns!r}")
    if recipe.teacher is not None:
        above = recipe.teacher.imitation
        if above is None or recipe.teacher.data.name != recipe.data.name:
            raise refusal("imitation-teacher", "a teacher on imitation and the same data", recipe.teacher.data.name)
        same = [(r.model, s.outputs, s.head) for r, s in ((recipe, spec), (recipe.teacher, above))]
        if same[0] != same[1]:
            raise refusal("other-architecture", f"the teacher's network, {same[1]}", same[0])
    dataset = load(recipe.data, run.seed)
    if dataset.kind == "text":
        raise refusal("imitation-kind", "images or features for imitation", "text", where=recipe.data.name)
    if dataset.dense or dataset.boxed:
        expected, got = "one class for every example", f"a class for every {'pixel' if dataset.dense else 'box'}"
        raise refusal("imitation-labels", expected, got, where=recipe.data.name)
    if spec.inputs == "phase" and dataset.kind != "image":
        raise refusal("imitation-kind", "images for inputs='phase'", dataset.kind, where=recipe.data.name)
    fresh(recipe, dataset, run.seed)


def _as(state: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
