"""What language models are asked: likely tokens, acceptance, what is left to learn, where in the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.evidence.evidence import Evidence
from disobey.diagnosis.evidence.intervals import estimates
from disobey.diagnosis.evidence.language import positions, speaks
from disobey.diagnosis.evidence.streaming import forward_and_reverse
from disobey.diagnosis.report.tables import CONTROL, DIFFERENCE, three_columns
from disobey.measures import tokens
from disobey.measures.inference.examples import mean_of
from disobey.measures.inference.measure import Columns, Measure, applicable, columns_on
from disobey.measures.inference.statistics import mean
from disobey.measures.information import softness
from disobey.records.predictions import Predictions
from disobey.records.results import Cell, Table

QUARTERS = ("first", "second", "third", "last")
FEWEST = 40  # tokens by part below which no part says anything


def overlap(evidence: Evidence) -> Table | None:
    """Overlap of likely tokens, acceptance and entropy; of top-k lists what these can say."""
    if not speaks(evidence):
        return None
    if evidence.sparse is not None:
        measures = [LISTED_MASS, replace(tokens.ACCEPTANCE, about=f"{tokens.ACCEPTANCE.about}; an upper bound")]
    else:
        measures = [*tokens.list_measures(min(tokens.K, evidence.pair.shape[1] // 2))]
        measures += applicable([tokens.ACCEPTANCE, tokens.ENTROPY_GAP, tokens.LOG_PROB_GAP], evidence.sample)
    caption = (
        "Single tokens at the positions of the saved text. Two models of one language overlap without any "
        "distillation: read student − control."
    )
    table = three_columns(evidence, measures, "Likely tokens", caption)
    shared = evidence.pair.facts.get("overlap_ratio")
    if not shared:
        return table
    sides = [shared[who] for who in ("student", "twin") if who in shared]
    sides = [side[evidence.rows] for side in sides][: 1 + (evidence.sample.twin is not None)]
    cells = _cells(evidence, "overlap_ratio", sides, np.arange(len(evidence.rows)))
    about = "share of the teacher's listed tokens that are on the student's own list"
    row = ("overlap_ratio", *cells, *[None] * (len(table.columns) - 2 - len(cells)), about)
    return replace(table, rows=(row, *table.rows))


def _listed(p: Predictions) -> Columns:
    return (1 - np.exp(p.student[:, -1]),)


LISTED_MASS = Measure(
    "mass_on_list", _listed, mean, about="probability of the teacher's listed tokens: near 0 it collapsed"
)


def cache(evidence: Evidence) -> Table | None:
    """What a list of k tokens keeps of the teacher, for some k, and which tokens the student forgot."""
    if not speaks(evidence) or evidence.sparse is not None:
        return None
    ks = [k for k in (1, 4, 16, 64, 256) if 2 * k <= evidence.pair.shape[1]]
    measures = [m for k in ks for m in tokens.lost_measures(k)]
    found = estimates(evidence, measures)
    rows = tuple((k, *(found.get(m.name) for m in tokens.lost_measures(k))) for k in ks)
    caption = "What a cache of the teacher's k most likely tokens leaves out, as shares of its mass and of its entropy."
    return Table("Top-k of the teacher", ("k", "mass lost", "entropy lost"), rows, caption)


def memory(evidence: Evidence) -> Table | None:
    """Tokens that the control is sure and right about and the student is not any more, and the other way round."""
    if not speaks(evidence) or evidence.sparse is not None:
        return None
    measures = applicable([tokens.FORGOTTEN, tokens.GAINED], evidence.sample)
    found = estimates(evidence, measures)
    rows = tuple((m.name, found[m.name], m.about) for m in measures if m.name in found)
    caption = "Both come about by seed variation alone; forgetting is what is lost beyond what is gained."
    return Table("Tokens forgotten against the control", ("quantity", "value", "meaning"), rows, caption)


def parts(evidence: Evidence) -> Table | None:
    """Divergence, acceptance and gap of the true token by quarter of position in the text and of teacher's entropy."""
    if not speaks(evidence):
        return None
    columns = {name: _of(evidence, name) for name in ("KL (nats)", "acceptance", "log-prob gap (nats)")}
    rows: list[tuple[Cell, ...]] = []
    for part, members in _parts(evidence):
        if len(members) < FEWEST:
            continue
        for name, sides in columns.items():
            if sides:
                rows.append((part, name, len(members), *_cells(evidence, name, sides, members)))
    twin = evidence.sample.twin is not None
    heads = ("tokens", "measure", "n", "student", *((CONTROL, DIFFERENCE) if twin else ()))
    caption = (
        "Quarters of equally many tokens, by their place in the text (where 'cluster' says which text) and by the "
        "teacher's entropy. Means leave infinite values out."
    )
    return Table("By position and entropy", heads, tuple(rows), caption)


def _parts(evidence: Evidence) -> Iterator[tuple[str, NDArray]]:
    """(name, places among the sample's rows) of every part."""
    if evidence.codes is not None:
        place = positions(evidence.codes)[evidence.rows]
        for quarter, members in zip(QUARTERS, _quarters(place), strict=True):
            if len(members):
                yield f"{quarter} quarter: tokens {place[members].min() + 1:,} to {place[members].max() + 1:,}", members
    entropy = _on_sample(evidence, evidence.of(softness(1.0))[0])
    for quarter, members in zip(("lowest", *QUARTERS[1:3], "highest"), _quarters(entropy), strict=True):
        if len(members):
            low, high = entropy[members].min(), entropy[members].max()
            yield f"{quarter} entropy: {low:.2f} to {high:.2f} nats", members


def _quarters(values: NDArray) -> list[NDArray]:
    """Places of four parts, about equally large, equal values in one."""
    edges = np.quantile(values, [0.25, 0.5, 0.75])
    of = np.searchsorted(edges, values, side="left")
    return [np.flatnonzero(of == part) for part in range(4)]


def _of(evidence: Evidence, name: str) -> list[NDArray]:
    """One number a token of the student and, where there is one, of the control; none where it is not known."""
    runs = evidence.runs[: len(evidence.students)] or (evidence,)
    who = ["student", *(["twin"] if evidence.sample.twin is not None else [])]
    if name.startswith("log-prob gap"):
        return _gaps(evidence, runs, who)
    function = forward_and_reverse if name.startswith("KL") else tokens.spread
    return [
        np.mean(
            [
                _on_sample(evidence, run.of(function if side == "student" else columns_on(function, "twin"))[0])
                for run in runs
            ],
            axis=0,
        )
        for side in who
    ]


def _gaps(evidence: Evidence, runs: Sequence[Evidence], who: Sequence[str]) -> list[NDArray]:
    if evidence.pair.topk is not None:
        known = evidence.pair.topk
        sides = [known.label_student, known.label_twin][: len(who)]
        if known.label_teacher is None or any(side is None for side in sides):
            return []
        with np.errstate(invalid="ignore"):
            return [(known.label_teacher - side)[evidence.rows] for side in sides if side is not None]
    if evidence.labels is None:
        return []
    function = tokens.true_tokens
    with np.errstate(invalid="ignore"):
        return [
            np.mean(
                [run.of(function if side == "student" else columns_on(function, "twin"))[0] for run in runs], axis=0
            )
            for side in who
        ]


def _on_sample(evidence: Evidence, column: NDArray) -> NDArray:
    """A column of all examples, or of the sample, on the sample."""
    return column if len(column) == len(evidence.rows) else column[evidence.rows]


def _cells(evidence: Evidence, name: str, sides: Sequence[NDArray], members: NDArray) -> list[Cell]:
    word, codes = name.split(" (")[0], None if evidence.codes is None else evidence.codes[evidence.rows]
    with np.errstate(invalid="ignore"):
        columns = [*sides, sides[0] - sides[1]] if len(sides) == 2 else list(sides)
    cells: list[Cell] = []
    for column in columns:
        known = members[np.isfinite(column[members])]
        own = None if codes is None else codes[known]
        cells.append(mean_of(word, column[known], evidence.level, own) if len(known) else None)
    return cells
