"""Every option of every study does something: another value gives another plan, or another result of the same runs."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from disobey.studies import STUDIES
from disobey.studies.kit.options import changed, options
from tests.support.refusals import refuses

OTHER = {  # another value of every option, by name; of a study alone as (study, name)
    "data": "mnist-5k",
    "train": 150,
    "augment": "crop",
    "seeds": (3, 4),
    "steps": 12,
    "batch": 20,
    "lr": 0.007,
    "optimizer": "adamw",
    "decay": "steps",
    "weight_decay": 0.03,
    "precision": "bfloat16",
    "teacher": "mlp:12",
    "early": 0.5,
    # training and judging
    "temperature": 1.0,
    "temperatures": (2.0, 4.0),
    "label_noise": (0.1,),
    "weight": 0.7,
    "student": "mlp:6",
    "students": ("mlp:6",),
    "models": ("mlp:6",),
    "switch_points": (0.0, 0.4, 1.0),
    "windows": (0.2,),
    "teachers": ("early",),
    "depths": (3,),
    "ages": (0.6,),
    "momentum": 0.5,
    "cases": 300,
    "moments": (0.5,),
    "folds": 3,
    "fresh": 100,
    # planted models
    "similarities": (0.0, 0.3),
    "noises": (0.4,),
    "features": (90,),
    "examples": 120,
    "classes": 3,
    "draws": 5,
    # without a teacher
    "structures": ("plain",),
    "smoothings": (0.2,),
    "amounts": (0.5,),
    "after": 0.4,
    "groups": (0, 0, 0, 0, 0, 1, 1, 1, 1, 1),
    # sizes
    "arms": ("A0", "A1"),
    "sizes": (20, 200, 400),
    "points": 4,
    "first": 3,
    "budgets": ("steps",),
    "patience": 2.0,
    "epochs": 10.0,
    "regimes": ("fresh",),
    "widths": ("mlp:6x1",),
    "kernels": 10,
    # sequences
    "longest": 8,
    "far": 4,
    "lengths": (4, 8, 12),
    "inner": 16,
    "count": 4,
    "sweeps": (1, 2),
    "details": "",
    "tasks": ("parity",),
    "group": "Z3",
    "pools": (7,),
    "few": 2,
    "margin": 0.5,
    "feed": 0.25,
    # near their teachers
    "model": "mlp:6",
    "outputs": 5,
    "other": "colour-shapes",
    "sgd_lr": 0.03,
    "curve": 3,
    "probes": False,
    ("random-teacher", "model"): "cnn",
    ("connectivity", "model"): "cnn:2",
    ("connectivity", "moments"): (0, 3),
    "child_steps": 5,
    "child_lr": 0.03,
    "children": 3,
    "grid": 3,
    "directions": 4,
    ("lottery", "model"): "cnn:2",
    ("lottery", "moments"): (0, 3),
    ("lottery", "rounds"): 3,
    ("lottery", "share"): 0.7,
    ("lottery", "judged"): (0.1, 0.2),
    ("lottery", "sparse"): (0.1, 0.5),
    ("random-teacher", "widths"): (4,),
    ("dense-prediction", "train"): 20,
    ("dense-prediction", "teacher"): "unet:8",
    ("dense-prediction", "student"): "unet:8",
    "caution": 0.7,
    ("dataset-dependency", "data"): ("digits-8x8", "languages"),
    ("dataset-dependency", "model"): "mlp:6x1",
    "generated": 11,
    "text_model": "text-bag:8",
    "text_lr": 0.02,
    "text_steps": 5,
    ("top-k", "data"): "text:jinja2#130",
    ("top-k", "batch"): 3,
    ("top-k", "teacher"): "causal-transformer:16x2",
    ("top-k", "student"): "causal-transformer:16x2",
    "ks": (3,),
    "teacher_steps": 5,
    "teacher_lr": 0.001,
    ("teacher-free", "temperature"): 2.0,
    ("teacher-free", "label_noise"): 0.1,
    ("loss-switching", "temperature"): 2.0,
    ("forced-deviation", "temperature"): 2.0,
    "slopes": (0.8, 1.0, 1.4),
    "long": 2.0,
    "members": 3,
    ("data-size", "temperature"): 10.0,
    ("data-size", "teacher"): "mlp:12x1",
    ("sequence-distillation", "temperature"): 2.0,
    ("sequence-distillation", "parts"): ("gap",),
    ("state-distillation", "parts"): ("states",),
    "large_steps": 5,
    "large_tokens": 96,
    "large_lr": 0.02,
    "large_longest": 8,
    "large_far": 4,
    "large_lengths": (4, 8, 12),
    "large_count": 4,
    "variations": "none",
    ("state-tracking", "details"): "S3",
    ("state-tracking", "groups"): ("parity",),
    ("state-tracking", "patience"): 2,
    ("sequence-tasks", "lengths"): (6, 8, 12),
    ("sequence-tasks", "far"): 6,
}
OTHER |= {
    ("teacher-choice", "teachers"): (str(Path(__file__).parents[1] / "support/small_teacher.py") + ":make",),
    ("teacher-choice", "ages"): (0.25, 0.5),
    ("teacher-choice", "temperature"): 2.0,
    "large": "mlp:12",
    "over": 2.0,
    "weights": (0.25,),
    "pilot": 0.5,
}
BESIDE = {  # what must hold, with the old value and with the new one, for an option to mean anything
    ("loss-switching", "early"): {"teachers": ("early",)},
    ("data-size", "data"): {"sizes": ()},
    ("data-size", "train"): {"sizes": ()},
    ("data-size", "augment"): {"regimes": ()},
    ("data-size", "points"): {"sizes": ()},
    ("data-size", "first"): {"sizes": ()},
    ("dense-prediction", "augment"): {"data": "colour-shapes"},  # of masks it is refused
    ("dataset-dependency", "text_model"): {"data": ("languages",)},
    ("dataset-dependency", "text_lr"): {"data": ("languages",)},
    ("dataset-dependency", "text_steps"): {"data": ("languages",)},
    ("state-tracking", "patience"): {"groups": ("A4",), "details": ""},
    ("sequence-tasks", "longest"): {"far": 6},
}
SAID: dict = {}


def other(study, option):
    """Another value that the study accepts beside the rest of its smoke test."""
    value = OTHER.get((study.name, option.name), OTHER.get(option.name))
    assert value is not None, f"{study.name} {option.flag}: say another value in OTHER"
    return value


@cache
def says(smoke_runs, study):
    """All that the study says of its smoke runs, but for its options."""
    _, records = smoke_runs.records(study.name)
    return replace(study.analyze(records), settings={}).to_json()


CASES = [(name, option) for name, kind in STUDIES.items() for option in options(kind.smoke())]


@pytest.mark.parametrize(("name", "option"), CASES, ids=[f"{name} {option.flag}" for name, option in CASES])
def test_every_option_changes_the_plan_or_the_result(name, option, smoke_runs):
    smoke = STUDIES[name].smoke()
    before = changed(smoke, BESIDE.get((name, option.name), {}))
    after = changed(before, {option.name: other(smoke, option)})
    assert after != before
    assert after.is_smoke
    if [run.id for run in before.plan()] == [run.id for run in after.plan()]:
        assert says(smoke_runs, before) != says(smoke_runs, after)


@pytest.mark.parametrize("name", STUDIES)
def test_options_are_flat_explained_and_never_open(name):
    study = STUDIES[name]()
    offered = options(study)
    assert len({option.name for option in offered}) == len(offered)
    for option in offered:
        assert option.words, option.flag
        assert "None" not in option.default()
        assert option.default() not in ("", "default"), option.flag


def test_what_is_no_option_is_refused_and_the_smoke_mark_is_none():
    study = STUDIES["deviation"].smoke()
    assert "is_smoke" not in {option.name for option in options(study)}
    assert replace(study, label_noise=(0.1,)).is_smoke
    with refuses("unknown-option", "is_smoke"):
        changed(study, {"is_smoke": False})
