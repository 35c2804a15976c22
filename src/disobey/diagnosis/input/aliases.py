"""What the arrays of a pair are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from disobey.diagnosis.input.matrices import Matrix
from disobey.errors import printable, refusal

ALIASES = {
    "teacher": ("teacher", "teacher_logits", "teacher_probs", "teacher_log_probs", "logits_teacher"),
    "student": ("student", "student_logits", "student_probs", "student_log_probs", "logits_student"),
    "twin": ("twin", "baseline", "twin_logits", "logits_twin"),
    "labels": ("labels", "label", "y", "targets"),
    "ids": ("ids", "id"),
    "groups": ("group", "groups"),
    "cluster": ("cluster", "clusters", "sequence_ids", "prompt_ids"),
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


def canonical(arrays: Mapping[str, Matrix]) -> dict[str, Matrix]:
    """Arrays under their canonical names; the others keep theirs."""
    known = {alias: name for name, aliases in ALIASES.items() for alias in aliases}
    out: dict[str, Matrix] = {}
    for name, matrix in arrays.items():
        base = known.get(name, name)
        if base in out:
            raise refusal(
                "two-names", f"one array for {base}", "two under different names", "keep one", where=matrix.where
            )
        out[base] = matrix
    return out


def listed(arrays: Mapping[str, Any]) -> str:
    """The names that there are, for a refusal."""
    names = ", ".join(printable(name, 40) for name in list(arrays)[:12])
    return f"only {names}" + (" …" if len(arrays) > 12 else "") if arrays else "no arrays at all"
