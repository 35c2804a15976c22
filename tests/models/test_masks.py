"""Masks equal torch's own pruning; iterative pruning rewinds, nests, and goes on at its round."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from disobey.models.masks import apply_mask, by_magnitude, density, moved_within_layers, prunable, whole
from disobey.training.pruning import tickets, trained_under
from tests.support.refusals import refuses


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 4, 7), nn.Linear(7, 3))


@pytest.mark.parametrize("share", [0.1, 0.37, 0.5, 0.9])
@pytest.mark.parametrize("layerwise", [False, True])
def test_masks_are_those_of_torch(share, layerwise):
    net, twin = network(), network()
    mask = by_magnitude(prunable(net), whole(net), share, layerwise=layerwise)
    modules = [module for module in twin if hasattr(module, "weight")]
    if layerwise:
        for module in modules:
            prune.l1_unstructured(module, "weight", share)
    else:
        pairs = [(module, "weight") for module in modules]
        prune.global_unstructured(pairs, pruning_method=prune.L1Unstructured, amount=share)
    for ours, module in zip(mask.values(), modules, strict=True):
        assert torch.equal(ours, module.get_buffer("weight_mask").bool())


def test_repeated_pruning_is_torchs_repeated_pruning():
    net, twin = network(), network()
    mask = whole(net)
    pairs = [(module, "weight") for module in twin if hasattr(module, "weight")]
    for _ in range(3):
        mask = by_magnitude(prunable(net), mask, 0.2)
        prune.global_unstructured(pairs, pruning_method=prune.L1Unstructured, amount=0.2)
    for ours, (module, _) in zip(mask.values(), pairs, strict=True):
        assert torch.equal(ours, module.get_buffer("weight_mask").bool())


def test_masks_moved_within_layers_keep_every_density():
    net = network()
    mask = by_magnitude(prunable(net), whole(net), 0.5)
    moved = moved_within_layers(mask, torch.Generator().manual_seed(1))
    assert [int(m.sum()) for m in moved.values()] == [int(m.sum()) for m in mask.values()]
    assert any(not torch.equal(moved[k], mask[k]) for k in mask)


def step(model, mask, number):
    """A training that depends on its round alone."""
    generator = torch.Generator().manual_seed(number)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    apply_mask(model, mask)


def test_rounds_rewind_nest_and_end_sparse():
    net = network()
    first = copy.deepcopy(net.state_dict())
    rounds = tickets(net, step, rounds=4, share=0.3)
    assert [round(one.density, 2) for one in rounds] == [1.0, 0.7, 0.49, 0.34, 0.24]
    for one, after in pairwise(rounds):
        assert all(bool((one.mask[k] | ~after.mask[k]).all()) for k in one.mask)
    last = rounds[-1]
    twin = network()
    step(apply_mask(twin, last.mask), last.mask, 4)  # from the first weights, and not from the round before
    assert all(torch.equal(v, last.weights[k]) for k, v in twin.state_dict().items())
    assert all(torch.equal(first[k], v) for k, v in network().state_dict().items())
    assert density(last.mask) == last.density


def test_iterative_pruning_has_the_masks_of_torchs_global_pruning():
    """Trained here by ours and there by torch's masks, round after round, the same weights go."""
    mask = whole(network())
    for one in tickets(network(), step, rounds=3, share=0.3):
        assert all(torch.equal(one.mask[k], mask[k]) for k in mask)
        twin = network()
        step(apply_mask(twin, mask), mask, one.number)
        layers = [(name, module) for name, module in twin.named_modules() if hasattr(module, "weight")]
        for name, module in layers:
            prune.custom_from_mask(module, "weight", mask[f"{name}.weight"])
        pairs = [(module, "weight") for _, module in layers]
        prune.global_unstructured(pairs, pruning_method=prune.L1Unstructured, amount=0.3)
        mask = {f"{name}.weight": module.get_buffer("weight_mask").bool() for name, module in layers}


def test_some_layers_alone_are_pruned_and_other_masks_are_trained_from_the_same_start(tmp_path):
    net = network()
    among = {k: v for k, v in whole(net).items() if k != "4.weight"}
    rounds = tickets(net, step, rounds=2, among=among)
    assert [set(one.mask) for one in rounds] == [{"0.weight", "3.weight"}] * 3
    masks = [moved_within_layers(one.mask, torch.Generator().manual_seed(1)) for one in rounds]
    start = {k: v.clone() for k, v in network().state_dict().items()}
    found = trained_under(network(), step, masks, rewind=start, folder=tmp_path)
    assert [one.density for one in found] == [one.density for one in rounds]
    read = trained_under(network(), lambda *_: pytest.fail("trained again"), masks, rewind=start, folder=tmp_path)
    for one, other, mask in zip(found, read, masks, strict=True):
        assert all(torch.equal(one.weights[k], v) for k, v in other.weights.items())
        assert all(not bool(one.weights[k][~part].any()) for k, part in mask.items())
    with refuses("other-pruning"):
        trained_under(network(), step, masks[::-1], folder=tmp_path)


def test_an_interrupted_pruning_goes_on_at_its_round(tmp_path):
    calls = []

    def watched(model, mask, number):
        calls.append(number)
        if number == 2 and calls.count(2) == 1:
            raise KeyboardInterrupt
        step(model, mask, number)

    with pytest.raises(KeyboardInterrupt):
        tickets(network(), watched, rounds=3, folder=tmp_path)
    again = tickets(network(), watched, rounds=3, folder=tmp_path)
    assert calls == [0, 1, 2, 2, 3]
    whole_run = tickets(network(), step, rounds=3)
    for one, other in zip(again, whole_run, strict=True):
        assert all(torch.equal(v, other.weights[k]) for k, v in one.weights.items())


def test_a_folder_of_another_pruning_and_nonsense_are_refused(tmp_path):
    tickets(network(), step, rounds=1, folder=tmp_path)
    with refuses("other-pruning"):
        tickets(network(), step, rounds=1, share=0.5, folder=tmp_path)
    with refuses("prune-rounds"):
        tickets(network(), step, rounds=-1)
    with refuses("prune-share"):
        by_magnitude(prunable(network()), whole(network()), 1.5)
