"""Disobey: a laboratory for teacher-student training."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from disobey.diagnosis.diagnose import diagnose
    from disobey.diagnosis.input.predict import predict_pair
    from disobey.records.predictions import Predictions
    from disobey.records.runs import pair
    from disobey.records.store import Store
    from disobey.targets.schedule import distill, labels, match, smooth, switch
    from disobey.targets.teacher_free import spare
    from disobey.training.execution.engine import run_all
    from disobey.training.recipe import OptimSpec, Recipe, Run, Teaching

__version__ = "0.1.0"
__all__ = [
    "OptimSpec",
    "Predictions",
    "Recipe",
    "Run",
    "Store",
    "Teaching",
    "__version__",
    "diagnose",
    "distill",
    "labels",
    "match",
    "pair",
    "predict_pair",
    "run_all",
    "smooth",
    "spare",
    "switch",
]

_HOMES = {
    "diagnose": "disobey.diagnosis.diagnose",
    "predict_pair": "disobey.diagnosis.input.predict",
    "Predictions": "disobey.records.predictions",
    "pair": "disobey.records.runs",
    "Store": "disobey.records.store",
    "run_all": "disobey.training.execution.engine",
    **dict.fromkeys(("OptimSpec", "Recipe", "Run", "Teaching"), "disobey.training.recipe"),
    "spare": "disobey.targets.teacher_free",
    **dict.fromkeys(("distill", "labels", "match", "smooth", "switch"), "disobey.targets.schedule"),
}


def __getattr__(name: str) -> Any:
    """Public names, imported when they are first asked for (PEP 562): ``import disobey`` itself stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'disobey' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
