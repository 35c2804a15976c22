"""`deviation` and `loss-switching` from end to end with every published kind of network, on itself and across."""

import json

import pytest

from disobey.records.results import Claim
from disobey.records.store import Store
from disobey.studies.deviation.study import Deviation
from disobey.studies.kit.setup import Setup
from disobey.studies.loss_switching.study import LossSwitching
from disobey.training.execution.engine import run_all

IMAGES = (
    ("resnet8:4", ("self", "vit:8x1")),
    ("resnet20:4", ("resnet8:4", "resnet8-ln:4")),
    ("mobilenet-v2:8", ("self", "resnet8:4")),
    ("vit:8x1", ("self", "vit-bn:8x1")),
    ("vit-bn:8x1", ("self",)),
)
TEXTS = (("text-transformer:16x1", ("self", "text-bag:8")), ("text-bag:8", ("text-transformer:16x1",)))
ROBERTA = {
    "model_type": "roberta",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "vocab_size": 100,
}


def both_studies(data, teacher, students, tmp_path):
    """Both studies in one store, whose teachers and controls they share."""
    setup = Setup(data, train=100, seeds=(0, 1), steps=3, batch=16, lr=0.01)
    store = Store(tmp_path)
    of = {"early": 0.0, "label_noise": (0.2,)}
    switching = LossSwitching(setup, teacher, switch_points=(0.0, 0.5, 1.0), student=students[0], **of)
    for study in (Deviation(setup, teacher, students=students, temperatures=(4.0,), **of), switching):
        outcome = run_all(study.plan(), store, workers=0, device="cpu")
        assert not outcome.failed, [failure.message for failure in outcome.failed.values()]
        result = study.analyze(outcome.records)
        assert {claim.name[0] for claim in result.of(Claim)} == ({"C"} if study.name == "deviation" else {"S"})
    assert outcome.reused  # the ends of the axis are the runs of `deviation`


def test_a_network_with_batch_norm_and_one_without_any_convolution(tmp_path):
    both_studies("digits-8x8", *IMAGES[0], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("teacher", "students"), IMAGES[1:])
def test_networks_of_images(teacher, students, tmp_path):
    both_studies("digits-8x8", teacher, students, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("teacher", "students"), TEXTS)
def test_networks_of_texts(teacher, students, tmp_path):
    both_studies("languages", teacher, students, tmp_path)


@pytest.mark.slow
def test_a_configuration_of_transformers_without_weights(tmp_path):
    pytest.importorskip("transformers")
    folder = tmp_path / "roberta"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(ROBERTA))
    both_studies("languages", f"hf:{folder}#random", ("self", "text-bag:8"), tmp_path / "runs")
