"""What is known of data and networks before training, read off the loaded data and the built network."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from torch import nn

from disobey.models.mlp import MLP
from disobey.models.spec import ModelSpec
from disobey.models.stack import stackable
from disobey.training.recipe import Run
from disobey.training.restore import Sizes


@dataclass(frozen=True)
class NetworkFacts:
    """parameters: of a network whose slices can be stacked, 0 of any other. mlp: whether it is an `MLP`."""

    parameters: int = 0
    mlp: bool = False

    @classmethod
    def of(cls, model: nn.Module) -> NetworkFacts:
        """Reads them off a network.

        >>> NetworkFacts.of(MLP((4,), 3, width=2, depth=1))
        NetworkFacts(parameters=19, mlp=True)
        """
        parameters = list(model.parameters())
        if not stackable(model) or not all(p.requires_grad for p in parameters):
            return cls()
        return cls(sum(p.numel() for p in parameters), isinstance(model, MLP))


@dataclass(eq=False)
class Facts:
    """What is found out about the data and networks of many runs while they are checked, each fact once.

    Attributes:
        checked: what need not be checked again.
        sizes: by name and fingerprint of the data.
        networks: by model, name and fingerprint of the data.
    """

    checked: set[Hashable] = field(default_factory=set)
    sizes: dict[tuple[str, str], Sizes] = field(default_factory=dict)
    networks: dict[tuple[ModelSpec, str, str], NetworkFacts] = field(default_factory=dict)

    def is_new(self, key: Hashable) -> bool:
        """Whether this has not been checked yet; from now on it has."""
        new = key not in self.checked
        self.checked.add(key)
        return new

    def network(self, run: Run) -> NetworkFacts:
        """Of a checked run. Nothing is known of networks that are built only when they are trained."""
        data = run.recipe.data
        return self.networks.get((run.recipe.model, data.name, data.fingerprint), NetworkFacts())
