"""One question a file: `plan()` says which runs, `analyze(records)` what they say."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from disobey.studies.kit.study import Study


class _Studies(Mapping[str, "type[Study]"]):
    """Studies by name, imported one by one: some bring torch, and help about the others does without."""

    homes: Mapping[str, tuple[str, str]] = {
        "deviation": ("deviation.study", "Deviation"),
        "loss-switching": ("loss_switching.study", "LossSwitching"),
        "forced-deviation": ("forced_deviation.study", "ForcedDeviation"),
        "eigenspace": ("eigenspace.study", "Eigenspace"),
        "denoising": ("denoising.study", "Denoising"),
        "teacher-free": ("teacher_free.study", "TeacherFree"),
        "data-size": ("data_size.study", "DataSize"),
        "state-tracking": ("state_tracking.study", "StateTracking"),
        "sequence-tasks": ("sequence_tasks", "SequenceTasks"),
        "sequence-distillation": ("sequence_distillation", "SequenceDistillation"),
        "state-distillation": ("state_distillation", "StateDistillation"),
        "random-teacher": ("random_teacher.study", "RandomTeacher"),
        "kinship": ("kinship.study", "Kinship"),
        "connectivity": ("connectivity", "Connectivity"),
        "top-k": ("top_k.study", "TopK"),
        "lottery": ("lottery.study", "Lottery"),
        "dataset-dependency": ("dataset_dependency.study", "DatasetDependency"),
        "teacher-choice": ("teacher_choice.study", "TeacherChoice"),
        "dense-prediction": ("dense_prediction.study", "DensePrediction"),
    }

    def __getitem__(self, name: str) -> type[Study]:
        module, kind = self.homes[name]
        return getattr(import_module(f"disobey.studies.{module}"), kind)

    def question(self, name: str) -> str:
        """What a study asks, read from its source: a list of all questions imports none of them."""
        module, kind = self.homes[name]
        source = Path(__file__).parent.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")
        (body,) = (n.body for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == kind)
        for line in body:
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.target.id == "question":
                assert line.value is not None
                return ast.literal_eval(line.value)
        raise AttributeError(f"{kind} asks no question")

    def __iter__(self) -> Iterator[str]:
        return iter(self.homes)

    def __len__(self) -> int:
        return len(self.homes)


STUDIES = _Studies()


def question_lines() -> list[str]:
    """Every study with its question, for the command line."""
    width = max(map(len, STUDIES))
    return [f"  {name:<{width}}  {STUDIES.question(name)}" for name in STUDIES]
