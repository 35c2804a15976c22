"""`ModelSpec`: which network, as a value, and the word that stands for it on the command line.

Torch is not imported here: the command line reads specifications without it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from disobey.errors import refusal

Kind = Literal["image", "text", "features"]
HUGGING_FACE = "hf:"  # how names of transformers models begin
TIMM = "timm:"  # how names of timm models begin
RANDOM = "#random"  # ends the word of such a model that starts from random weights


@dataclass(frozen=True)
class ModelSpec:
    """Which network, as a value.

    Attributes:
        name: a key of `disobey.models.build.MODELS`, ``hf:NAME``, ``timm:NAME``, or ``path/to/file.py:factory``.
        width: number of units or channels; None means the default of the architecture.
        depth: number of layers or blocks; None means the default of the architecture.
        dropout: probability of dropping a unit, in [0, 1).
        weights: for ``hf:`` and ``timm:`` models, start from the published weights (True) or from random ones (False).
        fingerprint: identity of what lies outside the specification (see `disobey.models.build.resolve`).
    """

    name: str = "cnn"
    width: int | None = None
    depth: int | None = None
    dropout: float = 0.0
    weights: bool = True
    fingerprint: str = ""


def model_spec(text: str) -> ModelSpec:
    """A model from one word, as the command line takes it.

    Args:
        text: ``NAME``, ``NAME:WIDTH`` or ``NAME:WIDTHxDEPTH``; ``hf:NAME``, ``timm:NAME`` and ``FILE.py:FACTORY`` are
            taken as they are; ``#random`` after the first two asks for random instead of published weights.

    Returns:
        The specification; whether the name exists is checked by `disobey.models.build.build`.

    Example:
        >>> model_spec("mlp:128x2")
        ModelSpec(name='mlp', width=128, depth=2, dropout=0.0, weights=True, fingerprint='')
    """
    sized = re.fullmatch(r"([\w-]+)(?::(\d+)(?:x(\d+))?)?", text)
    if text.startswith((HUGGING_FACE, TIMM)):
        return ModelSpec(text.removesuffix(RANDOM), weights=not text.endswith(RANDOM))
    if sized is None:
        return ModelSpec(text)
    name, width, depth = sized.groups()
    return ModelSpec(name, width=int(width) if width else None, depth=int(depth) if depth else None)


def spec_text(spec: ModelSpec) -> str:
    """The word that `model_spec` reads.

    >>> spec_text(ModelSpec("mlp", width=128, depth=2))
    'mlp:128x2'
    """
    size = "" if spec.width is None else f":{spec.width}" + ("" if spec.depth is None else f"x{spec.depth}")
    if not spec.weights and spec.name.startswith((HUGGING_FACE, TIMM)):
        return spec.name + RANDOM
    return spec.name + size


def is_file(name: str) -> bool:
    """Whether a name points to a factory in a user's file.

    >>> is_file("models/mine.py:make"), is_file("cnn")
    (True, False)
    """
    return name.rpartition(":")[0].endswith(".py") or name.endswith(".py")


def kind_of(shape: tuple[int, ...], vocabulary: int) -> Kind:
    """The kind of data that inputs of a shape are.

    Args:
        shape: of one example: (channels, H, W) for images, (L,) for texts, (D,) for features.
        vocabulary: number of token ids; 0 for data that are no texts.

    Returns:
        ``image``, ``text`` or ``features``.

    Raises:
        Refusal: ``input-shape``.

    Example:
        >>> kind_of((1, 28, 28), 0), kind_of((16,), 40), kind_of((64,), 0)
        ('image', 'text', 'features')
    """
    if any(size < 1 for size in shape) or len(shape) not in (1, 3):
        raise refusal("input-shape", "a shape (channels, H, W), (L,) or (D,)", shape)
    if len(shape) == 3:
        return "image"
    return "text" if vocabulary else "features"
