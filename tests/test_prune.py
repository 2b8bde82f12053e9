"""Pruning: which weights go, that they stay gone under every optimizer, and files without zeros."""
import os

import numpy as np
import pytest

import minideconv.functional as F
from minideconv import nn, optim, prune
from minideconv.train.supervised import Batches, Plan, Supervised, classification


def network(seed=0):
    rng = np.random.default_rng(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3, rng=rng), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
                         nn.Linear(144, 3, rng=rng))


def train(net, optimizer, steps=5):
    rng = np.random.default_rng(1)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(net(rng.random((6, 8, 8, 1), np.float32)), rng.integers(0, 3, 6)).backward()
        optimizer.step()


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_the_smallest_go(share):
    net = network()
    masks = prune.magnitude_masks(net, share)
    assert set(masks) == {"0.weight", "4.weight"}
    gone, kept = (np.concatenate([np.abs(p.data)[mask == keep] for p, mask in zip(
        prune.prunable(net).values(), masks.values(), strict=True)]) for keep in (False, True))
    assert len(gone) == round(share * 468) and gone.max(initial=0) <= kept.min()


def test_the_same_share_of_each_layer():
    masks = prune.magnitude_masks(network(), 0.75, per_layer=True)
    assert [(~mask).sum() for mask in masks.values()] == [27, 324]
    equal = nn.Sequential(nn.Linear(4, 2))
    equal[0].weight.data = np.ones((4, 2), np.float32)          # ties: still no more than the share
    assert prune.magnitude_masks(equal, 0.5)["0.weight"].sum() == 4


OPTIMIZERS = [optim.Adam, lambda params, lr: optim.SGD(params, lr, momentum=0.9, weight_decay=0.1),
              lambda params, lr: optim.SGD(params, lr, momentum=0.9, nesterov=True)]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_what_is_pruned_stays_so_under_any_optimizer(make):
    net = network()
    inner = make(net.parameters(), 0.05)
    train(net, inner)                               # moments that would go on moving
    masks = prune.magnitude_masks(net, 0.8)
    before = net.state_dict()
    optimizer = prune.Masked(inner, net, masks)
    train(net, optimizer)
    for name, mask in masks.items():
        after = net.state_dict()[name]
        assert not after[~mask].any() and (after[mask] != before[name][mask]).all()
    assert not np.array_equal(net[0].bias.data, before["0.bias"])


def test_its_rate_and_state_are_the_optimizers():
    net, other = network(), network(1)
    one = prune.Masked(optim.Adam(net.parameters(), 0.01), net, prune.magnitude_masks(net, 0.5))
    two = prune.Masked(optim.Adam(other.parameters(), 0.5), other, prune.magnitude_masks(other, 0.9))
    one.lr = 0.25
    assert one.optimizer.lr == one.lr == 0.25
    train(net, one)
    other.load_state_dict(net.state_dict())
    two.load_state_dict(one.state_dict())
    assert two.lr == 0.25 and all(np.array_equal(two.masks[name], mask) for name, mask in one.masks.items())
    train(net, one)
    train(other, two)
    assert all(np.array_equal(array, other.state_dict()[name]) for name, array in net.state_dict().items())
    with pytest.raises(KeyError, match="state of other masks"):
        two.load_state_dict(one.optimizer.state_dict())


def test_the_supervised_trainer_takes_it_and_goes_on():
    def trainer(seed=0):
        plan, net = Plan(count=12, batch_size=6, steps=4), network(seed)
        rng = np.random.default_rng(2)
        optimizer = prune.Masked(optim.Adam(net.parameters()), net, prune.magnitude_masks(net, 0.6))
        return Supervised(plan, net, classification,
                          Batches(plan, rng.random((12, 8, 8, 1), np.float32), np.arange(12) % 3), optimizer)
    one, two = trainer(), trainer(seed=5)
    one.step()
    two.load_state_dict(one.state_dict())
    assert one.step() == two.step()
    found = two.network.state_dict()
    assert all(np.array_equal(array, found[name]) for name, array in one.network.state_dict().items())
    assert sum((found[name] == 0).sum() for name in ("0.weight", "4.weight")) == round(0.6 * 468)


@pytest.mark.parametrize("call, kind, words", [
    (lambda: prune.magnitude_masks(network(), 1.0), ValueError, r"share must lie in \[0, 1\); got 1.0"),
    (lambda: prune.magnitude_masks(nn.ReLU(), 0.5), ValueError, "kernels or matrices to prune; got ReLU"),
    (lambda: masked({"9.weight": np.ones(3, bool)}), KeyError, "9.weight"),
    (lambda: masked({"0.weight": np.ones((3, 3), bool)}), ValueError, "0.weight must have shape"),
    (lambda: masked({"0.weight": np.ones((3, 3, 1, 4))}), TypeError, "0.weight must be numbers that fit into bool"),
    (lambda: prune.dense({"w:values": np.ones(3), "w:shape": np.array([4])}), ValueError, "w is not whole"),
    (lambda: prune.dense({"w:values": np.ones(3), "w:shape": np.array([4]), "w:where": np.array([128], np.uint8)}),
     ValueError, "w must have 1 values; got 3"),
    (lambda: prune.dense({"w:values": np.ones(3), "w:shape": np.array([99]), "w:where": np.array([128], np.uint8)}),
     ValueError, "w is not whole"),
])
def test_mistakes_are_named(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def masked(masks):
    net = network()
    return prune.Masked(optim.Adam(net.parameters()), net, masks)


# ---- files

def test_files_without_zeros(tmp_path):
    net, other = nn.Sequential(nn.Linear(300, 100), nn.BatchNorm2d(100)), nn.Sequential(nn.Linear(300, 100),
                                                                                       nn.BatchNorm2d(100))
    net.save(tmp_path / "dense.npz")
    for share in (0.0, 0.5, 0.9):
        prune.Masked(optim.SGD(net.parameters(), 1), net, prune.magnitude_masks(net, share))
        prune.save_sparse(tmp_path / "sparse.npz", net)
        prune.load_sparse(tmp_path / "sparse.npz", other)
        for name, array in net.state_dict().items():
            found = other.state_dict()[name]
            assert found.dtype == array.dtype and np.array_equal(found, array)
        expected = 120_000 * (1 - share) + (30_000 / 8 if share else 0)
        assert abs(os.path.getsize(tmp_path / "sparse.npz") - expected) < 5000
    prune.load_sparse(tmp_path / "dense.npz", other)            # a plain file is read too
    with pytest.raises(KeyError, match="not of this network"):
        prune.load_sparse(tmp_path / "dense.npz", network())


@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (2000, 3), (40, 50, 1, 2)])
def test_every_shape_and_zero_comes_back(shape):
    array = np.where(np.random.default_rng(0).random(shape) < 0.1, 1.5, 0).astype(np.float64)
    parts = prune.sparse({"a.b": array})
    assert (len(parts) == 3) == (array.size > 1000)
    back = prune.dense(parts)["a.b"]
    assert back.shape == shape and back.dtype == np.float64 and np.array_equal(back, array)
