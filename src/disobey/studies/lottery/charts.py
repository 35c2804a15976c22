"""The figure and the table of `lottery`."""

from __future__ import annotations

from collections.abc import Sequence

from disobey.figures.estimates import estimates_chart
from disobey.measures.inference.runs import mean_over_runs
from disobey.records.results import Axis, Chart, Table
from disobey.studies.kit.evidence import Evidence
from disobey.studies.kit.tables import table
from disobey.studies.lottery.claims import PLACES, STUDENT, Curves, Densities


def names(c: Curves) -> Sequence[str]:
    """Every curve: the arms, and the student's with weights at random places."""
    return (*c.arms, PLACES)


def between(densities: Densities) -> str:
    """Densities in words.

    >>> between((0.05, 0.5))
    '5% to 50% left'
    """
    return f"{100 * densities[0]:.3g}% to {100 * densities[1]:.3g}% left"


def curve_chart(e: Evidence, c: Curves) -> Chart:
    """Test accuracy against the share of weights left, a line a rewinding point."""
    density = [float(e.per_seed(c.arms[STUDENT], f"density@{k}").mean()) for k in range(c.rounds + 1)]
    rows = [
        (round(density[k], 4), name, "", mean_over_runs(c.curve(e, name)[:, k], name))
        for name in names(c)
        for k in reversed(range(c.rounds + 1))
    ]
    axes = Axis("x", "share of the weights left", "log"), Axis("y", "test accuracy")
    alt = "Test accuracy of pruned networks against the share of weights left, by where they are rewound to."
    title = "Iterative magnitude pruning, by rewinding point"
    return estimates_chart(rows, "tickets", title, *axes, alt, kind="line", color="rewound to")


def curve_table(e: Evidence, c: Curves) -> Table:
    """Every rewinding point: dense, the statistic, what sparse tickets lose."""
    columns = (
        ("rewound to", lambda name: name),
        ("dense", lambda name: mean_over_runs(c.curve(e, name)[:, 0], "dense")),
        (f"tickets, {between(c.judged)}", lambda name: mean_over_runs(c.within(e, name), "tickets")),
        ("sparsest", lambda name: mean_over_runs(c.curve(e, name)[:, -1], "sparsest")),
        (f"lost, {between(c.sparse)}", lambda name: mean_over_runs(c.lost(e, name), "lost")),
    )
    left = (1 - c.share) ** c.rounds
    caption = f"Test accuracy, means over seeds. {c.rounds} prunings of {c.share:.0%} leave {left:.1%} at last."
    return table("Every rewinding point", names(c), columns, caption)
