"""`Pair`: teacher, student and what belongs to them, checked. All input formats are converted to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.errors import nearest, renamed, row_list
from disobey.diagnosis.input.aliases import ALIASES, TOP_K, TOP_K_MORE, canonical, listed
from disobey.diagnosis.input.boxes import flattened_boxes
from disobey.diagnosis.input.maps import flattened_maps
from disobey.diagnosis.input.matrices import ArrayMatrix, Matrix, whole
from disobey.diagnosis.input.score_types import Values, detected
from disobey.diagnosis.input.sequences import flattened
from disobey.diagnosis.input.top_k_caches import from_cache
from disobey.diagnosis.input.validation import column, listed_scores, same_rows, same_rule, scores, unique
from disobey.errors import printable, refusal
from disobey.records.predictions import Predictions


@dataclass(frozen=True, eq=False)
class TopK:
    """A language model's teacher by its k most likely tokens. Logarithms are natural.

    Attributes:
        ids: (N, k) token numbers.
        teacher: (N, k) the teacher's log-probabilities of *those* tokens; −inf where a place is unused.
        student: (N, k) the student's, NaN where unknown.
        student_top: (N,) the student's most likely token, where known.
        label_teacher: (N,) the teacher's log-probability of the true token.
        label_student: (N,) the student's.
        twin: (N, k) the control's.
        twin_top: (N,) the control's most likely token.
        label_twin: (N,) the control's log-probability of the true token.
    """

    ids: Matrix
    teacher: Matrix
    student: Matrix
    student_top: NDArray | None = None
    label_teacher: NDArray | None = None
    label_student: NDArray | None = None
    twin: Matrix | None = None
    twin_top: NDArray | None = None
    label_twin: NDArray | None = None

    @property
    def of_twin(self) -> TopK:
        """The same lists with the control in the student's place."""
        assert self.twin is not None
        return replace(self, student=self.twin, student_top=self.twin_top, label_student=self.label_twin)


@dataclass(frozen=True, eq=False)
class Pair:
    """Teacher, students and controls (twins) on the same N examples, of C classes, unread.

    Attributes:
        name: for the report's folder.
        shape: (N, C).
        teacher: (N, C) scores; None for top-k lists.
        students: by name, one for each seed.
        twins: by name, one for each seed.
        labels: (N,) true classes.
        ids: (N,) who an example is.
        groups: (N,) any names to report by.
        cluster: (N,) which text, prompt or image an example belongs to; intervals are then over these.
        mislabelled: (N,) bool, where training used another label.
        class_names: C names.
        texts: (N,) what an example says.
        images: (N, H, W), (N, H, W, 3) or (N, 3, H, W).
        features: by name, (N, ...) outputs of layers.
        values: what each matrix of scores holds.
        topk: a language model's lists, in the place of scores.
        split: which examples these are.
        ignored: names of arrays that were not read.
        facts: what a reader knows and arrays do not say: rows joined, tokenizers compared.
    """

    name: str
    shape: tuple[int, int]
    teacher: Matrix | None
    students: Mapping[str, Matrix]
    twins: Mapping[str, Matrix] = field(default_factory=dict)
    labels: NDArray | None = None
    ids: NDArray | None = None
    groups: NDArray | None = None
    mislabelled: NDArray | None = None
    class_names: tuple[str, ...] | None = None
    texts: NDArray | None = None
    images: Matrix | None = None
    features: Mapping[str, Matrix] = field(default_factory=dict)
    values: Mapping[str, Values] = field(default_factory=dict)
    topk: TopK | None = None
    split: str = "test"
    ignored: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    cluster: NDArray | None = None


def pair_from(
    arrays: Mapping[str, Matrix | NDArray],
    *,
    name: str = "pair",
    where: str = "",
    values: str = "auto",
    split: str = "test",
    facts: Mapping[str, Any] | None = None,
) -> Pair:
    """A pair from named arrays (see `ALIASES`; ``student/seed0``, ``twin/seed0``, ``features_*``, ``topk_*``)."""
    matrices = {k: _matrix(v, f"{where}[{k}]" if where else k) for k, v in arrays.items()}
    cached, known_of = from_cache(matrices)
    named, of_boxes = flattened_boxes(canonical(cached))
    values = "log-probabilities" if of_boxes or "boxes" in (facts or {}) else values
    named, of_maps = flattened_maps(named)
    named = flattened(named)
    if "topk_ids" in named or "topk_teacher" in named:
        pair = _sparse(named, name, where)
    else:
        pair = _dense(named, name, where, values)
    names = ("ids", "groups", "cluster", "texts", "mislabelled")
    columns = {k: column(named[k], k, pair.shape[0]) for k in names if k in named}
    if "cluster" in columns and columns["cluster"].dtype.kind not in "iuUS":
        got, hint = f"type {columns['cluster'].dtype}", "one integer or name an example"
        raise refusal("cluster-type", "clusters as integers or text", got, hint, where=named["cluster"].where)
    if "ids" in columns:
        unique(columns["ids"], where)
    features = {k: m for k, m in named.items() if k.startswith("features_")}
    for key, matrix in features.items():
        same_rows(matrix, pair.shape[0], key)
    known = {*ALIASES, *TOP_K, *TOP_K_MORE, *features}
    ignored = tuple(k for k in named if k not in known and k.split("/")[0] not in ("student", "twin"))
    return replace(
        pair,
        **columns,
        labels=_labels(named, pair),
        class_names=_class_names(named, pair.shape[1]),
        images=named.get("images"),
        features=features,
        ignored=ignored,
        split=split,
        facts={**(facts or {}), **known_of, **of_boxes, **of_maps},
    )


def _matrix(value: Matrix | NDArray, where: str) -> Matrix:
    return value if hasattr(value, "blocks") else ArrayMatrix(np.asarray(value), where)  # type: ignore[return-value]


def pair_from_predictions(predictions: Predictions, name: str = "pair") -> Pair:
    """From predictions that this package wrote itself."""
    matrix = {side: ArrayMatrix(np.asarray(getattr(predictions, side)), side) for side in ("teacher", "student")}
    twins = {} if predictions.twin is None else {"twin": ArrayMatrix(np.asarray(predictions.twin), "twin")}
    shape = (len(predictions), predictions.n_classes)
    return Pair(
        name,
        shape,
        matrix["teacher"],
        {"student": matrix["student"]},
        twins,
        predictions.labels,
        predictions.ids,
        predictions.groups,
        predictions.mislabelled,
        predictions.class_names,
        split=predictions.split,
        cluster=predictions.cluster,
        values=dict.fromkeys(("teacher", "student", *twins), "log-probabilities"),
    )


def with_columns(pair: Pair, arrays: Mapping[str, NDArray], values: str = "auto") -> Pair:
    """The pair with a twin or columns (labels, ids, groups, …) that it lacks; refused where it has them."""
    if not arrays:
        return pair
    held = {
        "labels": pair.labels,
        "twin": pair.twins or None,
        "groups": pair.groups,
        "cluster": pair.cluster,
        "class_names": pair.class_names,
        "texts": pair.texts,
    }
    for name in arrays:
        if held.get(name) is not None:
            raise refusal(
                "column-twice",
                f"{name} in one place",
                f"{name} in the pair as well",
                "leave one of them out",
                where=name,
            )
    if pair.teacher is None:
        if "twin" in arrays:
            raise refusal(
                "twin-top-k",
                "top-k lists at the teacher's tokens",
                "an array",
                "an array 'topk_twin' in the file",
                where="twin",
            )
        assert pair.topk is not None
        sides: dict[str, Any] = dict(zip(TOP_K, (pair.topk.ids, pair.topk.teacher, pair.topk.student), strict=True))
        sides["vocabulary"] = np.array(pair.shape[1])
    else:
        sides = {"teacher": pair.teacher, **pair.students}
    found = pair_from({**sides, **arrays}, name=pair.name, values=values)
    changed: dict[str, Any] = {name: getattr(found, name) for name in arrays if name != "twin"}
    if "twin" in arrays:
        changed |= {"twins": found.twins, "values": {**pair.values, "twin": found.values["twin"]}}
    return replace(pair, **changed)


def _dense(named: Mapping[str, Matrix], name: str, where: str, values: str) -> Pair:
    if "teacher" not in named:
        raise refusal("missing-teacher", "an array 'teacher'", listed(named), renamed("teacher", named), where=where)
    students = {k: m for k, m in named.items() if k == "student" or k.startswith("student/")}
    twins = {k: m for k, m in named.items() if k == "twin" or k.startswith("twin/")}
    if not students:
        raise refusal("missing-student", "an array 'student'", listed(named), renamed("student", named), where=where)
    teacher = named["teacher"]
    scores(teacher, "teacher")
    for key, matrix in {**students, **twins}.items():
        scores(matrix, key)
        if matrix.shape[0] != teacher.shape[0]:
            got = f"{teacher.shape[0]:,} rows of teacher and {matrix.shape[0]:,} of {key}"
            raise refusal(
                "row-counts",
                "as many rows for both",
                got,
                "give both files ids, and rows are joined by them",
                where=where,
            )
        if matrix.shape[1] != teacher.shape[1]:
            got = f"{teacher.shape[1]:,} for teacher and {matrix.shape[1]:,} for {key}"
            raise refusal(
                "class-counts",
                "as many classes for both",
                got,
                "drop the classes that only one model has, by name",
                where=where,
            )
    kinds: dict[str, Values] = {
        key: detected(matrix, values) for key, matrix in {"teacher": teacher, **students, **twins}.items()
    }
    return Pair(name, (teacher.shape[0], teacher.shape[1]), teacher, students, twins, values=kinds)


def _sparse(named: Mapping[str, Matrix], name: str, where: str) -> Pair:
    for key in TOP_K:
        if key not in named:
            raise refusal(
                "missing-top-k",
                f"an array {key!r} beside the other top-k arrays",
                listed(named),
                nearest(key, named),
                where=where,
            )
    ids, teacher, student = (named[key] for key in TOP_K)
    if ids.dtype.kind not in "iu":
        raise refusal("token-id-type", "token ids (integers)", f"type {ids.dtype}", "astype('int32')", where=ids.where)
    twin = named.get("topk_twin")
    for matrix, key in ((teacher, "topk_teacher"), (student, "topk_student"), (twin, "topk_twin")):
        if matrix is not None:
            listed_scores(matrix, key, ids)
    n = ids.shape[0]
    columns = ("label_teacher", "label_student", "label_twin", "topk_student_top", "topk_twin_top")
    more = {k: column(named[k], k, n) for k in columns if k in named}
    same_rule(more, twin, where)
    vocabulary = 2**31
    if "vocabulary" in named and named["vocabulary"].shape == () and named["vocabulary"].dtype.kind in "iu":
        vocabulary = int(whole(named["vocabulary"]).item())
    logs: Values = "log-probabilities"
    topk = TopK(
        ids,
        teacher,
        student,
        more.get("topk_student_top"),
        more.get("label_teacher"),
        more.get("label_student"),
        twin,
        more.get("topk_twin_top"),
        more.get("label_twin"),
    )
    twins = {} if twin is None else {"twin": twin}
    return Pair(
        name,
        (n, max(2, vocabulary)),
        None,
        {"student": student},
        twins,
        topk=topk,
        values=dict.fromkeys(("teacher", "student", *twins), logs),
    )


def _labels(named: Mapping[str, Matrix], pair: Pair) -> NDArray | None:
    if "labels" not in named:
        return None
    place, shape = named["labels"].where or "labels", named["labels"].shape
    if len(shape) == 2 and shape[0] == pair.shape[0]:
        hint = "labels.ravel()" if shape[1] == 1 else "one-hot labels: labels.argmax(1)"
        raise refusal("label-shape", f"labels of shape ({shape[0]},)", f"shape {shape}", hint, where=place)
    labels = column(named["labels"], "labels", pair.shape[0])
    if labels.dtype.kind not in "iu":
        hint = {
            "f": "astype(int), after checking that they are class numbers",
            "b": "astype(int)",
            "U": "save class numbers, in the order of the models' outputs, and the names as 'class_names'",
        }
        raise refusal(
            "label-type",
            "labels as integers",
            f"type {labels.dtype}",
            hint.get(labels.dtype.kind, "class numbers"),
            where=place,
        )
    bad = np.flatnonzero((labels < 0) | (labels >= pair.shape[1]))
    if len(bad):
        hint = "drop rows that training ignores (−100)" if (labels[bad] == -100).all() else "count classes from 0"
        got = f"{int(labels[bad[0]])} in {row_list(bad)}"
        raise refusal("label-range", f"labels from 0 to {pair.shape[1] - 1:,}", got, hint, where=place)
    return labels.astype(np.int64)


def _class_names(named: Mapping[str, Matrix], n_classes: int) -> tuple[str, ...] | None:
    if "class_names" not in named:
        return None
    matrix = named["class_names"]
    names = np.atleast_1d(whole(matrix)).ravel()
    if len(names) != n_classes:
        raise refusal(
            "class-name-count",
            f"{n_classes:,} class names",
            f"{len(names):,}",
            "one name a class, in order",
            where=matrix.where,
        )
    return tuple(printable(name, 100) for name in names)


def class_name(pair: Pair, number: int) -> str:
    """A class by its name where names were given, else its number."""
    return pair.class_names[number] if pair.class_names else str(number)
