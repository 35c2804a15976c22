"""The old names of `measure`, `examples` and `runs`, for modules that still import them from here."""

from disobey.measures.inference.examples import all_over_examples, over_examples, paired_over_examples
from disobey.measures.inference.measure import (
    Columns,
    Measure,
    applicable,
    minus_teacher,
    minus_twin,
    on_teacher,
    on_twin,
    with_twins,
)
from disobey.measures.inference.runs import (
    mean_over_runs,
    over_runs,
    over_runs_and_examples,
    paired,
    paired_difference,
)

__all__ = [
    "Columns",
    "Measure",
    "all_over_examples",
    "applicable",
    "mean_over_runs",
    "minus_teacher",
    "minus_twin",
    "on_teacher",
    "on_twin",
    "over_examples",
    "over_runs",
    "over_runs_and_examples",
    "paired",
    "paired_difference",
    "paired_over_examples",
    "with_twins",
]
