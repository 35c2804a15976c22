"""The callbacks record what the student says along training, disturb nothing, and their file is a pair again."""

import numpy as np
import pytest
import torch
from torch import nn

import disobey
from disobey.integrations.trajectory import Trajectory
from disobey.records.results import Chart, Table

pytestmark = pytest.mark.filterwarnings("ignore")  # third parties' own deprecations


def _data(n=64):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(n, 4, generator=rng)
    return x, x[:, :3] * 3


def _net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def _checked(trajectory, path, last):
    assert trajectory.steps[0] == 0
    assert trajectory.steps[-1] == last
    result = trajectory.result()
    assert len(result.of(Chart)) == 4
    found = trajectory.estimates()
    assert found[last]["kl"].value < found[0]["kl"].value  # it learns from its teacher
    assert len(result.of(Table)[0].rows) == len(trajectory.steps)
    diagnosis = disobey.diagnose(path)
    assert any(f.name == "best of many" for f in diagnosis.blocks if hasattr(f, "status"))
    with np.load(path) as saved:
        np.testing.assert_array_equal(saved[f"student/step{last}"], trajectory.students[-1])


def test_lightning(tmp_path):
    pl = pytest.importorskip("lightning.pytorch")
    from disobey.integrations.lightning import DiagnoseCallback

    x, teacher = _data()

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = _net()

        def training_step(self, batch, _):
            assert self.net.training
            x, t = batch
            return nn.functional.kl_div(self.net(x).log_softmax(1), t.softmax(1), reduction="batchmean")

        def configure_optimizers(self):
            return torch.optim.Adam(self.net.parameters(), 0.05)

    def run(callbacks):
        pl.seed_everything(0, verbose=False)
        module = Module()
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, teacher), batch_size=16)
        trainer = pl.Trainer(
            max_epochs=5,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            accelerator="cpu",
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, loader)
        return module

    watch = DiagnoseCallback(
        teacher,
        [x[:32], x[32:]],
        teacher.argmax(1),
        every=6,
        path=tmp_path / "t.npz",
        student=lambda module: module.net,
    )
    watched, alone = run([watch]), run([])
    for a, b in zip(watched.net.parameters(), alone.net.parameters(), strict=True):
        assert torch.equal(a, b)  # recording changes nothing
    assert watch.trajectory.steps == [0, 6, 12, 18, 20]
    _checked(watch.trajectory, tmp_path / "t.npz", 20)


def test_transformers_trainer(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from disobey.integrations.transformers import DiagnoseCallback

    x, teacher = _data()

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = _net()

        def forward(self, inputs, labels=None):
            logits = self.net(inputs)
            loss = (
                None
                if labels is None
                else nn.functional.kl_div(logits.log_softmax(1), labels.softmax(1), reduction="batchmean")
            )
            return {"loss": loss, "logits": logits}

    rows = [{"inputs": x[i], "labels": teacher[i]} for i in range(len(x))]
    watch = DiagnoseCallback(teacher, [{"inputs": x}], teacher.argmax(1), every=8, path=tmp_path / "t.npz")
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=16,
        num_train_epochs=5,
        learning_rate=0.05,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy="no",
    )
    transformers.Trainer(Model(), arguments, train_dataset=rows, callbacks=[watch]).train()
    assert watch.trajectory.steps == [0, 8, 16, 20]
    _checked(watch.trajectory, tmp_path / "t.npz", 20)


def test_trajectory_by_hand_and_its_refusals(tmp_path):
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(40, 3))
    watch = Trajectory(teacher, every=10)
    recorded = [watch.record(step, lambda step=step: teacher * (1 + step) / 10) for step in range(25)]
    assert [i for i, done in enumerate(recorded) if done] == [0, 10, 20]
    assert watch.result().summary.startswith("After 20 steps")
    with pytest.raises(ValueError, match="teacher's shape"):
        watch.record(30, lambda: teacher[:9])
    with pytest.raises(ValueError, match="at least one recorded step"):
        Trajectory(teacher).result()
    with pytest.raises(ValueError, match="every"):
        Trajectory(teacher, every=0)
