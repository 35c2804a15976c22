"""The old names of figures that moved to `figures`; words and examples that only studies need."""

from __future__ import annotations

from disobey.data.dataset import Dataset
from disobey.figures import gallery
from disobey.figures.estimates import estimates_chart
from disobey.figures.logit_plot import logit_plot as logit_logit
from disobey.models.spec import ModelSpec, spec_text
from disobey.records.predictions import Predictions
from disobey.records.results import Gallery
from disobey.studies.kit.examples import example_of

__all__ = ["count_word", "estimates_chart", "logit_logit", "model_word", "most_disobeyed"]


def model_word(spec: ModelSpec) -> str:
    """A model as the command line names it."""
    return spec_text(spec)


def count_word(examples: int | None) -> str:
    """A number of training examples for a sentence: ``1,000``, or ``all``."""
    return "all" if examples is None else f"{examples:,}"


def most_disobeyed(predictions: Predictions, dataset: Dataset, title: str, count: int = 12) -> Gallery:
    """The examples on which the student deviates most from its teacher."""
    return gallery.most_disobeyed(predictions, title, example_of(predictions, dataset), count=count)
