"""What the heads of a trained reflection layer do with each letter of a group: the start of a representation.

A layer with one letter an element tracks the group exactly where ``A_b A_a = A_ab`` on the states that it reaches. The
arrays say how far each head is from that, and have what tells which representation it carries.
Letters: H heads, n dimensions of a head, G elements.
    eval_traces (H, G): trace of A_g, the character of a head that is a representation
    eval_orbit (H, n): singular values of the states after one letter, largest first
    eval_composition (H,): mean of |A_b A_a s - A_ab s| / |s| over pairs, s the learned start; 0 is exact
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from disobey.data.sources.sequences import group
from disobey.models.recurrent.reflections import ReflectionRNN
from disobey.models.recurrent.sequence import SequenceModel


@torch.no_grad()
def head_arrays(model: SequenceModel, task: str) -> dict[str, NDArray]:
    """The arrays of a model's first layer; none where it has no such heads, or a state that changes what they do."""
    layer = model.layers[0]
    if not isinstance(layer, ReflectionRNN) or layer.from_state is not None or layer.to_drive is not None:
        return {}
    table = torch.as_tensor(group("Z2" if task == "parity" else task).table)
    letters = torch.arange(len(table), device=model.head.weight.device)[:, None]
    acts = layer.transitions(model.norms[0](model.embedding(letters)))[:, 0].double().cpu()  # (G, H, n, n)
    start = layer.start.double().cpu().unflatten(0, (layer.n, layer.heads)).T  # (H, n)
    once = (acts @ start.unsqueeze(-1)).squeeze(-1)  # (G, H, n)
    twice = torch.einsum("bhij,ahj->abhi", acts, once)
    errors = (twice - once[table]).norm(dim=-1) / start.norm(dim=-1)
    return {
        "eval_traces": np.ascontiguousarray(acts.diagonal(dim1=-2, dim2=-1).sum(-1).T.numpy()),
        "eval_orbit": torch.linalg.svdvals(once.movedim(0, 1)).numpy(),
        "eval_composition": errors.mean(dim=(0, 1)).numpy(),
    }
