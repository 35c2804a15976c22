"""Networks from a user's own file: `path/to/file.py:factory`, the one place where a user's code is executed."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from disobey.errors import refusal

if TYPE_CHECKING:
    from torch import nn


def file_and_factory(name: str) -> tuple[Path, str]:
    """The file and the function that ``path/to/file.py:factory`` names."""
    path, colon, factory = name.rpartition(":")
    if not colon or not factory.isidentifier():
        raise refusal("model-file-name", "'path/to/file.py:factory', with a function after the colon", repr(name))
    file = Path(path).expanduser()
    if not file.is_file():
        got, attempt = f"no file {path!r} in {Path.cwd()}", "the path from the current folder"
        raise refusal("no-model-file", "a file with the model", got, attempt, where=name)
    return file, factory


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refuse_change(planned: str, what: object, found: str) -> None:
    """Refuses a model whose content changed since its fingerprint was taken; "" means that none was taken."""
    if planned not in ("", found):
        expected = f"the content that the run was planned with, sha256 {planned[:12]}…"
        attempt = "the old content, or planning the run again (a changed file is another model)"
        raise refusal("changed-model", expected, f"{found[:12]}…", attempt, where=what)


def network_from_file(name: str, known: dict[str, Any], chosen: dict[str, Any], *, planned: str = "") -> nn.Module:
    """The network that a user's factory returns.

    Args:
        name: ``path/to/file.py:factory``.
        known: shape, classes and vocabulary; the factory gets those that it asks for.
        chosen: options that the user set; the factory must accept all of them.
        planned: fingerprint of the file when the run was planned.

    Returns:
        The network.

    Raises:
        Refusal: ``model-file-name``, ``no-model-file``, ``changed-model``, ``no-factory``, ``factory-option``,
            ``factory-argument`` or ``no-module``.
    """
    from torch import nn

    path, function = file_and_factory(name)
    found = sha256(path)
    refuse_change(planned, path, found)
    module = _imported(path, found)
    factory = getattr(module, function, None)
    if not callable(factory):
        functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise refusal("no-factory", f"a function {function!r}", ", ".join(functions) or "no function", where=path)
    model = factory(**_arguments(factory, name, known, chosen))
    if not isinstance(model, nn.Module):
        raise refusal("no-module", "a torch.nn.Module from the factory", type(model).__name__, where=name)
    return model


def _arguments(factory: Callable[..., Any], name: str, known: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    """What the factory accepts of ``known``, and all of ``chosen``."""
    parameters = inspect.signature(factory).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    accepted = [key for key, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if not anything and (extra := sorted(set(chosen) - set(accepted))):
        expected = f"options out of {', '.join(accepted) or 'none'}, the parameters of the factory"
        raise refusal("factory-option", expected, ", ".join(extra), where=name)
    offered = {**known, **chosen}
    required = {key for key, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
    required -= {key for key, p in parameters.items() if p.kind is p.VAR_POSITIONAL}
    if missing := sorted(required - set(offered)):
        expected = "parameters out of shape, classes and vocabulary (width, depth and dropout only if they are set)"
        raise refusal("factory-argument", expected, ", ".join(missing), "a default for them", where=name)
    return {key: value for key, value in offered.items() if anything or key in accepted}


def _imported(path: Path, fingerprint: str) -> ModuleType:
    """The user's file as a module, executed once for every content, under a name that cannot hide another module."""
    name = f"_disobey_user_{fingerprint[:16]}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before execution, because dataclasses look up their own module
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # the file may import files beside it
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(folder)
    return module
