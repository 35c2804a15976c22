"""One question a file: `plan()` says which runs, `analyze(records)` what they say."""

from disobey.studies.deviation import Deviation
from disobey.studies.loss_switching import LossSwitching
from disobey.studies.study import Study

STUDIES: dict[str, type[Study]] = {study.name: study for study in (Deviation, LossSwitching)}
