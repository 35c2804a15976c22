"""The claims that a study declares, known before any run: for registrations and for the documents."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from disobey.studies.kit.claims import ClaimSpec
from disobey.studies.kit.study import Study


def claim_specs(study: Study) -> tuple[ClaimSpec[Any, Any], ...]:
    """Every `ClaimSpec` of a study, by id: those in its modules, and those that its own settings make.

    The latter are what methods without arguments give whose names end in ``_claims``.
    """
    found: dict[str, ClaimSpec[Any, Any]] = {}
    for value in (*_made(study), *(v for module in _modules(type(study)) for v in vars(module).values())):
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, ClaimSpec):
                found.setdefault(item.id, item)
    return tuple(sorted(found.values(), key=lambda spec: _natural(spec.id)))


def _natural(id: str) -> list[tuple[int, str]]:
    """So that C10 comes after C9."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", id)]


def _made(study: Study) -> Iterator[Any]:
    for name in sorted(dir(type(study))):
        if name.endswith("_claims"):
            yield getattr(study, name)()


def _modules(kind: type) -> Iterator[ModuleType]:
    name = kind.__module__
    if name.count(".") == 2:  # disobey.studies.NAME
        yield importlib.import_module(name)
        return
    package = importlib.import_module(name.rpartition(".")[0])
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        yield importlib.import_module(found.name)
