"""Features are what the modules give, averaged as said; the model is left as it was found."""

import pytest
import torch
from torch import nn

from disobey.models.build import MODELS, build
from disobey.models.features import feature_paths, features, pooled, recording
from disobey.models.spec import ModelSpec
from tests.support.refusals import refuses

SHAPES = {"image": ((1, 16, 16), 0), "text": ((12,), 40), "features": ((9,), 0)}


def example(name: str):
    shape, vocabulary = SHAPES[MODELS[name].kinds[0]]
    torch.manual_seed(0)
    model = build(ModelSpec(name), shape=shape, classes=4, vocabulary=vocabulary)
    x = torch.randint(1, 40, (3, 12)) if vocabulary else torch.randn(3, *shape)
    return model, x


@pytest.mark.parametrize("name", MODELS)
def test_the_last_layer_of_the_penultimate_feature_gives_the_logits(name):
    model, x = example(name)
    last = [module for module in model.eval().modules() if isinstance(module, nn.Linear)][-1]
    with torch.inference_mode():
        found = features(model, x, ["penultimate"])["penultimate"]
        assert torch.allclose(last(found), model(x), atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_every_listed_feature_has_a_row_an_example(name):
    model, x = example(name)
    found = features(model, x)
    assert len(found) == len(set(feature_paths(model).values()))
    assert all(value.shape[0] == 3 and value.dim() == 2 for value in found.values())
    assert all(torch.isfinite(value).all() for value in found.values())


def test_names_are_stages_in_order():
    names = {name: list(feature_paths(example(name)[0])) for name in ("mlp", "cnn", "resnet8", "vit")}
    assert names == {
        "mlp": ["hidden1", "hidden2", "penultimate"],
        "cnn": ["block1", "block2", "block3", "penultimate"],
        "resnet8": ["stem", "stage1", "stage2", "stage3", "penultimate"],
        "vit": ["patches", "layer1", "layer2", "layer3", "layer4", "penultimate"],
    }


def test_values_are_the_averaged_outputs():
    model, x = example("cnn")
    model.eval()
    with torch.no_grad():
        map1 = model.block1(x)
    found = features(model, x)["block1"]
    assert torch.allclose(found, map1.mean(dim=(2, 3)), atol=1e-6)


def test_reading_leaves_modes_statistics_and_hooks_alone():
    model, x = example("cnn")
    model.train()
    model.block2.eval()  # a frozen part stays frozen
    before = {key: value.clone() for key, value in model.state_dict().items()}
    features(model, x)
    assert model.training
    assert not model.block2.training
    assert model.block1[1].training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(RuntimeError):
        features(model, x[:, :, :4, :, None])
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_somebody_elses_model_is_read_by_module_paths():
    class Theirs(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
            self.pair = Pair()
            self.unused = nn.Linear(3, 3)
            self.out = nn.Linear(4, 2)

        def forward(self, x):
            return self.out(self.pair(self.body(x))[0])

    class Pair(nn.Module):
        def forward(self, x):
            return x.mean(dim=(2, 3)), "a remark"

    model, x = Theirs(), torch.randn(3, 1, 8, 8)
    assert list(features(model, x)) == ["body", "pair", "out"]
    chosen = features(model, x, ["body.0", "pair"])
    assert {name: tuple(value.shape) for name, value in chosen.items()} == {"body.0": (3, 4), "pair": (3, 4)}
    with refuses("unknown-feature", "'bodi'", "try 'body'"):
        features(model, x, ["bodi"])
    with refuses("silent-feature", "unused"):
        features(model, x, ["unused"])
    with refuses("unknown-feature", "''"):
        features(model, x, [""])


def test_recorded_activations_carry_gradients():
    model, x = example("resnet8")
    model.train()
    with recording(model, ["stage1"]) as seen:
        model(x)
        seen["stage1"].square().mean().backward()
    assert model.stem[0].weight.grad.abs().sum() > 0
    assert model.head.weight.grad is None


def test_padding_is_left_out_of_sequences():
    value = torch.arange(12.0).view(2, 3, 2)
    tokens = torch.tensor([[4, 4, 0], [0, 0, 0]])
    assert torch.equal(pooled(value, tokens), torch.tensor([[1.0, 2.0], [0.0, 0.0]]))
    assert torch.equal(pooled(value), torch.tensor([[2.0, 3.0], [8.0, 9.0]]))
    assert torch.equal(pooled(torch.ones(2, 3, 4, 5)), torch.ones(2, 3))
    model, x = example("text-transformer")
    x[:, 7:] = 0
    found = features(model, x, ["layer1"])["layer1"]
    assert torch.allclose(found, features(model, x[:, :7], ["layer1"])["layer1"], atol=1e-5)
