"""Two models of short texts: a bag of n-grams and a small transformer.

Shapes: B batch, L tokens, D features, C classes; texts (B, L) int64 token ids, 0 = padding on the right.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from disobey.models.attention import Block, TokenMean

BUCKETS = 8192  # rows of an embedding table that n-grams are hashed into if there are more n-grams than rows
MAX_CHARACTERS = 256  # a vocabulary of at most this size is taken for characters


class NgramIds(nn.Module):
    """Every n-gram of a text as one id: ``(B, L)`` to ``(B, L + 1)``, 0 where there is none.

    The two ends of a text count as tokens, so that n-grams at its beginning and end (prefixes and suffixes) differ from
    the same letters inside it. Ids are exact if ``vocabulary ** n`` is at most ``BUCKETS``, otherwise they are hashed.

    Args:
        n: length of the n-grams.
        vocabulary: number of token ids.
    """

    def __init__(self, n: int, vocabulary: int):
        super().__init__()
        self.n, self.vocabulary = n, vocabulary
        self.exact = n == 1 or vocabulary**n <= BUCKETS
        self.rows = vocabulary**n if self.exact else BUCKETS

    def forward(self, tokens: Tensor) -> Tensor:
        """Ids of all n-grams."""
        if self.n == 1:
            return tokens
        # One end token before the text, and as many after it as the last window needs.
        windows = nn.functional.pad(tokens, (1, self.n - 1)).unfold(1, self.n, 1)  # (B, L + 1, n)
        ids = torch.zeros_like(windows[..., 0])
        for place in range(self.n):
            ids = ids * self.vocabulary + windows[..., place]
        if not self.exact:
            # Multiply and shift, so that similar n-grams are not neighbours modulo the number of rows.
            ids = ((ids * 2_654_435_761) >> 15) % (self.rows - 1) + 1
        real = windows[..., 1:-1].bool().all(dim=-1) & windows.bool().any(dim=-1)
        return ids * real


class TextBag(nn.Module):
    """The mean embedding of a text's n-grams, then a linear layer: ``(B, L)`` to logits ``(B, C)``.

    Every length of n-gram has its own embedding table. Named features: ``penultimate``.

    Args:
        shape: (L,).
        classes: C.
        vocabulary: number of token ids.
        width: features D.
        depth: longest n-gram; by default 3 for a vocabulary of characters and 2 otherwise.
        dropout: probability of dropping a feature of the mean.

    Reference:
        Joulin, Grave, Bojanowski and Mikolov, "Bag of tricks for efficient text classification", 2017.

    Example:
        >>> model = TextBag((16,), 10, vocabulary=30)
        >>> [table.num_embeddings for table in model.tables], model(torch.zeros(2, 16, dtype=torch.long)).shape
        ([30, 900, 8192], torch.Size([2, 10]))
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        vocabulary: int,
        width: int = 32,
        depth: int | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        del shape  # every model takes it; a mean over n-grams does not depend on the length
        longest = depth or (3 if vocabulary <= MAX_CHARACTERS else 2)
        grams = [NgramIds(n, vocabulary) for n in range(1, longest + 1)]
        self.grams = nn.ModuleList(grams)
        self.tables = nn.ModuleList(nn.Embedding(gram.rows, width, padding_idx=0) for gram in grams)
        with torch.no_grad():
            for weight in self.tables.parameters():
                weight.mul_(0.1)  # smaller than the learned values: 1-3 points more accurate than torch's default of 1
        self.pool = nn.Identity()  # makes the mean a named feature
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)
        self.feature_names = {"penultimate": "pool"}

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits ``(B, C)`` of token ids ``(B, L)``."""
        total = torch.zeros((), device=tokens.device)
        count = torch.zeros((), dtype=torch.long, device=tokens.device)
        for gram, table in zip(self.grams, self.tables, strict=True):
            ids = gram(tokens)
            total = total + table(ids).sum(dim=1)  # row 0 is zero and has no gradient
            count = count + (ids != 0).sum(dim=1, keepdim=True)
        return self.head(self.dropout(self.pool(total / count.clamp(min=1))))


class TextTransformer(nn.Module):
    """Transformer blocks over tokens: ``(B, L)`` to logits ``(B, C)``.

    Padding is neither attended to nor averaged. Texts may be shorter than the ``(L,)`` that it was built for, not
    longer. Named features: ``embedding``, ``layer1`` to ``layer{depth}``, ``penultimate``.

    Args:
        shape: (L,).
        classes: C.
        vocabulary: number of token ids.
        width: features D.
        depth: number of blocks.
        dropout: probability of dropping a unit, in the embedding and in the blocks.

    Example:
        >>> sum(p.numel() for p in TextTransformer((16,), 10, vocabulary=30).parameters())
        103690
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        vocabulary: int,
        width: int = 64,
        depth: int = 2,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width, padding_idx=0)
        self.places = nn.Parameter(torch.empty(shape[0], width))
        for table in (self.tokens.weight, self.places):
            nn.init.normal_(table, std=0.02)
        with torch.no_grad():
            self.tokens.weight[0].zero_()
        self.embedding = nn.Dropout(dropout)
        self.layers = nn.ModuleDict({f"layer{i}": Block(width, dropout=dropout) for i in range(1, depth + 1)})
        self.norm = nn.LayerNorm(width)
        self.pool = TokenMean()
        self.head = nn.Linear(width, classes)
        names = {name: f"layers.{name}" for name in self.layers}
        self.feature_names = {"embedding": "embedding", **names, "penultimate": "pool"}

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits ``(B, C)`` of token ids ``(B, L)``."""
        keep = tokens != 0
        keep = keep | ~keep.any(dim=1, keepdim=True)  # an empty text attends to its padding, which avoids 0 / 0
        x = self.embedding(self.tokens(tokens) + self.places[: tokens.shape[1]])
        for layer in self.layers.values():
            x = layer(x, keep)
        return self.head(self.pool(self.norm(x), keep))
