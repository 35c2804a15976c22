"""Next-token prediction: causality, windows seen once, objectives, readings against slow ones, refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from disobey.data.dataset import DataSpec
from disobey.data.sources.passages import passages, resolved
from disobey.models.language import CausalTransformer
from disobey.models.spec import ModelSpec
from disobey.records.store import Store
from disobey.targets.schedule import distill, labels
from disobey.training.execution.engine import run_all
from disobey.training.facts import Facts
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec, Teaching
from disobey.training.tasks import TASKS, next_token
from disobey.training.tasks.next_token.network import LENGTH, Windows, language_model
from disobey.training.tasks.next_token.objective import TokenObjective
from disobey.training.tasks.next_token.readings import read_windows, readings
from tests.support.refusals import refuses

DATA = resolved(DataSpec("text:jinja2#128"))
TEACHER = Recipe(DATA, ModelSpec("causal-transformer", 16, 1), OptimSpec("adamw", 5e-3, 6, 2))
STUDENT = replace(TEACHER, teacher=TEACHER, replica=1)


def taught(**options):
    return replace(STUDENT, targets=distill(**options))


@torch.no_grad()
def test_no_token_sees_a_later_one():
    torch.manual_seed(0)
    model = CausalTransformer(50, 12, width=32, depth=2)
    tokens = torch.randint(50, (2, 12))
    changed = tokens.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % 50
    first, second = model(tokens), model(changed)
    torch.testing.assert_close(first[:, :7], second[:, :7])
    assert bool((first[:, 7] - second[:, 7]).abs().max() > 1e-4)


def test_every_window_is_seen_at_most_once_and_arms_share_them():
    count = len(passages(DATA).windows("train", LENGTH))
    steps = count // 8
    run = Run(replace(STUDENT, optim=OptimSpec(steps=steps, batch=8)), 3)
    batches = Windows(run)
    seen = torch.cat([batches(step) for step in range(steps)])
    assert seen.shape == (8 * steps, LENGTH + 1)
    assert sorted(batches.order.tolist()) == list(range(count))
    other = Windows(replace(run, recipe=replace(run.recipe, targets=distill(2.0))))
    assert torch.equal(batches(1), other(1))
    assert not torch.equal(batches(1), Windows(replace(run, recipe=replace(run.recipe, replica=0)))(1))


def test_a_run_repeats_to_the_bit_and_students_differ_in_their_targets(tmp_path):
    recipes = [replace(STUDENT, targets=labels()), taught(), taught(control="draws", amount=4.0)]
    runs = [Run(recipe, 0) for recipe in recipes]
    found = [run_all(runs, Store(tmp_path / name), workers=0) for name in ("a", "b")]
    assert not found[0].failed
    for run in runs:
        one, two = (outcome.records[run] for outcome in found)
        assert one.summary == two.summary
        np.testing.assert_array_equal(one.history["loss"], two.history["loss"])
        assert one.history["nll"].shape == one.history["kl"].shape
        assert one.history["mass"].shape == (128,)
    assert len({record.summary["nll"] for record in found[0].records.values()}) == 4


def test_the_objective_is_the_schedule():
    run = Run(taught(temperature=2.0, weight=0.5, control="bucket", amount=3.0), 0)
    model, teacher = language_model(run.recipe, 0), language_model(TEACHER, 0)
    batch = Windows(run)(0)
    loss = TokenObjective(run, teacher).backward(0, model, batch)
    logits, asked = (net(batch[:, :-1]).detach().flatten(0, 1).double() for net in (model, teacher))
    p, q = torch.softmax(asked / 2, -1), torch.softmax(logits / 2, -1)
    kept = p.topk(3, -1)
    rest = 1 - kept.values.sum(-1)
    listed = (kept.values * (kept.values / q.gather(-1, kept.indices)).log()).sum(-1)
    bucket = 4 * (listed + rest * (rest / (1 - q.gather(-1, kept.indices).sum(-1))).log())
    nll = -logits.log_softmax(-1).gather(-1, batch[:, 1:].reshape(-1, 1))[:, 0]
    torch.testing.assert_close(loss.double(), (0.5 * bucket + 0.5 * nll).mean(), rtol=1e-4, atol=1e-5)
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_readings_are_those_of_single_positions():
    model, teacher = language_model(STUDENT, 0).eval(), language_model(TEACHER, 0).eval()
    text = passages(DATA)
    found = readings(model, teacher, text, temperature=2.0)
    window = read_windows(text)[5]
    inputs = torch.from_numpy(window[None, :-1].copy())
    with torch.no_grad():
        q, t = model(inputs)[0].double().softmax(-1).numpy(), teacher(inputs)[0].double()
    p = t.softmax(-1).numpy()
    nll = [-np.log(q[i, y]) for i, y in enumerate(window[1:])]
    kl = [(p[i] * np.log(p[i] / q[i])).sum() for i in range(LENGTH)]
    right = [q[i].argmax() == y for i, y in enumerate(window[1:])]
    for name, values in (("nll", nll), ("kl", kl), ("right", right), ("overconfidence", q.max(axis=1) - right)):
        assert found[name][5] == pytest.approx(np.mean(values)), name
    assert found["mass"][-1] == pytest.approx(1)
    assert bool((np.diff(found["mass"]) >= 0).all())
    assert 1 / 128 <= found["collision"][0] <= 1


@pytest.mark.parametrize(
    ("recipe", "id"),
    [
        (replace(TEACHER, model=ModelSpec("mlp")), "language-network"),
        (replace(TEACHER, data=replace(DATA, train=5)), "language-data"),
        (replace(TEACHER, keep=(2,)), "language-weights"),
        (replace(taught(), teaching=Teaching(members=2)), "language-teacher"),
        (replace(taught(), teacher=replace(TEACHER, data=DataSpec("text:jinja2#130"))), "language-teacher"),
        (taught(control="class_mean"), "language-target"),
        (taught(control="bucket", loss="js"), "language-target"),
        (replace(TEACHER, optim=OptimSpec(steps=10_000)), "text-too-short"),
    ],
)
def test_what_cannot_run_is_refused_before_training(recipe, id):
    with refuses(id):
        next_token.check(Run(recipe, 0), Facts())


def test_text_belongs_to_this_task():
    assert TEACHER.task == "next_token"
    assert TASKS["next_token"] is next_token
    assert Recipe.from_json(taught(control="draws", amount=4.0).to_json()) == taught(control="draws", amount=4.0)
