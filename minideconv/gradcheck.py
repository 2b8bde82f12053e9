"""Gradient checks: is what the tape says what the function does? Central differences against vjps,
entry by entry.

The cotangent is random, never all ones: summing the output hides every error that only permutes it.
float64 only: in float32 a difference of 1e-6 drowns in rounding. A kink (ReLU at 0) has no gradient
to compare with, and is reported as one.
"""
import numpy as np

from .dtypes import plain_array
from .tensor import Tensor, as_tensor, enable_grad, grad, no_grad


class GradcheckError(AssertionError):
    """A gradient that is not the function's slope: the message names the input, the entry and both
    numbers.
    """


def _checked_inputs(inputs):
    """The inputs as fresh Tensors; those to be checked require a gradient."""
    tensors = []
    for place, value in enumerate(inputs):
        array = plain_array(value, f"input {place}") if isinstance(value, np.ndarray) else None
        dtype = value.dtype if isinstance(value, Tensor) else None if array is None else array.dtype
        if dtype == np.float32:
            raise TypeError(f"input {place} is float32: gradient checks need float64 (the difference of two near "
                            "values keeps no digits otherwise)")
        if isinstance(value, Tensor):
            tensors.append(Tensor(np.array(value.array, order="C"), requires_grad=value.requires_grad))
        elif dtype == np.float64:
            tensors.append(Tensor(np.array(array, order="C"), requires_grad=True))
        else:
            tensors.append(value)
    if not any(isinstance(t, Tensor) and t.requires_grad for t in tensors):
        raise ValueError("no input requires a gradient: pass float64 arrays, or Tensors with requires_grad=True")
    return tensors


def _outputs(fn, tensors):
    outputs = fn(*tensors)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    for output in outputs:
        if not isinstance(output, Tensor):
            raise TypeError(f"fn must return a Tensor or a tuple of them; got {type(output).__name__}")
    return outputs


def _scalar(fn, tensors, cotangents) -> float:
    """<fn(tensors), cotangents>, the number that is differentiated."""
    with no_grad():
        return float(sum(np.vdot(cotangent, output.data)
                         for cotangent, output in zip(cotangents, _outputs(fn, tensors), strict=True)))


def slopes(fn, tensors, cotangents, tensor, eps):
    """Central differences of <fn(tensors), cotangents> for every entry of `tensor`, and a mask of
    the entries that sit on a kink, or nearer to one than eps.

    On a curve the gap between the slopes to both sides shrinks as the step does: to an eighth with
    an eighth of it. On a kink it stays, and with a kink beside the entry it jumps to nothing once
    the step is too short to reach it.
    """
    middle = _scalar(fn, tensors, cotangents)
    central, kinks = np.zeros(tensor.shape), np.zeros(tensor.shape, bool)

    def sides(index, step):
        value = tensor.data[index]
        moved = []
        for sign in (1, -1):
            tensor.data[index] = value + sign * step
            moved.append((_scalar(fn, tensors, cotangents) - middle) * sign / step)
        tensor.data[index] = value
        return moved
    for index in np.ndindex(tensor.shape):
        right, left = sides(index, eps)
        central[index] = (right + left) / 2
        gap = abs(right - left)
        if gap > 1e-4 * max(1, abs(right), abs(left)) + 1e-13 * abs(middle) / eps:      # more than rounding can make
            for part in (3, 8):             # one of them would be fooled by a kink at one distance
                right, left = sides(index, eps / part)
                kinks[index] |= not gap / (2 * part) < abs(right - left) < 2 * gap / part
    return central, kinks


def gradcheck(fn, *inputs, eps=1e-6, rtol=1e-5, atol=1e-7, rng=None):
    """True if the gradients of fn are its slopes; else GradcheckError, which names input, entry and
    both numbers.

    fn: Tensors -> Tensor or tuple of Tensors, deterministic. inputs: float64 arrays or Tensors
    (those with requires_grad are checked); anything else is handed on as it is. rng:
    np.random.Generator of the random cotangent (default: seed 0). An entry passes where |tape -
    slope| <= atol * max(1, |f|) + rtol * max(|tape|, |slope|). Raises TypeError for float32.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    tensors = _checked_inputs(inputs)
    outputs = _outputs(fn, tensors)
    cotangents = [rng.standard_normal(output.shape) for output in outputs]
    middle = _scalar(fn, tensors, cotangents)
    if middle != _scalar(fn, tensors, cotangents) and middle == middle:
        raise GradcheckError("fn is not deterministic: two calls with equal inputs gave different outputs")
    checked = [(place, t) for place, t in enumerate(tensors) if isinstance(t, Tensor) and t.requires_grad]
    total = sum((output * cotangent).sum() for output, cotangent in zip(outputs, cotangents, strict=True))
    found = grad(total, [t for _, t in checked], allow_unused=True) if total.requires_grad else (None,) * len(checked)
    for (place, tensor), tape in zip(checked, found, strict=True):
        tape = np.zeros(tensor.shape) if tape is None else tape.data
        slope, kinks = slopes(fn, tensors, cotangents, tensor, eps)
        wrong = ~(np.abs(tape - slope) <= atol * max(1, abs(middle)) + rtol * np.maximum(np.abs(tape), np.abs(slope)))
        for mask, what in ((kinks, "sits on a kink or beside one, where differences show no gradient: move the "
                                   "input away from it"), (wrong, "is wrong")):
            if mask.any():
                distance = np.nan_to_num(np.abs(tape - slope), nan=np.inf)
                worst = np.unravel_index(np.argmax(np.where(mask, distance, -1)), mask.shape)
                entry = tuple(int(i) for i in worst)
                raise GradcheckError(f"the gradient for input {place} at entry {entry} {what}: the tape says "
                                     f"{tape[worst]:.10g}, central differences say {slope[worst]:.10g} "
                                     f"({int(mask.sum())} of {mask.size} entries)")
    return True


def gradgradcheck(fn, *inputs, eps=1e-6, rtol=1e-5, atol=1e-7, rng=None):
    """gradcheck of fn's gradients, as a function of the inputs and of the cotangents: are gradients
    of gradients right?
    """
    rng = np.random.default_rng(0) if rng is None else rng
    tensors = _checked_inputs(inputs)
    outputs = _outputs(fn, tensors)
    count = len(inputs)
    cotangents = [rng.standard_normal(output.shape) for output in outputs]

    def gradients(*values):
        values, weights = values[:count], values[count:]
        total = sum((output * weight).sum() for output, weight in zip(_outputs(fn, values), weights, strict=True))
        wanted = [v for v in values if isinstance(v, Tensor) and v.requires_grad]
        found = grad(total, wanted, create_graph=True, allow_unused=True)
        return tuple(Tensor(np.zeros(v.shape)) if g is None else g for v, g in zip(wanted, found, strict=True))

    def recorded(*values):
        with enable_grad():        # the differences are taken under no_grad, but the inner gradients need a tape
            return gradients(*values)
    try:
        return gradcheck(recorded, *tensors, *cotangents, eps=eps, rtol=rtol, atol=atol, rng=rng)
    except GradcheckError as error:
        raise GradcheckError(f"second order (inputs from {count} on are the cotangents): {error}") from None


def adjoint_check(forward, adjoint, x_shape, y_shape=None, *, rtol=1e-12, rng=None):
    """True if <forward(x), y> == <x, adjoint(y)> for random integers x and y: the definition of the
    adjoint (transpose).

    forward, adjoint: linear maps Tensor -> Tensor on float64. y_shape: of forward's result (found
    by calling it where left out). Both sides are sums of the same products; rtol is for their
    rounding where kernels are no integers. Raises GradcheckError with both numbers.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    x = rng.integers(-9, 10, x_shape).astype(np.float64)
    image = as_tensor(forward(Tensor(x))).data
    if y_shape is not None and image.shape != tuple(y_shape):
        raise GradcheckError(f"forward maps {tuple(x_shape)} to {image.shape}, not to y_shape {tuple(y_shape)}")
    y = rng.integers(-9, 10, image.shape).astype(np.float64)
    back = as_tensor(adjoint(Tensor(y))).data
    if back.shape != x.shape:
        raise GradcheckError(f"adjoint maps {y.shape} to {back.shape}, not to {x.shape}")
    left, right = float(np.vdot(image, y)), float(np.vdot(x, back))
    if not abs(left - right) <= rtol * float(np.abs(image * y).sum() + np.abs(x * back).sum()):
        raise GradcheckError(f"not adjoint: <forward(x), y> = {left:.10g}, but <x, adjoint(y)> = {right:.10g}")
    return True
