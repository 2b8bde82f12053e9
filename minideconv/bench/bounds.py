"""How fast a case could be at the machine's own rates, so that a reader sees what is left.

Each operation takes at least the time of its multiplications at the rate of a large product, and
that of its arrays, read or written once, at the rate of a large copy. Multiplications are those of
the way that the fast kernels take (nine products for sixteen, tiles.py); what Python, the
optimizer and waking a thread cost is left out.
"""
from typing import NamedTuple

import numpy as np

from .. import ops, parallel
from ..profile import arithmetic, traffic
from ..switches import observe
from ..tensor import Tensor, no_grad
from .peers import milliseconds, warm

ROWS, SIDE = 4096, 256      # a tall matrix times a square one that a cache holds
COPIED = 1 << 26            # bytes: more than caches hold


class Rates(NamedTuple):
    """What a machine does at its best, on some number of threads."""
    product: float          # operations per millisecond
    copy: float             # bytes read and written per millisecond


def rates(numpy_product: float) -> Rates:
    """Measured with the threads that are set. numpy_product: GFLOP/s of a large product in NumPy: the faster of the
    two counts.
    """
    a, b = (Tensor(np.random.default_rng(0).random((rows, SIDE), np.float32)) for rows in (ROWS, SIDE))
    source, target = np.ones((2, COPIED // 4), np.float32)
    with no_grad():
        product = _fastest(lambda: ops.matmul(a, b))
    copy = _fastest(lambda: parallel.over_rows(lambda x, y: np.copyto(y, x), source, target))
    return Rates(max(2 * ROWS * SIDE ** 2 / product, 1e6 * numpy_product), 2 * COPIED / copy)


def _fastest(run) -> float:
    warm(run)
    return min(milliseconds(run) for _ in range(4))


def least(run, rates: Rates) -> float:
    """Milliseconds that run() takes at the least."""
    total, events = 0.0, 0

    def observer(name, direction, call):
        nonlocal total, events
        events += 1
        begun = events
        returned = call()
        if events == begun:                     # nothing ran inside it, so this is where numbers were made
            is_vjp = isinstance(returned, Tensor)
            result = returned.array if is_vjp else np.asarray(returned[0])
            products = 0 if is_vjp else _products(name, result, call.args, call.keywords)
            given = traffic(result, [*call.args, *call.keywords.values()])
            total += max(products / rates.product, given / rates.copy)
        return returned
    with observe(observer):
        run()
    return total


def _products(name, result, inputs, settings) -> float:
    """Operations of one primitive's products, as few as the fast kernels need."""
    from ..kernels.fast import tiles  # not before it is needed: it loads Numba
    flops = arithmetic(name, result, inputs, settings)
    if flops and "window" in settings:
        weights = result if name == "conv_kernel" else inputs[1].array
        flops *= tiles.share_of_products(settings["window"], *weights.shape[2:], len(inputs[0]))
    return flops
