"""The drawn tape: its rules are those of the engine, its boxes are all there,
and none covers another.
"""
import ast

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

import minideconv as md
import minideconv.functional as F
from minideconv import ops
from minideconv.draw import boxes, figure, layering, tape
from minideconv.draw.figure import PALETTE
from minideconv.primitives import PRIMITIVES


def test_every_primitive_has_rules():
    """One short formula per input, for all operations of the engine;
    written-out ones name operations that exist.
    """
    for name in PRIMITIVES:
        rules = boxes.rules(name)
        assert rules, name
        for argument, formula in rules:
            assert argument and formula and "_fit" not in formula and len(formula) < 75, (name, formula)
    assert set(boxes.WRITTEN_OUT) <= set(PRIMITIVES)


def test_rules_that_are_expressions_are_the_gradients():
    """The formulas read from the source, evaluated as Python, give what the tape gives."""
    rng = np.random.default_rng(0)
    words = {**vars(ops), **vars(F), "np": np}
    for name in "add subtract multiply divide negative exp log sqrt sigmoid tanh softplus".split():
        arguments = [a for a, _ in boxes.rules(name)]
        values = {a: md.Tensor(rng.uniform(0.5, 2, (2, 3)), requires_grad=True) for a in arguments}
        g = md.Tensor(rng.standard_normal((2, 3)))
        found = md.grad(PRIMITIVES[name](*values.values()), list(values.values()), gradient=g)
        for (argument, formula), gradient in zip(boxes.rules(name), found, strict=True):
            assert np.allclose(eval(formula, words, {**values, "g": g}).data, gradient.data), (name, argument)


def test_rules_leave_out_shortcuts_and_settings():
    """Of a rule with a shortcut the formula is shown, and other conditions stay;
    broadcasting, .array and settings go.
    """
    for source, shown in (("h * (x if recording() else slope)", "g * x"), ("h if wide else -h", "g if wide else -g"),
                          ("fit(h * b.array, a)", "g * b"),
                          ("conv_transpose(h, w, window=window)", "conv_transpose(g, w)")):
        assert ast.unparse(boxes._Plain("h").visit(ast.parse(source, mode="eval"))) == shown


def small_loss():
    a, b = (md.Tensor(np.array([1.0, 2.0]), requires_grad=True) for _ in range(2))
    x = md.Tensor(np.array([3.0, -1.0]))
    return ((a * x + b) * a).sum() / 2, a, b, x


def texts(picture):
    return [text.get_text() for text in picture.axes[0].texts]


def test_all_boxes_are_drawn_with_shapes_rules_and_norms():
    loss, a, b, x = small_loss()
    written = texts(tape.draw_tape(loss, {"a": a, "b": b, "x": x}))
    norm = np.linalg.norm(md.grad(loss, a)[0].data)
    operations = {"multiply  2", "add  2", "sum  one number", "divide  one number"}
    assert operations | {"a", "b", "x", "2", "to a: g * b", f"|gradient| {norm:.3g}"} <= set(written)
    assert a.grad is None and b.grad is None                     # drawing changes nothing


def test_what_is_not_asked_for_is_drawn_without_rules():
    loss, a, b, x = small_loss()
    picture = tape.draw_tape(loss, {"a": a, "b": b, "x": x}, wanted=[b])
    assert "to a: g * b" in texts(picture) and "to b: g * a" not in texts(picture)
    dashed = [line for line in picture.axes[0].lines if line.get_linestyle() == "--"]
    # Those of a into both products, of x, of 2, and of the first product, which b is no part of.
    assert len(dashed) == 5


def test_what_is_used_twice_has_two_arrows():
    """Side by side, both into the box that uses it: a gradient comes back along each."""
    a = md.Tensor(np.array([1.0, 2.0]), requires_grad=True)
    for result, count in (((a * a).sum(), 3), (a.sum(), 1)):
        lines = [tuple(map(tuple, line.get_xydata())) for line in tape.draw_tape(result, {"a": a}).axes[0].lines]
        assert len(lines) == count and len(set(lines)) == count
    tips = tape.draw_tape((a * a).sum(), {"a": a}).axes[0].lines[:2]
    assert abs(tips[0].get_xdata()[-1] - tips[1].get_xdata()[-1]) == pytest.approx(tape.ARROW_GAP)


def test_second_order_operations_have_another_tone():
    """Of the walk forward only x * x is needed again;
    all other operations belong to the walk back.
    """
    x = md.Tensor(np.array([0.5, 1.5]), requires_grad=True)
    value = (x * x * x).sum()
    slope, = md.grad(value, x, create_graph=True)
    result = (slope * slope).sum()
    operations = [t for t in boxes.history(result) if t.node]
    patches = tape.draw_tape(result, {"x": x}, first=value).axes[0].patches
    fills = [to_hex(patch.get_facecolor()) for patch in patches if patch.get_linewidth()]
    assert fills.count(PALETTE["paper"]) == 1
    assert fills.count(PALETTE["middle"]) == len(operations) - 1
    assert PALETTE["middle"] not in {to_hex(patch.get_facecolor()) for patch in tape.draw_tape(result).axes[0].patches}


@pytest.mark.parametrize("example", list(tape.EXAMPLES))
def test_no_box_covers_another(example):
    """In the pictures of the command line: all boxes apart, all text inside its box,
    everything inside the picture.
    """
    picture = tape.draw_tape(**tape.EXAMPLES[example](2, np.random.default_rng(0)))
    renderer = FigureCanvasAgg(picture).get_renderer()

    def within(words, box):
        return box.x0 <= words.x0 and words.x1 <= box.x1 and box.y0 <= words.y0 and words.y1 <= box.y1
    boxes = [patch.get_window_extent(renderer) for patch in picture.axes[0].patches]
    for i, one in enumerate(boxes):
        for other in boxes[i + 1:]:
            assert not (one.x0 < other.x1 and other.x0 < one.x1 and one.y0 < other.y1 and other.y0 < one.y1)
        assert one.x0 >= 0 and one.y0 >= 0 and one.x1 <= picture.bbox.x1 and one.y1 <= picture.bbox.y1
    for text in picture.axes[0].texts:
        inside = any(within(text.get_window_extent(renderer), box) for box in boxes)
        assert inside or not text.get_text(), text.get_text()


def test_the_reference_step_is_all_there(tmp_path):
    written = texts(tape.draw_tape(**tape._generator_loss(2, np.random.default_rng(0))))
    assert sum(line.startswith("conv_transpose ") for line in written) == 2
    assert sum(line.startswith("conv ") for line in written) == 2
    # D's kernels get no gradient.
    assert "to w: conv_kernel(g, y)" in written and "to w: conv_kernel(x, g)" not in written
    assert figure.save(tape.draw_tape(small_loss()[0]), tmp_path / "tape.svg").stat().st_size > 1000


def test_what_was_not_recorded_is_refused():
    with pytest.raises(ValueError, match="nothing was recorded"):
        tape.draw_tape(md.Tensor(np.ones(3)))


def test_layers_lead_down_and_chains_are_straight():
    """A diamond with a long side between two chains."""
    parents = [[], [0], [1], [1], [3], [2, 4], [5], [6]]
    spots, bends = layering.place(parents, [1.0] * 8)
    for child, above in enumerate(parents):
        assert all(spots[p][1] < spots[child][1] for p in above)
    for one, below in ((0, 1), (5, 6), (6, 7), (3, 4)):
        assert spots[one][0] == pytest.approx(spots[below][0], abs=1e-6)
    assert list(bends) == [(2, 5)] and [row for _, row in bends[2, 5]] == [3]


def test_order_avoids_crossings():
    """Two chains whose boxes alternate in number come apart into two columns."""
    parents = [[], [], [1], [0], [2], [3]]
    spots, _ = layering.place(parents, [1.0] * 6)
    left, right = (spots[0], spots[1]) if spots[0][0] < spots[1][0] else (spots[1], spots[0])
    chains = ([0, 3, 5], [1, 2, 4])
    for chain in chains:
        assert len({round(spots[box][0], 6) for box in chain}) == 1
    assert right[0] - left[0] >= 1


def test_neighbours_stand_in_the_row_of_their_box():
    spots, _ = layering.place([[], [], [], [0, 1, 2], [3]], [2.0, 1.0, 1.0, 3.0, 1.0], {1: 3, 2: 3})
    assert spots[1][1] == spots[2][1] == spots[3][1]
    assert spots[1][0] == pytest.approx(spots[3][0] - 2) and spots[2][0] == pytest.approx(spots[3][0] + 2)
