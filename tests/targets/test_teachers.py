"""Ensembles average probabilities, cross-fitting uses held-out teachers only, permutations destroy what they say."""

import torch

from disobey.targets.teachers import averaged, cross_fitted, permuted_classes, permuted_rows
from tests.support.refusals import refuses

Z = torch.randn(3, 8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3


def test_the_mean_is_of_probabilities():
    torch.testing.assert_close(averaged(Z).exp(), torch.softmax(Z, -1).mean(0))
    assert averaged(Z[:1]) is not None
    assert torch.equal(averaged(Z[:1]), Z[0])  # one teacher keeps its logits


def test_cross_fitted_answers_come_from_the_unseeing():
    saw = torch.tensor([[True] * 4 + [False] * 4, [False] * 4 + [True] * 4, [True] * 8])
    answers = cross_fitted(Z, saw).exp()
    torch.testing.assert_close(answers[:4], torch.softmax(Z[1, :4], -1))
    torch.testing.assert_close(answers[4:], torch.softmax(Z[0, 4:], -1))
    nobody = torch.zeros(3, 8, dtype=torch.bool)
    torch.testing.assert_close(cross_fitted(Z, nobody), averaged(Z))
    with refuses("no-held-out-teacher", "8 examples"):
        cross_fitted(Z, ~nobody)


def test_permutations_keep_the_marginals():
    z, g = Z[0], torch.Generator().manual_seed(1)
    rows, classes = permuted_rows(z, g), permuted_classes(z, g)
    torch.testing.assert_close(rows.sort(dim=0).values, z.sort(dim=0).values)
    torch.testing.assert_close(classes.sort(dim=1).values, z.sort(dim=1).values)
    assert not torch.equal(rows, z)
