"""`minideconv evaluate`: samples of runs and of files, measured, drawn and told."""

import json

import numpy as np
import pytest
from PIL import Image
from shell import run_cli

from minideconv import data, gan
from minideconv.gan.evaluation import evaluate_file, evaluate_run, save
from minideconv.gan.sample import generate
from minideconv.metrics import report
from minideconv.metrics.report import measure, read_real, table
from minideconv.metrics.sheet import sheet


@pytest.fixture(scope="module", autouse=True)
def small():
    """1,300 strokes stand in for training images, the last 100 of them choose Parzen's sigma; 200 for test images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "STROKES", {"train": (1300, 0), "test": (200, 1)})
        patch.setattr(report, "HELD_OUT", 1200)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that has hardly begun."""
    folder = tmp_path_factory.mktemp("runs") / "some"
    with gan.new_run(folder, data="strokes", conditional=True, steps=2, width=2, batch_size=8, latent=5) as opened:
        opened.train(warn=lambda text: None)
    return folder


@pytest.fixture
def file(tmp_path):
    images, labels = data.strokes(60, seed=9)
    np.savez(tmp_path / "samples.npz", images=images, labels=labels)
    return tmp_path / "samples.npz"


def test_a_run_is_measured_drawn_and_told(run, capsys):
    code, out, err = run_cli(capsys, "evaluate", run, "--count", 40, "--json")
    assert code == 0 and err == ""
    found = json.loads(out)
    assert found == json.loads((run / "evaluation.json").read_text()) and out.count("\n") == 1
    assert list(found) == ["run", "step", "seed", "source", "samples", "parzen", "neighbour_error", "distance",
                           "precision_recall", "classes", "nearest"]
    assert (found["run"], found["step"], found["seed"], found["samples"]) == ("some", 2, 0, 40)
    assert np.shape(found["nearest"]["shown"]["training"]) == (16, 3) and 0 <= found["classes"]["as_asked"] <= 1
    with Image.open(run / "evaluation.png") as picture:
        assert min(picture.size) > 800
    code, out, err = run_cli(capsys, "evaluate", run, "--count", 40)
    assert code == 0 and "these samples" in out and f"written to {run / 'evaluation.json'} and " in out
    assert json.loads((run / "evaluation.json").read_text()) == found       # the same again
    assert evaluate_run(run, count=40, seed=1).report["parzen"] != found["parzen"]


def test_what_learned_from_blurred_images_is_named_as_such(tmp_path, capsys):
    with gan.new_run(tmp_path / "soft", data="strokes", conditional=True, steps=1, width=2, batch_size=8, latent=5,
                     blur=0.75) as opened:
        opened.train(warn=lambda text: None)
    code, out, _ = run_cli(capsys, "evaluate", tmp_path / "soft", "--count", 10)
    assert code == 0 and out.startswith("10 samples, data strokes, learned from images blurred by 0.75 pixels\n")
    found = evaluate_run(tmp_path / "soft", count=10)
    assert found.report["blur"] == json.loads((tmp_path / "soft" / "evaluation.json").read_text())["blur"] == 0.75
    assert "blurred by 0.75 pixels" in sheet(*found).get_suptitle()


def test_scaled_latents_stand_beside_no_published_figure(run, capsys):
    code, out, _ = run_cli(capsys, "evaluate", run, "--count", 20, "--scale", 0.5)
    assert code == 0 and "latents scaled by 0.5" in out and "not comparable, their protocol is latents as they" in out
    assert json.loads((run / "evaluation-scale-0.5.json").read_text())["scale"] == 0.5
    assert (run / "evaluation-scale-0.5.png").exists()
    generator = gan.load_generator(run)
    whole, half = (generate(generator, 30, scale=scale)[0] for scale in (1, 0.01))
    assert whole[::10].std(axis=0).mean() > 20 * half[::10].std(axis=0).mean()
    real = read_real("strokes")._replace(source="mnist")
    images, labels = data.strokes(20, seed=4)
    for scale, key in ((1.0, True), (0.9, False)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(report, "WINDOWS", 20)
            patch.setattr(report, "TEACHERS", 20)
            found = measure(images, labels, real, scale=scale)
        assert found["parzen"]["by_protocol"] is found["neighbour_error"]["by_protocol"] is key
        assert ("225 +- 2" in table(found)) is ("2.98 %" in table(found)) is key


def test_a_file_is_measured_and_leaves_nothing_but_where_it_is_told(file, tmp_path, capsys):
    code, out, err = run_cli(capsys, "evaluate", file, "--data", "strokes")
    assert code == 0 and err == "" and "60 samples, data strokes" in out and "1-nearest-neighbour" in out
    assert "FID in Inception features, as published" in out and "read as the digit that was asked for" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["samples.npz"]
    code, out, _ = run_cli(capsys, "evaluate", file, "--data", "strokes", "--count", 30,
                           "--out", tmp_path / "new" / "folder")
    assert code == 0 and "30 samples" in out
    written = tmp_path / "new" / "folder" / "evaluation.json"
    assert json.loads(written.read_text())["file"] == "samples.npz" and written.with_suffix(".png").exists()
    before = written.read_bytes()
    code, out, err = run_cli(capsys, "evaluate", file, "--data", "strokes", "--out", written.parent)
    assert code == 2 and f"{written} exists already" in err and written.read_bytes() == before


def test_points(tmp_path, capsys):
    np.savez(tmp_path / "points.npz", images=data.load("ring", "test")[0][:2500])
    code, out, _ = run_cli(capsys, "evaluate", tmp_path / "points.npz", "--data", "ring", "--out", tmp_path / "out")
    assert code == 0 and "8 of 8 modes" in out and "PacGAN2" in out and (tmp_path / "out" / "evaluation.png").exists()
    scaled = measure(data.load("ring", "test")[0] * 0.5, None, read_real("ring"), scale=0.5)
    assert "0 of 8 modes" in table(scaled) and "PacGAN2" not in table(scaled)
    assert "scaled by 0.5" in sheet(scaled, np.zeros((5, 2)), None, read_real("ring")).get_suptitle()


def test_classes_are_those_of_the_data_that_samples_are_measured_against(tmp_path):
    """A run that knows only threes and sevens draws threes and sevens, whatever their numbers in it."""
    images, labels = data.load("strokes")
    chosen = np.isin(labels, (3, 7))
    np.savez(tmp_path / "two.npz", images=images[chosen], labels=labels[chosen])
    with gan.new_run(tmp_path / "run", data=tmp_path / "two.npz", conditional=True, steps=1, width=2, batch_size=8,
                     latent=5) as opened:
        opened.train(warn=lambda text: None)
    found = evaluate_run(tmp_path / "run", count=12, source="strokes")
    assert found.labels.tolist() == [3, 7] * 6 and "neighbour_error" in found.report
    own = evaluate_run(tmp_path / "run", count=12)
    assert own.labels.tolist() == [0, 1] * 6 and "neighbour_error" not in own.report     # there is no test split
    assert [path.name for path in save(own, tmp_path / "run")] == ["evaluation.json", "evaluation.png"]
    np.savez(tmp_path / "one.npz", images=images[:50], labels=np.full(50, 3))
    with pytest.raises(ValueError, match="the run draws the class '7', and .*one.npz has only 3"):
        evaluate_run(tmp_path / "run", count=12, source=tmp_path / "one.npz")


def test_pictures_of_ones_own(tmp_path):
    """Colours, a size that the classifier does not read, classes by name, and fewer samples than a grid has places."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "real.npz", images=rng.integers(0, 256, (40, 8, 12, 3), np.uint8), labels=np.arange(40) % 3)
    np.savez(tmp_path / "fake.npz", images=rng.random((7, 8, 12, 3)), labels=np.arange(7) % 2)
    found = evaluate_file(tmp_path / "fake.npz", source=tmp_path / "real.npz")
    assert list(found.report) == ["file", "source", "samples", "nearest"]
    assert all(path.exists() for path in save(found, tmp_path / "out", "mine"))


def test_digits_are_looked_for_only_where_there_may_be_some(tmp_path):
    images, labels = data.strokes(40, seed=2)
    named = data.DataSet(images, labels, [f"thing {place}" for place in range(10)])
    found = measure(images, labels, report.Real("things", named, None))
    assert "distance" in found and "classes" not in found
    some = data.DataSet(images, labels % 2, ["1", "0"])         # names are what counts, not their order
    assert measure(images, labels % 2, report.Real("bits", some, None))["classes"]["as_asked"] < 0.3


def test_few_real_images_are_chosen_from_all_of_them():
    """MNIST's first test images are unlike its last ones: the floor of few samples is taken of some from everywhere."""
    images, labels = data.strokes(100, seed=3)
    train = data.DataSet(images, labels, data.DIGITS)
    test = data.DataSet(np.concatenate([np.zeros_like(images), images]), np.tile(labels, 2), data.DIGITS)
    found = measure(images[:20], None, report.Real("other", train, test))
    assert 0.4 < found["classes"]["real_sure"] < 1 or max(found["classes"]["real_shares"]) < 0.7


@pytest.mark.parametrize("arguments, words", [
    (["nowhere.npz"], "No such file or directory: 'nowhere.npz'"),
    (["nowhere"], "nowhere is neither the folder of a run nor a FILE.npz"),
    (["."], "is not the folder of a run: it has no config.json"),
    (["other.npz"], "other.npz must have an array named images, and may have labels; it has pictures"),
    (["text.npz"], "text.npz is not a readable .npz of arrays"),
    (["flat.npz"], "images of flat.npz must have the shape (N, H, W, C) or (N, H, W), or be points (N, 2); got (5,)"),
    (["points.npz", "--data", "strokes"], "points (N, 2) are measured against ring or grid"),
    (["labels.npz", "--data", "strokes"], "labels of labels.npz must have the shape (5,), one for each image; got (4"),
    (["good.npz", "--data", "strokes", "--count", "6"], "count must be at most the 5 samples of good.npz; got 6"),
    (["good.npz", "--data", "ring"], "of the size of the images of ring"),
    (["good.npz", "--data", "nothing"], "nothing"),
    (["good.npz", "--scale", "0.5"], "--scale belongs to the latents of a run, and good.npz holds samples already"),
    (["good.npz", "--seed", "1"], "--seed belongs to the latents of a run"),
    (["good.npz", "--scale", "0"], "argument --scale: expected a number above 0, got '0'"),
    (["good.npz", "--scale", "many"], "expected a number above 0, got 'many'"),
    (["good.npz", "--count", "3"], "must be at least 4, got 3"),
])
def test_mistakes_end_in_one_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("good.npz", images=np.zeros((5, 28, 28), np.uint8))
    np.savez("other.npz", pictures=np.zeros(3))
    np.savez("flat.npz", images=np.zeros(5))
    np.savez("points.npz", images=np.zeros((5, 2)))
    np.savez("labels.npz", images=np.zeros((5, 28, 28)), labels=np.arange(4))
    (tmp_path / "text.npz").write_text("no archive")
    code, out, err = run_cli(capsys, "evaluate", *arguments)
    assert code == 2 and out == "" and words in err and err.count("\n") == 1 and "Traceback" not in err


def test_a_run_without_a_generator_yet(run, tmp_path, capsys):
    (tmp_path / "config.json").write_bytes((run / "config.json").read_bytes())
    code, _, err = run_cli(capsys, "evaluate", tmp_path)
    assert code == 2 and "has no generator.npz yet" in err
