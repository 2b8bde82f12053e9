"""Signs that a GAN is failing, said in words, each once, with what this program offers against it.

    health = new_health(config, loss, images, labels, fixed_labels)
    for text in examine(health, trainer, losses):       # after each step
        warn(text)
    save(draw(health), "health.png")

A loss measures this opponent and no other, so losses alone claim little here: only that D is never wrong, or worse
than a coin, and only if that lasts. Whether G is any good is asked of its samples.
"""
import json
from collections.abc import Callable

import numpy as np

from ..data.points import MODES
from ..draw.figure import PALETTE, new_figure, style
from ..metrics.neighbours import squared_distances

PATIENCE = 256          # steps that a sign must last; samples are looked at twice in that time
EVERY = 8               # steps between two measurements of gradients and weights
LOOKS = 3               # looks at samples in a row that must agree
REAL = 256              # real images that samples are compared with, and samples at most
ABSENT = -1.0           # of a number that was not given (a checkpoint may hold no NaN)

NEAR_ZERO = 0.02        # of D's loss, in parts of the one it pays when it cannot tell
BEHIND = 1.2            # likewise: a D that always answers "cannot tell" pays 1
AHEAD = 0.15            # likewise: players that outrun each other are now below this, now above BEHIND
VANISHED = 1e-3         # of G's gradient, in parts of its usual size
UNSEEN = 1e-8           # of its mean entry: below this it is lost beside Adam's epsilon
ALIKE, FEW = 0.25, 0.4  # distances between samples, and classes among them, in parts of the real ones
HUGE = 1e12
LARGE_LOSS, LARGE_WEIGHT = 1e4, 100.0       # healthy ones are near 1; float32 ends at 3e38

SIGNS = {       # kind -> what is seen, and the remedy
    "saturated": "the discriminator is all but never wrong, and has not been for {patience} steps: what it teaches the "
                 "generator becomes arbitrary. Hold it back with --penalty r1, a larger --penalty-weight, or a lower "
                 "--learning-rate",
    "vanishing": "the generator's gradient has vanished (mean entry {gradient:.1e}): it no longer learns. "
                 "--loss ns keeps a slope where minimax is flat; --penalty r1 keeps the discriminator smooth",
    "behind": "the discriminator has been worse than a coin for {patience} steps: the generator only learns to fool "
              "this one. Lower --learning-rate, or begin anew with the betas of --preset default",
    "swings": "the players outrun each other in turns (the discriminator's loss swings from {low:.2f} to {high:.2f}). "
              "Lower --learning-rate, or begin anew with the betas of --preset default",
    "collapse": "the samples are all but alike: their distances from each other are {spread:.0%} of the real images'. "
                "Try --penalty r1 or a larger --penalty-weight, --unconditional --packing 2, or another --seed",
    "classes": "the samples are of few kinds: as many as {classes:.1f} equally frequent classes, where the real images "
               "have {real:.1f}. Try --conditional where there are labels, --penalty r1, or --packing 2",
    "overflow": "NaN is in sight: {what}. Lower --learning-rate, or add --penalty r1",
}


class Health:
    """Watches the numbers of a run. It knows nothing of networks: whoever has numbers can feed it.

    balance: D's loss when it cannot tell; None or 0, of which there are no parts: nothing is said from losses alone.
    real: real images (N, H, W, C), uint8 or in [0, 1], or points (N, 2), and labels (N,) of them where samples come
    with sample_labels (M,): then samples are compared within their class. classify: images -> class numbers, if
    there is such a judge. patience: steps that a sign must last. ValueError for labels that do not fit, or a patience
    that EVERY does not divide.
    """

    def __init__(self, balance: float | None = None, real=None, labels=None, sample_labels=None,
                 classify: Callable | None = None, patience: int = PATIENCE):
        if patience < 2 * EVERY or patience % EVERY:
            raise ValueError(f"patience must be a multiple of {EVERY} and at least {2 * EVERY}; got {patience}")
        if sample_labels is not None and real is not None and (labels is None or len(labels) != len(real)):
            raise ValueError(f"labels must be one for each of the {len(real)} real images where samples have some; "
                             f"got {None if labels is None else len(labels)}")
        self.balance = balance or None
        self.sample_labels, self.classify, self.patience = sample_labels, classify, patience
        self.real_spread = None if real is None else spread(real, None if sample_labels is None else labels)
        self.real_classes = None if real is None or classify is None else effective(classify(real))
        self.losses = np.empty((0, 2))          # of D and G, in the last `patience` steps
        self.measured = np.empty((0, 5))        # step, mean losses of D and G since the last, G's gradient, weight
        self.looked = np.empty((0, 3))          # step, spread, classes, in parts of the real ones
        self.usual_gradient = 0.0
        self.said = {}                          # kind -> step

    def due(self, step: int) -> bool:
        """Whether `watch` would look at samples in this step."""
        return self.real_spread is not None and step % (self.patience // 2) == 0

    def watch(self, step: int, losses: dict, samples=None, norms: dict | None = None) -> list[str]:
        """Take in one step, and give what there is to say that was not said before.

        losses: "discriminator_loss" and "generator_loss"; of a loss with a penalty the part
        "discriminator_game" counts. samples: as `real`, always from the same latents. norms: see norms_of.
        """
        pair = losses.get("discriminator_game", losses["discriminator_loss"]), losses["generator_loss"]
        self.losses = np.concatenate([self.losses, [pair]])[-self.patience:]
        seen = {**self._of_overflow(pair, norms)}
        if step % EVERY == 0:
            self._measure(step, norms)
            seen.update(self._of_losses(), **self._of_gradients())
        if samples is not None and self.real_spread is not None:
            self._look(step, np.asarray(samples))
            seen.update(self._of_samples())
        fresh = {kind: numbers for kind, numbers in seen.items() if kind not in self.said}
        self.said.update(dict.fromkeys(fresh, step))
        return [f"step {step}: " + SIGNS[kind].format(patience=self.patience, **numbers)
                for kind, numbers in fresh.items()]

    def _measure(self, step, norms):
        norms = norms or {}
        gradient = norms.get("generator_gradient", ABSENT)
        weight = max(norms.get("generator_weight", ABSENT), norms.get("discriminator_weight", ABSENT))
        row = [step, *self.losses[-EVERY:].mean(axis=0), gradient, weight]
        self.measured = np.concatenate([self.measured, [_finite(row)]])
        self.usual_gradient = max(self.usual_gradient, float(np.median(self.measured[-EVERY:, 3])))

    def _look(self, step, samples):
        samples = _finite(samples)
        classes = ABSENT if self.classify is None else effective(self.classify(samples)) / self.real_classes
        labels = None if self.sample_labels is None else self.sample_labels[:REAL]
        row = [step, spread(samples[:REAL], labels) / self.real_spread, classes]
        self.looked = np.concatenate([self.looked, [_finite(row)]])

    def _of_losses(self):
        if self.balance is None or len(self.losses) < self.patience:
            return {}
        paid = self.losses[:, 0] / self.balance
        if _mostly(paid < NEAR_ZERO):
            return {"saturated": {}}
        if _mostly(paid > BEHIND):
            return {"behind": {}}
        low, high = np.quantile(paid, (0.1, 0.9))
        if low < AHEAD and high > BEHIND:
            return {"swings": {"low": low * self.balance, "high": high * self.balance}}
        return {}

    def _of_gradients(self):
        recent = self.measured[-max(1, self.patience // EVERY):]
        gradients = recent[:, 3]
        lasting = len(recent) * EVERY >= self.patience and (gradients >= 0).all()
        if lasting and gradients.max() < max(UNSEEN, VANISHED * self.usual_gradient):
            return {"vanishing": {"gradient": gradients[-1]}}
        return {}

    def _of_samples(self):
        recent = self.looked[-LOOKS:]
        if len(recent) < LOOKS or recent[0, 0] < self.patience:     # at first all samples are alike
            return {}
        if (recent[:, 1] < ALIKE).all():
            return {"collapse": {"spread": recent[-1, 1]}}
        if self.classify is not None and (recent[:, 2] < FEW).all():
            return {"classes": {"classes": recent[-1, 2] * self.real_classes, "real": self.real_classes}}
        return {}

    @staticmethod
    def _of_overflow(pair, norms):
        for player, value in zip(("discriminator", "generator"), pair, strict=True):
            if not abs(value) < LARGE_LOSS:
                return {"overflow": {"what": f"the {player}'s loss is {value:.3g}"}}
        for name, value in (norms or {}).items():
            if name.endswith("_weight") and not value < LARGE_WEIGHT:
                return {"overflow": {"what": f"the {name.removesuffix('_weight')} has a weight of {value:.3g}"}}
        return {}

    def state_dict(self) -> dict:
        """All that the next step's words depend on, as arrays by name."""
        return {"losses": self.losses, "measured": self.measured, "looked": self.looked,
                "usual_gradient": np.array(self.usual_gradient), "said": np.array(json.dumps(self.said))}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a state_dict; from an empty one, of a checkpoint older than this, as from the start."""
        if state:
            for name in ("losses", "measured", "looked"):
                columns = getattr(self, name).shape[1]
                setattr(self, name, np.array(state[name]).reshape(-1, columns))
            self.usual_gradient, self.said = float(state["usual_gradient"]), json.loads(str(state["said"]))


def _mostly(signs):
    """Whether nearly all of the signs are there: one lucky batch does not end what lasts."""
    return np.mean(signs) >= 0.95


def _finite(numbers):
    """What is no number, or beyond all bounds, as a large one: a picture and a checkpoint can take that."""
    return np.clip(np.nan_to_num(numbers, nan=HUGE), -HUGE, HUGE)


def spread(images, labels=None) -> float:
    """The mean distance of two of the images (N, ...), uint8 or in [0, 1]; with labels (N,), of two with one label."""
    rows = np.asarray(images)
    rows = rows.reshape(len(rows), -1).astype(np.float32) / np.float32(255 if rows.dtype == np.uint8 else 1)
    groups = [rows] if labels is None else [rows[labels == label] for label in np.unique(labels)]
    groups = [group for group in groups if len(group) > 1] or [rows]    # of many classes each may have a single image
    distances = [np.sqrt(squared_distances(group, group))[np.triu_indices(len(group), 1)] for group in groups]
    return float(np.concatenate(distances).mean())


def effective(classes) -> float:
    """exp(entropy) of class numbers (N,): as many equally frequent classes have it. 1 where all are of one class."""
    shares = np.bincount(classes) / len(classes)
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def norms_of(generator, discriminator) -> dict:
    """The root mean square of the entries of G's gradient, and the largest weight of each network."""
    weights = generator.parameters()
    gradients = [p.grad for p in weights if p.grad is not None]
    squares = sum(float(np.vdot(g, g)) for g in gradients)      # inf where they overflow
    return {"generator_gradient": (squares / max(1, sum(g.size for g in gradients))) ** 0.5,
            "generator_weight": _largest(weights), "discriminator_weight": _largest(discriminator.parameters())}


def _largest(parameters):
    return max(float(max(p.array.max(), -p.array.min())) for p in parameters)


def new_health(config, loss, images, labels=None, sample_labels=None, patience: int = PATIENCE) -> Health:
    """The Health of a run on images (N, ...), labels (N,) or None, whose fixed samples have sample_labels or None."""
    some = np.linspace(0, len(images) - 1, min(REAL, len(images))).astype(int)
    return Health(loss.balance, images[some], None if labels is None else labels[some], sample_labels,
                  judge_of(config.data, images.shape[1:]), patience)


def judge_of(source: str, shape) -> Callable | None:
    """Who tells the classes of a source's samples apart: the classifier of digits, the nearest centre, or nobody."""
    if source in MODES:
        centres = MODES[source].centres.astype(np.float32)
        return lambda points: squared_distances(np.asarray(points, np.float32), centres).argmin(axis=1)
    if source in ("mnist", "strokes") and tuple(shape) == (28, 28, 1):
        from ..metrics.classifier import judge
        return lambda images: judge(images if images.dtype == np.uint8 else np.clip(images, 0, 1))[1].argmax(axis=1)
    return None


def examine(health: Health, trainer, losses: dict) -> list[str]:
    """What is new to say after a step of a Trainer, which it changes in nothing. `trainer` has steps_done, generator,
    discriminator, and samples(count): so many at most, always from the same latents.
    """
    step = trainer.steps_done
    samples = trainer.samples(REAL) if health.due(step) else None
    norms = norms_of(trainer.generator, trainer.discriminator) if step % EVERY == 0 else None
    return health.watch(step, losses, samples, norms)


@style()
def draw(health: Health):
    """What was seen over the steps, and where something was said: the Figure of health.png."""
    figure = new_figure(10, 6, "Health: " + (", ".join(health.said) or "nothing to say"))
    upper, middle, lower = figure.subplots(3, 1, sharex=True)
    steps, game, generator, gradient, weight = health.measured.T
    _curve(upper, steps, game, "dark", "-", "discriminator's loss,\nwithout its penalty")
    _curve(upper, steps, generator, "accent", "--", "generator's loss")
    if health.balance is not None:
        for part, text in ((1, "discriminator cannot tell"), (NEAR_ZERO, "never wrong,\nif below for long")):
            upper.axhline(part * health.balance, color=PALETTE["ink"], linewidth=0.8, linestyle=":", label=text)
    _curve(middle, steps, gradient, "accent", "--", "generator's gradient,\nroot mean square")
    _curve(middle, steps, weight, "dark", "-", "largest weight")
    if (health.measured[:, 3:] > 0).any():
        middle.set_yscale("log")
    at, alike, classes = health.looked.T
    _curve(lower, at, alike, "accent", "--", "distances between samples,\nin parts of real images'")
    _curve(lower, at, classes, "dark", "-", "classes among samples,\nin parts of real images'")
    lower.axhline(ALIKE, color=PALETTE["ink"], linewidth=0.8, linestyle=":", label="all but alike,\nif below for long")
    lower.set(ylim=(0, 1.3), xlabel="step")
    for axes in (upper, middle, lower):
        for kind, step in health.said.items():
            axes.axvline(step, color=PALETTE["middle"], linewidth=1)
            if axes is upper:
                axes.annotate(kind, (step, 1), xycoords=("data", "axes fraction"), rotation=90, va="top", ha="right")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_state(balance, state: dict):
    """`draw` of a Health's balance and its state_dict, whose arrays may be lists."""
    health = Health(balance)
    health.load_state_dict(state)
    return draw(health)


def _curve(axes, steps, values, colour, line, label):
    """One curve, where any of its values was given."""
    if (values != ABSENT).any():
        axes.plot(steps, np.where(values == ABSENT, np.nan, values), linestyle=line, color=PALETTE[colour], label=label)
