"""n-grams against a slow count, padding that must not matter, and a planted language."""

import pytest
import torch
from torch.nn import functional as F

from disobey.models.text import BUCKETS, NgramIds, TextBag, TextTransformer

MODELS = [TextBag, TextTransformer]


def ngrams(tokens: list[int], n: int) -> list[tuple[int, ...]]:
    """The n-grams of a text with one end mark on either side; single tokens without the marks."""
    word = [token for token in tokens if token]
    if n == 1:
        return [(token,) for token in word]
    marked = [0, *word, 0]
    return [tuple(marked[i : i + n]) for i in range(len(marked) - n + 1)] if word else []


@pytest.mark.parametrize("n", [1, 2, 3])
def test_ngrams_are_those_of_the_slow_count(n):
    vocabulary = 6
    texts = torch.tensor([[1, 2, 3, 1, 2], [5, 0, 0, 0, 0], [1, 2, 0, 0, 0], [0, 0, 0, 0, 0]])
    gram = NgramIds(n, vocabulary)
    assert gram.exact
    for row, ids in zip(texts.tolist(), gram(texts).tolist(), strict=True):
        expected = sorted(sum(token * vocabulary ** (n - 1 - i) for i, token in enumerate(g)) for g in ngrams(row, n))
        assert sorted(i for i in ids if i) == expected


def test_hashed_ngrams_spread_over_the_table():
    gram = NgramIds(3, 100)
    assert not gram.exact
    generator = torch.Generator().manual_seed(0)
    ids = gram(torch.randint(1, 100, (400, 20), generator=generator)).flatten()
    ids = ids[ids != 0]
    assert int(ids.min()) >= 1
    assert int(ids.max()) < BUCKETS
    # 8,400 random draws fill 1 - exp(-8,400 / 8,191) = 64% of the rows
    assert len(ids.unique()) / BUCKETS == pytest.approx(0.64, abs=0.03)
    consecutive = torch.stack([torch.tensor([7, 8, c]) for c in range(1, 100)])
    windows = gram(consecutive)[:, 1]
    assert len(windows.unique()) > 95


@pytest.mark.parametrize("model", MODELS)
def test_padding_changes_nothing(model):
    torch.manual_seed(0)
    net = model((12,), 4, vocabulary=20).eval()
    short = torch.tensor([[3, 1, 4, 1, 5]])
    with torch.inference_mode():
        assert torch.allclose(net(short), net(F.pad(short, (0, 7))), atol=1e-6)
        assert not torch.allclose(net(short), net(short.flip(1)), atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_an_empty_text_has_a_finite_answer_and_gradient(model):
    net = model((6,), 4, vocabulary=20)
    logits = net(torch.tensor([[0] * 6, [1, 2, 0, 0, 0, 0]]))
    assert torch.isfinite(logits).all()
    logits.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_a_plain_bag_is_blind_to_order_and_ngrams_are_not():
    torch.manual_seed(0)
    text, turned = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[3, 1, 4, 2]])
    with torch.inference_mode():
        plain = TextBag((4,), 3, vocabulary=9, depth=1)
        assert torch.allclose(plain(text), plain(turned), atol=1e-6)
        pairs = TextBag((4,), 3, vocabulary=9, depth=2)
        assert not torch.allclose(pairs(text), pairs(turned), atol=1e-3)


def test_a_long_vocabulary_is_taken_for_words():
    tables = TextBag((4,), 3, vocabulary=5000).tables
    assert [table.num_embeddings for table in tables] == [5000, BUCKETS]


# With a learning rate of 0.003 and 120 steps, rounding decides whether the transformer learns it; these settings
# succeed in 6 of 6 seeds.
@pytest.mark.parametrize(("model", "lr", "steps"), [(TextBag, 1e-2, 120), (TextTransformer, 1e-3, 240)])
def test_a_planted_pair_of_characters_is_found(model, lr, steps):
    """Class = whether 1 is ever followed by 2: invisible to counts of single characters."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(3, 12, (768, 8), generator=generator)
    labels = torch.arange(768) % 2
    places = torch.randint(0, 7, (768,), generator=generator)
    rows = torch.arange(768)
    x[rows, places], x[rows, places + 1] = 2 - labels, 1 + labels  # 2 1 or 1 2
    torch.manual_seed(0)
    net = model((8,), 2, vocabulary=12)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr, fused=True)
    for step in range(steps):
        part = slice(step * 64 % 512, step * 64 % 512 + 64)
        optimizer.zero_grad()
        F.cross_entropy(net(x[part]), labels[part]).backward()
        optimizer.step()
    with torch.inference_mode():
        assert (net.eval()(x[512:]).argmax(1) == labels[512:]).float().mean() > 0.9  # guessing: 0.5
