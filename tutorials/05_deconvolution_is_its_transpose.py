"""Lesson 5: what is called deconvolution is the transpose of a convolution: shapes come back, values do not."""
# %% [markdown]
# # 5. Deconvolution is its transpose
#
# Takes about 5 seconds on 2 cores, 10 more where the engine's loops have to be compiled first
# (`MINIDECONV_SHORT=1` changes nothing here), and half an hour to read. Lesson 4 comes before it.
#
# Lesson 4 turned a convolution into a matrix C, from pixels to features. Generators of images need
# the other direction, from few numbers to many pixels. The layer that does it is called
# "deconvolution", and does not undo a convolution: it multiplies with the transpose, C^T. This
# lesson shows what that means, and what undoing takes.

# %%
import numpy as np

import minideconv as md
import minideconv.functional as F
from minideconv.draw import figure, matrix, step, walk

rng = np.random.default_rng(0)
y = rng.choice([-2.0, -1, 1, 2, 3], (3, 3))                                 # features, whole numbers: all is exact
w = rng.choice([-2.0, -1, 1, 2, 3], (3, 3))                                 # kernel

# %% [markdown]
# ## The slow version: stamps
#
# A convolution *gathers*: each output collects a window. The transposed convolution *scatters*:
# each input multiplies the whole kernel and stamps it onto the output, `stride` pixels further
# each time. Where stamps overlap they add up. At last, `padding` rows and columns are cut off all
# round.


# %%
def stamp_loops(y, w, stride, padding):
    """y (OH, OW), w (KH, KW) -> image (H, W), straight from the definition."""
    (oh, ow), (kh, kw) = y.shape, w.shape
    image = np.zeros((stride * (oh - 1) + kh, stride * (ow - 1) + kw))
    for i, j in np.ndindex(oh, ow):
        image[stride * i:stride * i + kh, stride * j:stride * j + kw] += y[i, j] * w
    return image[padding:image.shape[0] - padding, padding:image.shape[1] - padding]


slow = stamp_loops(y, w, stride=2, padding=1)                               # (5, 5)
ours = F.conv_transpose2d(y[None, :, :, None], w[:, :, None, None], stride=2, padding=1).data[0, :, :, 0]
assert np.array_equal(slow, ours)

# %% [markdown]
# It is lesson 1's `stamp` in two dimensions. A row of numbers is an image of height 1, with axes
# for batch, height, width and channels, three of them of length 1.

# %%
row, taps = np.array([2.0, 1, 3]), np.array([1.0, 3, 2])                    # lesson 1's picture
stamped = F.conv_transpose2d(row.reshape(1, 1, -1, 1), taps.reshape(1, -1, 1, 1), stride=(1, 2)).data
assert stamped.ravel().tolist() == [2, 6, 5, 3, 5, 9, 6]

# %% [markdown]
# ## It is the transpose
#
# Take the matrix C of the *convolution* with the same kernel, stride and padding. Column k of C^T
# is row k of C: the kernel, put where window k was. C^T y adds up those columns: stamps.

# %%
C = matrix.conv_matrix(w, (5, 5), stride=2, padding=1).dense()              # (9, 25)
assert np.array_equal(C.T @ y.ravel(), slow.ravel())                        # the slow result, once more

# %% [markdown]
# ## The rewrite that is fast: col2im
#
# `conv2d` was im2col, then a matrix product. Its transpose is the transposed steps in opposite
# order: first the product, which makes every stamp, then `col2im`, which puts them down and adds
# them up. The kernel (KH, KW, C, O) leads from C channels to O there, and from O to C here.

# %%
features = rng.integers(-9, 10, (2, 4, 3, 5)).astype(float)                 # N=2, OH=4, OW=3, O=5
kernel = rng.integers(-9, 10, (4, 3, 2, 5)).astype(float)                   # KH=4, KW=3, C=2, O=5
stamps = features @ kernel.reshape(4 * 3 * 2, 5).T                          # (2, 4, 3, 4*3*2): every stamp as a row
image = F.col2im(stamps, (8, 5), (4, 3), stride=2, padding=1).data          # (2, 8, 5, 2)
assert np.array_equal(image, F.conv_transpose2d(features, kernel, stride=2, padding=1).data)

# %% [markdown]
# ## The identity that defines it
#
# Write <a, b> for the sum of all products of two arrays of one shape. Then <C x, y> == <x, C^T y>.
# Such a map is called the *adjoint*; for real matrices, the transpose. It is the best test there is
# for such a layer: a stamp that is shifted by one pixel breaks it.

# %%
x = rng.integers(-9, 10, image.shape).astype(float)
forward = F.conv2d(x, kernel, stride=2, padding=1).data
assert (forward * features).sum() == (x * image).sum()
shifted = np.roll(image, 1, axis=2)                                         # right shape, values one pixel off
assert (forward * features).sum() != (x * shifted).sum()

# %% [markdown]
# And so each is the other's gradient: in every network with a convolution, the walk back already
# *is* a transposed convolution.

# %%
x_tape, y_tape = md.Tensor(x, requires_grad=True), md.Tensor(features, requires_grad=True)
F.conv2d(x_tape, kernel, stride=2, padding=1).backward(features)
F.conv_transpose2d(y_tape, kernel, stride=2, padding=1).backward(x)
assert np.array_equal(x_tape.grad, image) and np.array_equal(y_tape.grad, forward)

# %% [markdown]
# ## Padding is a crop
#
# `padding=1` of a convolution adds a ring of zeros; its transpose removes that ring.

# %%
one = {"x": y[None, :, :, None], "weight": w[:, :, None, None], "stride": 2}
everything = F.conv_transpose2d(**one, padding=0).data                      # (1, 7, 7, 1)
cropped = F.conv_transpose2d(**one, padding=1).data                         # (1, 5, 5, 1)
assert np.array_equal(cropped, everything[:, 1:-1, 1:-1])

# %% [markdown]
# ## Which size? output_padding
#
# A convolution with kernel 3, stride 2 and padding 1 maps images of 5 *and* of 6 pixels to 3
# features, so from 3 features the transposed convolution cannot know which is wanted. In general
# `stride` sizes share one feature size:
#
#     features = floor((pixels + 2*padding - kernel) / stride) + 1
#     pixels   = stride * (features - 1) + kernel - 2*padding + output_padding,
#     output_padding = 0 ... stride - 1
#
# `output_padding` picks one of them, and that is why it must be smaller than the stride. It is no
# margin of zeros: it crops one row and column less at the end, and where stamps reach these pixels
# they are computed like all others.

# %%
assert all(F.conv2d(np.zeros((1, n, n, 1)), one["weight"], stride=2, padding=1).shape[1] == 3 for n in (5, 6))
six = F.conv_transpose2d(**one, padding=1, output_padding=1).data           # (1, 6, 6, 1)
assert np.array_equal(six, everything[:, 1:, 1:])
assert np.array_equal(six, F.conv_transpose2d(**one, padding=1, output_size=(6, 6)).data)
assert np.any(six[:, -1] != 0)
try:
    F.conv_transpose2d(**one, padding=1, output_padding=2)
    raise AssertionError("output_padding=2 at stride 2 was taken")
except ValueError as error:
    assert "below max(stride, dilation) = 2" in str(error)
walked = walk.conv_transpose(y, w, stride=2, padding=1, output_padding=1)
figure.keep(step.strip(walked, frames=[0, 4, 8], products=False), "05_steps.png")

# %% [markdown]
# **Question.** A layer of a well-known kind has kernel 4, stride 2, padding 1. Which image sizes
# does its convolution map to 14 features? And what does the transposed layer make of 14 features
# by default?
#
# <details><summary>Answer</summary>
#
# floor((n + 2 - 4) / 2) + 1 = 14 for n = 28 and 29. The smaller one is the default (output_padding
# 0): 14 -> 28, doubled, one of two reasons for 4x4 stride-2 layers (the other is in lesson 7).
#
# </details>

# %%
four = np.ones((4, 4, 1, 1))
made = {n: F.conv2d(np.zeros((1, n, n, 1)), four, stride=2, padding=1).shape[1] for n in range(20, 40)}
assert [n for n, features in made.items() if features == 14] == [28, 29]
assert F.conv_transpose2d(np.zeros((1, 14, 14, 1)), four, stride=2, padding=1).shape == (1, 28, 28, 1)

# %% [markdown]
# ## "same", where sizes agree and values do not
#
# With stride 2, "same" of a transposed convolution should double the size. The stamps of a 3x3
# kernel cover 2 * features + 1 rows, so one is cut off: the first or the last? In TensorFlow it is
# the *last*, a crop of (0, 1). Whoever takes the first has the same shapes, shifted by one pixel.
# (It happened in Keras, for strides above 1 with odd kernels: see pull request 22876 there.)

# %%
source, odd = rng.integers(-9, 10, (1, 6, 6, 1)).astype(float), rng.integers(-9, 10, (3, 3, 1, 1)).astype(float)
same = F.conv_transpose2d(source, odd, stride=2, padding="same").data
after = F.conv_transpose2d(source, odd, stride=2, padding=((0, 1), (0, 1))).data
before = F.conv_transpose2d(source, odd, stride=2, padding=((1, 0), (1, 0))).data
assert same.shape == after.shape == before.shape == (1, 12, 12, 1)
assert np.array_equal(same, after) and not np.array_equal(same, before)
assert np.array_equal(before[:, :-1, :-1], after[:, 1:, 1:])                # one pixel apart

# %% [markdown]
# ## As an ordinary convolution: full, half, valid
#
# It is also an ordinary convolution: with stride - 1 zeros between the features, a padding of
# kernel - 1 - padding, *and the kernel flipped* in both axes. Most products are then with zeros, so
# nobody computes it this way.

# %%
spread = np.zeros((1, 5, 5, 1))
spread[:, ::2, ::2] = one["x"]                                              # 3 features with one zero between: 5
flipped = w[::-1, ::-1, None, None].copy()
assert np.array_equal(F.conv2d(spread, flipped, padding=3 - 1 - 1).data, cropped)
assert not np.array_equal(F.conv2d(spread, one["weight"], padding=1).data, cropped)     # without the flip

# %% [markdown]
# At stride 1 three paddings have names: *valid*, 0, where n pixels give n - k + 1; *half* ("same"
# for odd k), (k - 1) / 2, where n give n; *full*, k - 1, where n give n + k - 1. By the rule above,
# the transpose of a valid convolution is a full one, that of a half one half, of a full one valid.

# %%
pixels = rng.integers(-9, 10, (1, 6, 6, 1)).astype(float)
for padding, size, of_transpose in ((0, 4, 2), (1, 6, 1), (2, 8, 0)):       # valid, half, full; k = 3
    assert F.conv2d(pixels, one["weight"], padding=padding).shape[1] == size
    turned = F.conv_transpose2d(pixels, one["weight"], padding=padding).data
    assert np.array_equal(turned, F.conv2d(pixels, flipped, padding=of_transpose).data)

# %% [markdown]
# ## A kernel that is known: bilinear
#
# A transposed convolution need not learn its kernel. To double an image, each pixel stamps a tent,
# 1, 3, 3, 1 quarters in each direction, and overlapping tents add up to a straight line between
# neighbours: *bilinear interpolation*. (Long et al. 2015 start their learned layers from it.) At
# the border, tents from outside are missing. Lesson 16 compares it with kernels that are learned.

# %%
tent = np.array([1, 3, 3, 1]) / 4
doubled = F.conv_transpose2d(pixels, np.outer(tent, tent)[:, :, None, None], stride=2, padding=1).data[0, :, :, 0]
between = (np.arange(12) + 0.5) / 2 - 0.5                                   # where the new pixels lie among the old
along = np.array([np.interp(between, np.arange(6), old) for old in pixels[0, :, :, 0]])
wanted = np.array([np.interp(between, np.arange(6), old) for old in along.T]).T
assert np.array_equal(doubled[1:-1, 1:-1], wanted[1:-1, 1:-1])
repeated = F.conv_transpose2d(pixels, np.ones((2, 2, 1, 1)), stride=2).data             # a kernel of ones: nearest
assert np.array_equal(repeated, F.upsample(pixels, 2).data)

# %% [markdown]
# ## It is not the inverse
#
# Blur a digit with a 5x5 kernel and apply the transposed convolution with the same kernel. The
# shape comes back. The values do not: the kernel is symmetric, so C^T blurs a second time.

# %%
digit = md.data.strokes(count=8, seed=3)[0][5] / 255.0                      # (28, 28, 1)
bell = np.exp(-0.5 * (np.arange(-2, 3) / 1.2) ** 2)
blur = np.outer(bell, bell)[:, :, None, None] / bell.sum() ** 2             # (5, 5, 1, 1), sums to 1
blurred = F.conv2d(digit[None], blur, padding=2).data                       # C x
twice = F.conv_transpose2d(blurred, blur, padding=2).data                   # C^T C x


def error(image):
    return float(np.linalg.norm(image.ravel() - digit.ravel()) / np.linalg.norm(digit))


assert twice.shape == digit[None].shape and error(twice) > error(blurred) > 0.3

# %% [markdown]
# Here C is square, so it might have an inverse. The *pseudo-inverse* is the inverse where there is
# one and the least-squares answer where not. It does bring back the digit from the exact blurred
# image. But C shrinks fine detail to nearly nothing, so the pseudo-inverse must blow it up, and any
# noise of a camera with it: a thousandth of the ink is enough to bury the digit.

# %%
blur_matrix = matrix.conv_matrix(blur[:, :, 0, 0], (28, 28), padding=2).dense()
inverse = np.linalg.pinv(blur_matrix)
noisy = np.maximum(blurred + 0.001 * rng.standard_normal(blurred.shape), 0)  # light is never negative
assert error(inverse @ blurred.ravel()) < 1e-6
assert error(inverse @ noisy.ravel()) > 1

# %% [markdown]
# ## A true deconvolution
#
# To undo a blur under noise is an old problem, and *that* is deconvolution. The method of
# Richardson (1972) and Lucy (1974) starts from grey and corrects it again and again: blur the
# guess, divide the observed image by it, carry the quotient back with C^T, multiply. The transposed
# convolution is one of its *parts*.

# %%
guess = np.full(noisy.shape, noisy.mean())
reach = F.conv_transpose2d(np.ones(noisy.shape), blur, padding=2).data      # C^T 1: less than 1 at the edges
for _ in range(300):
    predicted = F.conv2d(guess, blur, padding=2).data
    quotient = noisy / np.maximum(predicted, 1e-12)
    guess = guess * F.conv_transpose2d(quotient, blur, padding=2).data / reach
assert error(guess) < 0.5 * error(noisy)

# %%
shown = {"the digit x": digit, "blurred, 0.1 % noise\ny = C x + noise": noisy,
         "transposed\nC$^T$ y": F.conv_transpose2d(noisy, blur, padding=2).data,
         "pseudo-inverse\nC$^+$ y": (inverse @ noisy.ravel()).reshape(28, 28),
         "Richardson-Lucy\na true deconvolution": guess}
figure.keep(figure.gallery(shown, limits=(0, 1), notes=[f"error {error(image):.2g}" for image in shown.values()]),
            "05_not_the_inverse.png")

# %% [markdown]
# With a stride, 784 pixels become 196 features, and no matrix brings back the other three quarters.
# A generator does not *restore* pixels. It has learnt kernels that *invent* them.

# %%
down = matrix.conv_matrix(rng.standard_normal((4, 4)), (28, 28), stride=2, padding=1).dense()
best = np.linalg.pinv(down) @ (down @ digit.ravel())                        # the smallest image with these features
assert down.shape == (196, 784) and error(down.T @ (down @ digit.ravel())) > error(best) > 0.5

# %% [markdown]
# ## Three things called "deconvolutional network"
#
# Articles write "DNN" for all three: Zeiler et al. 2010, sparse coding, which *solves* for the few
# features whose stamps add up to an image; Zeiler and Fergus 2013, a visualiser, which carries one
# feature of a classifier back to pixels with its own kernels (lesson 9); and decoders and
# generators with trained kernels (Long et al. 2015). More is in `tutorials/OFTEN_READ.md`.
#
# Sources: V. Dumoulin and F. Visin 2016, arXiv:1603.07285; M. Zeiler et al., "Deconvolutional
# networks", 2010; M. Zeiler and R. Fergus 2013, arXiv:1311.2901; J. Long et al. 2015,
# arXiv:1411.4038; W. Richardson 1972 and L. Lucy 1974 (restoration of images).
