"""Seeds are added until every claim is settled: looks, endings, costs, and what a kill leaves."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from disobey.figures.paths import path_charts, path_table, settled_after
from disobey.measures.inference.policy import current
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Chart, Claim, Result, Table, Text
from disobey.studies.kit.claims import ClaimSpec, Source, Verdicts, judge
from disobey.studies.kit.settle import ANYTIME, Look, Stopping, next_seeds, progress, settle, with_paths
from disobey.studies.kit.verdicts import gain
from disobey.training.execution.engine import Failure, Outcome
from disobey.training.recipe import Recipe, Run
from tests.support.refusals import refuses


@dataclass(frozen=True)
class Planted:
    """A setting whose seeds differ from its control by a planted effect."""

    label: str
    effect: float
    sd: float = 0.004

    def values(self, seeds):
        return np.array([self.effect + self.sd * np.random.default_rng([7, seed]).normal() for seed in seeds])


US = Source("us")
PAYS = ClaimSpec("C1", "It pays.", US, gain(), lambda seeds, s: [mean_over_runs(s.values(seeds), "gain")])


@dataclass(frozen=True)
class Seeds:
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Demo:
    """A study without networks: its claims read planted numbers."""

    name: ClassVar[str] = "demo"
    question: ClassVar[str] = "Does it pay?"
    presets: ClassVar[dict[str, Any]] = {}
    settings: ClassVar[list[Planted]] = [Planted("large", 0.03), Planted("small", 0.006), Planted("none", 0.0)]

    setup: Seeds = field(default_factory=Seeds)
    is_smoke: bool = field(default=False, metadata={"option": False})

    def plan(self):
        return [Run(Recipe(replica=replica), seed) for seed in self.setup.seeds for replica in (0, 1)]

    def verdicts(self, records) -> Verdicts:
        seeds = sorted({run.seed for run in records})
        return judge([PAYS], seeds, self.settings)

    def analyze(self, records) -> Result:
        return Result(self.name, self.question, (*self.verdicts(records).claims, Text("Methods", "None.")))


@dataclass(frozen=True)
class Record:
    """Of a run that took ten CPU-seconds."""

    seed: int
    cost: dict[str, float] = field(default_factory=lambda: {"cpu_seconds": 10.0})


class Trainer:
    """Trains everything that is not there, and remembers how much that was."""

    def __init__(self, fails_at: int = 10**9):
        self.store: dict[Run, Record] = {}
        self.trained: list[int] = []
        self.fails_at = fails_at

    def __call__(self, study) -> Outcome:
        before = frozenset(run for run in study.plan() if run in self.store)
        failed = {run: Failure(run, "diverged") for run in study.plan() if run.seed >= self.fails_at}
        new = [run for run in study.plan() if run not in self.store and run not in failed]
        self.store |= {run: Record(run.seed) for run in new}
        self.trained.append(len(new))
        records = {run: self.store[run] for run in study.plan() if run in self.store}
        return Outcome(records, before, failed)  # type: ignore[arg-type]


def run(trainer=None, *, study=None, said=None, **stopping):
    trainer = trainer or Trainer()
    lines: list[str] = [] if said is None else said
    return settle(study or Demo(), trainer, Stopping(**stopping), lines.append)  # type: ignore[arg-type]


def test_seeds_are_added_until_every_claim_has_a_word():
    said: list[str] = []
    settled = run(said=said)
    assert settled.ended == "settled"
    words = {claim.setting: claim.verdict for claim in settled.looks[-1].claims}
    assert words == {"large": "supported", "small": "supported", "none": "negligible"}
    assert [look.seeds for look in settled.looks] == list(range(5, 5 * len(settled.looks) + 1, 5))
    assert settled.study.setup.seeds == tuple(range(settled.looks[-1].seeds))
    assert len(said) == len(settled.looks)
    assert "C1 (small)" in said[0]
    assert "1.7 CPU-minutes" in said[0]  # ten runs of ten seconds


def test_looking_often_costs_wider_intervals_and_no_more():
    settled = run()
    claim = settled.looks[0].claims[0]
    fixed = Demo().verdicts(
        settled.outcome.records and {run: r for run, r in settled.outcome.records.items() if run.seed < 5}
    )
    assert fixed.claims[0].evidence[0].value == claim.evidence[0].value
    assert fixed.claims[0].evidence[0].low > claim.evidence[0].low
    assert not current().anytime  # the policy ends with the loop


def test_the_largest_number_of_seeds_ends_it():
    settled = run(max_seeds=7)
    assert (settled.ended, settled.looks[-1].seeds) == ("max-seeds", 7)
    assert [claim.setting for claim in settled.looks[-1].open()]


def test_the_budget_ends_it_before_the_block_that_would_exceed_it():
    settled = run(budget=150.0)  # a block takes 100 CPU-seconds
    assert (settled.ended, settled.looks[-1].seeds) == ("budget", 5)
    assert run(budget=math.inf).ended == "settled"


def test_a_failed_run_ends_it_and_nothing_is_judged_on_what_is_left():
    settled = run(Trainer(fails_at=7))
    assert settled.ended == "failed"
    assert [look.seeds for look in settled.looks] == [5]
    assert settled.outcome.failed


@pytest.mark.parametrize("kill_at", [1, 2])
def test_a_kill_between_blocks_loses_nothing(kill_at):
    trainer, said = Trainer(), []

    def killed(line):
        said.append(line)
        if len(said) == kill_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        settle(Demo(), trainer, Stopping(), killed)  # type: ignore[arg-type]
    before = len(trainer.store)
    again = run(trainer)
    assert sum(trainer.trained) == len(trainer.store)  # no run twice
    assert before == 10 * kill_at
    alone = run()
    assert again.looks == alone.looks
    assert (again.study, again.ended) == (alone.study, alone.ended)


def test_seeds_go_on_from_the_studys_own():
    study = Demo(Seeds((20, 21, 22, 23, 24)))
    assert run(study=study, max_seeds=10).study.setup.seeds == tuple(range(20, 30))
    assert next_seeds((3, 1), Stopping(max_seeds=3)) == (4,)
    assert next_seeds((0, 1), Stopping(max_seeds=2)) == ()


def test_mistakes_are_refused():
    with refuses("bad-block"):
        Stopping(block=0)
    with refuses("bad-budget"):
        Stopping(budget=0.0)
    with refuses("bad-max-seeds", "5", "3"):
        run(max_seeds=3)


def test_the_report_shows_the_path_of_every_claim():
    settled = run()
    result = with_paths(settled.study.analyze(settled.outcome.records), settled, Stopping())
    (table,), (chart,) = result.of(Table), result.of(Chart)
    assert len(table.rows) == 3
    assert chart.data["seeds"][:3] == (5, 5, 5)
    assert chart.facet is not None
    assert {rule.intercept for rule in chart.rules} == {0.0, 0.5, -0.5}  # in points
    assert result.settings["until_settled"] is True
    assert result.of(Text)[-1].title == "Methods"
    assert Result.from_json(result.to_json()).to_json() == result.to_json()


def test_a_claim_that_opens_again_is_not_settled_before():
    claim = Claim("x", "us", "supported", (), "rule", name="C1")
    steps = [(5, [claim]), (10, [replace(claim, verdict="undecided")]), (15, [claim])]
    assert settled_after(steps, claim) == 15
    assert settled_after(steps[:2], claim) is None
    assert path_table(steps[:2]).rows[0][3] == "more than 10"
    assert path_charts(steps[2:])[0].kind == "interval"


def test_progress_names_what_is_open():
    claim = Claim("x", "us", "undecided", (), "rule", name="C1", setting="clean")
    line = progress(Look(5, (claim, replace(claim, verdict="negligible")), 60.0), 5, 90.0)
    assert (
        line
        == "5 seeds, 1.0 CPU-minutes: 1 of 2 claims open: C1 (clean); the next block of 5 takes about 1.5 CPU-minutes"
    )
    assert ANYTIME.anytime
