"""No code that a model's folder brings along is ever run, whatever standard input answers."""

import contextlib
import io
import json
import os
import sys

import pytest

from disobey.models.build import build, resolve
from disobey.models.spec import ModelSpec

os.environ["HF_HUB_OFFLINE"] = "1"
pytest.importorskip("transformers")

CODE = """
from pathlib import Path
Path({marker!r}).write_text("ran")
from transformers import PretrainedConfig, PreTrainedModel
class Config(PretrainedConfig):
    model_type = "mine"
class Model(PreTrainedModel):
    config_class = Config
"""


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "evil.py").write_text(CODE.format(marker=str(tmp_path / "marker")))
    about = {"AutoConfig": "evil.Config", "AutoModelForSequenceClassification": "evil.Model"}
    (path / "config.json").write_text(json.dumps({"model_type": "mine", "auto_map": about, "vocab_size": 50}))
    return path


@pytest.mark.parametrize("weights", [True, False])
def test_a_yes_on_standard_input_runs_nothing(folder, tmp_path, monkeypatch, weights):
    """Transformers asks "[y/N]" where ``trust_remote_code`` is left out; a "y" ran the folder's code."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 20))
    monkeypatch.setattr("builtins.input", lambda *args: "y")
    spec = ModelSpec(f"hf:{folder}", weights=weights)
    for use in (resolve, lambda spec: build(spec, shape=(6,), classes=2, vocabulary=10)):
        with contextlib.suppress(ValueError):
            use(spec)
        assert not (tmp_path / "marker").exists()


def test_nor_at_the_door_of_diagnose(folder, tmp_path, monkeypatch):
    from disobey.diagnosis.input.hub import load_model

    monkeypatch.setattr("builtins.input", lambda *args: "y")
    with pytest.raises(ValueError, match="model"):
        load_model(str(folder), "teacher")
    assert not (tmp_path / "marker").exists()


def test_every_call_of_the_libraries_says_so():
    """The doors of Transformers and datasets in the source, counted: each says ``trust_remote_code=False``."""
    import ast
    from pathlib import Path

    import disobey

    doors, shut = 0, 0
    for path in Path(disobey.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in ("from_pretrained", "from_config"):
                    doors += 1
                    shut += any(
                        k.arg == "trust_remote_code" and getattr(k.value, "value", None) is False for k in node.keywords
                    )
                elif node.func.attr == "load_dataset":
                    doors += 1
                    shut += any(k.arg is None for k in node.keywords)  # where the version knows it
    assert doors == shut >= 8
