"""States by name: what is taken over from one is checked first, so that nothing changes before all fits.

Networks, optimizers and trainers share this. A random generator's state is made of plain numbers,
which JSON can hold; nothing is pickled.
"""
import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def refuse_other_names(what: str, own: Mapping, given: Mapping) -> None:
    """KeyError, saying `what` is wrong, unless both have the same names."""
    if set(own) != set(given):
        missing, unknown = sorted(set(own) - set(given)), sorted(set(given) - set(own), key=str)
        raise KeyError(f"{what}: missing {missing}, unknown {unknown}")


def fitting(what: str, own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The given values as arrays, for `own`, which has arrays or Tensors under the same names.

    Raises KeyError for what is missing or unknown, ValueError for a shape, TypeError for a dtype
    that does not fit.
    """
    refuse_other_names(what, own, given)
    arrays = {name: np.asarray(given[name]) for name in own}
    for name, value in own.items():
        if arrays[name].shape != value.shape:
            raise ValueError(f"{name} must have shape {value.shape}; got {arrays[name].shape}")
        if not np.can_cast(arrays[name].dtype, value.dtype, "same_kind"):
            raise TypeError(f"{name} must be numbers that fit into {value.dtype}; got {arrays[name].dtype}")
    return arrays


# ---- random generators

def random_state(generators: Mapping[str, np.random.Generator]) -> dict[str, dict]:
    """Name -> state of each generator. Some kinds keep arrays (Philox, MT19937); they become lists."""
    states = {name: generator.bit_generator.state for name, generator in generators.items()}
    return json.loads(json.dumps(states, default=np.ndarray.tolist))


def restore_random(generators: Mapping[str, np.random.Generator], states: Mapping[str, Any]) -> None:
    """Put generators back into the states of `random_state`, each as it was given or as JSON text.

    Raises KeyError where the names differ, ValueError for what is no state of that kind of
    generator.
    """
    refuse_other_names("the random generators are others", generators, states)
    found = {}
    for name, generator in generators.items():
        kind, state = type(generator.bit_generator), states[name]
        try:
            found[name] = state if isinstance(state, dict) else json.loads(str(state))
            kind().state = found[name]          # a trial
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"{name} must be the state of a {kind.__name__} as JSON; got "
                             f"{str(state)[:60]!r}") from error
    for name, generator in generators.items():
        generator.bit_generator.state = found[name]
