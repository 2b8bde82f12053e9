"""The recipe of a run: losses and penalties by their formulas, networks, and everything that has to go on to the last
bit.
"""
import json

import numpy as np
import pytest

import minideconv as md
from minideconv import data, gan, nn, optim
from minideconv.gan import LOSSES, NETWORKS, PENALTIES, PRESETS, Config, Players, Trainer, Turn, play_round
from minideconv.gan.average import RunningAverage
from minideconv.gan.networks import OF_POINTS
from minideconv.gan.penalties import slopes, with_penalty
from minideconv.models import conditional, dcgan, mlp
from minideconv.models.spectral import Spectral, normalise
from minideconv.train.config import FORMER, PLAIN


def images(count=24, side=8, channels=1, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), np.uint8)


def make(data=None, classes=3, **settings):
    data = images() if data is None else data
    settings = {"batch_size": 6, "steps": 8, "decay_to": 8, "width": 2, **settings}
    config = Config(data="test", image_shape=data.shape[1:], count=len(data), checksum=0, classes=classes, **settings)
    return Trainer(config, data, np.arange(len(data)) % 3)


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


# ---- losses

def turn_of(real, fake, **more):
    """A turn in which the images are their own logits."""
    return Turn(None, lambda logits: logits, md.Tensor(real), md.Tensor(fake), **more)


def softplus(x):
    return np.log1p(np.exp(x))


BY_FORMULA = {          # name -> (D's loss, G's loss) of logits for real and fake images
    "ns": (lambda r, f: softplus(-r).mean() + softplus(f).mean(), lambda r, f: softplus(-f).mean()),
    "minimax": (lambda r, f: softplus(-r).mean() + softplus(f).mean(), lambda r, f: -softplus(f).mean()),
    "lsgan": (lambda r, f: ((r - 1) ** 2).mean() / 2 + (f ** 2).mean() / 2, lambda r, f: ((f - 1) ** 2).mean() / 2),
    "hinge": (lambda r, f: np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean(), lambda r, f: -f.mean()),
    "wasserstein": (lambda r, f: f.mean() - r.mean(), lambda r, f: -f.mean()),
    "relativistic": (lambda r, f: softplus(f - r).mean(), lambda r, f: softplus(r - f).mean()),
}


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_loss_is_its_formula_and_its_gradients_are_right(name, plain):
    rng = np.random.default_rng(3)
    real, fake = rng.standard_normal((2, 5, 1)) * 2
    loss = LOSSES[name]
    for ours, formula in zip((loss.discriminator, loss.generator), BY_FORMULA[name], strict=True):
        assert np.isclose(ours(turn_of(real, fake)).item(), formula(real, fake), rtol=1e-12)
        md.gradcheck(lambda r, f, ours=ours: ours(turn_of(real, fake)._replace(real=r, fake=f)) + 0 * (r + f).sum(),
                     real, fake)


@pytest.mark.parametrize("name", list(LOSSES))
def test_the_balance_is_the_loss_of_a_discriminator_that_cannot_tell(name):
    undecided = np.full((4, 1), 0.5 if name == "lsgan" else 0.0)
    assert np.isclose(LOSSES[name].discriminator(turn_of(undecided, undecided)).item(), LOSSES[name].balance)


def test_smoothing_moves_the_target_of_real_images_alone():
    real, fake = np.array([[0.3]]), np.array([[-0.7]])
    for name in ("ns", "minimax"):
        value = LOSSES[name].discriminator(turn_of(real, fake, smoothing=0.1)).item()
        assert np.isclose(value, (0.9 * softplus(-real) + 0.1 * softplus(real) + softplus(fake)).item())
        assert LOSSES[name].generator(turn_of(real, fake, smoothing=0.1)).item() == \
            LOSSES[name].generator(turn_of(real, fake)).item()
    assert np.isclose(LOSSES["lsgan"].discriminator(turn_of(real, fake, smoothing=0.1)).item(),
                      0.5 * ((0.3 - 0.9) ** 2 + 0.7 ** 2))
    with pytest.raises(ValueError, match="smoothing is for the losses ns, minimax, lsgan; got 0.1 with hinge"):
        make(loss="hinge", smoothing=0.1)


# ---- penalties

def small_discriminator(dtype=np.float64, classes=3, seed=0):
    """The default's, so narrow that its slopes can be checked number by number, with corners away from its inputs."""
    network = conditional.Discriminator((8, 8, 1), 2, classes, rng=np.random.default_rng(seed))
    for parameter in network.parameters():
        parameter.data = parameter.data.astype(dtype)
    return network


def small_turn(network, labels=(0, 2, 1, 0), seed=1):
    rng = np.random.default_rng(seed)
    dtype = network.parameters()[0].dtype
    real, fake = (md.Tensor(rng.random((4, 8, 8, 1)).astype(dtype)) for _ in range(2))
    return Turn(None, network, real, fake, np.array(labels), np.random.default_rng(5))


@pytest.fixture
def plain():
    """The readable kernels: nothing is compiled for float64."""
    md.kernels.use("reference")
    yield
    md.kernels.use("fast")


PENALTY_NAMES = [name for name, penalty in PENALTIES.items() if penalty]


@pytest.mark.parametrize("name", PENALTY_NAMES)
def test_a_penaltys_gradient_goes_through_convolutions_projection_and_embedding(name, plain):
    """The second derivative of the logits: every weight of D against numeric differences."""
    network = small_discriminator()
    named = dict(network.named_parameters())
    turn = small_turn(network)

    def value():
        return PENALTIES[name](turn._replace(rng=np.random.default_rng(5)))
    found = dict(zip(named, md.grad(value(), list(named.values()), allow_unused=True), strict=True))
    assert found["answer.bias"] is None or not found["answer.bias"].data.any()
    rng, checked = np.random.default_rng(2), 0
    for key in ("features.0.weight", "features.2.weight", "features.5.weight", "answer.weight", "embedding.weight"):
        array = named[key].data
        for place in rng.integers(array.size, size=4):
            before, ends = array.flat[place], []
            for sign in (1, -1):
                array.flat[place] = before + sign * 1e-6
                ends.append(value().item())
            array.flat[place] = before
            numeric = (ends[0] - ends[1]) / 2e-6
            assert np.isclose(found[key].data.flat[place], numeric, rtol=1e-4, atol=1e-7), key
            checked += numeric != 0
    assert checked >= 10


def test_penalties_by_their_formulas_on_a_discriminator_whose_slopes_are_known():
    """D(x) = <w, x>^2 / 2 has the slope <w, x> w."""
    w = np.array([3.0, 4.0])
    real, fake = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1.0, 1.0], [0.5, -1.0]])

    def judge(x):
        return 0.5 * ((x * w).sum(axis=1, keepdims=True)) ** 2
    turn = Turn(None, judge, md.Tensor(real), md.Tensor(fake), rng=np.random.default_rng(0))

    def length(x):
        return np.abs(x @ w) * 5                    # |w| = 5
    r1, r2 = (length(x) ** 2 / 2 for x in (real, fake))
    assert np.isclose(PENALTIES["r1"](turn).item(), r1.mean()) and np.isclose(PENALTIES["r2"](turn).item(), r2.mean())
    assert np.isclose(PENALTIES["r1r2"](turn).item(), r1.mean() + r2.mean())
    share = np.random.default_rng(0).random((2, 1))
    between = share * real + (1 - share) * fake
    assert np.isclose(PENALTIES["wgan-gp"](turn).item(), ((length(between) - 1) ** 2).mean())
    assert np.allclose(slopes(turn, real).data, (real @ w)[:, None] * w)


@pytest.mark.parametrize("name", PENALTY_NAMES)
def test_dropping_the_penaltys_gradient_changes_ds_update(name):
    """The same penalty as a plain number moves nothing, and as a Tensor it does."""
    def updated(on_tape):
        network = small_discriminator(np.float32)
        generator = nn.Sequential(nn.Linear(3, 64, rng=np.random.default_rng(1)), nn.Reshape(8, 8, 1))
        players = Players(lambda z, labels: generator(z), network, optim.SGD(generator.parameters(), 0.1),
                          optim.SGD(network.parameters(), 0.1))
        players.generator.parameters = generator.parameters
        penalty = PENALTIES[name] if on_tape else lambda turn: PENALTIES[name](turn).item()
        rng = np.random.default_rng(2)
        losses = play_round(players, with_penalty(LOSSES["ns"], penalty, 10.0), rng.random((4, 8, 8, 1), np.float32),
                            rng.random((4, 3), np.float32), np.array([0, 1, 2, 0]), rng=np.random.default_rng(3))
        return losses, network.state_dict()
    (losses, moved), (plain_losses, plain) = updated(True), updated(False)
    assert losses["discriminator_penalty"] == pytest.approx(plain_losses["discriminator_penalty"])
    assert losses["discriminator_penalty"] > 0
    for kernel in ("features.0.weight", "features.2.weight", "embedding.weight"):
        assert abs(moved[kernel] - plain[kernel]).max() > 1e-5, kernel


@pytest.mark.parametrize("name", list(LOSSES))
def test_d_learns_the_same_from_two_batches_in_one(name, plain):
    """With their labels, in packs, under a loss and both penalties; not where images of a batch are tied together."""
    def learned(network, turn, apart):
        network.apart = apart
        value = LOSSES[name].discriminator(turn) + PENALTIES["r1r2"](turn)
        return [value.item(), *(g.data for g in md.grad(value, network.parameters()))]
    rng = np.random.default_rng(4)
    packed = make(np.float64(rng.random((12, 8, 8, 3))), classes=0, packing=2).discriminator
    for parameter in packed.parameters():
        parameter.data = parameter.data.astype(np.float64)
    of_packs = Turn(None, packed, *map(md.Tensor, rng.random((2, 4, 8, 8, 3))),
                    view=lambda images: images.reshape(len(images) // 2, 8, 8, 6))
    labelled = small_discriminator()
    for network, turn in ((labelled, small_turn(labelled)), (packed, of_packs)):
        assert network.apart
        for one, two in zip(learned(network, turn, True), learned(network, turn, False), strict=True):
            assert np.allclose(one, two, rtol=1e-9, atol=1e-12)
    tied = dcgan.Discriminator((8, 8, 1), 2, rng=rng)
    assert not Turn(None, tied, None, None).apart
    batches = []
    tied.forward = lambda images: batches.append(len(images)) or md.Tensor(np.zeros((len(images), 1)))
    LOSSES[name].discriminator(Turn(None, tied, *map(md.Tensor, rng.random((2, 4, 8, 8, 1)))))
    assert batches == [4, 4]


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_discriminator_says_that_it_judges_apart_where_it_does(name):
    """One image's logit does not depend on the others of its batch; without that word it does."""
    points = name in OF_POINTS
    trainer = make(np.float32(images(24)[:, 0, :2, 0]) if points else images(), networks=name)
    network, rng = trainer.discriminator, np.random.default_rng(0)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    some = rng.random((6, *trainer.config.image_shape), np.float32)
    labels = rng.integers(3, size=6)
    among = network(some, labels).data[:2]
    alone = network(some[:2], labels[:2]).data
    assert np.allclose(among, alone, rtol=1e-4, atol=1e-5) == getattr(network, "apart", False)


def test_a_penaltys_weight_falls_with_the_rate():
    config = make(penalty="r1", penalty_weight=2.0, penalty_end=0.5, decay_from=0.25).config
    assert [config.weight(step) for step in (0, 2, 5, 8)] == [2.0, 2.0, 1.25, 0.5]
    assert make(penalty="r1", penalty_weight=0.007).config.weight(7) == 0.007
    stays, falls = (make(penalty="r1", penalty_every=1, penalty_weight=2.0, penalty_end=end, decay_from=0.0)
                    for end in (2.0, 0.5))
    (first, second), paid = ([t.step()["discriminator_penalty"] for _ in range(2)] for t in (stays, falls))
    assert paid == [first, pytest.approx(second * 1.8125 / 2)]          # 0.5 + 1.5 * 7/8, of equal networks


def test_a_lazy_penalty_is_due_in_every_kth_round_k_times_as_much():
    trainer = make(penalty="r1", penalty_every=3, penalty_weight=2.0)
    paid = [trainer.step()["discriminator_penalty"] for _ in range(7)]
    assert [value > 0 for value in paid] == [True, False, False, True, False, False, True]
    once = make(penalty="r1", penalty_every=1, penalty_weight=2.0).step()["discriminator_penalty"]
    assert paid[0] == pytest.approx(3 * once)


@pytest.mark.parametrize("name", PENALTY_NAMES)
def test_values_and_updates_of_penalties_are_pytorchs(name, plain):
    torch = pytest.importorskip("torch")
    network = small_discriminator()
    turn = small_turn(network)
    value = PENALTIES[name](turn)
    parameters = dict(network.named_parameters())
    ours = dict(zip(parameters, md.grad(value, list(parameters.values()), allow_unused=True), strict=True))
    theirs = {key: torch.from_numpy(p.data.copy()).requires_grad_() for key, p in parameters.items()}
    labels = torch.from_numpy(turn.labels)

    def judge(x):                                   # x (N, H, W, C)
        h = x.permute(0, 3, 1, 2)
        for place in ("0", "2"):
            kernel = theirs[f"features.{place}.weight"].permute(3, 2, 0, 1)
            h = torch.nn.functional.conv2d(h, kernel, theirs[f"features.{place}.bias"], stride=2, padding=1)
            h = torch.nn.functional.leaky_relu(h, 0.2)
        h = h.permute(0, 2, 3, 1).reshape(len(x), -1) @ theirs["features.5.weight"] + theirs["features.5.bias"]
        h = torch.nn.functional.leaky_relu(h, 0.2)
        return (h @ theirs["answer.weight"] + theirs["answer.bias"]
                + (theirs["embedding.weight"][labels] * h).sum(1, keepdim=True))

    def squares(x):
        x = torch.from_numpy(x).requires_grad_()
        gradient, = torch.autograd.grad(judge(x).sum(), x, create_graph=True)
        return (gradient ** 2).sum((1, 2, 3))
    real, fake = turn.real.data, turn.fake.data
    share = np.random.default_rng(5).random((4, 1, 1, 1))
    expected = {"r1": lambda: squares(real).mean() / 2, "r2": lambda: squares(fake).mean() / 2,
                "r1r2": lambda: squares(real).mean() / 2 + squares(fake).mean() / 2,
                "wgan-gp": lambda: ((squares(share * real + (1 - share) * fake).sqrt() - 1) ** 2).mean()}[name]()
    assert np.isclose(value.item(), expected.item(), rtol=1e-8)
    gradients = torch.autograd.grad(expected, list(theirs.values()), allow_unused=True)
    for mine, gradient in zip(ours.values(), gradients, strict=True):
        if gradient is not None:
            np.testing.assert_allclose(0 if mine is None else mine.data, gradient.numpy(), rtol=1e-6, atol=1e-9)


# ---- spectral normalisation

@pytest.mark.parametrize("layer, inputs", [
    (nn.Linear(5, 4, rng=np.random.default_rng(0)), np.ones((2, 5), np.float32)),
    (nn.Conv2d(2, 3, 4, 2, 1, rng=np.random.default_rng(0)), np.ones((2, 8, 8, 2), np.float32)),
    (conditional.Embedding(4, 6, rng=np.random.default_rng(0)), np.array([0, 3])),
])
def test_a_spectral_layer_computes_with_its_weight_divided_by_the_largest_singular_value(layer, inputs):
    spectral = Spectral(layer, rng=np.random.default_rng(1))
    weight = layer.weight.data.copy()
    for _ in range(60):
        spectral(inputs)
    matrix = spectral.weight().data.reshape(-1, weight.shape[-1])
    assert np.isclose(np.linalg.svd(matrix, compute_uv=False)[0], 1, rtol=1e-4)
    assert np.array_equal(layer.weight.data, weight)            # the weight itself stays
    before = spectral.eval().right.copy()
    one = spectral(inputs)
    assert np.array_equal(spectral.right, before) and np.array_equal(spectral(inputs).data, one.data)


def test_spectral_normalisation_reaches_every_layer_and_its_slope_is_right(plain):
    network = normalise(conditional.Discriminator((8, 8, 1), 2, 3, rng=np.random.default_rng(0)))
    kinds = [type(part.layer).__name__ for part in network.modules() if isinstance(part, Spectral)]
    assert sorted(kinds) == ["Conv2d", "Conv2d", "Embedding", "Linear", "Linear"]
    layer = Spectral(nn.Linear(3, 2, rng=np.random.default_rng(0)), rng=np.random.default_rng(1))
    for _ in range(100):
        layer.weight()
    layer.eval()

    def normalised(weight):
        layer.layer.weight = weight
        return layer.weight()
    # Where the vectors are the singular ones, holding them fixed makes no difference to the slope.
    layer.right = layer.right.astype(np.float64)
    md.gradcheck(normalised, layer.layer.weight.data.astype(np.float64), rtol=1e-3, atol=1e-5)


# ---- networks

@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in OF_POINTS])
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("shape", [(8, 12, 3), (28, 28, 1)])
def test_networks_of_every_family_fit_images_and_labels(name, classes, shape):
    make_generator, make_discriminator = NETWORKS[name]
    generator = make_generator(shape, 5, 2, classes, rng=np.random.default_rng(0))
    discriminator = make_discriminator(shape, 2, classes, rng=np.random.default_rng(0))
    told = [np.array([0, 1, 2, 1])] if classes else []
    z = np.random.default_rng(1).random((4, 5), np.float32)
    drawn = generator(z, *told)
    assert drawn.shape == (4, *shape) and 0 <= drawn.data.min() <= drawn.data.max() <= 1
    assert discriminator(drawn, *told).shape == (4, 1)
    assert (generator.latent, generator.classes) == (5, classes)
    if classes:
        other = generator.eval()(z, np.array([1, 1, 1, 1])), discriminator.eval()(drawn, np.array([1, 1, 1, 1]))
        assert not np.allclose(other[0].data[0], generator(z, *told).data[0], atol=1e-8)
        assert not np.allclose(other[1].data[0], discriminator(drawn, *told).data[0], atol=1e-8)


def test_the_defaults_networks_are_those_of_the_recipe():
    generator = conditional.Generator((28, 28, 1), classes=10)
    discriminator = conditional.Discriminator((28, 28, 1), classes=10)
    assert [p.shape for p in generator.parameters() if p.ndim > 1] == [(74, 6272), (4, 4, 64, 138), (4, 4, 1, 74)]
    assert [p.shape for p in discriminator.parameters() if p.ndim > 1] == [
        (4, 4, 1, 64), (4, 4, 64, 128), (6272, 256), (256, 1), (10, 256)]
    assert not any(isinstance(part, nn.BatchNorm2d) for part in discriminator.modules())
    assert sum(isinstance(part, nn.BatchNorm2d) for part in generator.modules()) == 2


def test_radfords_networks_are_their_papers_for_mnist():
    generator = dcgan.RadfordGenerator((28, 28, 1), classes=10)
    discriminator = dcgan.RadfordDiscriminator((28, 28, 1), classes=10)
    assert [p.shape for p in generator.parameters()] == [(110, 1024), (1034, 6272), (5, 5, 64, 138), (5, 5, 1, 74)]
    assert [p.shape for p in discriminator.parameters()] == [(5, 5, 11, 64), (5, 5, 74, 128), (6282, 1024), (1034, 1)]
    latents = gan.networks.draw_latents(generator, 1000, np.random.default_rng(0))
    assert -1 <= latents.min() < -0.9 < 0.9 < latents.max() <= 1


def test_a_projection_discriminator_is_its_formula(plain):
    network = small_discriminator()
    x, labels = np.random.default_rng(0).random((4, 8, 8, 1)), np.array([2, 0, 0, 1])
    h = network.features(x).data
    expected = h @ network.answer.weight.data[:, 0] + network.answer.bias.data
    expected = expected + (network.embedding.weight.data[labels] * h).sum(1)
    assert np.allclose(network(x, labels).data[:, 0], expected)


def test_maxout_is_the_largest_of_its_pieces_to_second_order(plain):
    layer = mlp.Maxout(3, 2, 4, rng=np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((5, 3))
    layer.linear.weight.data, layer.linear.bias.data = (p.data.astype(np.float64) for p in layer.parameters())
    pieces = x @ layer.linear.weight.data + layer.linear.bias.data
    assert np.array_equal(layer(x).data, pieces.reshape(5, 4, 2).max(axis=1))
    md.gradcheck(layer, x)
    md.gradgradcheck(lambda x: layer(x) ** 2, x)


# ---- the average, packs, shifts

def test_the_average_follows_its_formula_and_copies_buffers():
    generator, average = (conditional.Generator((8, 8, 1), 3, 2, rng=np.random.default_rng(seed)) for seed in (0, 1))
    start, goal = average.state_dict(), generator.state_dict()
    generator.start.layers[2].running_mean[...] = 7
    RunningAverage(average, generator).follow(rounds=5, longest=0.999)
    decay = min(0.999, 6 / 15)
    for name, value in average.state_dict().items():
        if name in dict(generator.named_parameters()):
            assert np.allclose(value, decay * start[name] + (1 - decay) * goal[name], atol=1e-7)
    assert (average.start.layers[2].running_mean == 7).all()
    assert average.start.layers[2].running_mean is not generator.start.layers[2].running_mean


def test_samples_and_generator_npz_are_the_averages_and_both_are_kept(tmp_path):
    np.savez(tmp_path / "d.npz", images=images(), labels=np.arange(24) % 3)
    with gan.new_run(tmp_path / "run", data=tmp_path / "d.npz", steps=3, width=2, batch_size=6) as run:
        run.train()
    trainer = run.trainer
    averaged, trained = (gan.load_generator(tmp_path / "run", averaged=flag) for flag in (True, False))
    assert same(averaged.state_dict(), trainer.average.state_dict())
    assert same(trained.state_dict(), trainer.generator.state_dict())
    assert not same(averaged.state_dict(), trained.state_dict())
    shown = averaged(trainer.fixed_latents, trainer.fixed_labels).data
    assert np.array_equal(trainer.samples(), shown)
    assert trainer.generator.training and not trainer.average.training


def test_d_sees_real_images_blurred_and_fake_ones_as_they_are():
    seen = []
    sharp, trainer = make(penalty="none"), make(penalty="none", blur=0.7)
    judge = trainer.discriminator.forward
    trainer.discriminator.forward = lambda x, labels: seen.append(x.data) or judge(x, labels)
    trainer.step()
    real, labels = sharp._next_batch()
    fake = sharp.generator(sharp._draw_latents(len(real), sharp.rng), labels).data
    assert np.array_equal(seen[0], np.concatenate([data.augment.gaussian_blur(real, 0.7), fake]))


def test_packs_are_consecutive_images_joined_on_channels():
    trainer = make(images(24, channels=2), classes=0, packing=3)
    batch = np.arange(6 * 8 * 8 * 2, dtype=np.float32).reshape(6, 8, 8, 2)
    packed = trainer._view(md.Tensor(batch)).data
    assert packed.shape == (2, 8, 8, 6)
    assert np.array_equal(packed[1], np.concatenate([batch[3], batch[4], batch[5]], axis=-1))
    assert trainer.discriminator.features.layers[0].weight.shape == (4, 4, 6, 2)
    for settings in ({"packing": 4}, {"packing": 2, "classes": 3}):
        with pytest.raises(ValueError, match="packing must divide batch_size, 6, and packs have no labels"):
            make(**{"classes": 0, **settings})


def test_d_sees_real_and_fake_images_moved_and_g_learns_through_the_move():
    seen = []
    trainer = make(shift=2, penalty="none")
    judge = trainer.discriminator.forward
    trainer.discriminator.forward = lambda x, labels: seen.append(x) or judge(x, labels)
    trainer.step()
    assert len(seen) == 2 and seen[1].requires_grad and len(seen[0]) == 2 * len(seen[1])    # D's two batches are one
    still = make(penalty="none")
    real, _ = still._next_batch()
    assert not np.array_equal(seen[0].data[:len(real)], real)
    for moved, image in zip(seen[0].data[:len(real), ..., 0], real[..., 0], strict=True):
        framed = np.pad(image, 2)
        assert any(np.array_equal(moved, framed[row:row + 8, column:column + 8])
                   for row in range(5) for column in range(5))


# ---- exactness

SETTINGS = [
    dict(penalty_every=3, shift=1, blur=0.7, weight_decay=1e-4),
    dict(classes=0, packing=2, smoothing=0.1, penalty="wgan-gp", penalty_every=2, average=0.0),
    dict(penalty="spectral", loss="hinge", networks="radford"),
    dict(networks="mlp", loss="relativistic", penalty="r1r2", penalty_every=2),
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_run_that_was_interrupted_at_an_odd_step_goes_on_to_the_last_bit(settings):
    """Penalty phase, average, rate, shifts, power iteration and the order of images; on any number of threads."""
    def play(threads, pause=None):
        md.set_num_threads(threads)
        trainer, losses = make(**settings), []
        for step in range(7):
            if step == pause:
                state = {name: np.array(value) for name, value in trainer.state_dict().items()}
                trainer = make(**settings)
                trainer.load_state_dict(state)
            losses.append(trainer.step())
        return losses, trainer.state_dict(), trainer.samples()
    try:
        whole, parts, more = play(1), play(1, 5), play(2, 3)
    finally:
        md.set_num_threads(md.parallel.available_threads())
    for other in (parts, more):
        assert whole[0] == other[0] and same(whole[1], other[1]) and np.array_equal(whole[2], other[2])


def test_the_rate_is_constant_and_then_falls_to_zero_in_a_line():
    trainer = make(steps=8, decay_to=8, learning_rate=1.0, decay_from=0.5)
    rates = [trainer.config.rate(step) for step in range(9)]
    assert rates == [1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]
    trainer.step()
    assert trainer.generator_optimizer.lr == 1
    assert {make(decay_from=1.0).config.rate(step) for step in range(8)} == {2e-3}


def test_a_run_that_ends_before_its_presets_end_is_that_run_interrupted():
    needed = dict(data="test", image_shape=(8, 8, 1), count=640, checksum=0)
    short, whole, longer = (Config(**needed, steps=steps) for steps in (10, None, 9_000))
    assert short.decay_to == whole.decay_to == whole.steps == PRESETS["default"]["steps"] and longer.decay_to == 9_000
    assert [short.rate(step) for step in range(10)] == [whole.rate(step) for step in range(10)]
    assert Config(**needed, steps=10, decay_to=10).rate(9) < Config(**needed).learning_rate


# ---- configurations and presets

def test_a_configuration_of_format_1_is_read_as_what_it_meant():
    old = {"format": 1, "data": "strokes", "image_shape": [28, 28, 1], "count": 60000, "checksum": 1, "names": None,
           "preset": "default", "steps": 9, "loss": "ns", "classes": 0, "batch_size": 128, "seed": 4, "latent": 100,
           "width": 64, "learning_rate": 2e-4, "beta1": 0.5, "beta2": 0.999}
    config = Config.from_json(json.dumps(old))
    assert all(getattr(config, name) == PLAIN[name] for name in FORMER)
    assert {config.rate(step) for step in (0, 8, 5000)} == {2e-4} and config.classes == 0
    assert Config.from_json(config.to_json()) == config


def test_a_penalty_of_format_2_keeps_its_weight():
    new = Config(data="grid", image_shape=(2,), count=1000, checksum=0, preset="grid")
    assert new.penalty_end < new.penalty_weight
    old = json.loads(new.to_json())
    del old["penalty_end"]
    former = Config.from_json(json.dumps({**old, "format": 2}))
    assert former.weight(0) == former.weight(former.steps - 1) == new.penalty_weight
    assert Config.from_json(former.to_json()) == former and Config.from_json(new.to_json()) == new


def test_labels_are_used_where_the_preset_wants_them_and_the_data_have_them():
    needed = dict(data="test", image_shape=(8, 8, 1), count=640, checksum=0)
    assert Config(**needed, names=["a", "b"]).classes == 2 and Config(**needed).classes == 0
    assert Config(**needed, names=["a", "b"], labels=False).classes == 0
    assert Config(**needed, names=["a", "b"], preset="plain").classes == 0
    assert Config(**needed, names=["a", "b"], preset="plain", labels=True).classes == 2


@pytest.mark.parametrize("preset", list(PRESETS))
def test_every_preset_trains_saves_and_samples(preset, tmp_path):
    data, settings = tmp_path / "d.npz", {"batch_size": 6, "width": 2}
    np.savez(data, images=images(), labels=np.arange(24) % 3)
    if PRESETS[preset]["networks"] in OF_POINTS:
        data, settings = None, {"width": 8}
    with gan.new_run(tmp_path / "run", data=data, preset=preset, steps=2, **settings) as run:
        run.train(warn=pytest.fail)
    drawn, labels = gan.generate(gan.load_generator(tmp_path / "run"), 7)
    assert drawn.shape == (7, *run.config.image_shape) and np.isfinite(drawn).all()
    assert (labels is not None) == PRESETS[preset]["labels"]
    gan.sample.save_images(tmp_path / "new.png", drawn, labels)
    assert (tmp_path / "new.png").read_bytes()[:4] == b"\x89PNG"
    assert (run.folder / "samples" / "step_000002.png").exists()
    with gan.resume_run(tmp_path / "run", steps=3) as run:
        run.train()
    assert run.steps_done == 3


@pytest.mark.parametrize("settings, words", [
    (dict(penalty="magic"), "penalty must be one of none, r1"),
    (dict(networks="magic"), "networks must be one of conditional"),
    (dict(networks="points"), "networks points are not for images"),
    (dict(average=1.0), "average must be at least 0 and below 1"),
    (dict(smoothing=-0.1), "smoothing must be at least 0"), (dict(penalty_every=0), "penalty_every must be at least 1"),
    (dict(penalty_weight=float("nan")), "penalty_weight must be at least 0; got nan"),
    (dict(decay_from=1.5), "decay_from"),
    (dict(shift=-1), "shift must be at least 0"), (dict(blur=-1.0), "blur must be at least 0"),
])
def test_settings_that_do_not_fit_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        make(**settings)


def test_points_are_no_images():
    points = np.random.default_rng(0).random((24, 2), np.float32)
    with pytest.raises(ValueError, match="networks conditional are not for points, which need --preset ring or grid"):
        make(points)
    for settings, words in (({"shift": 1}, "shift moves images"), ({"blur": 1.0}, "blur is of images")):
        with pytest.raises(ValueError, match=words):
            make(points, networks="points", **settings)
    for networks in OF_POINTS:
        packed = make(points, networks=networks, packing=2, classes=0, penalty_every=1)
        assert packed.step()["discriminator_penalty"] > 0 and packed.samples().shape == (2500, 2)
        assert np.allclose(packed.samples(70), packed.samples()[:70], rtol=0, atol=1e-6)


def test_the_grids_networks_work_in_units_of_its_spread():
    """And the two layers that see to it are as they were after steps of training."""
    spread, points = data.points.MODES["grid"].centres.std(), data.points.grid(24)[0]
    trainer = make(points, networks="grid", preset="grid", classes=0, width=8)
    for _ in range(3):
        trainer.step()
    generator, discriminator = trainer.generator.eval(), trainer.discriminator
    z = gan.networks.draw_latents(generator, 2000, np.random.default_rng(0))
    assert np.isclose(z.std(), 1, atol=0.02) and np.abs(z).max() <= 3 ** 0.5
    assert np.allclose(generator(z).data, spread * generator.layers[:-1](z).data, rtol=1e-6)
    judged = discriminator.layers[1:](points / np.float32(spread))
    assert np.allclose(discriminator(points).data, judged.data, atol=1e-6)
    assert np.array_equal(trainer.average.layers[-1].weight.data, generator.layers[-1].weight.data)
