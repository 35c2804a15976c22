"""`ModelSpec` -> module: the one place where a name becomes a network.

`MODELS` names every class as ``"module:Class"``, which is imported when the network is built. So the command line lists
models and reads specifications without importing torch.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disobey.errors import Refusal, refusal
from disobey.models.spec import HUGGING_FACE, TIMM, Kind, ModelSpec, is_file, kind_of
from disobey.models.user_files import file_and_factory, network_from_file, refuse_change, sha256

if TYPE_CHECKING:
    from torch import nn

__all__ = ["MODELS", "Architecture", "Kind", "ModelSpec", "build", "is_file", "kind_of", "resolve"]

ANY_SHAPE: tuple[Kind, ...] = ("image", "features")
IMAGE: tuple[Kind, ...] = ("image",)
TEXT: tuple[Kind, ...] = ("text",)


@dataclass(frozen=True)
class Architecture:
    """What a name of `MODELS` stands for.

    Attributes:
        network: ``"module:Class"``, called as ``Class(shape, classes, **options)``; classes for texts also take
            ``vocabulary=``.
        line: one line for `disobey list`.
        kinds: the kinds of data that it takes.
        options: the fields of `ModelSpec` that it understands.
        depth: the fixed depth, for names that include it (``resnet20``).
    """

    network: str
    line: str
    kinds: tuple[Kind, ...]
    options: tuple[str, ...] = ()
    depth: int | None = None

    def make(self, shape: tuple[int, ...], classes: int, vocabulary: int, **options: Any) -> nn.Module:
        """Imports the class and builds the network."""
        module, _, name = self.network.partition(":")
        if self.depth is not None:
            options["depth"] = self.depth
        if self.kinds == TEXT:
            options["vocabulary"] = vocabulary
        return getattr(import_module(module), name)(shape, classes, **options)


def _resnet(line: str, depth: int, network: str = "ResNet") -> Architecture:
    return Architecture(f"disobey.models.resnet:{network}", line, IMAGE, ("width",), depth)


MODELS: dict[str, Architecture] = {
    "linear": Architecture("disobey.models.mlp:MLP", "one linear layer", ANY_SHAPE, depth=0),
    "linear-from-zero": Architecture(
        "disobey.models.linear_nets:LinearFromZero", "one linear layer whose weights start at zero", ANY_SHAPE
    ),
    "deep-linear": Architecture(
        "disobey.models.linear_nets:DeepLinear",
        "linear layers of width 32, two of them unless depth is given",
        ANY_SHAPE,
        ("width", "depth"),
    ),
    "random-features": Architecture(
        "disobey.models.linear_nets:RandomFeatures", "256 fixed random features, a trained layer", ANY_SHAPE, ("width",)
    ),
    "mlp": Architecture("disobey.models.mlp:MLP", "two hidden layers of 128", ANY_SHAPE, ("width", "depth", "dropout")),
    "cnn": Architecture(
        "disobey.models.convnet:ConvNet", "three strided convolutions, 16 to 32 channels", IMAGE, ("width", "dropout")
    ),
    "lenet": Architecture(
        "disobey.models.convnet:LeNet", "LeNet-5 with ReLU and max pooling", IMAGE, ("width", "dropout")
    ),
    "resnet8": _resnet("ResNet for small images, 8 layers, 16 to 64 channels", 8),
    "resnet14": _resnet("the same with 14 layers", 14),
    "resnet20": _resnet("the same with 20 layers", 20),
    "resnet56": _resnet("the same with 56 layers", 56),
    "resnet8-ln": _resnet("the same with 8 layers and layer instead of batch normalization", 8, "LayerNormResNet"),
    "resnet20-ln": _resnet("the same with 20 layers", 20, "LayerNormResNet"),
    "vgg-mini": Architecture(
        "disobey.models.vgg:VGGMini",
        "four stages of a 3x3 convolution (depth: of each) with pooling, 16 to 128 channels, no norm",
        IMAGE,
        ("width", "depth"),
    ),
    "mobilenet-v2": Architecture(
        "disobey.models.mobilenet:MobileNetV2", "MobileNet-v2 with strides for 32x32", IMAGE, ("width", "dropout")
    ),
    "vit": Architecture(
        "disobey.models.vit:ViT", "vision transformer, 4 layers of 64", IMAGE, ("width", "depth", "dropout")
    ),
    "vit-bn": Architecture(
        "disobey.models.vit:BatchNormViT",
        "the same with batch instead of layer normalization",
        IMAGE,
        ("width", "depth", "dropout"),
    ),
    "text-bag": Architecture(
        "disobey.models.text:TextBag",
        "mean embedding of n-grams; depth = longest n-gram",
        TEXT,
        ("width", "depth", "dropout"),
    ),
    "text-transformer": Architecture(
        "disobey.models.text:TextTransformer",
        "transformer over tokens, 2 layers of 64",
        TEXT,
        ("width", "depth", "dropout"),
    ),
}


def build(spec: ModelSpec, *, shape: tuple[int, ...], classes: int, vocabulary: int = 0) -> nn.Module:
    """The network that a specification names; ``forward(x)`` returns logits ``(B, classes)``.

    Weights are drawn from torch's default generator: equal seeds give equal networks.

    Args:
        spec: the specification.
        shape: of one example: (channels, H, W) for images, (L,) for texts, (D,) for features.
        classes: number of classes, at least 2.
        vocabulary: number of token ids of texts (0 is padding); 0 for other data.

    Returns:
        The network, in training mode.

    Raises:
        Refusal: ``input-shape``, ``few-classes``, ``unknown-model``, ``model-kind``, ``model-option``, ``model-size``,
            ``dropout-range``, or a refusal of a user's file (`disobey.models.user_files`), of transformers or of timm.

    Example:
        >>> sum(p.numel() for p in build(ModelSpec("cnn", width=8), shape=(1, 28, 28), classes=10).parameters())
        6306
    """
    kind = kind_of(shape, vocabulary)
    if classes < 2:
        raise refusal("few-classes", "at least 2 classes for a classifier", classes)
    options = _options(spec)
    if is_file(spec.name):
        known = {"shape": shape, "classes": classes, "vocabulary": vocabulary}
        return network_from_file(spec.name, known, options, planned=spec.fingerprint)
    if spec.name.startswith(HUGGING_FACE):
        return _from_hub(spec, options, shape, classes, vocabulary)
    if spec.name.startswith(TIMM):
        return _from_timm(spec, options, shape, classes, kind)
    architecture = MODELS.get(spec.name)
    if architecture is None:
        raise _unknown(spec.name)
    if kind not in architecture.kinds:
        fitting = ", ".join(name for name, entry in MODELS.items() if kind in entry.kinds)
        expected, got = f"{' or '.join(architecture.kinds)} data", f"{kind} data of shape {shape}"
        raise refusal("model-kind", expected, got, f"one of {fitting}", where=f"model {spec.name!r}")
    if extra := sorted(set(options) - set(architecture.options)):
        expected = f"options out of {', '.join(architecture.options) or 'none'}"
        raise refusal("model-option", expected, ", ".join(extra), where=f"model {spec.name!r}")
    return architecture.make(shape, classes, vocabulary, **options)


def resolve(spec: ModelSpec) -> ModelSpec:
    """The same model with a ``fingerprint`` of everything that lies outside the specification.

    Args:
        spec: the specification.

    Returns:
        The specification with the sha256 of a user's file (this file only, not what it imports), the sha256 of a local
        Hugging Face folder, the commit of a repository, or the version of timm. Models of `MODELS` are
        returned unchanged.
    """
    if is_file(spec.name):
        return replace(spec, fingerprint=sha256(file_and_factory(spec.name)[0]))
    if spec.name.startswith(HUGGING_FACE):
        from disobey.models.huggingface import huggingface_fingerprint

        found = huggingface_fingerprint(spec.name.removeprefix(HUGGING_FACE), weights=spec.weights)
        return replace(spec, fingerprint=found)
    if spec.name.startswith(TIMM):
        from disobey.models.timm import timm_fingerprint

        return replace(spec, fingerprint=timm_fingerprint(spec.name.removeprefix(TIMM)))
    return spec


def _options(spec: ModelSpec) -> dict[str, Any]:
    """The options that were set, after a check of their range."""
    where = f"model {spec.name!r}"
    for name in ("width", "depth"):
        value = getattr(spec, name)
        if value is not None and value < 1:
            raise refusal("model-size", f"a {name} of at least 1", value, where=where)
    if not 0 <= spec.dropout < 1:
        raise refusal("dropout-range", "a dropout in [0, 1)", spec.dropout, where=where)
    values = {"width": spec.width, "depth": spec.depth, "dropout": spec.dropout or None}
    return {name: value for name, value in values.items() if value is not None}


def _unknown(name: str) -> Refusal:
    near = difflib.get_close_matches(name.lower(), MODELS, n=1, cutoff=0.5)
    others = "'path/to/file.py:factory' for a model of your own, 'hf:NAME' (transformers) or 'timm:NAME' (timm)"
    attempt = f"{near[0]!r}, {others}" if near else others
    return refusal("unknown-model", f"a model out of {', '.join(MODELS)}", repr(name), attempt)


def _from_hub(
    spec: ModelSpec, options: dict[str, Any], shape: tuple[int, ...], classes: int, vocabulary: int
) -> nn.Module:
    from disobey.models.huggingface import huggingface_fingerprint, huggingface_model

    if options:
        attempt = "the sizes in config.json of a local folder"
        raise refusal("model-option", "no options", ", ".join(options), attempt, where=f"model {spec.name!r}")
    name = spec.name.removeprefix(HUGGING_FACE)
    if spec.fingerprint and Path(name).expanduser().is_dir():
        refuse_change(spec.fingerprint, name, huggingface_fingerprint(name, weights=spec.weights))
    return huggingface_model(name, shape, classes, vocabulary, weights=spec.weights, fingerprint=spec.fingerprint)


def _from_timm(spec: ModelSpec, options: dict[str, Any], shape: tuple[int, ...], classes: int, kind: Kind) -> nn.Module:
    from disobey.models.timm import timm_fingerprint, timm_model

    if options or kind != "image":
        expected, got = "images and no options", ", ".join(options) or f"{kind} data"
        id, attempt = ("model-option", "another name") if options else ("model-kind", "'mlp' or 'text-bag'")
        raise refusal(id, expected, got, attempt, where=f"model {spec.name!r}")
    name = spec.name.removeprefix(TIMM)
    refuse_change(spec.fingerprint, spec.name, timm_fingerprint(name))
    return timm_model(name, shape, classes, weights=spec.weights)
