"""The engine: arrays that remember how they were made, and the walk back along that memory. It knows no operation.

A Tensor made by an operation holds a Node: the operation's inputs and, for each, a function that turns the gradient of the
result into the gradient of that input (a vector-Jacobian product, "vjp"). Nodes point from results to inputs only and no vjp holds its
own result, so there are no cycles: the tape of a loss is freed with the loss.

vjps are written in operations on Tensors. An ordinary backward runs them under no_grad; `grad(..., create_graph=True)`
records them like anything else, and gradients of gradients cost no further code.
"""
import functools
import inspect
import itertools
import threading

import numpy as np

PRIMITIVES = {}                     # name -> operation, everything that @primitive has made
_state = threading.local()          # .recording, .observer: per thread
_creation = itertools.count(1)      # a node's inputs are older than the node: creation order is a topological order
_EXACT = 1 << 14                    # entries up to which a seal holds the whole array
_SAMPLE = 509                       # entries of a larger one that it holds


class TapeError(RuntimeError):
    """An array that a live tape depends on was changed or replaced before the walk back."""


class no_grad:
    """Context manager: operations inside are not recorded (in this thread)."""

    def __enter__(self):
        self.former, _state.recording = recording(), False

    def __exit__(self, *error):
        _state.recording = self.former


class enable_grad(no_grad):
    """Context manager: operations inside are recorded, also within a no_grad."""

    def __enter__(self):
        self.former, _state.recording = recording(), True


def recording() -> bool:
    """Whether operations are being recorded in this thread."""
    return getattr(_state, "recording", True)


class observe:
    """Context manager: observer(name, direction, call) is asked to run every operation ("forward") and vjp ("backward") of this thread.

    call is a functools.partial: the observer returns call(), and may look at call.args (the inputs, or the gradient) and call.keywords (settings).
    """

    def __init__(self, observer):
        self.observer = observer

    def __enter__(self):
        self.former, _state.observer = getattr(_state, "observer", None), self.observer

    def __exit__(self, *error):
        _state.observer = self.former


class Tensor:
    """An ndarray (float32 or float64 where gradients are wanted) and, if it was computed, how.

    data: an ndarray is kept as it is (not copied); Python numbers and lists of them become float32.
    requires_grad: whether `backward` should leave the gradient in `.grad`, an ndarray of the data's shape and dtype.
    Operators and the methods that are operations (`sum`, `reshape`, ...) are bound at the end of ops.py.
    """
    __slots__ = ("data", "grad", "requires_grad", "node", "__weakref__")
    __array_ufunc__ = None          # so that ndarray * Tensor calls Tensor.__rmul__

    def __init__(self, data, requires_grad: bool = False):
        if isinstance(data, Tensor):
            raise TypeError("data must be an array or numbers, but is a Tensor: use .detach() for the same array off the tape")
        array = data if isinstance(data, np.ndarray) else np.asarray(data)
        if array is not data and not isinstance(data, np.generic) and array.dtype.kind in "fiu":
            array = array.astype(np.float32)
        if array.dtype.kind not in "fiub" or (array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8)):
            raise TypeError(f"data must be float32, float64, integers or booleans; got {array.dtype}")
        if requires_grad and array.dtype.kind != "f":
            raise TypeError(f"only float32 and float64 data can require a gradient; got {array.dtype}: convert it with .astype(np.float32)")
        self.data, self.grad, self.requires_grad, self.node = array, None, bool(requires_grad), None

    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)

    def __len__(self):
        return len(self.data)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.data, dtype) if copy else np.asarray(self.data, dtype)

    def __repr__(self):
        origin = f", from {self.node.name}" if self.node else ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({np.array2string(self.data, separator=', ', prefix='Tensor(')}, {self.dtype}{origin})"

    def numpy(self) -> np.ndarray:
        """The array itself, not a copy."""
        return self.data

    def item(self) -> float:
        """The one number of a Tensor of size 1, as a Python number; ValueError for any other size."""
        if self.data.size != 1:
            raise ValueError(f"item() needs a Tensor with one entry; this one has shape {self.shape}")
        return self.data.item()

    def detach(self) -> "Tensor":
        """A Tensor of the same array that no tape knows: gradients stop here."""
        return Tensor(self.data)

    def backward(self, gradient=None, inputs=None) -> None:
        """Add the gradient of this Tensor to `.grad` of every leaf that requires one, or only of `inputs` where given.

        gradient: the weight of each entry, of this Tensor's shape; may be left out for a single entry (then it is 1).
        What leads to no wanted input is not computed. May be called again: gradients add up.
        Raises ValueError for a wrong shape, for a Tensor that nothing was recorded for, TapeError for changed arrays.
        """
        if not self.requires_grad:
            raise ValueError("backward() needs a Tensor computed from inputs with requires_grad=True (outside no_grad)")
        for tensor, g in _walk(self, gradient, inputs, create_graph=False).items():
            tensor.grad = np.array(g.data) if tensor.grad is None else np.asarray(tensor.grad + g.data)     # a sum of 0-d arrays is no array


class Node:
    """One recorded operation: its inputs, a vjp for each (None where no gradient is wanted), and seals on the inputs' arrays."""
    __slots__ = ("name", "inputs", "vjps", "order", "seals", "settings")

    def __init__(self, name, inputs, vjps, settings):
        self.name, self.inputs, self.vjps, self.settings = name, inputs, vjps, settings
        self.order = next(_creation)
        self.seals = [(tensor.data, _fingerprint(tensor.data)) for tensor in inputs]

    def check(self):
        """TapeError if an input's array is not what it was when the operation ran."""
        for place, (tensor, (array, seal)) in enumerate(zip(self.inputs, self.seals)):
            if tensor.data is not array or _fingerprint(array) != seal:
                how = "replaced" if tensor.data is not array else "changed in place"
                raise TapeError(f"input {place} of {self.name}, shape {tensor.shape}, was {how} after {self.name} ran and before the walk back, so "
                                f"its gradient would be wrong: run the forward pass again after changing it")


def _fingerprint(array) -> bytes:
    """The bytes of a small array; of a larger one 509 entries spread over it and the last (every step of an optimiser shows there)."""
    if array.size <= _EXACT:
        return array.tobytes()
    sample = (array.reshape(-1) if array.flags.c_contiguous else array.flat)[::array.size // _SAMPLE]
    return sample.tobytes() + array[(-1,) * array.ndim].tobytes()


def as_tensor(value, like=None) -> Tensor:
    """`value` as a Tensor. Numbers and arrays of integers take the dtype of `like`, so that float32 stays float32."""
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, (np.ndarray, np.generic, int, float, list, tuple)):
        raise TypeError(f"expected a Tensor, an array or a number; got {type(value).__name__}")
    array = np.asarray(value)
    if like is not None and like.dtype.kind == "f" and (array.ndim == 0 or array.dtype.kind in "iub") and array.dtype.kind in "fiub":
        array = array.astype(like.dtype)
    return Tensor(array if isinstance(value, (np.ndarray, np.generic)) or like is not None else value)


def primitive(function):
    """Make an operation of a function (*inputs, **settings) -> (result array, one vjp per input).

    Inputs arrive as Tensors (None stays None where that is an input's default). A vjp takes the gradient of the result, a Tensor, and returns that of its input,
    computed with operations on Tensors; it may use the inputs, never the result (that would be a cycle).
    """
    name = function.__name__
    optional = {place for place, p in enumerate(inspect.signature(function).parameters.values()) if p.default is None}

    @functools.wraps(function)
    def operation(*inputs, **settings):
        like = next((i for i in inputs if isinstance(i, Tensor)), None)
        inputs = [i if isinstance(i, Tensor) or (i is None and place in optional) else as_tensor(i, like) for place, i in enumerate(inputs)]
        observer = getattr(_state, "observer", None)
        if observer is None:
            data, *vjps = function(*inputs, **settings)
        else:
            data, *vjps = observer(name, "forward", functools.partial(function, *inputs, **settings))
        result = Tensor(data if isinstance(data, np.ndarray) else np.asarray(data))
        if recording() and any(i is not None and i.requires_grad for i in inputs):
            kept = [(i, vjp if i.requires_grad else None) for i, vjp in zip(inputs, vjps) if i is not None]
            result.requires_grad = True
            result.node = Node(name, tuple(i for i, _ in kept), tuple(vjp for _, vjp in kept), settings)
        return result

    PRIMITIVES[name] = operation
    return operation


def _history(output, wanted):
    """The Tensors on a path from `wanted` (None: every leaf that requires a gradient) to `output`, oldest first; and the wanted ones."""
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


def _walk(output, gradient, wanted, create_graph) -> dict:
    """Gradients of `output` with respect to the wanted Tensors that it depends on: newest first, each node once."""
    if gradient is None:
        if output.size != 1:
            raise ValueError(f"gradient must be given for an output with more than one entry; the output has shape {output.shape}")
        gradient = np.ones(output.shape, output.dtype)
    gradient = as_tensor(gradient, output)
    if gradient.shape != output.shape:
        raise ValueError(f"gradient must have the output's shape {output.shape}; got {gradient.shape}")
    if gradient.dtype != output.dtype:
        gradient = Tensor(gradient.data.astype(output.dtype))
    path, wanted = _history(output, None if wanted is None else set(wanted))
    on_path, pending, arrived = set(path), {output: gradient}, {}
    observer = getattr(_state, "observer", None)
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
            for parent, vjp in zip(node.inputs, node.vjps):
                if parent in on_path:
                    part = vjp(g) if observer is None else observer(node.name, "backward", functools.partial(vjp, g))
                    if part.shape != parent.shape or part.dtype != parent.dtype:
                        raise ValueError(f"a vjp of {node.name} returned {part.dtype} {part.shape} for an input of {parent.dtype} {parent.shape}")
                    pending[parent] = part if parent not in pending else pending[parent] + part
    return arrived


def grad(output, inputs, gradient=None, create_graph: bool = False, allow_unused: bool = False) -> tuple:
    """The gradients of `output` with respect to each of `inputs` (Tensors that require one), as a tuple of Tensors.

    gradient: the weight of each entry of `output`, of its shape; may be left out for a single entry.
    create_graph: record the computation, so that the gradients can be differentiated again.
    allow_unused: give None for an input that `output` does not depend on, instead of raising ValueError.
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    for place, tensor in enumerate(inputs):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"inputs[{place}] must be a Tensor; got {type(tensor).__name__}")
        if not tensor.requires_grad:
            raise ValueError(f"inputs[{place}], shape {tensor.shape}, does not require a gradient: make it with requires_grad=True")
    found = _walk(output, gradient, inputs, create_graph) if output.requires_grad else {}
    for place, tensor in enumerate(inputs):
        if tensor not in found and not allow_unused:
            raise ValueError(f"inputs[{place}], shape {tensor.shape}, is not used by the output: allow_unused=True gives None for it")
    return tuple(found.get(tensor) for tensor in inputs)
