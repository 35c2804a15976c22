"""Disobey: a laboratory for teacher-student training.

The public names are imported when they are first used (PEP 562), so ``import disobey`` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from disobey.diagnosis.diagnose import diagnose
    from disobey.diagnosis.input.predict import predict_pair
    from disobey.measures.arrays import measure
    from disobey.records.predictions import Predictions
    from disobey.records.runs import pair
    from disobey.records.store import Store
    from disobey.studies.kit.pooled import pool
    from disobey.targets.controls import controlled
    from disobey.targets.kd_loss import KDLoss
    from disobey.targets.schedule import Schedule, distill, labels, match, smooth, switch
    from disobey.targets.teacher_free import mask_confusable, spare
    from disobey.training.execution.engine import run_all
    from disobey.training.recipe import Recipe, Run
    from disobey.training.specs import OptimSpec, Teaching
    from disobey.training.teacher_cache import TeacherCache

__version__ = "0.1.0"
__all__ = [
    "KDLoss",
    "OptimSpec",
    "Predictions",
    "Recipe",
    "Run",
    "Schedule",
    "Store",
    "TeacherCache",
    "Teaching",
    "__version__",
    "controlled",
    "diagnose",
    "distill",
    "labels",
    "mask_confusable",
    "match",
    "measure",
    "pair",
    "pool",
    "predict_pair",
    "run_all",
    "smooth",
    "spare",
    "switch",
]

# Name -> module. `spare` is the old name of `mask_confusable`, kept for one release.
_MODULES = {
    "diagnose": "disobey.diagnosis.diagnose",
    "predict_pair": "disobey.diagnosis.input.predict",
    "Predictions": "disobey.records.predictions",
    "measure": "disobey.measures.arrays",
    "KDLoss": "disobey.targets.kd_loss",
    "controlled": "disobey.targets.controls",
    "TeacherCache": "disobey.training.teacher_cache",
    "pair": "disobey.records.runs",
    "pool": "disobey.studies.kit.pooled",
    "Store": "disobey.records.store",
    "run_all": "disobey.training.execution.engine",
    **dict.fromkeys(("OptimSpec", "Recipe", "Run", "Teaching"), "disobey.training.recipe"),
    **dict.fromkeys(("mask_confusable", "spare"), "disobey.targets.teacher_free"),
    **dict.fromkeys(("Schedule", "distill", "labels", "match", "smooth", "switch"), "disobey.targets.schedule"),
}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module 'disobey' has no attribute {name!r}")
    try:
        return getattr(import_module(_MODULES[name]), name)
    except ModuleNotFoundError as error:
        from disobey.packages import explained

        raise explained(error, f"disobey.{name}") or error from error


def __dir__() -> list[str]:
    """All names, also those that are not imported yet."""
    return sorted([*globals(), *_MODULES])
