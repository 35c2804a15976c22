"""The parts of a recipe as values: `OptimSpec`, `Teaching`, and `SequenceSpec` for data that is generated.

Every field decides the result, and a default never changes its meaning: stored keys cover the other values only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from disobey.errors import refusal

PREFIX = "sequence:"
TEXT = "text:"  # running text, see `data.sources.passages`
LEARNED = {
    PREFIX: "sequences",
    TEXT: "next_token",
    "segmentation:": "dense",
    "detection:": "detection",
}  # beginning of a data name -> key of `tasks.TASKS`; all other data is classified
RENDERED = {"scenes": "dense", "scenes-boxes": "detection"}  # likewise, for whole names before ``#``

Decay = Literal["cosine", "constant", "steps", "one-cycle", "one-cycle-linear"]
Precision = Literal["float32", "tf32", "bfloat16"]


@dataclass(frozen=True)
class OptimSpec:
    """The optimizer and its schedule. Lengths are in steps, not epochs: all data sizes train equally long.

    Attributes:
        name: the optimizer.
        lr: largest learning rate.
        steps: length of the whole schedule.
        batch: examples a step.
        warmup: steps of linear rise to ``lr``; of one cycle the steps that rise, 30% of all where it is 0.
        decay: how the rate falls afterwards: a cosine to zero, not at all, or by ``gamma`` at each milestone.
            ``one-cycle`` rises from lr/25 and falls to almost nothing by cosines, ``one-cycle-linear`` by straight
            lines; momentum (Adam: the first beta) falls and rises against it, from halfway between its value and 1.
        milestones: shares of training, for ``decay="steps"``.
        gamma: factor at each milestone.
        momentum: of SGD.
        betas: of Adam and AdamW.
        nesterov: Nesterov momentum for SGD.
        weight_decay: as the optimizer of that name in PyTorch defines it.
        clip: largest norm of the whole gradient; None: no clipping.
        stop: end after this many of the ``steps`` (early stopping on the full schedule).
        eps: what Adam and AdamW add to the root of the second moment.
        precision: what the forward pass of training computes with: ``bfloat16`` is autocast, ``tf32`` rounds the
            inputs of matrix products and convolutions (GPUs only). Weights, targets, losses, the optimizer and every
            answer that is written down or taught stay in float32.
    """

    name: Literal["sgd", "adam", "adamw"] = "adam"
    lr: float = 2e-3
    steps: int = 600
    batch: int = 128
    warmup: int = 0
    decay: Decay = "cosine"
    milestones: tuple[float, ...] = (0.625, 0.75, 0.875)
    gamma: float = 0.1
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    nesterov: bool = False
    weight_decay: float = 0.0
    clip: float | None = None
    stop: int | None = None
    eps: float = 1e-8
    precision: Precision = "float32"

    @property
    def cycles(self) -> bool:
        """Whether rate and momentum follow one cycle."""
        return self.decay.startswith("one-cycle")


@dataclass(frozen=True)
class Teaching:
    """How a teacher's recipe becomes the targets of a student.

    Attributes:
        step: take the checkpoint after that many steps (an early-stopped teacher; the teacher must ``keep`` it).
        members: average the probabilities of that many teachers, which differ in initialization and order only.
        folds: K > 1 trains K teachers, each without one part of the data; an example is answered by the one that did
            not see it.
        permute: ``rows`` gives every example another example's target, ``classes`` renames the classes (controls).
        seed: one fixed teacher for the students of all seeds; None: the teacher of the same seed.
        views: ``same`` asks the teacher about the view that the student sees, ``fixed`` about the plain example.
        head: ``random`` redraws the teacher's last linear layer (a control: trained features, no knowledge of classes).
        saved: a file or folder with the answers of a teacher that is not trained here (`data.formats.answers`).
        saved_content: its fingerprint; files that changed are refused.
    """

    step: int | None = None
    members: int = 1
    folds: int = 0
    permute: Literal["none", "rows", "classes"] = "none"
    seed: int | None = None
    views: Literal["same", "fixed"] = "same"
    head: Literal["trained", "random"] = "trained"
    saved: str = ""
    saved_content: str = ""


@dataclass(frozen=True)
class StateTeaching:
    """How a student's states are tied to its teacher's, by linear maps that are learned with it and then discarded.

    Attributes:
        weight: of the regression loss: the share of the variance of the teacher's states that a linear map of the
            student's states leaves unexplained.
        control: ``time`` shuffles the teacher's states of a sequence over time, ``words`` takes those of another
            sequence of the batch.
        feed: for this share of training the student's mixer reads a linear map of the teacher's previous state instead
            of its own.
    """

    weight: float = 1.0
    control: Literal["none", "time", "words"] = "none"
    feed: float = 0.0

    def __post_init__(self):
        if self.weight <= 0 or not 0 <= self.feed <= 1:
            raise refusal("state-teaching", "weight above 0 and feed in [0, 1]", f"{self.weight} and {self.feed}")


@dataclass(frozen=True)
class HeadSpec:
    """Heads of layers whose transition is a product of factors ``I - s u uᵀ`` in each (`reflections`, `delta_product`).

    Attributes:
        count: of heads; they divide the width of the recurrent state.
        factors: a token and head.
        strength: s, of `reflections`: 2, or read from the input in (0, 2) or in (0, 1); `delta_product` has (0, 2).
        drive: whether the input also adds to the state of `reflections`.
        gate: whether the state of a head also decays, by a number read from the input.
    """

    count: int = 16
    factors: int = 4
    strength: Literal["reflection", "bounded", "projection"] = "reflection"
    drive: bool = False
    gate: bool = False


@dataclass(frozen=True)
class SequenceSpec:
    """What a recipe on generated sequences (data named ``sequence:TASK``) says besides data, model and optimizer.

    Attributes:
        inner: width of the recurrent state.
        rank: of the mixer.
        mixer: its kind, for fixed-point layers.
        scale: of the mixer's strengths; above 1 it may reflect, and convergence is no longer certified.
        state_dependent: whether the mixer reads the state.
        normalize: whether it reads the state divided by its root mean square.
        sweeps: most iterations in training; 0: the exact solver; 1: a diagonal recurrence.
        tol: where an iteration may stop; 0: exactly ``sweeps`` iterations.
        gradient: ``unroll`` differentiates through all sweeps (exact for what is computed), ``ift`` and ``one_step``
            use the implicit function theorem, exactly or to first order.
        shortest: shortest training length in tokens.
        longest: longest; one length is drawn per batch.
        words: train on a fixed pool of so many sequences; 0: new ones every step.
        start: the weights training starts from.
        states: regression on the teacher's states besides the targets.
        lengths: of the evaluation, in tokens.
        budgets: numbers of iterations at evaluation, besides the one of training.
        count: sequences per length of the evaluation.
        powers: highest power of the constant words g, g², ... where the task is a group.
        probe: whether a linear probe of the answers is fitted to the states, before and after training.
        streams: which streams of randomness draw sequences, pools and state controls. ``own``: streams of those names,
            for new recipes; ``borrowed``: those of views, controls and dropout, as in recipes from before there were
            such names, whose keys and results stay.
        heads: of layers that have them.
        tokens: of a batch, whose number of sequences then depends on their length (32 at least); 0: the optimizer's
            batch, at every length.
        grow: the longest length of a batch rises linearly from ``shortest`` to ``longest`` in this share of training.
        consistency: weight of the loss that ties the state after a word to the state after the letter that it equals,
            once lengths have grown, for layers with a vector of state where the task is a group.
        constant: share of every batch that is constant words g, g, ..., where the task is a group or parity.
    """

    inner: int = 128
    rank: int = 2
    mixer: Literal["householder", "diagonal_low_rank", "kronecker"] = "householder"
    scale: float = 1.0
    state_dependent: bool = True
    normalize: bool = True
    sweeps: int = 0
    tol: float = 0.0
    gradient: Literal["unroll", "ift", "one_step"] = "unroll"
    shortest: int = 2
    longest: int = 12
    words: int = 0
    start: Literal["fresh", "teacher"] = "fresh"
    states: StateTeaching | None = None
    lengths: tuple[int, ...] = (8, 12, 16, 24, 40, 64)
    budgets: tuple[int, ...] = ()
    count: int = 256
    powers: int = 40
    probe: bool = False
    streams: Literal["borrowed", "own"] = "borrowed"
    heads: HeadSpec = HeadSpec()
    tokens: int = 0
    grow: float = 0.0
    consistency: float = 0.0
    constant: float = 0.0

    def __post_init__(self):
        if not 1 <= self.shortest <= self.longest:
            raise refusal(
                "training-lengths", "1 <= shortest <= longest", f"{self.shortest} and {self.longest}", where="sequence"
            )
        if self.sweeps < 0 or self.tol < 0 or self.words < 0 or any(b < 0 for b in self.budgets):
            raise refusal("negative-sequence-option", "sweeps, tol, words and budgets of at least 0", self)
        if min(self.tokens, self.consistency) < 0 or not 0 <= self.grow <= 1 or not 0 <= self.constant <= 1:
            raise refusal(
                "sequence-shares",
                "tokens and consistency of at least 0, grow and constant from 0 to 1",
                (self.tokens, self.consistency, self.grow, self.constant),
            )
        if (self.tokens or self.grow or self.constant) and self.words:
            raise refusal("pool-with-new-words", "tokens, grow and constant of 0 for a pool (words)", self)
        if not self.lengths or self.count < 1:
            raise refusal(
                "nothing-to-evaluate",
                "at least one length and one sequence (count) to evaluate on",
                (self.lengths, self.count),
            )
        if self.gradient != "unroll" and self.sweeps and not self.tol:
            raise refusal(
                "gradient-without-solution",
                f"tol above 0 for gradient={self.gradient!r}, which is about a solution",
                "tol=0, a fixed number of sweeps",
            )


BORROWED = {"words": "views", "pool": "control", "states": "dropout", "ties": "dropout"}


def stream_of(spec: SequenceSpec, name: str) -> str:
    """The stream (see `seeds`) from which a recipe on sequences draws its ``words``, ``pool``, ``states`` or ``ties``.

    >>> stream_of(SequenceSpec(), "words"), stream_of(SequenceSpec(streams="own"), "words")
    ('views', 'words')
    """
    return name if spec.streams == "own" else BORROWED[name]


def learned_from(data: str) -> str:
    """The key of `tasks.TASKS` that data of this name belongs to.

    >>> learned_from("sequence:S3"), learned_from("scenes-boxes#size=48"), learned_from("mnist-5k")
    ('sequences', 'detection', 'classification')
    """
    place = data.partition("#")[0]
    if place in RENDERED:
        return RENDERED[place]
    return next((task for prefix, task in LEARNED.items() if data.startswith(prefix)), "classification")


def sequence_task(name: str) -> str:
    """The task in a data name.

    >>> sequence_task("sequence:S3")
    'S3'
    """
    return name.removeprefix(PREFIX)
