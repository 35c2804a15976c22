"""What a store holds of the runs that are wanted, whether it can be believed, and what is done with what cannot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from disobey.data.load import load
from disobey.errors import printable, refusal
from disobey.records import housekeeping
from disobey.records.manifest import Damaged
from disobey.records.runs import RunRecord
from disobey.records.store import Busy, Store
from disobey.training.recipe import Run
from disobey.training.serialize import encode


@dataclass(frozen=True)
class Found:
    """The records that are there, and why those that cannot be used cannot."""

    records: Mapping[Run, RunRecord]
    damaged: Mapping[Run, str]


def look(store: Store, runs: Iterable[Run], *, verify: bool = False) -> Found:
    """Finds the runs' records. Sizes are compared here, contents when they are first read, or here with ``verify``."""
    records, damaged = {}, {}
    for run in runs:
        try:
            record = store.found(run.id, encode(run.recipe))
            if record is not None:
                if verify:
                    housekeeping.check(store, run.id)
                records[run] = record
        except Damaged as error:
            damaged[run] = error.why
    return Found(records, damaged)


def set_aside(store: Store, run: Run, why: str) -> str:
    """Moves a damaged record out of the way; a line for people, "" where another process is at it already."""
    try:
        with store.lock(run.id, wait=False):
            try:
                store.found(run.id, encode(run.recipe))
                housekeeping.check(store, run.id)
                return ""  # somebody has trained it anew meanwhile
            except Damaged:
                aside = store.set_aside(run.id, why)
    except (Busy, FileNotFoundError):
        return ""
    name = printable(run.recipe.name or run.id)
    what = f"the record of {name}, seed {run.seed}, is not as it was written ({printable(why)})"
    return f"{what}: moved to {aside}, trained again"


def check_data(records: Mapping[Run, RunRecord]) -> None:
    """Compares what stored runs were trained on with what their data sets hold now, one run a data set.

    Data by path and from the hub carry their fingerprint in the recipe; embedded and generated data come with packages,
    of which another version may carry something else. Raises `Refusal` where it does.
    """
    chosen: dict[str, Run] = {}
    for run in records:
        data = run.recipe.data
        if run.recipe.task in ("classification", "imitation", "dense", "detection") and not data.fingerprint:
            other = chosen.get(data.name)
            if other is None or _share(run) > _share(other):
                chosen[data.name] = run
    for name, run in chosen.items():
        then = records[run].info.get("data", {}).get("fingerprint", "")
        if then and then != (now := load(run.recipe.data, run.seed).fingerprint):
            packages = records[run].info.get("environment", {}).get("packages", {})
            raise refusal(
                "data-changed",
                f"the data that the stored runs were trained on (fingerprint {then}, with {_versions(packages)})",
                f"other content now ({now}): the package that carries it has another version",
                "--out with a new folder, or the old version",
                where=name,
            )


def _share(run: Run) -> float:
    """How much of a data set a run's training split shows."""
    return float("inf") if run.recipe.data.train is None else run.recipe.data.train


def _versions(packages: Mapping[str, str]) -> str:
    carriers = [name for name in ("scikit-learn", "mlxtend", "pyspellchecker") if name in packages]
    return ", ".join(f"{name} {packages[name]}" for name in carriers) or "unknown versions"
