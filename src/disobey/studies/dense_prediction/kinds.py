"""What differs between classes of pixels and classes of boxes: the score and the words. All else is one study."""

from __future__ import annotations

from dataclasses import dataclass

from disobey.studies.kit.boxes import AP
from disobey.studies.kit.evidence import IOU
from disobey.training.specs import learned_from


@dataclass(frozen=True)
class Kind:
    """A kind of dense prediction, in words.

    Attributes:
        score: name of the measure that is to rise.
        called: the score for people.
        examples: what an example is, in the plural.
        accuracy: the share of right classes, for people.
        place: where an example may be hard.
        elsewhere: where it is not.
        truth: what controls are trained on.
        about: sentences on noise, targets and places for the methods.
        counted: sentences on examples and scores for the methods.
    """

    score: str
    called: str
    examples: str
    accuracy: str
    place: str
    elsewhere: str
    truth: str
    about: str
    counted: str


PIXELS = Kind(
    IOU,
    "mean IoU",
    "pixels",
    "pixel accuracy",
    "boundary",
    "interior",
    "masks",
    "Label noise gives the pixels of a class in a training image another class. The mean of the loss is over all "
    "pixels of a batch, and the teacher's logits of every training pixel are kept in half precision. Marked examples "
    "are those at boundaries (a neighbouring pixel has another class).",
    "Measures of pixels read at most 256 pixels of an image, the same for all networks. A pixel is an example and its "
    "image a cluster: intervals of test accuracies and mean IoUs are over runs and images. Mean IoU: over the classes "
    "that occur, of the pixels of all images together.",
)
BOXES = Kind(
    AP,
    "average precision",
    "boxes",
    "accuracy at true boxes",
    "crowded",
    "free",
    "boxes",
    "Label noise gives a training box another class. The loss on classes is over the cells of a batch, those of boxes "
    "and those of the ground weighing as much, and the teacher's logits of every training cell are kept in half "
    "precision. All networks learn the sides of the true boxes; students differ in the targets of classes alone. "
    "Marked examples are the cells of crowded boxes (which overlap another one by a tenth or more of their union).",
    "A true box is an example, its answer that of the cell at its centre, and its image a cluster: intervals of test "
    "accuracies and average precisions are over runs and images. Average precision: that of COCO (mean over overlaps "
    "from 0.5 to 0.95 and over classes) of at most 20 boxes an image after suppression.",
)


def kind_of(data: str) -> Kind:
    """The kind of a data set by its name.

    >>> kind_of("scenes").called, kind_of("scenes-boxes").called
    ('mean IoU', 'average precision')
    """
    return BOXES if learned_from(data) == "detection" else PIXELS
