"""The lines of the guide that save a pair do, and what they save is read as meant."""

import re
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.input.join import read_pair
from disobey.diagnosis.input.matrices import whole

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "diagnose.md").read_text(encoding="utf-8")


def _lines(name):
    """The code under the paragraph that starts with this name."""
    found = re.search(rf"^{name}.*?^```python\n(.*?)^```", GUIDE, re.M | re.S)
    assert found is not None, name
    return found[1]


def _saved(monkeypatch, folder, name, **given):
    monkeypatch.chdir(folder)
    exec(_lines(name), {"numpy": np, "torch": torch} | given)
    return read_pair(folder / "pair.npz")


def _nets():
    torch.manual_seed(0)
    return [nn.Linear(4, 3).bfloat16() for _ in range(2)]


def test_pytorch(tmp_path, monkeypatch):
    teacher, student = _nets()
    x, y = torch.randn(30, 4).bfloat16(), torch.randint(3, (30,))
    loader = [(x[:20], y[:20]), (x[20:], y[20:])]
    pair = _saved(monkeypatch, tmp_path, "PyTorch", teacher=teacher, student=student, loader=loader)
    np.testing.assert_allclose(whole(pair.students["student"]), student(x).detach().float().numpy(), atol=1e-6)
    np.testing.assert_array_equal(pair.labels, y.numpy())
    assert gather(pair).n == 30


def test_causal_language_models(tmp_path, monkeypatch):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(100, 100)

        def forward(self, input_ids):
            return types.SimpleNamespace(logits=self.table(input_ids).bfloat16())

    torch.manual_seed(0)
    teacher, student, ids = Model(), Model(), torch.randint(100, (3, 12))
    trainer = types.SimpleNamespace(teacher_model=teacher, model=student)
    pair = _saved(monkeypatch, tmp_path, "TRL", trainer=trainer, ids=ids)
    assert pair.topk.ids.shape == (33, 64)
    found = gather(pair)
    q = student(ids).logits[:, :-1].float().softmax(-1).flatten(0, 1).detach()
    listed = q.gather(1, torch.tensor(whole(pair.topk.ids))).sum(1).numpy()
    np.testing.assert_allclose(found.sparse["student_mass"], listed, atol=1e-5)
    np.testing.assert_array_equal(pair.labels, ids[:, 1:].flatten().numpy())
    np.testing.assert_array_equal(pair.topk.student_top, q.argmax(1).numpy())


@pytest.mark.filterwarnings("ignore")
def test_transformers_trainer(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(4, 3)

        def forward(self, inputs, labels=None):
            logits = self.net(inputs)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    torch.manual_seed(0)
    rows = [{"inputs": torch.randn(4), "labels": i % 3} for i in range(20)]
    arguments = transformers.TrainingArguments(output_dir=str(tmp_path), report_to=[], use_cpu=True, disable_tqdm=True)
    models = Model(), Model()
    trainers = [transformers.Trainer(model, arguments) for model in models]
    pair = _saved(
        monkeypatch, tmp_path, "Transformers", teacher_trainer=trainers[0], student_trainer=trainers[1], dataset=rows
    )
    expected = models[0].net(torch.stack([row["inputs"] for row in rows])).detach().numpy()
    np.testing.assert_allclose(whole(pair.teacher), expected, atol=1e-6)
    np.testing.assert_array_equal(pair.labels, np.arange(20) % 3)
