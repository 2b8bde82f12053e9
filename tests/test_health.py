"""Signs of a failing GAN: each is said on a run that was made to fail that way, once, and not on healthy runs."""

import numpy as np
import pytest
from PIL import Image

from minideconv import Tensor, data, gan, nn, no_grad, optim
from minideconv import functional as F
from minideconv.draw import figure
from minideconv.gan.health import EVERY, SIGNS, Health, draw, effective, examine, judge_of, new_health, norms_of, spread
from minideconv.gan.losses import LOSSES

PATIENCE = 32


class Game:
    """Two small networks in the plane: what `examine` needs of a Trainer, and rates that can be set to fail."""

    def __init__(self, rate_g=1e-3, rate_d=1e-3, loss=LOSSES["ns"], betas=(0.5, 0.999), start=None, source="ring"):
        self.rng = rng = np.random.default_rng(0)
        self.real, self.loss, self.source, self.steps_done = data.load(source, "test")[0], loss, source, 0
        self.generator = start or nn.Sequential(nn.Linear(4, 16, rng=rng), nn.LeakyReLU(0.2), nn.Linear(16, 2, rng=rng))
        self.discriminator = nn.Sequential(nn.Linear(2, 32, rng=rng), nn.LeakyReLU(0.2), nn.Linear(32, 1, rng=rng))
        self.players = gan.Players(self.generator, self.discriminator,
                                   optim.Adam(self.generator.parameters(), rate_g, betas),
                                   optim.Adam(self.discriminator.parameters(), rate_d, betas))

    def step(self):
        real = self.real[self.rng.integers(0, len(self.real), 16)]
        latents = self.rng.standard_normal((16, 4), np.float32)
        self.steps_done += 1
        return gan.play_round(self.players, self.loss, real, latents)

    def samples(self, count):
        with no_grad():
            return self.generator(Tensor(np.random.default_rng(1).standard_normal((64, 4), np.float32))[:count]).numpy()

    def watched(self, steps):
        """All that is said of `steps` steps, as lines, and the Health that said it."""
        health = Health(self.loss.balance, self.real[:256], classify=judge_of(self.source, (2,)), patience=PATIENCE)
        return sum((examine(health, self, self.step()) for _ in range(steps)), []), health


def far_away(shift=6.0):
    """A generator whose points nobody takes for real."""
    start = nn.Sequential(nn.Linear(4, 2, rng=np.random.default_rng(2)))
    start.layers[0].bias.data = np.full(2, shift, np.float32)
    return start


class Two(nn.Module):
    """A generator of two opposite modes of the ring."""

    def __init__(self):
        self.scale = Tensor(np.ones(1, np.float32), requires_grad=True)

    def forward(self, z):
        side = np.sign(z.numpy()[:, :1])
        return self.scale * Tensor(np.concatenate([side, 0 * side], axis=1).astype(np.float32))


class Deaf(nn.Module):
    """A generator that ignores its latents."""

    def __init__(self):
        self.place = Tensor(np.full((1, 2), 0.5, np.float32), requires_grad=True)

    def forward(self, z):
        return self.place + Tensor(0 * z.numpy()[:, :2])


FROZEN = 1e-12
FAILING = {
    "saturated": (lambda: Game(FROZEN, 0.1, start=far_away()), 80, "--penalty r1"),
    "vanishing": (lambda: Game(FROZEN, 0.3, LOSSES["minimax"], start=far_away()), 80, "--loss ns"),
    "behind": (lambda: Game(0.05, FROZEN), 120, "--learning-rate"),
    "swings": (lambda: Game(0.05, 0.05, betas=(0.99, 0.999)), 160, "--learning-rate"),
    "collapse": (lambda: Game(start=Deaf()), 72, "--packing 2"),
    "classes": (lambda: Game(FROZEN, start=Two()), 72, "--conditional"),
    "overflow": (lambda: Game(10.0, 10.0, LOSSES["wasserstein"]), 48, "--learning-rate"),
}


@pytest.mark.parametrize("kind", SIGNS)
def test_each_sign_is_said_once_on_a_run_made_to_fail_that_way(kind):
    make, steps, remedy = FAILING[kind]
    lines, health = make().watched(steps)
    assert kind in health.said and len(lines) == len(health.said)
    said = [line for line in lines if line.startswith(f"step {health.said[kind]}: ")]
    assert any(remedy in line and SIGNS[kind].split("{")[0] in line for line in said)
    assert all("\n" not in line for line in lines)


def blobs(count=256, side=8):
    """Soft spots anywhere: images uint8 (count, side, side, 1) that a small GAN learns in seconds."""
    rng = np.random.default_rng(0)
    centre, wide = rng.uniform(1.5, 5.5, (count, 2, 1, 1)), rng.uniform(0.8, 1.6, (count, 1, 1))
    row, column = np.mgrid[:side, :side]
    heights = np.exp(-((row - centre[:, 0]) ** 2 + (column - centre[:, 1]) ** 2) / (2 * wide ** 2))
    return np.round(255 * heights).astype(np.uint8)[..., np.newaxis]


IMAGES = blobs()


def trainer(seed=0, preset="default"):
    """A run of the default recipe, told labels, or of the plain one, told none."""
    own = {"default": {"width": 8, "classes": 2}, "plain": {"width": 4, "learning_rate": 1e-3}}[preset]
    config = gan.Config(data="test", image_shape=(8, 8, 1), count=len(IMAGES), checksum=0, steps=96, batch_size=16,
                        preset=preset, latent=8, seed=seed, **own)
    return gan.Trainer(config, IMAGES, np.arange(len(IMAGES)) % 2 if preset == "default" else None)


def health_of(run):
    return new_health(run.config, run.loss, IMAGES, run.labels, run.fixed_labels, patience=PATIENCE)


@pytest.mark.parametrize("seed", range(10))
def test_a_healthy_run_hears_nothing(seed):
    run = trainer(seed, "default" if seed % 2 else "plain")
    health = health_of(run)
    assert [line for _ in range(80) for line in examine(health, run, run.step())] == []
    assert len(health.looked) == 5 and len(health.measured) == 80 // EVERY and health.looked[-1, 1] > 0.3


def test_looking_changes_nothing_and_a_resumed_run_hears_nothing_twice():
    plain, watched = trainer(), trainer()
    health = health_of(watched)
    health.balance = 1e-9           # whatever D pays is far too much
    lines, states = [], []
    for step in range(48):
        plain.step()
        lines += examine(health, watched, watched.step())
        if step == 35:
            states = watched.state_dict(), health.state_dict()
    assert len(lines) == 1 and "worse than a coin" in lines[0] and lines[0].startswith("step 32: ")
    one, two = plain.state_dict(), watched.state_dict()
    assert all(np.array_equal(one[name], two[name]) for name in one)
    resumed = trainer()
    resumed.load_state_dict(states[0])
    again = health_of(resumed)
    again.balance = 1e-9
    again.load_state_dict(states[1])
    assert [line for _ in range(12) for line in examine(again, resumed, resumed.step())] == []
    for name, array in health.state_dict().items():
        assert np.array_equal(array, again.state_dict()[name]), name
        assert array.dtype.kind != "f" or np.isfinite(array).all()
    again.load_state_dict({})       # of a checkpoint that was older than this
    assert again.said == health.said


def test_a_run_says_it_once_also_after_it_was_resumed_and_draws_it(tmp_path):
    def impatient(trainer):
        trainer.health.balance, trainer.health.patience = 1e-9, 16
    np.savez(tmp_path / "blobs.npz", images=IMAGES)
    said = []
    with gan.new_run(tmp_path / "run", data=tmp_path / "blobs.npz", steps=24, width=2, batch_size=16) as run:
        impatient(run.trainer)
        run.train(warn=said.append)
    assert len(said) == 1 and said[0].startswith("step 16: the discriminator has been worse than a coin")
    with Image.open(tmp_path / "run" / "health.png") as picture:
        assert min(picture.size) > 400
    with gan.resume_run(tmp_path / "run", steps=48) as run:
        impatient(run.trainer)
        assert run.trainer.health.said == {"behind": 16}
        run.train(warn=said.append)
    assert len(said) == 1 and len(run.trainer.health.measured) == 48 // EVERY


def fed(steps, *, game=1.0, gradient=0.1, balance=1.0, weight=1.0, **more):
    """What is said of numbers alone."""
    health = Health(balance, patience=PATIENCE)

    def at(value, step):
        return value(step) if callable(value) else value
    return health, [line for step in range(1, steps + 1) for line in health.watch(
        step, {"discriminator_loss": at(game, step), "generator_loss": 1.0, **more},
        norms={"generator_gradient": at(gradient, step), "generator_weight": weight, "discriminator_weight": 1.0})]


def test_what_is_fed_from_outside():
    assert fed(200)[1] == []
    _, lines = fed(100, gradient=lambda step: 0.1 if step < 40 else 0.9e-4)
    assert len(lines) == 1 and "has vanished (mean entry 9.0e-05)" in lines[0] and lines[0].startswith("step 64: ")
    assert fed(100, gradient=lambda step: 0.1 if step < 40 else 2e-4)[1] == []
    for balance in (None, 0.0):                                     # a loss without a balance to be in parts of
        assert fed(100, game=0.01, balance=balance)[1] == []
    assert "all but never wrong" in fed(100, game=0.01)[1][0]
    assert fed(100, game=lambda step: 0.01 if step % 4 else 0.5)[1] == []
    assert "all but never wrong" in fed(100, game=3.0, discriminator_game=0.01)[1][0]       # its penalty aside
    assert fed(100, game=3.0, discriminator_game=1.0)[1] == []
    assert "the discriminator's loss is nan" in fed(1, game=float("nan"))[1][0]
    health, _ = fed(16, game=float("inf"))
    assert np.isfinite(health.measured).all()
    unmeasured = Health(1.0, patience=PATIENCE)
    assert [unmeasured.watch(step, {"discriminator_loss": 1, "generator_loss": 1}) for step in range(64)] == [[]] * 64


def swinging(low, high):
    """A loss of D that is `low` and `high` in turns, for 16 steps each."""
    return lambda step: low if step // 16 % 2 else high


def kinds_said(steps=PATIENCE, weight=1.0, **numbers):
    """What is said of numbers alone, in the `steps` steps of the game."""
    health, _ = fed(steps, weight=weight, **numbers)
    return set(health.said)


@pytest.mark.parametrize("kind, beyond, within", [
    ("saturated", {"game": 0.019}, {"game": 0.021}),
    ("behind", {"game": 1.21}, {"game": 1.19}),
    ("swings", {"game": swinging(0.14, 1.21)}, {"game": swinging(0.16, 1.21)}),
    ("swings", {"game": swinging(0.14, 1.21)}, {"game": swinging(0.14, 1.19)}),
    ("swings", {"game": swinging(0.14, 1.21)}, {"game": lambda step: {9: 0.1, 19: 1.5}.get(step, 1.0)}),
    ("vanishing", {"gradient": lambda step: 1.0 if step < 9 else 0.9e-3, "steps": PATIENCE + 8},
     {"gradient": lambda step: 1.0 if step < 9 else 1.1e-3, "steps": PATIENCE + 8}),
    ("vanishing", {"gradient": 0.9e-8}, {"gradient": 1.1e-8}),
    ("overflow", {"game": 10_001, "steps": 1}, {"game": 9_999, "steps": 1}),
    ("overflow", {"weight": 101, "steps": EVERY}, {"weight": 99, "steps": EVERY}),
    ("overflow", {"weight": float("nan"), "steps": EVERY}, {"weight": 99, "steps": EVERY}),
    ("saturated", {"game": 0.01}, {"game": 0.01, "steps": PATIENCE - EVERY}),              # it has to last,
    ("saturated", {"game": lambda step: 1.0 if step == 9 else 0.01},                       # but for a lucky batch
     {"game": lambda step: 1.0 if step % 16 == 9 else 0.01}),
])
def test_a_sign_is_said_beyond_its_threshold_and_not_within(kind, beyond, within):
    assert kinds_said(**beyond) == {kind}
    assert kinds_said(**within) == set()


@pytest.mark.parametrize("kind, few, size, silent", [
    ("collapse", 10, 0.24, (10, 0.26)), ("classes", 3, 1.0, (5, 1.0))])
def test_samples_that_are_alike_or_of_few_kinds_for_three_looks(kind, few, size, silent):
    """Real points are of ten classes; samples of the first `few` of them, at `size` times the real distances."""
    def said(few, size, looks=4, spoiled=None):
        health = Health(1.0, REAL, classify=lambda points: np.round(points[:, 1]).astype(int), patience=PATIENCE)
        for look in range(1, looks + 1):
            samples = np.stack([size * REAL[:, 0], np.arange(100) % few], axis=1)
            health.watch(look * PATIENCE // 2, {"discriminator_loss": 1.0, "generator_loss": 1.0},
                         samples if look != spoiled else REAL)
        return set(health.said)
    assert said(few, size) == {kind}
    assert said(*silent) == set()
    assert said(few, size, looks=3) == set()            # at first all samples are alike
    assert said(few, size, spoiled=4) == said(few, size, spoiled=3) == set()


REAL = np.stack([1000.0 * (np.arange(100) % 7), np.arange(100) % 10], axis=1)       # classes weigh nothing in distances


def test_spread_and_classes_by_their_formulas():
    assert spread(np.array([[0.0, 0.0], [3.0, 4.0]])) == pytest.approx(5)
    images = np.zeros((3, 1, 1, 1), np.uint8)
    images[2] = 255
    assert spread(images) == pytest.approx(2 / 3) and spread(images, np.array([0, 0, 1])) == 0
    assert spread(images, np.arange(3)) == pytest.approx(2 / 3)     # a label each: all are compared
    assert effective(np.array([4, 4, 4])) == 1 and effective(np.arange(8)) == pytest.approx(8)
    assert judge_of("mnist", (8, 8, 1)) is None and judge_of("mine.npz", (28, 28, 1)) is None
    judge = judge_of("strokes", (28, 28, 1))
    images, labels = data.strokes(50, seed=3)
    assert (judge(images) == labels).mean() > 0.8 and (judge(images / 255.0 - 0.01) == judge(images)).all()


def test_norms_are_those_of_the_weights():
    layer = nn.Linear(2, 1, bias=False)
    F.mse_loss(layer(Tensor(np.ones((1, 2), np.float32))), Tensor(np.zeros((1, 1), np.float32))).backward()
    norms = norms_of(layer, layer)
    assert norms["generator_gradient"] == pytest.approx(np.sqrt((layer.weight.grad ** 2).mean()))
    assert norms["generator_weight"] == norms["discriminator_weight"] == np.abs(layer.weight.data).max()


def test_the_picture(tmp_path):
    lines, health = Game(start=Deaf()).watched(72)
    assert figure.save(draw(health), tmp_path / "health.png").stat().st_size > 10_000
    assert figure.save(draw(Health(None)), tmp_path / "empty.png").exists()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="patience must be a multiple of 8 and at least 16; got 20"):
        Health(patience=20)
    with pytest.raises(ValueError, match="labels must be one for each of the 256 real images"):
        Health(real=IMAGES, labels=np.zeros(3, int), sample_labels=np.zeros(2, int))
