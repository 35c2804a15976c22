"""Charts of large groups: the staircase of sweeps, horizons, success rates, constant words, representations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from disobey.data.sources.sequences import group as find_group
from disobey.figures.estimates import estimates_chart
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Axis, Chart, Estimate, Table
from disobey.studies.kit.sequences import TEST_SWEEPS, SequenceEvidence, Setting, swept
from disobey.studies.kit.tables import table
from disobey.studies.state_tracking.claims import EXACT
from disobey.studies.state_tracking.large import CONSISTENT, CONSTANT
from disobey.studies.state_tracking.large_claims import LEARNED, horizon, positions, success
from disobey.theory.characters import Characters, characters

COMPOSES = 0.3  # mean error of composition below which a head counts as in use; unrelated states have 1.4
SHARE = 0.5  # of an irreducible representation that a head's character must contain


def large_charts(settings: Sequence[Setting], e: SequenceEvidence) -> list[Chart]:
    """All of them, for the large groups of a study."""
    return [
        staircase_chart(settings, e),
        horizon_chart(settings, e),
        success_chart(settings, e),
        powers_chart(settings, e),
        irreducibles_chart(settings, e),
        heads_chart(settings[0], e),
    ]


def staircase_chart(settings: Sequence[Setting], e: SequenceEvidence) -> Chart:
    """Accuracy by position and sweeps at test."""
    rows: list[tuple[float | str, str, str, Estimate]] = []
    for s in settings:
        for budget in (*TEST_SWEEPS, None):
            right = positions(e, s.arms[EXACT], budget)
            label = "exact" if budget is None else swept(budget)
            rows += [(float(t + 1), label, s.label, mean_over_runs(right[:, t], label)) for t in places(right.shape[1])]
    return estimates_chart(
        rows,
        "staircase",
        "Sweeps at test buy positions, one each",
        Axis("x", "position in the word", "log"),
        Axis("y", "right answers"),
        "Share of right answers by position for 1 to 32 sweeps at test and the exact solver: l sweeps hold to position "
        "l and fall to chance soon after; the exact solver holds longest.",
        kind="line",
        color="solver",
    )


def places(length: int) -> list[int]:
    """Positions shown, from 0: all up to 16, then eight an octave.

    >>> places(20)[-4:]
    [14, 15, 17, 19]
    """
    shown, step = list(range(min(length, 16))), 2
    while shown[-1] + step < length:
        shown += [shown[-1] + step]
        step = 2 * step if shown[-1] + 1 >= 16 * step else step
    return shown


def horizon_chart(settings: Sequence[Setting], e: SequenceEvidence) -> Chart:
    """Leading positions with at least half of the answers right, by arm."""
    rows = [
        (name, "horizon", s.label, mean_over_runs(horizon(e, recipe), name))
        for s in settings
        for name, recipe in s.arms.items()
    ]
    longest = positions(e, settings[0].arms[EXACT]).shape[1]
    return estimates_chart(
        rows,
        "horizon",
        f"Horizon: leading positions with at least half of the answers right (cut at {longest})",
        Axis("x", "arm", "nominal"),
        Axis("y", "tokens", "linear"),
        f"Effective horizon of every arm in tokens; training words had up to {settings[0].near}.",
        kind="interval",
        color="measure",
    )


def success_chart(settings: Sequence[Setting], e: SequenceEvidence) -> Chart:
    """Share of seeds that learned the group, by arm."""
    rows = [
        (name, f"{LEARNED} at {s.near}", s.label, success(e, recipe, s.near))
        for s in settings
        for name, recipe in s.arms.items()
    ]
    return estimates_chart(
        rows,
        "success",
        f"Share of seeds that reach {LEARNED} at the training length",
        Axis("x", "arm", "nominal"),
        Axis("y", "share of seeds"),
        "Success rate over seeds of every arm with Wilson's intervals.",
        kind="interval",
        color="criterion",
    )


def powers_chart(settings: Sequence[Setting], e: SequenceEvidence) -> Chart:
    """Constant words beside random words of the same length, by what was trained for them."""
    rows: list[tuple[float | str, str, str, Estimate]] = []
    for s in settings:
        for name in (EXACT, CONSTANT, CONSISTENT):
            if name not in s.arms:
                continue
            constant = e.history(s.arms[name], "eval_powers")[:, 0]
            random = positions(e, s.arms[name])[:, : constant.shape[1]]
            for what, curve in (("constant", constant), ("random", random)):
                label = f"{name}, {what} words"
                # an average of six: the orders of most elements divide it, so a fixed answer is a flat line
                rows += [
                    (k + 3.5, label, s.label, mean_over_runs(curve[:, k : k + 6].mean(axis=1), label))
                    for k in range(0, curve.shape[1] - 5, 6)
                ]
    return estimates_chart(
        rows,
        "powers",
        "Constant words g g g ... and random words",
        Axis("x", "position (middle of six)"),
        Axis("y", "right answers"),
        "Share of right answers by position on constant and on random words, for training on labels alone, with "
        "constant words among the training words, and with consistent states.",
        kind="line",
        color="training and words",
    )


def names_of(found: Characters) -> list[str]:
    """The irreducible representations by dimension: ``1``, ``3``, ``3'``, ...

    >>> names_of(characters(find_group("S3").table))
    ['1', "1'", '2']
    """
    sizes = [int(d) for d in found.dimensions]
    return [f"{d}" + "'" * sizes[:i].count(d) for i, d in enumerate(sizes)]


def head_shares(e: SequenceEvidence, s: Setting, arm: str) -> tuple[Characters, NDArray, NDArray]:
    """The group's characters, how much of each every head contains (S, H, K), and which heads are in use (S, H)."""
    known = characters(find_group(s.label).table)
    shares = known.multiplicities(e.history(s.arms[arm], "eval_traces"))
    return known, shares, e.history(s.arms[arm], "eval_composition") < COMPOSES


def irreducibles_chart(settings: Sequence[Setting], e: SequenceEvidence) -> Chart:
    """How many heads in use contain each irreducible representation."""
    rows: list[tuple[float | str, str, str, Estimate]] = []
    for s in settings:
        for arm in (EXACT, CONSISTENT):
            known, shares, used = head_shares(e, s, arm)
            for k, name in enumerate(names_of(known)):
                count = ((shares[..., k] > SHARE) & used).sum(axis=1)
                rows.append((name, arm, s.label, mean_over_runs(count, name)))
    return estimates_chart(
        rows,
        "irreducibles",
        "Heads that carry each irreducible representation of the group",
        Axis("x", "irreducible representation, by dimension", "nominal"),
        Axis("y", "heads in use that contain it", "linear"),
        "Number of heads in use (mean over seeds) whose character contains each irreducible representation, trained on "
        "labels alone and with consistent states. The one-dimensional ones fill what a head has left.",
        kind="interval",
        color="training",
    )


def heads_chart(s: Setting, e: SequenceEvidence) -> Chart:
    """Every head of the first seed: its character against the group's."""
    known, shares, _ = head_shares(e, s, CONSISTENT)
    errors = e.history(s.arms[CONSISTENT], "eval_composition")[0]
    cells = [
        (str(place + 1), name, round(float(shares[0, head, k]), 3), round(float(errors[head]), 3))
        for place, head in enumerate(np.argsort(errors))
        for k, name in enumerate(names_of(known))
    ]
    return Chart(
        "heads",
        f"{s.label}: what each head carries (consistent states, first seed)",
        "heatmap",
        dict(zip(("head", "representation", "times", "error"), zip(*cells, strict=True), strict=True)),
        Axis("head", "head, by its error of composition (smallest first)", "nominal"),
        Axis("representation", "irreducible representation, by dimension", "nominal"),
        "How often each irreducible representation is contained in each head's character: whole numbers for heads that "
        "are representations, with a small error of composition, and fractions for the others.",
        caption=f"{int((errors < COMPOSES).sum())} of {len(errors)} heads are in use: an error below {COMPOSES}.",
        color=Axis("times", "times contained"),
        tooltip=("head", "representation", "times", "error"),
    )


def success_table(s: Setting, e: SequenceEvidence) -> Table:
    """Success rate and horizon of every arm, one row an arm."""
    columns = [
        ("arm", lambda arm: arm),
        ("seeds that learned it", lambda arm: success(e, s.arms[arm], s.near)),
        ("horizon, tokens", lambda arm: mean_over_runs(horizon(e, s.arms[arm]), arm)),
        ("least at the training length", lambda arm: float(e.last(s.arms[arm], s.near).min())),
    ]
    caption = (
        f"A seed has learned the group with an accuracy of at least {LEARNED} at {s.near} tokens. Horizon: leading "
        "positions with at least half of the answers right."
    )
    return table(f"{s.label}: success rates", s.arms, columns, caption)
