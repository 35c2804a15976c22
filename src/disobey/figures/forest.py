"""Forest plots: one effect on several data sets, their average, and where the next one is expected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from disobey.figures.paths import border_rules, file_stem, scale_of
from disobey.measures.inference.pooling import Pooled
from disobey.records.results import Axis, Cell, Chart, Claim, Estimate, Table

AVERAGE = ", average over data sets"  # how names of pooled estimates end


@dataclass(frozen=True)
class Forest:
    """One claim in one setting over data sets.

    Attributes:
        claim: the pooled one.
        each: the deciding estimate by the name of the data set.
        pooled: their mean and what is expected on the next one.
        without: the same without each data set in turn; empty for two.
        alone: the estimate without a control by the name of the data set, where the claim's rule has such a line.
        line: border and direction (1 above, -1 below) of those.
        counted: how the claim's source counts, in words; empty where it does not.
    """

    claim: Claim
    each: Mapping[str, Estimate]
    pooled: Pooled
    without: Mapping[str, Pooled]
    alone: Mapping[str, Estimate] = field(default_factory=dict)
    line: tuple[float, int] = (0.0, 1)
    counted: str = ""


def forest_chart(forests: Sequence[Forest]) -> Chart:
    """The forests of one claim id, a panel for each setting."""
    claim = forests[0].claim
    scale = scale_of(claim)
    numbers = {len(forest.each) for forest in forests}
    average = f"average of {numbers.pop()}" if len(numbers) == 1 else "average"
    rows = [(name, kind, forest.claim.setting, e) for forest in forests for name, kind, e in _marks(forest, average)]
    data: dict[str, tuple[Cell, ...]] = {
        "data": tuple(row[0] for row in rows),
        "what": tuple(row[1] for row in rows),
        "setting": tuple(row[2] for row in rows),
        "value": tuple(row[3].value * scale for row in rows),
        "low": tuple(row[3].low * scale for row in rows),
        "high": tuple(row[3].high * scale for row in rows),
    }
    name = claim.evidence[0].name
    several = len({forest.claim.setting for forest in forests}) > 1
    return Chart(
        file_stem("forest", claim.name),
        f"{claim.name} on every data set, on average, and on the next one",
        "interval",
        data,
        Axis("data", "", "nominal"),
        Axis("value", f"{name} ({claim.unit})" if claim.unit else name),
        f"{claim.text} Forest plot: an interval for each of {len(forests[0].each)} data sets, one for their average "
        "and one for what is expected on the next data set.",
        caption=f"{claim.text} 95% intervals: over runs on each data set, over data sets below.",
        color=Axis("what", "", "nominal"),
        facet=Axis("setting", "", "nominal") if several else None,
        low="low",
        high="high",
        rules=border_rules(claim),
        tooltip=("data", "value", "low", "high"),
    )


def _marks(forest: Forest, average: str) -> list[tuple[str, str, Estimate]]:
    marks = [(name, "one data set", estimate) for name, estimate in forest.each.items()]
    marks.append((average, "average", forest.pooled.mean))
    if forest.pooled.prediction.known:
        marks.append(("next data set", "expected next", forest.pooled.prediction))
    return marks


def _scaled(forest: Forest, estimate: Estimate) -> Estimate:
    """In the claim's unit: shares in points."""
    return estimate.times(scale_of(forest.claim))


def pooled_table(forests: Sequence[Forest]) -> Table:
    """Average, expectation and heterogeneity of every claim."""
    columns = (
        "claim",
        "setting",
        "unit",
        "word",
        "average",
        "next data set",
        "sd between data sets",
        "share of the spread between",
        "p-value of equal effects",
        "data sets",
    )
    rows = tuple(
        (
            f.claim.name,
            f.claim.setting,
            f.claim.unit,
            f.claim.verdict,
            _scaled(f, f.pooled.mean),
            _scaled(f, f.pooled.prediction),
            scale_of(f.claim) * f.pooled.between_sd,
            f.pooled.share_between,
            f.pooled.heterogeneity_p,
            len(f.each),
        )
        for f in forests
    )
    caption = (
        "Random effects: between variance of Paule and Mandel, interval of Knapp and Hartung, prediction interval of "
        "Nagashima and others, Welch's test of equal effects. Share of the spread between: I²."
    )
    return Table("Pooled effects", columns, rows, caption)


def each_table(forests: Sequence[Forest]) -> Table:
    """Every data set's own effect, its weight, and the average without it."""
    rows = tuple(
        (
            f.claim.name,
            f.claim.setting,
            f.claim.unit,
            name,
            _scaled(f, estimate),
            weight,
            _scaled(f, f.without[name].mean) if name in f.without else None,
        )
        for f in forests
        for (name, estimate), weight in zip(f.each.items(), f.pooled.weights, strict=True)
    )
    columns = ("claim", "setting", "unit", "data set", "effect", "weight", "average without it")
    return Table("Effects by data set, and the average without each", columns, rows)


def counts_table(forests: Sequence[Forest]) -> Table:
    """On how many data sets an effect lies on the side that its claim says, as published tables count."""
    rows: list[tuple[Cell, ...]] = []
    for forest in forests:
        claim = forest.claim
        if claim.direction == 0:  # neither side is claimed
            continue
        alone = forest.alone  # what sources count: they have no controls
        if alone:
            counts = _sides(alone.values(), *forest.line)
            rows.append((claim.name, claim.setting, "student alone", len(alone), *counts, forest.counted))
        what = "student minus control" if alone else claim.evidence[0].name.removesuffix(AVERAGE)
        counts = _sides(forest.each.values(), claim.border, claim.direction)
        rows.append((claim.name, claim.setting, what, len(forest.each), *counts, "" if alone else forest.counted))
    columns = ("claim", "setting", "what", "data sets", "as claimed", "surely as claimed", "surely the other way")
    caption = (
        "As claimed: the estimate lies on the claimed side of the border; surely: its 95% interval does. A count "
        "weighs a tiny effect like a large one and a noisy data set like a clean one, and about half of all data sets "
        "lie on either side of nothing: the words come from averages."
    )
    if any(forest.counted for forest in forests):
        return Table("On how many data sets", (*columns, "in the source"), tuple(rows), caption)
    return Table("On how many data sets", columns, tuple(row[:-1] for row in rows), caption)


def counted_words(forest: Forest) -> str:
    """The counts of `counts_table` as a sentence; empty where no side is claimed."""
    claim = forest.claim
    if claim.direction == 0:
        return ""
    side, sure, against = _sides(forest.each.values(), claim.border, claim.direction)
    words = f"On {side} of {len(forest.each)} data sets as claimed, on {sure} surely, on {against} surely the other way"
    counted = f" ({forest.counted} in the source)" if forest.counted else ""
    if not forest.alone:
        return f"{words}{counted}."
    alone = _sides(forest.alone.values(), *forest.line)[0]
    return f"{words}; the student alone on {alone}{counted}."


def _sides(estimates: Iterable[Estimate], border: float, direction: int) -> tuple[int, int, int]:
    """How many lie on the claimed side, surely so, and surely on the other one."""
    side, sure, against = 0, 0, 0
    for e in estimates:
        near, far = (e.low, e.high) if direction > 0 else (e.high, e.low)
        side += bool(direction * (e.value - border) > 0)
        sure += bool(direction * (near - border) > 0)
        against += bool(direction * (far - border) < 0)
    return side, sure, against
