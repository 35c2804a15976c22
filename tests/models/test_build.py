"""Every name builds a classifier of its kind; every wrong request is refused with an id and a hint."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from disobey.models.build import MODELS, build, kind_of, resolve
from disobey.models.spec import ModelSpec
from tests.support.refusals import refuses

SHAPES = {"image": ((3, 16, 20), 0), "text": ((12,), 40), "features": ((9,), 0)}
LARGE = ("resnet20", "resnet56", "mobilenet-v2")
FROM_ZERO = ("linear-from-zero", "random-features")  # equal logits at first, whatever the seed
PAIRS = [(name, kind) for name, entry in MODELS.items() for kind in entry.kinds]


def batch(kind: str, n: int = 6, *, seed: int = 0) -> torch.Tensor:
    shape, vocabulary = SHAPES[kind]
    generator = torch.Generator().manual_seed(seed)
    if kind == "text":
        lengths = torch.arange(n) % 10 + 2
        tokens = torch.randint(1, vocabulary, (n, *shape), generator=generator)
        return tokens * (torch.arange(shape[0]) < lengths[:, None])
    x = torch.randn(n, *shape, generator=generator)
    return x.contiguous(memory_format=torch.channels_last) if kind == "image" else x


def made(name: str, kind: str, seed: int = 0, classes: int = 7):
    shape, vocabulary = SHAPES[kind]
    torch.manual_seed(seed)
    return build(ModelSpec(name), shape=shape, classes=classes, vocabulary=vocabulary)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_logits_have_a_row_an_example_and_depend_on_the_seed_alone(name, kind):
    x = batch(kind)
    with torch.inference_mode():
        first, again, other = (made(name, kind, seed).eval()(x) for seed in (0, 0, 1))
    assert first.shape == (6, 7)
    assert first.dtype == torch.float32
    assert torch.isfinite(first).all()
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (name in FROM_ZERO)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_examples_do_not_see_each_other_in_evaluation(name, kind):
    model, x = made(name, kind).eval(), batch(kind)
    with torch.inference_mode():
        assert torch.allclose(model(x)[[2, 4]], model(x[[2, 4]]), atol=1e-5)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_every_parameter_learns_and_the_loss_falls(name, kind):
    model, x = made(name, kind).train(), batch(kind, 12)
    labels = torch.arange(12) % 7
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(8 if name in LARGE else 40):
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        if not losses:
            learning = [(key, p) for key, p in model.named_parameters() if p.requires_grad]
            silent = [key for key, p in learning if p.grad is None or not p.grad.any()]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert not silent
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_a_state_dict_is_the_whole_model(name, kind):
    trained, x = made(name, kind, 0).train(), batch(kind)
    trained(x)  # moves running statistics where there are any
    fresh = made(name, kind, 1)
    fresh.load_state_dict(trained.state_dict())
    with torch.inference_mode():
        assert torch.equal(trained.eval()(x), fresh.eval()(x))


@pytest.mark.parametrize("name", [name for name, entry in MODELS.items() if "image" in entry.kinds])
def test_memory_format_of_the_input_changes_nothing_but_speed(name):
    model, x = made(name, "image").eval(), batch("image")
    with torch.inference_mode():
        plain = model(x.contiguous())
        last = model.to(memory_format=torch.channels_last)(x)
    # to the rounding of float32 beside the largest logit: an untrained ResNet-56 has logits of thousands
    assert (plain - last).abs().max() < 2e-6 * plain.abs().max().clamp_min(1.0)


@pytest.mark.parametrize("name", ["cnn", "lenet", "resnet8", "resnet20", "mobilenet-v2"])
def test_maps_stay_channels_last(name):
    model = made(name, "image").to(memory_format=torch.channels_last).eval()
    lost, seen = [], 0

    def look(path):
        def hook(_module, _inputs, output):
            nonlocal seen
            if output.dim() == 4:
                seen += 1
                if not output.is_contiguous(memory_format=torch.channels_last):
                    lost.append(path)

        return hook

    for path, module in model.named_modules():
        module.register_forward_hook(look(path))
    model(batch("image"))
    assert seen > 3
    assert not lost


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 48)])
@pytest.mark.parametrize("name", ["cnn", "resnet8", "mobilenet-v2", "vit", "mlp"])
def test_networks_adapt_to_the_size_of_images(name, shape):
    model = build(ModelSpec(name, width=8), shape=shape, classes=3).eval()
    with torch.inference_mode():
        assert model(torch.randn(2, *shape)).shape == (2, 3)


@pytest.mark.parametrize("name", [name for name, entry in MODELS.items() if "width" in entry.options])
def test_width_depth_and_dropout_reach_the_network(name):
    kind = MODELS[name].kinds[0]
    shape, vocabulary = SHAPES[kind]

    def size(**options):
        model = build(ModelSpec(name, **options), shape=shape, classes=3, vocabulary=vocabulary)
        return sum(p.numel() for p in model.parameters())

    assert size(width=8) < size(width=16) < size(width=48)
    if "depth" in MODELS[name].options:
        assert size(depth=1) < size(depth=3)
    if "dropout" in MODELS[name].options:
        model = build(ModelSpec(name, dropout=0.5), shape=shape, classes=3, vocabulary=vocabulary).train()
        x = batch(kind)
        assert not torch.equal(model(x), model(x))


@pytest.mark.parametrize(
    ("spec", "kind", "id", "parts"),
    [
        (ModelSpec("resnet21"), "image", "unknown-model", ("try 'resnet",)),
        (ModelSpec("CNN"), "image", "unknown-model", ("try 'cnn'",)),
        (ModelSpec("something-else-entirely"), "image", "unknown-model", ("linear, ", "mlp")),
        (ModelSpec("cnn"), "text", "model-kind", ("text-bag, text-transformer",)),
        (ModelSpec("text-bag"), "image", "model-kind", ("text data", "image data")),
        (ModelSpec("linear", width=4), "features", "model-option", ("none", "width")),
        (ModelSpec("resnet8", depth=14), "image", "model-option", ("width", "depth")),
        (ModelSpec("mlp", width=0), "features", "model-size", ("width", "got 0")),
        (ModelSpec("mlp", dropout=1.0), "features", "dropout-range", ("got 1.0",)),
        (ModelSpec("vit", width=10), "image", "vit-width", ("10",)),
        (ModelSpec("nowhere.py:make"), "image", "no-model-file", ("'nowhere.py'",)),
        (ModelSpec("nowhere.py"), "image", "model-file-name", ("'nowhere.py'",)),
    ],
)
def test_what_cannot_be_built_says_what_to_try(spec, kind, id, parts):
    shape, vocabulary = SHAPES[kind]
    with refuses(id, *parts):
        build(spec, shape=shape, classes=3, vocabulary=vocabulary)


def test_shapes_and_classes_are_checked():
    assert kind_of((3, 8, 8), 0) == "image"
    with refuses("input-shape", "(8, 8)"):
        build(ModelSpec("mlp"), shape=(8, 8), classes=3)
    with refuses("input-shape", "(3, 0, 8)"):
        build(ModelSpec("cnn"), shape=(3, 0, 8), classes=3)
    with refuses("few-classes", "got 1"):
        build(ModelSpec("mlp"), shape=(8,), classes=1)
    with refuses("small-images", "12×12", "8×8"):
        build(ModelSpec("lenet"), shape=(1, 8, 8), classes=3)


MINE = """
from torch import nn
from neighbour import EXTRA

def full(*, shape, classes, vocabulary, width=3):
    model = nn.Sequential(nn.Linear(shape[0], width), nn.Linear(width, classes + EXTRA))
    model.asked = vocabulary
    return model

def partial(shape, classes):
    return nn.Linear(shape[0], classes)

def anything(**given):
    model = nn.Linear(given["shape"][0], given["classes"])
    model.given = sorted(given)
    return model

def wrong(shape):
    return "a string"

def greedy(shape, secret):
    return None
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "neighbour.py").write_text("EXTRA = 0\n")
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    return file


def test_a_users_factory_gets_what_it_asks_for(mine):
    features = {"shape": (9,), "classes": 3}
    full = build(ModelSpec(f"{mine}:full"), **features)
    assert full.asked == 0
    assert full(torch.randn(2, 9)).shape == (2, 3)
    assert build(ModelSpec(f"{mine}:full", width=5), **features)[0].out_features == 5
    assert build(ModelSpec(f"{mine}:partial"), **features).out_features == 3
    given = build(ModelSpec(f"{mine}:anything", dropout=0.1), **features).given
    assert given == ["classes", "dropout", "shape", "vocabulary"]
    assert str(mine.parent) not in sys.path


@pytest.mark.parametrize(
    ("factory", "options", "id", "parts"),
    [
        ("wrong", {}, "no-module", ("torch.nn.Module", "str")),
        ("partial", {"width": 4}, "factory-option", ("shape, classes", "width")),
        ("greedy", {}, "factory-argument", ("shape, classes and vocabulary", "secret")),
        ("missing", {}, "no-factory", ("'missing'", "full, partial, anything, wrong, greedy")),
    ],
)
def test_a_users_factory_that_does_not_fit_is_explained(mine, factory, options, id, parts):
    with refuses(id, *parts):
        build(ModelSpec(f"{mine}:{factory}", **options), shape=(9,), classes=3)


def test_a_changed_file_is_another_model(mine):
    spec = resolve(ModelSpec(f"{mine}:partial"))
    assert len(spec.fingerprint) == 64
    assert resolve(spec) == spec
    build(spec, shape=(9,), classes=3)
    mine.write_text(MINE + "# changed\n")
    with refuses("changed-model", spec.fingerprint[:12]):
        build(spec, shape=(9,), classes=3)
    assert resolve(spec) != spec
    build(replace(spec, fingerprint=""), shape=(9,), classes=3)


def test_an_error_inside_a_users_file_is_their_own(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("raise ZeroDivisionError('theirs')\n")
    for _ in range(2):  # a half-executed module is not kept
        with pytest.raises(ZeroDivisionError, match="theirs"):
            build(ModelSpec(f"{file}:make"), shape=(9,), classes=3)


def test_our_own_models_need_no_fingerprint():
    assert resolve(ModelSpec("cnn", width=8)) == ModelSpec("cnn", width=8)


def test_specifications_are_read_without_torch():
    code = "import sys, json, disobey.models.build as b; print(json.dumps(['torch' in sys.modules, len(b.MODELS)]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    torch_too, models = json.loads(done.stdout)
    assert not torch_too
    assert models == len(MODELS)
