"""The arms A0–A18: which part of a teacher's predictions each one keeps, and the objective that trains it.

These are the arms of "The hidden role of dataset size" (Lanzillotta et al. 2025) and the controls that its claims need.
All soft arms share one loss, KL at T times T², so that they differ only in their targets.
"""

from __future__ import annotations

from dataclasses import dataclass

from disobey.targets.schedule import Phase, Schedule, Term


@dataclass(frozen=True)
class Arm:
    """One arm: what its target keeps of the teacher (an empty string: nothing), and how it is trained.

    Attributes:
        text: the arm in a few words, for tables.
        right_class: what is kept of the right class.
        confidence: what is kept of each example's confidence.
        class_similarity: what is kept of the similarity between classes.
        instance_ratios: what is kept of each example's ratios between the other classes.
        entropy: how the target's entropy compares with the teacher's.
        source: as in `Term`.
        control: as in `Term`.
        loss: as in `Term`.
        tempered: whether the loss uses the temperature of the study; otherwise the temperature is 1.
        amounts: values to try for the control or for label smoothing.
        needs: what must be prepared besides the teacher's predictions.
    """

    text: str
    right_class: str = ""
    confidence: str = ""
    class_similarity: str = ""
    instance_ratios: str = ""
    entropy: str = ""
    source: str = "teacher"
    control: str = ""
    loss: str = "kl"
    tempered: bool = True
    amounts: tuple[float, ...] = ()
    needs: str = ""

    def schedule(self, temperature: float = 20.0, amount: float | None = None) -> Schedule:
        """The arm as a training objective.

        Args:
            temperature: T of the loss, if the arm is tempered.
            amount: strength of the control; by default the first of ``amounts``.

        Returns:
            A schedule of one phase.

        Example:
            >>> ARMS["A3"].schedule(amount=0.2).phases[0].terms[0].smoothing
            0.2
        """
        if amount is None:
            amount = self.amounts[0] if self.amounts else 0.0
        at = temperature if self.tempered else 1.0
        if self.source == "labels":
            term = Term("labels", self.loss, temperature=at, smoothing=amount)
        else:
            term = Term("teacher", self.loss, temperature=at, control=self.control, amount=amount)
        return Schedule((Phase((term,)),))


_KEPT = "kept"
_TOP = "teacher's"  # the teacher's argmax, which is the right class wherever the teacher is right

ARMS: dict[str, Arm] = {
    "A0": Arm("labels", right_class=_KEPT, source="labels", loss="cross_entropy", tempered=False),
    "A1": Arm("distillation", _TOP, _KEPT, _KEPT, _KEPT, "equal"),
    "A2a": Arm("squared error on raw logits", _TOP, _KEPT, _KEPT, _KEPT, loss="mse", tempered=False),
    "A2b": Arm("squared error on centred logits", _TOP, _KEPT, _KEPT, _KEPT, loss="mse_centred", tempered=False),
    "A3": Arm(
        "label smoothing",
        right_class=_KEPT,
        source="labels",
        loss="cross_entropy",
        tempered=False,
        amounts=(0.05, 0.1, 0.2, 0.4),
    ),
    "A4": Arm(
        "label smoothing, mean entropy of the teacher at T",
        right_class=_KEPT,
        entropy="mean",
        control="smoothed_to_mean_entropy",
    ),
    "A5": Arm(
        "label smoothing, each example's entropy of the teacher at T",
        right_class=_KEPT,
        confidence="as entropy",
        entropy="per example",
        control="smoothed_to_each_entropy",
    ),
    "A6": Arm(
        "virtual teacher of teacher-free distillation, as released",
        right_class=_KEPT,
        entropy="far above",
        control="virtual_teacher",
        amounts=(20.0,),
    ),
    "A7": Arm("confidence only", _TOP, _KEPT, entropy="not below", control="confidence_only"),
    "A8": Arm(
        "labels weighted by the teacher's confidence",
        right_class=_KEPT,
        confidence="as weight",
        control="confidence_weighted",
        loss="cross_entropy",
        tempered=False,
    ),
    "A9a": Arm("dark knowledge permuted per example", _TOP, _KEPT, "", "values only", "equal", control="permuted_each"),
    "A9b": Arm(
        "dark knowledge permuted per class",
        _TOP,
        _KEPT,
        "consistent but wrong",
        "values only",
        "equal",
        control="permuted_by_class",
    ),
    "A9c": Arm(
        "dark knowledge permuted for all alike",
        _TOP,
        _KEPT,
        "consistent but wrong",
        "values only",
        "equal",
        control="permuted_globally",
    ),
    "A10a": Arm(
        "class means of the student's examples", "on average", "", _KEPT, "", "not below", control="class_mean"
    ),
    "A10b": Arm(
        "class means of all examples",
        "on average",
        "",
        _KEPT,
        "",
        "not below",
        control="class_mean_of_all",
        needs="the teacher's answers about all its examples",
    ),
    "A11": Arm(
        "answers shuffled within the class",
        "on average",
        "marginal",
        _KEPT,
        "",
        "equal",
        control="shuffled_within_class",
    ),
    "A12": Arm(
        "class mean with each example's confidence",
        _TOP,
        _KEPT,
        _KEPT,
        "",
        "roughly",
        control="class_mean_with_confidence",
    ),
    "A13": Arm("teacher's argmax", _TOP, control="argmax", loss="cross_entropy", tempered=False),
    "A14": Arm(
        "a label drawn from the teacher",
        "in expectation",
        "in expectation",
        "in expectation",
        "in expectation",
        control="sampled",
        loss="cross_entropy",
        tempered=False,
    ),
    "A15": Arm(
        "squared error on labels with the teacher's mean margin",
        right_class=_KEPT,
        control="margin",
        loss="mse_centred",
        tempered=False,
    ),
    "A16": Arm(
        "top k kept",
        _TOP,
        _KEPT,
        "partly",
        "partly",
        "not below",
        control="top_k",
        amounts=(2.0, 3.0, 5.0),
    ),
    "A17": Arm("labels with tempered logits", right_class=_KEPT, source="labels", loss="cross_entropy"),
    "A18a": Arm("teacher at initialization", needs="an untrained teacher"),
    "A18b": Arm("random head on trained features", needs="a trained teacher whose last layer is drawn anew"),
    "A18c": Arm("another image's answer", "", "marginal", "", "", "equal", control="wrong_image"),
}
