"""The study denoising: whole in smoke, theory that is right and one that is wrong, readings against plain autograd."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from disobey.data.load import load
from disobey.data.tensors import inputs_tensor
from disobey.studies.denoising import theory
from disobey.studies.denoising.gradients import CROSS, KD, ONE_HOT, _fresh, read
from disobey.studies.denoising.study import Denoising
from disobey.studies.denoising.theory import Grid
from disobey.theory.class_similarity import predicted_ratios
from disobey.training.restore import trained
from tests.support.refusals import refuses


@pytest.fixture(scope="module")
def smoke(ran):
    return ran(Denoising.smoke())


@pytest.fixture(scope="module")
def reading(smoke):
    study, records = smoke
    paired = study.paired(study.cases()[0], 0)
    return paired, read(paired, records, study.steps, study.temperatures, own_step=study.steps[1], fresh=study.fresh)


def test_smoke_says_everything_and_the_same_again(smoke, says):
    says(*smoke, {f"D{i}" for i in range(1, 10)})


def slow_gradient(model, x, loss):
    model.zero_grad()
    loss(model(x)).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()]).double()


def test_alignments_equal_plain_autograd(smoke, reading):
    study, records = smoke
    paired, found = reading
    dataset = load(paired.student.recipe.data, 0)
    x, told = inputs_tensor(dataset, "train"), torch.from_numpy(dataset.train.observed)
    new_x, new_y = _fresh(paired.student, dataset, study.fresh)
    teacher = torch.from_numpy(np.array(records[paired.teacher].log_probs("train")))
    t = max(study.temperatures)
    for moment in (*study.steps, None):
        model = trained(paired.student, records[paired.student], dataset, moment)
        truth = slow_gradient(model, new_x, lambda z: t * t * F.cross_entropy(z / t, new_y))
        one_hot = slow_gradient(model, x, lambda z: t * t * F.cross_entropy(z / t, told))
        soft = F.softmax(teacher / t, 1)
        kd = slow_gradient(model, x, lambda z, p=soft: t * t * F.cross_entropy(z / t, p))
        for signal, gradient in (((ONE_HOT, None, t), one_hot), ((KD, None, t), kd)):
            expected = float(F.cosine_similarity(gradient, truth, dim=0))
            assert found.cosines[moment, signal] == pytest.approx(expected, abs=1e-4)


def test_the_large_sample_is_fresh_and_true(smoke, reading):
    study, _ = smoke
    paired, _ = reading
    dataset = load(paired.student.recipe.data, 0)
    x, y = _fresh(paired.student, dataset, study.fresh)
    mine = {row.numpy().tobytes() for row in inputs_tensor(dataset, "train")}
    assert not mine & {row.numpy().tobytes() for row in x}
    assert len(x) == len(y) == study.fresh
    whole = replace(study, setup=replace(study.setup, train=None))
    paired = whole.paired(whole.cases()[0], 0)
    with pytest.raises(ValueError, match="the rest is the large sample"):
        _fresh(paired.student, load(paired.student.recipe.data, 0), 100)


def test_cross_fitted_parts_cover_the_sample(smoke, reading):
    _, records = smoke
    paired, found = reading
    ids = records[paired.student].examples["train.ids"]
    saw = np.stack([np.isin(ids, records[f].examples["train.ids"]) for f in paired.folds])
    assert (saw.sum(0) == len(paired.folds) - 1).all()
    assert (CROSS, None, 4.0) in {signal for _, signal in found.cosines}
    assert found.similarity.shape == (10, 10)
    np.testing.assert_allclose(found.similarity.sum(1), 1, atol=1e-5)
    for near, other in found.flips.values():
        assert 0 <= near <= 1
        assert 0 <= other <= 1


GRID = Grid((0.0, 0.6), (0.3,), (120,), examples=600, classes=6, draws=16)


def test_theory_is_found_right_and_a_wrong_theory_wrong(monkeypatch):
    measured = theory.simulations(GRID)
    assert {c.verdict for c in theory.agreement(measured).claims} <= {"supported", "undecided"}
    wrong = lambda model: replace(predicted_ratios(model), zeroed=2.0)
    monkeypatch.setattr(theory, "predicted_ratios", wrong)
    assert theory.agreement(measured).claims[2].verdict == "contradicted"


def test_without_similarity_the_teacher_is_worse():
    claims = theory.without_similarity(theory.simulations(GRID)).claims
    assert claims[0].verdict == "supported"
    assert claims[0].setting.startswith("b=0")


@pytest.mark.parametrize(
    ("options", "id"), [({"folds": 1}, "folds"), ({"moments": ()}, "moments"), ({"temperatures": ()}, "temperatures")]
)
def test_bad_options_are_refused(options, id):
    with refuses(id):
        Denoising(**options)
