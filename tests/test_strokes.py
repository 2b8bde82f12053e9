"""The drawn digits: the same for the same seed, placed as MNIST places its own, varied, and readable."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import minideconv.functional as F
from minideconv import Tensor, data, nn, no_grad, optim
from minideconv.data.strokes import strokes

module = sys.modules["minideconv.data.strokes"]     # `import ... as` could give the function of the same name instead


@pytest.fixture(scope="module")
def drawn():
    return strokes(2000, seed=1)


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# ---- the arrays

@pytest.mark.parametrize("count", [0, 1, 1000, 1001])
def test_shapes_and_types(count):
    images, labels = strokes(count)
    assert images.shape == (count, 28, 28, 1) and images.dtype == np.uint8 and images.flags.c_contiguous
    assert labels.shape == (count,) and labels.dtype == np.int64


def test_the_seed_decides_everything(drawn):
    np.random.seed(0)
    expected_next = np.random.RandomState(0).random_sample()
    assert same(strokes(2000, seed=1), drawn)
    assert np.random.random_sample() == expected_next           # the global generator was left alone
    assert not np.array_equal(strokes(2000, seed=2)[0], drawn[0])
    assert same(strokes(10), strokes(10, seed=0))


@pytest.mark.parametrize("count", [1, 100, 1000, 1500])
def test_fewer_are_the_beginning_of_more(drawn, count):
    assert same(strokes(count, seed=1), (part[:count] for part in drawn))


def test_threads_do_not_disturb_each_other():
    seeds = [3, 4, 5, 6]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: strokes(1000, seed), seeds))
    assert all(same(strokes(1000, seed), result) for seed, result in zip(seeds, together, strict=True))


@pytest.mark.parametrize("arguments, error, words", [
    ((-1,), ValueError, ["count=-1", "0 or more"]),
    ((10, -2), ValueError, ["seed=-2", "0 or more"]),
    ((2.5,), TypeError, ["count=2.5", "float", "integer"]),
    ((True,), TypeError, ["count=True", "bool", "integer"]),
    (("10",), TypeError, ["count='10'", "str", "integer"]),
    ((10, None), TypeError, ["seed=None", "NoneType", "integer"]),
])
def test_bad_arguments_are_named(arguments, error, words):
    with pytest.raises(error) as caught:
        strokes(*arguments)
    assert all(word in str(caught.value) for word in words)


def test_numpy_integers_will_do():
    assert same(strokes(np.int32(5), np.uint8(1)), strokes(5, 1))


# ---- the digits

def test_labels_are_balanced_and_shuffled(drawn):
    labels = drawn[1]
    assert np.bincount(labels[:1000], minlength=10).tolist() == [100] * 10
    assert 0.05 < (labels[1:] == labels[:-1]).mean() < 0.15     # a tenth, if the neighbours know nothing of each other
    assert 0.05 < (labels[:1000] == labels[1000:]).mean() < 0.15


def test_digits_are_placed_like_those_of_mnist(drawn):
    ink = drawn[0][..., 0].astype(float)
    mass, place = ink.sum((1, 2)), np.arange(28)
    for axis in (1, 2):
        centre = (ink.sum(axis) @ place) / mass
        assert np.abs(centre - 14).max() < 0.51   # whole pixels, so half of one; grey levels are rounded
        assert abs(centre.mean() - 14) < 0.05
    rows, columns = (ink > 0).any(2), (ink > 0).any(1)
    height, width = (28 - side.argmax(1) - side[:, ::-1].argmax(1) for side in (rows, columns))
    longest = np.maximum(height, width)
    assert 18 <= longest.min() and longest.max() <= 22 and abs(np.median(longest) - 20) <= 1
    assert ink.max((1, 2)).min() > 150 and np.median(ink.max((1, 2))) == 255
    assert 0.10 < ink.mean() / 255 < 0.16                       # MNIST: 0.13


def test_no_two_digits_are_equal(drawn):
    assert len(np.unique(drawn[0].reshape(2000, -1), axis=0)) == 2000


def test_every_digit_is_written_in_all_its_ways():
    assert all((module.DIGIT == digit).sum() >= 3 for digit in range(10))
    digits = np.arange(20_000) % 10
    way = module._choose_way(digits, np.random.default_rng(0))
    assert np.array_equal(module.DIGIT[way], digits)
    share = module.WEIGHT / np.bincount(module.DIGIT, module.WEIGHT)[module.DIGIT]
    np.testing.assert_allclose(np.bincount(way, minlength=len(share)) / 2000, share, atol=0.05)


def test_the_nearest_mean_image_reads_most_digits_of_another_seed(drawn):
    images, labels = (drawn[0] / 255).reshape(2000, -1), drawn[1]
    means = np.array([images[labels == digit].mean(0) for digit in range(10)])
    others, wanted = strokes(1000, seed=2)
    others = (others / 255).reshape(1000, -1)
    read = ((others ** 2).sum(1)[:, None] - 2 * others @ means.T + (means ** 2).sum(1)).argmin(1)
    hits = [(read == wanted)[wanted == digit].mean() for digit in range(10)]
    assert np.mean(hits) > 0.65 and min(hits) > 0.4             # chance: 0.1


# ---- the pen

def line_ink(start, end, radius):
    """The image of one straight line from `start` to `end`, (x, y), with pen radii at both."""
    curves, image = np.array([[[start, end]]], float), np.zeros((1, 28, 28), np.uint8)
    module._compiled_ink()(curves, np.array([[radius]], float), np.array([1]), image)
    return image[0]


def test_a_line_has_the_ink_of_its_distance():
    image = line_ink((8, 14), (20, 14), (1.0, 1.0))
    assert image[12:17, 14].tolist() == [0, 128, 255, 128, 0]   # rows 2, 1, 0, 1, 2 pixels away, radius 1
    assert image[14, 5:9].tolist() == [0, 0, 128, 255]          # and round the end
    assert np.array_equal(line_ink((14, 8), (14, 20), (1.0, 1.0)), image.T)


def test_the_pen_widens_along_a_line():
    widths = (line_ink((6, 14), (22, 14), (0.5, 2.5)) > 0).sum(0)
    widths = widths[widths > 0]
    assert widths[0] == 1 and widths.max() == 5 and (np.diff(widths[:-3]) >= 0).all()


def test_ink_moves_to_the_middle():
    assert np.array_equal(line_ink((5, 10), (17, 10), (1.0, 1.0)), line_ink((8, 14), (20, 14), (1.0, 1.0)))


def test_curves_not_in_use_leave_no_ink():
    curves = np.array([[[(8, 14), (20, 14)], [(14, 8), (14, 20)]]], float)
    image = np.zeros((1, 28, 28), np.uint8)
    module._compiled_ink()(curves, np.ones((1, 2, 2)), np.array([1]), image)
    assert np.array_equal(image[0], line_ink((8, 14), (20, 14), (1.0, 1.0)))


def test_the_plain_function_draws_what_the_compiled_one_draws():
    curves, radius, used, _ = (part[:5] for part in module._write(np.random.default_rng(0)))
    plain, compiled = np.zeros((2, 5, 28, 28), np.uint8)
    module._ink(curves, radius, used, plain)
    module._compiled_ink()(curves, radius, used, compiled)
    assert np.abs(plain.astype(int) - compiled).max() <= 1 and plain.max() == 255


# ---- the curve

def test_curves_join_smoothly_but_at_a_sharp_turn():
    for (_, _, name, drawing), bends, used in zip(module.WAYS, module.BENDS, module.USED, strict=True):
        joints = [(one, two) for one, two in zip(bends[:used - 1], bends[1:used], strict=True) if one[2] == two[1]]
        sharp = [one[3] == one[2] and two[0] == two[1] for one, two in joints]
        smooth = [one[3] == two[2] and two[0] == one[1] for one, two in joints]
        assert sum(sharp) == drawing.count("!") and sum(smooth) == len(joints) - sum(sharp), name
        assert used - 1 - len(joints) == drawing.count("/"), name
        assert bends[0, 0] == bends[0, 1] and bends[used - 1, 2] == bends[used - 1, 3], name


def test_points_on_a_circle_give_a_circle():
    angle = np.array([0, 30, 75, 120, 170, 205, 250, 300, 330]) * np.pi / 180   # unequal: weights matter
    circle = np.stack((np.cos(angle), np.sin(angle)), -1)
    a, b, c, d = (np.roll(circle, -shift, axis=0)[None, :, None] for shift in range(4))
    curve = module._curve(a, b, c, d, roundness=np.full((1, 1, 1, 1), 1.04))        # right for 45 degrees
    np.testing.assert_allclose(np.hypot(curve[..., 0], curve[..., 1]), 1, atol=1e-3)


def test_a_pen_that_stops_at_both_ends_goes_straight():
    b, c = np.array([1.0, 2.0])[None, None, None], np.array([4.0, 6.0])[None, None, None]
    curve = module._curve(b, b, c, c, roundness=np.ones((1, 1, 1, 1)))[0, 0]
    np.testing.assert_allclose(curve[[0, -1]], [[1, 2], [4, 6]])
    np.testing.assert_allclose((curve - [1, 2]) @ [4, -3], 0, atol=1e-6)


def test_a_small_network_trained_on_strokes_alone_reads_real_digits(mnist_folder):
    """What strokes are for: standing in for MNIST. 10,000 of them, two epochs, 90 % of the real test digits."""
    rng = np.random.default_rng(0)
    network = nn.Sequential(nn.Conv2d(1, 32, 4, 2, 1, rng=rng), nn.LeakyReLU(0.1),
                            nn.Conv2d(32, 64, 4, 2, 1, bias=False, rng=rng), nn.BatchNorm2d(64), nn.LeakyReLU(0.1),
                            nn.Flatten(), nn.Linear(64 * 49, 10, rng=rng))
    adam = optim.Adam(network.parameters(), lr=2e-3)
    images, labels = strokes(10_000)
    for _ in range(2):
        for chosen in np.split(rng.permutation(len(images)), 80):
            adam.zero_grad()
            F.cross_entropy(network(Tensor(images[chosen] / np.float32(255))), labels[chosen]).backward()
            adam.step()
    digits, answers = data.load("mnist", split="test", folder=mnist_folder)
    network.eval()
    with no_grad():
        guesses = np.concatenate([network(Tensor(part / np.float32(255))).data.argmax(axis=1)
                                  for part in np.split(digits, 10)])
    assert (guesses == answers).mean() >= 0.90
