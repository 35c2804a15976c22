"""Deep linear networks are linear, random features stay as they are."""

import torch

from disobey.models.build import build
from disobey.models.features import features
from disobey.models.spec import ModelSpec


def made(name, **options):
    torch.manual_seed(0)
    return build(ModelSpec(name, **options), shape=(1, 4, 4), classes=3)


def test_the_product_of_the_layers_is_the_network():
    x = torch.randn(5, 1, 4, 4)
    for depth in (1, 2, 4):
        model = made("deep-linear", width=6, depth=depth)
        zero = model(torch.zeros(1, 1, 4, 4))
        product = torch.eye(16)
        for layer in model.layers:
            product = layer.weight @ product
        torch.testing.assert_close(model(x) - zero, x.flatten(1) @ product.T)
        assert len(model.layers) == depth


def test_random_features_do_not_train():
    model = made("random-features", width=7)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    torch.nn.functional.cross_entropy(model(torch.randn(8, 1, 4, 4)), torch.arange(8) % 3).backward()
    optimizer.step()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"head.weight", "head.bias"}


def test_named_features():
    assert set(features(made("random-features"), torch.zeros(2, 1, 4, 4), ["penultimate"])) == {"penultimate"}
    assert features(made("deep-linear", width=5, depth=3), torch.zeros(2, 1, 4, 4), ["layer2"])["layer2"].shape == (
        2,
        5,
    )
