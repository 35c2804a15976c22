"""A pair from files: one for all, one for each model, or one for each array; rows of two models are joined by id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disobey.diagnosis.errors import nearest, row_list
from disobey.diagnosis.input.aliases import ALIASES, SIDED, TOP_K, TOP_K_MORE, canonical, listed
from disobey.diagnosis.input.boxes import detections, is_coco, twin_arrays
from disobey.diagnosis.input.matrices import ArrayMatrix, Matrix, whole
from disobey.diagnosis.input.pair import Pair, TopK, pair_from
from disobey.diagnosis.input.readers.folder import read_arrays
from disobey.diagnosis.input.readers.llama_cpp import is_saved_logits
from disobey.diagnosis.input.score_types import Values, detected
from disobey.diagnosis.input.validation import column, listed_scores, same_rule, scores, unique
from disobey.errors import printable, refusal


def read_pair(
    *paths: Path | str,
    labels: Path | str | None = None,
    cluster: Path | str | None = None,
    values: str = "auto",
    split: str = "test",
) -> Pair:
    """A pair from a file or folder, or from several (teacher.npy student.npy labels.npy) that hold a part each.

    Args:
        paths: files or folders, of which no two hold the same array.
        labels: a file of its own for the labels.
        cluster: a file of its own for the clusters.
        values: what the scores are; detected where ``auto``.
        split: which examples these are.

    Raises:
        Refusal: names file, array and row, what was expected and what to try.
    """
    if len(paths) in (2, 3) and all(is_saved_logits(Path(path)) for path in paths):  # original, quantized, another
        pair = read_two(paths[0], paths[1], labels, cluster=cluster, values=values, split=split)
        return with_twin(pair, paths[2], values=values) if len(paths) == 3 else pair
    if any(map(is_coco, paths)):
        return _boxes(paths[0], paths[1:], labels, cluster, split)
    arrays: dict[str, Matrix] = {}
    for path in map(Path, paths):
        for name, matrix in read_arrays(path).items():
            if name in arrays:
                hint = "--teacher and --student join two files by id" if name == "ids" else "keep one of them"
                raise refusal(
                    "array-twice", "arrays that no other file has", f"{printable(name)!r} again", hint, where=path
                )
            arrays[name] = matrix
    arrays, facts = _by_position(arrays)
    if labels is not None:
        if "labels" in canonical(arrays):
            raise refusal(
                "two-labels", "labels in one place", "labels in the pair as well", "leave one of them out", where=labels
            )
        arrays["labels"] = _column_in(Path(labels), "labels")
    if cluster is not None:
        arrays["cluster"] = _cluster_in(Path(cluster), canonical(arrays))
    where = " and ".join(map(str, paths))
    return pair_from(arrays, name=Path(paths[0]).stem or "pair", where=where, values=values, split=split, facts=facts)


def _boxes(
    teacher: Path | str,
    students: Sequence[Path | str],
    labels: Path | str | None,
    cluster: Path | str | None,
    split: str,
) -> Pair:
    if cluster is not None:
        raise refusal("cluster-beside-boxes", "boxes, whose images are the clusters", cluster, where="--cluster")
    arrays, facts = detections(teacher, students, labels)
    name = f"{Path(teacher).stem}-{Path(students[0]).stem.replace('*', '')}"
    return pair_from(arrays, name=name, where=str(teacher), split=split, facts=facts)


def _by_position(arrays: dict[str, Matrix]) -> tuple[dict[str, Matrix], dict[str, Any]]:
    """Arrays whose names say nothing (t.npy s.npy) as teacher, student and twin, in their order; a column as labels.

    Only where no array is called teacher or student and two or three have their shape: `Pair.facts` says what was read
    as what.
    """
    named = canonical(arrays)
    known = {*ALIASES, *TOP_K, *TOP_K_MORE}
    free = [name for name in named if name not in known and not name.startswith(("student/", "twin/", "features_"))]
    models = [name for name in free if len(named[name].shape) in (2, 4)]
    columns = [name for name in free if len(named[name].shape) in (1, 3) and named[name].dtype.kind in "iu"]
    unnamed = {"teacher", "student", *TOP_K}.isdisjoint(named) and not any(
        name.startswith("student/") for name in named
    )
    equal = len({named[name].shape for name in models}) == 1
    if not (unnamed and equal and 2 <= len(models) <= (2 if "twin" in named else 3)) or len(columns) > 1:
        return arrays, {}
    read = dict(zip(models, ("teacher", "student", "twin"), strict=False))
    read |= {} if "labels" in named else dict.fromkeys(columns, "labels")
    return {read.get(name, name): matrix for name, matrix in named.items()}, {"by_position": read}


def read_two(
    teacher: Path | str,
    student: Path | str,
    labels: Path | str | None = None,
    *,
    cluster: Path | str | None = None,
    values: str = "auto",
    split: str = "test",
) -> Pair:
    """A pair from a teacher's and a student's file; rows are joined by id where both have ids.

    Either file may hold the labels. Rows that only one side has are left out; `Pair.facts` says how many.
    """
    if is_coco(teacher) or is_coco(student):
        return _boxes(teacher, [student], labels, cluster, split)
    sides = [_side(Path(teacher), "teacher"), _side(Path(student), "student")]
    rows: list[NDArray | None] = [None, None]
    facts: dict[str, Any] = {}
    if all("ids" in side for side in sides):
        ids = [whole(side["ids"]) for side in sides]
        for side, own in zip((teacher, student), ids, strict=True):
            unique(own, str(side))
        if len(ids[0]) != len(ids[1]) or not np.array_equal(ids[0], ids[1]):
            rows, facts = _joined(ids, teacher, student)
    arrays: dict[str, Matrix] = {}
    if labels is None:
        _same_labels(
            [_taken(side["labels"], chosen) for side, chosen in zip(sides, rows, strict=True) if "labels" in side],
            f"{teacher} and {student}",
        )
    _same_clusters(sides, rows, f"{teacher} and {student}")
    for side, chosen in zip(reversed(sides), reversed(rows), strict=True):
        arrays |= {name: _taken(matrix, chosen) if name != "class_names" else matrix for name, matrix in side.items()}
    if labels is not None:
        arrays["labels"] = _column_in(Path(labels), "labels")
        if facts:
            _needs_order(labels, "labels", "put them into the teacher's or the student's file")
    if cluster is not None:
        arrays["cluster"] = _cluster_in(Path(cluster), arrays)
        if facts:
            _needs_order(cluster, "clusters", "put them into the teacher's or the student's file")
    name = f"{Path(teacher).stem}-{Path(student).stem}"
    pair = pair_from(arrays, name=name, where=f"{teacher} and {student}", values=values, split=split)
    return replace(pair, facts={**pair.facts, **facts})


def _same_labels(columns: list[Matrix], where: str) -> None:
    """Two files that hold labels of the same rows hold the same ones; else their rows are in different orders."""
    if len(columns) < 2 or columns[0].shape != columns[1].shape:
        return  # other shapes are refused with their numbers
    first, second = map(whole, columns)
    differ = np.flatnonzero(np.atleast_1d(first != second))
    if len(differ):
        hint = (
            "save both in one order (a loader that shuffles?), give ids to join rows by, or leave one file's labels out"
        )
        raise refusal(
            "labels-differ", "the same labels in both files", f"others in {row_list(differ)}", hint, where=where
        )


def _same_clusters(sides: list[dict[str, Matrix]], rows: list[NDArray | None], where: str) -> None:
    """Where both files name clusters they name the same ones."""
    found = [_taken(side["cluster"], own) for side, own in zip(sides, rows, strict=True) if "cluster" in side]
    if len(found) == 2 and found[0].shape == found[1].shape and not np.array_equal(whole(found[0]), whole(found[1])):
        raise refusal(
            "clusters-differ", "the same clusters in both files", "others", "leave one file's out", where=where
        )


def _needs_order(path: Path | str, what: str, hint: str) -> None:
    """After a join by id rows are in neither file's order: an array without ids cannot be put beside them."""
    raise refusal("missing-ids", f"{what} with ids, because rows were joined by id", "none", hint, where=path)


def _column_in(path: Path, name: str) -> Matrix:
    """The array of this name in a file, or its only one."""
    arrays = canonical(read_arrays(path))
    if name not in arrays and len(arrays) != 1:
        raise refusal(
            f"missing-{name}",
            f"an array {name!r}, or one array only",
            listed(arrays),
            nearest(name, arrays),
            where=path,
        )
    return arrays[name] if name in arrays else next(iter(arrays.values()))


def _cluster_in(path: Path, arrays: Mapping[str, Matrix]) -> Matrix:
    if "cluster" in arrays:
        raise refusal(
            "two-clusters", "clusters in one place", "clusters in the pair as well", "leave one of them out", where=path
        )
    return _column_in(path, "cluster")


def with_twin(pair: Pair, path: Path | str, *, values: str = "auto") -> Pair:
    """The pair with the control from another file: its array ``twin``, ``student`` or the only two-dimensional one."""
    if "boxes" in pair.facts:
        twins, about = twin_arrays(pair.facts["boxes"], path)
        kinds: dict[str, Values] = {**pair.values, **dict.fromkeys(twins, "log-probabilities")}
        return replace(pair, twins=twins, values=kinds, facts={**pair.facts, "boxes": about})
    arrays = canonical(read_arrays(Path(path)))
    if pair.topk is not None:
        return _with_listed_twin(pair, pair.topk, arrays, str(path))
    fitting = [name for name in ("twin", "student", "logits") if name in arrays]
    fitting = fitting or [name for name, matrix in arrays.items() if len(matrix.shape) == 2]
    if not fitting:
        raise refusal("missing-twin", "an array 'twin'", listed(arrays), nearest("twin", arrays), where=path)
    matrix = arrays[fitting[0]]
    scores(matrix, "twin")
    if "ids" not in arrays and "joined" in pair.facts:
        _needs_order(path, "a twin", "save ids beside it")
    if "ids" in arrays and pair.ids is not None:
        ids = whole(arrays["ids"])
        unique(ids, str(path))
        if not np.array_equal(ids, pair.ids):
            order = np.argsort(ids, kind="stable")
            place = np.minimum(np.searchsorted(ids, pair.ids, sorter=order), len(ids) - 1)
            if not np.array_equal(ids[order][place], pair.ids):
                raise refusal(
                    "ids-differ", "the pair's ids", "others", "save the twin on the same examples", where=path
                )
            matrix = ArrayMatrix(whole(matrix)[order[place]], matrix.where)
    if matrix.shape != pair.shape:
        raise refusal(
            "twin-shape", f"a twin of shape {pair.shape}", matrix.shape, "save it on the same examples", where=path
        )
    if "labels" in arrays and pair.labels is not None and ("ids" not in arrays or pair.ids is None):
        _same_labels([ArrayMatrix(pair.labels), arrays["labels"]], f"{path} and the pair")
    return replace(pair, twins={"twin": matrix}, values={**pair.values, "twin": detected(matrix, values)})


def _with_listed_twin(pair: Pair, topk: TopK, arrays: Mapping[str, Matrix], where: str) -> Pair:
    name = next((n for n in ("topk_twin", "topk_student") if n in arrays), None)
    if name is None:
        raise refusal(
            "missing-top-k",
            "an array 'topk_twin' for a pair of top-k lists",
            listed(arrays),
            nearest("topk_twin", arrays),
            where=where,
        )
    listed_scores(arrays[name], "topk_twin", topk.ids)
    if "topk_ids" in arrays and not np.array_equal(whole(arrays["topk_ids"]), whole(topk.ids)):
        raise refusal(
            "ids-differ",
            "the pair's topk_ids",
            "others",
            "save the twin's log-probabilities at the teacher's tokens",
            where=where,
        )
    side = name.removeprefix("topk_")
    columns = {"topk_twin_top": f"topk_{side}_top", "label_twin": f"label_{side}"}
    more = {key: column(arrays[own], own, pair.shape[0]) for key, own in columns.items() if own in arrays}
    own = {} if topk.student_top is None else {"topk_student_top": topk.student_top}
    same_rule({**more, **own}, arrays[name], where)
    topk = replace(topk, twin=arrays[name], twin_top=more.get("topk_twin_top"), label_twin=more.get("label_twin"))
    values: dict[str, Values] = {**pair.values, "twin": "log-probabilities"}
    return replace(pair, twins={"twin": arrays[name]}, topk=topk, values=values)


def _side(path: Path, role: str) -> dict[str, Matrix]:
    arrays = canonical(read_arrays(path))
    if role not in arrays:
        fitting = [
            n for n in ("logits", "log_probs", "probabilities", "probs", "predictions", path.stem) if n in arrays
        ]
        fitting = fitting or [name for name, matrix in arrays.items() if len(matrix.shape) == 2]
        if len(fitting) != 1:
            raise refusal(
                "missing-model", f"an array {role!r} (or 'logits')", listed(arrays), nearest(role, arrays), where=path
            )
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
        got = f"none in common ({printable(ids[0][0], 40)!r} … against {printable(ids[1][0], 40)!r} …)"
        raise refusal(
            "no-common-ids",
            "ids that both files share",
            got,
            "check that ids mean the same",
            where=f"{teacher} and {student}",
        )
    order = np.argsort(second)
    facts = {
        "joined": len(common),
        "teacher_only": len(ids[0]) - len(common),
        "student_only": len(ids[1]) - len(common),
    }
    return [first[order], second[order]], facts


def _taken(matrix: Matrix, rows: NDArray | None) -> Matrix:
    return matrix if rows is None else ArrayMatrix(whole(matrix)[rows], matrix.where)
