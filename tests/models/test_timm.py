"""`timm:NAME`, with a stand-in for the library (which needs torchvision), and with the library where it is."""

import importlib
import sys
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch import nn

from disobey.models.build import build, resolve
from disobey.models.spec import ModelSpec, model_spec, spec_text
from tests.support.refusals import refuses


class Net(nn.Sequential):
    feature_info = ({"module": "0"},)
    pretrained_cfg: ClassVar = {"fixed_input_size": True, "input_size": (3, 8, 8)}


@pytest.fixture
def timm(monkeypatch):
    def create(name, pretrained, num_classes, in_chans):
        if pretrained:
            raise OSError("no network")
        return Net(nn.Flatten(), nn.Linear(in_chans * 64, num_classes))

    fake = SimpleNamespace(
        __version__="1.0", is_model=lambda name: name == "net", list_models=lambda: ["net"], create_model=create
    )
    monkeypatch.setitem(sys.modules, "timm", fake)
    return fake


def test_words():
    spec = model_spec("timm:resnet18.a1_in1k#random")
    assert spec == ModelSpec("timm:resnet18.a1_in1k", weights=False)
    assert spec_text(spec) == "timm:resnet18.a1_in1k#random"
    assert model_spec(spec_text(model_spec("hf:a/b"))) == ModelSpec("hf:a/b")


def test_a_model_of_fixed_size_gets_it(timm):
    net = build(model_spec("timm:net#random"), shape=(1, 28, 28), classes=3)
    assert net(torch.zeros(2, 1, 28, 28)).shape == (2, 3)
    assert net.feature_names == {"layer1": "model.0"}


def test_refusals(timm, monkeypatch):
    with refuses("unknown-timm", "timm:net"):
        build(ModelSpec("timm:nett"), shape=(1, 8, 8), classes=3)
    with refuses("timm-weights", "no network", "#random"):
        build(ModelSpec("timm:net"), shape=(1, 8, 8), classes=3)
    with refuses("model-kind"):
        build(ModelSpec("timm:net"), shape=(9,), classes=3)
    planned = resolve(model_spec("timm:net#random"))
    timm.__version__ = "1.1"
    with refuses("changed-model"):
        build(planned, shape=(1, 8, 8), classes=3)
    monkeypatch.setitem(sys.modules, "timm", None)
    with refuses("no-timm", "disobey[timm]"):
        build(ModelSpec("timm:net"), shape=(1, 8, 8), classes=3)


def test_the_real_library():
    try:
        importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision for another build of torch
        pytest.skip(f"timm cannot be imported: {error}")
    net = build(model_spec("timm:resnet10t#random"), shape=(1, 28, 28), classes=3)
    assert net(torch.zeros(2, 1, 28, 28)).shape == (2, 3)
    assert len(net.feature_names) > 2
