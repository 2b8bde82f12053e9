"""Lesson 4: a convolution is a matrix product in disguise,
and one formula holds everything that the engine does with kernels.
"""
# %% [markdown]
# # 4. A convolution is a matrix
#
# Takes about 5 seconds on 2 cores, 10 more where the engine's loops have to be compiled first
# (`MINIDECONV_SHORT=1` changes nothing here), and twenty minutes to read.
#
# You need Python and NumPy, and what a matrix product is. Run it with `python
# tutorials/04_convolution_is_a_matrix.py`, open it as a notebook, or step through it in a
# debugger. Every claim is an `assert`.
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
# For one image with one channel, in loops. `stride` is how far the window moves, `padding` how
# many rows and columns of zeros we imagine around the image. Output (i, j) looks at pixel
# (stride*i + u - padding, stride*j + v - padding) through kernel entry (u, v).


# %%
def conv_loops(x, w, stride, padding):
    """x (H, W), w (KH, KW) -> y (OH, OW), straight from the definition."""
    (height, width), (kh, kw) = x.shape, w.shape
    y = np.zeros(((height + 2 * padding - kh) // stride + 1, (width + 2 * padding - kw) // stride + 1))
    for i, j in np.ndindex(y.shape):
        for u, v in np.ndindex(w.shape):
            row, column = stride * i + u - padding, stride * j + v - padding
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
# The same, window by window. The hatched ring is the padding: zeros that are read but stored
# nowhere. The right-most picture counts how often each pixel was read. With stride 2 and a 3x3
# kernel the counts are uneven; remember that for lesson 7.

# %%
figure.keep(step.strip(walk.conv(x, w, stride=2, padding=1), frames=[0, 4]), "04_steps.png")

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
# each output is a weighted sum of *all* inputs, plus a constant b, the *bias*.) The
# dense layer stores and learns every entry of W. C is nearly empty and repeats nine numbers. Some
# articles write y = f(Wx + b) for a convolution: true of C, but C is never stored, and W hides the
# point.

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
# kernel is therefore a four-dimensional array (KH, KW, C, O), not "a two-dimensional matrix" as
# one reads. A window's row now has KH*KW*C numbers, the product gives O at once.

# %%
images = rng.integers(-9, 10, (2, 8, 7, 3)).astype(float)                   # N=2, H=8, W=7, C=3
kernel = rng.integers(-9, 10, (4, 3, 3, 5)).astype(float)                   # KH=4, KW=3, C=3, O=5
columns = F.im2col(images, (4, 3), stride=2, padding=1).data                # (2, 4, 4, 4*3*3)
features = columns @ kernel.reshape(4 * 3 * 3, 5)                           # (2, 4, 4, 5)
assert np.array_equal(features, F.conv2d(images, kernel, stride=2, padding=1).data)

one_by_one = sum(conv_loops(images[1, :, :, c], kernel[:, :, c, 4], 2, 1) for c in range(3))
assert np.array_equal(features[1, :, :, 4], one_by_one)                     # channels of one output simply add up

# %% [markdown]
# ## One formula for everything
#
# Multiply every output by some number y and add it all up. What you get is a single number that
# depends on three arrays:
#
#     T(x, w, y) = sum over n, i, j, u, v, c, o  of
#                  x[n, s*i + u - p, s*j + v - p, c] * w[u, v, c, o] * y[n, i, j, o]
#
# It is linear in x, in w and in y; such a form is called *trilinear*. Nothing else is needed to
# understand the engine, because its three derivatives are the three operations that every
# convolutional network is made of:
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
# A derivative says how much T changes when one entry grows. As T is linear in each array, growing
# an entry by 1 changes T by *exactly* the derivative: no small step, no approximation. We try it
# on one random entry of each.

# %%
for place, (array, derivative) in enumerate(((images, by_x), (kernel, by_w), (y, by_y))):
    entry = tuple(rng.integers(0, array.shape))
    arrays = [images, kernel, y]
    arrays[place] = array.copy()
    arrays[place][entry] += 1
    assert T(*arrays) - T(images, kernel, y) == derivative[entry]

# %% [markdown]
# ## What to take with you
#
# - Convolution is multiplication with a matrix C that is mostly zeros and repeats the kernel.
#   Nobody stores it.
# - `im2col` lays the windows out as rows, so that one full matrix product does the work.
# - Kernels are (KH, KW, C, O). There is no flip.
# - One trilinear form, three derivatives: convolution, transposed convolution, kernel gradient.
#
# Sources: V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016,
# arXiv:1603.07285; K. Chellapilla, S. Puri and P. Simard, "High performance convolutional neural
# networks for document processing", 2006 (im2col).
