"""How well a number that is known beforehand ranks teachers by what their students will be.

Within each seed: rank correlation over the teachers, and what choosing the teacher with the largest number brings.
Teachers T, seeds S: tables (T, S).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from disobey.measures.inference.runs import mean_over_runs
from disobey.records.predictions import Predictions
from disobey.records.results import Estimate
from disobey.studies.kit.design import Records
from disobey.studies.kit.evidence import Evidence, rank_association, spearman_by_seed
from disobey.studies.kit.memo import remembered
from disobey.studies.teacher_choice.properties import PROPERTIES, kernel_of
from disobey.studies.teacher_choice.teachers import Cell
from disobey.theory.kernel_students import KernelProblem
from disobey.training.recipe import Run

FEWEST_TEACHERS = 4  # below which a rank correlation says nothing
PILOT = "pilot"
