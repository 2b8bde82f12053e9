"""The integer arithmetic of sliding windows, tested by the inequalities that
define it and against loops that count.
"""
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minideconv.shapes import (
    conv_size,
    conv_window,
    padding_pairs,
    pair,
    same_padding,
    span,
    touching_range,
    transposed_size,
    transposed_window,
)

size = st.integers(1, 20)
windows = st.integers(1, 12)
kernel = st.integers(1, 6)
stride = st.integers(1, 5)
pad = st.integers(0, 4)
dilation = st.integers(1, 3)
two = st.tuples
pads = two(two(pad, pad), two(pad, pad))     # ((top, bottom), (left, right))


def reach(kernel, dilation):
    """Pixels from the first tap to the last, counted."""
    taps = [u * dilation for u in range(kernel)]
    return len(range(taps[0], taps[-1] + 1))


# ---- sizes

@given(kernel, dilation)
def test_span_counts_from_the_first_tap_to_the_last(k, d):
    assert span(k, d) == reach(k, d)


@given(size, kernel, stride, pad, pad, dilation)
def test_conv_size_is_the_largest_number_of_windows_that_fit(i, k, s, before, after, d):
    o = conv_size(i, k, s, before, after, d)
    assert (o - 1) * s + reach(k, d) <= before + i + after < o * s + reach(k, d)


@given(windows, kernel, stride, pad, pad, dilation)
def test_transposed_size_is_the_smallest_image_with_that_many_windows(o, k, s, before, after, d):
    i = transposed_size(o, k, s, before, after, d)
    assert conv_size(i, k, s, before, after, d) == o
    assert conv_size(i - 1, k, s, before, after, d) == o - 1


@given(windows, kernel, stride, pad, pad, dilation, st.data())
def test_every_legal_extra_keeps_the_number_of_windows(o, k, s, before, after, d, data):
    extra = data.draw(st.integers(0, s - 1))
    i = transposed_size(o, k, s, before, after, d, extra)
    assert i == transposed_size(o, k, s, before, after, d) + extra
    assert conv_size(i, k, s, before, after, d) == o


@given(size, kernel, stride, pad, dilation)
def test_the_right_extra_restores_any_size(i, k, s, p, d):
    """Dumoulin and Visin, relationship 14: a = (i + 2p - d(k-1) - 1) mod s."""
    a = (i + 2 * p - d * (k - 1) - 1) % s
    assert transposed_size(conv_size(i, k, s, p, p, d), k, s, p, p, d, a) == i


@given(size, kernel, stride, dilation)
def test_same_padding_is_the_least_that_keeps_ceil_of_size_over_stride(i, k, s, d):
    before, after = same_padding(i, k, s, d)
    wanted = math.ceil(i / s)
    assert after - before in (0, 1) and before >= 0                 # the odd pixel lies after
    assert conv_size(i, k, s, before, after, d) == wanted
    if before + after > 0:
        assert conv_size(i, k, s, 0, before + after - 1, d) == wanted - 1


def test_same_padding_of_a_4x4_layer_is_asymmetric_at_stride_1():
    assert same_padding(28, 4, 1) == (1, 2)
    assert same_padding(28, 4, 2) == (1, 1)


# ---- ranges

@given(st.integers(0, 15), st.integers(1, 8), kernel, stride, pad, dilation, windows)
def test_touching_range_is_what_a_loop_finds(start, length, k, s, before, d, count):
    stop = start + length
    low, high = touching_range(start, stop, k, s, before, d, count)
    overlapping = [o for o in range(count) if o * s - before < stop and o * s - before + reach(k, d) > start]
    assert list(range(low, high)) == overlapping
    touching = {o for o in range(count) for u in range(k) if start <= o * s - before + u * d < stop}
    assert touching <= set(overlapping)         # a dilated kernel may step over the band


# ---- arguments

@pytest.mark.parametrize("value, expected", [
    (3, (3, 3)), ((2, 5), (2, 5)), ([2, 5], (2, 5)), (np.int64(4), (4, 4)), ((np.int32(1), 2), (1, 2))])
def test_pair_reads_one_integer_or_two(value, expected):
    both = pair(value, "stride")
    assert both == expected and all(type(one) is int for one in both)


@pytest.mark.parametrize("value, error", [
    (0, ValueError), ((1, 0), ValueError), (-2, ValueError), ((1, 2, 3), ValueError), ((1,), ValueError),
    ((), ValueError), (1.0, TypeError), ((1, 2.5), TypeError), (True, TypeError), ("2", TypeError), (None, TypeError)])
def test_pair_names_the_argument_and_the_value(value, error):
    with pytest.raises(error, match="stride") as raised:
        pair(value, "stride")
    assert repr(value) in str(raised.value)


def test_pair_may_start_at_zero():
    assert pair(0, "padding", least=0) == (0, 0)
    with pytest.raises(ValueError, match="padding must be at least 0; got -1"):
        pair(-1, "padding", least=0)


@pytest.mark.parametrize("padding, expected", [
    (0, ((0, 0), (0, 0))), (2, ((2, 2), (2, 2))), ((1, 2), ((1, 1), (2, 2))), (((1, 2), (3, 4)), ((1, 2), (3, 4))),
    ([[1, 2], [3, 4]], ((1, 2), (3, 4))), ((1, (3, 4)), ((1, 1), (3, 4))), ("valid", ((0, 0), (0, 0))),
    ("same", ((1, 2), (1, 1)))])
def test_padding_in_all_its_spellings(padding, expected):
    assert padding_pairs(padding, (28, 28), (4, 3), (1, 1), (1, 1)) == expected


@pytest.mark.parametrize("padding, error", [
    ("full", ValueError), (-1, ValueError), ((1, -1), ValueError), (((1, -1), (0, 0)), ValueError),
    ((1, 2, 3), ValueError), (((1, 2, 3), (0, 0)), ValueError), (1.5, TypeError), (None, TypeError)])
def test_padding_errors_name_it(padding, error):
    with pytest.raises(error, match="padding"):
        padding_pairs(padding, (28, 28), (4, 4), (1, 1), (1, 1))


# ---- whole windows

@given(two(size, size), two(kernel, kernel), two(stride, stride), pads, two(dilation, dilation))
def test_conv_window_holds_every_axis_on_its_own(image, taps, strides, borders, dilations):
    expected = tuple(conv_size(i, k, s, *p, d)
                     for i, k, s, p, d in zip(image, taps, strides, borders, dilations, strict=True))
    assume(min(expected) >= 1)
    window = conv_window(image, taps, strides, borders, dilations, groups=2)
    assert window == (taps, strides, (borders[0][0], borders[1][0]), dilations, image, expected, 2)


@given(two(windows, windows), two(kernel, kernel), two(stride, stride), pads, two(dilation, dilation), st.data())
def test_transposed_window_is_the_window_of_the_convolution_back(features, taps, strides, borders, dilations, data):
    least = tuple(transposed_size(f, k, s, *p, d)
                  for f, k, s, p, d in zip(features, taps, strides, borders, dilations, strict=True))
    extra = tuple(data.draw(st.integers(0, s - 1)) for s in strides)
    image = least[0] + extra[0], least[1] + extra[1]
    assume(min(image) >= 1)
    window = transposed_window(features, taps, strides, borders, extra, dilations)
    assert window.image == image
    assert window == conv_window(image, taps, strides, borders, dilations)
    assert window == transposed_window(features, taps, strides, borders, 0, dilations, output_size=image)
    # Both, and they agree.
    assert window == transposed_window(features, taps, strides, borders, extra, dilations, output_size=image)


@given(two(windows, windows), two(kernel, kernel), two(stride, stride), two(dilation, dilation))
def test_transposed_same_multiplies_the_size_by_the_stride(features, taps, strides, dilations):
    window = transposed_window(features, taps, strides, "same", 0, dilations)
    assert window.image == (features[0] * strides[0], features[1] * strides[1]) and window.features == features
    totals = [max(span(k, d) - s, 0) for k, s, d in zip(taps, strides, dilations, strict=True)]
    assert window.padding == tuple(total // 2 for total in totals)      # the crop; the odd pixel after


def test_transposed_same_takes_an_output_size_that_has_as_many_windows():
    assert transposed_window((4, 4), (3, 3), 2, "same", 0, 1, output_size=(7, 8)).image == (7, 8)
    with pytest.raises(ValueError, match=r"output_size \(9, 8\).*\(5, 4\).*\(4, 4\)"):
        transposed_window((4, 4), (3, 3), 2, "same", 0, 1, output_size=(9, 8))
    with pytest.raises(ValueError, match="output_padding must be 0; got 1"):
        transposed_window((4, 4), (3, 3), 2, "same", 1, 1)


def test_output_padding_may_reach_the_dilation():
    assert transposed_window((3, 3), (2, 2), 1, 0, 2, 3).image == (8, 8)


@pytest.mark.parametrize("arguments, words", [
    (((3, 9), (4, 4), 1, 0, 1), "4x4 .*does not fit into an image of 3x9"),
    (((9, 4), (3, 3), 1, 0, 2), "5x5 .*dilation"),
    (((9, 9), (3, 3), 0, 0, 1), "stride must be at least 1; got 0"),
    (((9, 9), (3, 3), 1, 0, (1, 0)), "dilation must be at least 1")])
def test_conv_window_errors(arguments, words):
    with pytest.raises(ValueError, match=words):
        conv_window(*arguments)


@pytest.mark.parametrize("keywords, words", [
    (dict(output_padding=2),
     r"below max\(stride, dilation\) = 2; got 2 on axis H \(legal output sizes there: 9 to 10\)"),
    (dict(output_padding=(0, 2)), "got 2 on axis W"),
    (dict(output_padding=-1), "output_padding must be at least 0"),
    (dict(output_size=(9, 11)), "got 2 on axis W"),
    (dict(output_size=(8, 9)), "got -1 on axis H"),
    (dict(output_size=(10, 10), output_padding=(0, 1)),
     r"asks for output_padding \(1, 1\), but output_padding is \(0, 1\)"),
    (dict(padding=5), "crops the output away"),
    (dict(padding="full"), "padding must be")])
def test_transposed_window_errors(keywords, words):
    with pytest.raises(ValueError, match=words):
        transposed_window(**{**dict(features=(4, 4), kernel=(3, 3), stride=2, padding=0, output_padding=0, dilation=1),
                             **keywords})
