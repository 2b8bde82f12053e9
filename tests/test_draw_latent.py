"""Latent space: paths by their formulas, walks, arithmetic, nearest training images, and the command."""
import numpy as np
import pytest
from PIL import Image
from shell import run_cli

from minideconv import data, gan
from minideconv.draw import latent as pictures
from minideconv.gan import latent
from minideconv.gan.sample import images_of
from minideconv.metrics.neighbours import nearest
from minideconv.metrics.report import Real, read_real
from minideconv.models import conditional, dcgan, mlp


@pytest.fixture(scope="module", autouse=True)
def small():
    """400 strokes stand in for training images, 50 for test images; few latents are drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "STROKES", {"train": (400, 0), "test": (50, 1)})
        patch.setattr(pictures, "COUNT", 30)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs that have hardly begun: one with labels, one without, one of points."""
    place = tmp_path_factory.mktemp("runs")
    for name, settings in (("told", dict(conditional=True, width=2, latent=5)),
                           ("alone", dict(conditional=False, width=2, latent=5)),
                           ("points", dict(data="ring", width=2, latent=2))):
        with gan.new_run(place / name, **{"data": "strokes", **settings}, steps=2, batch_size=8) as opened:
            opened.train(warn=lambda text: None)
    return place


@pytest.fixture
def told():
    return conditional.Generator((8, 8, 1), latent=6, width=2, classes=3, rng=np.random.default_rng(0)).eval()


@pytest.fixture
def alone():
    return dcgan.Generator((8, 8, 1), latent=6, width=2, rng=np.random.default_rng(0)).eval()


def ends(seed=0, latent=6):
    return np.random.default_rng(seed).standard_normal((2, latent), np.float32)


# ---- paths

def test_a_quarter_of_a_circle():
    a, b, t = np.array([2.0, 0]), np.array([0, 2.0]), np.linspace(0, 1, 5)
    angle = t * np.pi / 2
    np.testing.assert_allclose(latent.spherical(a, b, t), 2 * np.stack([np.cos(angle), np.sin(angle)], 1), atol=1e-6)
    assert latent.straight(a, b, t).tolist() == [[2, 0], [1.5, 0.5], [1, 1], [0.5, 1.5], [0, 2]]


@pytest.mark.parametrize("path", latent.PATHS.values())
def test_paths_lead_from_end_to_end(path):
    a, b = np.random.default_rng(0).standard_normal((2, 4, 3, 6)).astype(np.float32)
    way = path(a, b, [0, 0.5, 1])
    assert way.shape == (3, 4, 3, 6) and way.dtype == np.float32
    np.testing.assert_allclose(way[[0, 2]], [a, b], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(path(b, a, [0.25]), path(a, b, [0.75]), rtol=1e-5, atol=1e-6)


def test_a_sphere_is_not_left_and_turns_are_even():
    a, b = ends()
    b *= np.linalg.norm(a) / np.linalg.norm(b)
    way = latent.spherical(a, b, np.linspace(0, 1, 9))
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), np.linalg.norm(a), rtol=1e-5)
    turns = (way[1:] * way[:-1]).sum(axis=1)
    np.testing.assert_allclose(turns, turns[0], rtol=1e-4)


def test_a_straight_path_is_short_in_the_middle():
    """|z| halfway is smaller by sqrt(2) for independent latents of many numbers; the sphere's is not."""
    a, b = np.random.default_rng(0).standard_normal((2, 2000, 100))
    straight, sphere = (np.linalg.norm(path(a, b, [0.5])[0], axis=-1).mean() for path in latent.PATHS.values())
    assert straight == pytest.approx(np.sqrt(100 / 2), rel=0.01) and sphere == pytest.approx(np.sqrt(100), rel=0.01)


def test_near_equal_and_opposite_directions():
    a = ends()[0]
    np.testing.assert_allclose(latent.spherical(a, a, [0, 0.3, 1]), [a, a, a], rtol=1e-6)
    np.testing.assert_allclose(latent.spherical(a, 3 * a, [0.5]), [2 * a], rtol=1e-6)
    nearby = a.astype(float) + 1e-5 * ends(1)[0]
    np.testing.assert_allclose(latent.spherical(a, nearby, [0.5]), [(a + nearby) / 2], rtol=1e-5)
    with pytest.raises(ValueError, match="a and b must not be opposite"):
        latent.spherical(a, -a, [0.5])
    with pytest.raises(ValueError, match="a latent of zeros"):
        latent.spherical(a, 0 * a, [0.5])


@pytest.mark.parametrize("path", latent.PATHS.values())
def test_mistakes_of_paths(path):
    with pytest.raises(ValueError, match=r"b must have a's shape.*\(5,\) for \(6,\)"):
        path(np.ones(6), np.ones(5), [0])
    with pytest.raises(ValueError, match="t must be numbers"):
        path(np.ones(6), np.ones(6), 0.5)


# ---- walks

def test_a_walk_is_the_images_of_its_path(alone):
    a, b = ends()
    found = latent.walk(alone, a, b, 5, "straight")
    assert found.shape == (5, 8, 8, 1) and found.dtype == np.float32
    np.testing.assert_allclose(found, images_of(alone, latent.straight(a, b, np.linspace(0, 1, 5))), rtol=1e-6)


def test_a_walk_from_label_to_label(told):
    """Its ends are what the labels alone give; between them the generator hears both."""
    a, _ = ends()
    found = latent.walk(told, a, a, 3, label=0, to_label=2)
    both = images_of(told, np.stack([a, a]), np.array([0, 2]))
    np.testing.assert_allclose(found[[0, 2]], both, rtol=1e-5, atol=1e-6)
    halves = images_of(told, a[np.newaxis], np.array([[0.5, 0, 0.5]], np.float32))
    np.testing.assert_allclose(found[1:2], halves, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(latent.walk(told, a, a, 2, label=1), images_of(told, np.stack([a, a]), np.array([1, 1])),
                               rtol=1e-5, atol=1e-6)


def test_mistakes_of_walks(told, alone):
    a, b = ends()
    for words, arguments in (("path must be one of straight, spherical; got 'round'", dict(path="round", label=0)),
                             ("steps must be at least 2", dict(steps=1, label=0)),
                             ("label must be given for a generator of classes", {}),
                             ("label must be a class .*0 to 2.*; got 3", dict(label=3)),
                             ("to_label must be a class .*; got -1", dict(label=0, to_label=-1))):
        with pytest.raises(ValueError, match=words):
            latent.walk(told, a, b, **arguments)
    with pytest.raises(ValueError, match="trained without labels"):
        latent.walk(alone, a, b, label=0)
    with pytest.raises(ValueError, match=r"mixtures must be \(N, 3\)"):
        images_of(told, ends(), np.ones((2, 4)))


def test_effects_of_walks(told):
    found = latent.walk_effects(told, pairs=7, steps=3)
    assert list(found) == ["straight", "spherical"]
    for lengths, scores in found.values():
        assert lengths.shape == scores.shape == (3, 7) and (0 < scores).all() and (scores < 1).all()
    np.testing.assert_allclose(found["straight"][1][[0, 2]], found["spherical"][1][[0, 2]], rtol=1e-4)
    assert (found["straight"][0][1] < found["spherical"][0][1]).all()


# ---- arithmetic

def test_extremes_are_what_the_score_says(told):
    high, low = latent.extremes(told, count=2, among=40, label=1)
    latents = np.random.default_rng(0).standard_normal((40, 6), np.float32)
    scores = latent.ink(images_of(told, latents, np.ones(40, int)))
    assert np.array_equal(high, latents[scores.argsort()[[-1, -2]]])
    assert np.array_equal(low, latents[scores.argsort()[:2]])
    with pytest.raises(ValueError, match="count must be from 1 to half of among = 40; got 21"):
        latent.extremes(told, count=21, among=40, label=1)


def test_arithmetic_on_means():
    a, minus, plus = np.array([[1, 2], [3, 4]]), np.array([[1, 1]]), np.array([[5, 5], [7, 9]])
    assert latent.arithmetic(a, minus, plus).tolist() == [7, 9]
    with pytest.raises(ValueError, match=r"one width.*\(2, 2\), \(2,\), \(2, 2\)"):
        latent.arithmetic(a, minus[0], plus)


def test_three_means_of_three_are_as_long_as_a_latent():
    drawn = np.random.default_rng(0).standard_normal((1000, 3, 3, 100))
    lengths = [np.linalg.norm(latent.arithmetic(*three)) for three in drawn]
    assert np.mean(lengths) == pytest.approx(10, rel=0.01)


# ---- neighbours

def test_distances_stand_beside_those_among_real_images():
    """Samples that are training images lie at 0; real test images do not."""
    real = read_real("strokes")
    found = pictures.neighbour_distances(real.train.images[:20], real)
    assert found["median"] == 0 and found["shown"]["training"][3][0] == 3
    assert found["test_median"] == np.median(nearest(real.test.images, real.train.images)[1]) > 1


def test_without_a_test_split_every_tenth_image_is_held_out():
    real = Real("mine.npz", read_real("strokes").train, None)
    found = pictures.neighbour_distances(real.train.images[:20], real)
    held = np.arange(400) % 10 == 9
    expected = nearest(real.train.images[held], real.train.images[~held])[1]
    assert found["median"] == 0 and found["test_least"] == expected.min() > 0
    few = Real("mine.npz", data.DataSet(real.train.images[:5], None), None)
    assert "test_median" not in pictures.neighbour_distances(real.train.images[:5], few)
    assert len(pictures.draw_nearest(real.train.images[:20], real).axes) == 2


# ---- pictures and the command


@pytest.mark.parametrize("name, show", [("told", show) for show in pictures.PICTURES] + [
    ("alone", show) for show in pictures.PICTURES if show != "labels"])
def test_the_command_draws(name, show, runs, tmp_path, capsys):
    code, out, err = run_cli(capsys, "draw", "latent", runs / name, "--show", show, "--out", tmp_path / "picture.png")
    assert code == 0 and err == "" and out == f"wrote {tmp_path / 'picture.png'}\n"
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.width > 600


def test_one_label_is_one_row(runs, tmp_path, capsys):
    assert run_cli(capsys, "draw", "latent", runs / "told", "--label", 3, "--show", "arithmetic",
                   "--out", tmp_path / "a.png")[0] == 0
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 3 * picture.height


@pytest.mark.parametrize("name, arguments, words", [
    ("points", [], "makes points of the plane"), ("alone", ["--show", "labels"], "generator must be told labels"),
    ("alone", ["--label", 3], "label needs a run trained with --conditional"), ("told", ["--label", "x"], "got 'x'"),
    ("nowhere", [], "config.json"), ("told", ["--show", "magic"], "invalid choice: 'magic'")])
def test_mistakes_of_the_command(name, arguments, words, runs, tmp_path, capsys):
    code, _, err = run_cli(capsys, "draw", "latent", runs / name, *arguments, "--out", tmp_path / "x.png")
    assert code == 2 and words in err and len(err.splitlines()) == 1 and not (tmp_path / "x.png").exists()


def test_a_generator_of_points_is_not_drawn():
    generator = mlp.PointGenerator((2,), latent=2, width=2, rng=np.random.default_rng(0)).eval()
    with pytest.raises(ValueError, match="generator must make images"):
        pictures.draw_walks(generator)
