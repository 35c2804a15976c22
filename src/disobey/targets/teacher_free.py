"""Teacher-free training: label gradients that spare the classes which an example's own class is confused with.

Cross-entropy pushes every other class down in proportion to its probability, also a class that the example does
resemble: a destructive gradient. A teacher's soft label does not push there. Without a teacher the same entries can be
shrunk, given a strength S (C, C): the entry of class k for an example of class y is multiplied by ``1 - amount S[y, k]``
and the mean over classes, which softmax does not see, is taken out. At a uniform prediction this is the correction of
`theory.class_similarity.corrected_ratio`, whose gain is known in closed form; in a trained network it is a heuristic.

S comes from a network's own confusion (`class_confusion`, `relative_strength`) or from a hierarchy (`group_strength`).
B batch, N examples, C classes. After arXiv 2301.12923, which suggests zeroing such gradients; the form here is ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from disobey.targets.schedule import Phase, Schedule, Term

CONTROLS = ("spare_student", "spare_groups", "spare_teacher")  # of a `Term` on the labels
HIGHEST_AMOUNT = 2.0  # from here on the spared class would win over the label itself


def class_confusion(log_probs: Tensor, labels: Tensor) -> Tensor:
    """Mean probability of class k on the examples told to be class y: (N, C) and (N,) to (C, C).

    Logits will do for log-probabilities. A class without examples has a row of zeros.

    >>> class_confusion(torch.tensor([[0.9, 0.1], [0.7, 0.3]]).log(), torch.tensor([0, 0]))
    tensor([[0.8000, 0.2000],
            [0.0000, 0.0000]])
    """
    classes = log_probs.shape[-1]
    members = F.one_hot(labels, classes).to(log_probs.dtype).T
    return members @ torch.softmax(log_probs, -1) / members.sum(1, keepdim=True).clamp_min(1)


def relative_strength(confusion: Tensor) -> Tensor:
    """From 0 at the least confused other class to 1 at the most confused one, row by row: (C, C) to (C, C).

    Scale and floor are taken out, so neither the age of the network nor evenly spread label noise decides how much is
    spared. A row that confuses all others alike (or a single other class) has no structure and spares nothing.

    >>> relative_strength(torch.tensor([[0.8, 0.15, 0.05], [0.1, 0.8, 0.1], [0.3, 0.1, 0.6]]))
    tensor([[0., 1., 0.],
            [0., 0., 0.],
            [1., 0., 0.]])
    """
    own = torch.eye(len(confusion), dtype=torch.bool, device=confusion.device)
    low = confusion.masked_fill(own, torch.inf).amin(1, keepdim=True)
    span = confusion.masked_fill(own, -torch.inf).amax(1, keepdim=True) - low
    strength = torch.where(span > 1e-9, (confusion - low) / span.clamp_min(1e-9), torch.zeros_like(confusion))
    return strength.masked_fill(own, 0.0)


def group_strength(groups: Sequence[int]) -> Tensor:
    """1 between different classes of one group, 0 elsewhere: (C,) group numbers to (C, C).

    >>> group_strength((0, 0, 1))
    tensor([[0., 1., 0.],
            [1., 0., 0.],
            [0., 0., 0.]])
    """
    numbers = torch.tensor(list(groups))
    return ((numbers[:, None] == numbers) & ~torch.eye(len(numbers), dtype=torch.bool)).float()


def spared_gradient(gradient: Tensor, labels: Tensor, strength: Tensor, amount: float = 1.0) -> Tensor:
    """The gradient of a label loss on the logits, (B, C), less what it does to confusable classes; rows sum to 0.

    >>> spared_gradient(torch.tensor([[-0.6, 0.3, 0.3]]), torch.tensor([0]), group_strength((0, 0, 1)))
    tensor([[-0.5000,  0.1000,  0.4000]])
    """
    if not 0 <= amount < HIGHEST_AMOUNT:
        raise ValueError(f"expected an amount in [0, {HIGHEST_AMOUNT:g}), came {amount}; 1 zeroes, above 1 pulls")
    spared = gradient * (1.0 - amount * strength.to(gradient.dtype)[labels])
    return spared - spared.mean(-1, keepdim=True)


def spared_cross_entropy(logits: Tensor, labels: Tensor, strength: Tensor, amount: float = 1.0) -> Tensor:
    """Cross-entropy in value, `spared_gradient` in its derivative: (B, C) and (B,) to (B,), for anybody's loop.

    The direction is no loss's gradient (its rows are changed by the class), so the value is the plain cross-entropy.

    >>> spared_cross_entropy(torch.zeros(1, 2), torch.tensor([1]), torch.zeros(2, 2))
    tensor([0.6931])
    """
    plain = F.cross_entropy(logits.detach(), labels, reduction="none")
    one_hot = F.one_hot(labels, logits.shape[-1]).to(logits.dtype)
    gradient = spared_gradient(torch.softmax(logits.detach(), -1) - one_hot, labels, strength, amount)
    carrier = (logits * gradient).sum(-1)
    return plain + (carrier - carrier.detach())


def spare(source: str, *, amount: float = 1.0, groups: Sequence[int] = (), after: float | None = None) -> Schedule:
    """Label training that spares confusable classes, from the share ``after`` of training on.

    source: ``student`` (its own confusion on the training set at that moment; ``after`` .1 unless given), ``groups``
    (a hierarchy: the group of every class) or ``teacher`` (its confusion on the training set; an upper bound that is
    not teacher-free). amount: 1 zeroes the entries, as was suggested, and cost 3 to 18 points of accuracy wherever it
    was measured; .1 is about neutral (docs/LOG.md).

    >>> [[term.control for term in phase.terms] for phase in spare("student").phases]
    [[''], ['spare_student']]
    """
    control = f"spare_{source}"
    if control not in CONTROLS:
        raise ValueError(f"expected a source of confusion out of student, groups, teacher; came {source!r}")
    if (source == "groups") != bool(groups):
        raise ValueError(f"expected groups with the source 'groups' and only there; came {source!r} and {len(groups)}")
    begin = (0.1 if source == "student" else 0.0) if after is None else after
    if not 0 <= begin < 1:
        raise ValueError(f"expected after, a share of training, in [0, 1); came {begin}")
    phase = Phase((Term("labels", control=control, amount=amount, groups=tuple(groups)),))
    return Schedule((Phase((Term(),), begin), phase) if begin else (phase,))
