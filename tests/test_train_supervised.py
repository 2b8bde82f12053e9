"""Training by example: plans, batches, exact resumption, held-out figures, and what it refuses."""
import dataclasses
import json

import numpy as np
import pytest

import minideconv.functional as F
from minideconv import nn, optim
from minideconv.train.config import Config
from minideconv.train.run import Interrupted, read_config
from minideconv.train.state import DivergedError
from minideconv.train.supervised import Batches, Plan, Supervised, classification, open_run, shifted

# ---- plans


def test_a_plan_counts_and_its_rate_falls():
    plan = Plan(count=100, batch_size=30, epochs=2, learning_rate=1.0, decay_from=0.5)
    assert (plan.steps, plan.steps_per_epoch, plan.measure_every, plan.decay_to) == (6, 3, 3, 6)
    assert [plan.rate(step) for step in range(6)] == pytest.approx([1, 1, 1, 1, 2 / 3, 1 / 3])
    assert Plan(count=9, batch_size=9, steps=4, decay_from=1).rate(3) == 2e-3
    assert Plan.from_json(plan.to_json()) == plan
    longer = dataclasses.replace(plan, steps=12)
    assert longer.decay_to == 12 and dataclasses.replace(longer, steps=3).decay_to == 12


@pytest.mark.parametrize("changed, kind, words", [
    (dict(steps=3), ValueError, "steps or epochs, one of them; got steps=3, epochs=2"),
    (dict(epochs=None), ValueError, "steps or epochs"),
    (dict(batch_size=101), ValueError, "batch_size must lie in 1 to count, 100; got 101"),
    (dict(batch_size="many"), TypeError, "batch_size must be of type int; got 'many'"),
    (dict(learning_rate=-1), ValueError, r"learning_rate must lie in \[0, inf\]; got -1"),
    (dict(learning_rate=float("nan")), ValueError, "learning_rate"),
    (dict(decay_from=2), ValueError, r"decay_from must lie in \[0, 1\]; got 2"),
    (dict(epochs=0), ValueError, "steps must lie in"), (dict(measure_every=-1), ValueError, "measure_every"),
])
def test_plans_that_are_refused(changed, kind, words):
    with pytest.raises(kind, match=words):
        Plan(**{"count": 100, "batch_size": 10, "epochs": 2, **changed})


@pytest.mark.parametrize("text, words", [
    ('{"kind": "supervised", "format": 2}', "format is 2, newer"), ("[]", "list"), ("{}", "not the plan"),
    ('{"kind": "supervised", "count": 9, "colour": 1}', "not the plan.*colour")])
def test_a_plan_that_cannot_be_read_is_one_line(text, words):
    with pytest.raises(ValueError, match=words) as refused:
        Plan.from_json(text)
    assert "\n" not in str(refused.value)


def test_a_gan_does_not_take_it_for_its_own(tmp_path):
    (tmp_path / "config.json").write_text(Plan(count=9, batch_size=3, steps=2).to_json())
    with pytest.raises(ValueError, match="a supervised run, no GAN's: the program that began it"):
        read_config(tmp_path, Config)


# ---- batches


def test_batches_are_a_function_of_the_step():
    plan = Plan(count=10, batch_size=3, epochs=2, seed=4)
    rows = np.arange(10)
    batches, again = Batches(plan, rows, 2 * rows), Batches(plan, rows, 2 * rows)
    drawn = [batches(step) for step in range(6)]
    assert all(np.array_equal(2 * one, two) for one, two in drawn)
    for epoch in (drawn[:3], drawn[3:]):
        assert len(set(np.concatenate([one for one, _ in epoch]))) == 9
    assert not np.array_equal(drawn[0][0], drawn[3][0])
    assert all(np.array_equal(again(step)[0], drawn[step][0]) for step in (5, 0, 3, 2))
    other = Batches(dataclasses.replace(plan, seed=5), rows)
    assert not np.array_equal(other(0)[0], drawn[0][0])


def test_batches_are_prepared_with_chances_of_their_own_step():
    plan = Plan(count=8, batch_size=4, epochs=1)
    batches = Batches(plan, np.zeros(8), prepare=lambda rng, rows: (rows + rng.random(4),))
    assert np.array_equal(batches(1)[0], batches(1)[0]) and not np.array_equal(batches(0)[0], batches(1)[0])
    with pytest.raises(ValueError, match=r"8 rows each, the plan's count; got \[8, 7\]"):
        Batches(plan, np.zeros(8), np.zeros(7))


def test_shifted_images_are_floats_with_their_labels():
    images = np.zeros((50, 9, 9, 1), np.uint8)
    images[:, 4, 4] = 255
    moved, labels = shifted(1)(np.random.default_rng(0), images, np.arange(50))
    assert moved.dtype == np.float32 and np.array_equal(labels, np.arange(50))
    assert set(moved.argmax(axis=1).ravel()) >= {3, 4, 5} and (moved[:, 3:6, 3:6].sum(axis=(1, 2, 3)) == 1).all()


# ---- training


def network(seed=0):
    rng = np.random.default_rng(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3, 2, rng=rng), nn.BatchNorm2d(4), nn.LeakyReLU(0.1), nn.Flatten(),
                         nn.Dropout(0.2, rng=rng), nn.Linear(36, 2, rng=rng))


def examples(count=40, seed=0):
    """Images that are bright on the left (0) or on the right (1)."""
    rng = np.random.default_rng(seed)
    images, labels = rng.integers(0, 100, (count, 8, 8, 1), np.uint8), np.arange(count) % 2
    for image, label in zip(images, labels, strict=True):
        image[:, 4 * label:4 * label + 4] += 100
    return images, labels


def trainer(steps=12, seed=0, loss=classification, make=optim.Adam, count=40, **settings):
    images, labels = examples(count)
    plan, held_out = Plan(count=count, batch_size=8, steps=steps, seed=3, **settings), examples(30, seed=1)
    learner = network(seed)
    return Supervised(plan, learner, loss, Batches(plan, images, labels, prepare=shifted(1)),
                      make(learner.parameters(), 1.0), held_out=(held_out[0] / np.float32(255), held_out[1]),
                      show=lambda net: np.clip(net.layers[0].weight.data.transpose(3, 0, 1, 2), 0, 1))


def test_it_learns_and_says_how_far(tmp_path):
    with open_run(tmp_path / "run", trainer(60, count=480, learning_rate=0.01, measure_every=10)) as run:
        run.train()
    assert {path.name for path in run.folder.iterdir()} == {
        "config.json", "losses.csv", "losses.png", "health.png", "held_out.csv", "samples", "training.gif",
        "network.npz", "checkpoint.npz"}
    assert (run.folder / "losses.csv").read_text().startswith("step,epoch,loss,accuracy\n1,1,")
    header, *rows = (run.folder / "held_out.csv").read_text().splitlines()
    assert header == "step,loss,held_out_loss,accuracy,held_out_accuracy" and len(rows) == 6
    assert rows[-1].startswith("60,") and float(rows[-1].split(",")[-1]) > 0.9
    loaded = network(seed=9)
    loaded.load(run.folder / "network.npz")
    images, labels = examples(30, seed=1)
    logits = loaded.eval()(images / np.float32(255)).data
    assert (logits.argmax(axis=1) == labels).mean() == run.trainer.curves[-1]["held_out accuracy"]
    losses = np.loadtxt(run.folder / "losses.csv", delimiter=",", skiprows=1)[:, 2]
    assert run.trainer.curves[1]["loss"] == pytest.approx(losses[10:20].mean())


def test_held_out_figures_are_means_in_evaluation_mode(monkeypatch):
    one = trainer()
    whole = one.measure(one.held_out)
    monkeypatch.setattr("minideconv.train.supervised.PART", 7)
    assert one.measure(one.held_out) == pytest.approx(whole)
    one.network.eval()
    loss, figures = classification(one.network, one.held_out)
    assert whole == pytest.approx({"loss": loss.item(), **figures})


def test_looking_changes_neither_modes_nor_chances():
    one, other = trainer(), trainer()
    one.network.layers[1].eval()
    one.samples()
    one.measure(one.held_out)
    assert [layer.training for layer in one.network.layers] == [True, False, True, True, True, True]
    one.network.layers[1].train()
    assert one.step() == other.step()


def same(a, b):
    assert (a / "losses.csv").read_text() == (b / "losses.csv").read_text()
    assert (a / "held_out.csv").read_text() == (b / "held_out.csv").read_text()
    with np.load(a / "checkpoint.npz") as x, np.load(b / "checkpoint.npz") as y:
        assert set(x.files) == set(y.files)
        return all(np.array_equal(x[name], y[name]) for name in x.files if name != "run/config")


@pytest.mark.parametrize("make", [optim.Adam, lambda params, lr: optim.SGD(params, lr, momentum=0.9)])
def test_the_same_lines_go_on_to_the_last_bit(make, tmp_path):
    with open_run(tmp_path / "whole", trainer(make=make)) as run:
        run.train()

    def stop(step, losses):
        if step == 8:
            raise Interrupted

    with pytest.raises(Interrupted), open_run(tmp_path / "parts", trainer(make=make)) as run:
        run.train(checkpoint_every=3, report=stop)
    with open_run(tmp_path / "parts", trainer(make=make, seed=8)) as run:
        assert run.steps_done == 6
        run.train()
    assert same(tmp_path / "whole", tmp_path / "parts")
    with open_run(tmp_path / "parts", trainer(16, make=make)) as run:       # longer
        run.train()
    assert run.steps_done == 16 and len(run.trainer.curves) == 3


def test_ctrl_c_says_what_goes_on(tmp_path):
    import signal

    def press(step, losses):
        if step == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="stopped after step 3 of 12; go on with: the same program again"):
        with open_run(tmp_path / "run", trainer()) as run:
            run.train(report=press)


def test_other_plans_and_other_examples_are_refused(tmp_path):
    with open_run(tmp_path / "run", trainer(5)) as run:
        run.train()
    with pytest.raises(ValueError, match=r"begun with learning_rate=0.002; got 0.5"):
        open_run(tmp_path / "run", trainer(5, learning_rate=0.5))
    other = trainer(9)
    other.batches = Batches(other.plan, *examples(seed=7), prepare=shifted(1))
    with pytest.raises(ValueError, match="its examples were others"):
        open_run(tmp_path / "run", other)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["steps"] == 5


def test_a_loss_that_is_no_number_ends_it(tmp_path):
    with pytest.raises(DivergedError, match="the loss is -?inf; .*no checkpoint.*smaller learning rate"):
        with open_run(tmp_path / "run", trainer(loss=lambda net, batch: net(batch[0]).sum() * np.inf)) as run:
            run.train()


def test_anything_that_has_a_loss(tmp_path):
    """A network from images to images, batches from a function, no figures, nothing held out, part of the weights."""
    plan = Plan(count=64, batch_size=4, steps=100, learning_rate=0.2, decay_from=1)
    double = nn.Sequential(nn.ConvTranspose2d(1, 1, 2, 2, rng=np.random.default_rng(0)),
                           nn.Conv2d(1, 1, 1, rng=np.random.default_rng(1)))
    frozen = double.layers[1].state_dict()

    def batches(step):
        small = np.random.default_rng([plan.seed, step]).random((4, 3, 3, 1), np.float32)
        return small, small.repeat(2, axis=1).repeat(2, axis=2)

    learner = Supervised(plan, double, lambda net, batch: F.mse_loss(net(batch[0]), batch[1]), batches,
                         optim.Adam(double.layers[0].parameters()))
    losses = [learner.step() for _ in range(100)]
    assert set(losses[0]) == {"loss"} and losses[-1]["loss"] < 0.1 * losses[0]["loss"]
    assert all(np.array_equal(array, frozen[name]) for name, array in double.layers[1].state_dict().items())
    with open_run(tmp_path / "run", learner) as run:
        run.train()
    assert {path.name for path in run.folder.iterdir()} == {
        "config.json", "losses.csv", "losses.png", "health.png", "samples", "network.npz", "checkpoint.npz"}
    assert not list((run.folder / "samples").iterdir())
