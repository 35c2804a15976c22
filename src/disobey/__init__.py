"""Disobey: a laboratory for teacher-student training."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from disobey.diagnosis.diagnose import diagnose
    from disobey.diagnosis.predict import predict_pair

__version__ = "0.1.0"
__all__ = ["__version__", "diagnose", "predict_pair"]

_HOMES = {"diagnose": "disobey.diagnosis.diagnose", "predict_pair": "disobey.diagnosis.predict"}


def __getattr__(name: str) -> Any:
    """Public names, imported when they are first asked for (PEP 562): ``import disobey`` itself stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'disobey' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
