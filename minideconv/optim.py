"""Optimisers: what to do with a gradient. They change each parameter's array in place; a tape that
still needs the old values notices.

Parameters whose .grad is None are left alone. weight_decay is L2, added to the gradient
(torch.optim.Adam's, not AdamW's).
"""
import numpy as np

from . import kernels
from .kernels.reference import AdamStep
from .tensor import Tensor


class Optimizer:
    """What all optimisers share: the list of parameters, their state arrays, and how to save them.
    """

    state_names = ()        # one array of the parameter's shape each, zero at first

    def __init__(self, params, lr, weight_decay):
        self.params = [params] if isinstance(params, Tensor) else list(params)
        if not self.params:
            raise ValueError("params must name at least one Tensor; got none")
        for place, p in enumerate(self.params):
            if not isinstance(p, Tensor):
                raise TypeError(f"params[{place}] must be a Tensor; got {type(p).__name__}")
            if p.data.dtype.kind != "f":
                raise TypeError(f"params[{place}] must be float32 or float64; got {p.dtype}")
        if len(set(self.params)) < len(self.params):
            raise ValueError("params names a parameter twice: it would be moved twice at each step")
        for name, value in (("lr", lr), ("weight_decay", weight_decay)):
            if isinstance(value, str) or not np.isscalar(value):
                raise TypeError(f"{name} must be a number; got {value!r}")
            if not 0 <= value < np.inf:
                raise ValueError(f"{name} must be a number, at least 0; got {value!r}")
        self.lr, self.weight_decay, self.steps = lr, weight_decay, 0
        self.state = [{name: np.zeros(p.shape, p.dtype) for name in self.state_names} for p in self.params]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.params:
            p.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient. ValueError where a gradient's shape or dtype is
        not its parameter's.
        """
        moved = [(p, state) for p, state in zip(self.params, self.state, strict=True) if p.grad is not None]
        for p, _ in moved:
            if p.grad.shape != p.shape or p.grad.dtype != p.dtype:
                raise ValueError(f"a gradient of {p.grad.dtype} {p.grad.shape} does not fit its parameter of "
                                 f"{p.dtype} {p.shape}")
        self.steps += 1
        for p, state in moved:
            if not (p.array.flags.c_contiguous and p.array.flags.writeable):
                p.data = np.array(p.array, order="C")
            self._update(p.data, p.grad, state)

    def state_dict(self) -> dict:
        """Copies of all that `step` depends on: {"lr", "steps", "0.momentum", ...}: numbers and
        arrays.
        """
        arrays = {f"{place}.{name}": array.copy()
                  for place, state in enumerate(self.state) for name, array in state.items()}
        return {"lr": self.lr, "steps": self.steps, **arrays}

    def load_state_dict(self, state: dict) -> None:
        """Take over a state_dict. KeyError names missing or unknown keys, ValueError a shape;
        nothing changes before all fits.
        """
        mine = self.state_dict()
        if set(mine) != set(state):
            raise KeyError(f"state of another optimiser: missing {sorted(set(mine) - set(state))}, unknown "
                           f"{sorted(set(state) - set(mine))}")
        for key, value in mine.items():
            if np.shape(value) != np.shape(state[key]):
                raise ValueError(f"{key} must have shape {np.shape(value)}; got {np.shape(state[key])}")
        self.lr, self.steps = float(state["lr"]), int(state["steps"])
        for place, own in enumerate(self.state):
            for name, array in own.items():
                array[...] = state[f"{place}.{name}"]


class SGD(Optimizer):
    """p -= lr * g; with momentum, velocity = momentum * velocity + g and p -= lr * velocity
    (Nesterov: lr * (g + momentum * velocity)).

    PyTorch's form. Raises ValueError for a negative rate, momentum outside [0, 1), nesterov without
    momentum.
    """

    def __init__(self, params, lr, momentum=0, nesterov=False, weight_decay=0):
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1); got {momentum!r}")
        if nesterov and not momentum:
            raise ValueError("nesterov=True needs a momentum above 0")
        self.momentum, self.nesterov = momentum, nesterov
        self.state_names = ("velocity",) if momentum else ()
        super().__init__(params, lr, weight_decay)

    def _update(self, p, g, state):
        g = g + self.weight_decay * p if self.weight_decay else g
        if self.momentum:
            velocity = state["velocity"]
            velocity *= self.momentum
            velocity += g
            g = g + self.momentum * velocity if self.nesterov else velocity
        p -= self.lr * g


class Adam(Optimizer):
    """p -= lr * mhat / (sqrt(vhat) + eps), with running means m of g and v of g ** 2, corrected for
    their start at zero.

    Kingma and Ba 2015, algorithm 1. betas: how slowly m and v forget. Raises ValueError for values
    outside their range.
    """
    state_names = ("mean", "square")

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0):
        if not isinstance(betas, (tuple, list)):
            raise TypeError(f"betas must be two numbers in [0, 1); got {betas!r}")
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must be two numbers in [0, 1); got {betas!r}")
        if not 0 <= eps < np.inf:
            raise ValueError(f"eps must be a number, at least 0; got {eps!r}")
        self.betas, self.eps = tuple(betas), eps
        super().__init__(params, lr, weight_decay)

    def _update(self, p, g, state):
        (beta1, beta2), steps = self.betas, self.steps
        step = AdamStep(self.lr, beta1, beta2, self.eps, self.weight_decay, 1 - beta1 ** steps, 1 - beta2 ** steps)
        kernels.active().adam(p, g, state["mean"], state["square"], step)
