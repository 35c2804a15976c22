"""`disobey run STUDY`: plan, train what is missing, analyze, write the report."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal

from disobey.cli.budget import planned, within_budget
from disobey.cli.forecast import power_and_cost
from disobey.cli.log import log_result
from disobey.cli.null import NullOptions, pool_of, run_null
from disobey.cli.options import parse_study
from disobey.cli.output import print_json
from disobey.cli.progress import progress_bar
from disobey.cli.register import Registered, stopping_rule
from disobey.cli.rehearsal import forecast, forecast_lines, rehearse
from disobey.cli.settle import until_settled
from disobey.errors import printable, refusal
from disobey.packages import require
from disobey.records.manifest import Damaged
from disobey.records.mixing import made_with, mixtures
from disobey.records.partial import Missing, marked
from disobey.records.provenance import stamp
from disobey.records.results import Result
from disobey.records.store import Store
from disobey.studies import STUDIES, question_lines
from disobey.studies.kit.budget import plan_lines, plan_values
from disobey.studies.kit.settle import Stopping
from disobey.studies.kit.study import Study
from disobey.training.execution.engine import Outcome, run_all, tell
from disobey.training.recipe import Run, closure
from disobey.training.serialize import encode


@dataclass(frozen=True)
class RunOptions(NullOptions):
    """Options of `disobey run` beside the study's own."""

    dry_run: bool = False
    """check everything that a run checks, print what would be trained and what is there already, and stop"""
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
    no_report: bool = False
    """write the result for programs and no page: for `disobey pool`, or for `disobey report` later"""
    json: bool = False
    """print the result (of a dry run: the plan) as JSON on standard output, and nothing else there"""
    until_settled: bool = False
    """add paired seeds until every claim is settled, with intervals that allow for looking after every block"""
    max_seeds: int = 40
    """with --until-settled: no more seeds than these"""
    block: int = 5
    """with --until-settled: seeds that are added at a time"""
    budget: float = math.inf
    """CPU-minutes of training that may be spent now: whole seeds first, the same command goes on; with --until-settled:
    no block that would exceed it"""
    log: Literal["", "wandb", "mlflow", "tensorboard"] = ""
    """also send estimates, verdicts, settings and the report to this tracker, which its own variables set up"""
    registered: str = ""
    """file of `disobey register`: says what differs, and marks the claims whose rules are older than the runs"""

    @property
    def has_budget(self) -> bool:
        """Whether seeds are trained as far as a budget goes; the loop of --until-settled keeps its own."""
        return self.budget < math.inf and not self.until_settled and not self.asks_null


def main(argv: list[str]) -> int:
    """Runs one study; exit status 1 where runs failed."""
    kind, rest = named_study(argv)
    start = starting_point(kind, rest)
    study, options = parse_study(
        start,
        RunOptions(),
        rest,
        prog=f"disobey run {kind.name}",
        description=f"{kind.question}\n\n{inspect.cleandoc(kind.__doc__ or '')}",
    )
    if options.asks_null and not options.dry_run:
        return run_null(study, options, as_text=not options.json)
    if options.log:
        require(options.log, f"--log {options.log}")
    runs = pool_of(study, options).runs() if options.asks_null else study.plan()
    store = Store(options.out)
    rule = stopping_rule(options.until_settled, options.max_seeds, options.block)
    registered = Registered.read(options.registered, study, rule)
    if options.dry_run:
        found = rehearse(runs, store, options, options.reports)
        plan = forecast(study.name, runs, found, folder_of(study, store.root, options.until_settled))
        plan |= _power_cost_budget(study, store, options)
        print_json(plan) if options.json else print("\n".join([*forecast_lines(plan), *plan["forecast"]]))
        return 0
    folder = Path(options.reports) if options.reports else folder_of(study, options.out, options.until_settled)
    study, outcome, result = _carried_out(study, store, options)
    runs = study.plan()
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
        return 1 if outcome.failed else 0
    if outcome.failed:
        result = marked(result, missing_of(runs, outcome), settle=options.partial)
    if registered is not None:
        result = registered.mark(result, tuple(outcome.records.values()))
    page = publish(result, folder, outcome, draw=not options.no_report)
    if options.log:
        log_result(result, folder, options.log)
    if options.json:
        sys.stdout.write(result.to_json())
    elif not options.quiet:
        _tell(result, page)
    return 1 if outcome.failed else 0


MENDS = 3  # times that records are found damaged only when they are read


def _carried_out(study: Study, store: Store, options: RunOptions) -> tuple[Study, Outcome, Result | ValueError]:
    """The study with the seeds that it has now, what was trained, and what it says (or why nothing, where runs failed).

    A record that turns out damaged when it is read counts as not finished: all are verified then, and what is damaged
    is trained again.
    """
    for turn in range(MENDS):
        train = partial(_trained, store=store, options=options, verify=turn > 0)
        try:
            if options.has_budget:
                for line in plan_lines(planned(study, store, options.budget, options.device)) if turn == 0 else ():
                    tell(line)
                return within_budget(study, train, options.budget)
            if options.until_settled:
                return until_settled(study, train, Stopping(options.max_seeds, options.block, 60 * options.budget))
            outcome = train(study)
            try:
                return study, outcome, study.analyze(outcome.records)
            except Damaged:
                raise
            except ValueError as error:
                if outcome.failed:
                    return study, outcome, error
                raise
        except Damaged:
            if turn == MENDS - 1:
                raise
    raise AssertionError("the loop returns or raises")


def _power_cost_budget(study: Study, store: Store, options: RunOptions) -> dict[str, Any]:
    """What a dry run adds: the smallest effect that is seen, the CPU time to come, and what a budget pays for."""
    if options.asks_null:
        return {"forecast": []}
    lines = power_and_cost(study, store)
    if not options.has_budget:
        return {"forecast": lines}
    fits = planned(study, store, options.budget, options.device)
    return {"budget": plan_values(fits), "forecast": [*lines, *(f"  {line}" for line in plan_lines(fits))]}


def _trained(study: Study, limit: float = math.inf, *, store: Store, options: RunOptions, verify: bool) -> Outcome:
    with progress_bar(options.quiet) as progress:
        return run_all(
            study.plan(),
            store,
            workers=options.worker_count,
            device=options.device,
            progress=progress,
            verify=verify,
            stall=60 * options.stall_timeout,
            checkpoint=60 * options.checkpoint_minutes,
            acceleration=options.acceleration,
            limit=limit,
        )


def missing_of(runs: Sequence[Run], outcome: Outcome) -> Missing:
    """What a study lacks after runs failed, for its first sentence."""
    failures = list(outcome.failed.values())
    first = next((f for f in failures if not f.skipped), failures[0])
    seeds = {run.seed for run in runs}
    lacking = sorted({run.seed for run in runs if run not in outcome.records})
    return Missing(len(failures), len(closure(runs)), tuple(lacking), len(seeds), printable(first.message))


def publish(result: Result, folder: Path, outcome: Outcome, draw: bool = True) -> Path:
    """Writes result.json and provenance.json, with ``draw`` report.html and the figures; the path to look at."""
    from disobey.records.files import write_text

    makers = made_with(outcome.records.values())
    provenance = stamp() | {
        "cost": _cost(outcome),
        "made_with": makers,
        "warnings": mixtures(makers),
        "runs": sorted(run.id for run in outcome.records),
    }
    result.write(folder / "result.json")
    write_text(folder / "provenance.json", json.dumps(provenance, indent=1))
    if not draw:
        return folder / "result.json"
    from disobey.reports.page import write

    return write(result, folder, provenance)


def folder_of(study: Study, out: Path, until_settled: bool = False) -> Path:
    """The report's folder: one for the default settings, one for every other setting."""
    more = "-settled" * until_settled
    changed = {f.name: getattr(study, f.name) for f in fields(study)} != {  # type: ignore[arg-type]
        f.name: f.default
        for f in fields(study)  # type: ignore[arg-type]
    }
    if not changed:
        return out / "reports" / f"{study.name}{more}"
    text = json.dumps(encode(study), sort_keys=True, default=str)
    return out / "reports" / f"{study.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}{more}"


def named_study(argv: Sequence[str], command: str = "run") -> tuple[type[Study], list[str]]:
    """The study that a command line names, and the rest of it."""
    names = ", ".join(STUDIES)
    if not argv or argv[0].startswith("-"):
        if argv and argv[0] in ("-h", "--help"):
            print("\n".join([f"usage: disobey {command} STUDY [OPTIONS]", "", "studies:", *question_lines(), ""]))
            print(f"`disobey {command} STUDY --help` shows the options of a study.")
            raise SystemExit(0)
        raise refusal("no-study", f"a study after {command!r}: {names}", argv[0] if argv else "nothing", "disobey list")
    if argv[0] not in STUDIES:
        near = difflib.get_close_matches(argv[0], STUDIES, 1)
        hint = repr(near[0]) if near else "disobey list"
        raise refusal("unknown-study", f"a study out of {names}", repr(argv[0]), hint)
    return STUDIES[argv[0]], list(argv[1:])


def starting_point(kind: type[Study], argv: list[str]) -> Study:
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
    print(f"\n{'report' if page.suffix == '.html' else 'result'}: {page}")
