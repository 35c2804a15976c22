"""`Pair`: what somebody brought, checked, before any number is computed. Every door ends here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.matrices import ArrayMatrix, Matrix, whole
from disobey.diagnosis.problems import nearest, printable, problem, row_list
from disobey.diagnosis.readers.folder import read_arrays
from disobey.diagnosis.values import Values, detected
from disobey.records.predictions import Predictions

ALIASES = {
    "teacher": ("teacher", "teacher_logits", "teacher_probs", "teacher_log_probs"),
    "student": ("student", "student_logits", "student_probs", "student_log_probs"),
    "twin": ("twin", "baseline", "twin_logits"),
    "labels": ("labels", "label", "y", "targets"),
    "ids": ("ids", "id"),
    "groups": ("group", "groups"),
    "class_names": ("class_names", "classes"),
    "mislabelled": ("mislabelled",),
    "texts": ("texts", "text"),
    "images": ("images", "image"),
}
SIDED = ("features_teacher", "features_student", "features_twin")
TOP_K = ("topk_ids", "topk_teacher", "topk_student")
TOP_K_MORE = (
    "topk_twin",
    "topk_student_top",
    "topk_twin_top",
    "label_teacher",
    "label_student",
    "label_twin",
    "vocabulary",
)


@dataclass(frozen=True, eq=False)
class TopK:
    """A language model's teacher by its k most likely tokens. All (N, k); logs are natural; −inf where unused.

    ids: token numbers. teacher, student, twin: log-probabilities of *those* tokens (NaN where a student's is not known).
    """

    ids: Matrix
    teacher: Matrix
    student: Matrix
    student_top: NDArray | None = None  # (N,) the student's most likely token, where known
    label_teacher: NDArray | None = None  # (N,) log-probability of the true token
    label_student: NDArray | None = None
    twin: Matrix | None = None
    twin_top: NDArray | None = None
    label_twin: NDArray | None = None

    @property
    def of_twin(self) -> TopK:
        """The same lists with the twin in the student's place."""
        assert self.twin is not None
        return replace(self, student=self.twin, student_top=self.twin_top, label_student=self.label_twin)


@dataclass(frozen=True, eq=False)
class Pair:
    """Teacher, students (several seeds: several names) and twins on the same N examples, unread.

    values: what each matrix holds. facts: anything a door knows that arrays do not say (tokenizers compared, say).
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


def read_pair(
    *paths: Path | str, labels: Path | str | None = None, values: str = "auto", split: str = "test"
) -> Pair:  # fmt: skip
    """A pair from a file or folder, or from several (teacher.npy student.npy labels.npy) that hold a part each.

    labels: a file of their own for them. Raises `ValueError` naming file, array, row, expectation and remedy.
    """
    arrays: dict[str, Matrix] = {}
    for path in map(Path, paths):
        for name, matrix in read_arrays(path).items():
            if name in arrays:
                hint = "--teacher and --student join two files by id" if name == "ids" else "keep one of them"
                raise problem(path, "arrays that no other file has", f"{printable(name)!r} again", hint)
            arrays[name] = matrix
    if labels is not None:
        if "labels" in _named(arrays):
            raise problem(labels, "labels in one place", "labels in the pair as well", "leave one of them out")
        arrays["labels"] = _labels_in(Path(labels))
    where = " and ".join(map(str, paths))
    return pair_from(arrays, name=Path(paths[0]).stem or "pair", where=where, values=values, split=split)


def read_two(
    teacher: Path | str, student: Path | str, labels: Path | str | None = None, *, values: str = "auto",
    split: str = "test",
) -> Pair:  # fmt: skip
    """A pair from a teacher's and a student's file; rows are joined by id where both have ids.

    Either file may hold the labels. Rows that only one side has are left out, and `facts` says how many.
    """
    sides = [_side(Path(teacher), "teacher"), _side(Path(student), "student")]
    rows: list[NDArray | None] = [None, None]
    facts: dict[str, Any] = {}
    if all("ids" in side for side in sides):
        ids = [whole(side["ids"]) for side in sides]
        for side, own in zip((teacher, student), ids, strict=True):
            _unique(own, str(side))
        if len(ids[0]) != len(ids[1]) or not np.array_equal(ids[0], ids[1]):
            rows, facts = _joined(ids, teacher, student)
    arrays: dict[str, Matrix] = {}
    for side, chosen in zip(reversed(sides), reversed(rows), strict=True):
        arrays |= {name: _taken(matrix, chosen) if name != "class_names" else matrix for name, matrix in side.items()}
    if labels is not None:
        arrays["labels"] = _labels_in(Path(labels))
        if facts:
            _needs_order(labels, "labels", "put them into the teacher's or the student's file")
    name = f"{Path(teacher).stem}-{Path(student).stem}"
    pair = pair_from(arrays, name=name, where=f"{teacher} and {student}", values=values, split=split)
    return replace(pair, facts={**pair.facts, **facts})


def _needs_order(path: Path | str, what: str, hint: str) -> None:
    """Rows that were joined by id are in neither file's order any more: what has no ids cannot follow."""
    raise problem(path, f"{what} with ids, because rows were joined by id", "none", hint)


def _labels_in(path: Path) -> Matrix:
    """The array ``labels`` of a file, or its only one."""
    arrays = _named(read_arrays(path))
    if "labels" not in arrays and len(arrays) != 1:
        raise problem(path, "an array 'labels', or one array only", _listed(arrays), nearest("labels", arrays))
    return arrays["labels"] if "labels" in arrays else next(iter(arrays.values()))


def with_twin(pair: Pair, path: Path | str, *, values: str = "auto") -> Pair:
    """The pair with the twin from another file: its array ``twin``, ``student`` or the only two-dimensional one."""
    arrays = _named(read_arrays(Path(path)))
    if pair.topk is not None:
        return _with_listed_twin(pair, pair.topk, arrays, str(path))
    fitting = [name for name in ("twin", "student", "logits") if name in arrays]
    fitting = fitting or [name for name, matrix in arrays.items() if len(matrix.shape) == 2]
    if not fitting:
        raise problem(path, "an array 'twin'", _listed(arrays), nearest("twin", arrays))
    matrix = arrays[fitting[0]]
    _scores(matrix, "twin")
    if "ids" not in arrays and "joined" in pair.facts:
        _needs_order(path, "a twin", "save ids beside it")
    if "ids" in arrays and pair.ids is not None:
        ids = whole(arrays["ids"])
        _unique(ids, str(path))
        if not np.array_equal(ids, pair.ids):
            order = np.argsort(ids, kind="stable")
            place = np.minimum(np.searchsorted(ids, pair.ids, sorter=order), len(ids) - 1)
            if not np.array_equal(ids[order][place], pair.ids):
                raise problem(path, "the pair's ids", "others", "save the twin on the same examples")
            matrix = ArrayMatrix(whole(matrix)[order[place]], matrix.where)
    if matrix.shape != pair.shape:
        raise problem(path, f"a twin of shape {pair.shape}", f"{matrix.shape}", "save it on the same examples")
    return replace(pair, twins={"twin": matrix}, values={**pair.values, "twin": detected(matrix, values)})


def _with_listed_twin(pair: Pair, topk: TopK, arrays: Mapping[str, Matrix], where: str) -> Pair:
    name = next((n for n in ("topk_twin", "topk_student") if n in arrays), None)
    if name is None:
        raise problem(
            where, "an array 'topk_twin' for a pair of top-k lists", _listed(arrays), nearest("topk_twin", arrays)
        )
    _listed_scores(arrays[name], "topk_twin", topk.ids)
    if "topk_ids" in arrays and not np.array_equal(whole(arrays["topk_ids"]), whole(topk.ids)):
        raise problem(
            where, "the pair's topk_ids", "others", "save the twin's log-probabilities at the teacher's tokens"
        )
    side = name.removeprefix("topk_")
    columns = {"topk_twin_top": f"topk_{side}_top", "label_twin": f"label_{side}"}
    more = {key: _column(arrays[own], own, pair.shape[0]) for key, own in columns.items() if own in arrays}
    own = {} if topk.student_top is None else {"topk_student_top": topk.student_top}
    _same_rule({**more, **own}, arrays[name], where)
    topk = replace(topk, twin=arrays[name], twin_top=more.get("topk_twin_top"), label_twin=more.get("label_twin"))
    values: dict[str, Values] = {**pair.values, "twin": "log-probabilities"}
    return replace(pair, twins={"twin": arrays[name]}, topk=topk, values=values)


def _side(path: Path, role: str) -> dict[str, Matrix]:
    arrays = _named(read_arrays(path))
    if role not in arrays:
        fitting = [
            n for n in ("logits", "log_probs", "probabilities", "probs", "predictions", path.stem) if n in arrays
        ]
        fitting = fitting or [name for name, matrix in arrays.items() if len(matrix.shape) == 2]
        if len(fitting) != 1:
            raise problem(path, f"an array {role!r} (or 'logits')", _listed(arrays), nearest(role, arrays))
        arrays[role] = arrays.pop(fitting[0])
    for name in [n for n in arrays if n.startswith("features_") and not n.startswith(SIDED)]:
        arrays[f"features_{role}_{name.removeprefix('features_')}"] = arrays.pop(name)
    if "features" in arrays:
        arrays[f"features_{role}"] = arrays.pop("features")
    other = "student" if role == "teacher" else "teacher"
    return {name: matrix for name, matrix in arrays.items() if name != other and not name.startswith(f"{other}/")}


def _joined(ids: list[NDArray], teacher: Path | str, student: Path | str) -> tuple[list, dict[str, Any]]:
    if ids[0].dtype.kind in "US" or ids[1].dtype.kind in "US":
        ids = [own.astype(str) for own in ids]
    common, first, second = np.intersect1d(ids[0], ids[1], return_indices=True)
    if len(common) == 0:
        came = f"none in common ({printable(ids[0][0], 40)!r} … against {printable(ids[1][0], 40)!r} …)"
        raise problem(f"{teacher} and {student}", "ids that both files share", came, "check that ids mean the same")
    order = np.argsort(second)
    facts = {
        "joined": len(common),
        "teacher_only": len(ids[0]) - len(common),
        "student_only": len(ids[1]) - len(common),
    }
    return [first[order], second[order]], facts


def _taken(matrix: Matrix, rows: NDArray | None) -> Matrix:
    return matrix if rows is None else ArrayMatrix(whole(matrix)[rows], matrix.where)


def pair_from(
    arrays: Mapping[str, Matrix | NDArray], *, name: str = "pair", where: str = "", values: str = "auto",
    split: str = "test", facts: Mapping[str, Any] | None = None,
) -> Pair:  # fmt: skip
    """A pair from named arrays (see `ALIASES`; ``student/seed0``, ``twin/seed0``, ``features_*``, ``topk_*``)."""
    named = _named({k: v if hasattr(v, "blocks") else ArrayMatrix(np.asarray(v), f"{where}[{k}]" if where else k)
                    for k, v in arrays.items()})  # type: ignore[arg-type]  # fmt: skip
    if "topk_ids" in named or "topk_teacher" in named:
        pair = _sparse(named, name, where)
    else:
        pair = _dense(named, name, where, values)
    columns = {k: _column(named[k], k, pair.shape[0]) for k in ("ids", "groups", "texts", "mislabelled") if k in named}
    if "ids" in columns:
        _unique(columns["ids"], where)
    features = {k: m for k, m in named.items() if k.startswith("features_")}
    for key, matrix in features.items():
        _same_rows(matrix, pair.shape[0], key)
    known = {*ALIASES, *TOP_K, *TOP_K_MORE, *features}
    ignored = tuple(k for k in named if k not in known and k.split("/")[0] not in ("student", "twin"))
    return replace(
        pair, **columns, labels=_labels(named, pair, where), class_names=_class_names(named, pair.shape[1]),
        images=named.get("images"), features=features, ignored=ignored, split=split, facts=dict(facts or {}),
    )  # fmt: skip


def pair_from_predictions(predictions: Predictions, name: str = "pair") -> Pair:
    """The door for records that this package wrote itself."""
    matrix = {side: ArrayMatrix(np.asarray(getattr(predictions, side)), side) for side in ("teacher", "student")}
    twins = {} if predictions.twin is None else {"twin": ArrayMatrix(np.asarray(predictions.twin), "twin")}
    shape = (len(predictions), predictions.n_classes)
    return Pair(
        name, shape, matrix["teacher"], {"student": matrix["student"]}, twins, predictions.labels, predictions.ids,
        predictions.groups, predictions.mislabelled, predictions.class_names, split=predictions.split,
        values=dict.fromkeys(("teacher", "student", *twins), "log-probabilities"),
    )  # fmt: skip


def _named(arrays: Mapping[str, Matrix]) -> dict[str, Matrix]:
    """Arrays under their canonical names; the others keep theirs."""
    canonical = {alias: name for name, aliases in ALIASES.items() for alias in aliases}
    out: dict[str, Matrix] = {}
    for name, matrix in arrays.items():
        base = canonical.get(name, name)
        if base in out:
            raise problem(matrix.where, f"one array for {base}", "two under different names", "keep one")
        out[base] = matrix
    return out


def _listed(arrays: Mapping[str, Any]) -> str:
    names = ", ".join(printable(name, 40) for name in list(arrays)[:12])
    return f"only {names}" + (" …" if len(arrays) > 12 else "") if arrays else "no arrays at all"


def _dense(named: Mapping[str, Matrix], name: str, where: str, values: str) -> Pair:
    if "teacher" not in named:
        raise problem(where, "an array 'teacher'", _listed(named), nearest("teacher", named) or "rename it")
    students = {k: m for k, m in named.items() if k == "student" or k.startswith("student/")}
    twins = {k: m for k, m in named.items() if k == "twin" or k.startswith("twin/")}
    if not students:
        raise problem(where, "an array 'student'", _listed(named), nearest("student", named) or "rename it")
    teacher = named["teacher"]
    _scores(teacher, "teacher")
    for key, matrix in {**students, **twins}.items():
        _scores(matrix, key)
        if matrix.shape[0] != teacher.shape[0]:
            came = f"{teacher.shape[0]:,} rows of teacher and {matrix.shape[0]:,} of {key}"
            raise problem(where, "as many rows for both", came, "give both files ids, and rows are joined by them")
        if matrix.shape[1] != teacher.shape[1]:
            came = f"{teacher.shape[1]:,} for teacher and {matrix.shape[1]:,} for {key}"
            raise problem(where, "as many classes for both", came, "drop the classes that only one model has, by name")
    kinds: dict[str, Values] = {
        key: detected(matrix, values) for key, matrix in {"teacher": teacher, **students, **twins}.items()
    }
    return Pair(name, (teacher.shape[0], teacher.shape[1]), teacher, students, twins, values=kinds)


def _scores(matrix: Matrix, name: str) -> None:
    where, shape = matrix.where or name, matrix.shape
    if len(shape) != 2:
        hint = "reshape(-1, classes): every token is an example" if len(shape) == 3 else "one row an example"
        raise problem(where, "an array of shape (examples, classes)", f"shape {shape}", hint)
    if matrix.dtype.kind != "f":
        hint = "save the scores, not their argmax" if matrix.dtype.kind in "iu" else "save numbers"
        raise problem(where, "floating-point scores", f"type {matrix.dtype}", hint)
    if shape[0] == 0:
        raise problem(where, "at least one example", "none: the array is empty", "check the loop that saved it")
    if shape[1] < 2:
        raise problem(where, "at least 2 classes", f"{shape[1]}", "for one logit z, save the two columns 0 and z")


def _sparse(named: Mapping[str, Matrix], name: str, where: str) -> Pair:
    for key in TOP_K:
        if key not in named:
            raise problem(where, f"an array {key!r} beside the other top-k arrays", _listed(named), nearest(key, named))
    ids, teacher, student = (named[key] for key in TOP_K)
    if ids.dtype.kind not in "iu":
        raise problem(ids.where, "token ids (integers)", f"type {ids.dtype}", "astype('int32')")
    twin = named.get("topk_twin")
    for matrix, key in ((teacher, "topk_teacher"), (student, "topk_student"), (twin, "topk_twin")):
        if matrix is not None:
            _listed_scores(matrix, key, ids)
    n = ids.shape[0]
    columns = ("label_teacher", "label_student", "label_twin", "topk_student_top", "topk_twin_top")
    more = {k: _column(named[k], k, n) for k in columns if k in named}
    _same_rule(more, twin, where)
    vocabulary = 2**31
    if "vocabulary" in named and named["vocabulary"].shape == () and named["vocabulary"].dtype.kind in "iu":
        vocabulary = int(whole(named["vocabulary"]).item())
    logs: Values = "log-probabilities"
    topk = TopK(ids, teacher, student, more.get("topk_student_top"), more.get("label_teacher"), more.get("label_student"),
                twin, more.get("topk_twin_top"), more.get("label_twin"))  # fmt: skip
    twins = {} if twin is None else {"twin": twin}
    return Pair(name, (n, max(2, vocabulary)), None, {"student": student}, twins, topk=topk,
                values=dict.fromkeys(("teacher", "student", *twins), logs))  # fmt: skip


def _listed_scores(matrix: Matrix, name: str, ids: Matrix) -> None:
    _scores(matrix, name)
    if matrix.shape != ids.shape:
        raise problem(matrix.where, f"the shape of topk_ids {ids.shape}", f"{matrix.shape}", "one column a token")


def _same_rule(columns: Mapping[str, NDArray], twin: Matrix | None, where: str) -> None:
    """Agreement is exact with a most likely token and a lower bound without: never one of each."""
    tops = [key for key in ("topk_student_top", "topk_twin_top") if key in columns]
    if twin is not None and len(tops) == 1:
        missing = "topk_twin_top" if tops[0] == "topk_student_top" else "topk_student_top"
        raise problem(where, f"{missing!r} beside {tops[0]!r} and 'topk_twin'", "only one of them", "save both or none")


def _column(matrix: Matrix, name: str, n: int) -> NDArray:
    _same_rows(matrix, n, name)
    if len(matrix.shape) != 1:
        raise problem(matrix.where, f"{name} of shape ({n},)", f"shape {matrix.shape}", "one value an example")
    column = whole(matrix)
    return column.astype(bool) if name == "mislabelled" else column


def _same_rows(matrix: Matrix, n: int, name: str) -> None:
    if not matrix.shape or matrix.shape[0] != n:
        came = f"{matrix.shape[0]:,}" if matrix.shape else "a single number"
        raise problem(matrix.where or name, f"{n:,} rows, as the teacher has", came, "save them from the same loop")


def _labels(named: Mapping[str, Matrix], pair: Pair, where: str) -> NDArray | None:
    if "labels" not in named:
        return None
    place = named["labels"].where or "labels"
    labels = _column(named["labels"], "labels", pair.shape[0])
    if labels.dtype.kind not in "iu":
        hint = (
            "astype(int), after checking that they are class numbers" if labels.dtype.kind == "f" else "class numbers"
        )
        raise problem(place, "labels as integers", f"type {labels.dtype}", hint)
    bad = np.flatnonzero((labels < 0) | (labels >= pair.shape[1]))
    if len(bad):
        hint = "drop rows that training ignores (−100)" if (labels[bad] == -100).all() else "count classes from 0"
        came = f"{int(labels[bad[0]])} in {row_list(bad)}"
        raise problem(place, f"labels from 0 to {pair.shape[1] - 1:,}", came, hint)
    return labels.astype(np.int64)


def _unique(ids: NDArray, where: str) -> None:
    if ids.ndim != 1:
        raise problem(where, "ids of shape (N,)", f"shape {ids.shape}", "one id an example")
    _, first, counts = np.unique(ids, return_index=True, return_counts=True)
    twice = first[counts > 1]
    if len(twice):
        came = f"{printable(ids[twice[0]], 60)!r} {int(counts[counts > 1][0])} times, and {len(twice):,} such ids"
        raise problem(f"{where}[ids]", "every id once", came, "drop repeated examples, or make ids unique")


def _class_names(named: Mapping[str, Matrix], n_classes: int) -> tuple[str, ...] | None:
    if "class_names" not in named:
        return None
    matrix = named["class_names"]
    names = np.atleast_1d(whole(matrix)).ravel()
    if len(names) != n_classes:
        raise problem(matrix.where, f"{n_classes:,} class names", f"{len(names):,}", "one name a class, in order")
    return tuple(printable(name, 100) for name in names)


def class_name(pair: Pair, number: int) -> str:
    return pair.class_names[number] if pair.class_names else str(number)


def names_of(classes: Sequence[int], pair: Pair) -> str:
    return ", ".join(class_name(pair, c) for c in classes)
