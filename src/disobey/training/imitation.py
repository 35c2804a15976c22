"""What a recipe says of a student that has more outputs than classes and starts near its teacher's first weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from disobey.errors import refusal

Inputs = Literal["data", "other", "noise", "gaussian", "permuted", "phase"]
Reading = Literal["probes", "short", "barrier", "start", "matched", "walk", "shuffled", "pixels"]
PARTS: tuple[str, ...] = ("encoder", "auxiliary", "classes")


@dataclass(frozen=True)
class PruneSpec:
    """Iterative magnitude pruning of the trained part of a network: encoder and class head.

    Attributes:
        rounds: prunings; after each the weights are rewound to where the run started and trained again.
        share: of the weights left that each pruning takes, over all layers together.
        moved: whether as many weights at random places of every layer are trained too: a control of the places.
    """

    rounds: int = 4
    share: float = 0.5
    moved: bool = False

    def __post_init__(self):
        if self.rounds < 1 or not 0 < self.share < 1:
            raise refusal(
                "prune-rounds", "at least 1 round and a share between 0 and 1", f"{self.rounds}, {self.share}"
            )

    @property
    def trainings(self) -> int:
        """How often the network is trained.

        >>> PruneSpec(rounds=4).trainings, PruneSpec(rounds=4, moved=True).trainings
        (5, 9)
        """
        return 1 + self.rounds * (1 + self.moved)


@dataclass(frozen=True)
class ImitationSpec:
    """A network with a class head and an auxiliary head, what it is taught, on which inputs, and from where it starts.

    Random teachers (arXiv:2302.12091), subliminal learning (arXiv:2507.14805), self-distillation and distillation are
    corners of this one description: docs/studies/kinship.md.

    Attributes:
        learns: ``labels`` trains the class head on labels (a teacher); the others imitate the teacher's outputs:
            ``classes``, ``auxiliary``, or ``features``, a fixed random projection of the encoder's features.
        inputs: on which inputs: the training inputs (``data``), those of another data set (``other``), uniform
            ``noise`` in [-1, 1], ``gaussian`` noise with the data's mean and deviation, the training inputs under one
            fixed permutation of their pixels (``permuted``), or with random Fourier phases (``phase``).
        other: name of the other data set.
        alpha: how far the student starts from the teacher's *first* weights, for encoder, auxiliary head and class
            head: 0 at them, 1 at an initialization of its own (`disobey.models.near`).
        origin: from where: the ``first`` weights of the line's first network, the ``teacher``'s weights (of its kept
            ``teaching.step``), as a ``sibling``, where the teacher itself started, or at the end of a ``walk`` from
            the first weights, as long as the teacher's way in every tensor and in a random direction. With the last
            three a student of labels may have a teacher: children of one start differ in the order of their batches
            alone.
        outputs: K, of the auxiliary head.
        head: of what kind the auxiliary head is.
        init: first weights: as the network draws them, or N(0, 1 / fan-in) with biases 0.
        loss: Kullback-Leibler divergence of softmax outputs at temperature 1, or mean squared difference of logits.
        control: ``rows`` teaches every input another input's target, ``constant`` all of them the mean target.
        trains: ``encoder`` or ``heads`` alone, or all.
        precision: of weights, inputs and optimizer.
        curve: how many times during training the class head is read.
        readings: what is read off the finished student besides its class head: ``probes`` of its features, the
            ``short`` probe of the random-teacher paper, the ``barrier`` to its teacher; and probes of what it is
            compared with: its own ``start``, the start's features with the student's spectrum (``matched``), a random
            walk as long as the student's (``walk``), its weights permuted within tensors (``shuffled``), raw
            ``pixels``.
        prune: rounds of pruning and training again, for labels; the last round's network is the result.
    """

    learns: Literal["labels", "classes", "auxiliary", "features"] = "labels"
    inputs: Inputs = "data"
    other: str = ""
    alpha: tuple[float, float, float] = (0.0, 0.0, 0.0)
    origin: Literal["first", "teacher", "sibling", "walk"] = "first"
    outputs: int = 3
    head: Literal["linear", "projection", "projection-weight-norm"] = "linear"
    init: Literal["default", "lecun"] = "default"
    loss: Literal["kl", "mse"] = "kl"
    control: Literal["none", "rows", "constant"] = "none"
    trains: Literal["all", "encoder", "heads"] = "all"
    precision: Literal["float32", "float64"] = "float32"
    curve: int = 0
    readings: tuple[Reading, ...] = ()
    prune: PruneSpec | None = None

    def __post_init__(self):
        if (self.inputs == "other") != bool(self.other):
            raise refusal("other-data", "a name of other data for inputs='other' and for no other", repr(self.other))
        if self.learns == "labels" and (self.inputs != "data" or self.control != "none"):
            raise refusal("labels-of-inputs", "inputs='data' for labels", f"{self.inputs} and control {self.control!r}")
        if self.prune is not None and (self.learns != "labels" or self.curve):
            raise refusal("prune-labels", "labels and no curve for pruning", f"{self.learns}, curve {self.curve}")
        if self.control != "none" and self.inputs in ("noise", "gaussian"):
            raise refusal("control-of-noise", "inputs that repeat for a control of the targets", self.inputs)
        if self.control != "none" and self.learns == "features":
            raise refusal("control-of-features", "taught outputs for a control of the targets", "features")
