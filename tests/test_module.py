"""What a Module finds in its attributes and what it refuses, and the state of every generator in it."""
import collections
import copy
import dataclasses
import functools
import itertools
import random

import numpy as np
import pytest

import minideconv as md
import minideconv.functional as F
from minideconv import nn, storage

# ---- fault 9: what is held anywhere in an attribute is found, or refused

def images():
    return md.Tensor(np.random.default_rng(1).standard_normal((5, 8, 8, 1)).astype(np.float32))


def weight(*shape):
    return md.Tensor(np.ones(shape or 2, np.float32), requires_grad=True)


def dense(seed=0):
    return nn.Linear(2, 2, rng=np.random.default_rng(seed))


class Holder(nn.Module):
    """A Module with the attributes it is given."""

    def __init__(self, **attributes):
        for name, value in attributes.items():
            setattr(self, name, value)


Heads = collections.namedtuple("Heads", "left, right")
BOTH = ["weight", "bias"]
NESTED = {
    "a list of Tensors": (dict(scales=[weight(), weight()]), ["scales.0", "scales.1"]),
    "a tuple of Tensors": (dict(scales=(weight(), weight())), ["scales.0", "scales.1"]),
    "a dict of Tensors": (dict(scales={"x": weight(), "y": weight()}), ["scales.x", "scales.y"]),
    "a list of Modules": (dict(blocks=[dense(), nn.ReLU(), dense()]),
                          [f"blocks.{place}.{name}" for place in (0, 2) for name in BOTH]),
    "a dict of Modules": (dict(heads={"left": dense(), "right": dense()}),
                          [f"heads.{side}.{name}" for side in ("left", "right") for name in BOTH]),
    "numbers as keys": (dict(scales={8: weight(), 16: weight()}), ["scales.8", "scales.16"]),
    "lists in lists": (dict(grid=[[dense()], [weight(), dense()]]),
                       ["grid.0.0.weight", "grid.0.0.bias", "grid.1.0", "grid.1.1.weight", "grid.1.1.bias"]),
    "lists in dicts in tuples": (dict(parts=({"a": [weight(), {"b": dense()}]}, 3)),
                                 ["parts.0.a.0", "parts.0.a.1.b.weight", "parts.0.a.1.b.bias"]),
    "kinds of dicts": (dict(one=collections.OrderedDict(a=weight()), two=collections.defaultdict(list, b=[weight()])),
                       ["one.a", "two.b.0"]),
    "a named tuple": (dict(heads=Heads(weight(), dense())), ["heads.0", "heads.1.weight", "heads.1.bias"]),
    "a Module in a Module's list": (dict(parts=[Holder(inner=[weight()])]), ["parts.0.inner.0"]),
    "a Sequential in a dict": (dict(nets={"g": nn.Sequential(nn.ReLU(), dense())}),
                               ["nets.g.1.weight", "nets.g.1.bias"]),
    "private names": (dict(_hidden=[weight()]), ["_hidden.0"]),
}


@pytest.mark.parametrize("case", NESTED)
def test_fault_09_nested_parameters_are_found(case):
    attributes, names = NESTED[case]
    model = Holder(**attributes)
    assert [name for name, _ in model.named_parameters()] == names
    assert list(model.state_dict()) == names and len(model.parameters()) == len(names)
    model.requires_grad_(False)
    assert not any(p.requires_grad for p in model.parameters())
    model.requires_grad_()


@pytest.mark.parametrize("case", NESTED)
def test_fault_09_nested_states_come_back(case, tmp_path):
    attributes, names = NESTED[case]
    model = Holder(**copy.deepcopy(attributes))
    for p in model.parameters():
        p.data = np.random.default_rng(p.size).standard_normal(p.shape).astype(np.float32)
    model.save(tmp_path / "model.npz")
    other = Holder(**copy.deepcopy(attributes))
    other.load(tmp_path / "model.npz")
    assert all(np.array_equal(array, model.state_dict()[name]) for name, array in other.state_dict().items())


def test_fault_09_nested_parameters_train():
    model = Holder(blocks=[[dense(1)], {"a": dense(2)}], scales=({"x": weight()},))
    x = md.Tensor(np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32))
    before, adam = model.state_dict(), md.optim.Adam(model.parameters(), 0.1)
    y = model.blocks[1]["a"](model.blocks[0][0](x)) * model.scales[0]["x"]
    (y * y).sum().backward()
    adam.step()
    assert all((array != before[name]).any() for name, array in model.state_dict().items()) and len(before) == 5


def test_fault_09_nested_modes_and_buffers_are_found():
    norm, drop = nn.BatchNorm2d(2), nn.Dropout(0.5)
    model = Holder(stages=[{"norm": norm}, (drop,)], sizes=[np.arange(3.0)], names=np.array(["a", "b"]))
    assert set(map(id, model.modules())) == {id(model), id(norm), id(drop)}
    model.eval()
    assert not (model.training or norm.training or drop.training)
    model.train()
    assert model.training and norm.training and drop.training
    kept = [f"stages.0.norm.{name}" for name in (*BOTH, "running_mean", "running_var")]
    assert list(model.state_dict()) == [*kept, "sizes.0"]
    assert [name for name, _ in model.children()] == ["stages.0.norm", "stages.1.0"]
    assert "(stages.0.norm): BatchNorm2d(" in repr(model)


def test_fault_09_what_a_list_gets_later_is_found():
    model = Holder(blocks=[], heads={})
    assert model.parameters() == []
    model.blocks.append(dense())
    model.heads["left"] = [weight()]
    assert [name for name, _ in model.named_parameters()] == ["blocks.0.weight", "blocks.0.bias", "heads.left.0"]
    net = nn.Sequential(nn.ReLU())
    net.layers.append(dense())
    assert list(net.state_dict()) == ["1.weight", "1.bias"]


def test_fault_09_a_subclass_of_sequential_keeps_its_own_attributes():
    class Scaled(nn.Sequential):
        def __init__(self, *layers):
            super().__init__(*layers)
            self.scale, self.extra = weight(), [dense()]

    net = Scaled(dense(), nn.ReLU())
    assert list(net.state_dict()) == ["0.weight", "0.bias", "scale", "extra.0.weight", "extra.0.bias"]
    assert [name for name, _ in net.children()] == ["0", "1", "extra.0"]


def test_fault_09_shared_parameters_come_once():
    shared, layer = weight(), dense()
    model = Holder(a=[shared], b={"again": shared}, c=layer, d=(layer, [layer.weight]))
    assert [name for name, _ in model.named_parameters()] == ["a.0", "c.weight", "c.bias"]
    assert len(model.modules()) == 2
    other = Holder(a=[weight()])
    other.b = other.a
    assert set(other.state_dict()) == {"a.0", "b.0"} and len(other.parameters()) == 1


def test_fault_09_what_holds_itself_is_walked_once():
    model = Holder(blocks=[dense()])
    model.blocks.append(model.blocks)
    model.blocks[0].parent = model
    assert [name for name, _ in model.named_parameters()] == ["blocks.0.weight", "blocks.0.bias"]
    assert len(model.modules()) == 2 and "blocks.0" in repr(model)
    model.eval()


class Plain:
    """No Module, so its attributes are not searched."""

    def __init__(self, **attributes):
        vars(self).update(attributes)

    def method(self, x):
        return x


class Slotted:
    __slots__ = ("inside",)

    def __init__(self, inside):
        self.inside = inside


Record = dataclasses.make_dataclass("Record", ["value"])
OBJECTS = np.empty(1, object)
OBJECTS[0] = weight()
HIDDEN = {
    "a set of Modules": {dense()}, "a frozen set": frozenset([dense()]), "a deque": collections.deque([weight()]),
    "keys of a dict": {dense(): 1}, "a view of a dict": {"a": weight()}.values(),
    "another mapping": collections.UserDict(a=weight()), "another sequence": collections.UserList([dense()]),
    "a chain": collections.ChainMap({"a": weight()}), "an object": Plain(layer=dense()),
    "an object in an object": Plain(inner=Plain(layers=[{"a": dense()}])), "slots": Slotted(weight()),
    "a dataclass": Record(weight()), "an array of objects": OBJECTS, "a set in a list": [1, {weight()}],
    "an object in a dict": {"a": {"b": Plain(layer=dense())}}, "a partial call": functools.partial(max, dense()),
    "a Module's method": dense().forward, "an object's method": Plain(layer=dense()).method,
    "a list's method": [dense()].append, "a generator's method": np.random.default_rng(0).random,
    "an object with a generator": Plain(rng=np.random.default_rng(0)),
    "a generator expression": (dense() for _ in range(2)), "a map": map(nn.Linear, [2], [2]),
    "an iterator": iter([dense()]), "a chain of iterators": itertools.chain([dense()]),
    "old random numbers": np.random.RandomState(0), "Python's random numbers": random.Random(0),
}


@pytest.mark.parametrize("case", HIDDEN)
def test_fault_09_what_cannot_be_found_is_refused_when_it_is_set(case):
    model = Holder(other=3)
    with pytest.raises(TypeError, match="^parts(.1|.a.b)? is a "):
        model.parts = HIDDEN[case]
    assert list(vars(model)) == ["other"]               # nothing was set


def test_fault_09_a_set_that_a_list_gets_later_is_refused_before_training():
    model = Holder(blocks=[dense()])
    model.blocks.append({dense()})
    with pytest.raises(TypeError, match="blocks.1 is a set and holds a Linear that would not be found"):
        model.parameters()


def test_fault_09_parts_of_the_class_are_refused():
    for value in (weight(), dense(), [dense()], {"a": np.random.default_rng(0)}):
        with pytest.raises(TypeError, match=r"Net.part(.0|.a)? is a \w+ of the class.*set it in __init__"):
            type("Net", (nn.Module,), {"part": value})


def test_fault_09_two_parts_of_one_name_are_refused():
    for parts in ({1: weight(), "1": weight()}, {"a.b": weight(), "a": {"b": weight()}}):
        with pytest.raises(ValueError, match="two parts of this Holder are called parts"):
            Holder(parts=parts).parameters()


def test_what_holds_nothing_that_trains_may_be_an_attribute(tmp_path):
    model = Holder(layer=dense(), sizes={1, 2}, call=functools.partial(F.leaky_relu, negative_slope=0.2),
                   kind=nn.ReLU, options=Plain(width=64, names=["a"]), function=F.relu, builtin=max, module=np,
                   nothing=None,
                   where=tmp_path, views={"a": 1}.keys(), record=Record((1, 2)))
    model.optimizer = md.optim.Adam(model.parameters())         # holds what is found elsewhere
    model.apply, model.again = model.layer.forward, model.forward
    with open(tmp_path / "log", "w") as model.log:
        pass
    assert list(model.state_dict()) == ["layer.weight", "layer.bias"]


def test_a_function_may_keep_a_record():
    """A closure cannot be known: what it holds is its own affair."""
    seen = []
    net = nn.Sequential(nn.Flatten(), lambda x: (seen.append(x), x)[1], nn.Linear(64, 2))
    net(images())
    assert list(net.state_dict()) == ["2.weight", "2.bias"] and len(seen) == 1


# ---- the state of every generator

def noisy(seed=None):
    rng = np.random.default_rng(seed)
    drops = [nn.Dropout(0.3), {"late": nn.Dropout(0.2, rng=rng)}]
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), Holder(drops=drops, rng=rng))


def test_every_generator_is_found_once():
    model = noisy()
    assert list(model.generators()) == ["1.rng", "2.drops.0.rng", "2.drops.1.late.rng"]
    assert model.generators()["1.rng"] is model[1].rng
    assert not any("rng" in name for name in model.state_dict())        # weights files load elsewhere


def test_random_states_come_back_and_shared_ones_stay_shared(tmp_path):
    model = noisy()
    storage.save_arrays(tmp_path / "state.npz", model.random_state())

    def draw(net):
        return [generator.random(5).tolist() for generator in (net[1].rng, net[2].drops[0].rng, net[2].rng)]
    expected, other = draw(model), noisy()
    other.load_random_state(storage.load_arrays(tmp_path / "state.npz"))
    assert draw(other) == expected
    assert other[2].rng is other[2].drops[1]["late"].rng


def test_an_unseeded_dropout_goes_on_where_it_was():
    def made():
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 3, rng=np.random.default_rng(0)))
    model, other, x = made(), made(), images()
    model(x)
    other.load_state_dict(model.state_dict())
    other.load_random_state(model.random_state())
    assert np.array_equal(model(x).data, other(x).data) and np.array_equal(model(x).data, other(x).data)


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox,
                                  np.random.SFC64])
def test_random_states_of_every_kind_of_generator(kind):
    model, other = (Holder(rng=np.random.Generator(kind())) for _ in range(2))
    model.rng.random(3, np.float32)                     # half of a 64-bit number is left
    other.load_random_state(model.random_state())
    assert np.array_equal(model.rng.random(1500, np.float32), other.rng.random(1500, np.float32))
    assert model.rng.standard_normal() == other.rng.standard_normal()


def test_wrong_random_states_are_named_and_change_nothing():
    model = noisy()
    before, state = model.random_state(), noisy().random_state()
    late = Holder(rng=np.random.Generator(np.random.MT19937(0))).random_state()["rng"]
    name, not_that = "2.drops.1.late.rng", "2.drops.1.late.rng must be the state of a PCG64 as JSON"
    for wrong, error, words in (({"1.rng": state["1.rng"]}, KeyError, "missing.*late.rng"),
                                ({**state, "9.rng": ""}, KeyError, "unknown.*9.rng"),
                                ({**state, name: late}, ValueError, not_that),
                                ({**state, name: "{}"}, ValueError, not_that),
                                ({**state, name: "no"}, ValueError, not_that + "; got 'no'")):
        with pytest.raises(error, match=words):
            model.load_random_state(wrong)
        assert model.random_state() == before
