"""Pruning in rounds: a run on labels that is pruned, rewound to its start and trained again; its accuracy each time.

Keys of the summary, with k from 0, the dense round: ``density@k``, share of the weights that may be pruned which are
left; ``ticket@k``, test accuracy of the round's network; ``replaced@k``, that of one from the same start with as many
weights at random places of every layer. All rounds of a run see the same batches.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from disobey.data.dataset import Dataset
from disobey.data.tensors import inputs_tensor
from disobey.models.heads import TwoHeads
from disobey.models.masks import Mask, apply_mask, moved_within_layers, whole
from disobey.training.context import Context
from disobey.training.loop import Backward, Batches, Fit, fit
from disobey.training.pruning import Round, tickets, trained_under
from disobey.training.recipe import Run, imitation_spec
from disobey.training.seeds import torch_stream
from disobey.training.tasks.imitation.inputs import Shown
from disobey.training.tasks.imitation.objective import class_logits

PRUNED = ("encoder.", "classes.")  # the auxiliary head is not trained on labels


def fit_rounds(
    run: Run,
    model: TwoHeads,
    dataset: Dataset,
    batches: Batches[Shown],
    backward: Backward[nn.Module, Shown],
    context: Context,
) -> tuple[Fit, dict[str, float]]:
    """Trains all rounds; the model ends as the last. Finished rounds are kept until the run is, in the store."""
    spec = imitation_spec(run.recipe).prune
    assert spec is not None
    done: list[Fit] = []

    def train(network: nn.Module, mask: Mask, number: int) -> None:
        def under_mask(step: int, one: nn.Module, batch: Shown) -> torch.Tensor:
            return backward(step, apply_mask(one, mask), batch)

        done.append(fit(network, run, batches, under_mask))

    begin = {name: value.detach().clone() for name, value in model.state_dict().items()}
    among = {name: part for name, part in whole(model).items() if name.startswith(PRUNED)}
    folder = context.store.resume_folder(run.id) if context.checkpoint else None
    found = tickets(model, train, rounds=spec.rounds, share=spec.share, among=among, folder=_below(folder, "tickets"))
    last = done[-1] if done else Fit(torch.zeros(0), {}, {}, len(batches))  # all were finished before
    summary = {f"density@{one.number}": one.density for one in found}
    summary |= {f"ticket@{one.number}": value for one, value in zip(found, _tests(model, dataset, found), strict=True)}
    if spec.moved:
        generator = torch_stream(run.seed, "control")
        masks = [moved_within_layers(one.mask, generator) for one in found[1:]]
        others = trained_under(model, train, masks, rewind=begin, folder=_below(folder, "replaced"))
        summary["replaced@0"] = summary["ticket@0"]
        values = _tests(model, dataset, others)
        summary |= {f"replaced@{one.number + 1}": value for one, value in zip(others, values, strict=True)}
    model.load_state_dict(dict(found[-1].weights))
    return last, summary


def _below(folder: Path | None, name: str) -> Path | None:
    return None if folder is None else folder / name


def _tests(model: TwoHeads, dataset: Dataset, rounds: list[Round]) -> list[float]:
    """Test accuracy of every round."""
    x, labels = inputs_tensor(dataset, "test"), torch.from_numpy(dataset.test.labels.copy())
    found = []
    for one in rounds:
        model.load_state_dict(dict(one.weights))
        found.append(float((class_logits(model, x).argmax(-1) == labels).double().mean()))
    return found
