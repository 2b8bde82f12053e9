"""What a network is: a Module, whose attributes are found by name, in lists and dicts too.

    Tensor                  a parameter                             in state_dict, named_parameters
    ndarray of numbers      a buffer (running statistics)           in state_dict
    np.random.Generator     where the layer draws from              in generators, random_state
    Module                  a part                                  in modules, searched in its turn
    list, tuple, dict       searched, however deeply nested         "blocks.0.weight", "heads.left.bias"

Nothing is registered: whoever asks looks at the attributes as they are then, so that appending to a
list is enough. What could not be found (a Tensor in a set, or in an object that is none of these)
is refused when it is set.
"""
import json
import random
import reprlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Set, ValuesView
from io import IOBase
from types import FunctionType, MemberDescriptorType, ModuleType
from typing import Any

import numpy as np

from ..states import fitting, random_state, restore_random
from ..storage import Path, load_arrays, save_arrays
from ..tensor import Tensor

CONTAINERS = (list, tuple, dict)                        # what is searched besides Modules
FOUND = (Tensor, np.random.Generator)                   # with Modules: what must not stay hidden


class Module:
    """A layer or a network: calls `forward`, and finds what its attributes hold (see the top of this file)."""

    training = True

    def __init_subclass__(cls, **settings: Any):
        super().__init_subclass__(**settings)
        for name, value in walk(dict(vars(cls)), CONTAINERS):
            if isinstance(value, (Tensor, Module, np.random.Generator)):
                raise TypeError(f"{cls.__name__}.{name} is a {type(value).__name__} of the class, shared by all its "
                                f"instances and found in none: set it in __init__")

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute.

        TypeError where it holds a Tensor, Module or Generator that would not be found.
        """
        self._refuse_hidden(walk({name: value}, CONTAINERS))
        super().__setattr__(name, value)

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        return self.forward(*inputs, **settings)

    def forward(self, *inputs: Any, **settings: Any) -> Any:
        """What the layer computes: Tensors (or arrays) in, Tensors out."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    # ---- what is found

    def _attributes(self) -> dict[str, Any]:
        """The attributes that are searched, by the name they go by."""
        return vars(self)

    def _named(self, *kinds: type) -> dict[str, Any]:
        """Dotted name -> everything of these kinds.

        ValueError where two have one name, as in {"1": ..., 1: ...}.
        """
        found = {}
        for name, value in walk(self):
            text = isinstance(value, np.ndarray) and value.dtype.kind not in "fiubc"       # a setting, no buffer
            if isinstance(value, kinds) and not text:
                if name in found:
                    raise ValueError(f"two parts of this {type(self).__name__} are called {name}: give the dicts in it "
                                     f"keys that differ as text and have no dots")
                found[name] = value
        return found

    def _refuse_hidden(self, parts: Iterable[tuple[str, Any]]) -> None:
        """TypeError for a (name, value) that holds what is found nowhere in this Module."""
        for name, value in parts:
            kind = type(value).__name__
            if isinstance(value, Iterator) and not isinstance(value, IOBase):
                raise TypeError(f"{name} is a {kind}, whose parts come only once and so cannot be found: keep a list")
            if isinstance(value, (np.random.RandomState, random.Random)):
                raise TypeError(f"{name} is a {kind}, whose state would be in no checkpoint: use "
                                f"np.random.default_rng(seed)")
            for part in hidden(value):
                if part is not self and all(part is not known for _, known in walk(self)):
                    raise TypeError(f"{name} is a {kind} and holds a {type(part).__name__} that would not be found: "
                                    f"keep it in an attribute of its own, a list, a tuple or a dict's values")

    def children(self) -> list[tuple[str, "Module"]]:
        """(name, Module) of every part that lies in no other part, in the order of definition."""
        return [(name, part) for name, part in walk(self, CONTAINERS) if isinstance(part, Module)]

    def modules(self) -> list["Module"]:
        """This Module and all below it, each once."""
        return list(_once({"": self, **self._named(Module)}).values())

    def named_parameters(self) -> list[tuple[str, Tensor]]:
        """(name, Tensor) of every parameter, as ("0.weight", ...); a shared one once, under its first name.

        Raises ValueError where two parts have one name, TypeError for what cannot be found in a
        list that has grown.
        """
        self._refuse_hidden((name, value) for name, value in walk(self) if isinstance(value, (Set, deque, Iterator)))
        return list(_once(self._named(Tensor)).items())

    def parameters(self) -> list[Tensor]:
        """Every parameter once."""
        return [tensor for _, tensor in self.named_parameters()]

    # ---- states

    def state_dict(self) -> dict[str, np.ndarray]:
        """Name -> copy of the array, of all parameters and buffers."""
        return {name: np.array(_array(value)) for name, value in self._named(Tensor, np.ndarray).items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over arrays by name, each in its parameter's dtype; nothing changes before all fits.

        Raises KeyError for what is missing or unknown, ValueError for a shape, TypeError for a
        dtype that does not fit.
        """
        own = self._named(Tensor, np.ndarray)
        arrays = fitting("the state is not of this network", own,
                         {name: _array(value) for name, value in state.items()})
        for name, value in own.items():
            if isinstance(value, np.ndarray) and not value.flags.writeable:
                raise ValueError(f"{name} is a read-only buffer, which cannot take over an array")
        for name, value in own.items():
            if isinstance(value, Tensor):
                value.own(arrays[name].astype(value.dtype))
            else:
                value[...] = arrays[name]

    def save(self, path: Path) -> None:
        """Write the state_dict as .npz, atomically. Nothing is pickled."""
        save_arrays(path, self.state_dict())

    def load(self, path: Path) -> None:
        """Read what `save` wrote; errors as in load_state_dict, ValueError for what is no .npz."""
        self.load_state_dict(load_arrays(path))

    def generators(self) -> dict[str, np.random.Generator]:
        """Name -> every random generator, as {"3.rng": ...}; a shared one once, under its first name."""
        return _once(self._named(np.random.Generator))

    def random_state(self) -> dict[str, str]:
        """Name -> state of every generator, as JSON text.

        Kept apart from the state_dict, whose arrays other programs read. Both together decide what
        the network does next.
        """
        return {name: json.dumps(state) for name, state in random_state(self.generators()).items()}

    def load_random_state(self, state: Mapping[str, Any]) -> None:
        """Take over a random_state, by name; nothing changes before all fits.

        Raises KeyError for what is missing or unknown, ValueError for text that is no state of that
        kind of generator.
        """
        restore_random(self.generators(), state)

    # ---- modes

    def train(self, mode: bool = True):
        """Training mode (batch statistics, dropout) for this Module and all below it; gives itself."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self):
        """Evaluation mode (running statistics, no dropout); gives itself."""
        return self.train(False)

    def requires_grad_(self, flag: bool = True):
        """Whether the parameters require gradients; gives itself.

        Nothing else changes: batch norm stays as it is.
        """
        for tensor in self.parameters():
            tensor.requires_grad = bool(flag)
        return self

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        inner = ",\n".join(f"  ({name}): " + repr(part).replace("\n", "\n  ") for name, part in self.children())
        return f"{type(self).__name__}({self.describe()}" + (f"\n{inner}\n)" if inner else ")")

    def describe(self) -> str:
        """The settings that the layer's repr shows."""
        def plain(value):
            return all(map(plain, value)) if isinstance(value, tuple) else isinstance(value, (int, float, str))
        return ", ".join(f"{name}={value}" for name, value in vars(self).items()
                         if name != "training" and not name.startswith("_") and plain(value))


# ---- the search

def walk(holder: Any, enter: tuple = (*CONTAINERS, Module), prefix: str = "",
         around: tuple = ()) -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of all that a Module or container holds, and of what is in that.

    In the order of definition. enter: the kinds that are looked into. What holds itself is not
    entered again.
    """
    if isinstance(holder, Module):
        held = holder._attributes().items()
    else:
        held = holder.items() if isinstance(holder, dict) else enumerate(holder)
    for name, value in held:
        yield f"{prefix}{name}", value
        if isinstance(value, enter) and value is not holder and all(value is not one for one in around):
            yield from walk(value, enter, f"{prefix}{name}.", (*around, holder))


def hidden(value: Any) -> Iterator[Any]:
    """The Tensors, Modules and Generators in a value that `walk` does not find there.

    As far as attributes and entries lead. What a function was defined with (its closure) is not
    looked at: it may be a record that the function keeps.
    """
    if isinstance(value, (*FOUND, Module, list, tuple)):
        return
    seen, stack = {}, list(value) if isinstance(value, dict) else _inside(value)
    while stack:
        part = stack.pop()
        if isinstance(part, (*FOUND, Module)):
            yield part
        elif id(part) not in seen:
            seen[id(part)] = part           # kept, so that no other object gets its id
            stack.extend(_inside(part))


def _inside(value: Any) -> list:
    """What an object holds itself: its entries if it is a collection, and its attributes."""
    if isinstance(value, (str, bytes, int, float, type(None), FunctionType, ModuleType, type)):
        return []
    parts = [getattr(value, "__self__", None), *getattr(value, "__dict__", {}).values()]
    if isinstance(value, Mapping):
        parts += [*value.keys(), *value.values()]
    elif isinstance(value, (list, tuple, Set, ValuesView, deque)):
        parts += value
    elif isinstance(value, np.ndarray) and value.dtype.hasobject:
        parts += value.reshape(-1).tolist()
    for kind in type(value).__mro__:        # __slots__, and what Python's own types hold (functools.partial)
        slots = [name for name, slot in vars(kind).items() if isinstance(slot, MemberDescriptorType)]
        parts += [getattr(value, name, None) for name in slots]
    return parts


# ---- small things

def _once(named: dict[str, Any]) -> dict[str, Any]:
    """The entries without those whose value has come before."""
    firsts = {}
    for name, value in named.items():
        firsts.setdefault(id(value), (name, value))
    return dict(firsts.values())


def _array(value: Any) -> Any:
    return value.array if isinstance(value, Tensor) else value
