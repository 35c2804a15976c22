"""Shipped choices: which models and how long a training, by kind of data. Chosen on validation splits.

Their keys are pinned by a test: changing one is a new recipe, not a correction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from disobey.data.dataset import Kind
from disobey.models.spec import ModelSpec
from disobey.training.specs import OptimSpec, learned_from


@dataclass(frozen=True)
class Defaults:
    """What a study uses where the user names nothing: a teacher, a smaller and a larger student, a budget."""

    teacher: ModelSpec
    small: ModelSpec
    large: ModelSpec
    optim: OptimSpec


DEFAULTS: dict[Kind, Defaults] = {
    "image": Defaults(
        ModelSpec("cnn", width=16), ModelSpec("cnn", width=8), ModelSpec("cnn", width=32), OptimSpec(lr=1e-2, steps=300)
    ),
    "text": Defaults(
        ModelSpec("text-bag"),
        ModelSpec("text-bag", width=8),
        ModelSpec("text-bag", width=128),
        OptimSpec(lr=3e-2, steps=400),
    ),
    "features": Defaults(
        ModelSpec("mlp", width=128),
        ModelSpec("mlp", width=16),
        ModelSpec("mlp", width=512),
        OptimSpec(lr=3e-3, steps=500),
    ),
}

# Data sets whose task asks for something else than their kind does, by name without what follows ``#``.
OF_DATA: dict[str, Defaults] = {
    # Generalizing beyond the pairs seen needs strong weight decay and a pass beyond fitting them: docs/guides/data.md.
    "modular-addition": Defaults(
        ModelSpec("mlp", width=256, depth=1),
        ModelSpec("mlp", width=64, depth=1),
        ModelSpec("mlp", width=512, depth=1),
        OptimSpec("adamw", lr=1e-2, steps=2000, weight_decay=1.0),
    ),
}


# Classes of pixels: a batch is of images. Chosen on the validation split of `scenes`. The rate rises, as at its full
# height a quarter to a half of the units die within twenty steps, all of which move every pixel towards the ground.
OF_PIXELS = Defaults(
    ModelSpec("unet", width=8),
    ModelSpec("unet", width=4),
    ModelSpec("unet", width=16),
    OptimSpec(lr=1e-2, steps=3200, batch=8, warmup=200),
)


# Classes of boxes, likewise. Chosen on the validation split of `scenes-boxes`.
OF_BOXES = Defaults(
    ModelSpec("detector", width=8),
    ModelSpec("detector", width=4),
    ModelSpec("detector", width=16),
    OptimSpec(lr=1e-2, steps=1000, batch=16, warmup=100),
)


def defaults_of(data: str, kind: Kind) -> Defaults:
    """The defaults of a data set: its own where it has some, else those of its kind.

    >>> defaults_of("modular-addition#p=97", "features").optim.name, defaults_of("mine.csv", "features").optim.name
    ('adamw', 'adam')
    """
    of_parts = {"dense": OF_PIXELS, "detection": OF_BOXES}.get(learned_from(data))
    return of_parts or OF_DATA.get(data.partition("#")[0], DEFAULTS[kind])


def budget(base: OptimSpec, **changes: object) -> OptimSpec:
    """``base`` with the given fields changed; None leaves a field as it is. At most a tenth of it is warm-up.

    >>> budget(OptimSpec(steps=2000, warmup=100), steps=300).warmup
    30
    """
    changed: OptimSpec = replace(base, **{name: value for name, value in changes.items() if value is not None})  # type: ignore[arg-type]
    return replace(changed, warmup=min(changed.warmup, changed.steps // 10))
