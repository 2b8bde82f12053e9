"""The trainer: the two networks, the alternating step, and state that goes on to the last bit."""
import numpy as np
import pytest

import minideconv as md
from minideconv import functional as F
from minideconv.gan import Config, Discriminator, DivergedError, Generator, LOSSES, Trainer
from minideconv.gan.models import stages
from minideconv.gan.pictures import grid


def pictures(count=40, side=8, channels=1):
    return np.random.default_rng(5).integers(0, 256, (count, side, side, channels), np.uint8)


def make(images=None, labels=None, **settings):
    images = pictures() if images is None else images
    config = Config(**{**dict(data="test", image_shape=images.shape[1:], count=len(images), checksum=0, steps=9, batch_size=8, width=4), **settings})
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


@pytest.mark.parametrize("shape", [(8, 8, 1), (12, 20, 3), (28, 28, 1), (32, 32, 3), (64, 48, 1), (8, 64, 1), (256, 256, 3)])
def test_networks_fit_every_size_they_accept(shape):
    count = stages(*shape[:2])
    assert count >= 2 and shape[0] % 2 ** count == 0 and shape[1] % 2 ** count == 0
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


def test_non_saturating_loss_by_its_formula():
    real, fake = np.array([[0.5], [-1.0]]), np.array([[2.0], [0.25]])
    loss = LOSSES["ns"]
    probability = lambda logits: 1 / (1 + np.exp(-logits))  # noqa: E731
    assert np.isclose(loss.discriminator(md.Tensor(real), md.Tensor(fake)).item(), -np.log(probability(real)).mean() - np.log(1 - probability(fake)).mean())
    assert np.isclose(loss.generator(md.Tensor(fake)).item(), -np.log(probability(fake)).mean())
    undecided = md.Tensor(np.zeros((3, 1)))
    assert np.isclose(loss.discriminator(undecided, undecided).item(), loss.balance) and np.isclose(loss.balance, 1.386, atol=1e-3)


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
    assert losses == (loss_d.item(), loss_g.item())
    assert equal_states(trainer.state_dict(), twin.state_dict())
    assert all(np.array_equal(a, p.data) for a, p in zip(before, twin.discriminator.parameters()))


def test_the_generator_step_never_computes_gradients_of_the_discriminators_weights():
    trainer, asked = make(), []

    def observer(name, direction, call):
        result = call()
        if direction == "backward":
            asked.append((name, result.shape))
        return result
    with md.tensor.observe(observer):
        trainer.step()
    kernels = {p.shape for p in trainer.discriminator.parameters() + trainer.generator.parameters() if p.ndim == 4}
    # D's loss asks for its two kernels twice (real and fake), G's loss for G's two kernels; with D's once more it would be 8.
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
        (losses, state), *others = [play(1, None), play(2, None), play(3, 4), play(2, 5), play(2, 7)]       # 7: amid the second epoch's order
    finally:
        md.set_num_threads(md.parallel.available_threads())
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


@pytest.mark.parametrize("settings, message", [(dict(loss="magic"), "loss must be one of ns"), (dict(batch_size=41), "batch_size.*41"), (dict(batch_size=1), "batch_size.*1")])
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
