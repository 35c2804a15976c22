"""Recurrent layers for any model: the fixed-point recurrences, their parts, and the diagonal baselines.

Example:
    >>> import torch, disobey.nn as dnn
    >>> y, state = dnn.FixedPointRNN(16)(torch.zeros(1, 4, 16))
    >>> tuple(y.shape)
    (1, 4, 16)
"""

from disobey.models.recurrent.delta_product import DeltaProductRNN
from disobey.models.recurrent.diagonal import DiagonalRNN, SelectiveLayer
from disobey.models.recurrent.fixed_point import FixedPointRNN
from disobey.models.recurrent.fixed_point_mamba import FixedPointMamba
from disobey.models.recurrent.linear_rnn import linear_recurrence, scan_backend
from disobey.models.recurrent.mixers import (
    Complement,
    DiagonalLowRankMixer,
    HouseholderMixer,
    Kronecker,
    KroneckerMixer,
    LowRank,
    Mixer,
    build_mixer,
)
from disobey.models.recurrent.reflection_walk import reflection_walk
from disobey.models.recurrent.reflections import ReflectionRNN
from disobey.models.recurrent.sequence import (
    ElmanLayer,
    LSTMLayer,
    SequenceModel,
    TransformerLayer,
    sequence_model,
)
from disobey.models.recurrent.solvers import Exact, Iterate, Solve

__all__ = [
    "Complement",
    "DeltaProductRNN",
    "DiagonalLowRankMixer",
    "DiagonalRNN",
    "ElmanLayer",
    "Exact",
    "FixedPointMamba",
    "FixedPointRNN",
    "HouseholderMixer",
    "Iterate",
    "Kronecker",
    "KroneckerMixer",
    "LSTMLayer",
    "LowRank",
    "Mixer",
    "ReflectionRNN",
    "SelectiveLayer",
    "SequenceModel",
    "Solve",
    "TransformerLayer",
    "build_mixer",
    "linear_recurrence",
    "reflection_walk",
    "scan_backend",
    "sequence_model",
]
