"""How much closer to a teacher can one undistilled student look than another that differs only in its seed?

    python benchmarks/diagnose_seeds.py [--students 6] [--data mnist-5k] [--teacher mlp:256] [--student mlp:16]

Trains one teacher and several students on labels, and diagnoses every ordered pair of students as student and control
(twin). None was distilled, so every "closer to its teacher" is seed variation: its size is what
`checks.distillation.SEED_VARIATION` must exceed. Prints what *distillation visible* answers for the pairs and the
differences that are certain over examples. docs/guides/diagnose.md has the numbers.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from itertools import permutations
from pathlib import Path

from disobey.diagnosis.checks.distillation import distillation_visible
from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.input.pair import pair_from
from disobey.records.store import Store
from disobey.studies.kit.setup import Distillation, Setup
from disobey.targets.schedule import labels
from disobey.training.execution.engine import run_all
from disobey.training.recipe import Run


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--students", type=int, default=6)
    parser.add_argument("--data", default="mnist-5k")
    parser.add_argument("--teacher", default="mlp:256")
    parser.add_argument("--student", default="mlp:16")
    options = parser.parse_args()
    setup = Distillation(Setup(data=options.data), options.teacher)
    teacher = Run(setup.teacher_recipe(0.0), 0)
    students = [Run(setup.student_recipe(options.student, labels(), 0.0), seed) for seed in range(options.students)]
    with tempfile.TemporaryDirectory() as folder:
        outcome = run_all([teacher, *students], Store(Path(folder)))
        assert not outcome.failed
        records = [outcome.records[run] for run in (teacher, *students)]
        ids = [record.examples["test.ids"] for record in records]
        assert all((own == ids[0]).all() for own in ids), "the same test examples in every run"
        first, *others = (record.log_probs("test") for record in records)
        truth = records[0].examples["test.labels"]
        answers, variation = Counter(), []
        for student, twin in permutations(others, 2):
            finding = distillation_visible(
                gather(pair_from({"teacher": first, "student": student, "twin": twin, "labels": truth}))
            )
            assert finding is not None
            answers[finding.status, finding.case] += 1
            variation += [(e.value, e.name) for e in finding.evidence if e.low > 0]
    print(f"{len(truth):,} test examples, {sum(answers.values())} ordered pairs: {dict(answers)}")
    for value, name in sorted(variation, reverse=True):
        print(f"{value:+.4f} {name}")


if __name__ == "__main__":
    main()
