"""What does a cached top-k teacher cost the student?

Anshumann et al. (2025), arXiv:2503.16870: keeping the k most likely tokens of a teacher biases what its student learns,
drawing tokens from it does not. Here on a small language model, with the tail as one more class as a third way, bytes
as the measure of a cache, and labels alone as the control.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

from disobey.data.dataset import DataSpec
from disobey.data.sources.passages import passages, resolved
from disobey.errors import refusal
from disobey.models.spec import model_spec
from disobey.records.results import Block, Result
from disobey.studies.kit.claims import Verdicts, judge
from disobey.studies.kit.design import Arm, Design, Records, factors
from disobey.studies.kit.evidence import Evidence, run_summary
from disobey.studies.kit.study import conclude, smoke_mark
from disobey.studies.top_k.charts import calibration_chart, cost_chart, level_chart
from disobey.studies.top_k.claims import CUT_CLAIMS, MIXED_CLAIMS, PAPER, TEACHER_CLAIMS, Cut, Mixed, Whole
from disobey.studies.top_k.tables import arm_table, loss_table, teacher_table
from disobey.targets.schedule import distill, labels
from disobey.targets.truncation import bytes_per_row
from disobey.training.recipe import Recipe, Run
from disobey.training.specs import OptimSpec

WORDS = {"renormalized": "top {}, renormalized", "bucket": "top {} and tail bucket", "spread": "top {}, tail spread"}
WORDS |= {"draws": "{} draws", "mixed": "half labels, half top {} and tail bucket"}
LOSSES = {"mixed": "bucket"}  # what is kept where it has not the loss's name


@dataclass(frozen=True)
class TextSetup:
    """Text, budget and seeds: what a study of small language models reads."""

    data: str = "text:scipy#512"
    """text:PACKAGE#SIZE: the documentation strings of an installed package, as so many word pieces"""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """paired seeds; each has its own teacher and its own order of the text"""
    steps: int = 350
    """training steps of every student"""
    batch: int = 16
    """windows of 64 tokens a step"""
    lr: float = 5e-3
    """largest learning rate of the students (AdamW, warm-up, cosine to zero)"""

    def __post_init__(self):
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise refusal("bad-seeds", "at least one seed, each once", self.seeds, "--seeds 0 1 2")

    @cached_property
    def spec(self) -> DataSpec:
        """The text as a recipe names it, with its fingerprint."""
        return resolved(DataSpec(self.data))

    def optim(self, steps: int, lr: float) -> OptimSpec:
        """The budget of so many steps."""
        warmup = max(steps // 20, 1)
        return OptimSpec("adamw", lr, steps, self.batch, warmup, weight_decay=0.01, clip=1.0)


@dataclass(frozen=True)
class TopK:
    """Distils a small language model from the whole teacher, parts of it, or draws from it, and from labels alone.

    Students differ in their targets only: the same text in the same order, the same initialization.
    """

    name: ClassVar[str] = "top-k"
    question: ClassVar[str] = "What does a cached top-k teacher cost the student?"
    answers: ClassVar[tuple[str, ...]] = ("K1", "K3", "K4")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"ten-seeds": {"setup": TextSetup(seeds=tuple(range(10)))}}

    setup: TextSetup = TextSetup()
    ks: tuple[int, ...] = (2, 8, 32)
    """tokens kept; draws are twice as many, which take as many bytes"""
    temperatures: tuple[float, ...] = (1.0, 2.0)
    """distillation temperatures; beyond the first, only the middle k is trained"""
    teacher: str = "causal-transformer:96x2"
    """model of the teacher"""
    student: str = "causal-transformer:48x2"
    """model of the students"""
    teacher_steps: int = 800
    """training steps of the teacher"""
    teacher_lr: float = 2.5e-3
    """largest learning rate of the teacher"""
    is_smoke: bool = smoke_mark()

    def __post_init__(self):
        if not self.ks or not self.temperatures or min(self.ks) < 1:
            raise refusal("cuts", "at least one k of 1 or more, and one temperature", f"{self.ks}, {self.temperatures}")

    @classmethod
    def smoke(cls) -> Self:
        """The whole study in seconds; evidence of nothing."""
        setup = TextSetup("text:jinja2#128", seeds=(0, 1), steps=4, batch=2)
        small = "causal-transformer:16x1"
        return cls(setup, ks=(2, 8), teacher=small, student=small, teacher_steps=4, is_smoke=True)

    # which runs

    @cached_property
    def teacher_recipe(self) -> Recipe:
        """Trained on labels; replica 0."""
        optim = self.setup.optim(self.teacher_steps, self.teacher_lr)
        return Recipe(self.setup.spec, model_spec(self.teacher), optim, name="teacher")

    @cached_property
    def control(self) -> Recipe:
        """The same student on labels alone. It names the teacher that it is compared with and never asks it."""
        return self._student("control")

    def _student(self, name: str, **targets: Any) -> Recipe:
        schedule = distill(**targets) if targets else labels()
        s, model = self.setup, model_spec(self.student)
        optim = s.optim(s.steps, s.lr)
        return Recipe(s.spec, model, optim, schedule, self.teacher_recipe, replica=1, name=name)

    @cached_property
    def pieces(self) -> int:
        """Classes of the readout."""
        return len(passages(self.setup.spec).vocabulary)

    def arm(self, kept: str, k: int, temperature: float) -> Arm:
        """One student; k is the number of tokens whose bytes a cache takes."""
        amount = 2 * k if kept == "draws" else k
        what = "whole teacher" if kept == "all" else WORDS[kept].format(amount)
        label = f"{what}, τ = {temperature:g}"
        control = "" if kept == "all" else LOSSES.get(kept, kept)
        targets = {"temperature": temperature, "control": control, "weight": 0.5 if kept == "mixed" else 1.0}
        return Arm(
            label,
            self._student(label, **targets, amount=0.0 if kept == "all" else float(amount)),
            self.control,
            self.teacher_recipe,
            factors=factors(
                kept=kept,
                k=None if kept == "all" else k,
                amount=None if kept == "all" else amount,
                temperature=temperature,
                bytes=bytes_per_row(control or "all", amount, self.pieces) + (2 if kept == "mixed" else 0),
            ),
        )

    def kept(self, temperature: float) -> tuple[int, ...]:
        """The k of a temperature."""
        ks = tuple(sorted(set(self.ks)))
        return ks if temperature == self.temperatures[0] else (ks[len(ks) // 2],)

    def cut(self, k: int, temperature: float) -> Cut:
        """The arms that claims compare."""
        arms = {role: self.arm(role, k, temperature) for role in ("renormalized", "bucket", "draws")}
        levels = (("tokens kept", str(k)), ("τ", f"{temperature:g}"))
        return Cut(f"k = {k}, τ = {temperature:g}", self.arm("all", 0, temperature), **arms, levels=levels)

    def cuts(self) -> list[Cut]:
        """Every k and temperature."""
        return [self.cut(k, temperature) for temperature in self.temperatures for k in self.kept(temperature)]

    def wholes(self) -> list[Whole]:
        """The whole teachers."""
        return [
            Whole(f"τ = {t:g}", self.arm("all", 0, t), (("τ", f"{t:g}"),)) for t in dict.fromkeys(self.temperatures)
        ]

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """Every student; two more at the middle k of the first temperature: the tail spread evenly, and half labels."""
        cut = [arm for c in self.cuts() for arm in (c.renormalized, c.bucket, c.draws)]
        return (*(whole.full for whole in self.wholes()), *cut, self._at_middle("spread"), self.mixed)

    @cached_property
    def mixed(self) -> Arm:
        """Half labels, half top-k with a bucket."""
        return self._at_middle("mixed")

    def _at_middle(self, kept: str) -> Arm:
        ks = sorted(set(self.ks))
        return self.arm(kept, ks[len(ks) // 2], self.temperatures[0])

    def design(self) -> Design:
        """Every student beside its control, paired by seed."""
        return Design(self.arms, self.setup.seeds)

    def plan(self) -> list[Run]:
        """The runs, seed by seed."""
        return self.design().runs()

    # what they say

    def verdicts(self, records: Records) -> Verdicts:
        """The claims alone."""
        return self.judged(Evidence.read(self.design(), records, run_summary))

    def judged(self, e: Evidence) -> Verdicts:
        """The positive control for every temperature, the other claims for every cut."""
        middle = Mixed(self.mixed.label, self.mixed, self.wholes()[0].full)
        return (
            judge(TEACHER_CLAIMS, e, self.wholes())
            + judge(CUT_CLAIMS, e, self.cuts())
            + judge(MIXED_CLAIMS, e, [middle])
        )

    def analyze(self, records: Records) -> Result:
        """Claims, figures and tables of the complete seeds."""
        e, wholes = Evidence.read(self.design(), records, run_summary), self.wholes()
        blocks: list[Block] = [
            level_chart(e, self.arms, wholes),
            cost_chart(e, self.arms, wholes),
            calibration_chart(e, self.arms, wholes),
            arm_table(e, self.arms, {whole.full.number("temperature"): whole.full for whole in wholes}),
            loss_table(e, self.arms),
            teacher_table(e, self.teacher_recipe),
        ]
        return conclude(self, e.seeds, self.judged(e), blocks, records=records, methods=self.methods(), cite=PAPER)

    def methods(self) -> str:
        """What was trained and measured, in sentences."""
        s, text = self.setup, passages(self.setup.spec)
        o = s.optim(s.steps, s.lr)
        return (
            f"Text: {text.source}, {len(text.train):,} training tokens of {self.pieces} word pieces (byte-pair "
            "encoding), split by document. Networks: causal transformers with tied embeddings on windows of 64 tokens; "
            f"teacher {self.teacher}, {self.teacher_steps:,} steps at {self.teacher_lr:g}; students {self.student}, "
            f"{o.steps:,} steps of {o.batch} windows with AdamW at {o.lr:g} (warm-up, cosine). Every window is seen at "
            "most once, so draws made in training are those of a cache. Students minimize T²·KL from what was kept, "
            "and no labels unless said; k logits take 4k bytes (class numbers and half-precision values), a tail 4 "
            "more and n draws 2n. "
            "The cache is made at the temperature of the loss; rounding to half precision is counted, not simulated. "
            "NLL, KL and calibration are read at temperature 1 on 256 windows of the test text, which all seeds share; "
            "intervals are over runs and windows. The control (twin) is the same student on labels alone."
        )
