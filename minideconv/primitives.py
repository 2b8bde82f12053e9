"""Operations out of functions: what @primitive adds is the check of the inputs, the result's memory and the tape."""
import functools
import inspect
from typing import Callable

import numpy as np

from .nodes import Node
from .seals import owner
from .switches import switches
from .tensor import Tensor, as_floating, as_tensor, engine_tensor

PRIMITIVES: dict[str, Callable] = {}    # name -> operation, everything that @primitive has made


def _as_inputs(values, convert, optional) -> list:
    """The operands as Tensors, floating ones if one is; None stays None where that is an input's default."""
    like = next((i for i in values if isinstance(i, Tensor)), None)
    inputs = [i if i is None and place in optional else convert(i, like) for place, i in enumerate(values)]
    if len({i.array.dtype.kind == "f" for i in inputs if i is not None}) > 1:
        inputs = [i if i is None else as_floating(i) for i in inputs]
    return inputs


def primitive(function: "Callable | None" = None, *, fractions: bool = False) -> Callable:
    """Make an operation of a function (*inputs, **settings) -> (result array, one vjp per input).

    Tensors are given by position, settings by name. Inputs arrive as Tensors (None stays None where
    that is an input's default), to be read through `.array`; the result is a new array or a view of
    an input's. A vjp takes the gradient of the result, a Tensor, and returns that of its input,
    computed with operations on Tensors; it may use the inputs, never the result (that would be a
    cycle). fractions: the operation needs them, so integers and booleans arrive as floating Tensors
    (the dtype rule of dtypes.py).
    """
    if function is None:
        return functools.partial(primitive, fractions=fractions)
    name, parameters = function.__name__, inspect.signature(function).parameters.values()
    convert = as_floating if fractions else as_tensor
    optional = {place for place, p in enumerate(parameters) if p.default is None and p.kind != p.KEYWORD_ONLY}
    several = any(p.kind == p.VAR_POSITIONAL for p in parameters)
    most = np.inf if several else sum(p.kind != p.KEYWORD_ONLY for p in parameters)

    @functools.wraps(function)
    def operation(*values, **settings) -> Tensor:
        inputs = values
        if len(values) > most:
            raise TypeError(f"{name}{inspect.signature(function)} takes Tensors by position, {most} at most, and "
                            f"settings by name; got {len(values)} by position")
        for place, i in enumerate(values):      # nearly always floating Tensors, to which nothing has to be done
            if not (i.array.dtype.kind == "f" if isinstance(i, Tensor) else i is None and place in optional):
                inputs = _as_inputs(values, convert, optional)
                break
        observer = switches.observer[-1]
        if observer is None:
            data, *vjps = function(*inputs, **settings)
        else:
            data, *vjps = observer(name, "forward", functools.partial(function, *inputs, **settings))
        data = data if isinstance(data, np.ndarray) else np.asarray(data)
        root, memory, wanted = owner(data), None, False
        for i in inputs:
            if i is not None:
                memory = i.memory if owner(i.array) is root else memory
                wanted = wanted or i._requires_grad
        result = engine_tensor(data, memory)
        # Whole numbers have no slope: a result of integers or booleans is never on the tape.
        if wanted and switches.recording[-1] and data.dtype.kind == "f":
            # An input that was left out at the end has a vjp all the same, which nobody will call.
            pairs = zip(inputs, vjps, strict=False)
            kept = [(i, vjp if i._requires_grad else None) for i, vjp in pairs if i is not None]
            result._requires_grad = True
            result.node = Node(name, *zip(*kept, strict=True), settings)
        return result

    PRIMITIVES[name] = operation
    return operation
