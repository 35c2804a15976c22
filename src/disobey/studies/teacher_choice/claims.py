"""What is claimed of teachers, and when each claim holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from disobey.measures.inference.comparisons import ratio_over_runs
from disobey.studies.kit.claims import Answer, ClaimSpec, Parts, Skip, Source
from disobey.studies.kit.design import Arm
from disobey.studies.kit.evidence import Evidence
from disobey.studies.kit.verdicts import POINTS, AllOf, Equivalence, above, below, gain, most_of
from disobey.studies.teacher_choice.properties import PROPERTIES
from disobey.studies.teacher_choice.ranking import ACCURACY, FEWEST_TEACHERS, PILOT, Ranking
from disobey.studies.teacher_choice.teachers import FULL, LARGE, OWN, Cell

HARUTYUNYAN = Source(
    "arXiv 2301.12245", "Harutyunyan et al., Supervision complexity and its role in knowledge distillation, 2023"
)
CHO = Source("Cho & Hariharan 2019", "Cho and Hariharan, On the efficacy of knowledge distillation, ICCV 2019")
FAN = Source(
    "Fan et al. 2024", "Fan et al., Revisit the essence of distilling knowledge through calibration, ICML 2024"
)
BURNS = Source("arXiv 2312.09390", "Burns et al., Weak-to-strong generalization, 2023")
OURS = Source("this study")


@dataclass(frozen=True, eq=False)
class Setting:
    """One noise level: its students, and how its teachers rank."""

    cell: Cell
    ranking: Ranking

    @property
    def label(self) -> str:
        """The noise level in words."""
        return self.cell.label

    @property
    def levels(self) -> tuple[tuple[str, str], ...]:
        """As tables of claims show it."""
        return self.cell.levels

    def arm(self, teacher: str, reading: str = "raw") -> Arm | None:
        """A student by its teacher, which a user's own teachers need not have."""
        return self.cell.students.get((teacher, reading))


NOT_HERE = Skip("needs the study's own teachers, without --teachers")


def _difference(one: tuple[str, str], other: tuple[str, str]):
    """The student of one (teacher, reading) minus that of another."""

    def evidence(e: Evidence, s: Setting) -> Answer:
        first, second = s.arm(*one), s.arm(*other)
        return NOT_HERE if first is None or second is None else [e.mean(first, ACCURACY, minus=second)]

    return evidence


def _starting(name: str, other: tuple[str, str]):
    """The raw student of the teacher whose name begins so, minus another."""

    def evidence(e: Evidence, s: Setting) -> Answer:
        found = next((arm for teacher, arm in s.cell.of("raw").items() if teacher.startswith(name)), None)
        second = s.arm(*other)
        return NOT_HERE if found is None or second is None else [e.mean(found, ACCURACY, minus=second)]

    return evidence


def _default(s: Setting) -> Arm:
    return s.cell.students[s.cell.default.name, "raw"]


def _pays(e: Evidence, s: Setting) -> Answer:
    return [e.mean(_default(s), ACCURACY, minus=s.cell.control)]


def _gap_closed(e: Evidence, s: Setting) -> Answer:
    arms = [s.arm(teacher, reading) for reading in ("raw", "fitted") for teacher in (LARGE, OWN)]
    if any(arm is None for arm in arms):
        return NOT_HERE
    large, own, large_fitted, own_fitted = (arm for arm in arms if arm is not None)
    raw = e.mean(large, ACCURACY, minus=own)
    return Parts([[raw], [e.mean(large_fitted, ACCURACY, minus=own_fitted)]])


def _ranks_keep(e: Evidence, s: Setting) -> Answer:
    ranks = s.cell.students[s.cell.default.name, "ranks"]
    return [e.share(ranks, ACCURACY, of=_default(s), over=s.cell.control)]


def recovered(e: Evidence, s: Setting) -> Answer:
    """Performance gap recovered: (strong student − weak teacher) / (strong on labels − weak teacher)."""
    weak, strong, ceiling = s.cell.weak, s.cell.strong, s.cell.ceiling
    if weak is None or strong is None or ceiling is None:
        return NOT_HERE
    part, whole = (e.per_seed(arm, ACCURACY, minus=weak) for arm in (strong, ceiling))
    ratio = ratio_over_runs(part, whole, "performance gap recovered")
    return [e.mean(strong, ACCURACY, minus=weak), ratio, e.mean(ceiling, ACCURACY, minus=weak)]


def _ranked(s: Setting) -> Skip | None:
    few = len(s.ranking.teachers) < FEWEST_TEACHERS
    return Skip(f"needs at least {FEWEST_TEACHERS} teachers to rank") if few else None


def _ranks(name: str):
    return lambda _, s: _ranked(s) or [s.ranking.correlation(name)]


def _better_than_accuracy(_: Evidence, s: Setting) -> Answer:
    return _ranked(s) or [s.ranking.difference("NLL", "accuracy"), s.ranking.difference("calibration", "accuracy")]


def _pilot_beats_all(_: Evidence, s: Setting) -> Answer:
    return _ranked(s) or Parts([[s.ranking.difference(PILOT, name)] for name in PROPERTIES])


W = ClaimSpec[Evidence, Setting]
CLAIMS: tuple[W, ...] = (
    W("W0", "Distillation from the default teacher beats labels alone.", OURS, gain(), _pays),
    W(
        "W1",
        "The most accurate teacher is not the best: one stopped after a quarter of its training teaches better.",
        CHO,
        gain(),
        _starting("after 25%", (FULL, "raw")),
    ),
    W(
        "W2",
        "Capacity gap: a large teacher's student is worse than that of a teacher of the student's size.",
        CHO,
        below(0.0, margin=0.005, unit=POINTS),
        _difference((LARGE, "raw"), (OWN, "raw")),
    ),
    W(
        "W3",
        "The capacity gap is a matter of calibration: there is one, and fitted temperatures remove it.",
        FAN,
        AllOf(
            (
                ("as they are", below(0.0, margin=0.005, unit=POINTS)),
                ("at fitted temperatures", Equivalence(0.005, unit=POINTS)),
            )
        ),
        _gap_closed,
    ),
    W("W4", "The order of the classes alone keeps more than half of the gain.", OURS, most_of(0.5), _ranks_keep),
    W(
        "W5",
        "A teacher's NLL ranks students better than its accuracy.",
        FAN,
        above(0.0, margin=0.05),
        _better_than_accuracy,
    ),
    W(
        "W6",
        "Pilots rank students better than any property of the teacher.",
        OURS,
        AllOf(tuple((f"than {name}", above(0.0, margin=0.05)) for name in PROPERTIES)),
        _pilot_beats_all,
    ),
    W("W7", "Weak to strong: a large student is better than its small teacher.", BURNS, gain(), recovered),
    W(
        "W8",
        "An ensemble of seeds teaches better than one of them.",
        OURS,
        gain(),
        _starting("ensemble", (FULL, "raw")),
    ),
    W(
        "W9",
        "Teachers that did not see the example teach better than one that did.",
        OURS,
        gain(),
        _starting("cross-fitted", (FULL, "raw")),
    ),
)
RANKED: Mapping[str, str] = {f"P{i}": name for i, name in enumerate((*PROPERTIES, PILOT), 1)}
RANK_CLAIMS: tuple[W, ...] = tuple(
    W(id, f"Before distilling, {name} ranks the students.", OURS, above(0.0), _ranks(name))
    for id, name in RANKED.items()
)
