"""Optimizers: what to do with a gradient. They change each parameter's array in place.

A tape that still needs the old values notices. Parameters whose .grad is None are left alone, their
state too. weight_decay is L2, added to the gradient (torch.optim.Adam's, not AdamW's).
"""
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from . import kernels
from .kernels.reference import AdamStep
from .states import fitting
from .tensor import Tensor

Parameters = Tensor | Iterable[Tensor]


class Optimizer:
    """What all optimizers share: the list of parameters, their state arrays, and how to save them.

    params: Tensors of float32 or float64, each once, in an order that stays (they are known by place).
    Raises TypeError for what is no Tensor or no number, ValueError for what cannot be trained and
    for numbers out of their range.
    """

    state_names: tuple[str, ...] = ()       # one array of the parameter's shape each, zero at first

    def __init__(self, params: Parameters, lr: float, weight_decay: float):
        self.params = _checked(params)
        self.lr, self.weight_decay = _number("lr", lr), _number("weight_decay", weight_decay)
        self.steps = np.zeros(len(self.params), np.int64)           # how often each parameter was moved
        self.state = [{name: np.zeros(p.shape, p.dtype) for name in self.state_names} for p in self.params]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.params:
            p.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient.

        Raises ValueError where a gradient's shape or dtype is not its parameter's, or where these
        are not what they were when the optimizer was made; nothing moves then.
        """
        moved = [place for place, p in enumerate(self.params) if p.grad is not None]
        for place in moved:
            self._check(place, self.params[place])
        for place in moved:
            p = self.params[place]
            if not (p.array.flags.c_contiguous and p.array.flags.writeable):
                p.own(np.array(p.array, order="C"))
            self.steps[place] += 1
            p.memory.write()
            self._update(p.array, p.grad, self.state[place], int(self.steps[place]))

    def _check(self, place: int, p: Tensor) -> None:
        if not isinstance(p.grad, np.ndarray):
            raise TypeError(f"the gradient of params[{place}] must be an array; got {type(p.grad).__name__}")
        if p.grad.shape != p.shape or p.grad.dtype != p.dtype:
            raise ValueError(f"params[{place}]: a gradient of {p.grad.dtype} {p.grad.shape} does not fit its parameter "
                             f"of {p.dtype} {p.shape}")
        for name, array in self.state[place].items():
            if array.shape != p.shape or array.dtype != p.dtype:
                raise ValueError(f"params[{place}] is {p.dtype} {p.shape} now, but its {name} is {array.dtype} "
                                 f"{array.shape}: make a new optimizer after replacing a parameter's data")

    def _update(self, p: np.ndarray, g: np.ndarray, state: dict[str, np.ndarray], step: int) -> None:
        """Move p, a C-contiguous array, in place, by its gradient g; this is its `step`th move, from 1."""
        raise NotImplementedError(f"{type(self).__name__} must define _update")

    def state_dict(self) -> dict[str, Any]:
        """Copies of the rate and of all that steps change: {"lr", "steps", "0.mean", ...}.

        Everything else that `step` depends on is what the constructor was given.
        """
        arrays = {f"{place}.{name}": array.copy()
                  for place, state in enumerate(self.state) for name, array in state.items()}
        return {"lr": self.lr, "steps": self.steps.copy(), **arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state_dict; nothing changes before all fits.

        Raises KeyError for missing or unknown keys, ValueError for a shape or a rate out of its
        range, TypeError for what are no numbers.
        """
        mine = {key: np.asarray(value) for key, value in self.state_dict().items()}
        fitting("state of another optimizer", mine, state)
        self.lr = _number("lr", float(state["lr"]))
        self.steps[...] = state["steps"]
        for place, own in enumerate(self.state):
            for name, array in own.items():
                array[...] = state[f"{place}.{name}"]


class SGD(Optimizer):
    """p -= lr * g; with momentum, velocity = momentum * velocity + g and p -= lr * velocity.

    PyTorch's form (Sutskever et al. 2013); nesterov: p -= lr * (g + momentum * velocity).
    Raises ValueError for a negative rate, momentum outside [0, 1), nesterov without momentum.
    """

    def __init__(self, params: Parameters, lr: float, momentum: float = 0, nesterov: bool = False,
                 weight_decay: float = 0):
        self.momentum, self.nesterov = _number("momentum", momentum, below=1), bool(nesterov)
        if nesterov and not momentum:
            raise ValueError("nesterov=True needs a momentum above 0")
        self.state_names = ("velocity",) if momentum else ()
        super().__init__(params, lr, weight_decay)

    def _update(self, p, g, state, step):
        g = g + self.weight_decay * p if self.weight_decay else g
        if self.momentum:
            velocity = state["velocity"]
            velocity *= self.momentum
            velocity += g
            g = g + self.momentum * velocity if self.nesterov else velocity
        p -= self.lr * g


class Adam(Optimizer):
    """p -= lr * mhat / (sqrt(vhat) + eps), with running means m of g and v of g ** 2.

    Kingma and Ba 2015, algorithm 1: mhat and vhat are corrected for their start at zero, by how often
    this parameter was moved (as PyTorch does). betas: how slowly m and v forget.
    Raises ValueError for a negative rate or eps, betas outside [0, 1).
    """
    state_names = ("mean", "square")

    def __init__(self, params: Parameters, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0):
        if not isinstance(betas, (tuple, list)):
            raise TypeError(f"betas must be two numbers in [0, 1); got {betas!r}")
        if len(betas) != 2:
            raise ValueError(f"betas must be two numbers in [0, 1); got {betas!r}")
        self.betas = _number("betas[0]", betas[0], below=1), _number("betas[1]", betas[1], below=1)
        self.eps = _number("eps", eps)
        super().__init__(params, lr, weight_decay)

    def _update(self, p, g, state, step):
        beta1, beta2 = self.betas
        numbers = AdamStep(self.lr, beta1, beta2, self.eps, self.weight_decay, 1 - beta1 ** step, 1 - beta2 ** step)
        kernels.active().adam(p, g, state["mean"], state["square"], numbers)


def _checked(params: Parameters) -> list[Tensor]:
    """The parameters as a list; errors as Optimizer says."""
    if isinstance(params, (set, frozenset)) or not isinstance(params, (Tensor, Iterable)):
        raise TypeError(f"params must be a Tensor or several in an order, such as net.parameters(); got a "
                        f"{type(params).__name__}")
    params = [params] if isinstance(params, Tensor) else list(params)
    if not params:
        raise ValueError("params must name at least one Tensor; got none")
    for place, p in enumerate(params):
        if not isinstance(p, Tensor):
            raise TypeError(f"params[{place}] must be a Tensor; got {type(p).__name__}")
        if p.dtype.kind != "f":
            raise TypeError(f"params[{place}] must be float32 or float64; got {p.dtype}")
        if p.node is not None:
            raise ValueError(f"params[{place}] was computed, by {p.node.name}, and never gets a gradient: make "
                             f"a parameter of its values, Tensor(array, requires_grad=True)")
    if len({id(p) for p in params}) < len(params):
        raise ValueError("params names a parameter twice: it would be moved twice at each step")
    return params


def _number(name: str, value: Any, below: float = np.inf) -> float:
    """The value as a float in [0, below); TypeError for no number, ValueError for another."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number; got {value!r}")
    if not 0 <= value < below:
        allowed = "be a number, at least 0" if below == np.inf else f"lie in [0, {below})"
        raise ValueError(f"{name} must {allowed}; got {value!r}")
    return float(value)
