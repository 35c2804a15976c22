"""How often each check of `disobey diagnose` is right: faults caught, and false alarms on sound pairs.

python benchmarks/diagnose_checks.py [--faults 40] [--clean 200] [--rows 2000]
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections import Counter
from pathlib import Path

from disobey.diagnosis.diagnose import judged
from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.input.pair import pair_from

ROOT = Path(__file__).parents[1]


def reference():
    """The planted pairs, which the tests use as well."""
    sys.path.insert(0, str(ROOT))
    return importlib.import_module("tests.support.reference_pairs")


def warned(arrays) -> dict[str, str]:
    """Message by id of everything that warns."""
    return {f.id: f.message for f in judged(gather(pair_from(arrays))) if f.status == "warning"}


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=40)
    parser.add_argument("--clean", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of the first sound pair")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--kinds", nargs="*", help="kinds of sound pairs; all of them in turn where not given")
    parser.add_argument("--only", nargs="*", help="ids of checks whose faults are planted; all where not given")
    options = parser.parse_args()
    pairs = reference()
    print("| fault | check | caught | also warned |\n|---|---|---|---|")
    for fault, check in pairs.FAULTS.items():
        if options.only is not None and check not in options.only:
            continue
        caught, others = 0, Counter()
        for seed in range(options.faults):
            names = warned(fault(seed, options.rows))
            caught += check in names
            others.update(name for name in names if name != check)
        also = ", ".join(f"{id.replace('-', ' ')} {count}" for id, count in others.most_common(4))
        print(
            f"| {fault.__name__.replace('_', ' ')} | {check.replace('-', ' ')} | {caught}/{options.faults} | {also} |",
            flush=True,
        )
    alarms, which = 0, Counter()
    kinds = options.kinds or pairs.KINDS
    for seed in range(options.first, options.first + options.clean):
        kind = kinds[seed % len(kinds)]
        names = warned(pairs.clean(seed, options.rows, kind=kind))
        alarms += bool(names)
        which.update(list(names))
        for name, message in names.items():
            print(f"false alarm, pair {seed} ({kind}): {name}: {message}")
    print(f"\n{alarms} of {options.clean} sound pairs raised a warning: {dict(which)}")


if __name__ == "__main__":
    main()
