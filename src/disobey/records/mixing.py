"""What records were made with, and a warning where one analysis mixes it: versions and devices move numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from disobey.records.runs import RunRecord

WATCHED = ("disobey", "torch", "numpy", "scipy", "scikit-learn", "mlxtend", "pyspellchecker")


def made_with(records: Iterable[RunRecord]) -> list[dict[str, Any]]:
    """Versions, system, processor and device of the records, most frequent first, with how many runs each made."""
    counts = Counter(_maker(record.info) for record in records)
    return [{"runs": n, **dict(maker)} for maker, n in counts.most_common()]


def _maker(info: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    environment, cost = info.get("environment", {}), info.get("cost", {})
    packages = environment.get("packages")
    packages = packages if isinstance(packages, Mapping) else {}
    versions = [(name, str(packages[name])) for name in WATCHED if name in packages]
    rest = {"python": environment.get("python"), "system": environment.get("system")}
    rest |= {"processor": environment.get("processor"), "device": cost.get("device"), "gpu": cost.get("gpu")}
    rest |= {"step": cost.get("step")}
    return (*versions, *((name, str(value)) for name, value in rest.items() if value))


def mixtures(makers: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for everything in which the makers differ, [] where all runs were made alike.

    >>> mixtures([{"runs": 2, "torch": "2.13.0"}, {"runs": 1, "torch": "2.14.0"}])
    ['runs of different torch are analyzed together: 2.13.0 (2 runs), 2.14.0 (1 run)']
    """
    makers = list(makers)
    said = []
    for name in dict.fromkeys(name for maker in makers for name in maker if name != "runs"):
        counts: Counter[str] = Counter()
        for maker in makers:
            counts[str(maker.get(name, "unknown"))] += maker["runs"]
        if len(counts) > 1:
            each = ", ".join(f"{value} ({n} run{'s' * (n != 1)})" for value, n in counts.most_common())
            said.append(f"runs of different {name} are analyzed together: {each}")
    return said
