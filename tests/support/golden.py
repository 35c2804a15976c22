"""Whole results before and after a change: every study's smoke run and `diagnose` on six planted pairs.

    python -m tests.support.golden record FOLDER [--store STORE] [NAME ...]
    python -m tests.support.golden compare FOLDER [--store STORE] [--numbers] [NAME ...]

A store that is given is reused, so a change of analysis is compared without training; without one all is trained anew.
`compare` wants equal bytes of result.json, apart from the fields named in LOOSE; with ``--numbers`` words may differ
and the numbers may stand in another order, but each must be there, equal to the last bit.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from disobey.diagnosis.diagnose import diagnose
from disobey.records.results import Result
from disobey.records.store import Store
from disobey.studies import STUDIES
from tests.support import reference_pairs as pairs

PAIRS = {
    "sound": lambda: pairs.clean(0, kind="plain"),
    "three-seeds": lambda: pairs.clean(1, kind="three seeds"),
    "wrong-labels": lambda: pairs.clean(2, kind="wrong labels"),
    "top-k": lambda: pairs.top_k(3),
    "undistilled": lambda: pairs.no_distillation(4),
    "tempered": lambda: pairs.tempered_teacher(5),
}
LOOSE = ("settings", "smoke", "id")  # how a result was asked for and what programs call its parts, not what it says


def result_of(name: str, store: Path) -> Result:
    """The smoke result of a study, or the diagnosis of one of `PAIRS` (``diagnose-NAME``)."""
    if name.startswith("diagnose-"):
        return _diagnosis(PAIRS[name.removeprefix("diagnose-")]())
    from disobey.training.execution.engine import run_all

    study = STUDIES[name].smoke()
    outcome = run_all(study.plan(), Store(store / name), workers=0)
    assert not outcome.failed, outcome.failed
    return study.analyze(outcome.records)


def _diagnosis(arrays: dict[str, Any]) -> Result:
    from disobey.diagnosis.input.pair import pair_from

    return diagnose(pair_from(arrays))


def names(wanted: list[str]) -> list[str]:
    known = [*STUDIES, *(f"diagnose-{name}" for name in PAIRS)]
    return [
        name
        for name in known
        if not wanted or name in wanted or (name.startswith("diagnose-") and "diagnose" in wanted)
    ]


def numbers(value: Any) -> Iterator[str]:
    """Every number of a decoded result.json outside of `LOOSE`, as JSON writes it."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in LOOSE:
                yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield json.dumps(value)


def differences(before: str, after: str, *, only_numbers: bool) -> list[str]:
    """What differs between two result.json; empty where nothing does."""
    old, new = json.loads(before), json.loads(after)
    if only_numbers:
        was, now = Counter(numbers(old)), Counter(numbers(new))
        gone, come = was - now, now - was
        return [
            f"{sum(gone.values())} numbers gone, {sum(come.values())} new: {list(gone)[:5]} → {list(come)[:5]}"
        ] * bool(gone or come)
    return list(_paths(_strict(old), _strict(new), ""))[:10]


def _strict(value: Any) -> Any:
    """Without the fields of `LOOSE`, at every depth."""
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items() if key not in LOOSE}
    return [_strict(item) for item in value] if isinstance(value, list) else value


def _paths(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        for key in old:
            yield from _paths(old[key], new[key], f"{path}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from _paths(a, b, f"{path}[{i}]")
    elif json.dumps(old) != json.dumps(new):
        yield f"{path}: {json.dumps(old, ensure_ascii=False)[:160]} → {json.dumps(new, ensure_ascii=False)[:160]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("record", "compare"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="studies, diagnose-NAME, or diagnose for all six; all where not given")
    parser.add_argument("--store", type=Path, help="reuse and keep the runs here")
    parser.add_argument("--numbers", action="store_true", help="words and order may differ")
    options = parser.parse_intermixed_args()
    failed = 0
    with tempfile.TemporaryDirectory() as fresh:
        for name in names(options.names):
            text = result_of(name, options.store or Path(fresh)).to_json()
            path = options.folder / f"{name}.json"
            if options.verb == "record":
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                print(f"{name}: recorded", flush=True)
                continue
            found = differences(path.read_text(encoding="utf-8"), text, only_numbers=options.numbers)
            failed += bool(found)
            print(f"{name}: " + ("equal" if not found else "DIFFERENT\n  " + "\n  ".join(found)), flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
