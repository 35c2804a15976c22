"""A study with no effect: what stands in the students' places, and where each estimate then truly lies.

Two mechanisms.

*Replicas*, for designs whose students have controls. Every student and every control of a seed gets an undistilled
replica of the control instead: the same recipe with another initialization and order of batches, on the same data and
the same corrupted labels. They are dealt out anew for every study, without replacement, so student and control are
exchangeable: whatever is found beyond the control is false. Teachers stay.

*Centred*, for the others, whose claims compare things that are no two trainings of one recipe (two signals in one
network, few sweeps and many). The estimates of a study are moved by the distance from the mean over all trained seeds
to the border of the rule, which is where the claim is neither true nor false; spread, shape and pairing of the runs
stay what they are. Exchanging the two sides within seeds, the other classical null, was not used: with a large effect
it makes differences of ±d, and of five such signs all are equal in one of sixteen studies, which says something about
the exchange and nothing about the rule.

A planted effect moves the estimates once more, into the claimed direction, by a multiple of the rule's margin.
Estimates over the cases or draws of an exact part do not depend on trained runs: they have no null.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from disobey.errors import refusal
from disobey.records.results import Estimate
from disobey.studies.kit.claims import Answer, Change, ClaimSpec, Noted, Parts, Skip, changing
from disobey.studies.kit.design import Design, Records
from disobey.studies.kit.memo import Remembering
from disobey.studies.kit.verdicts import AllOf, BeyondControl, Effect, Equivalence, OneSide, Single
from disobey.training.recipe import Recipe, Run

Study: TypeAlias = Any  # `kit.study.Study` with a ``setup`` that has seeds; that module shows what is stored here
OVER_RUNS = ("runs", "runs and examples", "settings", "data sets")  # of trained runs


@dataclass(frozen=True)
class Place:
    """A control, and the recipes that each get a replica of it: itself and its students."""

    control: Recipe
    recipes: tuple[Recipe, ...]


@dataclass(frozen=True)
class Null:
    """How a study is run with no effect.

    Attributes:
        study: as it is asked; its seeds say how many a null study has.
        seeds: the pool of seeds that are trained.
        places: where replicas stand; none: centred.
        replicas: of each control, a seed.
    """

    study: Study
    seeds: tuple[int, ...]
    places: tuple[Place, ...] = ()
    replicas: int = 0
    _studies: dict[tuple[int, ...], Study] = field(default_factory=dict, compare=False, repr=False)

    @property
    def size(self) -> int:
        """Seeds of one null study."""
        return len(_setup(self.study).seeds)

    def on(self, seeds: tuple[int, ...]) -> Study:
        """The study on other seeds."""
        if seeds not in self._studies:
            study: Any = self.study
            self._studies[seeds] = replace(study, setup=replace(study.setup, seeds=seeds))
        return self._studies[seeds]

    def runs(self) -> list[Run]:
        """What is trained: teachers and replicas; where there are no replicas, the study itself."""
        if not self.places:
            return self.on(self.seeds).plan()
        stand_ins = [_replica(place.control, k) for place in self.places for k in range(self.replicas)]
        return [Run(recipe, seed) for seed in self.seeds for recipe in dict.fromkeys((*self._stay(), *stand_ins))]

    def dealt(self, records: Records, seeds: tuple[int, ...], rng: np.random.Generator) -> dict[Run, Any]:
        """The records of one null study: replicas in the places of students and controls, teachers as they are."""
        if not self.places:
            return dict(records)
        found = {Run(recipe, seed): records[Run(recipe, seed)] for seed in seeds for recipe in self._stay()}
        for seed in seeds:
            for place in self.places:
                order = rng.permutation(self.replicas)
                for recipe, k in zip(place.recipes, order, strict=False):
                    found[Run(recipe, seed)] = records[Run(_replica(place.control, int(k)), seed)]
        return found

    def _stay(self) -> list[Recipe]:
        """The recipes that nothing stands in for: teachers."""
        design = design_of(self.study)
        assert design is not None, "replicas need a design"
        placed = {recipe for place in self.places for recipe in place.recipes}
        return [recipe for recipe in design.recipes() if recipe not in placed]


def null_of(study: Study, *, pool: int = 10, replicas: int = 0) -> Null:
    """The null of a study: replicas where it has controls, else centred.

    Args:
        study: with its settings; its seeds are the first of the pool.
        pool: seeds that are trained; a null study takes as many of them as the study has.
        replicas: of every control; 0: as few as the places need.

    Raises:
        Refusal: ``small-pool`` for a pool smaller than the study; ``few-replicas`` for fewer replicas than places.
    """
    own = tuple(_setup(study).seeds)
    if pool < len(own):
        raise refusal(
            "small-pool", f"a pool of at least {len(own)} seeds, those of the study", pool, f"--pool {len(own)}"
        )
    more = [seed for seed in range(pool + max(own) + 1) if seed not in own]
    seeds = (*own, *more[: pool - len(own)])
    places = _places(study)
    needed = max((len(place.recipes) for place in places), default=0)
    if places and replicas and replicas < needed:
        raise refusal(
            "few-replicas",
            f"at least {needed} replicas: students and controls need one each",
            replicas,
            f"--replicas {needed}",
        )
    return Null(study, seeds, places, (replicas or needed) if places else 0)


def design_of(study: Study) -> Design | None:
    """The arms of a study with their controls, where it is made of such."""
    for name in ("trained", "design"):
        found = getattr(study, name, None)
        found = found() if callable(found) else found
        if isinstance(found, Design):
            return found
    return None


def _places(study: Study) -> tuple[Place, ...]:
    design, found = design_of(study), {}
    arms = () if design is None else design.arms
    if all(arm.control is None for arm in arms):
        return ()  # a run in its own place would be an effect, not a null
    for arm in arms:
        control = arm.recipe if arm.control is None else arm.control
        found.setdefault(control, {control: None})[arm.recipe] = None
    return tuple(Place(control, tuple(recipes)) for control, recipes in found.items())


@cache
def _replica(control: Recipe, k: int) -> Recipe:
    """The control itself, then the same recipe with other initializations and orders of batches."""
    return replace(control, replica=control.replica + k, name=f"{control.name or 'control'}, replica {k}")


def _setup(study: Study) -> Any:
    found: Any = study
    return found.setup


@dataclass
class Centres:
    """Where the estimates of a study lie on all seeds of the pool: the truth that null studies are moved from."""

    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    specs: dict[tuple[str, str], ClaimSpec] = field(default_factory=dict)

    def note(self, spec: ClaimSpec, setting: str, answer: Answer) -> Answer:
        """A `Change` that changes nothing and keeps the values."""
        assert not isinstance(answer, Skip)
        groups = _groups(answer)
        self.values.setdefault((spec.id, setting), [e.value for group in groups for e in group])
        self.specs.setdefault((spec.id, setting), spec)
        return answer


def centres(null: Null, records: Remembering) -> Centres:
    """The estimates on the whole pool; with replicas, one deal of them (its rules count, not its values)."""
    found = Centres()
    dealt = Remembering(null.dealt(records, null.seeds, np.random.default_rng(0)), records.memo)
    with changing(found.note):
        null.on(null.seeds).verdicts(dealt)
    return found


def moving(null: Null, found: Centres, effect: float) -> Change:
    """The `Change` of a null study: to the border where it is centred, then ``effect`` margins as claimed."""

    def change(spec: ClaimSpec, setting: str, answer: Answer) -> Answer:
        assert not isinstance(answer, Skip)
        groups = _groups(answer)
        truths = iter(found.values.get((spec.id, setting), ()) if not null.places else ())
        moved = []
        for rules, group in zip(_rules(spec, groups), groups, strict=True):
            own = []
            for rule, estimate in zip(rules, group, strict=True):
                truth = None if null.places else next(truths, np.nan)
                own.append(estimate if rule is None else _moved(rule, estimate, truth, effect))
            moved.append(own)
        if isinstance(answer, Parts):
            return replace(answer, groups=moved)
        return replace(answer, estimates=moved[0]) if isinstance(answer, Noted) else moved[0]

    return change


def _groups(answer: Answer) -> list[Sequence[Estimate]]:
    assert not isinstance(answer, Skip)
    if isinstance(answer, Parts):
        return list(answer.groups)
    return [answer.estimates if isinstance(answer, Noted) else answer]


def _rules(spec: ClaimSpec, groups: Sequence[Sequence[Estimate]]) -> list[list[Single | OneSide | None]]:
    """The rule of every estimate; None for one that is only shown."""
    match spec.rule:
        case AllOf(parts):
            return [[rule] * len(group) for (_, rule), group in zip(parts, groups, strict=True)]
        case OneSide() as rule:
            return [[rule] * len(groups[0])]
        case BeyondControl(literal, beyond):
            read: list[Single | OneSide | None] = [literal, beyond]
        case Effect() | Equivalence() as rule:
            read = [rule]
    return [(read + [None] * len(groups[0]))[: len(groups[0])]]


def _moved(rule: Single | OneSide, estimate: Estimate, truth: float | None, effect: float) -> Estimate:
    if estimate.over not in OVER_RUNS:
        return estimate
    by = effect * rule.margin * (rule.direction or 1)  # no side is claimed: to the right
    if truth is not None:
        by += rule.border - truth  # NaN: undefined on the pool
    return replace(estimate, value=estimate.value + by, low=estimate.low + by, high=estimate.high + by)


def right_words(spec: ClaimSpec, centred: bool, value: float = 0.0) -> tuple[str, ...]:
    """The decided words that are right where there is no effect.

    Where the truth is the border, none but that an equivalence holds. Replicas have no effect beyond their control, but
    the number of a rule with a border elsewhere (a factor of 1.5, most of a gain, a divergence from the teacher) has a
    value all the same, and surely lies on one side: ``value``, that of the whole pool.
    """
    rule = spec.rule
    if isinstance(rule, AllOf):
        return ("supported",) if all(isinstance(part, Equivalence) for _, part in rule.parts) else ()
    if isinstance(rule, Equivalence):
        return ("supported",) if centred or abs(rule.center) < rule.margin else ("contradicted",)
    if isinstance(rule, Effect) and not centred and rule.border:
        at = value if np.isfinite(value) else 0.0
        return ("supported",) if rule.direction * (at - rule.border) > 0 else ("contradicted",)
    return ()


def drawn(null: Null, records: Remembering, rng: np.random.Generator) -> tuple[Study, Remembering]:
    """One null study and its records: random seeds of the pool, replicas dealt out anew."""
    seeds = tuple(sorted(int(seed) for seed in rng.choice(null.seeds, null.size, replace=False)))
    return null.on(seeds), Remembering(null.dealt(records, seeds, rng), records.memo)
