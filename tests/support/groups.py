"""Groups of orthogonal matrices, found as closures, and what builds layers by hand from them."""

import torch
from torch import Tensor

from disobey.data.sources.sequences import group


def icosahedral() -> tuple[Tensor, Tensor]:
    """The 60 rotations of an icosahedron (60, 3, 3) in float64, and the index of each product a b, (60, 60)."""
    golden = (1 + 5**0.5) / 2
    turn = torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=torch.float64)
    fifth = 0.5 * torch.tensor(
        [[golden - 1, -golden, 1], [golden, 1, golden - 1], [-1, golden - 1, golden]], dtype=torch.float64
    )
    found = [torch.eye(3, dtype=torch.float64)]
    for element in found:  # grows while it is walked: the closure under two generators
        for generator in (turn, fifth):
            new = element @ generator
            if not any(torch.allclose(new, old, atol=1e-9) for old in found):
                found.append(new)
    matrices = torch.stack(found)
    products = matrices[:, None] @ matrices[None]
    table = ((products[:, :, None] - matrices).abs().amax((-1, -2)) < 1e-9).int().argmax(-1)
    return matrices, table


def standard_with_sign(name: str) -> Tensor:
    """The permutations of S<n> on the sum-zero vectors, their sign beside them: (n!, n, n), for p: e_i to e_p(i)."""
    elements = torch.tensor(group(name).elements)
    n = elements.shape[1]
    moved = torch.zeros(len(elements), n, n, dtype=torch.float64).scatter_(1, elements[:, None], 1.0)
    ones = torch.full((n, 1), n**-0.5, dtype=torch.float64)
    basis = torch.linalg.svd(ones)[0][:, 1:]  # orthonormal, across the ones
    out = torch.zeros(len(elements), n, n, dtype=torch.float64)
    out[:, : n - 1, : n - 1] = basis.T @ moved @ basis
    out[:, n - 1, n - 1] = torch.linalg.det(moved)
    return out


def reflections(matrix: Tensor, count: int) -> Tensor:
    """Vectors (count, n) whose reflections multiply to an orthogonal matrix, the first one applied first.

    Every step fixes one more direction (Cartan and Dieudonné); a pair of equal reflections does nothing.
    """
    rest, vectors, n = matrix, [], len(matrix)
    while (rest - torch.eye(n, dtype=rest.dtype)).abs().max() > 1e-9:
        moved = rest - torch.eye(n, dtype=rest.dtype)
        u = moved[:, moved.norm(dim=0).argmax()]
        u = u / u.norm()
        rest = rest - 2 * torch.outer(u, u @ rest)
        vectors.append(u)
    assert len(vectors) <= count
    assert (count - len(vectors)) % 2 == 0
    padding = [torch.eye(n, dtype=rest.dtype)[0]] * (count - len(vectors))
    return torch.stack([*padding, *reversed(vectors)])


def words_and_products(table: Tensor, count: int, length: int) -> tuple[Tensor, Tensor]:
    """Uniform words and their products, each letter multiplied from the left: ``table[letter, state]``."""
    words = torch.randint(len(table), (count, length), generator=torch.Generator().manual_seed(0))
    state, products = torch.zeros(count, dtype=torch.long), []
    for t in range(length):
        state = table[words[:, t], state]
        products.append(state)
    return words, torch.stack(products, 1)
