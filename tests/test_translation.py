"""Image-to-image translation: what each player learns from, and that a run goes on as if it had not stopped."""
import numpy as np
import pytest

import minideconv as md
import minideconv.functional as F
from minideconv import nn
from minideconv.gan.translation import Translation, TranslationPlan, centred, translate
from minideconv.models import pair
from minideconv.train.run import Run, read_config
from minideconv.train.state import DivergedError
from minideconv.train.supervised import Batches

SHAPE = (16, 16, 3)


def judge(rng):
    """A discriminator smaller than the pair's."""
    return nn.Sequential(nn.Conv2d(3, 8, 4, 2, "same", rng=rng), nn.LeakyReLU(0.2), nn.Flatten(),
                         nn.Linear(8 * 8 * 8, 1, rng=rng))


def trainer(steps=4, average=True, **settings):
    rng = np.random.default_rng(0)
    inputs, targets = rng.integers(0, 256, (2, 6, *SHAPE), np.uint8)
    plan = TranslationPlan(count=6, steps=steps, batch_size=2, **settings)
    return Translation(plan, pair.Generator(SHAPE, rng=rng), judge(rng),
                       Batches(plan, inputs, targets), average=pair.Generator(SHAPE) if average else None,
                       held_out=(inputs, targets))


def weights(network):
    return {name: np.array(array) for name, array in network.state_dict().items()}


def equal(one, other):
    return all(np.array_equal(array, other[name]) for name, array in one.items())


def test_each_player_moves_by_its_own_loss():
    """One round by hand: D's loss on both, then G's through the D that has moved, with L1."""
    found, wanted = trainer(l1=7.0, adversarial=3.0), trainer(l1=7.0, adversarial=3.0)
    losses = found.step()
    inputs, targets = (images / np.float32(255) for images in wanted.batches(0))
    g, d = wanted.generator, wanted.discriminator
    ones, zeros = np.ones((2, 1), np.float32), np.zeros((2, 1), np.float32)
    entropy = F.binary_cross_entropy_with_logits
    fake = g(md.Tensor(inputs))
    loss_d = entropy(d(centred(md.Tensor(targets))), ones) + entropy(d(centred(fake.detach())), zeros)
    loss_d.backward(inputs=d.parameters())
    wanted.players.discriminator_optimizer.step()
    moved = weights(d)
    game, l1 = 3 * entropy(d(centred(fake)), ones), 7 * F.l1_loss(fake, targets)
    (game + l1).backward(inputs=g.parameters())
    wanted.players.generator_optimizer.step()
    assert equal(weights(g), weights(found.generator)) and equal(moved, weights(found.discriminator))
    assert np.isclose(losses["discriminator_loss"], loss_d.item())
    assert np.isclose(losses["generator_game"], game.item()) and np.isclose(losses["generator_l1"], l1.item())


def test_l1_alone_leaves_the_discriminator_as_it_is_and_falls():
    alone = trainer(steps=30, adversarial=0.0)
    before = weights(alone.discriminator)
    losses = [alone.step() for _ in range(30)]
    assert set(losses[0]) == {"generator_l1"} and equal(before, weights(alone.discriminator))
    assert losses[-1]["generator_l1"] < 0.8 * losses[0]["generator_l1"]


def test_the_average_starts_as_the_generator_and_follows_it():
    new = trainer()
    assert equal(weights(new.generator), weights(new.average)) and new.shown is new.average
    start = weights(new.generator)
    new.step()
    share = 1 - 2 / 11                                  # of the newest, after the first round
    for name, array in weights(new.average).items():
        assert np.allclose(array, start[name] + share * (weights(new.generator)[name] - start[name]), atol=1e-6)
    assert trainer(average=False).shown is not None


def test_rates_fall_together():
    new = trainer(steps=4, learning_rate=0.1, discriminator_rate=0.01, decay_from=0.5)
    rates = []
    for _ in range(4):
        new.step()
        rates.append((new.players.generator_optimizer.lr, new.players.discriminator_optimizer.lr))
    assert np.allclose(rates, [(0.1, 0.01), (0.1, 0.01), (0.1, 0.01), (0.05, 0.005)])


def test_a_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    whole = trainer()
    with Run.create(tmp_path / "whole", whole, whole.plan) as run:
        run.train()
    part = trainer()
    with Run.create(tmp_path / "part", part, part.plan) as run:
        run.config = TranslationPlan(count=6, steps=2, batch_size=2)
        run.train()
    resumed = trainer()
    with Run.resume(tmp_path / "part", resumed, resumed.plan) as run:
        run.train()
    for name, array in whole.state_dict().items():
        assert np.array_equal(array, resumed.state_dict()[name]), name
    tables = [(tmp_path / name / "losses.csv").read_bytes() for name in ("whole", "part")]
    assert tables[0] == tables[1]
    assert read_config(tmp_path / "part", TranslationPlan) == whole.plan
    pair.Generator(SHAPE).load(tmp_path / "part" / "generator.npz")
    assert {"losses.png", "samples", "training.gif"} <= {path.name for path in (tmp_path / "part").iterdir()}


def test_samples_are_rows_of_input_output_truth():
    new = trainer()
    rows = new.samples().reshape(3, 3, *SHAPE)
    inputs, targets = new.held_out
    assert np.array_equal(rows[:, 0], inputs[:3] / np.float32(255))
    assert np.array_equal(rows[:, 1], translate(new.average, inputs[:3]))
    assert np.array_equal(rows[:, 2], targets[:3] / np.float32(255))
    assert 0 <= rows[:, 1].min() and rows[:, 1].max() <= 1


def test_samples_are_made_by_the_average():
    new = trainer(learning_rate=0.05)
    for _ in range(2):
        new.step()
    made = new.samples().reshape(3, 3, *SHAPE)[:, 1]
    inputs = new.held_out[0][:3]
    assert np.array_equal(made, translate(new.average, inputs))
    assert not np.array_equal(made, translate(new.generator, inputs))


def test_wrong_settings_and_other_pairs():
    for name, value in (("discriminator_rate", -1.0), ("l1", -0.1), ("adversarial", np.inf), ("longest_average", 1.0)):
        with pytest.raises(ValueError, match=f"{name} must lie in"):
            TranslationPlan(count=6, steps=1, **{name: value})
    state = trainer().state_dict()
    with pytest.raises(ValueError, match="its pairs were others"):
        trainer().load_state_dict({**state, "checksum": 1})


def test_what_is_not_finite_is_said():
    broken = trainer(adversarial=0.0)
    next(iter(broken.generator.parameters())).data[...] = np.nan
    with pytest.raises(DivergedError, match="l1 became nan in step 1"):
        broken.step()
