"""`disobey list`: studies, data sets and models, a line each. Nothing is imported that only training needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import tyro

from disobey.cli.output import print_json


@dataclass(frozen=True)
class ListOptions:
    """Options of `disobey list`."""

    what: Literal["all", "studies", "data", "models"] = "all"
    """which of the lists"""
    json: bool = False
    """print the lists as JSON on standard output"""


def main(argv: list[str]) -> int:
    """Prints the lists that were asked for; the exit status."""
    options = tyro.cli(
        ListOptions,
        args=argv,
        prog="disobey list",
        description="Lists studies, data sets and models.",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    lists = {"studies": _studies, "data": _data, "models": _models}
    chosen = {name: lines() for name, lines in lists.items() if options.what in ("all", name)}
    if options.json:
        print_json(chosen)
        return 0
    width = max(len(name) for entries in chosen.values() for name in entries)
    for heading, entries in chosen.items():
        print(heading)
        for name, line in entries.items():
            print(f"  {name:<{width}}  {line}")
    return 0


def _studies() -> dict[str, str]:
    from disobey.studies import STUDIES

    return {name: STUDIES.question(name) for name in STUDIES}


def _data() -> dict[str, str]:
    from disobey.data.load import DATASETS, description

    return {name: description(name) for name in DATASETS} | {
        "PATH": "npz, npy, idx, parquet, CSV, JSON lines, labelled lines, JSON intents, or a folder "
        "with a folder of images for each class",
        "segmentation:PATH": "images/ and masks/, COCO's JSON with polygons, or hub:NAME: classes of pixels",
        "detection:PATH": "COCO's JSON with boxes, a folder with one a split, or hub:NAME: classes of boxes",
        "hub:NAME": "data sets of the Hugging Face Hub",
    }


def _models() -> dict[str, str]:
    from disobey.models.build import MODELS

    own = {
        "unet": "small U-Net with group normalization, 8 to 32 channels, for classes of pixels",
        "detector": "the way down of such a U-Net and one step up, for classes of boxes",
        "hf:NAME": "models of transformers, by name or folder; hf:NAME#random starts from random weights",
        "timm:NAME": "image models of timm; timm:NAME#random starts from random weights",
        "FILE.py:FACTORY": "your own model",
    }
    return {name: architecture.line for name, architecture in MODELS.items()} | own
