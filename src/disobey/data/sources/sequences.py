"""Sequence tasks with a known rule, from sizes and a seed: words in groups, arithmetic, copying.

All tasks return `Sequences`: integer tokens and targets ``(N, T)``, with `IGNORED` where no answer is asked. The
elements of a group are permutations in lexicographic order (the identity is element 0), and words are read from left to
right: the target at t is ``g_1 · g_2 ··· g_t`` with ``(p · q)(i) = q(p(i))``, so p is applied first and then q.

Shapes: N examples, T time.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from disobey.errors import refusal

IGNORED = -100  # the index that torch's cross-entropy ignores

Permutation = tuple[int, ...]


@dataclass(frozen=True)
class Sequences:
    """Sequences with an answer at some positions.

    Attributes:
        inputs: tokens ``(N, T)``.
        targets: ``(N, T)``, `IGNORED` where no answer is asked.
        tokens: number of token ids.
        classes: number of answers.
    """

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]
    tokens: int
    classes: int

    @property
    def chance(self) -> float:
        """Accuracy of a uniform guess."""
        return 1 / self.classes


@dataclass(frozen=True)
class Group:
    """A finite group of permutations with its product table.

    Attributes:
        name: as in `group`.
        elements: permutations in lexicographic order, the identity first.
        table: ``table[a, b]`` is a · b, first a and then b.
    """

    name: str
    elements: tuple[Permutation, ...]
    table: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of elements."""
        return len(self.elements)

    def order(self, element: int) -> int:
        """The smallest k > 0 with g^k = identity.

        >>> group("S3").order(1)
        2
        """
        power, k = element, 1
        while power != 0:
            power, k = int(self.table[power, element]), k + 1
        return k


def generated(name: str, generators: list[Permutation]) -> Group:
    """The group that permutations generate.

    Args:
        name: of the group.
        generators: permutations of 0..n-1 in one-line form, ``p[i]`` = image of i.

    Returns:
        The group.

    Raises:
        Refusal: ``permutations``.
    """
    points = {tuple(sorted(p)) for p in generators}
    if len(points) != 1 or points != {tuple(range(len(generators[0])))}:
        raise refusal("permutations", "permutations of the same points 0..n-1", generators)
    identity = tuple(range(len(generators[0])))
    found, frontier = {identity}, [identity]
    while frontier:
        products = {_then(p, g) for p in frontier for g in generators} - found
        found |= products
        frontier = list(products)
    elements = tuple(sorted(found))
    array = np.array(elements)
    # (p · q)(i) = q(p(i)). A number in mixed radix identifies each product among the sorted elements.
    weights = len(identity) ** np.arange(len(identity))[::-1].astype(np.int64)
    codes = array @ weights
    products = np.stack([array[:, p] for p in array]) @ weights
    return Group(name, elements, np.searchsorted(codes, products))


def _then(first: Permutation, second: Permutation) -> Permutation:
    return tuple(second[i] for i in first)


@cache
def group(name: str) -> Group:
    """A group by its name.

    Args:
        name: ``Z<n>``, ``S<n>``, ``A<n>``, or a product with x such as ``A4xZ5``, whose factors act side by side.

    Returns:
        The group.

    Raises:
        Refusal: ``unknown-group``.

    Example:
        >>> len(group("A5")), len(group("A4xZ5"))
        (60, 60)
    """
    generators: list[Permutation] = []
    factors = [_generators(factor) for factor in name.split("x")]
    total, start = sum(len(gens[0]) for gens in factors), 0
    for gens in factors:
        size = len(gens[0])
        for g in gens:
            moved = tuple(start + i for i in g)
            generators.append((*range(start), *moved, *range(start + size, total)))
        start += size
    return generated(name, generators)


def _generators(name: str) -> list[Permutation]:
    kind, digits = name[:1], name[1:]
    if kind not in "ZSA" or not digits.isdigit() or not 1 <= int(digits) <= (120 if kind == "Z" else 7):
        raise refusal("unknown-group", "Z<n>, S<n>, A<n> (n <= 7) or products like A4xZ5", repr(name))
    n = int(digits)
    if kind == "Z":
        return [tuple((i + 1) % n for i in range(n))]
    if kind == "S":
        return [tuple(range(n)), *[_cycle(n, (i, i + 1)) for i in range(n - 1)]]
    return [tuple(range(n)), *[_cycle(n, (0, 1, i)) for i in range(2, n)]]


def _cycle(n: int, points: tuple[int, ...]) -> Permutation:
    image = dict(zip(points, (*points[1:], points[0]), strict=True))
    return tuple(image.get(i, i) for i in range(n))


def prefix_products(words: NDArray[np.int64], on: Group) -> NDArray[np.int64]:
    """``g_1 ··· g_t`` at every t: words ``(N, T)`` to products ``(N, T)``.

    >>> prefix_products(np.array([[1, 1, 1]]), group("Z3")).tolist()
    [[1, 2, 0]]
    """
    products = np.empty_like(words)
    state = np.zeros(len(words), dtype=np.int64)
    for t in range(words.shape[1]):
        state = products[:, t] = on.table[state, words[:, t]]
    return products


def word_problem(name: str, count: int, length: int, seed: int) -> Sequences:
    """Uniform words over all elements of a group; the target at t is the product of the first t + 1 elements.

    Args:
        name: of the group.
        count: N.
        length: T.
        seed: of the words.

    Returns:
        Words and their products.

    Example:
        >>> batch = word_problem("Z2", 1, 4, seed=0)
        >>> bool((batch.targets == batch.inputs.cumsum(1) % 2).all())
        True
    """
    on = group(name)
    words = np.random.default_rng(seed).integers(len(on), size=(count, length))
    return Sequences(words, prefix_products(words, on), len(on), len(on))


def constant_words(name: str, length: int) -> Sequences:
    """Words ``g g g ...`` for every g except the identity, with targets g^k.

    A certified fixed-point layer cannot track them for unbounded k.

    Args:
        name: of the group.
        length: T.

    Returns:
        One word for every element except the identity.
    """
    on = group(name)
    words = np.repeat(np.arange(1, len(on))[:, None], length, axis=1)
    return Sequences(words, prefix_products(words, on), len(on), len(on))


def parity(count: int, length: int, seed: int) -> Sequences:
    """Bits, and whether the number of ones so far is odd.

    Args:
        count: N.
        length: T.
        seed: of the bits.

    Returns:
        Bits and their parities.

    Example:
        >>> batch = parity(1, 6, seed=0)
        >>> bool((batch.targets == batch.inputs.cumsum(1) % 2).all())
        True
    """
    bits = np.random.default_rng(seed).integers(2, size=(count, length))
    return Sequences(bits, bits.cumsum(1) % 2, 2, 2)


def at_end(asked: Sequences) -> Sequences:
    """The same sequences with the last answer alone: what tables of regular languages ask.

    >>> at_end(parity(1, 3, seed=0)).targets.tolist()
    [[-100, -100, 1]]
    """
    targets = np.full_like(asked.targets, IGNORED)
    targets[:, -1] = asked.targets[:, -1]
    return Sequences(asked.inputs, targets, asked.tokens, asked.classes)


def even_pairs(count: int, length: int, seed: int) -> Sequences:
    """Bits, and whether the number of changes between neighbours so far is odd: whether the bit differs from the first.

    Args:
        count: N.
        length: T.
        seed: of the bits.

    Returns:
        Bits and answers.

    Example:
        >>> batch = even_pairs(1, 4, seed=0)
        >>> batch.inputs.tolist(), batch.targets.tolist()
        ([[1, 1, 1, 0]], [[0, 0, 0, 1]])
    """
    bits = np.random.default_rng(seed).integers(2, size=(count, length))
    return Sequences(bits, bits ^ bits[:, :1], 2, 2)


def cycle_navigation(count: int, length: int, seed: int, *, places: int = 5) -> Sequences:
    """Steps on a cycle, and the place that they have led to: token 0 stays, 1 goes on, 2 goes back.

    Args:
        count: N.
        length: T.
        seed: of the steps.
        places: of the cycle.

    Returns:
        Steps and places.

    Example:
        >>> batch = cycle_navigation(1, 4, seed=0)
        >>> batch.inputs.tolist(), batch.targets.tolist()
        ([[2, 1, 1, 0]], [[4, 0, 1, 1]])
    """
    steps = np.random.default_rng(seed).integers(3, size=(count, length))
    moves = np.array([0, 1, -1])[steps]
    return Sequences(steps, moves.cumsum(1) % places, 3, places)


def copying(count: int, length: int, seed: int, *, symbols: int = 16) -> Sequences:
    """Symbols, a delimiter, then blanks at which the symbols are asked again in order.

    Tokens 0..symbols-1 are symbols, ``symbols`` is the delimiter and ``symbols + 1`` the blank.

    Args:
        count: N.
        length: number of symbols; T = 2 length + 1.
        seed: of the symbols.
        symbols: number of different symbols.

    Returns:
        The sequences.
    """
    text = np.random.default_rng(seed).integers(symbols, size=(count, length))
    delimiter, blank = np.full((count, 1), symbols), np.full((count, length), symbols + 1)
    inputs = np.concatenate((text, delimiter, blank), axis=1)
    targets = np.concatenate((np.full((count, length + 1), IGNORED), text), axis=1)
    return Sequences(inputs, targets, symbols + 2, symbols)


OPERATORS, EQUALS, OPEN, CLOSE, PAD = "+-*", "=", "(", ")", "_"


def arithmetic_tokens(modulus: int = 5) -> str:
    """The alphabet of `modular_arithmetic`, where a token's id is its position: digits, + - *, = ( ) and padding."""
    return "".join(map(str, range(modulus))) + OPERATORS + EQUALS + OPEN + CLOSE + PAD


def modular_arithmetic(count: int, length: int, seed: int, *, brackets: bool = False, modulus: int = 5) -> Sequences:
    """Expressions of + - * modulo a number; the value is asked at '=', the last position.

    * has precedence over + and -, which are evaluated from left to right. Shorter expressions are padded on the left.
    With brackets, every operation on two operands is in brackets.

    Args:
        count: N.
        length: tokens of the longest expression including '='.
        seed: of the expressions.
        brackets: whether expressions have brackets.
        modulus: from 2 to 9.

    Returns:
        The expressions and their values.

    Raises:
        Refusal: ``arithmetic-size``.

    Example:
        >>> batch = modular_arithmetic(1, 8, seed=1)
        >>> "".join(arithmetic_tokens()[i] for i in batch.inputs[0]), int(batch.targets[0, -1])
        ('2-3*0+4=', 1)
    """
    if not 2 <= modulus <= 9 or length < (6 if brackets else 4):
        expected = "2 <= modulus <= 9 and length >= 6 (4 without brackets)"
        raise refusal("arithmetic-size", expected, f"modulus {modulus}, length {length}")
    random = np.random.default_rng(seed)
    alphabet = arithmetic_tokens(modulus)
    # n operands need 2n - 1 tokens, and 4n - 3 with brackets around each of the n - 1 operations.
    operands = (length + 2) // 4 if brackets else length // 2
    inputs = np.full((count, length), alphabet.index(PAD))
    targets = np.full((count, length), IGNORED)
    for row in range(count):
        if brackets:
            text, value = _bracketed(operands, random, modulus)
        else:
            text = "".join(_pick(random, alphabet[:modulus]) + _pick(random, OPERATORS) for _ in range(operands))[:-1]
            value = evaluate(text, modulus)
        inputs[row, -len(text) - 1 :] = [alphabet.index(token) for token in text + EQUALS]
        targets[row, -1] = value
    return Sequences(inputs, targets, len(alphabet), modulus)


def _pick(random: np.random.Generator, choices: str) -> str:
    return choices[int(random.integers(len(choices)))]


def _bracketed(operands: int, random: np.random.Generator, modulus: int) -> tuple[str, int]:
    """A random full binary expression with this many operands, and its value."""
    stack = [(str(d), int(d)) for d in random.integers(modulus, size=operands)]
    while len(stack) > 1:
        i = int(random.integers(len(stack) - 1))
        (left, a), (right, b) = stack[i], stack[i + 1]
        sign = _pick(random, OPERATORS)
        value = {"+": a + b, "-": a - b, "*": a * b}[sign] % modulus
        stack[i : i + 2] = [(f"({left}{sign}{right})", value)]
    return stack[0]


def evaluate(text: str, modulus: int) -> int:
    """The value of an expression without brackets.

    Args:
        text: the expression, without '='.
        modulus: of the arithmetic.

    Returns:
        The value, from 0 to modulus - 1.

    Example:
        >>> evaluate("2+3*4", 5)
        4
    """
    total, product, sign = 0, int(text[0]), 1
    for operator, digit in zip(text[1::2], text[2::2], strict=True):
        if operator == "*":
            product = product * int(digit) % modulus
        else:
            total, product, sign = total + sign * product, int(digit), 1 if operator == "+" else -1
    return (total + sign * product) % modulus
