"""Classifiers of the `transformers` library behind our own interface: inputs in, logits out.

`transformers` comes with the extra ``hub`` and is imported only where it is needed. Weights are read from safetensors
only, and code that a repository contains is never run.

Shapes: B batch, L tokens, C classes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from disobey.errors import refusal

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class HuggingFaceText(nn.Module):
    """A sequence classifier: token ids ``(B, L)``, 0 = padding, to logits ``(B, C)``.

    If the model's own padding id p is not 0, the ids 0 and p are exchanged on the way in, so that no token is lost.
    """

    def __init__(self, model: nn.Module, padding: int):
        super().__init__()
        self.model, self.padding = model, padding
        self.feature_names = _layer_names(model)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits ``(B, C)`` of token ids ``(B, L)``."""
        keep = tokens != 0
        if self.padding:
            swapped = torch.where(tokens == self.padding, torch.zeros_like(tokens), tokens)
            tokens = torch.where(keep, swapped, self.padding)
        return self.model(input_ids=tokens, attention_mask=keep.long()).logits


class HuggingFaceImage(nn.Module):
    """An image classifier: ``(B, c, H, W)`` to logits ``(B, C)``.

    Published weights need a certain size and number of channels: images are resized (bilinear) to ``size``, and grey
    images are repeated to ``channels``, if these are given.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int] | None, channels: int | None):
        super().__init__()
        self.model, self.size, self.channels = model, size, channels
        self.feature_names = _layer_names(model)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, C)`` of images ``(B, c, H, W)``."""
        if self.channels and x.shape[1] == 1 < self.channels:
            x = x.expand(-1, self.channels, -1, -1)
        if self.size and self.size != tuple(x.shape[-2:]):
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True)
        return self.model(pixel_values=x).logits


def huggingface_model(
    name: str, shape: tuple[int, ...], classes: int, vocabulary: int, *, weights: bool, fingerprint: str = ""
) -> nn.Module:
    """The classifier ``name`` of transformers, for images or texts.

    Args:
        name: a repository or a local folder.
        shape: of one example: (c, H, W) for images, (L,) for texts.
        classes: C.
        vocabulary: number of token ids; 0 for images.
        weights: start from the published weights, with a new last layer if the number of classes differs. Otherwise the
            configuration is adapted to the data (image size and channels, or vocabulary) and the weights are random.
        fingerprint: a commit of the repository.

    Returns:
        The network.

    Raises:
        Refusal: ``no-transformers``, ``hub-configuration``, ``hub-model``, ``hub-no-vocabulary``, ``hub-vocabulary``,
            ``hub-length``, ``hub-data-kind`` or ``hub-channels``.
    """
    transformers = _transformers()
    config = _config(name, fingerprint)
    config.num_labels = classes  # sets the label names too
    if vocabulary and len(shape) == 1:
        return _text(transformers, config, name, shape, vocabulary, weights, fingerprint)
    return _image(transformers, config, name, shape, weights, fingerprint)


def huggingface_fingerprint(name: str, *, weights: bool) -> str:
    """What identifies a model: the commit of a repository, or the sha256 of a folder's configuration and weights."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return getattr(_config(name, ""), "_commit_hash", None) or ""
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for file in sorted(folder.glob("*.safetensors")) if weights else ():
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _text(
    transformers: Any,
    config: PretrainedConfig,
    name: str,
    shape: tuple[int, ...],
    vocabulary: int,
    weights: bool,
    fingerprint: str,
) -> nn.Module:
    known = getattr(config, "vocab_size", None)
    if known is None:
        got = f"{config.model_type}, which has no vocabulary"
        raise refusal("hub-no-vocabulary", "a model of texts", got, where=f"hf:{name}")
    if not weights:
        config.vocab_size, config.pad_token_id = vocabulary, 0
        for special in ("bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id"):
            if (value := getattr(config, special, None)) is not None and value >= vocabulary:
                setattr(config, special, None)
    elif vocabulary > known:
        expected, got = f"texts in the {known} tokens of the published weights", f"a vocabulary of {vocabulary}"
        attempt = "texts tokenized with this model, or weights=False, which uses only its configuration"
        raise refusal("hub-vocabulary", expected, got, attempt, where=f"hf:{name}")
    elif config.pad_token_id is None:
        config.pad_token_id = getattr(config, "eos_token_id", None) or 0
    longest = getattr(config, "max_position_embeddings", None)
    if longest is not None and "roberta" in config.model_type:
        longest -= config.pad_token_id + 1  # this family numbers its positions from there
    if longest is not None and shape[0] > longest:
        expected, got = f"texts of at most {longest} tokens", f"{shape[0]} tokens"
        raise refusal("hub-length", expected, got, "shorter texts", where=f"hf:{name}")
    model = _load(transformers.AutoModelForSequenceClassification, config, name, weights, fingerprint)
    return HuggingFaceText(model, int(config.pad_token_id))


def _image(
    transformers: Any, config: PretrainedConfig, name: str, shape: tuple[int, ...], weights: bool, fingerprint: str
) -> nn.Module:
    if len(shape) != 3:
        raise refusal("hub-data-kind", "images or texts", f"features of shape {shape}", "'mlp'", where=f"hf:{name}")
    if weights:
        size = getattr(config, "image_size", None)
        size = (size, size) if isinstance(size, int) else tuple(size) if size else None
        channels = getattr(config, "num_channels", None)
        if channels and shape[0] not in (1, channels):
            raise refusal("hub-channels", f"images with {channels} channels", shape[0], where=f"hf:{name}")
    else:
        size = channels = None
        if hasattr(config, "image_size"):
            config.image_size = shape[1] if shape[1] == shape[2] else shape[1:]
        if hasattr(config, "num_channels"):
            config.num_channels = shape[0]
    model = _load(transformers.AutoModelForImageClassification, config, name, weights, fingerprint)
    return HuggingFaceImage(model, size, channels)


def _load(auto: Any, config: PretrainedConfig, name: str, weights: bool, fingerprint: str) -> nn.Module:
    try:
        if not weights:
            return auto.from_config(config, trust_remote_code=False)
        return auto.from_pretrained(
            name,
            config=config,
            ignore_mismatched_sizes=True,
            use_safetensors=True,
            trust_remote_code=False,  # left out, it asks on standard input, where a "y" runs the folder's code
            dtype=torch.float32,
            **_revision(name, fingerprint),
        )
    except (OSError, ValueError) as error:
        expected = f"a model for {auto.__name__.removeprefix('AutoModelFor')}"
        raise refusal("hub-model", expected, error, where=f"hf:{name}") from error


def _config(name: str, fingerprint: str) -> PretrainedConfig:
    try:
        return _transformers().AutoConfig.from_pretrained(name, trust_remote_code=False, **_revision(name, fingerprint))
    except (OSError, ValueError) as error:
        raise refusal("hub-configuration", "a readable configuration", error, where=f"hf:{name}") from error


def _revision(name: str, fingerprint: str) -> dict[str, Any]:
    return {"revision": fingerprint} if fingerprint and not Path(name).expanduser().is_dir() else {}


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise refusal("no-transformers", "the package transformers", "none", "pip install 'disobey[hub]'") from error
    return transformers


def _layer_names(model: nn.Module) -> dict[str, str]:
    """``layer1`` ... for the longest list of modules that is in no other list: the layers or stages of the encoder."""
    lists = [(path, module) for path, module in model.named_modules() if isinstance(module, nn.ModuleList) and module]
    outer = [(p, m) for p, m in lists if not any(p.startswith(q + ".") for q, _ in lists)]
    if not outer:
        return {name: f"model.{name}" for name, _ in model.named_children()}
    path, layers = max(outer, key=lambda item: len(item[1]))
    return {f"layer{i}": f"model.{path}.{i - 1}" for i in range(1, len(layers) + 1)}
