"""From dataclasses to command-line options, and the options that commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Common:
    out: Path = Path("disobey-runs")
    """folder of runs and reports; the same folder again reuses what is there"""
    workers: str = "auto"
    """worker processes: a number, auto (one a core), 0 (none: in this process) or ray"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where networks live"""
    checkpoint_minutes: float = 10.0
    """minutes between two checkpoints within a long run, from which it goes on after it was killed; 0: none"""
    stall_timeout: float = 0.0
    """minutes without a sign of life after which a run is ended as failed; 0: never"""
    quiet: bool = False
    """no progress and no summary"""

    @property
    def crew(self) -> int | str:
        return int(self.workers) if self.workers.lstrip("-").isdigit() else self.workers


def parse(first: A, second: B, argv: list[str], *, prog: str, description: str) -> tuple[A, B]:
    """Two dataclass instances as the defaults of one flat set of options, with what ``argv`` changes.

    Exits with status 2 and a suggestion where an option is unknown or makes no sense.
    """

    def both(first: Any = first, second: Any = second) -> tuple[Any, Any]:
        return first, second

    # set here, not in the signature: the types are known only now
    both.__annotations__ = {name: Annotated[type(v), tyro.conf.arg(name="")] for name, v in
                            (("first", first), ("second", second))}  # fmt: skip
    return tyro.cli(
        both,
        args=argv,
        prog=prog,
        description=description,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
    )
