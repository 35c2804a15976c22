"""`disobey store`: what a folder of runs holds, whether it is as it was written, and what could go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from disobey.cli.output import print_json
from disobey.errors import printable, refusal
from disobey.records.housekeeping import Survey, removable, remove, survey
from disobey.records.store import Store


@dataclass(frozen=True)
class StoreOptions:
    """Options of `disobey store`."""

    out: Path = Path("disobey-runs")
    """the folder of runs and reports"""
    check: bool = False
    """read every file and compare it with what was written; exit status 1 where something is damaged"""
    prune: bool = False
    """say what no report refers to and how much space it takes; removes nothing without --yes"""
    yes: bool = False
    """with --prune: remove it"""
    json: bool = False
    """print what was found as JSON on standard output, and nothing else there"""


def main(argv: list[str]) -> int:
    """Exit status: 0; 1 where ``--check`` found damage."""
    options = tyro.cli(
        StoreOptions, args=argv, prog="disobey store", description=__doc__, config=(tyro.conf.FlagCreatePairsOff,)
    )
    store = Store(options.out)
    if not (store.root / "runs").is_dir():
        raise refusal("no-store", "a folder that `disobey run` wrote to", "none", "--out FOLDER", where=options.out)
    if options.yes and not options.prune:
        raise refusal("yes-alone", "--yes beside --prune", "it alone", "--prune --yes")
    seen = survey(store, hashes=options.check)
    if options.prune:
        return _prune(store, seen, options)
    print_json(_found(seen, options.check)) if options.json else print("\n".join(_lines(seen, options.check)))
    return 1 if options.check and seen.damaged else 0


def _found(seen: Survey, checked: bool) -> dict[str, Any]:
    """What there is, for programs: sizes in bytes; a report that names no runs has null for them."""
    sizes = {name: item.bytes for name, item in seen.runs.items()}
    named = {name: None if runs is None else sorted(runs & sizes.keys()) for name, runs in seen.reports.items()}
    return {
        "checked": checked,
        "runs": sizes,
        "reports": named,
        "orphans": list(seen.orphans),
        "tables": {item.path.name: item.bytes for item in seen.tables},
        "aside": {item.path.name: item.bytes for item in seen.aside},
        "leftovers": {item.path.name: item.bytes for item in seen.leftovers},
        "damaged": seen.damaged | {f"cache/{item.path.name}": item.why for item in seen.tables if item.why},
        "unverified": sorted(seen.unverified),
    }


def _lines(seen: Survey, checked: bool) -> list[str]:
    sizes = {name: item.bytes for name, item in seen.runs.items()}
    lines = []
    for report, runs in seen.reports.items():
        if runs is None:
            lines.append((report, "does not name its runs: run the study again", ""))
        else:
            there = runs & sizes.keys()
            lines.append((report, f"{len(there):,} runs", _bytes(sum(sizes[name] for name in there))))
    lines.append(("in no report", f"{len(seen.orphans):,} runs", _bytes(sum(sizes[name] for name in seen.orphans))))
    tables = f"{len(seen.tables):,} tables"
    lines.append(("teachers' answers", tables, _bytes(sum(item.bytes for item in seen.tables))))
    for title, items in (("moved aside", seen.aside), ("left by killed commands", seen.leftovers)):
        if items:
            lines.append((title, f"{len(items):,} things", _bytes(sum(item.bytes for item in items))))
    lines.append(("all runs", f"{len(seen.runs):,} runs", _bytes(sum(sizes.values()))))
    width = max(len(name) for name, _, _ in lines)
    shown = [f"{printable(name):<{width}}  {what:>12}  {size:>10}".rstrip() for name, what, size in lines]
    shown += [f"damaged: {printable(name)}: {printable(why)}" for name, why in sorted(seen.damaged.items())]
    shown += [f"damaged: cache/{item.path.name}: {item.why}" for item in seen.tables if item.why]
    if seen.unverified:
        shown.append(f"{len(seen.unverified):,} runs were written before records had hashes: nothing can verify them")
    if checked and not seen.damaged:
        shown.append("every file is as it was written")
    elif not checked:
        shown.append("sizes only; --check reads every file")
    return shown


def _prune(store: Store, seen: Survey, options: StoreOptions) -> int:
    items, really = removable(seen), options.yes
    if options.json:
        named = [{"path": str(i.path.relative_to(store.root)), "bytes": i.bytes, "why": i.why} for i in items]
        print_json({"removable": named, "freed": remove(store, items) if really else 0})
        return 0
    for item in items:
        print(f"{item.path.relative_to(store.root)}  {_bytes(item.bytes)}  {item.why}")
    old = [name for name, runs in seen.reports.items() if runs is None]
    if old:
        print(f"no run is removed: {', '.join(map(printable, old))} does not name its runs; run the study again first")
    if really:
        print(f"freed {_bytes(remove(store, items))}")
    else:
        print(f"would free {_bytes(sum(item.bytes for item in items))}; --prune --yes removes it")
    return 0


def _bytes(n: int) -> str:
    """A size for people.

    >>> _bytes(1_500_000)
    '1.4 MiB'
    """
    size, unit = float(n), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
