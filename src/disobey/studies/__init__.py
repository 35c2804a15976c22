"""One question a file: `plan()` says which runs, `analyze(records)` what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from disobey.studies.kit.study import Study


class _Studies(Mapping[str, type[Study]]):
    """Studies by name, imported one by one: some bring torch, and help about the others does without."""

    homes: Mapping[str, tuple[str, str]] = {
        "deviation": ("deviation.study", "Deviation"),
        "loss-switching": ("loss_switching", "LossSwitching"),
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
    }

    def __getitem__(self, name: str) -> type[Study]:
        module, kind = self.homes[name]
        return getattr(import_module(f"disobey.studies.{module}"), kind)

    def __iter__(self) -> Iterator[str]:
        return iter(self.homes)

    def __len__(self) -> int:
        return len(self.homes)


STUDIES: Mapping[str, type[Study]] = _Studies()
