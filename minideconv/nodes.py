"""The tape's links: a Node for every recorded operation, which notices when an array that it holds was changed."""
import itertools

from .seals import Seal

_creation = itertools.count(1)      # a node's inputs are older than the node: creation order is a topological order


class TapeError(RuntimeError):
    """An array that a live tape depends on was changed or replaced before the walk back."""


class Node:
    """One recorded operation: its inputs, a vjp for each (None where no gradient is wanted), and
    seals on the inputs' arrays.
    """
    __slots__ = ("name", "inputs", "vjps", "order", "seals", "settings")

    def __init__(self, name: str, inputs: tuple, vjps: tuple, settings: dict):
        self.name, self.inputs, self.vjps, self.settings = name, inputs, vjps, settings
        self.order = next(_creation)
        self.seals = [Seal(tensor.array, tensor.memory) for tensor in inputs]

    def check(self) -> None:
        """TapeError if an input's array is not what it was when the operation ran."""
        for place, (tensor, seal) in enumerate(zip(self.inputs, self.seals, strict=True)):
            if tensor.array is not seal.array or seal.broken():
                how = "replaced" if tensor.array is not seal.array else "changed in place"
                raise TapeError(f"input {place} of {self.name}, shape {tensor.shape}, was {how} after {self.name} "
                                "ran and before the walk back, so "
                                f"its gradient would be wrong: run the forward pass again after changing it")
