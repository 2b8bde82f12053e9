"""Training by example: a network, a loss, and batches of inputs with what should come out.

    images, labels = md.data.load("mnist")
    plan = Plan(count=len(images), epochs=4, learning_rate=3e-3)
    network = Classifier((28, 28, 1), rng=np.random.default_rng(0))
    trainer = Supervised(plan, network, classification, Batches(plan, images, labels, prepare=shifted(1)),
                         optim.Adam(network.parameters()), show=filters)
    with open_run("runs/digits", trainer) as run:       # the same lines go on where they were, after any interruption
        run.train()

Besides the files of every run (train/run.py) the folder gets network.npz, and with held-out examples held_out.csv and
health.png, the curves of both.
"""
import json
import zlib
from collections.abc import Callable
from dataclasses import InitVar, asdict, dataclass, fields
from pathlib import Path

import numpy as np

from .. import functional as F
from ..data.augment import random_shift
from ..draw.figure import PALETTE, new_figure, style
from ..nn import Module
from ..optim import Optimizer
from ..tensor import Tensor, no_grad
from . import beside
from .config import Schedule, check_types, read_settings
from .run import Run, read_config, with_steps
from .state import DivergedError, collect, restore
from .table import write_text

FORMAT = 1              # of config.json
PART = 1000             # held-out examples that are looked at together


@dataclass(kw_only=True)
class Plan(Schedule):
    """What decides a supervised run besides its network, its loss and its data.

    Give steps or epochs. Raises TypeError and ValueError, naming the setting, for what is no number or out of range.
    """
    count: int                      # examples; an epoch sees each of them once
    steps: int = None               # in all
    batch_size: int = 128
    seed: int = 0                   # of the batches
    learning_rate: float = 2e-3     # the optimizer's, whatever it was made with
    decay_from: float = 0.0         # share of the schedule after which the rate falls, linearly; 1: never
    decay_to: int = None            # the step at which it would be zero; None: the end
    measure_every: int = None       # steps, held-out figures; None: an epoch
    epochs: InitVar[int] = None

    def __post_init__(self, epochs):
        if (epochs is None) == (self.steps is None):
            raise ValueError(f"a plan needs steps or epochs, one of them; got steps={self.steps}, epochs={epochs}")
        for name in ("steps", "decay_to", "measure_every"):
            if getattr(self, name) is None:
                setattr(self, name, 0)
        check_types(self)
        if not 1 <= self.batch_size <= self.count:
            raise ValueError(f"batch_size must lie in 1 to count, {self.count}; got {self.batch_size}")
        self.steps = self.steps if epochs is None else epochs * self.steps_per_epoch
        self.measure_every = self.measure_every or self.steps_per_epoch
        for name, least, most in (("steps", 1, np.inf), ("learning_rate", 0, np.inf), ("decay_from", 0, 1),
                                  ("measure_every", 1, np.inf), ("decay_to", 0, np.inf), ("seed", 0, np.inf)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} must lie in [{least}, {most}]; got {getattr(self, name)}")
        self.decay_to = max(self.steps, self.decay_to)

    def to_json(self) -> str:
        """The plan as JSON."""
        return json.dumps({"kind": "supervised", "format": FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """The plan that to_json wrote. ValueError, one line, for any other text."""
        settings = read_settings(text, FORMAT)
        if settings.pop("kind", None) != "supervised":
            raise ValueError("not the plan of a supervised run")
        settings.pop("format")
        try:
            return cls(**settings)
        except (TypeError, ValueError) as error:
            raise ValueError(f"not the plan of a supervised run: {error}") from error


class Batches:
    """step -> the batch of that step, a tuple of arrays; every epoch in a new order.

    What it gives depends on the plan's seed and the step alone, so that a run that goes on needs no record of it.
    arrays: of plan.count rows each. prepare(rng, *rows) makes the batch from the rows of a step, with a generator of
    that step's own: scaling, shifts, noise. Left out: the rows as they are. Raises ValueError for another count.
    """

    def __init__(self, plan: Plan, *arrays, prepare: Callable | None = None):
        self.plan, self.arrays, self.prepare = plan, [np.asarray(array) for array in arrays], prepare
        lengths = [len(array) for array in self.arrays]
        if set(lengths) != {plan.count}:
            raise ValueError(f"arrays must have {plan.count} rows each, the plan's count; got {lengths}")
        self.checksum = 0
        for array in self.arrays:
            self.checksum = zlib.crc32(np.ascontiguousarray(array), self.checksum)
        self._epoch, self._order = None, None

    def __call__(self, step: int) -> tuple:
        epoch, place = divmod(step, self.plan.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self.plan.seed, 0, epoch]).permutation(self.plan.count)
        chosen = self._order[place * self.plan.batch_size:(place + 1) * self.plan.batch_size]
        rows = [array[chosen] for array in self.arrays]
        return tuple(rows) if self.prepare is None else self.prepare(
            np.random.default_rng([self.plan.seed, 1, step]), *rows)


class Supervised:
    """A network that learns from batches, and all the state that a run needs to go on as if never interrupted.

    loss(network, batch) gives a Tensor, one number to be made small, or (Tensor, {name: number}) with figures for
    losses.csv. batches: Batches, or any function of the step (from 0) alone. optimizer: of those parameters that shall
    learn; plan.rate(step) is its rate. held_out: a batch, of any length, on which loss and figures are measured every
    plan.measure_every steps. show(network) gives images (N, H, W, C) in [0, 1] that show how far it is, for samples/.
    Both see the network in evaluation mode; it trains in the mode that it is in. What a Run needs is here.
    """
    chart = {"title": "Training"}
    again = "the same program again"

    def __init__(self, plan: Plan, network: Module, loss: Callable, batches: Callable, optimizer: Optimizer, *,
                 held_out: tuple | None = None, show: Callable | None = None):
        self.plan, self.network, self.loss, self.batches = plan, network, loss, batches
        self.optimizer, self.show, self.held_out = optimizer, show, held_out
        self.steps_done = 0
        self.curves, self._recent = [], []

    def step(self) -> dict:
        """One step on the next batch: {"loss": ..., and its figures}. DivergedError where the loss is not finite."""
        self.optimizer.lr = self.plan.rate(self.steps_done)
        self.optimizer.zero_grad()
        loss, figures = self._judge(self.batches(self.steps_done))
        if not np.isfinite(figures["loss"]):
            raise DivergedError(f"the loss is {figures['loss']}")
        loss.backward()
        self.optimizer.step()
        self.steps_done += 1
        self._recent.append(figures)
        if self.steps_done % self.plan.measure_every == 0:
            self._record()
        return figures

    def _judge(self, batch):
        """(the loss, {"loss": its value, and the figures})."""
        found = self.loss(self.network, batch)
        loss, figures = found if isinstance(found, tuple) else (found, {})
        return loss, {"loss": loss.item(), **{name: float(value) for name, value in figures.items()}}

    def measure(self, batch: tuple) -> dict:
        """Loss and figures of the network on a batch of any length, in evaluation mode: {name: mean}."""
        sums, count = {}, len(batch[0])
        with evaluating(self.network):
            for start in range(0, count, PART):
                part = tuple(array[start:start + PART] for array in batch)
                for name, value in self._judge(part)[1].items():
                    sums[name] = sums.get(name, 0.0) + value * len(part[0])
        return {name: total / count for name, total in sums.items()}

    def _record(self):
        """A row of the curves: {"step", the means of the steps since the last row, and "held_out ..." beside each}."""
        row = {"step": self.steps_done}
        held_out = {} if self.held_out is None else self.measure(self.held_out)
        for name in self._recent[0]:
            row[name] = float(np.mean([figures[name] for figures in self._recent]))
            if held_out:
                row[f"held_out {name}"] = held_out[name]
        self.curves.append(row)
        self._recent = []

    def samples(self) -> np.ndarray | None:
        """What `show` makes of the network as it is, None without it; looking changes nothing."""
        with evaluating(self.network):
            return self.show and np.asarray(self.show(self.network))

    def draw_health(self, path) -> None:
        """The curves as PNG, a panel for each figure: training and held-out examples."""
        if self.curves:
            beside.save(path, draw_curves, self.curves)

    def save_networks(self, folder) -> None:
        """network.npz, and held_out.csv: the curves."""
        self.network.save(Path(folder) / "network.npz")
        if self.held_out is not None and self.curves:
            rows = [",".join(self.curves[0]), *(",".join(map(repr, row.values())) for row in self.curves)]
            write_text(Path(folder) / "held_out.csv", "".join(row.replace(" ", "_") + "\n" for row in rows))

    def state_dict(self) -> dict:
        """Everything that the next step depends on but the examples. DivergedError where a weight is not finite."""
        return {**collect({"network": self.network, "optimizer": self.optimizer}), "steps_done": self.steps_done,
                "checksum": getattr(self.batches, "checksum", 0),
                "curves": json.dumps([self.curves, self._recent])}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a state_dict; ValueError for one of other examples, and errors as those of
        Module.load_state_dict.
        """
        if int(state["checksum"]) != getattr(self.batches, "checksum", 0):
            raise ValueError("its examples were others than those given now")
        restore({"network": self.network, "optimizer": self.optimizer}, state)
        self.steps_done = int(state["steps_done"])
        self.curves, self._recent = json.loads(str(state["curves"]))


class evaluating:
    """Inside: evaluation mode, and no tape. Afterwards every layer is in the mode that it was in."""

    def __init__(self, network):
        self.network, self.quiet = network, no_grad()

    def __enter__(self):
        self.modes = [(module, module.training) for module in self.network.modules()]
        self.network.eval()
        self.quiet.__enter__()

    def __exit__(self, *error):
        self.quiet.__exit__(*error)
        for module, training in self.modes:
            module.training = training


def open_run(folder, trainer: Supervised) -> Run:
    """The run of a trainer, to be trained to its plan's total: a new one, or the one that `folder` holds already, at
    its last checkpoint. None: a new folder, runs/run-1, -2, ...

    ValueError where the folder's plan differs in more than its length, or as Run.create and Run.resume.
    """
    if folder is None or not (Path(folder) / "config.json").exists():
        return Run.create(folder, trainer, trainer.plan)
    plan = read_config(folder, Plan)
    for field in fields(Plan):
        was, given = getattr(plan, field.name), getattr(trainer.plan, field.name)
        if was != given and field.name not in ("steps", "decay_to"):
            raise ValueError(f"{folder} was begun with {field.name}={was}; got {given}")
    trainer.plan = with_steps(plan, trainer.plan.steps)
    return Run.resume(folder, trainer, trainer.plan)


# ---- classification

def classification(network, batch) -> tuple[Tensor, dict]:
    """The loss of a classifier, cross-entropy, and the share that it gets right: batch = inputs, labels (N,)."""
    inputs, labels = batch
    logits = network(Tensor(inputs))                                            # (N, classes)
    return F.cross_entropy(logits, labels), {"accuracy": (logits.data.argmax(axis=1) == labels).mean()}


def shifted(most: int) -> Callable:
    """A `prepare` for images, uint8 or floats in [0, 1], with labels: floats, each moved by up to `most` pixels."""
    def prepare(rng, images, labels):
        images = images / np.float32(255) if images.dtype == np.uint8 else images
        return random_shift(images, most, rng), labels
    return prepare


@style()
def draw_curves(curves):
    """A Figure of rows {"step": ..., name: ..., "held_out name": ...}, a panel for each name."""
    names = [name for name in curves[0] if name != "step" and not name.startswith("held_out ")]
    figure = new_figure(3.6 * len(names) + 0.4, 2.8)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for key, label, colour in ((name, "training", "dark"), (f"held_out {name}", "held out", "accent")):
            if key in curves[0]:
                axes.plot([row["step"] for row in curves], [row[key] for row in curves], "--" if key == name else "-",
                          color=PALETTE[colour], label=label, marker="o", markersize=2.5)
        axes.set(xlabel="step", title=name)
        axes.legend()
    return figure
