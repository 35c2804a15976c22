"""State distillation and probes with planted truth: states that are a map of others, states that hold the answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from disobey.data.dataset import DataSpec
from disobey.data.sources.sequences import Sequences, word_problem
from disobey.models.spec import ModelSpec
from disobey.records.store import Store
from disobey.targets.schedule import distill
from disobey.training.execution.engine import run_all
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec, SequenceSpec, StateTeaching
from disobey.training.tasks.sequences.fitting import fit_sequences
from disobey.training.tasks.sequences.model import sequence_net
from disobey.training.tasks.sequences.probe import probe
from disobey.training.tasks.sequences.states import StateLesson, StateTies, scrambled, unexplained
from tests.support.refusals import refuses

SPEC = SequenceSpec(inner=8, rank=1, longest=4, lengths=(4, 6), count=16, powers=6)
OPTIM = OptimSpec("adamw", lr=1e-2, steps=8, batch=16, clip=1.0)
TEACHER = Recipe(DataSpec("sequence:S3"), ModelSpec("fixed_point", width=8), OPTIM, sequence=SPEC)


def tied(layer="fixed_point", teacher=TEACHER, **options):
    model = ModelSpec(layer, width=8)
    return replace(
        TEACHER, model=model, teacher=teacher, replica=1, sequence=replace(SPEC, states=StateTeaching(**options))
    )


def lesson_of(recipe, steps=8):
    run = Run(replace(recipe, optim=replace(recipe.optim, steps=steps)), 0)
    student, teacher = sequence_net(run.recipe, 0), sequence_net(recipe.teacher, 0)
    return run, student, teacher, StateLesson(run, student, teacher)


def test_unexplained_is_one_minus_the_share_of_variance():
    torch.manual_seed(0)
    wanted, noise = torch.randn(50, 9, 4), torch.randn(50, 9, 4)
    assert float(unexplained(wanted + 0.5 * noise, wanted)) == pytest.approx(0.25, rel=0.15)
    assert float(unexplained(100 * wanted, 100 * wanted + 3)) == pytest.approx(9 / 1e4, rel=0.15)  # free of scale


def test_a_map_is_found_where_there_is_one():
    """The teacher's states are an affine map of the student's: the lesson's ties find it without the student."""
    torch.manual_seed(0)
    ties = StateTies(5, 7, feeds=False)
    student, rotation = torch.randn(64, 6, 5), torch.randn(5, 7)
    teacher = student @ rotation + 3
    optimizer = torch.optim.Adam(ties.parameters(), lr=0.05)
    for _ in range(400):
        loss = unexplained(ties.explain(student), teacher)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    shuffled = scrambled(teacher, "time", torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert float(unexplained(ties.explain(student), teacher)) < 1e-3
        assert float(unexplained(ties.explain(student), shuffled)) > 0.5


def test_scrambling_keeps_the_words_states_or_the_batchs():
    torch.manual_seed(0)
    states, luck = torch.randn(6, 5, 3), torch.Generator().manual_seed(0)
    time, words = (scrambled(states, control, luck) for control in ("time", "words"))
    assert scrambled(states, "none", luck) is states
    assert torch.equal(time.sort(1).values, states.sort(1).values)  # every word keeps its own ...
    assert any(not torch.equal(a, b) for a, b in zip(time, states, strict=True))  # ... in another order
    rows = [next(i for i in range(6) if torch.equal(word, states[i])) for word in words]
    assert sorted(rows) == list(range(6))
    assert all(i != j for i, j in enumerate(rows))  # nobody gets its own
    with refuses("state-control", "rows"):
        scrambled(states, "rows", luck)


def test_the_lesson_teaches_states_and_leaves_the_teacher_alone():
    run, student, teacher, lesson = lesson_of(tied(weight=3.0), steps=60)
    before = [p.clone() for p in teacher.parameters()]
    fit_sequences(student, run, teacher, lesson=lesson)
    assert lesson.unexplained[-10:].mean() < 0.7 * lesson.unexplained[:3].mean()
    assert all(torch.equal(p, q) for p, q in zip(before, teacher.parameters(), strict=True))


def test_the_loss_is_weighted():
    tokens, losses = torch.arange(20).reshape(4, 5) % 6, []
    for weight in (1.0, 2.0):
        _, student, _, lesson = lesson_of(tied(weight=weight))
        losses.append(float(lesson(student, tokens, 0)[1].detach()))
    assert losses[1] == pytest.approx(2 * losses[0], rel=1e-5)


def test_a_mixer_is_fed_for_its_share_of_training_and_then_reads_itself():
    tokens = torch.randint(6, (4, 5), generator=torch.Generator().manual_seed(1))
    _, student, _, lesson = lesson_of(tied(feed=0.5))
    own, (fed, _), (after, loss) = student(tokens), lesson(student, tokens, 0), lesson(student, tokens, 4)
    assert torch.equal(after, own)
    assert torch.equal(fed[:, 0], own[:, 0])  # before the first state there is nothing to read
    assert not torch.allclose(fed[:, 1:], own[:, 1:], atol=1e-5)
    loss.backward()
    assert lesson.ties.feed is not None
    assert all(p.grad is not None for p in lesson.ties.parameters())
    # planted: where the map is the identity and the teacher the student itself, feeding changes nothing
    with torch.no_grad():
        lesson.ties.feed.weight.copy_(torch.eye(8))
        lesson.ties.feed.bias.zero_()
    lesson.teacher.load_state_dict(student.state_dict())
    torch.testing.assert_close(lesson(student, tokens, 0)[0], own)


@pytest.mark.parametrize("layer", ["fixed_point", "lstm", "diagonal_signed"])
def test_runs_with_states_are_recorded_and_are_other_runs(layer, tmp_path):
    run = Run(tied(layer))
    outcome = run_all([run], Store(tmp_path), workers=0)
    assert not outcome.failed, [f.message for f in outcome.failed.values()]
    curve = outcome.records[run].history["unexplained"]
    assert curve.shape == (8,)
    assert (curve > 0).all()
    assert Recipe.from_json(run.recipe.to_json()) == run.recipe
    assert run.recipe.key() != tied(layer, control="time").key()


def test_states_may_go_with_soft_answers(tmp_path):
    run = Run(replace(tied(), targets=distill(1.0)))
    assert not run_all([run], Store(tmp_path), workers=0).failed


@pytest.mark.parametrize(("options", "named"), [({"weight": 0.0}, "0.0"), ({"feed": 1.5}, "1.5")])
def test_teaching_refuses_nonsense(options, named):
    with refuses("state-teaching", named):
        StateTeaching(**options)


def planted(good_until):
    """States that hold the product, one-hot among noise, up to a position; then noise alone."""

    def states(words: Sequences):
        rng = np.random.default_rng(int(words.inputs.sum()))
        noise = rng.normal(size=(*words.targets.shape, 10))
        noise[..., :6] += 8 * np.eye(6)[words.targets] * (np.arange(words.targets.shape[1]) < good_until)[:, None]
        return 100 * noise + 7

    return states


def test_the_probe_finds_the_product_where_it_is_and_nowhere_else():
    fit, check, test = (word_problem("S3", 64, n, seed) for n, seed in ((4, 0), (4, 1), (9, 2)))
    found = probe(planted(6), fit, check, test)
    assert (found[:6] > 0.97).all()
    assert (found[6:] < 0.4).all()
    nothing = probe(planted(0), fit, check, test)
    assert nothing.mean() == pytest.approx(1 / 6, abs=0.06)
