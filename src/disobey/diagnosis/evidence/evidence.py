"""`Evidence`: a pair, read once. What every table, chart and check is made from.

Small pairs are held whole, as `Predictions`. Of large ones a single pass keeps the per-example columns of all rows and
the full distributions of a random sample of rows, on which the costlier measures (ranks, overlaps, class similarities,
temperatures) and the checks are computed; every estimate says how many examples it is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from disobey.diagnosis.evidence.streaming import (
    HalfBuffers,
    column_names,
    columns_of_block,
    empty_columns,
    forward_and_reverse,
)
from disobey.diagnosis.evidence.top_k import read_top_k
from disobey.diagnosis.input.matrices import Matrix, side_by_side, whole
from disobey.diagnosis.input.pair import Pair
from disobey.diagnosis.input.score_types import as_logits
from disobey.errors import refusal
from disobey.measures.agreement import choices
from disobey.measures.calibration import scores
from disobey.measures.deviation import confidence
from disobey.measures.inference.clusters import codes_of, refuse_few
from disobey.measures.inference.measure import Columns, ColumnsOf, columns_beside, columns_on
from disobey.measures.information import softness
from disobey.records.predictions import Predictions
from disobey.records.results import Estimate

WHOLE = 2**23  # numbers a model up to which everything is held in float64: 64 MiB
SAMPLE = 2**22  # numbers a model that a sample of a larger pair holds, in float32
# Numbers in a block of half precision, a quarter of it otherwise: steps so long that threads rarely wait for one
# another (with 2**18 two are no faster than one), and few enough for the cache that cores share.
_BLOCK = 2**20
CHECKPOINTS = ("step", "epoch", "checkpoint", "ckpt", "iter")  # in the name of a student that is one of many
FEWEST_SAMPLED = 256  # examples of a large pair that are sampled, however many classes it has


@dataclass(frozen=True, eq=False)
class Evidence:
    """A pair, read once.

    Attributes:
        pair: what was given.
        n: examples in the data.
        rows: which of them are held with whole distributions: all of a small pair, a random sample of a large one.
        sample: the first student (and first twin) on ``rows``.
        students: log-probabilities on ``rows``, one a seed.
        twins: the same of the controls.
        columns: for streamed pairs, the columns of all n examples by the function that a measure has for them.
        tops: most likely class of teacher, student and twin, all n examples in the data's order (not for top-k pairs).
        sparse: the masses of `top_k`, for top-k pairs only.
        runs: of several seeds, the evidence of each student alone with the control of its seed; none where there is one
            student and one control, or where the students are checkpoints of one run.
        codes: (n,) the number of each example's cluster, where the pair names clusters.
        temperature: at which divergences are given beside T = 1.
        level: of intervals.
        seed: of resamples and samples.
    """

    pair: Pair
    n: int
    rows: NDArray
    sample: Predictions
    students: Mapping[str, NDArray]
    twins: Mapping[str, NDArray]
    columns: Mapping[ColumnsOf, Columns] = field(default_factory=dict)
    tops: Mapping[str, NDArray] = field(default_factory=dict)
    sparse: Mapping[str, NDArray] | None = None
    runs: tuple[Evidence, ...] = ()
    codes: NDArray | None = None
    temperature: float = 4.0
    level: float = 0.95
    seed: int = 0
    # What was asked before, so that tables and checks share it; never part of what the evidence is.
    _columns: dict[ColumnsOf, Columns] = field(default_factory=dict, repr=False)
    _fits: dict[tuple, Estimate] = field(default_factory=dict, repr=False)

    @property
    def known(self) -> dict[tuple, Estimate]:
        """What was estimated so far, by what was asked: one number has one interval wherever it is shown."""
        return self._fits

    @property
    def streamed(self) -> bool:
        """Whether the pair was too large to be held whole."""
        return bool(self.columns)

    def of(self, columns: ColumnsOf) -> Columns:
        """A measure's columns: over all examples where the pass has them, else over the sample."""
        if columns in self.columns:
            return self.columns[columns]
        if columns not in self._columns:
            with np.errstate(invalid="ignore", divide="ignore"):  # probabilities of exactly 0: infinite, not wrong
                parts = [columns(chunk) for chunk in self.sample.chunks(max(1, 2**19 // self.sample.n_classes))]
            self._columns[columns] = tuple(np.concatenate(pieces) for pieces in zip(*parts, strict=True))
        return self._columns[columns]

    def codes_of(self, column: NDArray) -> NDArray | None:
        """The clusters of the examples of a column, over all or over the sample; None where none are known."""
        if self.codes is None:
            return None
        return self.codes if len(column) == self.n else self.codes[self.rows]

    def fit(self, key: tuple, fitted: Callable[[], Estimate]) -> Estimate:
        """What ``fitted`` gives, computed once for each key."""
        if key not in self._fits:
            self._fits[key] = fitted()
        return self._fits[key]

    def about(self, sample: Predictions, runs: tuple[Evidence, ...] = ()) -> Evidence:
        """The same pair with other predictions in the place of the sample; nothing that was computed is kept."""
        return replace(self, sample=sample, columns={}, runs=runs, _columns={}, _fits={})

    @property
    def each(self) -> tuple[Evidence, ...]:
        """The evidence of every seed; this one where there is no other."""
        return self.runs or (self,)

    @property
    def labels(self) -> NDArray | None:
        """Of the sample."""
        return self.sample.labels

    @property
    def finite(self) -> Predictions:
        """The sample with probabilities of 0 lifted to e⁻¹⁰⁰: temperatures cannot be fitted through infinities."""
        sides = {name: getattr(self.sample, name) for name in ("teacher", "student", "twin")}
        lifted = {n: np.maximum(a, -100.0) for n, a in sides.items() if a is not None and np.isneginf(a).any()}
        return replace(self.sample, **lifted) if lifted else self.sample

    def seeds(self) -> list[Predictions]:
        """One `Predictions` a student seed, with the twin of the same seed (or the only twin)."""
        twins = list(self.twins.values())
        out = []
        for index, student in enumerate(self.students.values()):
            twin = twins[index] if len(twins) == len(self.students) else (twins[0] if twins else None)
            out.append(replace(self.sample, student=student, twin=twin))
        return out


def gather(pair: Pair, *, temperature: float = 4.0, level: float = 0.95, seed: int = 0) -> Evidence:
    """Reads the pair.

    Args:
        pair: what was given, unread.
        temperature: at which divergences are given beside T = 1.
        level: of intervals.
        seed: of the sample of a large pair, and of everything that is drawn later.

    Raises:
        Refusal: rows that cannot be used, or a file that ends early.
    """
    if pair.cluster is not None:
        refuse_few(pair.cluster)
    if pair.topk is not None:
        lists = read_top_k(pair, seed)
        evidence = Evidence(
            pair=pair,
            n=pair.shape[0],
            rows=lists.rows,
            sample=lists.sample,
            students={"student": lists.sample.student},
            twins={} if lists.sample.twin is None else {"twin": lists.sample.twin},
            columns=lists.columns,
            sparse=lists.masses,
        )
    elif pair.shape[0] * pair.shape[1] <= WHOLE:
        logs = {name: _log_probs(matrix, pair.values[name], name) for name, matrix in _models(pair).items()}
        tops = {name: np.argmax(array, axis=1) for name, array in logs.items()}
        parts = [_dense(own, np.arange(pair.shape[0]), logs, tops) for own in (pair, *single_runs(pair))]
        evidence = replace(parts[0], runs=tuple(parts[1:]))
    else:
        rows, logs, arrays = _stream(pair, seed)
        tops = {name: arrays[f"{name}.top"] for name in logs}
        parts = [_dense(own, rows, logs, tops, _as_columns(own, arrays)) for own in (pair, *single_runs(pair))]
        evidence = replace(parts[0], runs=tuple(parts[1:]))
    codes = None if pair.cluster is None else codes_of(pair.cluster)
    asked = {"temperature": temperature, "level": level, "seed": seed, "codes": codes}
    return replace(evidence, runs=tuple(replace(run, **asked) for run in evidence.runs), **asked)


def single_runs(pair: Pair) -> list[Pair]:
    """The pair of every seed: each student with the control of its seed, or with the only one.

    Unequally many go round, so that each is met. Checkpoints of one run are no seeds.
    """
    students, twins = list(pair.students.items()), list(pair.twins.items())
    n = max(len(students), len(twins))
    if n < 2 or checkpoints(pair.students):
        return []
    return [
        replace(
            pair,
            students=dict([students[i % len(students)]]),
            twins=dict([twins[i % len(twins)]]) if twins else {},
        )
        for i in range(n)
    ]


def checkpoints(students: Iterable[str]) -> list[str]:
    """Which of several students are moments of one run, by their names; none where fewer than two are."""
    names = [name.split("/", 1)[1] for name in students if "/" in name]
    found = [name for name in names if any(word in name.lower() for word in CHECKPOINTS)]
    return found if len(found) > 1 else []


def _models(pair: Pair) -> dict[str, Matrix]:
    assert pair.teacher is not None
    return {"teacher": pair.teacher, **pair.students, **pair.twins}


def _log_probs(matrix: Matrix, values: str, name: str) -> NDArray:
    block = whole(matrix)
    return log_softmax(as_logits(block, values, matrix.where or name, np.arange(len(block))), axis=1)


def _dense(
    pair: Pair,
    rows: NDArray,
    logs: Mapping[str, NDArray],
    tops: Mapping[str, NDArray],
    columns: Mapping[ColumnsOf, Columns] | None = None,
) -> Evidence:
    """From log-probabilities by model on ``rows``, and the most likely classes of all examples."""

    def part(column: NDArray | None) -> NDArray | None:
        return None if column is None else column[rows]

    first = {"teacher": "teacher", "student": next(iter(pair.students))}
    first |= {"twin": next(iter(pair.twins))} if pair.twins else {}
    sample = Predictions(
        teacher=logs["teacher"],
        student=logs[first["student"]],
        labels=part(pair.labels),
        ids=rows if pair.ids is None else pair.ids[rows],
        split=pair.split,
        twin=logs[first["twin"]] if pair.twins else None,
        mislabelled=part(pair.mislabelled),
        groups=part(pair.groups),
        class_names=pair.class_names,
        cluster=part(pair.cluster),
    )
    return Evidence(
        pair=pair,
        n=pair.shape[0],
        rows=rows,
        sample=sample,
        students={name: logs[name] for name in pair.students},
        twins={name: logs[name] for name in pair.twins},
        columns=columns or {},
        tops={side: tops[name] for side, name in first.items()},
    )


def _stream(pair: Pair, seed: int) -> tuple[NDArray, dict[str, NDArray], dict[str, NDArray]]:
    """(sampled rows, their log-probabilities by model, per-example columns of all rows)."""
    n, classes = pair.shape
    models = _models(pair)
    rows = np.sort(np.random.default_rng(seed).choice(n, min(n, max(FEWEST_SAMPLED, SAMPLE // classes)), replace=False))
    kinds = {matrix.dtype for matrix in models.values()}
    fast = kinds == {np.dtype(np.float16)} and "probabilities" not in pair.values.values()
    per_block = max(1, min(n, (_BLOCK if fast else _BLOCK // 4) // classes))
    buffers = {name: HalfBuffers(per_block, classes) for name in models} if fast else None
    arrays = empty_columns(n, column_names([name for name in models if name != "teacher"], pair.labels is not None))
    sampled = {name: np.empty((len(rows), classes), np.float32) for name in models}
    where = {name: matrix.where or name for name, matrix in models.items()}

    def work(start: int, parts: tuple[NDArray, ...]) -> None:
        blocks, stop = dict(zip(models, parts, strict=True)), start + len(parts[0])
        labels = None if pair.labels is None else pair.labels[start:stop]
        for name, column in columns_of_block(blocks, pair.values, where, start, labels, buffers).items():
            arrays[name][start:stop] = column
        first, last = np.searchsorted(rows, [start, stop])
        for name, block in blocks.items() if last > first else ():
            sampled[name][first:last] = block[rows[first:last] - start]

    read = side_by_side(list(models.values()), per_block, work)
    if read != n:
        raise refusal("cut-short", f"{n:,} rows", f"{read:,}", "write the file again", where=pair.name)
    for name, logits in sampled.items():
        for first in range(0, len(rows), per_block):
            part = slice(first, first + per_block)
            logits[part] = log_softmax(as_logits(logits[part], pair.values[name], where[name], rows[part]), axis=1)
    return rows, sampled, arrays


def _as_columns(pair: Pair, arrays: dict[str, NDArray]) -> dict[ColumnsOf, Columns]:
    """The pass's columns under the functions that measures know them by."""
    n = pair.shape[0]
    student, twin = next(iter(pair.students)), next(iter(pair.twins), None)
    nan = np.full(n, np.nan, np.float32) if pair.labels is None else np.empty(0)
    right = {m: arrays.get(f"{m}.right", nan) for m in ("teacher", student, twin) if m}
    flags = np.zeros(n, bool) if pair.labels is None else right["teacher"]
    mislabelled = np.zeros(n, bool) if pair.mislabelled is None else pair.mislabelled

    def of(name: str) -> dict[ColumnsOf, Columns]:
        x = arrays["teacher.x"]
        out: dict[ColumnsOf, Columns] = {
            confidence: (x, arrays[f"{name}.y"], flags, mislabelled),
            choices: (x, arrays[f"{name}.agree"], right["teacher"].astype(np.float32), right[name].astype(np.float32)),
            forward_and_reverse: (arrays[f"{name}.kl"], arrays[f"{name}.reverse_kl"]),
        }
        return out | ({scores: scored(name)} if pair.labels is not None else {})

    def scored(name: str) -> Columns:
        return tuple(arrays[f"{name}.{c}"] for c in ("nll", "brier", "confidence", "right"))

    own = of(student)
    out = dict(own)
    out[softness(1.0)] = (arrays["teacher.entropy"], arrays["teacher.rest"])
    if pair.labels is not None:
        out[columns_on(scores, "teacher")] = scored("teacher")
        out[columns_beside(scores, "teacher")] = (*scored(student), *scored("teacher"))
    if twin:
        for function, columns in of(twin).items():
            out[columns_on(function, "twin")] = columns
            out[columns_beside(function, "twin")] = (*own[function], *columns)
    return out
