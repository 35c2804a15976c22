"""The arms of `state-tracking` on large groups: heads of reflections, what they are made of, and what they replace.

A group of 60 elements or more is large: the recipe of S3 does not learn A5, heads of reflections learn it in seconds.
Their budget was chosen on other random streams (docs/experiments/2026-11-28-a5-and-s5.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from disobey.data.dataset import DataSpec
from disobey.data.sources.sequences import Permutation
from disobey.data.sources.sequences import group as find_group
from disobey.errors import refusal
from disobey.models.spec import ModelSpec
from disobey.studies.kit.sequences import TEST_SWEEPS, swept
from disobey.training.recipe import Recipe
from disobey.training.specs import PREFIX, HeadSpec, OptimSpec, SequenceSpec

LARGE = 60  # elements
CONSISTENT, TWO_DIAGONALS, DELTA, LSTM = "consistent states", "two signed diagonal layers", "DeltaProduct", "LSTM"
PROJECTIONS, CONSTANT, LSTM_TIED = "projections", "a quarter constant words", "LSTM, consistent states"
CONSISTENCY = 10.0  # weight of the tie of states
TRAINED_SWEEPS = (1, 2, 4, 8)  # as many as there are tokens are exact: that arm is the exact one, asked with sweeps


@dataclass(frozen=True)
class LargeSetup:
    """Budget of the groups of 60 elements or more; those of more than 60 get twice the steps and tokens."""

    large_steps: int = 800
    """training steps on a group of 60 elements; twice as many on a larger one"""
    large_tokens: int = 1024
    """tokens of a training batch there; twice as many on a larger group"""
    large_lr: float = 1e-2
    """largest learning rate there"""
    large_longest: int = 16
    """training words there have up to so many tokens, fewer in the first half of training"""
    large_far: int = 64
    """the length that stands for extrapolation there"""
    large_lengths: tuple[int, ...] = (8, 16, 32, 64, 128)
    """lengths of the evaluation there"""
    large_count: int = 256
    """words a length of the evaluation there"""

    def __post_init__(self):
        if not {self.large_longest, self.large_far} <= set(self.large_lengths):
            wanted = f"large_longest and large_far among the lengths {self.large_lengths}"
            raise refusal("lengths", wanted, f"{self.large_longest} and {self.large_far}")

    def recipe(
        self, group: str, layer: str, name: str, *, longer: int = 1, depth: int | None = None, **changes: Any
    ) -> Recipe:
        """One arm: a layer on a group with changed sequence options, for ``longer`` times the steps."""
        twice = 2 if len(find_group(group)) > LARGE else 1
        steps = self.large_steps * twice * longer
        heads = HeadSpec(24 if twice > 1 else 16)
        inner = heads.count * dimensions(group)
        words = {"longest": self.large_longest, "lengths": self.large_lengths, "count": self.large_count}
        words |= {"tokens": self.large_tokens * twice, "grow": 0.5, "powers": self.large_far, "streams": "own"}
        return Recipe(
            DataSpec(PREFIX + group),
            ModelSpec(layer, width=32, depth=depth),
            OptimSpec(
                "adamw",
                lr=self.large_lr,
                steps=steps,
                batch=max(self.large_tokens * twice // self.large_longest, 1),
                warmup=min(100, max(steps // 8, 1)),
                betas=(0.9, 0.99),
                weight_decay=0.0,
                clip=1.0,
            ),
            sequence=SequenceSpec(**({"inner": inner, "heads": heads} | words | changes)),
            name=f"{group}: {name}",
        )


def is_large(group: str) -> bool:
    """Whether a group has so many elements that its arms are those of this module.

    >>> is_large("A5"), is_large("S4"), is_large("parity")
    (True, False, False)
    """
    return group != "parity" and len(find_group(group)) >= LARGE


def dimensions(group: str) -> int:
    """Dimensions of a head: 4, or 5 where a group has odd permutations.

    An even number of exact reflections has determinant 1, so an odd element needs one more dimension in which the sign
    stands beside the representation.

    >>> dimensions("A5"), dimensions("S5")
    (4, 5)
    """
    return 5 if any(map(_is_odd, find_group(group).elements)) else 4


def _is_odd(element: Permutation) -> bool:
    n = len(element)
    return sum(element[i] > element[j] for i in range(n) for j in range(i + 1, n)) % 2 == 1


def core_arms(setup: LargeSetup, group: str) -> dict[str, Recipe]:
    """The arms that every large group has; the exact one and the consistent one are asked with few sweeps too."""
    return {
        swept(0): setup.recipe(group, "reflections", swept(0), budgets=TEST_SWEEPS),
        CONSISTENT: setup.recipe(group, "reflections", CONSISTENT, consistency=CONSISTENCY, budgets=TEST_SWEEPS),
        TWO_DIAGONALS: setup.recipe(group, "diagonal_signed", TWO_DIAGONALS, depth=2, inner=128),
    }


def all_arms(setup: LargeSetup, group: str) -> dict[str, Recipe]:
    """Every arm: the core, sweeps in training, what heads are made of, and other layers with budgets of their own."""
    exact = core_arms(setup, group)[swept(0)].sequence
    assert exact is not None
    heads, n = exact.heads, dimensions(group)

    def varied(name: str, **changes: Any) -> Recipe:
        return setup.recipe(group, "reflections", name, **changes)

    few = {swept(k): varied(swept(k), sweeps=k, budgets=(0,)) for k in TRAINED_SWEEPS}
    made: Mapping[str, dict[str, Any]] = {
        PROJECTIONS: {"heads": replace(heads, strength="projection")},
        "strengths in (0, 2)": {"heads": replace(heads, strength="bounded")},
        "input added": {"heads": replace(heads, drive=True)},
        "gates": {"heads": replace(heads, gate=True)},
        "2 reflections a token": {"heads": replace(heads, factors=2)},
        "half of the heads, twice their dimensions": {
            "heads": replace(heads, count=heads.count // 2),
            "inner": heads.count * n,
        },
        CONSTANT: {"constant": 0.25},
    }
    matched = HeadSpec(8 if n == 4 else 12, heads.factors)  # about as many parameters as the reflections have
    others = {
        DELTA: setup.recipe(group, "delta_product", DELTA, heads=matched, inner=matched.count * n),
        "signed diagonal": setup.recipe(group, "diagonal_signed", "signed diagonal", inner=128),
        "vector layer": setup.recipe(group, "fixed_point", "vector layer", inner=64, rank=1),
        LSTM: setup.recipe(group, "lstm", LSTM, inner=128, longer=4),
        LSTM_TIED: setup.recipe(group, "lstm", LSTM_TIED, inner=128, longer=4, consistency=CONSISTENCY),
        "Elman": setup.recipe(group, "elman", "Elman", inner=128, longer=4),
        "Transformer": setup.recipe(group, "transformer", "Transformer", inner=128, longer=2),
    }
    return core_arms(setup, group) | few | {name: varied(name, **how) for name, how in made.items()} | others
