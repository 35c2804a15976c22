"""`dense-prediction`: its arms are paired, images carry the error of the test set, and its pictures are of the maps."""

from dataclasses import replace

import numpy as np
import pytest

from disobey.figures.overlays import GAP, STUDENT, colours_of, disagreement, panels
from disobey.measures.inference.runs import example_error
from disobey.records.results import Claim, Gallery
from disobey.records.store import Store
from disobey.studies.dense_prediction.study import JUDGED, DensePrediction
from disobey.studies.deviation.study import Deviation
from disobey.studies.kit.boxes import AP
from disobey.studies.kit.evidence import CONTROL, IOU, Evidence
from disobey.studies.kit.setup import Setup
from disobey.training.execution.engine import run_all
from disobey.training.recipe import Run
from tests.support.refusals import refuses


@pytest.fixture(scope="module")
def study(smoke_runs):
    return smoke_runs.records("dense-prediction")


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    """The study on boxes, with finished runs."""
    setup = Setup(data="scenes-boxes#examples=64,size=16", seeds=(0, 1), steps=60, batch=8)
    made = DensePrediction(setup, "detector:4", label_noise=(0.2,))
    outcome = run_all(made.plan(), Store(tmp_path_factory.mktemp("boxes")), workers=0)
    assert not outcome.failed
    return made, outcome.records


def test_students_differ_in_their_targets_alone():
    arms = DensePrediction.smoke().arms(0.2)
    plain = arms["distilled"]
    for arm in arms.values():
        assert replace(arm.recipe, targets=plain.recipe.targets) == plain.recipe
        assert arm.control == plain.control
    assert len({arm.recipe for arm in arms.values()}) == 5
    assert plain.control is not None
    assert plain.control.teacher is None


def test_claims_and_overlays_of_the_smoke_runs(study):
    made, records = study
    result = made.analyze(records)
    claims = [block for block in result.blocks if isinstance(block, Claim)]
    assert " ".join(claim.id for claim in claims) == "D1 train D1 test D2 train D2 test D3 D4 D5 D6 P1 P2"
    assert claims[5].evidence[0].name.startswith("mean IoU")
    (gallery,) = (block for block in result.blocks if isinstance(block, Gallery))
    height, width = np.array(gallery.exhibits[0].image).shape[:2]
    assert (height, width) == (4 * (2 * 16 + GAP), 4 * (3 * 16 + 2 * GAP))


def test_the_error_of_a_score_is_over_images_and_that_of_a_difference_is_paired(study):
    made, records = study
    e = Evidence.read(made.design(), records, JUDGED, ("test",))
    arm = made.levels()[0].arms["distilled"]
    for measure in ("student_accuracy", IOU):
        table = e.right(arm, of=measure)
        assert table is not None
        assert table.shape == (2, 24)
        np.testing.assert_allclose(table.mean(axis=1), e.per_seed(arm, measure), atol=1e-12)
        other = e.right(arm.control_arm(), of=measure)
        assert other is not None
        found = e.example_error(arm, minus=CONTROL, of=measure)
        assert found == pytest.approx(example_error(table - other))


def test_boxes_have_the_same_claims_with_average_precision_and_pictures_of_boxes(boxes):
    made, records = boxes
    result = made.analyze(records)
    claims = [block for block in result.blocks if isinstance(block, Claim)]
    assert " ".join(claim.id for claim in claims) == "D1 train D1 test D2 train D2 test D3 D4 D5 D6 P1 P2"
    assert claims[5].evidence[0].name.startswith("average precision")
    assert claims[5].evidence[0].over == "runs and examples"
    (gallery,) = (block for block in result.blocks if isinstance(block, Gallery))
    assert np.array(gallery.exhibits[0].image).shape[2] == 3


def test_the_average_precision_of_a_run_is_that_of_its_summary_and_the_mean_over_its_images(boxes):
    made, records = boxes
    e = Evidence.read(made.design(), records, JUDGED, ("test",))
    arm = made.levels()[0].arms["distilled"]
    found = e.per_seed(arm, AP)
    kept = [records[Run(arm.recipe, seed)].summary["test_ap"] for seed in e.seeds]
    np.testing.assert_allclose(found, kept, atol=1e-6)
    table = e.right(arm, of=AP)
    assert table is not None
    assert table.shape == (2, 24)
    np.testing.assert_allclose(table.mean(axis=1), found, atol=1e-12)
    assert np.unique(np.asarray(e.predictions(arm).groups)).tolist() == ["crowded", "free"]


def test_a_disagreement_map_says_who_is_right():
    image, labels = np.full((2, 2, 3), 100.0), np.array([[1, 1], [0, 0]])
    teacher, student = np.array([[1, 0], [0, 2]]), np.array([[0, 1], [0, 1]])
    shown = disagreement(image, teacher, student, labels)
    assert shown[0, 1].tolist() == STUDENT.tolist()
    assert shown[1, 0].tolist() == [120.0] * 3
    assert len({tuple(shown[0, 0]), tuple(shown[0, 1]), tuple(shown[1, 1])}) == 3
    sheet = panels(None, None, teacher, student)
    times = sheet.shape[1] // (2 * 2 + GAP)
    assert sheet.shape == (times * (2 * 2 + GAP), times * (2 * 2 + GAP), 3)
    assert not np.array_equal(colours_of(teacher), colours_of(student))


def test_studies_of_classifiers_run_on_classes_of_pixels(tmp_path):
    setup = Setup(data="scenes#examples=64,size=16", seeds=(0, 1), steps=4, batch=8)
    study = Deviation(setup, "unet:4", students=("self",), temperatures=(4.0,), label_noise=(0.0,))
    outcome = run_all(study.plan(), Store(tmp_path), workers=0)
    assert not outcome.failed
    result = study.analyze(outcome.records)
    assert len([block for block in result.blocks if isinstance(block, Claim)]) == 6
    (gallery,) = (block for block in result.blocks if isinstance(block, Gallery))
    assert np.array(gallery.exhibits[0].image).shape == (16, 16, 3)
    assert "the pixel in row" in gallery.exhibits[0].text


def test_refusals():
    with refuses("bad-caution"):
        DensePrediction(caution=1.5)
