"""What differs on a GPU: kernels, stacks of any network, teachers' tables made elsewhere. Skipped without one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from disobey.data.dataset import DataSpec
from disobey.diagnosis.input.predict import predict_pair
from disobey.models.mlp import MLP
from disobey.models.recurrent.fixed_point import FixedPointRNN
from disobey.models.recurrent.householder_kernel import runs_here
from disobey.models.recurrent.linear_rnn import linear_recurrence, scan_backend
from disobey.models.recurrent.reflection_walk import reflection_walk
from disobey.models.spec import ModelSpec
from disobey.records.store import Store
from disobey.studies import STUDIES
from disobey.targets.schedule import distill, labels, switch
from disobey.training.acceleration import Acceleration
from disobey.training.execution.engine import run_all
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
    pytest.mark.filterwarnings("ignore:Attempting to run cuBLAS"),  # the backward pass' thread, at its first product
]

DATA = DataSpec("mnist-5k", train=200)
OPTIM = OptimSpec(lr=0.01, steps=30, batch=32)
MODELS = {
    "mlp": ModelSpec("mlp", width=12),
    "deep-linear": ModelSpec("deep-linear", width=12, depth=2),
    "lenet": ModelSpec("lenet"),
    "resnet8": ModelSpec("resnet8"),
}


def pupil(name: str, **changes) -> Recipe:
    teacher = Recipe(DATA, MODELS["mlp"], OPTIM)
    return replace(Recipe(DATA, MODELS[name], OPTIM, distill(3.0), teacher, replica=1), **changes)


def answers(store: Store, runs: list[Run], device: str) -> list[np.ndarray]:
    outcome = run_all(runs, store, workers=0, device=device)
    assert not outcome.failed
    return [outcome.records[run].log_probs("test") for run in runs]


@pytest.mark.parametrize("name", list(STUDIES))
def test_every_study_runs(name, tmp_path):
    study = STUDIES[name].smoke()
    outcome = run_all(study.plan(), Store(tmp_path), workers=0, device="cuda")
    assert not outcome.failed
    study.analyze(outcome.records)


@pytest.mark.parametrize("name", list(MODELS))
def test_learns_what_the_processor_learns(name, tmp_path):
    """In few steps: on a CPU, weights perturbed by 1e-7 differ by up to 1% after 10 steps, 9% after 30 (ResNet-8)."""
    recipe = pupil(name, optim=replace(OPTIM, steps=10))
    runs = [Run(recipe, seed) for seed in (0, 1, 2)]
    here = answers(Store(tmp_path / "cpu"), runs, "cpu")
    there = answers(Store(tmp_path / "cuda"), runs, "cuda")
    untrained = answers(
        Store(tmp_path / "cpu"), [Run(replace(recipe, optim=replace(recipe.optim, lr=1e-9)), 0)], "cpu"
    )[0]
    for a, b in zip(here, there, strict=True):
        assert np.abs(a - b).mean() < 0.05 * np.abs(a - untrained).mean()


@pytest.mark.parametrize("name", list(MODELS))
def test_the_same_runs_give_the_same_bits(name, tmp_path):
    runs = [Run(pupil(name), seed) for seed in (0, 1)]
    once, again = (answers(Store(tmp_path / folder), runs, "cuda") for folder in ("a", "b"))
    for a, b in zip(once, again, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("name", ["mlp", "deep-linear", "lenet"])
def test_a_stack_gives_what_its_slices_give_alone(name, tmp_path):
    runs = [Run(pupil(name), seed) for seed in (0, 1, 2)]
    together = answers(Store(tmp_path / "together"), runs, "cuda")
    for run, a in zip(runs, together, strict=True):
        (b,) = answers(Store(tmp_path / f"alone{run.seed}"), [run], "cuda")
        assert np.abs(a - b).mean() < 0.01 * np.abs(a).mean()


CROPS = {"data": replace(DATA, augment="crop-flip"), "optim": replace(OPTIM, steps=10)}
CYCLE = replace(OPTIM, name="sgd", steps=10, decay="one-cycle", clip=1.0)


@pytest.mark.parametrize(
    "changes",
    [CROPS, {"optim": CYCLE}, {"targets": switch(labels(), distill(3.0), at=0.5), "optim": replace(OPTIM, steps=16)}],
    ids=["a table of the batches to come", "one cycle, clipped", "labels, then a teacher"],
)
@pytest.mark.parametrize("how", [Acceleration(capture=True), Acceleration(True, True)], ids=["captured", "both"])
def test_accelerated_steps_are_the_plain_ones_to_rounding(changes, how, tmp_path):
    run = Run(pupil("resnet8", **changes))
    (plain,) = answers(Store(tmp_path / "plain"), [run], "cuda")
    outcome = run_all([run], Store(tmp_path / "fast"), workers=0, device="cuda", acceleration=how)
    assert not outcome.failed
    record = outcome.records[run]
    assert "captured" in record.cost["step"], record.cost
    assert np.abs(record.log_probs("test") - plain).mean() < 0.05


def test_dropout_is_not_captured(tmp_path):
    run = Run(pupil("mlp", model=ModelSpec("vit", width=16, depth=1, dropout=0.2)))
    outcome = run_all([run], Store(tmp_path), workers=0, device="cuda", acceleration=Acceleration(capture=True))
    assert "dropout" in outcome.records[run].cost["not_accelerated"]


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_other_precisions_learn_the_same_to_their_rounding(precision, tmp_path):
    optim = replace(OPTIM, steps=10)
    plain, rounded = (
        answers(Store(tmp_path), [Run(pupil("resnet8", optim=replace(optim, precision=word)))], "cuda")[0]
        for word in ("float32", precision)
    )
    assert 0 < np.abs(plain - rounded).mean() < 0.5


def test_a_teacher_trained_on_the_processor_teaches_on_the_gpu(tmp_path):
    store, run = Store(tmp_path), Run(pupil("lenet"), 0)
    answers(store, list(run.teachers()), "cpu")
    assert np.isfinite(answers(store, [run], "cuda")[0]).all()


def test_the_scan_takes_its_kernel_and_agrees_at_length():
    generator = torch.Generator("cuda").manual_seed(0)
    for shape in ((2, 5000, 17), (1, 20_000, 3), (300, 40, 70)):
        decay = 2 * torch.rand(shape, generator=generator, device="cuda", dtype=torch.float64) - 1
        inputs = torch.randn(shape, generator=generator, device="cuda", dtype=torch.float64)
        assert scan_backend(inputs) == "triton"
        for reverse in (False, True):
            wanted = linear_recurrence(decay, inputs, reverse=reverse, backend="loop")
            torch.testing.assert_close(linear_recurrence(decay, inputs, reverse=reverse), wanted)


def test_the_walk_through_reflections_takes_its_kernel_and_agrees():
    generator = torch.Generator("cuda").manual_seed(0)

    def made(*shape):
        return torch.randn(shape, generator=generator, device="cuda", dtype=torch.float64)

    given = [made(3, 40, 4, 5, 24), made(3, 5, 24), made(3, 40, 5, 24), torch.sigmoid(made(3, 40, 24))]
    found = []
    for backend in ("triton", "loop", "auto"):
        own = [value.clone().requires_grad_() for value in given]
        states = reflection_walk(*own, backend=backend)
        states.sin().sum().backward()
        found.append([states.detach(), *(value.grad for value in own)])
    for other in found[1:]:
        torch.testing.assert_close(found[0], other)


@pytest.mark.parametrize(("rank", "dependent"), [(1, True), (2, False), (4, True)])
def test_the_householder_walk_takes_its_kernel_and_agrees(rank, dependent):
    torch.manual_seed(0)
    layer = FixedPointRNN(5, 24, rank=rank, state_dependent=dependent).double().cuda()
    x, found = torch.randn(3, 20, 5, dtype=torch.float64, device="cuda"), []
    assert runs_here(x, rank)
    for walk in (layer._walk, layer._generic_walk):
        layer._walk = walk  # type: ignore[method-assign]
        y, _ = layer(x)
        found.append([y, *torch.autograd.grad(y.sin().sum(), list(layer.parameters()))])
    torch.testing.assert_close(found[0], found[1])


def test_predict_pair_takes_models_where_they_are():
    teacher, student = MLP((4,), 3, width=8).cuda(), MLP((4,), 3, width=8).cuda()
    batches = [(torch.randn(16, 4), torch.randint(3, (16,))) for _ in range(3)]
    assert len(predict_pair(teacher, student, batches)) == 48
