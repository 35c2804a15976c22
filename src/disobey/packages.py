"""Packages that only part of the work needs: which extra brings them, and what is said where one is missing.

Diagnosing files needs none of them, so that installation is small and `import disobey` never asks for PyTorch.
"""

from __future__ import annotations

from importlib.util import find_spec

from disobey.errors import Refusal, refusal

EXTRAS = {
    "torch": "train",
    "sklearn": "train",
    "loky": "train",
    "spellchecker": "train",
    "mlxtend": "data",
    "transformers": "hub",
    "datasets": "hub",
    "PIL": "parquet",
    "pyarrow": "parquet",
    "lightning": "lightning",
    "ray": "ray",
    "submitit": "slurm",
    "timm": "timm",
}
"""Module -> the extra of this package that installs it."""

NAMES = {"torch": "PyTorch", "sklearn": "scikit-learn", "spellchecker": "pyspellchecker", "PIL": "pillow"}
CPU_BUILD = (
    "; where there is no GPU install PyTorch's CPU build first, a fifth of the size: PyTorch's page 'Get Started' "
    "gives the command under CPU"
)


class MissingPackage(Refusal, ImportError):
    """A package is not installed: a `Refusal` for the command line, an `ImportError` for programs."""


def missing(module: str, purpose: str = "", *, where: object = "") -> MissingPackage:
    """What to raise where a package is not installed.

    Args:
        module: its name as imported.
        purpose: what needs it.
        where: the option or file that asked for it.

    Returns:
        The error; its id is ``no-MODULE``.

    >>> print(missing("timm", "models named timm:NAME"))
    expected timm for models named timm:NAME; got an installation without it; try pip install 'disobey[timm]'
    """
    name = NAMES.get(module, module)
    attempt = f"pip install 'disobey[{EXTRAS[module]}]'" if module in EXTRAS else f"pip install {module}"
    attempt += CPU_BUILD * (module == "torch")
    expected = f"{name} for {purpose}" if purpose else name
    said = refusal(f"no-{module}", expected, "an installation without it", attempt, where=where)
    return MissingPackage(said.id, str(said))


def explained(error: ModuleNotFoundError, purpose: str = "") -> MissingPackage | None:
    """The same for an import that failed; None where the module is none of `EXTRAS` (then it is a defect).

    >>> explained(ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"), "training").id
    'no-torch'
    """
    module = (error.name or "").partition(".")[0]
    return missing(module, purpose) if module in EXTRAS else None


def require(module: str, purpose: str) -> None:
    """Raises `MissingPackage` where a package is not installed; imports nothing."""
    if find_spec(module) is None:
        raise missing(module, purpose)
