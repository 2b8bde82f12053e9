"""Shows where the time of a training step goes: by operation, each way, and what is left over.

The engine asks an observer to run every operation and every vjp (switches.observe). A vjp runs
operations of its own, and these must not be counted twice: an event's *self time* is its time
without the events inside it. All self times of an event and of what it ran go to one row, that of
the outermost event; so the rows, the optimizer and the rest add up to the step's wall time.
"""
import functools
import math
import time
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from .optim import Optimizer
from .switches import observe, recording
from .tensor import Tensor

WARM_UP = 5         # steps before the first one that counts: kernels compile, memory is faulted in
STEPS = 20          # steps that count
SMALL = 1e-3        # rows with less than this share of the time are shown as one


# Arithmetic of the matrix products, two operations for a multiplication and its addition. A convolution of
# kernel (KH, KW, C, O) at OH x OW windows is a product of (N*OH*OW, KH*KW*C) by (KH*KW*C, O); all three members
# of the trio have one count. Taps that fall into the padding are included, as everywhere in this field. A method
# that needs fewer multiplications shows as more GFLOP/s, not as less arithmetic.
PRODUCTS = {
    "conv": lambda result, x, w, *_, window, **__: 2 * len(x) * math.prod(window.features) * w.size,
    "conv_transpose": lambda result, y, w, *_, window, **__: 2 * len(y) * math.prod(window.features) * w.size,
    "conv_kernel": lambda result, x, y, *_, window, **__: 2 * len(x) * math.prod(window.features) * result.size,
    "_matmul": lambda result, a, b, *_: 2 * result.size * a.shape[-1],
}


def arithmetic(name: str, result: np.ndarray, inputs, settings: dict) -> int:
    """Floating-point operations of the primitive `name` on these inputs (Tensors), if it is a
    matrix product; 0 for all others.
    """
    return PRODUCTS[name](result, *inputs, **settings) if name in PRODUCTS else 0


def traffic(result: np.ndarray, given) -> int:
    """Bytes of the arrays that an operation is given and of its result, each counted once; 0 if it
    only looks at them in another shape.
    """
    arrays = [value.array if isinstance(value, Tensor) else value for value in given]
    arrays = {id(array): array for array in arrays if isinstance(array, np.ndarray)}
    if any(np.may_share_memory(result, array) for array in arrays.values()):
        return 0
    return result.nbytes + sum(array.nbytes for array in arrays.values())


@dataclass
class Row:
    """What one operation did in one direction, over all profiled steps."""
    calls: int = 0
    seconds: float = 0.0
    flops: int = 0
    nbytes: int = 0
    parts: dict = field(default_factory=lambda: defaultdict(Row))   # products that ran inside a vjp -> their own Row


@dataclass
class _Event:
    """An operation that is running."""
    inner: float = 0.0          # seconds of the events inside it
    leaf: bool = True           # no event ran inside it so far


class Profile:
    """Adds up operations while `with profile.step():` is entered, once for each step. rows: (name,
    direction) -> Row.
    """

    clock = staticmethod(time.perf_counter)

    def __init__(self):
        self.rows, self.seconds, self.steps = defaultdict(Row), 0.0, 0
        self.optimizer = Row()
        self._running, self._row = [], None

    def observe(self, name, direction, call):
        """The observer of switches.observe: runs the call and notes its self time."""
        outermost = not self._running
        if outermost:
            # The walk back records nothing; what it runs outside of any vjp sums gradients that meet in one Tensor.
            in_walk = direction == "forward" and not recording()
            key = ("sums where gradients meet", "backward") if in_walk else (name.lstrip("_"), direction)
            self._row = self.rows[key]
            self._row.calls += 1
        else:
            self._running[-1].leaf = False
        own_row = self._row
        event = _Event()
        self._running.append(event)
        start = self.clock()
        try:
            returned = call()
        finally:
            seconds = self.clock() - start
            self._running.pop()
            if self._running:
                self._running[-1].inner += seconds
        is_vjp = isinstance(returned, Tensor)
        result = returned.array if is_vjp else np.asarray(returned[0])
        rows = [own_row]
        if not is_vjp and name in PRODUCTS and not outermost:
            rows.append(own_row.parts[name.lstrip("_")])
            rows[1].calls += 1
        for row in rows:
            row.seconds += seconds - event.inner
            row.flops += 0 if is_vjp else arithmetic(name, result, call.args, call.keywords)
            row.nbytes += traffic(result, [*call.args, *call.keywords.values()]) if event.leaf else 0
        return returned

    def step(self):
        """Context manager for one step."""
        return _Step(self)

    def run_optimizer(self, update):
        """update() as an optimizer's step: a row of its own."""
        start = self.clock()
        update()
        self.optimizer.seconds += self.clock() - start
        self.optimizer.calls += 1

    @property
    def rest(self) -> float:
        """Seconds of the steps that passed outside every operation and optimizer: Python, the
        tape, making the batch.
        """
        return self.seconds - self.optimizer.seconds - sum(row.seconds for row in self.rows.values())

    def table(self) -> str:
        """The profile as text, the slowest first, per step."""
        lines = [f"where the time of a step goes (mean of {self.steps} steps)", "",
                 f"{'operation':<28}{'direction':<10}{'calls':>6}{'ms':>9}{'share':>8}{'GFLOP/s':>9}{'MB':>8}{'GB/s':>7}"]
        small = [row for row in self.rows.values() if row.seconds < SMALL * self.seconds]
        for (name, direction), row in sorted(self.rows.items(), key=lambda item: -item[1].seconds):
            if row in small:
                continue
            lines.append(self._line(name, direction, row))
            if direction == "backward":
                inside = sorted(row.parts.items(), key=lambda item: -item[1].seconds)
                lines += [self._line(f"  of it {inner}", "", part) for inner, part in inside]
        if small:
            sums = [sum(getattr(row, name) for row in small) for name in ("calls", "seconds", "flops", "nbytes")]
            together = Row(*sums)
            lines.append(self._line(f"{len(small)} smaller rows", "", together))
        products = sum(row.flops for row in self.rows.values())
        whole = Row(self.steps, self.seconds, products)
        lines += [self._line("optimiser updates", "", self.optimizer),
                  self._line("the rest", "", Row(self.steps, self.rest)),
                  self._line("the whole step", "", whole)]
        return "\n".join(lines) + "\n\n" + EXPLANATION.format(gflop=products / self.steps / 1e9)

    def _line(self, name, direction, row):
        speed = f"{row.flops / row.seconds / 1e9:9.1f}" if row.flops and row.seconds else " " * 9
        flow = ""
        if row.nbytes and row.seconds:
            flow = f"{row.nbytes / self.steps / 1e6:8.1f}{row.nbytes / row.seconds / 1e9:7.1f}"
        return (f"{name:<28}{direction:<10}{row.calls / self.steps:6.3g}{1e3 * row.seconds / self.steps:9.3f}"
                f"{row.seconds / self.seconds:8.1%}{speed}{flow}").rstrip()


EXPLANATION = """\
calls, ms, MB: per step. An operation's backward row is the time of its gradients, with all the operations that
these run ("of it": matrix products among them; the same time again, not to be added). GFLOP/s: arithmetic of matrix
products only, {gflop:.2f} GFLOP in all, 2*N*OH*OW*KH*KW*C*O for each convolution; compare it with the machine's rate
in `minideconv bench`. MB: arrays given and returned; an operation without a product can be no faster than memory
delivers them (GB/s). The rest: Python itself, the tape and its checks, batch statistics, latents, making the batch."""


class _Step:
    def __init__(self, profile):
        self.profile, self.watch = profile, observe(profile.observe)

    def __enter__(self):
        self.watch.__enter__()
        self.start = self.profile.clock()

    def __exit__(self, *error):
        self.profile.seconds += self.profile.clock() - self.start
        self.profile.steps += error[0] is None
        self.watch.__exit__(*error)


class profiled:
    """Context manager: steps of `trainer` after the warm-up are profiled, then show(text) is
    called once.

    trainer: has step(), and its optimizers as attributes. Its and their step() are wrapped on
    these objects alone and put back: training goes on unobserved, and without a profile it pays
    nothing.
    """

    def __init__(self, trainer, show, steps: int = STEPS, warm_up: int = WARM_UP):
        self.trainer, self.show, self.steps, self.left = trainer, show, steps, warm_up + steps
        self.optimizers = [value for value in vars(trainer).values() if isinstance(value, Optimizer)]
        self.profile = Profile()

    def __enter__(self):
        self.trainer.step = self._step
        return self.profile

    def _step(self):
        self.left -= 1
        if self.left >= self.steps:
            return type(self.trainer).step(self.trainer)
        for optimizer in self.optimizers:
            plain = type(optimizer).step
            update = functools.partial(plain, optimizer)
            optimizer.step = functools.partial(self.profile.run_optimizer, update)
        try:
            with self.profile.step():
                losses = type(self.trainer).step(self.trainer)
        finally:
            for optimizer in self.optimizers:
                del optimizer.step
        if self.left == 0:
            self._finish()
        return losses

    def _finish(self):
        del self.trainer.step
        self.left = -1
        if self.profile.steps:
            self.show(self.profile.table())
        else:
            self.show("no profile: the run ended within the first steps, which are not profiled; "
                      f"give at least {WARM_UP + 1} --steps")

    def __exit__(self, *error):
        if self.left >= 0:
            self._finish()
