"""Diagnosing works in an installation without PyTorch; whatever needs a missing package says how to get it."""

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from disobey.packages import EXTRAS, explained, missing, require
from tests.support.refusals import refuses

# Looks as an installation without these packages does, to imports and to `find_spec`.
LIGHT = """
import importlib.metadata, sys
HEAVY = set("torch sklearn loky spellchecker mlxtend pandas transformers datasets pyarrow PIL lightning ray".split())
class Without:
    def find_spec(self, name, path=None, target=None):
        for finder in rest:
            found = None if name.partition(".")[0] in HEAVY else finder.find_spec(name, path, target)
            if found is not None:
                return found
    def find_distributions(self, context=importlib.metadata.DistributionFinder.Context()):
        return importlib.metadata.MetadataPathFinder.find_distributions(context)
rest, sys.meta_path = list(sys.meta_path), [Without()]
"""


def light(code, folder):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT + code],
        capture_output=True,
        text=True,
        cwd=folder,
        env=_environment(),
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def _environment():
    import os

    root = str(Path(__file__).parents[1])
    return os.environ | {"PYTHONPATH": f"{root}/src:{root}"}


def test_without_torch_a_pair_is_diagnosed_and_the_rest_is_refused(tmp_path):
    done = light(
        """
import numpy as np, disobey
from disobey.cli.main import main
rng = np.random.default_rng(0)
teacher = rng.normal(size=(200, 4))
student, twin = teacher + rng.normal(size=(200, 4)) / 2, teacher + rng.normal(size=(200, 4))
labels = teacher.argmax(1)
assert disobey.diagnose(teacher, student, labels, twin=twin).summary
assert disobey.measure(student, teacher, labels)["agreement"].n == 200
np.savez("pair.npz", teacher=teacher, student=student, twin=twin, labels=labels)
assert main(["diagnose", "pair.npz", "--quiet"]) == 0
assert main(["report", "disobey-runs/diagnose-pair/result.json"]) == 0
assert main(["list"]) == 0
for wanted in ("KDLoss", "TeacherCache"):
    try:
        getattr(disobey, wanted)
    except ImportError as error:
        assert error.id == "no-torch" and "'disobey[train]'" in str(error), error
    else:
        raise SystemExit(wanted)
for argv in (["run", "deviation", "--smoke"], ["train", "x.json"], ["register", "deviation"],
             ["diagnose", "--teacher", "hf:a", "--student", "hf:b", "--data", "hf:c"]):
    assert main(argv) == 2, argv
assert not HEAVY & set(sys.modules), HEAVY & set(sys.modules)
""",
        tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("disobey: ")]
    assert len(said) == 4
    assert all("disobey[train]" in line and "CPU" in line for line in said)


def test_help_of_a_study_needs_neither_torch_nor_data(tmp_path):
    done = light("from disobey.cli.main import main\nmain(['run', 'deviation', '--help'])", tmp_path)
    assert "--temperatures" in done.stdout, done.stderr


def test_missing_data_names_their_extra(monkeypatch):
    from disobey.data.sources.embedded import package_file

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with refuses("no-data-package", "'disobey[data]'", "digits-8x8"):
        package_file("mlxtend", "x", instead=", or --data digits-8x8")
    with refuses("no-data-package", "'disobey[train]'"):
        package_file("spellchecker", "x")


def test_an_error_is_a_refusal_and_an_import_error():
    error = missing("torch", "training")
    assert isinstance(error, ImportError)
    assert isinstance(error, ValueError)
    assert explained(ModuleNotFoundError("no", name="nothing_of_ours")) is None
    require("numpy", "this")
    with pytest.raises(ImportError, match="disobey"):
        raise error


def test_every_extra_that_is_named_exists():
    about = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(EXTRAS.values()) <= set(about["optional-dependencies"])
    base = " ".join(about["dependencies"])
    assert not [name for name in ("torch", "mlxtend", "scikit-learn") if name in base]
