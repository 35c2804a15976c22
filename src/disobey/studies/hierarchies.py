"""Label hierarchies that are known without any model: which classes belong together."""

from __future__ import annotations

# The 20 superclasses of CIFAR-100, in the alphabetic order of its 100 classes (Krizhevsky 2009).
CIFAR100 = (
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1, 10,
    12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16,
    12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13,
)  # fmt: skip
# Clothes by where they are worn: tops, trousers, tops, dresses, tops, shoes, tops, shoes, bags, shoes.
FASHION = (0, 1, 0, 2, 0, 3, 0, 3, 4, 3)


def groups_of(name: str, classes: tuple[str, ...]) -> tuple[int, ...]:
    """The group of every class, () where no hierarchy is known. Split classes are grouped by what they came from.

    >>> groups_of("split:mnist-5k", ("0a", "0b", "1a", "1b"))
    (0, 0, 1, 1)
    """
    if name.startswith("split:"):
        return tuple(index // 2 for index in range(len(classes)))
    if name == "fashion-mnist":
        return FASHION
    if "cifar100" in name.lower().replace("-", "") and len(classes) == len(CIFAR100):
        return CIFAR100
    return ()
