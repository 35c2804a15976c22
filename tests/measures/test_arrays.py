"""`disobey.measure` says what `over_examples` says, from whatever arrays somebody holds."""

import numpy as np
import torch

from disobey import measure
from disobey.measures.agreement import MEASURES
from disobey.measures.arrays import EVERYDAY
from disobey.measures.inference.examples import over_examples
from disobey.measures.inference.measure import minus_twin
from disobey.records.predictions import Predictions
from tests.support.refusals import refuses

RNG = np.random.default_rng(0)
TEACHER = RNG.normal(size=(200, 4))
STUDENT, TWIN = (TEACHER + RNG.normal(scale=s, size=TEACHER.shape) for s in (0.5, 1.0))
LABELS = TEACHER.argmax(1)


def test_numbers_are_those_of_the_engine():
    found = measure(STUDENT, TEACHER, LABELS, twin=TWIN)
    p = Predictions.from_logits(TEACHER, STUDENT, LABELS, twin=TWIN)
    assert found["agreement"] == over_examples(MEASURES["agreement"], p)
    assert found["kl.minus_twin"] == over_examples(minus_twin(MEASURES["kl"]), p)
    assert set(EVERYDAY) <= set(found)
    assert "teacher_accuracy.twin" not in found


def test_tensors_lists_and_no_labels():
    from_tensor = measure(torch.tensor(STUDENT, requires_grad=True), torch.tensor(TEACHER), names=("agreement",))
    assert from_tensor == measure(STUDENT.tolist(), TEACHER.tolist(), names=("agreement",))
    assert "student_accuracy" not in measure(STUDENT, TEACHER)


def test_refusals():
    with refuses("unknown-measure", "agreemint"):
        measure(STUDENT, TEACHER, names=("agreemint",))
    with refuses("measure-needs", "ece"):
        measure(STUDENT, TEACHER, names=("ece",))
    with refuses("shapes-differ"):
        measure(STUDENT[:, :3], TEACHER)
