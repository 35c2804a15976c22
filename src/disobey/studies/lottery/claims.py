"""The rules of `lottery`, written down before the runs.

A ticket is a pruned network, rewound and trained again; an arm is where it is rewound to. Arms are compared by the mean
test accuracy of their tickets in a range of densities, paired by seed. Positive control first: where sparse tickets
rewound to first weights lose nothing, or those of trained weights lose too, the setting can test nothing, and no claim
on students is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from disobey.measures.inference.runs import mean_over_runs
from disobey.studies.kit.claims import Answer, ClaimSpec, Parts, Skip, Source
from disobey.studies.kit.design import Arm
from disobey.studies.kit.evidence import Evidence
from disobey.studies.kit.verdicts import POINTS, AllOf, BeyondControl, Effect, Equivalence, gain

PAPER = Source(
    "arXiv 2302.12091",
    "Sarnthein, Bachmann, Anagnostidis, Hofmann, Random teachers are good teachers, ICML 2023, arXiv:2302.12091",
)
FRANKLE = Source("arXiv 1912.05671")
OURS = Source("a prediction of ours; no publication")
LOSS = 0.02  # tickets that lose more than two points fail
SAME = 0.01  # tickets within one point are as good
Densities: TypeAlias = tuple[float, float]  # shares of weights left, from and to
ROUNDING = 0.005  # of a density: whole weights are pruned
FIRST, STUDENT, WALK = "first weights", "student of a random teacher", "walk as long as the student's"
NOISE, FAR, PLACES = "student on Gaussian inputs", "student from a far start", "the student's, weights at random places"


def moment(step: int) -> str:
    """A rewinding point of supervised training, in words."""
    return f"after {step} supervised steps" if step else FIRST


def rounds_within(share: float, rounds: int, low: float, high: float) -> list[int]:
    """The rounds whose density lies between two.

    >>> rounds_within(0.5, 5, 0.05, 0.5)
    [1, 2, 3, 4]
    """
    densities = [(1 - share) ** k for k in range(rounds + 1)]
    return [k for k, d in enumerate(densities) if low - ROUNDING <= d <= high + ROUNDING]


@dataclass(frozen=True)
class Curves:
    """The arms of one setting: what the rules compare.

    Attributes:
        label: the setting.
        arms: by the name of the rewinding point.
        share: that every round prunes.
        rounds: prunings.
        early: the earliest rewinding point after the first weights.
        late: the latest.
        judged: shares of the weights left at which tickets are compared.
        sparse: those of the positive control.
    """

    label: str
    arms: Mapping[str, Arm]
    share: float
    rounds: int
    early: str
    late: str
    judged: Densities
    sparse: Densities

    def curve(self, e: Evidence, name: str) -> NDArray:
        """Test accuracy of every round, the dense one first, (S, rounds + 1)."""
        arm, key = (self.arms[STUDENT], "replaced") if name == PLACES else (self.arms[name], "ticket")
        return np.stack([e.per_seed(arm, f"{key}@{k}") for k in range(self.rounds + 1)], axis=1)

    def within(self, e: Evidence, name: str) -> NDArray:
        """Mean accuracy of the tickets that are compared, (S,)."""
        return self.curve(e, name)[:, rounds_within(self.share, self.rounds, *self.judged)].mean(axis=1)

    def lost(self, e: Evidence, name: str) -> NDArray:
        """Accuracy of the dense network minus that of the sparse tickets, (S,)."""
        curve = self.curve(e, name)
        return curve[:, 0] - curve[:, rounds_within(self.share, self.rounds, *self.sparse)].mean(axis=1)


def untestable(e: Evidence, c: Curves) -> str:
    """Why the setting can test nothing; empty where it can."""
    first, late = c.lost(e, FIRST).mean(), c.lost(e, c.late).mean()
    if first < LOSS:
        return f"tickets of first weights lose less than {LOSS:.0%}: this setting can test nothing"
    if late >= LOSS:
        return f"tickets rewound to {c.late} lose {LOSS:.0%} too: this setting can test nothing"
    return ""


def guarded(evidence: Callable[[Evidence, Curves], Answer]) -> Callable[[Evidence, Curves], Answer]:
    """Judges only where the positive control has shown, on the mean, that rewinding matters."""

    def ask(e: Evidence, c: Curves) -> Answer:
        reason = untestable(e, c)
        return Skip(reason) if reason else evidence(e, c)

    return ask


def control(e: Evidence, c: Curves) -> Answer:
    """What tickets of first weights lose, and what those rewound latest do."""
    return Parts([[mean_over_runs(c.lost(e, name), f"dense − sparse tickets, {name}")] for name in (FIRST, c.late)])


def over(*others: Callable[[Curves], str]) -> Callable[[Evidence, Curves], Answer]:
    """Tickets of the random teacher's student minus others."""

    def differences(e: Evidence, c: Curves) -> Answer:
        own, names = c.within(e, STUDENT), [other(c) for other in others]
        return [mean_over_runs(own - c.within(e, name), f"tickets, student − {name}") for name in names]

    return guarded(differences)


LotteryClaim = ClaimSpec[Evidence, Curves]
CLAIMS: tuple[LotteryClaim, ...] = (
    ClaimSpec(
        "T0",
        "Tickets rewound to first weights lose accuracy, those rewound to slightly trained weights do not "
        "(positive control).",
        FRANKLE,
        AllOf((("first weights", Effect(1, LOSS, unit=POINTS)), ("latest", Effect(-1, LOSS, unit=POINTS)))),
        control,
    ),
    ClaimSpec(
        "T1",
        "Tickets of a random teacher's student are better than those of first weights, and than those of weights that "
        "went as far in a random direction.",
        PAPER,
        BeyondControl(gain(), gain()),
        over(lambda _: FIRST, lambda _: WALK),
    ),
    ClaimSpec(
        "T2",
        "They are as good as those of the earliest supervised rewinding point.",
        PAPER,
        Equivalence(SAME, unit=POINTS),
        over(lambda c: c.early),
    ),
    ClaimSpec(
        "T3", "They are better than those of a student on Gaussian inputs.", PAPER, gain(), over(lambda _: NOISE)
    ),
    ClaimSpec(
        "T4",
        "They are better than those of a student that starts far from its teacher.",
        PAPER,
        gain(),
        over(lambda _: FAR),
    ),
    ClaimSpec(
        "T5",
        "They are better than networks from the same start with as many weights at random places of every layer.",
        OURS,
        gain(),
        over(lambda _: PLACES),
    ),
)
