"""The trainer: the two networks, the alternating step, and state that goes on to the last bit."""

import numpy as np
import pytest

import minideconv as md
from minideconv import functional as F
from minideconv import nn, optim
from minideconv.gan import (
    LOSSES,
    Config,
    Discriminator,
    DivergedError,
    Generator,
    Loss,
    Players,
    Trainer,
    Turn,
    generate,
    play_round,
)
from minideconv.models.dcgan import one_hot, stages
from minideconv.train.pictures import grid


def pictures(count=40, side=8, channels=1):
    return np.random.default_rng(5).integers(0, 256, (count, side, side, channels), np.uint8)


def make(images=None, labels=None, **settings):
    images = pictures() if images is None else images
    given = {"data": "test", "image_shape": images.shape[1:], "count": len(images), "checksum": 0}
    config = Config(**{**given, "steps": 9, "batch_size": 8, "width": 4, "preset": "plain", **settings})
    return Trainer(config, images, labels)


def equal_states(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_reference_networks_are_those_of_the_papers_recipe():
    generator, discriminator = Generator((28, 28, 1)), Discriminator((28, 28, 1))
    weights = [p.shape for p in generator.parameters() if p.ndim > 1]
    assert weights == [(100, 6272), (4, 4, 64, 128), (4, 4, 1, 64)]
    assert [p.shape for p in discriminator.parameters() if p.ndim > 1] == [(4, 4, 1, 64), (4, 4, 64, 128), (6272, 1)]
    assert sum(p.size for p in generator.parameters()) == 627200 + 256 + 131072 + 128 + 1024 + 1
    images = generator(np.zeros((2, 100), np.float32))
    assert images.shape == (2, 28, 28, 1) and images.data.min() >= 0 and images.data.max() <= 1
    assert discriminator(images).shape == (2, 1)


@pytest.mark.parametrize(
    "shape", [(8, 8, 1), (12, 20, 3), (28, 28, 1), (32, 32, 3), (64, 48, 1), (8, 64, 1), (256, 256, 3)]
)
def test_networks_fit_every_size_they_accept(shape):
    count = stages(*shape[:2])
    assert count >= 2 and shape[0] % 2**count == 0 and shape[1] % 2**count == 0
    generator = Generator(shape, latent=3, width=2)
    assert generator(np.zeros((2, 3), np.float32)).shape == (2, *shape)
    assert Discriminator(shape, width=2)(np.zeros((2, *shape), np.float32)).shape == (2, 1)


@pytest.mark.parametrize("size", [(4, 8), (30, 28), (28, 10), (7, 7)])
def test_sizes_that_cannot_be_halved_twice_are_refused(size):
    with pytest.raises(ValueError, match="multiples of 4.*%dx%d" % size):
        stages(*size)


def test_start_is_dcgans():
    discriminator = Discriminator((28, 28, 1), rng=np.random.default_rng(0))
    kernel = discriminator.layers[2].weight.data
    assert abs(kernel.std() - 0.02) < 2e-4 and abs(kernel.mean()) < 2e-4
    assert not discriminator.layers[0].bias.data.any()


def turn_of(real, fake):
    """A turn in which D hands on what it is given: the images are their own logits."""
    return Turn(generator=None, discriminator=lambda logits: logits, real=md.Tensor(real), fake=md.Tensor(fake))


def test_non_saturating_loss_by_its_formula():
    real, fake = np.array([[0.5], [-1.0]]), np.array([[2.0], [0.25]])
    loss = LOSSES["ns"]

    def probability(logits):
        return 1 / (1 + np.exp(-logits))
    turn = turn_of(real, fake)
    assert np.isclose(
        loss.discriminator(turn).item(), -np.log(probability(real)).mean() - np.log(1 - probability(fake)).mean()
    )
    assert np.isclose(loss.generator(turn).item(), -np.log(probability(fake)).mean())
    undecided = np.zeros((3, 1))
    assert np.isclose(loss.discriminator(turn_of(undecided, undecided)).item(), loss.balance) and np.isclose(
        loss.balance, 1.386, atol=1e-3
    )


# One round of the game


def small_players(seed=0):
    rng = np.random.default_rng(seed)
    G, D = (
        nn.Sequential(nn.Linear(3, 2, rng=rng)),
        nn.Sequential(nn.Linear(2, 8, rng=rng), nn.Tanh(), nn.Linear(8, 1, rng=rng)),
    )
    return Players(G, D, optim.SGD(G.parameters(), 0.1), optim.SGD(D.parameters(), 0.1))


def batch(seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((6, 2)).astype(np.float32), rng.standard_normal((6, 3)).astype(np.float32)


def gradient_penalty(turn):
    """WGAN-GP's, one of the losses that need more than logits: both batches, D itself and a random generator."""
    share = turn.rng.random((len(turn.real), 1), np.float32)
    between = md.Tensor(share * turn.real.data + (1 - share) * turn.fake.data, requires_grad=True)
    (slopes,) = md.grad(turn.judge(between).sum(), between, create_graph=True)
    return (((slopes**2).sum(axis=1).sqrt() - 1) ** 2).mean()


def test_a_loss_may_have_named_parts_and_their_sum_moves_the_player():
    """A gradient penalty fits: the parts come back by name, and D moves as their sum, differentiated by hand, says."""

    def wasserstein(turn):
        return {
            "distance": turn.judge(turn.fake).mean() - turn.judge(turn.real).mean(),
            "penalty": 10 * gradient_penalty(turn),
        }

    loss = Loss(wasserstein, lambda turn: -turn.judge(turn.fake).mean())
    players, twin = small_players(), small_players()
    real, z = batch()
    losses = play_round(players, loss, real, z, rng=np.random.default_rng(2))
    assert list(losses) == ["discriminator_loss", "generator_loss", "discriminator_distance", "discriminator_penalty"]
    assert losses["discriminator_loss"] == pytest.approx(
        losses["discriminator_distance"] + losses["discriminator_penalty"]
    )
    D = twin.discriminator
    turn = Turn(twin.generator, D, md.Tensor(real), twin.generator(md.Tensor(z)).detach(), rng=np.random.default_rng(2))
    total = D(turn.fake).mean() - D(turn.real).mean() + 10 * gradient_penalty(turn)
    expected = [
        p.data - np.float32(0.1) * g.data for p, g in zip(D.parameters(), md.grad(total, D.parameters()), strict=True)
    ]
    for parameter, value in zip(players.discriminator.parameters(), expected, strict=True):
        np.testing.assert_allclose(parameter.data, value, rtol=1e-5, atol=1e-6)
    without = small_players()
    play_round(
        without, Loss(lambda turn: wasserstein(turn)["distance"], loss.generator), real, z, rng=np.random.default_rng(2)
    )
    assert not np.allclose(
        without.discriminator.parameters()[0].data, players.discriminator.parameters()[0].data, atol=1e-4
    )


def test_a_turn_shows_d_a_detached_fake_and_g_one_that_leads_back():
    seen = []
    loss = Loss(
        lambda turn: seen.append(turn) or LOSSES["ns"].discriminator(turn),
        lambda turn: seen.append(turn) or LOSSES["ns"].generator(turn),
    )
    players, rng = small_players(), np.random.default_rng(0)
    real, z = batch()
    play_round(players, loss, real, z, rng=rng, step=7)
    turn_d, turn_g = seen
    assert (
        turn_d.fake.node is None and turn_g.fake.node is not None and np.array_equal(turn_d.fake.data, turn_g.fake.data)
    )
    for turn in seen:
        assert (turn.generator, turn.discriminator, turn.rng, turn.step, turn.labels) == (*players[:2], rng, 7, None)
        assert np.array_equal(turn.real.data, real)


def test_a_part_that_is_a_plain_number_is_told_and_moves_nothing():
    """What a penalty of every k-th step gives in the others."""
    plain, told = small_players(), small_players()
    real, z = batch()
    play_round(plain, LOSSES["ns"], real, z)
    losses = play_round(
        told,
        Loss(lambda turn: {"game": LOSSES["ns"].discriminator(turn), "penalty": 0.0}, LOSSES["ns"].generator),
        real,
        z,
    )
    assert losses["discriminator_penalty"] == 0 and losses["discriminator_loss"] == losses["discriminator_game"]
    assert equal_states(plain.discriminator.state_dict(), told.discriminator.state_dict())


@pytest.mark.parametrize(
    "loss, error, words",
    [
        (
            lambda turn: turn.judge(turn.real),
            ValueError,
            r"discriminator's loss must be one number; got shape \(6, 1\)",
        ),
        (
            lambda turn: {"a": turn.judge(turn.real).mean(), "b": turn.real},
            ValueError,
            "discriminator's b must be one number",
        ),
        (lambda turn: {"a": 1.0}, ValueError, "discriminator's loss must be a Tensor"),
        (
            lambda turn: {"a": turn.judge(turn.real).mean(), "b": turn.judge(turn.real).mean() * np.inf},
            DivergedError,
            "discriminator's b became -?inf in step 3",
        ),
    ],
)
def test_losses_that_are_none_are_refused_before_anything_moves(loss, error, words):
    players = small_players()
    before = players.discriminator.state_dict()
    with pytest.raises(error, match=words):
        play_round(players, Loss(loss, LOSSES["ns"].generator), *batch(), step=2)
    assert equal_states(before, players.discriminator.state_dict())


def test_d_lets_go_of_its_tape_before_g_plays():
    """Memory: nothing of D's walk back is alive when G's turn begins."""
    import weakref

    kept, alive = [], []

    def discriminator(turn):
        loss = LOSSES["ns"].discriminator(turn)
        kept.append(weakref.ref(loss))
        return loss

    def generator(turn):
        alive.append(kept[0]() is not None)
        return LOSSES["ns"].generator(turn)

    play_round(small_players(), Loss(discriminator, generator), *batch())
    assert alive == [False]


def test_a_step_is_d_on_real_and_detached_fake_then_g_through_the_updated_d():
    """The same round written out by hand on copies of the networks."""
    trainer, twin = make(), make()
    losses = trainer.step()
    real, _ = twin._next_batch()
    z = md.Tensor(twin.rng.standard_normal((8, 100), np.float32))
    fake = twin.generator(z)
    ones, zeros = np.ones((8, 1), np.float32), np.zeros((8, 1), np.float32)
    loss_d = F.binary_cross_entropy_with_logits(twin.discriminator(md.Tensor(real)), ones)
    loss_d = loss_d + F.binary_cross_entropy_with_logits(twin.discriminator(md.Tensor(fake.data)), zeros)
    loss_d.backward()
    assert all(p.grad is None for p in twin.generator.parameters())
    twin.discriminator_optimizer.step()
    loss_g = F.binary_cross_entropy_with_logits(twin.discriminator(fake), ones)
    before = [p.data.copy() for p in twin.discriminator.parameters()]
    loss_g.backward()
    twin.generator_optimizer.step()
    twin.steps_done = 1
    assert losses == {"discriminator_loss": loss_d.item(), "generator_loss": loss_g.item()}
    assert equal_states(trainer.state_dict(), twin.state_dict())
    assert all(np.array_equal(a, p.data) for a, p in zip(before, twin.discriminator.parameters(), strict=True))


def test_the_generator_step_never_computes_gradients_of_the_discriminators_weights():
    trainer, asked = make(), []

    def observer(name, direction, call):
        result = call()
        if direction == "backward":
            asked.append((name, result.shape))
        return result

    with md.switches.observe(observer):
        trainer.step()
    kernels = {p.shape for p in trainer.discriminator.parameters() + trainer.generator.parameters() if p.ndim == 4}
    # D's loss asks for its two kernels twice (real and fake), G's loss for G's two; with D's once more it would be 8.
    assert sum(shape in kernels for _, shape in asked) == 6


def test_epochs_see_every_image_once_in_a_new_order():
    images = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 1), np.uint8)
    trainer = make(images)
    epochs = []
    for _ in range(2):
        seen = []
        for _ in range(5):
            batch, _ = trainer._next_batch()
            seen += (batch[:, 0, 0, 0] * 255).round().astype(int).tolist()
            trainer.steps_done += 1
        epochs.append(seen)
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(40)) and epochs[0] != epochs[1]


def test_state_goes_on_to_the_last_bit_and_threads_do_not_matter():
    def play(threads, pause):
        md.set_num_threads(threads)
        trainer = make()
        losses = []
        for step in range(9):
            if step == pause:
                state = trainer.state_dict()
                trainer = make(seed=0)
                trainer.load_state_dict(state)
            losses.append(trainer.step())
        return losses, trainer.state_dict()

    try:
        (losses, state), *others = [
            play(1, None),
            play(2, None),
            play(3, 4),
            play(2, 5),
            play(2, 7),
        ]  # 7: amid the second epoch's order
    finally:
        md.set_num_threads(md.machine.available_threads())
    for other_losses, other_state in others:
        assert losses == other_losses and equal_states(state, other_state)


def test_conditional_networks_hear_the_label():
    images = pictures()
    labels = np.arange(40) % 3
    trainer = make(images, labels, classes=3)
    trainer.step()
    z = np.random.default_rng(0).standard_normal((1, 100)).astype(np.float32)
    one, two = (trainer.generator(z, np.array([label])).data for label in (0, 1))
    assert not np.array_equal(one, two)
    logits = [trainer.discriminator(images[:2] / np.float32(255), np.array([label, label])).data for label in (0, 1)]
    assert not np.array_equal(*logits)
    with pytest.raises(ValueError, match="label"):
        make(images, None, classes=3)


def test_nonfinite_losses_and_weights_stop_training():
    trainer = make()
    trainer.discriminator.parameters()[0].data[...] = np.nan
    with pytest.raises(DivergedError, match="step 1"):
        trainer.step()
    with pytest.raises(DivergedError, match="discriminator/layers.0.weight"):
        trainer.state_dict()


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(loss="magic"), "loss must be one of ns"),
        (dict(batch_size=41), "batch_size.*41"),
        (dict(batch_size=1), "batch_size.*1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_checkpoint_of_other_data_is_refused():
    state = make().state_dict()
    with pytest.raises(ValueError, match="orders 40 images"):
        make(pictures(41)).load_state_dict(state)


def test_grid_places_images_row_by_row():
    images = np.linspace(0, 1, 6, dtype=np.float32)[:, None, None, None] * np.ones((1, 2, 3, 1), np.float32)
    sheet = grid(images, columns=3)
    factor = sheet.shape[0] // 7
    small = sheet[::factor, ::factor]
    assert small.shape == (7, 13)
    assert [small[1, 1], small[1, 5], small[1, 9], small[4, 1], small[4, 5], small[4, 9]] == [0, 51, 102, 153, 204, 255]


# Labels and classes


@pytest.mark.parametrize(
    "classes, columns", [(1, 8), (2, 8), (3, 9), (5, 10), (8, 8), (10, 10), (16, 16), (17, 8), (26, 8), (100, 10)]
)
def test_fault_11_the_sample_grid_shows_every_class(classes, columns):
    images = pictures(2 * classes if classes > 8 else 40)
    trainer = make(images, np.arange(len(images)) % classes, classes=classes)
    assert set(trainer.fixed_labels.tolist()) == set(range(classes)) and trainer.columns == columns
    assert len(trainer.samples()) == len(trainer.fixed_labels) == len(trainer.fixed_latents) >= 50
    if classes <= 16:  # a class has columns of its own
        rows = trainer.fixed_labels.reshape(-1, columns)
        assert (rows == rows[0]).all()


def test_fault_24_classes_without_images_are_not_drawn():
    trainer = make(pictures(), np.arange(40) % 3 * 4, classes=9)
    assert set(trainer.fixed_labels.tolist()) == {0, 4, 8}


def test_fault_24_one_hot_costs_a_row_for_each_label_not_for_each_class():
    classes = 3_000_000  # a square of these would be 36 TB
    rows = one_hot(np.array([0, classes - 1]), classes)
    assert rows.shape == (2, classes) and rows.sum() == 2 and rows[0, 0] == rows[1, -1] == 1
    for labels in ([-1, 0], [0, 3], [0.5, 1], [[0], [1]]):
        with pytest.raises(ValueError, match="labels must"):
            one_hot(np.array(labels), 3)


def test_generate_gives_the_same_images_for_the_same_seed_and_the_class_asked_for():
    generator = Generator((8, 8, 1), latent=5, width=2, classes=3, rng=np.random.default_rng(0)).eval()
    images, labels = generate(generator, 300, seed=4)
    again, _ = generate(generator, 300, seed=4)
    assert images.shape == (300, 8, 8, 1) and images.dtype == np.float32 and np.array_equal(images, again)
    assert labels.tolist() == [number % 3 for number in range(300)]
    assert generate(generator, 4, label=2)[1].tolist() == [2] * 4
    with pytest.raises(ValueError, match=r"label.*0 to 2.*got 3"):
        generate(generator, 4, label=3)
    plain = Generator((8, 8, 1), latent=5, width=2, rng=np.random.default_rng(0)).eval()
    assert generate(plain, 4)[1] is None
    with pytest.raises(ValueError, match="without labels"):
        generate(plain, 4, label=0)


# What the exactness of a resume rests on


class Noise(nn.Module):
    """Adds noise in every mode, from a generator of its own of any kind."""

    def __init__(self, kind):
        self.noise = np.random.Generator(kind())

    def forward(self, x):
        return x + self.noise.standard_normal(x.shape).astype(np.float32)


@pytest.mark.parametrize("kind", ["dropout", np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_every_generator_of_every_layer_goes_on_where_it_was(kind):
    """Also an unseeded one, and also where samples were drawn between."""

    def unseeded():
        trainer = make()
        layer = nn.Dropout(0.5) if kind == "dropout" else Noise(kind)
        trainer.discriminator.layers.layers.insert(2, layer)
        trainer.generator.layers.layers.insert(1, Noise(np.random.PCG64))
        return trainer

    one, other = unseeded(), unseeded()
    one.step()
    state = {name: np.array(value) for name, value in one.state_dict().items()}
    one.samples()
    ahead = [one.step() for _ in range(2)]
    assert [other.step() for _ in range(2)] != ahead
    other.load_state_dict(state)
    assert [other.step() for _ in range(2)] == ahead
    assert equal_states(one.state_dict(), other.state_dict())


def test_a_checkpoint_of_version_0_1_0_is_read():
    import json

    one, other = make(), make()
    one.step()
    state = one.state_dict()
    random = json.loads(str(state.pop("random")))
    other.load_state_dict({**state, "rng": json.dumps(random["rng"]), "config": "{}"})
    assert one.step() == other.step()
