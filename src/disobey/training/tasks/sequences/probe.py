"""What a model's states say about the answers: a standardized logistic probe, before and after training.

``eval_probe`` (2, P): share of right answers of the probe at position 1 to P of words that neither model nor probe has
seen; row 0 the trained model, row 1 the same initialization before training. The probe is fitted at the training
lengths only, so that later positions are extrapolation; its regularization is chosen on validation words. Shapes: N
words, T time.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from disobey.data.sources.sequences import Sequences
from disobey.models.recurrent.sequence import SequenceModel
from disobey.training.recipe import Run, sequence_spec
from disobey.training.specs import sequence_task
from disobey.training.tasks.sequences.batches import EVALUATION, evaluation_sequences, sequences_of
from disobey.training.tasks.sequences.model import sequence_net

PENALTIES = (1e-3, 1e-1, 1e1)  # inverse strengths, sklearn's C
ITERATIONS = 200
OWN_WORDS = EVALUATION // 2  # seeds of the probe's own words: neither training's nor evaluation's

States = Callable[[Sequences], NDArray]  # words to states (N, T, D)


def probed(model: SequenceModel, run: Run) -> dict[str, NDArray]:
    """The array ``eval_probe`` of a finished run."""
    spec, task = sequence_spec(run.recipe), sequence_task(run.recipe.data.name)
    fit, check = (sequences_of(task, spec.count, spec.longest, OWN_WORDS + i) for i in range(2))
    test = evaluation_sequences(task, spec.count, max(spec.lengths))
    fresh = sequence_net(run.recipe, run.seed).to(model.head.weight.device).eval()
    return {"eval_probe": np.stack([probe(states_of(m), fit, check, test) for m in (model.eval(), fresh)])}


def states_of(model: SequenceModel) -> States:
    """The model's states of words, (N, T, D)."""
    device = model.head.weight.device

    @torch.no_grad()
    def states(words: Sequences) -> NDArray:
        return model.trace(torch.as_tensor(words.inputs, device=device))[1].double().cpu().numpy()

    return states


def probe(states: States, fit: Sequences, check: Sequences, test: Sequences) -> NDArray:
    """Accuracy at every position of the test words, (T,), of the probe that is best on ``check``."""
    scale = StandardScaler()
    x = scale.fit_transform(np.concatenate(states(fit)))
    best: tuple[float, LogisticRegression | None] = (-1.0, None)
    held = scale.transform(np.concatenate(states(check)))
    for penalty in PENALTIES:
        guess = LogisticRegression(C=penalty, max_iter=ITERATIONS)
        with warnings.catch_warnings():  # what it has reached by then is scored as it is
            warnings.simplefilter("ignore", ConvergenceWarning)
            guess.fit(x, fit.targets.ravel())
        score = float(guess.score(held, check.targets.ravel()))
        if score > best[0]:
            best = score, guess
    chosen = best[1]
    assert chosen is not None
    said = np.asarray(chosen.predict(scale.transform(np.concatenate(states(test)))))
    return (said.reshape(test.targets.shape) == test.targets).mean(axis=0)
