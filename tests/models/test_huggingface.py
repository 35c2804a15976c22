"""Tiny models of `transformers`, made here: nothing is fetched."""

import os

import pytest
import torch
from torch.nn import functional as F

from disobey.models.build import build, resolve
from disobey.models.features import features
from disobey.models.spec import ModelSpec
from tests.support.refusals import refuses

os.environ["HF_HUB_OFFLINE"] = "1"  # before the import: a wrong name must fail, not search
transformers = pytest.importorskip("transformers")

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
TEXT = {
    "bert": lambda: transformers.BertConfig(vocab_size=50, max_position_embeddings=24, **SMALL),
    "roberta": lambda: transformers.RobertaConfig(vocab_size=50, max_position_embeddings=24, pad_token_id=1, **SMALL),
    "gpt2": lambda: transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, eos_token_id=49),
}
IMAGE = {
    "vit": lambda: transformers.ViTConfig(image_size=28, num_channels=3, patch_size=7, **SMALL),
    "resnet": lambda: transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
    ),
}
TEXTS = torch.tensor([[5, 9, 3, 0, 0, 0], [7, 4, 8, 6, 1, 2]])


def folder(path, config, *, weights=False):
    config.save_pretrained(path)
    if weights:
        torch.manual_seed(7)
        if "vocab_size" in config.to_dict():
            model = transformers.AutoModelForSequenceClassification.from_config(config)
        else:
            model = transformers.AutoModelForImageClassification.from_config(config)
        model.save_pretrained(path)
    return f"hf:{path}"


@pytest.mark.parametrize("family", TEXT)
def test_texts_from_the_configuration(tmp_path, family):
    spec = ModelSpec(folder(tmp_path, TEXT[family]()), weights=False)
    torch.manual_seed(0)
    model = build(spec, shape=(6,), classes=4, vocabulary=10)
    torch.manual_seed(0)
    again = build(spec, shape=(6,), classes=4, vocabulary=10)
    with torch.inference_mode():
        logits = model.eval()(TEXTS)
        assert logits.shape == (2, 4)
        assert torch.equal(logits, again.eval()(TEXTS))
        padded = F.pad(TEXTS, (0, 5))
        assert torch.allclose(model(padded), logits, atol=1e-5)
    assert model.model.config.vocab_size == 10
    layers = features(model, TEXTS)
    assert {name: tuple(value.shape) for name, value in layers.items()} == {"layer1": (2, 16), "layer2": (2, 16)}


@pytest.mark.parametrize("family", TEXT)
def test_texts_from_weights_keep_the_body_and_renew_the_head(tmp_path, family):
    name = folder(tmp_path, TEXT[family](), weights=True)
    saved = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    model = build(ModelSpec(name), shape=(6,), classes=4, vocabulary=50)
    body = {key: value for key, value in saved.state_dict().items() if "classifier" not in key and "score" not in key}
    found = model.model.state_dict()
    assert len(body) > 10
    assert all(torch.equal(value, found[key]) for key, value in body.items())
    assert model.eval()(TEXTS).shape == (2, 4)


def test_padding_and_id_0_change_places(tmp_path):
    """A model whose padding is 1: our 0 is its 1, our 1 is its 0."""
    model = build(ModelSpec(folder(tmp_path, TEXT["roberta"](), weights=True)), shape=(6,), classes=2, vocabulary=50)
    theirs = torch.where(TEXTS == 0, 1, torch.where(TEXTS == 1, 0, TEXTS))
    with torch.inference_mode():
        expected = model.eval().model(input_ids=theirs, attention_mask=(TEXTS != 0).long()).logits
        assert torch.equal(model(TEXTS), expected)


@pytest.mark.parametrize("family", IMAGE)
def test_images_from_the_configuration_take_the_shape_of_the_data(tmp_path, family):
    spec = ModelSpec(folder(tmp_path, IMAGE[family]()), weights=False)
    model = build(spec, shape=(1, 14, 14), classes=4)
    x = torch.randn(3, 1, 14, 14).contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.train().parameters(), lr=1e-2)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), torch.tensor([0, 1, 2]))
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert list(features(model, x)) == ["layer1", "layer2"]


def test_images_for_weights_are_resized_and_repeated(tmp_path):
    model = build(ModelSpec(folder(tmp_path, IMAGE["vit"](), weights=True)), shape=(1, 14, 14), classes=4).eval()
    x = torch.randn(2, 1, 14, 14)
    enlarged = F.interpolate(x, (28, 28), mode="bilinear", antialias=True).expand(-1, 3, -1, -1)
    with torch.inference_mode():
        assert torch.allclose(model(x), model.model(pixel_values=enlarged).logits, atol=1e-5)


def test_a_changed_folder_is_another_model(tmp_path):
    name = folder(tmp_path, TEXT["bert"](), weights=True)
    spec = resolve(ModelSpec(name))
    fresh = resolve(ModelSpec(name, weights=False))
    build(spec, shape=(6,), classes=2, vocabulary=50)
    with (tmp_path / "model.safetensors").open("ab") as stream:
        stream.write(b" ")
    with refuses("changed-model", spec.fingerprint[:12]):
        build(spec, shape=(6,), classes=2, vocabulary=50)
    assert resolve(ModelSpec(name, weights=False)) == fresh  # weights are no part of this one


@pytest.mark.parametrize(
    ("family", "options", "data", "id", "parts"),
    [
        ("bert", {}, {"shape": (6,), "vocabulary": 51}, "hub-vocabulary", ("50 tokens", "51")),
        ("bert", {"weights": False}, {"shape": (25,), "vocabulary": 9}, "hub-length", ("24 tokens", "25 tokens")),
        ("roberta", {"weights": False}, {"shape": (24,), "vocabulary": 9}, "hub-length", ("23 tokens", "24 tokens")),
        ("roberta", {}, {"shape": (23,), "vocabulary": 9}, "hub-length", ("22 tokens", "23 tokens")),
        ("bert", {"width": 8}, {"shape": (6,), "vocabulary": 9}, "model-option", ("width",)),
        ("bert", {}, {"shape": (6,)}, "hub-data-kind", ("features", "(6,)")),
        ("bert", {"weights": False}, {"shape": (3, 8, 8)}, "hub-model", ("ImageClassification",)),
        ("vit", {}, {"shape": (6,), "vocabulary": 9}, "hub-no-vocabulary", ("vit",)),
        ("vit", {}, {"shape": (2, 28, 28)}, "hub-channels", ("3 channels", "got 2")),
    ],
)
def test_what_does_not_fit_is_explained(tmp_path, family, options, data, id, parts):
    name = folder(tmp_path, {**TEXT, **IMAGE}[family]())
    with refuses(id, *parts):
        build(ModelSpec(name, **options), classes=2, **data)


def test_an_unknown_name_is_explained(tmp_path):
    with refuses("hub-configuration", f"hf:{tmp_path}/nothing"):
        build(ModelSpec(f"hf:{tmp_path}/nothing"), shape=(6,), classes=2, vocabulary=9)
