"""`disobey run STUDY`: plan, train what is missing, analyze, write the report."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from disobey.cli.null import NullOptions, run_null
from disobey.cli.options import parse_study
from disobey.cli.progress import progress_bar
from disobey.errors import printable, refusal
from disobey.records.manifest import Damaged
from disobey.records.mixing import made_with, mixtures
from disobey.records.partial import Missing, marked
from disobey.records.provenance import stamp
from disobey.records.results import Result
from disobey.records.store import Store
from disobey.studies import STUDIES
from disobey.studies.kit.study import Study
from disobey.training.execution.engine import Outcome, run_all
from disobey.training.recipe import Run, closure
from disobey.training.serialize import encode


@dataclass(frozen=True)
class RunOptions(NullOptions):
    """Options of `disobey run` beside the study's own."""

    dry_run: bool = False
    """print what would be trained and what is there already, and stop"""
    smoke: bool = False
    """run the whole study in seconds to see that it works: evidence of nothing"""
    preset: str = ""
    """named settings of this study (published ones, say); other options override them"""
    full: bool = False
    """short for --preset full, where the study has one"""
    partial: bool = False
    """judge claims although runs failed or are missing: on the seeds that are left, which selected themselves"""
    reports: str = ""
    """folder of the report; below --out where not given, which must be writable then"""
    json: bool = False
    """print the result as JSON on standard output"""


def main(argv: list[str]) -> int:
    """Runs one study; exit status 1 where runs failed."""
    kind, rest = _study(argv)
    start = _start(kind, rest)
    study, options = parse_study(
        start,
        RunOptions(),
        rest,
        prog=f"disobey run {kind.name}",
        description=f"{kind.question}\n\n{inspect.cleandoc(kind.__doc__ or '')}",
    )
    if options.asks_null:
        return run_null(study, options, as_text=not options.json)
    runs = study.plan()
    store = Store(options.out)
    if options.dry_run:
        print(_forecast(study, runs, store))
        return 0
    outcome, result = _carried_out(study, runs, store, options)
    for failure in outcome.failed.values():
        name = failure.run.recipe.name or failure.run.id
        print(f"disobey: run failed: {name}, seed {failure.run.seed}: {failure.message}", file=sys.stderr)
    if outcome.failed:
        print(
            f"disobey: {len(outcome.failed)} of {len(closure(runs))} runs failed or were skipped; tracebacks are in "
            f"{store.root / 'failures'}; the same command tries them again",
            file=sys.stderr,
        )
    if outcome.retried:
        n = len(outcome.retried)
        print(f"disobey: {n} run{'s' * (n != 1)} tried again, because a worker or node ended", file=sys.stderr)
    if isinstance(result, ValueError):  # too little is left to say anything: the failures above are the message
        print(f"disobey: no report: {result}", file=sys.stderr)
        return 1
    if outcome.failed:
        result = marked(result, missing_of(runs, outcome), settle=options.partial)
    page = publish(result, Path(options.reports) if options.reports else folder_of(study, options.out), outcome)
    if options.json:
        sys.stdout.write(result.to_json())
    elif not options.quiet:
        _tell(result, page)
    return 1 if outcome.failed else 0


MENDS = 3  # times that records are found damaged only when they are read


def _carried_out(
    study: Study, runs: list[Run], store: Store, options: RunOptions
) -> tuple[Outcome, Result | ValueError]:
    """What was trained, and what it says (or why it says nothing, where runs failed).

    A record that turns out damaged when it is read counts as not finished: all are verified then, and what is damaged
    is trained again.
    """
    for turn in range(MENDS):
        with progress_bar(options.quiet) as progress:
            outcome = run_all(
                runs,
                store,
                workers=options.worker_count,
                device=options.device,
                progress=progress,
                verify=turn > 0,
                stall=60 * options.stall_timeout,
                checkpoint=60 * options.checkpoint_minutes,
            )
        try:
            return outcome, study.analyze(outcome.records)
        except Damaged:
            if turn == MENDS - 1:
                raise
        except ValueError as error:
            if outcome.failed:
                return outcome, error
            raise
    raise AssertionError("the loop returns or raises")


def missing_of(runs: Sequence[Run], outcome: Outcome) -> Missing:
    """What a study lacks after runs failed, for its first sentence."""
    failures = list(outcome.failed.values())
    first = next((f for f in failures if not f.skipped), failures[0])
    seeds = {run.seed for run in runs}
    lacking = sorted({run.seed for run in runs if run not in outcome.records})
    return Missing(len(failures), len(closure(runs)), tuple(lacking), len(seeds), printable(first.message))


def publish(result: Result, folder: Path, outcome: Outcome) -> Path:
    """Writes result.json, provenance.json, report.html and the figures; the report's path."""
    from disobey.records.files import write_text
    from disobey.reports.page import write

    makers = made_with(outcome.records.values())
    provenance = stamp() | {
        "cost": _cost(outcome),
        "made_with": makers,
        "warnings": mixtures(makers),
        "runs": sorted(run.id for run in outcome.records),
    }
    result.write(folder / "result.json")
    write_text(folder / "provenance.json", json.dumps(provenance, indent=1))
    return write(result, folder, provenance)


def folder_of(study: Study, out: Path) -> Path:
    """The report's folder: one for the default settings, one for every other setting."""
    changed = {f.name: getattr(study, f.name) for f in fields(study)} != {  # type: ignore[arg-type]
        f.name: f.default
        for f in fields(study)  # type: ignore[arg-type]
    }
    if not changed:
        return out / "reports" / study.name
    text = json.dumps(encode(study), sort_keys=True, default=str)
    return out / "reports" / f"{study.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _study(argv: Sequence[str]) -> tuple[type[Study], list[str]]:
    names = ", ".join(STUDIES)
    if not argv or argv[0].startswith("-"):
        if argv and argv[0] in ("-h", "--help"):
            print(f"usage: disobey run STUDY [OPTIONS]\n\nstudies: {names}\n`disobey run STUDY --help` for its options")
            raise SystemExit(0)
        raise refusal("no-study", f"a study after 'run': {names}", argv[0] if argv else "nothing", "disobey list")
    if argv[0] not in STUDIES:
        near = difflib.get_close_matches(argv[0], STUDIES, 1)
        hint = repr(near[0]) if near else "disobey list"
        raise refusal("unknown-study", f"a study out of {names}", repr(argv[0]), hint)
    return STUDIES[argv[0]], list(argv[1:])


def _start(kind: type[Study], argv: list[str]) -> Study:
    """The defaults that options override: the study's own, its smoke test's, or a preset's."""
    names = [argv[i + 1] for i, word in enumerate(argv[:-1]) if word == "--preset"]
    names += [word.split("=", 1)[1] for word in argv if word.startswith("--preset=")]
    names += ["full"] * ("--full" in argv)
    if "--smoke" in argv:
        if names:
            raise refusal("smoke-preset", "--smoke or a preset", "both", "one of them: each sets all options")
        return kind.smoke()
    if not names:
        return kind()
    if names[-1] not in kind.presets:
        known = ", ".join(kind.presets) or "none"
        raise refusal("unknown-preset", f"a preset of {kind.name} ({known})", repr(names[-1]))
    return kind(**kind.presets[names[-1]])


def _forecast(study: Study, runs: list[Run], store: Store) -> str:
    """What a dry run prints: how many runs of which kind, how many of them are there."""
    ordered = closure(runs)
    there = {run for run in ordered if store.find(run.id, encode(run.recipe)) is not None}
    counts = Counter(run.recipe.name or "run" for run in ordered)
    missing = Counter(run.recipe.name or "run" for run in ordered if run not in there)
    width = max(map(len, counts))
    lines = [f"{study.name}: {len(ordered)} runs, {len(there)} there already, {len(ordered) - len(there)} to train"]
    lines += [f"  {name:<{width}}  {n:>4} runs, {missing[name]:>4} to train" for name, n in counts.items()]
    steps = sum(run.recipe.optim.steps for run in ordered if run not in there)
    lines.append(f"  {steps:,} training steps; report in {folder_of(study, store.root)}")
    return "\n".join(lines)


def _cost(outcome: Outcome) -> dict[str, float]:
    trained = [record.cost for run, record in outcome.records.items() if run not in outcome.reused]
    return {
        "runs": len(outcome.records),
        "reused": len(outcome.reused),
        "failed": len(outcome.failed),
        "tried_again": sum(outcome.retried.values()),
        "cpu_seconds": round(sum(cost["cpu_seconds"] for cost in trained), 1),
        "cpu_seconds_with_reused": round(sum(r.cost["cpu_seconds"] for r in outcome.records.values()), 1),
    }


def _tell(result: Result, page: Path) -> None:
    from disobey.reports.summary import summary_lines

    print("\n".join(summary_lines(result)))
    print(f"\nreport: {page}")
