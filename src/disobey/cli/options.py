"""From dataclasses to command-line options, and the options that commands share."""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

from disobey.studies.kit.options import Option, changed, options
from disobey.training.acceleration import Acceleration

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Common:
    """Options that commands which train share."""

    out: Path = Path("disobey-runs")
    """folder of runs and reports; finished runs in it are reused"""
    workers: str = "auto"
    """worker processes: a number, auto (one per core), 0 (none: train in this process), ray or slurm[:JOBS]"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """device that networks are trained on"""
    compile: bool = False
    """pass networks through torch.compile in training; changes the last bits, never which run it is"""
    capture: bool = False
    """replay forward and backward pass as a CUDA graph (GPUs only); changes the last bits at most"""
    checkpoint_minutes: float = 10.0
    """minutes between two checkpoints within a long run, from which it goes on after it was killed; 0: none"""
    stall_timeout: float = 0.0
    """minutes without a sign of life after which a run is ended as failed; 0: never"""
    quiet: bool = False
    """print neither progress nor summary"""

    @property
    def acceleration(self) -> Acceleration:
        """How the steps of classifiers are computed."""
        return Acceleration(self.compile, self.capture)

    @property
    def worker_count(self) -> int | str:
        """A number, or the word for what decides it."""
        return int(self.workers) if self.workers.lstrip("-").isdigit() else self.workers


def parse(first: A, second: B, argv: list[str], *, prog: str, description: str) -> tuple[A, B]:
    """Two dataclass instances as the defaults of one flat set of options, with what ``argv`` changes.

    Exits with status 2 and a suggestion where an option is unknown or makes no sense.
    """

    def both(first: Any = first, second: Any = second) -> tuple[Any, Any]:
        return first, second

    # set here, not in the signature: the types are known only now
    sides = {"first": first, "second": second}
    both.__annotations__ = {name: Annotated[type(v), tyro.conf.arg(name="")] for name, v in sides.items()}
    return tyro.cli(
        both,
        args=argv,
        prog=prog,
        description=description,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
    )


def parse_study(study: A, common: B, argv: list[str], *, prog: str, description: str) -> tuple[A, B]:
    """`parse` for a study: what is no option (the smoke mark, say) stays as it is in ``study``.

    Raises `ValueError` where the study refuses a value.
    """
    offered = options(study)
    argv = _with_new_names(argv, offered)
    form, common = parse(_form(offered)(), common, argv, prog=prog, description=description)
    values = {option.name: getattr(form, option.name) for option in offered}
    return changed(study, {o.name: values[o.name] for o in offered if values[o.name] != o.value}), common


def _with_new_names(argv: Sequence[str], offered: Iterable[Option]) -> list[str]:
    """Options under their old names, which go on working for one release, under the new ones; with a note."""
    new = {f"--{option.formerly.replace('_', '-')}": option.flag for option in offered if option.formerly}
    words = []
    for word in argv:
        flag, equals, value = word.partition("=")
        if flag in new:
            print(
                f"disobey: {flag} is called {new[flag]} now; the old name stops working next release", file=sys.stderr
            )
            flag = new[flag]
        words.append(flag + equals + value)
    return words


def _form(offered: Iterable[Option]) -> type:
    """A dataclass with one field an option: studies know nothing of the command line, and it needs their words."""
    rows = [(option.name, Annotated[option.type, _argument(option)], field(default=option.value)) for option in offered]
    form = make_dataclass("Options", rows, frozen=True)
    form.__doc__ = ""
    return form


def _argument(option: Option) -> Any:
    """Help with the value that an open default stands for, and without an offer to write None."""
    kinds = [kind for kind in typing.get_args(option.type) if kind in (int, float)]
    open_number = type(None) in typing.get_args(option.type) and kinds
    return tyro.conf.arg(
        help=option.words,
        help_behavior_hint=f"(default: {option.default()})",
        metavar=kinds[0].__name__.upper() if open_number else None,
    )
