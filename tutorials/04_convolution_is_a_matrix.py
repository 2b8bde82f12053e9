"""Lesson 4: a convolution is a matrix product in disguise,
and one formula holds everything that the engine does with kernels.
"""
# %% [markdown]
# # 4. A convolution is a matrix
#
# Takes about 5 seconds on 2 cores, 10 more where the engine's loops have to be compiled first
# (`MINIDECONV_SHORT=1` changes nothing here), and twenty minutes to read.
#
# You need NumPy and what a matrix product is, and in one cell lesson 2 (a tape finds gradients).
#
# A convolution slides a small *kernel* of numbers over an image. At each place it multiplies the
# kernel with the pixels underneath and adds up. An image here has the shape (N, H, W, C): N
# images, H rows, W columns, C channels (1 for grey, 3 for colour).

# %%
import numpy as np

import minideconv as md
import minideconv.functional as F
from minideconv.draw import figure, matrix, step, walk

digit = md.data.strokes(count=8, seed=3)[0][5] / 255.0          # (28, 28, 1), ink 1 on 0
# Grows where it is brighter on the right than on the left.
edges = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
found = F.conv2d(digit[None], edges[:, :, None, None]).data     # (1, 26, 26, 1)
assert found.shape == (1, 26, 26, 1)

# %% [markdown]
# A 3x3 kernel fits 26 times into 28 pixels, so 26x26 numbers come out. They are called *features*:
# each says how well the kernel fits there.

# %%
images = {"image x, 28x28": digit, "kernel w, 3x3": edges, "features y, 26x26": found}
figure.keep(figure.gallery(images, notes=["grey: 0, light: ink", "dark: negative", "light: left edge, dark: right"]),
            "04_edges.png")

# %% [markdown]
# ## The slow version
#
# For one image with one channel, in loops. `stride` is how far the window moves, `padding` how many
# rows and columns of zeros we imagine around the image, `dilation` how far apart the kernel's
# entries, its *taps*, look. Output (i, j) looks through tap (u, v) at pixel
# `(stride*i + dilation*u - padding, stride*j + dilation*v - padding)`.


# %%
def conv_loops(x, w, stride, padding, dilation=1):
    """x (H, W), w (KH, KW) -> y (OH, OW), straight from the definition."""
    (height, width), (kh, kw) = x.shape, (dilation * (k - 1) + 1 for k in w.shape)          # what the kernel spans
    y = np.zeros(((height + 2 * padding - kh) // stride + 1, (width + 2 * padding - kw) // stride + 1))
    for i, j in np.ndindex(y.shape):
        for u, v in np.ndindex(w.shape):
            row, column = stride * i + dilation * u - padding, stride * j + dilation * v - padding
            if 0 <= row < height and 0 <= column < width:                   # otherwise padding: a zero
                y[i, j] += x[row, column] * w[u, v]
    return y


# %% [markdown]
# We test with small whole numbers in float64. Sums of their products are exact, so results can be
# compared with `==` instead of "nearly equal".

# %%
rng = np.random.default_rng(0)
x = rng.integers(-9, 10, (5, 5)).astype(float)
w = np.arange(1.0, 10).reshape(3, 3)
slow = conv_loops(x, w, stride=2, padding=1)                                # (3, 3)
ours = F.conv2d(x[None, :, :, None], w[:, :, None, None], stride=2, padding=1).data[0, :, :, 0]
assert np.array_equal(slow, ours)

# %% [markdown]
# The same, window by window: the first, the middle one, the last. The hatched ring is the padding:
# zeros that are read but stored nowhere. On the right is counted how often each pixel was read.
# With stride 2 and a 3x3 kernel the counts are uneven; remember that for lesson 7.

# %%
figure.keep(step.strip(walk.conv(x, w, stride=2, padding=1), frames=[0, 4, 8], products=False), "04_steps.png")

# %% [markdown]
# With a dilation of 2 the same nine taps span 5x5 pixels. It is the convolution with a larger
# kernel that has zeros between the taps, without the products with zero.

# %%
spread = np.zeros((5, 5))
spread[::2, ::2] = w
assert np.array_equal(conv_loops(x, w, stride=1, padding=2, dilation=2), conv_loops(x, spread, stride=1, padding=2))
dilated = F.conv2d(x[None, :, :, None], w[:, :, None, None], padding=2, dilation=2).data[0, :, :, 0]
assert np.array_equal(dilated, conv_loops(x, spread, stride=1, padding=2))

# %% [markdown]
# ## Mathematicians flip the kernel
#
# What deep learning calls convolution is *cross-correlation*. A convolution in the mathematical
# sense, such as `np.convolve`, runs through the kernel backwards. As kernels are learnt it makes
# no difference which one is used, as long as nobody mixes them.

# %%
signal, taps = np.array([1.0, 5, 2, 4, 3]), np.array([1.0, 2, 4])
correlated = conv_loops(signal[None, :], taps[None, :], stride=1, padding=0)[0]
assert np.array_equal(correlated, np.convolve(signal, taps[::-1], mode="valid"))
assert not np.array_equal(correlated, np.convolve(signal, taps, mode="valid"))

# %% [markdown]
# ## There must be a matrix
#
# For a fixed kernel the convolution is *linear*: scaling the image scales the result, and adding
# images adds results. Every linear map from 25 numbers to 9 numbers is a 9x25 matrix C. Its column
# k is what the map does to the image that is 1 at pixel k, and 0 elsewhere.

# %%
C = np.zeros((9, 25))
for k in range(25):
    unit = np.zeros(25)
    unit[k] = 1
    C[:, k] = conv_loops(unit.reshape(5, 5), w, stride=2, padding=1).ravel()
assert np.array_equal(C @ x.ravel(), slow.ravel())

# %% [markdown]
# Look at it. Each row holds the kernel once, spread over the pixels that one output reads; where
# the window hangs over the edge, a part is missing. `matrix.spy` builds C directly, draws it
# beside its transpose, and refuses to draw if the engine disagrees with either. (What the
# transpose is good for is lesson 5.)

# %%
assert np.array_equal(C, matrix.conv_matrix(w, (5, 5), stride=2, padding=1).dense())
figure.keep(matrix.spy(w, (5, 5), stride=2, padding=1), "04_matrix.png")

# %% [markdown]
# So how does it differ from a *dense* layer, y = f(Wx + b), which is a matrix product too? (Dense:
# each output is a weighted sum of *all* inputs, plus a constant b, the *bias*.) The dense layer
# stores and learns every entry of W. C is nearly empty, repeats nine numbers, and is never stored.

# %%
dense_numbers = C.size
assert dense_numbers == 225 and np.count_nonzero(C) == 49 and len(np.unique(C[C != 0])) == w.size == 9

large = matrix.conv_matrix(w, (28, 28), stride=1, padding=1)
# Numbers of a dense layer for one digit.
assert large.shape == (784, 784) and large.shape[0] * large.shape[1] == 614_656
# Entries of C: 1.1 %, and still 9 numbers.
assert len(large.values) == 6_724

# %% [markdown]
# **Question.** A 3x3 kernel slides over a 5x5 image with stride 1 and padding 1, so 25 windows of
# nine taps. How many entries of C are not zero: 225, or fewer? Think before you read on.
#
# <details><summary>Answer</summary>
#
# Fewer: taps that hang over the edge meet no pixel. Along one axis the five windows meet 2 + 3 + 3
# + 3 + 2 = 13 pixels, so in two dimensions 13 * 13 = 169.
#
# </details>

# %%
assert len(matrix.conv_matrix(w, (5, 5), stride=1, padding=1).values) == (2 + 3 + 3 + 3 + 2) ** 2 == 169

# %% [markdown]
# ## The rewrite that is fast: columns
#
# Multiplying by C would waste almost all its time on zeros. Turn it round: keep the kernel as a
# short vector, and copy each window's pixels into a row of their own. This is `im2col`, "image to
# columns" (the name is older than our row order). Then the whole convolution is one small, full
# matrix product, and that is what processors are best at.


# %%
def im2col_loops(x, kh, kw, stride, padding):
    """x (H, W) -> (OH*OW, KH*KW): one row per window."""
    padded = np.pad(x, padding)
    rows = range(0, padded.shape[0] - kh + 1, stride)
    columns = range(0, padded.shape[1] - kw + 1, stride)
    return np.array([padded[r:r + kh, c:c + kw].ravel() for r in rows for c in columns])


patches = im2col_loops(x, 3, 3, stride=2, padding=1)                        # (9, 9)
assert np.array_equal(patches @ w.ravel(), slow.ravel())                    # the slow result, once more
assert np.array_equal(patches.ravel(), F.im2col(x[None, :, :, None], 3, stride=2, padding=1).data.ravel())

# %% [markdown]
# ## Channels: the kernel has four axes
#
# Images have C channels, and we want O features at each place: one kernel for every pair. The
# kernel is therefore a four-dimensional array (KH, KW, C, O). A window's row now has KH*KW*C
# numbers, and the product gives O at once.

# %%
images = rng.integers(-9, 10, (2, 8, 7, 3)).astype(float)                   # N=2, H=8, W=7, C=3
kernel = rng.integers(-9, 10, (4, 3, 3, 5)).astype(float)                   # KH=4, KW=3, C=3, O=5
columns = F.im2col(images, (4, 3), stride=2, padding=1).data                # (2, 4, 4, 4*3*3)
features = columns @ kernel.reshape(4 * 3 * 3, 5)                           # (2, 4, 4, 5)
assert np.array_equal(features, F.conv2d(images, kernel, stride=2, padding=1).data)

one_by_one = sum(conv_loops(images[1, :, :, c], kernel[:, :, c, 4], 2, 1) for c in range(3))
assert np.array_equal(features[1, :, :, 4], one_by_one)                     # channels of one output simply add up

# %% [markdown]
# A *1x1 convolution* looks at one pixel: no neighbours, only channels. It is a dense layer applied
# to every pixel alike, and a cheap way from C channels to O.

# %%
narrow = rng.integers(-9, 10, (1, 1, 3, 5)).astype(float)
assert np.array_equal(F.conv2d(images, narrow).data, images @ narrow[0, 0])

# %% [markdown]
# ## How far a feature sees
#
# Behind several layers a feature depends on more pixels than one kernel spans: its *receptive
# field*. A layer with kernel k, dilation d and all strides before it multiplied to S adds
# `d * (k - 1)` steps of S pixels each. So, along one axis,
#
#     pixels seen = 1 + sum over the layers of  d * (k - 1) * (product of the strides before it)
#
# Strides pay most: they multiply all that comes after. A tape can measure it: a pixel is seen where
# the gradient of one feature is not zero.


# %%
def pixels_seen(layers):
    """The formula, for layers (kernel, stride, dilation)."""
    return 1 + sum(d * (k - 1) * np.prod([s for _, s, _ in layers[:place]], dtype=int)
                   for place, (k, _, d) in enumerate(layers))


for layers in ([(3, 1, 1)] * 3, [(3, 1, 1), (3, 1, 2), (3, 1, 4)], [(4, 2, 1)] * 3, [(3, 2, 1), (5, 1, 2), (1, 1, 1)]):
    row = out = md.Tensor(np.ones((1, 1, 80, 1)), requires_grad=True)
    for k, s, d in layers:
        out = F.conv2d(out, np.ones((1, k, 1, 1)), stride=(1, s), dilation=(1, d))
    seen, = md.grad(out[0, 0, out.shape[2] // 2, 0], row)
    print(f"layers (kernel, stride, dilation) {layers}: one feature sees {pixels_seen(layers)} pixels across")
    assert np.ptp(np.nonzero(seen.data[0, 0, :, 0])) + 1 == pixels_seen(layers)

# %% [markdown]
# ## One formula for everything
#
# First in one dimension, with one channel. Multiply every output by some number y[i] and add up:
#
#     T(x, w, y) = sum over i, u of  x[s*i + d*u - p] * w[u] * y[i]
#
# A single number, made of products of three. Keep two of the arrays and ask what one entry of the
# third is multiplied with: for y[i] it is the window under the kernel (a convolution), for a pixel
# x[k] all w[u] * y[i] that meet there (the stamps of lesson 1), for w[u] a sum over all windows.

# %%
signal, taps, s, d, p = rng.integers(-9, 10, 9).astype(float), rng.integers(-9, 10, 3).astype(float), 2, 1, 1
weights = rng.integers(-9, 10, 5).astype(float)                             # y: 9 pixels, 3 taps, 5 outputs
to_y, to_x, to_w = np.zeros(5), np.zeros(9), np.zeros(3)
for i, u in np.ndindex(5, 3):
    k = s * i + d * u - p
    if 0 <= k < 9:
        to_y[i] += signal[k] * taps[u]                                      # gathers
        to_x[k] += taps[u] * weights[i]                                     # scatters
        to_w[u] += signal[k] * weights[i]
assert to_y @ weights == to_x @ signal == to_w @ taps                       # the same number T, three times

# %% [markdown]
# In two dimensions, with batch and channels, the indices are more and the form is the same:
#
#     T(x, w, y) = sum over n, i, j, u, v, c, o  of
#                  x[n, s*i + d*u - p, s*j + d*v - p, c] * w[u, v, c, o] * y[n, i, j, o]
#
# It is linear in x, in w and in y, *trilinear*. Its three derivatives are the three operations that
# every convolutional network is made of:
#
# | derivative by | is | and maps |
# |---|---|---|
# | y | `conv2d(x, w)` | image to features |
# | x | `conv_transpose2d(y, w)`, the "deconvolution" of lesson 5 | features to image |
# | w | `conv_kernel_grad(x, y)`, what training needs | both to a kernel |


# %%
def T(x, w, y):
    return float((F.conv2d(x, w, stride=2, padding=1).data * y).sum())


y = rng.integers(-9, 10, features.shape).astype(float)
by_y = F.conv2d(images, kernel, stride=2, padding=1).data
by_x = F.conv_transpose2d(y, kernel, stride=2, padding=1, output_size=(8, 7)).data
by_w = F.conv_kernel_grad(images, y, (4, 3), stride=2, padding=1).data
assert T(images, kernel, y) == (by_y * y).sum() == (images * by_x).sum() == (kernel * by_w).sum()

# %% [markdown]
# %% [markdown]
# ## What to take with you
#
# - Convolution is multiplication with a matrix C that is mostly zeros and repeats the kernel.
#   Nobody stores it.
# - `im2col` lays the windows out as rows, so that one full matrix product does the work.
# - Kernels are (KH, KW, C, O). There is no flip. Kernels and strides say what a feature sees.
# - One trilinear form, three derivatives: convolution, transposed convolution, kernel gradient.
#
# Sources: V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016,
# arXiv:1603.07285; K. Chellapilla, S. Puri and P. Simard, "High performance convolutional neural
# networks for document processing", 2006 (im2col).
