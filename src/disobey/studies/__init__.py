"""One question a file: `plan()` says which runs, `analyze(records)` what they say."""

from disobey.studies.denoising import Denoising
from disobey.studies.deviation import Deviation
from disobey.studies.eigenspace import Eigenspace
from disobey.studies.loss_switching import LossSwitching
from disobey.studies.sequence_distillation import SequenceDistillation
from disobey.studies.sequence_tasks import SequenceTasks
from disobey.studies.state_tracking import StateTracking
from disobey.studies.study import Study
from disobey.studies.teacher_free import TeacherFree

STUDIES: dict[str, type[Study]] = {
    study.name: study
    for study in (
        Deviation,
        LossSwitching,
        Eigenspace,
        Denoising,
        TeacherFree,
        StateTracking,
        SequenceTasks,
        SequenceDistillation,
    )
}
