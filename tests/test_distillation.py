"""Students and teachers: the loss by its formula, its slopes, and that a student comes to say what its teacher says."""
import numpy as np
import pytest

import minideconv as md
from minideconv import nn, optim
from minideconv.train.distillation import distillation, imitation
from minideconv.train.supervised import Plan, Supervised, classification


def linear(seed, inputs=5, outputs=4):
    return nn.Linear(inputs, outputs, rng=np.random.default_rng(seed))


def batch(count=7, seed=3):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, 5), np.float32), rng.integers(0, 4, count)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature, share", [(4.0, 0.9), (1.0, 0.5), (2.5, 1.0)])
def test_the_loss_is_hintons(temperature, share):
    teacher, student, (inputs, labels) = linear(0), linear(1), batch()
    loss, figures = distillation(teacher, temperature, share)(student, (inputs, labels))
    t, s = (net(inputs).data.astype(np.float64) for net in (teacher, student))
    soft = -(softmax(t / temperature) * np.log(softmax(s / temperature))).sum(axis=1).mean()
    hard = -np.log(softmax(s)[np.arange(7), labels]).mean()
    assert loss.item() == pytest.approx(share * temperature ** 2 * soft + (1 - share) * hard, rel=1e-5)
    assert figures["accuracy"] == (s.argmax(axis=1) == labels).mean()


def test_without_a_share_it_is_classification():
    teacher, student = linear(0), linear(1)
    assert distillation(teacher, share=0)(student, batch())[0].item() == pytest.approx(
        classification(student, batch())[0].item())


def test_only_the_student_learns_and_its_slope_ends_at_the_teacher():
    teacher, student = linear(0), linear(1)
    loss, _ = distillation(teacher, share=1)(student, batch())
    loss.backward()
    assert teacher.weight.grad is None and np.abs(student.weight.grad).max() > 1e-3
    student.load_state_dict(teacher.state_dict())
    student.weight.grad = None
    distillation(teacher, share=1)(student, batch())[0].backward()
    assert np.abs(student.weight.grad).max() < 1e-6


@pytest.mark.parametrize("settings", [dict(temperature=0), dict(temperature=np.inf), dict(share=1.5), dict(share=-1)])
def test_settings_out_of_range(settings):
    with pytest.raises(ValueError, match=f"got .*{list(settings.values())[0]}"):
        distillation(linear(0), **settings)


def test_imitation_of_a_network_that_is_told_labels():
    class Told(nn.Module):
        def __init__(self, seed):
            self.layer = linear(seed)

        def forward(self, z, labels):
            return self.layer(z) * (1 + np.asarray(labels, np.float32)[:, None])
    teacher, student = Told(0), Told(1)
    loss = imitation(teacher)
    inputs, labels = batch()
    expected = ((teacher(inputs, labels).data - student(inputs, labels).data) ** 2).mean()
    assert loss(student, (inputs, labels)).item() == pytest.approx(expected, rel=1e-6)
    plan = Plan(count=8, batch_size=8, steps=200, learning_rate=0.05)
    trainer = Supervised(plan, student, loss, lambda step: batch(8, [1, step]), optim.Adam(student.parameters()))
    losses = [trainer.step()["loss"] for _ in range(200)]
    assert losses[-1] < 1e-3 * losses[0] and teacher.layer.weight.grad is None
    assert isinstance(loss(student, (inputs, labels)), md.Tensor)
