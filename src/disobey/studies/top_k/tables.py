"""The tables of `top-k`: every arm, and what each cache loses of the teacher before any student sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Cell, Estimate, Table
from disobey.studies.kit.design import Arm
from disobey.studies.kit.evidence import Evidence
from disobey.studies.kit.tables import in_points, table
from disobey.studies.top_k.claims import KL, NLL, OVERCONFIDENCE, RIGHT, difference, level_of
from disobey.training.recipe import Recipe, Run


def arm_table(e: Evidence, arms: Sequence[Arm], full: Mapping[float, Arm]) -> Table:
    """Every student, and the control."""
    control = arms[0].control_arm()

    def beside(arm: Arm, measure: str) -> Cell:
        whole = full[arm.number("temperature")]
        return None if arm in (whole, control) else difference(e, arm, whole, measure)

    def overconfidence(arm: Arm) -> Estimate:
        return level_of(e, arm, OVERCONFIDENCE)

    columns = (
        ("kept of the teacher", lambda arm: "nothing: labels alone" if arm.is_control else arm.label),
        ("bytes per token", lambda arm: 2 if arm.is_control else arm["bytes"]),
        ("NLL (nats)", lambda arm: level_of(e, arm, NLL)),
        ("− whole teacher", lambda arm: beside(arm, NLL)),
        ("− labels", lambda arm: None if arm.is_control else difference(e, arm, control, NLL)),
        ("KL from the teacher", lambda arm: level_of(e, arm, KL)),
        ("top-1 accuracy", lambda arm: level_of(e, arm, RIGHT)),
        ("confidence − accuracy (points)", in_points(overconfidence)),
    )
    caption = "Test text; means over seeds, intervals over runs and windows. Differences are paired."
    return table("Every student", (*arms, control), columns, caption)


def loss_table(e: Evidence, arms: Sequence[Arm]) -> Table:
    """What the targets are wrong by, from the teacher's probabilities on the test text."""
    columns = (
        ("kept of the teacher", lambda arm: arm.label),
        ("bytes per token", lambda arm: arm["bytes"]),
        ("mass of the teacher beyond the list", lambda arm: None if arm["kept"] == "draws" else beyond(e, arm)),
        ("size of the target's bias, Σ|E t − p|", lambda arm: bias(e, arm)),
        ("standard error of the target, √Σ var t", lambda arm: spread(e, arm)),
    )
    caption = (
        "At the temperature of the loss. The bias of renormalized top-k is twice the mass beyond the list, whatever "
        "the student; a bucket has none on its k + 1 events and says nothing about those inside the tail; n draws "
        "have none and variance p(1 − p)/n."
    )
    return table("What the cache loses, before any training", [a for a in arms if a["kept"] != "all"], columns, caption)


def teacher_table(e: Evidence, teacher: Recipe) -> Table:
    """The teacher alone."""

    def overconfidence(recipe: Recipe) -> Estimate:
        return e.summary(recipe, OVERCONFIDENCE)

    columns = (
        ("model", lambda recipe: f"{recipe.model.name}:{recipe.model.width}x{recipe.model.depth}"),
        ("parameters", lambda recipe: int(e.summary(recipe, "parameters").value)),
        ("NLL (nats)", lambda recipe: e.summary(recipe, NLL)),
        ("top-1 accuracy", lambda recipe: e.summary(recipe, RIGHT)),
        ("confidence − accuracy (points)", in_points(overconfidence)),
    )
    return table("The teacher", [teacher], columns, "Means over seeds with intervals over runs.")


def beyond(e: Evidence, arm: Arm, times: float = 1.0) -> Estimate:
    """Mean mass of the teacher beyond its k most likely tokens, times a factor."""
    k = int(arm.number("amount"))
    masses = [1 - float(e.records[Run(arm.recipe, seed)].history["mass"][k - 1]) for seed in e.seeds]
    return mean_over_runs(times * np.array(masses), "mass beyond the list")


def bias(e: Evidence, arm: Arm) -> Cell:
    """Sum over classes of the absolute error of the expected target, where that does not depend on the student."""
    if arm["kept"] == "renormalized":
        return beyond(e, arm, 2.0)
    return 0.0 if arm["kept"] == "draws" else None


def spread(e: Evidence, arm: Arm) -> Cell:
    """Root of the summed variance of the target over draws, from the mean Σ p²."""
    if arm["kept"] != "draws":
        return 0.0
    collisions = [float(e.records[Run(arm.recipe, seed)].history["collision"][0]) for seed in e.seeds]
    return mean_over_runs(np.sqrt((1 - np.array(collisions)) / arm.number("amount")), "spread")
