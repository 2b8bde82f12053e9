"""The engine: arrays that remember how they were made, and the walk back along that memory. It
knows no operation.

A Tensor made by an operation holds a Node: the operation's inputs and, for each, a function that
turns the gradient of the result into the gradient of that input (a vector-Jacobian product, "vjp").
Nodes point from results to inputs only and no vjp holds its own result, so there are no cycles: the
tape of a loss is freed with the loss.

vjps are written in operations on Tensors. An ordinary backward runs them under no_grad; `grad(...,
create_graph=True)` records them like anything else, and gradients of gradients cost no further
code.
"""
import functools
from typing import Any, Iterable, Iterator

import numpy as np

from .dtypes import floating, plain_array
from .seals import Memory
from .switches import enable_grad, no_grad, switches


def _data(value) -> np.ndarray:
    """What Tensor(value) holds: Python numbers and lists of them become float32."""
    if isinstance(value, Tensor):
        raise TypeError("data must be an array or numbers, but is a Tensor: use .detach() for the same array off "
                        "the tape")
    array = plain_array(value)
    return array if isinstance(value, (np.ndarray, np.generic)) or array.dtype.kind == "b" else array.astype(np.float32)


class Tensor:
    """An ndarray (float32 or float64 where gradients are wanted) and, if it was computed, how.

    data: a plain ndarray is kept as it is (not copied; another byte order or a subclass is
    converted); Python numbers and lists of them become float32. requires_grad: whether `backward`
    should leave the gradient in `.grad`, an ndarray of the data's shape and dtype. Raises TypeError
    for what holds no numbers and for integers that are to require a gradient.

    The array has two doors. `.data` (as `.numpy()` and np.asarray) is the user's: whoever has it
    may write, and from then on the tape watches. Any change of an array between the operation that
    used it and the walk back (an entry, a slice, a fill, an optimizer's step, through whatever view
    of its memory) is a TapeError, as is a rebound `.data`. `.array` is the engine's: a promise not
    to write and not to hand it on, which costs nothing. Operators, comparisons and the methods that
    are operations (`sum`, `reshape`, ...) are bound at the end of ops.py, NumPy's functions in
    numpy_calls.py.
    """
    __slots__ = ("array", "memory", "grad", "node", "_requires_grad", "__weakref__")

    def __init__(self, data: Any, requires_grad: bool = False):
        self.array = plain_array(data) if isinstance(data, np.ndarray) else _data(data)
        self.memory, self.grad, self.node, self._requires_grad = Memory(public=True), None, None, False
        if requires_grad:
            self.requires_grad = True

    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: self.array.dtype)
    ndim = property(lambda self: self.array.ndim)
    size = property(lambda self: self.array.size)

    @property
    def data(self) -> np.ndarray:
        """The array itself, to read or to write. May be rebound to another one."""
        if not self.memory.public:
            self.memory.publish()
        return self.array

    @data.setter
    def data(self, value: Any):
        array = _data(value)
        if self.requires_grad and array.dtype.kind != "f":
            raise TypeError("the data of a Tensor that requires a gradient must be float32 or float64; got "
                            f"{array.dtype}")
        self.array, self.memory = array, Memory(public=True)

    def own(self, array: np.ndarray) -> None:
        """Hold another array, one of the engine's that nobody else has: `.data = array` without the watch on it."""
        self.array, self.memory = array, Memory(public=False)

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are wanted, of this Tensor or of what it was computed from. Only
        float32 and float64 can.
        """
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, flag: bool):
        if flag and self.array.dtype.kind != "f":
            raise TypeError(f"only float32 and float64 data can require a gradient; got {self.dtype}: convert it "
                            "with .astype(np.float32)")
        self._requires_grad = bool(flag)

    def __len__(self):
        return len(self.array)

    def __iter__(self) -> "Iterator[Tensor]":
        if self.ndim == 0:
            raise TypeError("a Tensor with no axes cannot be iterated over: .item() is its number")
        return (self[place] for place in range(len(self)))

    def __array__(self, dtype=None, copy=None):
        if copy:
            return np.array(self.array, dtype)
        if copy is False and dtype not in (None, self.dtype):
            raise ValueError(f"a Tensor of {self.dtype} cannot be read as {np.dtype(dtype)} without a copy")
        return np.asarray(self.data, dtype)

    def __repr__(self):
        origin = f", from {self.node.name}" if self.node else ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({np.array2string(self.array, separator=', ', prefix='Tensor(')}, {self.dtype}{origin})"

    def __format__(self, spec: str) -> str:
        return format(self._only("a format like " + repr(spec)), spec) if spec else str(self)

    def __bool__(self):
        return bool(self._only("bool()"))

    def __float__(self):
        return float(self._only("float()"))

    def __int__(self):
        return int(self._only("int()"))

    def _only(self, what):
        if self.size != 1:
            raise ValueError(f"{what} needs a Tensor with one entry; this one has shape {self.shape}")
        return self.array.item()

    def item(self) -> "float | int | bool":
        """The one number of a Tensor of size 1, as a Python number; ValueError for any other size.
        """
        return self._only("item()")

    def numpy(self) -> np.ndarray:
        """The array itself, not a copy."""
        return self.data

    def detach(self) -> "Tensor":
        """A Tensor of the same array that no tape knows: gradients stop here."""
        return engine_tensor(self.array, self.memory)

    def backward(self, gradient: Any = None, inputs: "Iterable[Tensor] | None" = None) -> None:
        """Add the gradient of this Tensor to `.grad` of every leaf that requires one, or only of
        `inputs` where given.

        gradient: the weight of each entry, of this Tensor's shape; may be left out for a single
        entry (then it is 1). What leads to no wanted input is not computed. May be called again:
        gradients add up. Raises ValueError for a wrong shape, for a Tensor that nothing was
        recorded for, TapeError for changed arrays.
        """
        if not self.requires_grad:
            raise ValueError("backward() needs a Tensor computed from inputs with requires_grad=True (outside no_grad)")
        taken = set()
        for tensor, g in _walk(self, gradient, inputs, create_graph=False).items():
            if tensor.grad is not None:
                tensor.grad = np.asarray(tensor.grad + g.array)         # the sum of two without axes is no array
            elif g.memory.public or g.memory in taken or not g.array.flags.writeable:
                tensor.grad = np.array(g.array)
            else:
                tensor.grad = g.array               # nobody else has it: no copy
            taken.add(g.memory)


def engine_tensor(array: np.ndarray, memory: "Memory | None" = None) -> Tensor:
    """A Tensor of the engine's own array: new, or in memory that the engine knows."""
    tensor = Tensor.__new__(Tensor)             # what the engine made needs no checks
    tensor.array, tensor.memory = array, Memory(public=False) if memory is None else memory
    tensor.grad, tensor.node, tensor._requires_grad = None, None, False
    return tensor


def parameter(array: np.ndarray) -> Tensor:
    """A Tensor to be trained, of a new array that nobody else has."""
    tensor = engine_tensor(array)
    tensor.requires_grad = True
    return tensor


def as_tensor(value: Any, like: "Tensor | None" = None) -> Tensor:
    """`value` as a Tensor. Beside a floating `like`, numbers, lists and arrays of integers take its
    dtype, so that float32 stays float32.

    Beside integers a whole Python number takes their dtype (ValueError if it does not fit), a
    fraction their floating one.
    """
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, (np.ndarray, np.generic, int, float, list, tuple)):
        raise TypeError(f"expected a Tensor, an array or a number; got {type(value).__name__}")
    if like is None:
        return Tensor(value)
    array = plain_array(value)
    python = not isinstance(value, (np.ndarray, np.generic)) or isinstance(value, float)
    if like.dtype.kind == "f":
        return Tensor(array.astype(like.dtype) if python or array.ndim == 0 or array.dtype.kind in "iub" else array)
    if python and array.dtype.kind == "f":
        return Tensor(array.astype(floating(like.dtype)))
    if isinstance(value, int) and like.dtype.kind in "iu":
        if not np.iinfo(like.dtype).min <= value <= np.iinfo(like.dtype).max:
            raise ValueError(f"{value} does not fit a Tensor of {like.dtype}: convert it, e.g. with "
                             ".astype(np.float32)")
        return Tensor(array.astype(like.dtype))
    return Tensor(array)


def as_floating(value: Any, like: "Tensor | None" = None) -> Tensor:
    """as_tensor, and integers and booleans in the dtype that their fractions are computed in:
    float32, or float64 for 64-bit integers.
    """
    if like is not None and isinstance(value, int):
        value = float(value)
    tensor = as_tensor(value, like)
    return tensor if tensor.dtype.kind == "f" else engine_tensor(tensor.array.astype(floating(tensor.dtype)))


def _history(output, wanted):
    """The Tensors on a path from `wanted` (None: every leaf that requires a gradient) to `output`,
    oldest first; and the wanted ones.
    """
    seen, stack = {output}, [output]
    while stack:
        node = stack.pop().node
        for tensor in node.inputs if node else ():
            if tensor.requires_grad and tensor not in seen:
                seen.add(tensor)
                stack.append(tensor)
    if wanted is None:
        wanted = {tensor for tensor in seen if tensor.node is None}
    on_path, ordered = set(), sorted(seen, key=lambda tensor: tensor.node.order if tensor.node else 0)
    for tensor in ordered:
        if tensor in wanted or (tensor.node and any(i in on_path for i in tensor.node.inputs)):
            on_path.add(tensor)
    return [tensor for tensor in ordered if tensor in on_path], wanted


def _seed(output, gradient) -> Tensor:
    """The gradient that a walk begins with, as a Tensor of the output's shape and dtype."""
    if gradient is None:
        if output.size != 1:
            raise ValueError("gradient must be given for an output with more than one entry; the output has shape "
                             f"{output.shape}")
        gradient = np.ones(output.shape, output.dtype)
    gradient = as_tensor(gradient, output)
    if gradient.shape != output.shape:
        raise ValueError(f"gradient must have the output's shape {output.shape}; got {gradient.shape}")
    if gradient.dtype != output.dtype:
        gradient = gradient.astype(output.dtype)
    return gradient


def _walk(output, gradient, wanted, create_graph) -> dict:
    """Gradients of `output` with respect to the wanted Tensors that it depends on: newest first,
    each node once.
    """
    path, wanted = _history(output, None if wanted is None else set(wanted))
    on_path, pending, arrived = set(path), {output: _seed(output, gradient)}, {}
    observer = switches.observer[-1]
    with enable_grad() if create_graph else no_grad():
        while path:
            tensor = path.pop()
            g = pending.pop(tensor, None)
            if g is None:
                continue
            if tensor in wanted:
                arrived[tensor] = g
            node = tensor.node
            if node is None:
                continue
            node.check()
            for parent, vjp in zip(node.inputs, node.vjps, strict=True):
                if parent in on_path:
                    part = vjp(g) if observer is None else observer(node.name, "backward", functools.partial(vjp, g))
                    if part.array.shape != parent.array.shape or part.array.dtype != parent.array.dtype:
                        raise ValueError(f"a vjp of {node.name} returned {part.dtype} {part.shape} for an input of "
                                         f"{parent.dtype} {parent.shape}")
                    pending[parent] = part if parent not in pending else pending[parent] + part
    return arrived


def grad(output: Tensor, inputs: "Tensor | Iterable[Tensor]", gradient: Any = None, create_graph: bool = False,
         allow_unused: bool = False) -> tuple:
    """The gradients of `output` with respect to each of `inputs` (Tensors that require one), as a
    tuple of Tensors.

    gradient: the weight of each entry of `output`, of its shape; may be left out for a single
    entry. create_graph: record the computation, so that the gradients can be differentiated again.
    allow_unused: give None for an input that `output` does not depend on, instead of raising
    ValueError.
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    for place, tensor in enumerate(inputs):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"inputs[{place}] must be a Tensor; got {type(tensor).__name__}")
        if not tensor.requires_grad:
            raise ValueError(f"inputs[{place}], shape {tensor.shape}, does not require a gradient: make it with "
                             "requires_grad=True")
    found = _walk(output, gradient, inputs, create_graph) if output.requires_grad else {}
    for place, tensor in enumerate(inputs):
        if tensor not in found and not allow_unused:
            raise ValueError(f"inputs[{place}], shape {tensor.shape}, is not used by the output: allow_unused=True "
                             "gives None for it")
    return tuple(found.get(tensor) for tensor in inputs)
