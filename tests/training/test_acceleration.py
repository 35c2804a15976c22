"""Compiled, captured and rounded steps: the same runs, resumable, and refused or given up where they cannot be had."""

from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from disobey.cli.main import main
from disobey.cli.options import Common
from disobey.data.dataset import DataSpec
from disobey.models.spec import ModelSpec
from disobey.records.store import Store
from disobey.targets.schedule import distill, labels, switch
from disobey.training import accelerated
from disobey.training.accelerated import Captured, forward_pass, obstacle, step_of
from disobey.training.acceleration import Acceleration
from disobey.training.devices import deterministic
from disobey.training.execution.engine import run_all
from disobey.training.execution.pools import worker_pool
from disobey.training.loop import fit
from disobey.training.prepare import SharedInputs, prepared
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec, SequenceSpec
from disobey.training.train import train
from tests.support.refusals import refuses
from tests.training.test_savepoint import content, interrupted

DATA = DataSpec("digits-8x8", train=100)
OPTIM = OptimSpec("sgd", 0.05, steps=12, batch=16, decay="one-cycle")
CNN = Recipe(DATA, ModelSpec("resnet8", width=4), OPTIM)
STUDENT = replace(CNN, targets=distill(2.0), teacher=CNN, replica=1)
ROUNDED = replace(CNN, optim=replace(OPTIM, precision="bfloat16"))
COMPILED = Acceleration(compile=True)


@pytest.fixture
def quick_compiler(monkeypatch):
    """Traces as the compiler does and computes as ever: seconds instead of half a minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))


def finished(run, folder, **options):
    outcome = run_all([run], Store(folder), workers=0, device="cpu", **options)
    assert not outcome.failed
    return outcome.records[run]


def test_what_decides_a_result_is_in_the_key_and_nothing_else():
    changes = [{"precision": "tf32"}, {"precision": "bfloat16"}, {"decay": "one-cycle-linear"}, {"decay": "cosine"}]
    keys = {replace(CNN, optim=replace(OPTIM, **change)).key() for change in changes}
    assert len({CNN.key(), *keys}) == 5
    assert replace(CNN, optim=replace(OPTIM, precision="float32")).key() == CNN.key()
    assert Recipe.from_json(ROUNDED.to_json()) == ROUNDED


def test_bfloat16_keeps_weights_and_answers_in_float32(tmp_path):
    plain, rounded = finished(Run(CNN), tmp_path), finished(Run(ROUNDED), tmp_path)
    weights = load_file(rounded.weights(None))
    assert {v.dtype for v in weights.values() if v.is_floating_point()} == {torch.float32}
    a, b = np.array(plain.log_probs("test")), np.array(rounded.log_probs("test"))
    assert b.dtype == np.float32
    assert 0 < np.abs(a - b).mean() < 1.0
    _, inverse = np.frexp(b)  # answers are computed in float32: they use more digits than bfloat16 has
    assert (np.ldexp(b, 8 - inverse) % 1 != 0).any()


def test_gradients_reach_float32_weights_through_a_rounded_pass():
    torch.manual_seed(0)
    model, x = torch.nn.Linear(6, 3), torch.randn(5, 6)
    logits = forward_pass(model, "bfloat16", torch.device("cpu"))(x)
    assert logits.dtype == torch.float32
    logits.backward(torch.ones_like(logits))
    assert model.weight.grad is not None
    assert model.weight.grad.dtype == torch.float32
    torch.testing.assert_close(logits, model(x), rtol=0.02, atol=0.02)


def test_a_student_of_a_rounded_teacher_trains_in_a_rounded_pass(tmp_path):
    run = Run(replace(ROUNDED, targets=distill(2.0), teacher=ROUNDED, replica=1))
    assert np.isfinite(finished(run, tmp_path).summary["test_accuracy"])


@pytest.mark.parametrize(
    ("recipe", "how"), [(ROUNDED, Acceleration()), (CNN, COMPILED)], ids=["one cycle, bfloat16", "compiled"]
)
def test_resumed_runs_end_with_the_same_bits(recipe, how, tmp_path, quick_compiler):
    run = Run(recipe)
    whole = content(train(run, Store(tmp_path / "whole"), device="cpu", acceleration=how))
    store = interrupted(run, tmp_path / "again", (7,), acceleration=how)
    seen = []

    class Watcher:
        every = 1

        def record(self, step, model, losses):
            seen.append(step)

    assert content(train(run, store, device="cpu", observers=[Watcher()], acceleration=how)) == whole
    assert seen == list(range(7, 13))


def test_a_checkpoint_of_a_compiled_run_is_not_read_by_a_plain_one(tmp_path, quick_compiler):
    run = Run(CNN)
    store = interrupted(run, tmp_path / "again", (7,), acceleration=COMPILED)
    assert content(train(run, store, device="cpu")) == content(train(run, Store(tmp_path / "whole"), device="cpu"))


def test_compiling_changes_the_last_bits_at_most(tmp_path, quick_compiler):
    plain = finished(Run(STUDENT), tmp_path / "plain")
    said = []
    fast = finished(Run(STUDENT), tmp_path / "fast", acceleration=COMPILED, say=said.append)
    assert fast.cost["step"] == "compiled"
    assert "step" not in plain.cost
    assert fast.path.name == plain.path.name
    np.testing.assert_allclose(fast.log_probs("test"), plain.log_probs("test"), atol=1e-4)
    assert not said
    again = run_all([Run(STUDENT)], Store(tmp_path / "fast"), workers=0, device="cpu")
    assert Run(STUDENT) in again.reused


@pytest.mark.slow
def test_the_real_compiler_agrees_to_rounding(tmp_path):
    plain, fast = finished(Run(ROUNDED), tmp_path / "plain"), finished(Run(CNN), tmp_path / "plain")
    compiled = finished(Run(CNN), tmp_path / "fast", acceleration=COMPILED)
    assert compiled.cost.get("step") == "compiled" or "compiling failed" in str(compiled.cost["not_accelerated"])
    np.testing.assert_allclose(compiled.log_probs("test"), fast.log_probs("test"), atol=1e-3)
    rounded = finished(Run(ROUNDED), tmp_path / "fast", acceleration=COMPILED)
    assert np.abs(np.array(rounded.log_probs("test")) - np.array(plain.log_probs("test"))).mean() < 0.5


def test_a_compiler_that_fails_leaves_the_bits_of_a_plain_run_and_is_mentioned_once(tmp_path, monkeypatch):
    def broken(_model, **_options):
        def network(_inputs):
            raise RuntimeError("no compiler\nhere")

        return network

    plain = content(finished(Run(CNN), tmp_path / "plain"))
    monkeypatch.setattr(torch, "compile", broken)
    said, runs = [], [Run(CNN), Run(replace(CNN, replica=1))]
    outcome = run_all(runs, Store(tmp_path / "fast"), workers=0, device="cpu", acceleration=COMPILED, say=said.append)
    record = outcome.records[runs[0]]
    assert content(record) == plain
    assert "step" not in record.cost
    assert "RuntimeError: no compiler" in str(record.cost["not_accelerated"])
    assert len(said) == 1


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [(CNN, "GPUs only"), (replace(CNN, model=ModelSpec("mlp", width=8), optim=OptimSpec(steps=5, batch=16)), "stack")],
)
def test_what_cannot_be_captured_is_trained_plainly_and_said(recipe, reason, tmp_path):
    said = []
    finished(Run(recipe), tmp_path, acceleration=Acceleration(capture=True), say=said.append)
    assert len(said) == 1
    assert reason in said[0]


def test_the_command_line_asks_for_it(tmp_path, capsys):
    (tmp_path / "recipe.json").write_text(CNN.to_json())
    words = ["train", str(tmp_path / "recipe.json"), "--out", str(tmp_path / "runs"), "--workers", "0", "--quiet"]
    assert main([*words, "--device", "cpu", "--capture"]) == 0
    assert "GPUs only" in capsys.readouterr().err
    assert Common(compile=True, capture=True).acceleration == Acceleration(True, True)


def test_tf32_needs_a_gpu(tmp_path):
    run = Run(replace(CNN, optim=replace(OPTIM, precision="tf32")))
    with refuses("tf32-without-gpu"):
        run_all([run], Store(tmp_path), workers=0, device="cpu")
    with refuses("tf32-without-gpu"):
        train(run, Store(tmp_path), device="cpu")


def test_only_classifiers_choose_their_precision():
    with refuses("precision-of-task"):
        Recipe(
            DataSpec("sequence:S3"),
            ModelSpec("lstm", width=8),
            replace(OPTIM, precision="bfloat16"),
            sequence=SequenceSpec(),
        )


@pytest.mark.parametrize(("field", "value"), [("precision", "float16"), ("decay", "two-cycles")])
def test_unknown_words_are_refused(field, value, tmp_path):
    with refuses("unknown-choice", field):
        run_all([Run(replace(CNN, optim=replace(OPTIM, **{field: value})))], Store(tmp_path), workers=0, device="cpu")


def test_tf32_is_switched_by_the_recipe_and_put_back():
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, products.allow_tf32
    for precision, wanted in (("float32", False), ("tf32", True), ("bfloat16", False)):
        with deterministic(torch.device("cuda"), precision):
            assert (cudnn.allow_tf32, products.allow_tf32) == (wanted, wanted)
        assert (cudnn.allow_tf32, products.allow_tf32) == before


@pytest.mark.parametrize(("memory", "workers"), [(80 << 30, 6), (9 << 30, 2), (1 << 30, 1)])
def test_workers_share_a_gpu_by_its_memory(memory, workers, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _i: SimpleNamespace(total_memory=memory))
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: range(6), raising=False)
    assert worker_pool("auto", "cuda").size == workers
    assert worker_pool("auto", "cpu").size == 6


def test_a_full_gpu_says_what_to_try(tmp_path, monkeypatch):
    def full(*_inputs):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nand more")

    monkeypatch.setattr("disobey.training.tasks.classification.step_of", full)
    failure = run_all([Run(CNN)], Store(tmp_path), workers=0, device="cpu").failed[Run(CNN)]
    assert failure.id == "gpu-memory"


# A GPU's graph, imitated: a replay does the captured pass again, from the same memory and into the same memory.


class Graph:
    """Stands for `torch.cuda.CUDAGraph`; ``again`` is the pass that was captured, ``loss`` what it returned."""

    def __init__(self, imitation):
        self.imitation = imitation

    def replay(self):
        self.imitation.replays += 1
        for parameter, _ in self.gradients:
            parameter.grad = None
        loss = self.imitation.backward(*self.again)
        with torch.no_grad():
            self.loss.copy_(loss)
            for parameter, gradient in self.gradients:
                gradient.copy_(parameter.grad)


class Imitation:
    """The parts of `torch.cuda` that a capture uses, on the processor; ``backward`` is what is captured."""

    def __init__(self, one, monkeypatch):
        self.one, self.replays, self.last = one, 0, None
        stream = SimpleNamespace(wait_stream=lambda _other: None)
        for name, value in {
            "Stream": lambda _device: stream,
            "current_stream": lambda _device: stream,
            "stream": lambda _stream: nullcontext(),
            "get_rng_state": lambda _device: torch.get_rng_state(),
            "CUDAGraph": lambda: Graph(self),
            "graph": self.capture,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)

    def backward(self, step, model, batch):
        loss = self.one.objective.backward(step, model, batch)
        self.last = (step, model, batch), loss
        return loss

    @contextmanager
    def capture(self, graph):
        """Nothing is computed while a real graph is captured: what the pass moved is put back."""
        model = self.one.model
        before = {name: value.clone() for name, value in model.state_dict().items()}
        yield
        model.load_state_dict(before)
        (graph.again, graph.loss), graph.gradients = self.last, [(p, p.grad) for p in model.parameters()]


CROPS = replace(DATA, augment="crop-flip")
CAPTURED = {
    "labels": (CNN, 1),
    "a table by example": (STUDENT, 1),
    "a table of the batches to come": (replace(STUDENT, data=CROPS), 1),
    "a table of views": (replace(STUDENT, data=replace(CROPS, train=1), optim=replace(OPTIM, steps=11)), 1),
    "labels, then a teacher": (replace(STUDENT, targets=switch(labels(), distill(2.0), at=0.5)), 2),
    "clipped": (replace(CNN, optim=replace(OPTIM, clip=0.1)), 1),
}


@pytest.mark.parametrize("name", CAPTURED)
def test_replayed_steps_have_the_bits_of_plain_ones(name, tmp_path, monkeypatch):
    recipe, graphs = CAPTURED[name]
    run, store = Run(recipe), Store(tmp_path)
    for teacher in run.teachers():
        train(teacher, store, device="cpu")
    plain, one = (prepared(run, SharedInputs(store, torch.device("cpu"))) for _ in range(2))
    wanted = fit(plain.model, run, plain.batches, plain.objective.backward)
    imitation = Imitation(one, monkeypatch)
    captured = Captured(imitation.backward, one.objective, torch.device("cpu"))
    got = fit(one.model, run, one.batches, captured)
    assert torch.equal(got.losses, wanted.losses)
    for a, b in zip(one.model.state_dict().values(), plain.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert len(captured.graphs) == graphs
    assert imitation.replays == len(one.order) - graphs * accelerated.WARM


def test_a_network_that_draws_is_not_captured(tmp_path, monkeypatch):
    run = Run(replace(CNN, model=ModelSpec("vit", width=16, depth=1, dropout=0.2)))
    one = prepared(run, SharedInputs(Store(tmp_path), torch.device("cpu")))
    imitation = Imitation(one, monkeypatch)
    captured = Captured(imitation.backward, one.objective, torch.device("cpu"))
    fit(one.model, run, one.batches, captured)
    assert not captured.graphs
    assert "dropout" in captured.reason


def test_a_capture_that_fails_leaves_plain_steps(tmp_path, monkeypatch):
    one = prepared(Run(CNN), SharedInputs(Store(tmp_path), torch.device("cpu")))
    imitation = Imitation(one, monkeypatch)

    @contextmanager
    def failing(_graph):
        raise RuntimeError("operation not permitted when stream is capturing")
        yield

    monkeypatch.setattr(torch.cuda, "graph", failing)
    captured = Captured(imitation.backward, one.objective, torch.device("cpu"))
    losses = fit(one.model, one.run, one.batches, captured).losses
    assert torch.isfinite(losses).all()
    assert "not permitted" in captured.reason


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"data": replace(DATA, augment="mixup")}, "mixup"),
        ({"targets": switch(labels(), labels(0.1), at=0.2, over=0.5)}, "objective"),
        ({}, ""),
    ],
)
def test_obstacles_are_seen_beforehand(change, word, tmp_path):
    one = prepared(Run(replace(CNN, **change)), SharedInputs(Store(tmp_path), torch.device("cpu")))
    assert "GPUs only" in obstacle(one)
    there = SimpleNamespace(
        run=one.run, objective=one.objective, order=SimpleNamespace(rows=SimpleNamespace(device=torch.device("cuda")))
    )
    assert word in obstacle(there) if word else obstacle(there) == ""


def test_a_run_of_no_steps_is_not_compiled(tmp_path, quick_compiler):
    run = Run(replace(CNN, optim=replace(OPTIM, stop=0)))
    one = prepared(run, SharedInputs(Store(tmp_path), torch.device("cpu")))
    assert step_of(one, COMPILED).how == ()
