"""From a recipe on running text to its windows and its network, and what of such a recipe cannot run."""

from __future__ import annotations

import torch
from torch import Tensor

from disobey.data.sources.passages import passages
from disobey.errors import refusal
from disobey.models.language import CausalTransformer
from disobey.targets.losses import LOSSES
from disobey.targets.truncation import TRUNCATED
from disobey.training.batches import steps_of
from disobey.training.recipe import Recipe, Run
from disobey.training.seeds import seeded, torch_stream
from disobey.training.specs import Teaching

NETWORK = "causal-transformer"
LENGTH = 64  # tokens of a window


class Windows:
    """The batches of a run, each (B, LENGTH + 1): `loop.Batches`. Every window of the text comes at most once.

    So what a student learns from is what a cache holds, also where the cache holds draws.
    """

    def __init__(self, run: Run, device: torch.device | None = None):
        self.windows = passages(run.recipe.data).windows("train", LENGTH)
        self.batch, self.steps, self.device = run.recipe.optim.batch, steps_of(run), device
        order = torch.randperm(len(self.windows), generator=torch_stream(run.seed, "order", run.recipe.replica))
        self.order = order.numpy()

    def __len__(self) -> int:
        return self.steps

    def __call__(self, step: int) -> Tensor:
        """The windows of a step, on the device."""
        rows = self.order[step * self.batch : (step + 1) * self.batch]
        return torch.as_tensor(self.windows[rows].copy(), device=self.device)


def language_model(recipe: Recipe, seed: int) -> CausalTransformer:
    """The recipe's network with its initial weights for this seed, on the CPU."""
    model, vocabulary = recipe.model, len(passages(recipe.data).vocabulary)
    with seeded(seed, "init", recipe.replica):
        return CausalTransformer(vocabulary, LENGTH, width=model.width or 48, depth=model.depth or 2)


def check_next_token(run: Run) -> None:
    """Refuses what cannot run; trains nothing.

    Raises:
        Refusal: ``language-network``, ``language-data``, ``language-weights``, ``language-teacher``,
            ``language-target``, ``text-too-short``, or what the text refuses.
    """
    recipe = run.recipe
    if recipe.model.name != NETWORK or recipe.model.dropout:
        raise refusal("language-network", f"{NETWORK} without dropout for running text", recipe.model)
    data = recipe.data
    if data.train is not None or data.noise or data.fold is not None or data.augment != "none":
        raise refusal("language-data", "running text whole: no subset, noise, fold or augmentation", data)
    if recipe.keep or recipe.choose != "last" or recipe.check:
        got = f"keep={recipe.keep}, choose={recipe.choose!r}, check={recipe.check}"
        raise refusal("language-weights", "the last weights for running text", got)
    if recipe.teaching != Teaching(seed=recipe.teaching.seed):
        raise refusal("language-teacher", "one finished teacher, with no option but its seed", recipe.teaching)
    if recipe.teacher is not None and recipe.teacher.data != data:
        raise refusal("language-teacher", "a teacher of the same text", recipe.teacher.data.name)
    for term in recipe.targets.terms:
        known = ("", *TRUNCATED) if term.source == "teacher" else ("",)
        if term.control not in known or term.loss not in LOSSES or (term.control and term.loss != "kl"):
            expected = f"kl to a teacher with control {' or '.join(TRUNCATED)}, any loss without a control"
            raise refusal("language-target", expected, f"{term.loss!r} to {term.source} with {term.control!r}")
    windows, needed = len(passages(data).windows("train", LENGTH)), steps_of(run) * recipe.optim.batch
    if needed > windows:
        attempt = f"at most {windows // recipe.optim.batch} steps of {recipe.optim.batch}"
        raise refusal("text-too-short", f"{needed} windows, each seen once", windows, attempt, where=data.name)
    language_model(recipe, run.seed)
