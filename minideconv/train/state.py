"""What a trainer's next step rests on, as arrays by name: weights, buffers, optimizers, and every
random generator in every layer.
"""
import json

import numpy as np

from ..nn import Module
from ..states import random_state, restore_random


class DivergedError(ValueError):
    """A loss or a weight is no longer a finite number: training cannot go on from here."""


def collect(parts: dict) -> dict:
    """The state of named parts as arrays: {"generator/layers.0.weight": ..., ..., "random": JSON}.

    parts: name -> whatever has a state_dict (Modules, optimizers), or an np.random.Generator.
    Raises DivergedError, naming it, for an
    array that is not finite: such a state is not worth keeping.
    """
    holders = {part: holder for part, holder in parts.items() if hasattr(holder, "state_dict")}
    state = {f"{part}/{name}": np.asarray(value)
             for part, holder in holders.items() for name, value in holder.state_dict().items()}
    for name, value in state.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise DivergedError(f"{name} is no longer finite")
    return {**state, "random": json.dumps(random_state(random_generators(parts)))}


def restore(parts: dict, state: dict) -> None:
    """Put the parts back into a state from `collect`. KeyError names what is missing or unknown,
    ValueError a shape that differs.
    """
    for part, holder in parts.items():
        if hasattr(holder, "state_dict"):
            inner = {name.split("/", 1)[1]: value for name, value in state.items() if name.startswith(part + "/")}
            holder.load_state_dict(inner)
    if "random" not in state:
        raise KeyError("the state of the random generators is missing")
    restore_random(random_generators(parts), json.loads(str(state["random"])))


def random_generators(parts: dict) -> dict:
    """Name -> np.random.Generator of all parts: of those that are one, and of every layer of those
    that are Modules.
    """
    found = {name: part for name, part in parts.items() if isinstance(part, np.random.Generator)}
    for name, part in parts.items():
        if isinstance(part, Module):
            found.update({f"{name}/{below}": generator for below, generator in part.generators().items()})
    return found
