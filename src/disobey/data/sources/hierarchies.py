"""Hierarchies of classes that are known without any model: which classes belong together."""

from __future__ import annotations

from dataclasses import dataclass

# The 20 superclasses of CIFAR-100 with their classes (Krizhevsky 2009, "Learning multiple layers of features").
CIFAR100_SUPERCLASSES: dict[str, tuple[str, ...]] = {
    "aquatic_mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food_containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit_and_vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household_electrical_devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household_furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large_carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large_man-made_outdoor_things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large_natural_outdoor_scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large_omnivores_and_herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium_mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect_invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small_mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles_1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles_2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}
# Clothes by the part of the body that they are for.
FASHION_GROUPS: dict[str, tuple[str, ...]] = {
    "tops": ("T-shirt/top", "Pullover", "Coat", "Shirt"),
    "trousers": ("Trouser",),
    "dresses": ("Dress",),
    "shoes": ("Sandal", "Sneaker", "Ankle boot"),
    "bags": ("Bag",),
}


@dataclass(frozen=True)
class Hierarchy:
    """Groups of classes.

    Attributes:
        names: of the groups.
        groups: the group number of every class, in the order of the classes.
    """

    names: tuple[str, ...]
    groups: tuple[int, ...]


def hierarchy_of(name: str, classes: tuple[str, ...]) -> Hierarchy | None:
    """The known hierarchy of a data set's classes, found by their names.

    Split classes are grouped by the class that they come from. CIFAR-100 with numbers as class names is recognized by
    the name of the data set; its numbers follow the alphabet.

    Args:
        name: of the data set.
        classes: names of the classes.

    Returns:
        The hierarchy, or None if none is known.

    Example:
        >>> hierarchy_of("split:mnist-5k", ("0a", "0b", "1a", "1b"))
        Hierarchy(names=('0', '1'), groups=(0, 0, 1, 1))
        >>> hierarchy_of("mnist-5k", ("0", "1")) is None
        True
    """
    if name.startswith("split:"):
        return Hierarchy(tuple(c[:-1] for c in classes[::2]), tuple(index // 2 for index in range(len(classes))))
    for known in (CIFAR100_SUPERCLASSES, FASHION_GROUPS):
        of = {member: number for number, members in enumerate(known.values()) for member in members}
        if set(of) == set(classes):
            return Hierarchy(tuple(known), tuple(of[c] for c in classes))
        numbered = classes == tuple(map(str, range(len(of))))
        if known is CIFAR100_SUPERCLASSES and numbered and "cifar100" in name.lower().replace("-", ""):
            return Hierarchy(tuple(known), tuple(of[c] for c in sorted(of)))
    return None


def groups_of(name: str, classes: tuple[str, ...]) -> tuple[int, ...]:
    """The group number of every class; () if no hierarchy is known."""
    found = hierarchy_of(name, classes)
    return () if found is None else found.groups
