"""`ModelSpec` -> module: the one place where a name becomes a class.

Torch is imported inside the functions: the command line lists models and reads specifications without it.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

Kind = Literal["image", "text", "features"]
HUGGING_FACE = "hf:"


@dataclass(frozen=True)
class ModelSpec:
    """Which network, as a value. None = the architecture's own default."""

    name: str = "cnn"  # a key of MODELS, `hf:NAME`, or `path/to/file.py:factory`
    width: int | None = None
    depth: int | None = None
    dropout: float = 0.0
    weights: bool = True  # hf: start from the published weights (True) or from the configuration only
    fingerprint: str = ""  # of a user's file: a changed file is another model


@dataclass(frozen=True)
class Architecture:
    """A line of `disobey list`: what a name stands for, what it takes, and how it is made."""

    line: str
    kinds: tuple[Kind, ...]
    make: Callable[..., nn.Module]  # (shape, classes, vocabulary, **options that were set)
    options: tuple[str, ...] = ()  # fields of ModelSpec that mean something here


def _linear(shape: tuple[int, ...], classes: int, vocabulary: int) -> nn.Module:
    from disobey.models.mlp import MLP

    return MLP(shape, classes, depth=0)


def _linear_from_zero(shape: tuple[int, ...], classes: int, vocabulary: int) -> nn.Module:
    from disobey.models.linear_nets import LinearFromZero

    return LinearFromZero(shape, classes)


def _deep_linear(shape: tuple[int, ...], classes: int, vocabulary: int, **options: Any) -> nn.Module:
    from disobey.models.linear_nets import DeepLinear

    return DeepLinear(shape, classes, **options)


def _random_features(shape: tuple[int, ...], classes: int, vocabulary: int, **options: Any) -> nn.Module:
    from disobey.models.linear_nets import RandomFeatures

    return RandomFeatures(shape, classes, **options)


def _mlp(shape: tuple[int, ...], classes: int, vocabulary: int, **options: Any) -> nn.Module:
    from disobey.models.mlp import MLP

    return MLP(shape, classes, **options)


def _cnn(shape: tuple[int, ...], classes: int, vocabulary: int, **options: Any) -> nn.Module:
    from disobey.models.convnet import ConvNet

    return ConvNet(shape, classes, **options)


def _lenet(shape: tuple[int, ...], classes: int, vocabulary: int, **options: Any) -> nn.Module:
    from disobey.models.convnet import LeNet

    return LeNet(shape, classes, **options)


def _resnet(layers: int) -> Callable[..., nn.Module]:
    def make(shape: tuple[int, ...], classes: int, vocabulary: int, **options: Any) -> nn.Module:
        from disobey.models.resnet import ResNet

        return ResNet(shape, classes, depth=layers, **options)

    return make


def _mobilenet(shape: tuple[int, ...], classes: int, vocabulary: int, **options: Any) -> nn.Module:
    from disobey.models.mobilenet import MobileNetV2

    return MobileNetV2(shape, classes, **options)


def _vit(shape: tuple[int, ...], classes: int, vocabulary: int, **options: Any) -> nn.Module:
    from disobey.models.vit import ViT

    return ViT(shape, classes, **options)


def _text_bag(shape: tuple[int, ...], classes: int, vocabulary: int, **options: Any) -> nn.Module:
    from disobey.models.text import TextBag

    return TextBag(shape, classes, vocabulary=vocabulary, **options)


def _text_transformer(shape: tuple[int, ...], classes: int, vocabulary: int, **options: Any) -> nn.Module:
    from disobey.models.text import TextTransformer

    return TextTransformer(shape, classes, vocabulary=vocabulary, **options)


ANY_SHAPE: tuple[Kind, ...] = ("image", "features")
IMAGE: tuple[Kind, ...] = ("image",)
TEXT: tuple[Kind, ...] = ("text",)

MODELS: dict[str, Architecture] = {
    "linear": Architecture("one linear layer", ANY_SHAPE, _linear),
    "linear-from-zero": Architecture("one linear layer whose weights start at zero", ANY_SHAPE, _linear_from_zero),
    "deep-linear": Architecture(
        "linear layers of 32, two of them or depth", ANY_SHAPE, _deep_linear, ("width", "depth")
    ),
    "random-features": Architecture(
        "256 fixed random features, a trained layer", ANY_SHAPE, _random_features, ("width",)
    ),
    "mlp": Architecture("two hidden layers of 128", ANY_SHAPE, _mlp, ("width", "depth", "dropout")),
    "cnn": Architecture("three strided convolutions, 16 to 32 channels", IMAGE, _cnn, ("width", "dropout")),
    "lenet": Architecture("LeNet-5 with ReLU and max pooling", IMAGE, _lenet, ("width", "dropout")),
    "resnet8": Architecture("ResNet for small images, 8 layers, 16 to 64 channels", IMAGE, _resnet(8), ("width",)),
    "resnet14": Architecture("the same with 14 layers", IMAGE, _resnet(14), ("width",)),
    "resnet20": Architecture("the same with 20 layers", IMAGE, _resnet(20), ("width",)),
    "resnet56": Architecture("the same with 56 layers", IMAGE, _resnet(56), ("width",)),
    "mobilenet-v2": Architecture("MobileNet-v2 with strides for 32x32", IMAGE, _mobilenet, ("width", "dropout")),
    "vit": Architecture("vision transformer, 4 layers of 64", IMAGE, _vit, ("width", "depth", "dropout")),
    "text-bag": Architecture(
        "mean embedding of n-grams; depth = longest n-gram", TEXT, _text_bag, ("width", "depth", "dropout")
    ),
    "text-transformer": Architecture(
        "transformer over tokens, 2 layers of 64", TEXT, _text_transformer, ("width", "depth", "dropout")
    ),
}
DOORS: dict[str, str] = {
    "hf:NAME": "a classifier of transformers for images or texts, by its name or from hf:/local/folder",
    "path/to/file.py:factory": "your own: a function that returns a torch module",
}


def kind_of(shape: tuple[int, ...], vocabulary: int) -> Kind:
    """What inputs of this shape are: images (channels, H, W), texts (L,) with a vocabulary, or features (D,).

    >>> kind_of((1, 28, 28), 0), kind_of((16,), 40), kind_of((64,), 0)
    ('image', 'text', 'features')
    """
    if any(size < 1 for size in shape) or len(shape) not in (1, 3):
        raise ValueError(f"expected a shape of (channels, H, W), (L,) or (D,); got {shape}")
    if len(shape) == 3:
        return "image"
    return "text" if vocabulary else "features"


def build(spec: ModelSpec, *, shape: tuple[int, ...], classes: int, vocabulary: int = 0) -> nn.Module:
    """The network that ``spec`` names, for one example of ``shape``; ``forward(x)`` gives logits ``(B, classes)``.

    ``shape`` is (channels, H, W) for images, (L,) with ``vocabulary`` token ids for texts (0 is padding), (D,) for
    features. Weights are drawn from torch's default generator: equal seeds, equal networks.

    Raises ValueError for an unknown name, an option or a kind of data that the model does not take, a user's file
    or folder that changed since its fingerprint was taken, and a factory that gives no module.

    >>> sum(p.numel() for p in build(ModelSpec("cnn", width=8), shape=(1, 28, 28), classes=10).parameters())
    6306
    """
    kind = kind_of(shape, vocabulary)
    if classes < 2:
        raise ValueError(f"a classifier needs at least 2 classes; got {classes}")
    if is_file(spec.name):
        return _from_file(spec, shape=shape, classes=classes, vocabulary=vocabulary)
    if spec.name.startswith(HUGGING_FACE):
        return _from_hub(spec, shape=shape, classes=classes, vocabulary=vocabulary)
    architecture = MODELS.get(spec.name)
    if architecture is None:
        raise ValueError(_unknown(spec.name))
    if kind not in architecture.kinds:
        fitting = ", ".join(name for name, entry in MODELS.items() if kind in entry.kinds)
        raise ValueError(
            f"model {spec.name!r} takes {' or '.join(architecture.kinds)} data; got {kind} data of shape {shape}. "
            f"For {kind} data there are: {fitting}"
        )
    options = _chosen(spec)
    if extra := sorted(set(options) - set(architecture.options)):
        takes = ", ".join(architecture.options) or "none"
        raise ValueError(f"model {spec.name!r} has no option {', '.join(extra)}; its options: {takes}")
    return architecture.make(shape, classes, vocabulary, **options)


def _chosen(spec: ModelSpec) -> dict[str, Any]:
    """The options that were set, after a check of their range."""
    for name in ("width", "depth"):
        value = getattr(spec, name)
        if value is not None and value < 1:
            raise ValueError(f"{name} of model {spec.name!r} must be at least 1; got {value}")
    if not 0 <= spec.dropout < 1:
        raise ValueError(f"dropout of model {spec.name!r} must be in [0, 1); got {spec.dropout}")
    values = {"width": spec.width, "depth": spec.depth, "dropout": spec.dropout or None}
    return {name: value for name, value in values.items() if value is not None}


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), MODELS, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return (
        f"no model is called {name!r}{hint} There are: {', '.join(MODELS)}; "
        "your own: 'path/to/file.py:factory'; from transformers: 'hf:NAME'"
    )


def is_file(name: str) -> bool:
    """Whether a name points at a factory in a user's file.

    >>> is_file("models/mine.py:make"), is_file("cnn")
    (True, False)
    """
    return name.rpartition(":")[0].endswith(".py") or name.endswith(".py")


def resolve(spec: ModelSpec) -> ModelSpec:
    """The same model with what lies outside the specification pinned by ``fingerprint``.

    That is the sha256 of a user's file (of this file only: what it imports is the user's to keep), the sha256 of a
    local Hugging Face folder, or the commit of a repository. Our own models come back as they are.
    """
    if is_file(spec.name):
        return replace(spec, fingerprint=_sha256(_parts(spec.name)[0]))
    if spec.name.startswith(HUGGING_FACE):
        from disobey.models.huggingface import huggingface_fingerprint

        found = huggingface_fingerprint(spec.name.removeprefix(HUGGING_FACE), weights=spec.weights)
        return replace(spec, fingerprint=found)
    return spec


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _refuse_change(spec: ModelSpec, what: object, found: str) -> None:
    if spec.fingerprint not in ("", found):
        raise ValueError(
            f"{what} changed: the run was planned with sha256 {spec.fingerprint[:12]}…, it has {found[:12]}… now. "
            "Restore it, or plan the run again (a changed file is another model)"
        )


def _from_hub(spec: ModelSpec, *, shape: tuple[int, ...], classes: int, vocabulary: int) -> nn.Module:
    from disobey.models.huggingface import huggingface_fingerprint, huggingface_model

    if extra := _chosen(spec):
        raise ValueError(f"{spec.name!r} has no option {', '.join(extra)}: a local folder's config.json has its sizes")
    name = spec.name.removeprefix(HUGGING_FACE)
    if spec.fingerprint and Path(name).expanduser().is_dir():
        _refuse_change(spec, name, huggingface_fingerprint(name, weights=spec.weights))
    pinned = spec.fingerprint
    return huggingface_model(name, shape, classes, vocabulary, weights=spec.weights, fingerprint=pinned)


def _parts(name: str) -> tuple[Path, str]:
    path, colon, factory = name.rpartition(":")
    if not colon or not factory.isidentifier():
        raise ValueError(f"expected 'path/to/file.py:factory', the name of a function after a colon; got {name!r}")
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"no file {path!r} (looked from {Path.cwd()}); the model was given as {name!r}")
    return file, factory


def _from_file(spec: ModelSpec, *, shape: tuple[int, ...], classes: int, vocabulary: int) -> nn.Module:
    from torch import nn

    path, name = _parts(spec.name)
    found = _sha256(path)
    _refuse_change(spec, path, found)
    module = _imported(path, found)
    factory = getattr(module, name, None)
    if not callable(factory):
        functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ValueError(f"{path} has no function {name!r}; it has: {', '.join(functions) or 'none'}")
    known = {"shape": shape, "classes": classes, "vocabulary": vocabulary}
    arguments = _accepted(factory, spec.name, known, _chosen(spec))
    model = factory(**arguments)
    if not isinstance(model, nn.Module):
        raise ValueError(f"{spec.name!r} must return a torch.nn.Module; it returned {type(model).__name__}")
    return model


def _accepted(factory: Callable, name: str, known: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    """Those of ``known`` that the factory takes, and all of ``chosen``, which the user asked for."""
    parameters = inspect.signature(factory).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    taken = [key for key, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if not anything and (extra := sorted(set(chosen) - set(taken))):
        raise ValueError(f"{name!r} takes no {', '.join(extra)}; it takes: {', '.join(taken) or 'nothing'}")
    offered = {**known, **chosen}
    required = {key for key, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
    required -= {key for key, p in parameters.items() if p.kind is p.VAR_POSITIONAL}
    if missing := sorted(required - set(offered)):
        raise ValueError(
            f"{name!r} asks for {', '.join(missing)}; a factory may ask for shape, classes and vocabulary, "
            "and for width, depth and dropout where the model specification sets them"
        )
    return {key: value for key, value in offered.items() if anything or key in taken}


def _imported(path: Path, fingerprint: str) -> ModuleType:
    """The user's file as a module; once a content, under a name that cannot hide another module."""
    name = f"_disobey_user_{fingerprint[:16]}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before execution: dataclasses look themselves up
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # the file may import its neighbours
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(folder)
    return module
