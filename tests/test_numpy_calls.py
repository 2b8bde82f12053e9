"""NumPy's own functions on Tensors: this engine's, on the tape, or a TypeError that names the function.

Also what NumPy and Tensors give each other: operators, comparisons, numbers, subclasses, byte orders.
"""

import math

import numpy as np
import pytest

import minideconv as md
from minideconv import Tensor, ops
from minideconv.numpy_calls import FUNCTIONS, UFUNCS

ARRAY = np.array([[0.5, 2.0, 1.25], [3.0, 0.75, 4.0]])
OTHER = np.array([1.5, -2.0, 0.25])

CALLS = {
    "add": lambda x: np.add(x, OTHER),
    "subtract": lambda x: np.subtract(OTHER, x),
    "multiply": lambda x: np.multiply(x, OTHER),
    "divide": lambda x: np.divide(OTHER, x),
    "negative": np.negative,
    "positive": np.positive,
    "power": lambda x: np.power(x, 3),
    "square": np.square,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "absolute": np.abs,
    "fabs": np.fabs,
    "tanh": np.tanh,
    "maximum": lambda x: np.maximum(x, 1),
    "minimum": lambda x: np.minimum(1, x),
    "matmul": lambda x: np.matmul(x, ARRAY.T),
    "sum": lambda x: np.sum(x, 0),
    "mean": lambda x: np.mean(x, axis=-1, keepdims=True),
    "var": lambda x: np.var(x, 1, ddof=1),
    "std": lambda x: np.std(x, (0, 1)),
    "max": lambda x: np.max(x, axis=0),
    "min": lambda x: np.min(x),
    "amax": np.amax,
    "amin": lambda x: np.amin(x, 1),
    "clip": lambda x: np.clip(x, 1, 2),
    "where": lambda x: np.where(ARRAY > 1, x, 0),
    "concatenate": lambda x: np.concatenate([x, ARRAY, x], axis=1),
    "stack": lambda x: np.stack([x, x], axis=-1),
    "pad": lambda x: np.pad(x, ((1, 0), (2, 1)), constant_values=7),
    "reshape": lambda x: np.reshape(x, (3, -1)),
    "ravel": np.ravel,
    "broadcast_to": lambda x: np.broadcast_to(x, (2, 2, 3)),
    "squeeze": lambda x: np.squeeze(x[:1], axis=0),
    "transpose": lambda x: np.transpose(x, (1, 0)),
    "array + t": lambda x: OTHER + x,
    "array - t": lambda x: OTHER - x,
    "array * t": lambda x: OTHER * x,
    "array / t": lambda x: OTHER / x,
    "array ** t": lambda x: np.abs(OTHER) ** x,
    "array @ t": lambda x: ARRAY.T @ x,
    "float64 * t": lambda x: np.float64(2) * x,
    "int64 - t": lambda x: np.int64(2) - x,
    "matrix * t": lambda x: np.asarray(OTHER) * x,
}


@pytest.mark.parametrize("name", CALLS)
def test_fault_17_numpys_functions_are_the_engines(name):
    x = Tensor(ARRAY.copy(), requires_grad=True)
    y, expected = CALLS[name](x), np.asarray(CALLS[name](ARRAY))
    assert type(y) is Tensor and y.requires_grad and y.dtype == expected.dtype
    assert y.shape == expected.shape and np.allclose(y.data, expected, rtol=1e-14)
    assert md.gradcheck(CALLS[name], ARRAY + 1 / 16)


def test_fault_17_every_listed_function_is_tried():
    assert {function.__name__ for function in [*UFUNCS, *FUNCTIONS]} <= set(CALLS)


REFUSED = {
    "np.sin": lambda t: np.sin(t),
    "np.cumsum": lambda t: np.cumsum(t),
    "np.median": lambda t: np.median(t),
    "np.sort": lambda t: np.sort(t),
    "np.fft.fft": lambda t: np.fft.fft(t),
    "np.linalg.norm": lambda t: np.linalg.norm(t),
    "np.dot": lambda t: np.dot(t, t),
    "np.vstack": lambda t: np.vstack([t, t]),
    "np.einsum": lambda t: np.einsum("ij->j", t),
    "np.floor_divide": lambda t: ARRAY // t,
    "np.remainder": lambda t: ARRAY % t,
    "np.add.reduce": lambda t: np.add.reduce(t),
    "np.multiply.outer": lambda t: np.multiply.outer(ARRAY, t),
    "np.add": lambda t: np.add(ARRAY, t, out=np.zeros((2, 3))),
    "np.exp": lambda t: np.exp(t, dtype=np.float32),
    "np.sum": lambda t: np.sum(t, dtype=np.float32),
    "np.mean": lambda t: np.mean(t, where=ARRAY > 1),
    "np.reshape": lambda t: np.reshape(t, (3, 2), order="F"),
    "np.zeros_like": lambda t: np.zeros_like(t),
    "np.log1p": np.log1p,
    "np.histogram": np.histogram,
    "np.where": lambda t: np.where(t),
}


@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("name", REFUSED)
def test_fault_17_what_the_engine_has_not_is_named(name, requires_grad):
    with pytest.raises(TypeError, match=r"use \.numpy\(\)") as caught:
        REFUSED[name](Tensor(ARRAY, requires_grad=requires_grad))
    assert name in str(caught.value)


def test_fault_17_an_array_is_not_written_behind_the_tapes_back():
    array = ARRAY.copy()
    with pytest.raises(TypeError, match=r"write array = array \+ t"):
        array += Tensor(ARRAY)
    assert np.array_equal(array, ARRAY)


def test_questions_are_answered():
    t = Tensor(ARRAY)
    assert np.shape(t) == (2, 3) and np.ndim(t) == 2 and np.size(t) == 6
    assert np.allclose(t, ARRAY) and np.array_equal(ARRAY, t) and not np.array_equal(t, ARRAY + 1)
    assert (
        type(np.isfinite(t)) is np.ndarray
        and np.isfinite(t).all()
        and not np.isnan(t).any()
        and np.isclose(t, ARRAY).all()
    )


# ---- one number


def test_fault_17_one_number():
    loss = Tensor(np.array([[0.12345]], np.float32), requires_grad=True)
    assert float(loss) == np.float32(0.12345) and int(loss * 100) == 12 and bool(loss) and f"{loss:.3f}" == "0.123"
    assert (
        f"{loss:8.2e}" == "1.23e-01"
        and f"{loss}" == str(loss) == repr(loss)
        and math.isclose(math.sqrt(loss), 0.12345**0.5, rel_tol=1e-6)
    )
    assert f"{Tensor(np.array(7)):d}" == "7" and int(Tensor(np.array([True]))) == 1


@pytest.mark.parametrize("shape", [(2,), (0,), (1, 3)])
@pytest.mark.parametrize(
    "ask", [float, int, bool, lambda t: f"{t:.3f}", lambda t: t.item()], ids=["float", "int", "bool", "format", "item"]
)
def test_fault_17_many_numbers_are_no_number(ask, shape):
    with pytest.raises(ValueError, match="one entry; this one has shape") as caught:
        ask(Tensor(np.ones(shape)))
    assert str(shape) in str(caught.value)


def test_fault_17_tensors_by_position_settings_by_name():
    with pytest.raises(
        TypeError,
        match=r"sum\(x, \*, axis=None, keepdims=False\) takes Tensors by position, 1 at most, and settings by name",
    ):
        ops.sum(np.ones((2, 3)), 0)
    with pytest.raises(TypeError, match="takes Tensors by position, 2 at most"):
        ops.add(1, 2, 3)


# ---- fault 8: comparisons


@pytest.mark.parametrize(
    "compare",
    [
        lambda a, b: a < b,
        lambda a, b: a <= b,
        lambda a, b: a > b,
        lambda a, b: a >= b,
        lambda a, b: a == b,
        lambda a, b: a != b,
    ],
    ids=["<", "<=", ">", ">=", "==", "!="],
)
@pytest.mark.parametrize(
    "other",
    [2, 2.0, np.float32(2), np.array([1, 2, 3]), [1, 2, 3], np.array([[1.0], [2.0]]), np.array(True), True],
    ids=repr,
)
def test_fault_08_comparisons_go_entry_by_entry(compare, other):
    for array in (np.array([[1.0, 2.0, 3.0], [2.0, 1.0, 4.0]], np.float32), np.array([[1, 2, 3], [2, 1, 4]], np.uint8)):
        t = Tensor(array)
        for left, right in (
            (t, other),
            (other, t),
            *(((t, Tensor(other)), (Tensor(other), t)) if isinstance(other, np.ndarray) else ()),
        ):
            result = compare(left, right)
            expected = compare(*(np.asarray(one.data if isinstance(one, Tensor) else one) for one in (left, right)))
            assert type(result) is np.ndarray and result.dtype == bool and np.array_equal(result, expected)


def test_fault_08_accuracy():
    predictions, labels = Tensor(np.array([0, 2, 1, 1])), np.array([0, 1, 1, 1])
    assert (
        np.mean(predictions == labels)
        == np.mean(labels == predictions)
        == (predictions == Tensor(labels)).mean()
        == 0.75
    )
    assert (predictions != labels).sum() == 1


def test_fault_08_numbers_that_the_dtype_does_not_hold():
    assert (Tensor(np.float32([0.1])) == 0.1).all() and (Tensor(np.float32([0.1, 0.2])) == [0.1, 0.2]).all()
    assert not (Tensor(np.array([44], np.uint8)) == 300).any() and (Tensor(np.array([44], np.uint8)) < 300).all()
    assert (Tensor(np.array([2**53 + 1])) != 2**53).all()


def test_fault_08_what_is_no_number_is_not_equal():
    t = Tensor([1.0, 2.0])
    assert (t == None) is False and (t != "text") is True and t != object()  # noqa: E711
    with pytest.raises(TypeError):
        _ = t < None
    with pytest.raises(ValueError):
        _ = t == np.ones(3)


def test_fault_08_tensors_are_keys_by_identity():
    a, b = Tensor([1.0, 2.0]), Tensor([1.0, 2.0])
    assert {a: 1, b: 2}[a] == 1 and len({a, b, a}) == 2 and hash(a) != hash(b)


def test_fault_08_truth_and_iteration():
    assert not Tensor([0.0]) and not Tensor(0.0) and Tensor([[2.0]]) and not Tensor(np.array([False]))
    with pytest.raises(TypeError, match="no axes"):
        list(Tensor(1.0))
    assert (
        [float(one) for one in Tensor([1.0, 2.0])] == [1.0, 2.0]
        and 2.0 in Tensor([[1.0], [2.0]])
        and 3 not in Tensor([1.0])
        and None not in Tensor([1.0])
    )


# ---- fault 7: subclasses of ndarray


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_fault_07_a_matrix_is_an_array():
    matrix = np.matrix([[1.0, 2.0], [3.0, 4.0]])
    plain, x = np.asarray(matrix), Tensor(np.array([[5.0, 6.0], [7.0, 8.0]]))
    assert type(Tensor(matrix).data) is np.ndarray and Tensor(matrix)[0].shape == (2,)
    for result, expected in (
        (Tensor(matrix) * x, plain * x.data),
        (matrix * x, plain * x.data),
        (x * matrix, plain * x.data),
        (x + matrix, plain + x.data),
        (matrix - x, plain - x.data),
        (matrix @ x, plain @ x.data),
        (md.where(matrix > 1, x, 0), np.where(plain > 1, x.data, 0)),
        (md.concatenate([matrix, x]), np.concatenate([plain, x.data])),
        (x[np.matrix([0, 1])], x.data[np.array([[0, 1]])]),
    ):
        assert type(result) is Tensor and type(result.data) is np.ndarray and np.array_equal(result.data, expected)
    x.data = matrix
    assert type(x.data) is np.ndarray and type(x == matrix) is np.ndarray


MASKED = np.ma.array([1.0, 2.0, 3.0], mask=[True, False, False])


@pytest.mark.parametrize(
    "use",
    [
        lambda x: Tensor(MASKED),
        lambda x: x + MASKED,
        lambda x: MASKED + x,
        lambda x: MASKED * x,
        lambda x: np.ma.exp(x),
        lambda x: x == MASKED,
        lambda x: md.where(MASKED > 1, x, 0),
        lambda x: md.concatenate([x, MASKED]),
        lambda x: x[MASKED.astype(int)],
        lambda x: setattr(x, "data", MASKED),
        lambda x: (x * 1).backward(MASKED),
        lambda x: md.functional.mse_loss(x, MASKED),
        lambda x: md.functional.binary_cross_entropy(MASKED, x),
        lambda x: md.pad(x, 1, constant_values=MASKED[:2]),
        lambda x: md.gradcheck(lambda x: x, MASKED),
        lambda x: x @ MASKED,
        lambda x: np.maximum(x, MASKED),
        lambda x: Tensor(np.ma.masked),
    ],
)
def test_fault_07_masked_arrays_are_refused(use):
    with pytest.raises(TypeError, match="mask"):
        use(Tensor(np.array([0.5, 0.25, 1.0]), requires_grad=True))


def test_fault_07_a_memmap_is_the_array_that_it_holds(tmp_path):
    mapped = np.memmap(tmp_path / "file", np.float32, "w+", shape=(4,))
    x = Tensor(mapped, requires_grad=True)
    assert type(x.data) is np.ndarray and np.shares_memory(x.data, mapped)
    loss = (x * x).sum()
    mapped[0] = 1
    with pytest.raises(md.TapeError):
        loss.backward()


# ---- fault 14: byte order


@pytest.mark.parametrize("kind", ["f4", "f8", "i4", "u2", "i8"])
def test_fault_14_another_byte_order_is_taken_as_native(kind):
    swapped = np.arange(6).reshape(2, 3).astype(kind).astype(np.dtype(kind).newbyteorder())
    native = swapped.astype(kind)
    x = Tensor(native.astype(np.float64), requires_grad=True)
    assert (
        Tensor(swapped).dtype == np.dtype(kind)
        and Tensor(swapped).dtype.isnative
        and np.array_equal(Tensor(swapped).data, native)
    )
    for result in (
        x * swapped,
        swapped * x,
        x + Tensor(swapped),
        md.where(swapped > 2, x, swapped),
        md.concatenate([x, swapped]),
        np.maximum(x, swapped),
        x.astype(swapped.dtype),
        md.functional.relu(swapped),
        md.functional.mse_loss(x, swapped, reduction="none"),
    ):
        assert result.dtype.isnative
    assert np.array_equal((x * swapped).data, x.data * native) and (Tensor(native) == swapped).all()
    (x * 1).backward(swapped)
    assert x.grad.dtype.isnative and np.array_equal(x.grad, native)
    x.data = swapped.astype(np.dtype("f8").newbyteorder())
    assert x.dtype.isnative and np.array_equal(x.data, native)
    if kind[0] != "f":
        assert np.array_equal(x[swapped[0, :2]].data, x.data[native[0, :2]])
        assert (
            md.functional.cross_entropy(x, swapped[0, :2]).item()
            == md.functional.cross_entropy(x, native[0, :2]).item()
        )
