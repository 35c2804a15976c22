"""`disobey list`: studies, data sets and models, a line each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import tyro

from disobey.data.load import DATASETS, description
from disobey.models.build import MODELS
from disobey.studies import STUDIES


@dataclass(frozen=True)
class ListOptions:
    """Options of `disobey list`."""

    what: Literal["all", "studies", "data", "models"] = "all"
    """which of the lists"""
    json: bool = False
    """print JSON, for programs"""


def main(argv: list[str]) -> int:
    """Prints the lists that were asked for; the exit status."""
    options = tyro.cli(
        ListOptions,
        args=argv,
        prog="disobey list",
        description="Lists studies, data sets and models.",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    lists = {
        "studies": {name: study.question for name, study in STUDIES.items()},
        "data": {name: description(name) for name in DATASETS}
        | {
            "PATH": "npz, npy, idx, parquet, CSV, JSON lines, or a folder with a folder of images for each class",
            "hub:NAME": "data sets of the Hugging Face Hub",
        },
        "models": {name: architecture.line for name, architecture in MODELS.items()}
        | {"hf:NAME": "models of transformers, by name or folder", "FILE.py:FACTORY": "your own model"},
    }
    chosen = lists if options.what == "all" else {options.what: lists[options.what]}
    if options.json:
        import json

        print(json.dumps(chosen, indent=1))
        return 0
    width = max(len(name) for entries in chosen.values() for name in entries)
    for heading, entries in chosen.items():
        print(heading)
        for name, line in entries.items():
            print(f"  {name:<{width}}  {line}")
    return 0
