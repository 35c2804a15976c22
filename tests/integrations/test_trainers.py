"""Distillation inside other trainers: what they train is what a plain loop trains, and the examples run."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import disobey
from disobey import KDLoss, distill
from tests.support.refusals import refuses

pytestmark = pytest.mark.filterwarnings("ignore")  # third parties' own deprecations
EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _data(n=48):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(n, 4, generator=rng)
    return x, x[:, :3] * 3, x[:, :3].argmax(1)


def _net():
    torch.manual_seed(1)
    return nn.Linear(4, 3)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_transformers_trains_as_a_plain_loop(tmp_path, accumulate):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from disobey.integrations.transformers import CachedTeacher

    x, teacher, y = _data()

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = _net()

        def forward(self, inputs, labels=None):
            return {"logits": self.net(inputs)}

    kd = CachedTeacher(teacher, distill(2.0, weight=0.7))
    arguments = transformers.TrainingArguments(
        str(tmp_path),
        max_steps=1,
        per_device_train_batch_size=48 // accumulate,
        gradient_accumulation_steps=accumulate,
        optim="sgd",
        learning_rate=0.5,
        max_grad_norm=0,
        lr_scheduler_type="constant",
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=True,
    )
    model = Model()
    rows = [{"inputs": x[i], "labels": int(y[i])} for i in range(len(x))]
    trainer = transformers.Trainer(
        model,
        arguments,
        train_dataset=kd.rows(rows),
        eval_dataset=rows[:6],
        data_collator=kd.collator,
        compute_loss_func=kd.loss,
        callbacks=[kd],
    )
    trainer.train()
    plain = _net()
    KDLoss(distill(2.0, weight=0.7))(plain(x), y, teacher).backward()
    expected = plain.weight - 0.5 * plain.weight.grad
    assert torch.allclose(model.net.weight, expected, atol=1e-6)
    evaluated = trainer.evaluate()["eval_loss"]
    with torch.no_grad():
        assert evaluated == pytest.approx(nn.functional.cross_entropy(model.net(x[:6]), y[:6]).item(), abs=1e-5)


def test_lightning_holds_the_teacher_outside_of_checkpoint_and_optimizer():
    pl = pytest.importorskip("lightning.pytorch")
    from disobey.integrations.lightning import Distilled, HoldTeacher

    x, _, y = _data()
    torch.manual_seed(3)
    teacher = nn.Linear(4, 3).train()

    class Module(Distilled, pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = _net()

        def training_step(self, batch, _):
            return self.kd_loss(batch[0], self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.5)

    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "max_steps": 1,
    }
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=48)
    module = Module()
    pl.Trainer(**quiet, callbacks=[HoldTeacher(teacher, distill(2.0))]).fit(module, loader)
    plain = _net()
    KDLoss(distill(2.0))(plain(x), y, teacher(x)).backward()
    assert torch.allclose(module.net.weight, plain.weight - 0.5 * plain.weight.grad, atol=1e-6)
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())
    assert set(module.state_dict()) == {"net.weight", "net.bias"}
    with refuses("no-held-teacher", "HoldTeacher"):
        pl.Trainer(**quiet).fit(Module(), loader)


def test_top_k_pairs_hold_what_the_models_say(tmp_path):
    transformers = pytest.importorskip("transformers")
    from disobey.integrations.trl import SaveTopK

    def model(seed):
        torch.manual_seed(seed)
        return transformers.GPT2LMHeadModel(
            transformers.GPT2Config(n_embd=8, n_layer=1, n_head=1, n_positions=8, vocab_size=11)
        )

    teacher, student = model(0), model(1).train()
    tokens = torch.randint(11, (5, 6), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(tokens)
    mask[0, 4:] = 0
    save = SaveTopK(
        teacher, [{"input_ids": tokens[:3], "attention_mask": mask[:3]}, {"input_ids": tokens[3:]}], tmp_path, k=4
    )
    state = transformers.TrainerState(global_step=0)
    save.on_train_begin(None, state, None, model=student)
    save.on_train_end(None, state, None, model=student)  # the same step: once
    assert save.written == [tmp_path / "step0.npz"]
    assert student.training
    with np.load(save.written[0]) as kept, torch.no_grad():
        says = student.eval()(input_ids=tokens).logits[:, :-1].log_softmax(-1)[3:].flatten(0, 1)
        ids = torch.from_numpy(kept["topk_ids"].astype(np.int64))
        assert len(ids) == 23  # 5 sequences of 5 scored tokens, two of them padding
        np.testing.assert_allclose(kept["topk_student"][-10:], says.gather(1, ids[-10:]), atol=1e-5)
        assert (np.diff(kept["topk_teacher"], axis=1) <= 0).all()
    assert disobey.diagnose(save.written[0]).summary
    with refuses("top-k-range"):
        SaveTopK(teacher, [], tmp_path, k=0)


@pytest.mark.slow
def test_example_of_transformers(tmp_path):
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    assert example("transformers_trainer").main(str(tmp_path)) > 0.8


@pytest.mark.slow
def test_example_of_lightning():
    pytest.importorskip("lightning")
    assert example("lightning_module").main() > 0.8


@pytest.mark.slow
def test_example_of_trl(tmp_path):
    try:
        from trl import SFTTrainer  # noqa: F401
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"trl cannot be imported: {error}")
    written = example("trl_top_k").main(str(tmp_path))
    assert [path.name for path in written] == ["step0.npz", "step30.npz", "step60.npz"]
    assert disobey.diagnose(written[-1]).summary
