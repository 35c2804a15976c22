"""Teacher-free training: mask the label gradient on the classes that an example's own class is confused with.

Cross-entropy pushes every other class down in proportion to its predicted probability, even a class that the example
resembles: a destructive gradient. A teacher's soft label does not push there. Without a teacher the same entries can be
shrunk, given a strength S (C, C): the gradient entry of class k for an example of class y is multiplied by
``1 - amount S[y, k]``, and the mean over classes, to which softmax is invariant, is removed. At uniform predictions
this is the correction of `disobey.theory.class_similarity.corrected_ratio`, whose gain is known in closed form. In a
trained network it is a heuristic.

S comes from the confusion of a network (`class_confusion`, `relative_strength`) or from a hierarchy of classes
(`group_strength`). B batch, N examples, C classes. After Nagarajan et al. 2023, arXiv:2301.12923, who suggest zeroing
such gradients; the form used here is ours.

Names in stored recipes (`MASKS`) begin with ``spare`` because runs are identified by them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from disobey.errors import refusal
from disobey.targets.schedule import Phase, Schedule, Term

MASKS = ("spare_student", "spare_groups", "spare_teacher")  # values of `Term.control` for terms on the labels
HIGHEST_AMOUNT = 2.0  # from here on the gradient would favour the masked class over the label itself


def class_confusion(log_probs: Tensor, labels: Tensor) -> Tensor:
    """Mean predicted probability of class k over the examples with observed label y.

    Args:
        log_probs: log-probabilities or logits (N, C).
        labels: observed labels (N,).

    Returns:
        Confusion (C, C), rows by label; a class without examples has a row of zeros.

    Example:
        >>> class_confusion(torch.tensor([[0.9, 0.1], [0.7, 0.3]]).log(), torch.tensor([0, 0]))
        tensor([[0.8000, 0.2000],
                [0.0000, 0.0000]])
    """
    classes = log_probs.shape[-1]
    members = F.one_hot(labels, classes).to(log_probs.dtype).T
    return members @ torch.softmax(log_probs, -1) / members.sum(1, keepdim=True).clamp_min(1)


def relative_strength(confusion: Tensor) -> Tensor:
    """Confusion rescaled row by row: 0 for the least confused other class, 1 for the most confused one.

    Removing scale and offset has a purpose: neither the training time of the network nor evenly spread label noise
    decides how much is masked. A row that confuses all other classes alike (or has only one) has no structure and is
    not masked.

    Args:
        confusion: (C, C), as `class_confusion` returns it.

    Returns:
        Strength (C, C) with a zero diagonal.

    Example:
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
    """Strength from a hierarchy: 1 between different classes of the same group, 0 elsewhere.

    Args:
        groups: the group number of every class (C,).

    Returns:
        Strength (C, C).

    Example:
        >>> group_strength((0, 0, 1))
        tensor([[0., 1., 0.],
                [1., 0., 0.],
                [0., 0., 0.]])
    """
    numbers = torch.tensor(list(groups))
    return ((numbers[:, None] == numbers) & ~torch.eye(len(numbers), dtype=torch.bool)).float()


def masked_gradient(gradient: Tensor, labels: Tensor, strength: Tensor, amount: float = 1.0) -> Tensor:
    """Masks the gradient of a label loss on the logits where classes are confusable.

    Args:
        gradient: of the loss on the logits, (B, C).
        labels: observed labels (B,).
        strength: (C, C), in [0, 1].
        amount: from 0 (no mask) through 1 (zeroes the entries of strength 1) to below 2 (reverses them).

    Returns:
        The masked gradient (B, C), whose rows sum to 0.

    Raises:
        Refusal: ``mask-amount``.

    Example:
        >>> masked_gradient(torch.tensor([[-0.6, 0.3, 0.3]]), torch.tensor([0]), group_strength((0, 0, 1)))
        tensor([[-0.5000,  0.1000,  0.4000]])
    """
    if not 0 <= amount < HIGHEST_AMOUNT:
        raise refusal("mask-amount", f"an amount in [0, {HIGHEST_AMOUNT:g})", amount, "1, which zeroes the gradient")
    masked = gradient * (1.0 - amount * strength.to(gradient.dtype)[labels])
    return masked - masked.mean(-1, keepdim=True)


def masked_cross_entropy(logits: Tensor, labels: Tensor, strength: Tensor, amount: float = 1.0) -> Tensor:
    """Cross-entropy whose derivative is `masked_gradient`, for any training loop.

    The masked direction is not the gradient of any loss, so the value is that of the plain cross-entropy.

    Args:
        logits: (B, C).
        labels: observed labels (B,).
        strength: (C, C), in [0, 1].
        amount: as in `masked_gradient`.

    Returns:
        One value per example (B,), in nats.

    Example:
        >>> masked_cross_entropy(torch.zeros(1, 2), torch.tensor([1]), torch.zeros(2, 2))
        tensor([0.6931])
    """
    plain = F.cross_entropy(logits.detach(), labels, reduction="none")
    one_hot = F.one_hot(labels, logits.shape[-1]).to(logits.dtype)
    gradient = masked_gradient(torch.softmax(logits.detach(), -1) - one_hot, labels, strength, amount)
    carrier = (logits * gradient).sum(-1)
    return plain + (carrier - carrier.detach())


def mask_confusable(
    source: str, *, amount: float = 1.0, groups: Sequence[int] = (), after: float | None = None
) -> Schedule:
    """Training on labels with the gradient masked on confusable classes.

    Args:
        source: where the confusion comes from: ``student`` (its own predictions on the training set when masking
            begins), ``groups`` (a hierarchy) or ``teacher`` (its predictions on the training set: an upper bound, not
            teacher-free).
        amount: as in `masked_gradient`. 1 zeroes the entries, as was suggested; it cost 3 to 18 points of accuracy in
            every measurement. 0.1 was about neutral.
        groups: the group of every class, for the source ``groups``.
        after: share of training after which masking begins; by default 0.1 for ``student`` and 0 otherwise.

    Returns:
        A schedule of one or two phases.

    Raises:
        Refusal: ``unknown-mask``, ``mask-groups`` or ``mask-start``.

    Example:
        >>> [[term.control for term in phase.terms] for phase in mask_confusable("student").phases]
        [[''], ['spare_student']]
    """
    control = f"spare_{source}"
    if control not in MASKS:
        raise refusal("unknown-mask", "student, groups or teacher as the source of confusion", repr(source))
    if (source == "groups") != bool(groups):
        got = f"the source {source!r} with {len(groups)} groups"
        raise refusal("mask-groups", "groups with the source 'groups', and only with it", got)
    begin = (0.1 if source == "student" else 0.0) if after is None else after
    if not 0 <= begin < 1:
        raise refusal("mask-start", "after, a share of training, in [0, 1)", begin)
    phase = Phase((Term("labels", control=control, amount=amount, groups=tuple(groups)),))
    return Schedule((Phase((Term(),), begin), phase) if begin else (phase,))


# Old names, kept for one release.
CONTROLS = MASKS
spare = mask_confusable
spared_gradient = masked_gradient
spared_cross_entropy = masked_cross_entropy
