"""Runs on sequences: the same store and engine, words from seeds, pools, teachers and refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from disobey.data.dataset import DataSpec
from disobey.data.sources.sequences import group, prefix_products
from disobey.models.recurrent.solvers import Exact, Iterate
from disobey.models.spec import ModelSpec
from disobey.records.store import Store
from disobey.targets.schedule import Term, distill, labels
from disobey.training.execution.engine import run_all
from disobey.training.recipe import Recipe, Run
from disobey.training.seeds import stream_seed
from disobey.training.specs import HeadSpec, OptimSpec, SequenceSpec, StateTeaching, Teaching
from disobey.training.tasks.sequences.batches import (
    SequenceBatches,
    evaluation_sequences,
    powers_of,
    sequences_of,
    tracks_state,
)
from disobey.training.tasks.sequences.consistency import inconsistency
from disobey.training.tasks.sequences.evaluation import evaluation
from disobey.training.tasks.sequences.fitting import fit_sequences
from disobey.training.tasks.sequences.heads import head_arrays
from disobey.training.tasks.sequences.model import check_sequence, layer_options, sequence_net, solver_of
from disobey.training.tasks.sequences.objective import sequence_loss
from tests.support.refusals import refuses

SPEC = SequenceSpec(inner=8, rank=1, longest=4, lengths=(4, 6), count=16, powers=6)
FED = replace(SPEC, states=StateTeaching(feed=0.5))
OPTIM = OptimSpec("adamw", lr=3e-3, steps=5, batch=8, clip=1.0)


def recipe(layer="fixed_point", task="S3", spec=SPEC, **changes):
    return Recipe(DataSpec(f"sequence:{task}"), ModelSpec(layer, width=8), OPTIM, sequence=spec, **changes)


def test_a_recipe_on_sequences_survives_json_and_old_keys_stay():
    r = recipe(spec=replace(SPEC, sweeps=4, budgets=(1, 2)))
    assert Recipe.from_json(r.to_json()) == r
    assert Recipe().key() == "44136fa355b3678a1146"
    assert recipe().key() != recipe(spec=replace(SPEC, scale=2.0)).key()


def test_task_and_options_come_together():
    with refuses("task-options", "sequence:S3"):
        Recipe(DataSpec("sequence:S3"))
    with refuses("task-options", "mnist-5k"):
        Recipe(sequence=SPEC)


@pytest.mark.parametrize(
    ("changes", "id"),
    [
        ({"shortest": 5}, "training-lengths"),
        ({"sweeps": -1}, "negative-sequence-option"),
        ({"budgets": (4, -1)}, "negative-sequence-option"),
        ({"lengths": ()}, "nothing-to-evaluate"),
        ({"sweeps": 4, "gradient": "ift"}, "gradient-without-solution"),
    ],
)
def test_specs_refuse_nonsense(changes, id):
    with refuses(id):
        replace(SPEC, **changes)


@pytest.mark.parametrize(
    ("bad", "id"),
    [
        (recipe(layer="cnn"), "sequence-layer"),
        (recipe(task="Q8"), "unknown-sequence-task"),
        (recipe(keep=(1,)), "sequence-weights"),
        (recipe(teaching=Teaching(members=2)), "sequence-teaching"),
        (recipe(spec=replace(SPEC, start="teacher")), "no-teacher"),
        (recipe(teacher=Recipe(), targets=distill()), "sequence-teacher"),
        (recipe(task="copying", spec=replace(SPEC, words=5)), "pool-of-whole-sequences"),
        (recipe(spec=replace(SPEC, states=StateTeaching())), "no-teacher"),
        (recipe("lstm", spec=FED, teacher=recipe()), "mixer-not-fed"),
        (recipe(spec=replace(SPEC, states=StateTeaching()), teacher=recipe("transformer")), "no-vector-state"),
        (recipe("transformer", spec=replace(SPEC, probe=True)), "no-vector-state"),
        (recipe(task="copying", spec=replace(SPEC, probe=True)), "probe-without-answers"),
    ],
)
def test_what_cannot_run_is_refused_before_training(bad, id, tmp_path):
    with refuses(id):
        run_all([Run(bad)], Store(tmp_path), workers=0)


@pytest.mark.parametrize(
    ("bad", "named"),
    [(recipe(task="brackets"), "expected.*length"), (recipe(spec=replace(SPEC, rank=9)), "expected a rank.*9")],
)
def test_what_data_and_layers_refuse_is_refused_before_training(bad, named, tmp_path):
    with pytest.raises(ValueError, match=named):
        run_all([Run(bad)], Store(tmp_path), workers=0)


def test_runs_resume_repeat_and_are_read_back(tmp_path):
    runs = [Run(recipe(), 0), Run(recipe("lstm"), 0)]
    first = run_all(runs, Store(tmp_path / "a"), workers=0)
    assert not first.failed
    assert run_all(runs, Store(tmp_path / "a"), workers=0).reused == set(runs)
    again = run_all(runs, Store(tmp_path / "b"), workers=0)
    for run in runs:
        a, b = first.records[run], again.records[run]
        assert a.summary == b.summary
        assert all(np.array_equal(a.history[name], b.history[name]) for name in a.history)
    record = first.records[runs[0]]
    assert record.history["loss"].shape == (5,)
    assert record.history["eval_last"].shape == (1, 2)
    assert record.history["eval_powers"].shape == (1, 6)
    assert set(record.summary) == {"last_token_accuracy_at_4", "last_token_accuracy_at_6", "parameters", "final_loss"}


def test_an_untrained_run_is_a_record_too(tmp_path):
    run = Run(replace(recipe(spec=replace(SPEC, probe=True)), optim=replace(OPTIM, stop=0)), 0)
    record = run_all([run], Store(tmp_path), workers=0).records[run]
    assert record.history["loss"].shape == (0,)
    assert "final_loss" not in record.summary
    trained, fresh = record.history["eval_probe"]
    assert trained.shape == (6,)
    assert np.array_equal(trained, fresh)


def test_a_diverging_run_is_a_recorded_failure(tmp_path):
    wild = replace(recipe("lstm"), optim=replace(OPTIM, lr=1e38, clip=None, steps=8))
    outcome = run_all([Run(wild)], Store(tmp_path), workers=0)
    assert outcome.failed[Run(wild)].id == "diverged"


def test_arms_share_words_and_replicas_share_pools_only():
    one, two = SequenceBatches(Run(recipe("lstm"), 3)), SequenceBatches(Run(recipe("fixed_point"), 3))
    assert all(np.array_equal(one.draw(k).inputs, two.draw(k).inputs) for k in range(5))
    assert not np.array_equal(one.draw(0).inputs[:, :2], SequenceBatches(Run(recipe("lstm"), 4)).draw(0).inputs[:, :2])
    pooled = replace(SPEC, words=3)
    a, b = (SequenceBatches(Run(recipe("lstm", spec=pooled, replica=i), 3)) for i in (0, 1))
    assert a.pool is not None
    assert b.pool is not None
    assert np.array_equal(a.pool.inputs, b.pool.inputs)
    assert not np.array_equal(a.rows, b.rows)


def test_streams_of_their_own_draw_other_sequences_and_pools():
    """Old recipes keep the streams that they borrowed: their keys and their sequences are those of stored runs."""
    assert recipe().key() == recipe(spec=replace(SPEC, streams="borrowed")).key()
    pooled = replace(SPEC, words=3)
    borrowed, own = (SequenceBatches(Run(recipe(spec=replace(pooled, streams=s)), 3)) for s in ("borrowed", "own"))
    assert not np.array_equal(borrowed.pool.inputs, own.pool.inputs)
    borrowed, own = (SequenceBatches(Run(recipe(spec=replace(SPEC, streams=s)), 3)) for s in ("borrowed", "own"))
    assert np.array_equal(borrowed.lengths, own.lengths)
    assert not np.array_equal(borrowed.draw(0).inputs, own.draw(0).inputs)
    assert borrowed.first == stream_seed(3, "views")
    assert own.first == stream_seed(3, "words")
    new = recipe(spec=replace(SPEC, streams="own"))
    assert new.key() != recipe().key()
    assert Recipe.from_json(new.to_json()) == new


def test_words_of_a_pool_are_its_prefixes_and_correctly_labelled():
    batches = SequenceBatches(Run(recipe(spec=replace(SPEC, words=3)), 0))
    assert batches.pool is not None
    whole = {tuple(word) for word in batches.pool.inputs}
    for step in range(5):
        words = batches.draw(step)
        length = words.inputs.shape[1]
        assert {tuple(word) for word in words.inputs} <= {word[:length] for word in whole}
        assert np.array_equal(words.targets, prefix_products(words.inputs, group("S3")))


def test_tasks_by_name():
    assert [tracks_state(t) for t in ("S3", "parity", "copying", "brackets")] == [True, True, False, False]
    assert powers_of("copying", 5) is None
    assert np.array_equal(sequences_of("S3", 4, 6, 1).inputs, sequences_of("S3", 4, 6, 1).inputs)
    assert np.array_equal(
        evaluation_sequences("parity", 4, 6).targets, evaluation_sequences("parity", 4, 6).inputs.cumsum(1) % 2
    )


def test_solvers_follow_the_spec():
    assert solver_of(SPEC) == Exact()
    assert solver_of(replace(SPEC, sweeps=3)) == Iterate(3, 0.0, "unroll", 3)
    assert solver_of(replace(SPEC, sweeps=9, tol=0.1, gradient="one_step")).gradient == "one_step"  # type: ignore[union-attr]
    assert layer_options("lstm", SPEC) == {}
    assert layer_options("fixed_point", replace(SPEC, normalize=False))["normalize_state"] is False
    assert layer_options("fixed_point_mamba", replace(SPEC, state_dependent=False))["reads"] == ()


def test_evaluation_is_right_for_a_model_that_is():
    """A planted truth: a table lookup in place of the network tracks the group without an error."""
    r = recipe("lstm")

    class Knows(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(1, 1)

        def forward(self, tokens):
            answers = torch.as_tensor(prefix_products(tokens.numpy(), group("S3")))
            if self.training:  # wrong from the fourth answer on
                answers[:, 3:] = (answers[:, 3:] + 1) % 6
            return torch.nn.functional.one_hot(answers, 6).float()

    found = evaluation(Knows().eval(), r)  # type: ignore[arg-type]
    assert (found["eval_last"] == 1).all()
    assert (found["eval_whole"] == 1).all()
    assert (found["eval_powers"] == 1).all()
    found = evaluation(Knows().train(), r)  # type: ignore[arg-type]
    assert (found["eval_last"] == 0).all()
    assert (found["eval_whole"] == 0).all()
    assert np.allclose(found["eval_answers"], [[3 / 4, 3 / 6]])
    assert np.allclose(found["eval_powers"], [[1, 1, 1, 0, 0, 0]])


def test_budgets_at_test_are_those_of_the_solver():
    r = recipe(spec=replace(SPEC, budgets=(1, 64)))
    model = sequence_net(r, 0)
    found = evaluation(model, r)
    assert found["eval_budgets"].tolist() == [0, 1, 64]
    assert np.array_equal(
        found["eval_last"][0], found["eval_last"][2]
    )  # 64 sweeps have converged to the exact solution
    assert model.layers[0].solver == Exact()
    assert (np.diff(found["eval_sweeps"]) >= 0).all()
    assert found["eval_residuals"][-1] < 1e-3 < found["eval_residuals"][0]
    assert (found["eval_radius"] < 1).all()


def test_the_objective_is_the_schedules():
    logits, wanted = torch.randn(7, 6), torch.randn(7, 6)
    right = torch.arange(7) % 6
    generator = torch.Generator()

    def loss(schedule):
        return float(sequence_loss(schedule.at(0.0), logits, right, lambda: wanted, generator))

    assert loss(labels()) == pytest.approx(float(torch.nn.functional.cross_entropy(logits, right)), rel=1e-5)
    mixed = loss(distill(2.0, weight=0.25))
    assert mixed == pytest.approx(0.25 * loss(distill(2.0)) + 0.75 * loss(labels()), rel=1e-5)
    best = float(torch.nn.functional.cross_entropy(logits, wanted.argmax(-1)))
    assert loss(distill(1.0, control="argmax")) == pytest.approx(best, rel=1e-5)
    with refuses("label-control", "spare_student"):
        sequence_loss((Term(control="spare_student"),), logits, right, lambda: wanted, generator)


def test_a_student_listens_to_its_teacher_and_starts_from_its_weights(tmp_path):
    teacher = recipe()
    idle = replace(OPTIM, lr=0.0)
    student = replace(recipe(), optim=idle, teacher=teacher, targets=distill(), replica=1)
    warm = replace(student, sequence=replace(SPEC, start="teacher"))
    outcome = run_all([Run(student), Run(warm)], Store(tmp_path), workers=0)
    assert not outcome.failed, [f.message for f in outcome.failed.values()]
    records = outcome.records
    assert np.allclose(records[Run(warm)].history["loss"], 0, atol=1e-5)  # it is its teacher, and does not move
    assert (records[Run(student)].history["loss"] > 1e-3).all()
    assert np.array_equal(records[Run(warm)].history["eval_last"], records[Run(teacher)].history["eval_last"])


def test_training_learns():
    r = replace(recipe("lstm", "parity"), optim=replace(OPTIM, lr=1e-2, steps=120, batch=32))
    model = sequence_net(r, 0)
    check_sequence(Run(r))
    losses = fit_sequences(model, Run(r)).losses
    assert losses[-10:].mean() < 0.2 < losses[:5].mean()
    assert evaluation(model.eval(), r)["eval_answers"][0, 0] > 0.9


def test_lengths_grow_with_the_step_and_batches_count_tokens():
    spec = replace(SPEC, longest=16, grow=0.5, tokens=640, streams="own")
    r = replace(recipe("reflections", spec=replace(spec, heads=HeadSpec(2, 2))), optim=replace(OPTIM, steps=200))
    batches = SequenceBatches(Run(r, 0))
    tops = [batches.lengths[i : i + 20].max() for i in range(0, 200, 20)]
    assert tops[0] <= 5
    assert max(tops[5:]) == 16
    shapes = {batches.draw(step).inputs.shape for step in range(0, 200, 7)}
    assert all(count == max(32, 640 // length) for count, length in shapes)
    other = SequenceBatches(Run(replace(r, model=ModelSpec("lstm", width=8)), 0))
    assert np.array_equal(other.draw(150).inputs, batches.draw(150).inputs)  # arms of a seed see the same words


def test_constant_words_are_a_share_of_the_batch_with_right_answers():
    r = recipe(spec=replace(SPEC, constant=0.5, streams="own"))
    drawn = SequenceBatches(Run(r, 0)).draw(3)
    same = (drawn.inputs == drawn.inputs[:, :1]).all(axis=1)
    assert same[: len(same) // 2].all()
    assert np.array_equal(drawn.targets, prefix_products(drawn.inputs, group("S3")))
    plain = SequenceBatches(Run(recipe(spec=replace(SPEC, streams="own")), 0)).draw(3)
    assert np.array_equal(drawn.inputs[len(same) // 2 :], plain.inputs[len(same) // 2 :])


@pytest.mark.parametrize(
    ("spec", "task", "id"),
    [
        ({"grow": 1.5}, "S3", "sequence-shares"),
        ({"tokens": 64, "words": 8}, "S3", "pool-with-new-words"),
        ({"constant": 0.5}, "copying", "constant-words"),
        ({"heads": HeadSpec(3)}, "S3", "heads"),
    ],
)
def test_new_options_are_refused_where_they_mean_nothing(spec, task, id):
    with refuses(id):
        check_sequence(Run(recipe("reflections", task, replace(SPEC, **spec))))


def test_accuracy_by_position_ends_at_the_last_answer():
    r = recipe("reflections", spec=replace(SPEC, heads=HeadSpec(2, 2), budgets=(1, 6)))
    found = evaluation(sequence_net(r, 0).eval(), r)
    assert found["eval_positions"].shape == found["eval_prefixes"].shape == (3, 6)
    assert np.allclose(found["eval_positions"][:, -1], found["eval_last"][:, -1])
    assert np.allclose(found["eval_prefixes"][:, -1], found["eval_whole"][:, -1])
    assert (np.diff(found["eval_prefixes"]) <= 0).all()
    assert np.allclose(found["eval_positions"][2], found["eval_positions"][0])  # 6 sweeps are exact at 6 positions


def test_consistency_is_nothing_for_a_tracker_and_something_else_for_others():
    on = group("Z2")
    model = sequence_net(recipe("elman", "Z2"), 0)
    states = torch.randn(2, 3)  # of the two letters

    class Planted:
        head = model.head

        def trace(self, tokens):
            return None, states[tokens]

    words = torch.randint(2, (4, 5))
    products = torch.as_tensor(prefix_products(words.numpy(), on))
    assert float(inconsistency(Planted(), states[products], products)) == 0.0  # type: ignore[arg-type]
    other = inconsistency(Planted(), states[1 - products], products)  # type: ignore[arg-type]
    far = (states[0] - states[1]).square().sum() * 20 / states[products].square().sum()
    assert float(other) == pytest.approx(float(far), rel=1e-5)


def test_consistency_changes_training_and_has_gradients():
    plain, tied = (recipe("reflections", spec=replace(SPEC, heads=HeadSpec(2, 2), consistency=c)) for c in (0.0, 5.0))
    check_sequence(Run(tied, 0))
    models = [sequence_net(r, 0) for r in (plain, tied)]
    losses = [fit_sequences(m, Run(r, 0)).losses for m, r in zip(models, (plain, tied), strict=True)]
    assert losses[0][0] == losses[1][0]  # the answers' loss is written down, without the tie
    assert not torch.equal(losses[0][2:], losses[1][2:])
    late = recipe("reflections", spec=replace(SPEC, heads=HeadSpec(2, 2), consistency=5.0, grow=0.8))
    same = replace(late, sequence=replace(late.sequence, consistency=0.0))
    losses = [fit_sequences(sequence_net(r, 0), Run(r, 0)).losses for r in (late, same)]
    assert torch.equal(losses[0][:4], losses[1][:4])  # of five steps, the tie begins with the last
    with refuses("consistency"):
        check_sequence(Run(recipe("reflections", "copying", replace(SPEC, heads=HeadSpec(2), consistency=1.0)), 0))
    with refuses("no-vector-state"):
        check_sequence(Run(recipe("transformer", spec=replace(SPEC, consistency=1.0)), 0))


def test_heads_of_a_representation_compose_and_others_do_not():
    r = recipe("reflections", "Z2", replace(SPEC, heads=HeadSpec(2, 1), inner=4))
    model = sequence_net(r, 0)
    layer = model.layers[0]
    found = head_arrays(model, "Z2")
    assert found["eval_traces"].shape == (2, 2)
    assert found["eval_orbit"].shape == (2, 2)
    assert (found["eval_composition"] > 0.1).all()  # one reflection each: no letter can be the identity
    with torch.no_grad():
        layer.to_keys.weight.zero_()
        layer.to_keys.bias.zero_()  # keys of nothing reflect nothing: all letters are the identity
    still = head_arrays(model, "Z2")
    assert np.allclose(still["eval_composition"], 0)
    assert np.allclose(still["eval_traces"], 2)
