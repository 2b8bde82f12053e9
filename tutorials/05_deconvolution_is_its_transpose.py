"""Lesson 5: what is called deconvolution is the transpose of a convolution:
it brings the shape back, and not the values.
"""
# %% [markdown]
# # 5. Deconvolution is its transpose
#
# Takes about 5 seconds on 2 cores, 10 more where the engine's loops have to be compiled first
# (`MINIDECONV_SHORT=1` changes nothing here), and half an hour to read. Lesson 4 comes before it.
#
# Lesson 4 turned a convolution into a matrix C, from pixels to features. Generators of images need
# the other direction, from few numbers to many pixels. The layer that does it is called
# "deconvolution" in many articles, and they explain that it undoes a convolution. It does not. It
# multiplies with the transpose, C^T. This lesson shows what that means, and what undoing would
# take.

# %%
import numpy as np

import minideconv as md
import minideconv.functional as F
from minideconv.draw import figure, matrix, step, walk

rng = np.random.default_rng(0)
# Features, whole numbers: everything below is exact.
y = rng.choice([-2.0, -1, 1, 2, 3], (3, 3))
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
# "Multiply the kernel with the map and add the bias", as one reads, leaves out what matters: the
# scatter, the sum of overlaps and the crop.
#
# ## It is the transpose
#
# Take the matrix C of the *convolution* with the same kernel, stride and padding, from 5x5 pixels
# to 3x3 features. Turn its rows into columns. Column k of C^T is row k of C: the kernel, put where
# window k was. Multiplying y with C^T adds up those columns: stamps.

# %%
C = matrix.conv_matrix(w, (5, 5), stride=2, padding=1).dense()              # (9, 25)
assert np.array_equal(C.T @ y.ravel(), slow.ravel())                        # the slow result, once more

# %% [markdown]
# ## The rewrite that is fast: col2im
#
# `conv2d` was im2col, then a matrix product. Its transpose is the transposed steps in opposite
# order: first the product, which makes every stamp, then `col2im`, which puts them down and adds
# them up. Nobody builds C^T either.
#
# Look at the shapes: `conv2d` uses the kernel (KH, KW, C, O) to go from C channels to O;
# `conv_transpose2d` uses the same array to go from O to C.

# %%
features = rng.integers(-9, 10, (2, 4, 3, 5)).astype(float)                 # N=2, OH=4, OW=3, O=5
kernel = rng.integers(-9, 10, (4, 3, 2, 5)).astype(float)                   # KH=4, KW=3, C=2, O=5
stamps = features @ kernel.reshape(4 * 3 * 2, 5).T                          # (2, 4, 3, 4*3*2): every stamp as a row
image = F.col2im(stamps, (8, 5), (4, 3), stride=2, padding=1).data          # (2, 8, 5, 2)
assert np.array_equal(image, F.conv_transpose2d(features, kernel, stride=2, padding=1).data)

# %% [markdown]
# ## The identity that defines it
#
# Write <a, b> for the sum of all products of two arrays of one shape. Then for *every* x and y
#
#     <C x, y> == <x, C^T y>
#
# A map with this property is called the *adjoint*; for real matrices, the transpose. It is the
# best test there is for such a layer: it compares values, not shapes, and a stamp that is shifted
# by one pixel breaks it.

# %%
x = rng.integers(-9, 10, image.shape).astype(float)
forward = F.conv2d(x, kernel, stride=2, padding=1).data
assert (forward * features).sum() == (x * image).sum()
shifted = np.roll(image, 1, axis=2)                                         # right shape, values one pixel off
assert (forward * features).sum() != (x * shifted).sum()

# %% [markdown]
# And so each is the other's gradient. When a network with a convolution is trained, the walk back
# already *is* a transposed convolution. Everybody who has trained one has used "deconvolution"
# without a name for it.

# %%
x, y_tape = md.Tensor(x, requires_grad=True), md.Tensor(features, requires_grad=True)
F.conv2d(x, kernel, stride=2, padding=1).backward(features)
assert np.array_equal(x.grad, F.conv_transpose2d(features, kernel, stride=2, padding=1).data)
F.conv_transpose2d(y_tape, kernel, stride=2, padding=1).backward(x.data)
assert np.array_equal(y_tape.grad, F.conv2d(x.data, kernel, stride=2, padding=1).data)

# %% [markdown]
# ## Padding is a crop
#
# `padding=1` of a convolution adds a ring of zeros. Its transpose removes a ring: the pixels that
# the zeros stood for.

# %%
one = {"x": y[None, :, :, None], "weight": w[:, :, None, None], "stride": 2}
everything = F.conv_transpose2d(**one, padding=0).data                      # (1, 7, 7, 1)
cropped = F.conv_transpose2d(**one, padding=1).data                         # (1, 5, 5, 1)
assert np.array_equal(cropped, everything[:, 1:-1, 1:-1])

# %% [markdown]
# ## Which size? output_padding
#
# A convolution with kernel 3, stride 2 and padding 1 maps images of 5 *and* of 6 pixels to 3
# features: with 6, the lowest row of the padding is read by no window. So from 3 features the
# transposed convolution cannot know whether 5 or 6 pixels are wanted. In general `stride` sizes
# share one feature size:
#
#     features = floor((pixels + 2*padding - kernel) / stride) + 1
#     pixels   = stride * (features - 1) + kernel - 2*padding + output_padding,
#     output_padding = 0 ... stride - 1
#
# `output_padding` picks one of them, and that is why it must be smaller than the stride. It is
# *not* a margin of zeros: it crops one row and column less at the end. Where stamps reach these
# pixels they are computed like all others; pixels that no stamp reaches hold the bias alone (the
# constant that a layer adds to each of its output channels).

# %%
assert F.conv2d(np.zeros((1, 5, 5, 1)), one["weight"], stride=2, padding=1).shape[1] == 3
assert F.conv2d(np.zeros((1, 6, 6, 1)), one["weight"], stride=2, padding=1).shape[1] == 3
read = walk.conv(np.ones((6, 6)), w, stride=2, padding=1).steps[-1].counts  # (8, 8): padding, 6 pixels, padding
assert not read[-1].any() and not read[:, -1].any() and read[1:-1, 1:-1].all()
six = F.conv_transpose2d(**one, padding=1, output_padding=1).data           # (1, 6, 6, 1)
assert np.array_equal(six, everything[:, 1:, 1:])
assert np.array_equal(six, F.conv_transpose2d(**one, padding=1, output_size=(6, 6)).data)
assert np.any(six[:, -1] != 0)
try:
    F.conv_transpose2d(**one, padding=1, output_padding=2)
    raise AssertionError("output_padding=2 at stride 2 was taken")
except ValueError as error:
    assert "below max(stride, dilation) = 2" in str(error)
figure.keep(step.strip(walk.conv_transpose(y, w, stride=2, padding=1, output_padding=1), frames=[0, 8]), "05_steps.png")

# %% [markdown]
# **Question.** A layer of a well-known kind has kernel 4, stride 2, padding 1. Which image sizes
# does its convolution map to 14 features? And what does the transposed layer make of 14 features
# by default?
#
# <details><summary>Answer</summary>
#
# floor((n + 2 - 4) / 2) + 1 = 14 for n = 28 and 29. The smaller one is the default (output_padding
# 0): 14 -> 28, doubled. This is why so many generators are built from 4x4 stride-2 layers; another
# reason, that 4 is divisible by 2, is in lesson 7.
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
# kernel cover 2 * features + 1 rows, so one row is cut off, and one is odd: the first or the last?
# In TensorFlow it is the *last*, a crop of (0, 1). A library that takes the first has the same
# shapes, passes every test of shapes, and is shifted by one pixel. (It has happened in Keras, for
# strides above 1 with odd kernels: see pull request 22876 there.)

# %%
source, odd = rng.integers(-9, 10, (1, 6, 6, 1)).astype(float), rng.integers(-9, 10, (3, 3, 1, 1)).astype(float)
same = F.conv_transpose2d(source, odd, stride=2, padding="same").data
after = F.conv_transpose2d(source, odd, stride=2, padding=((0, 1), (0, 1))).data
before = F.conv_transpose2d(source, odd, stride=2, padding=((1, 0), (1, 0))).data
assert same.shape == after.shape == before.shape == (1, 12, 12, 1)
assert np.array_equal(same, after) and not np.array_equal(same, before)
assert np.array_equal(before[:, :-1, :-1], after[:, 1:, 1:])                # one pixel apart

# %% [markdown]
# At stride 1 a transposed convolution enlarges nothing but what the convolution had eaten at the
# edges: 32 -> 30 -> 32. To go from small to large takes a stride.

# %%
small = F.conv2d(np.zeros((1, 32, 32, 3), np.float32), np.zeros((3, 3, 3, 8), np.float32))
assert small.shape == (1, 30, 30, 8)
assert F.conv_transpose2d(small, np.zeros((3, 3, 3, 8), np.float32)).shape == (1, 32, 32, 3)

# %% [markdown]
# ## The same thing as an ordinary convolution
#
# You will also read that it is "a convolution with zeros in between". True, if done in full: put
# stride - 1 zeros between the features, pad by kernel - 1 - padding, and *flip the kernel* in both
# axes. Most of the products are then with zeros, so nobody computes it this way.

# %%
spread = np.zeros((1, 5, 5, 1))
spread[:, ::2, ::2] = one["x"]                                              # 3 features with one zero between: 5
flipped = w[::-1, ::-1, None, None].copy()
assert np.array_equal(F.conv2d(spread, flipped, padding=3 - 1 - 1).data, cropped)
assert not np.array_equal(F.conv2d(spread, one["weight"], padding=1).data, cropped)     # without the flip

# %% [markdown]
# ## It is not the inverse
#
# Blur a digit with a 5x5 kernel and apply the transposed convolution with the same kernel. If that
# undid the blur, the digit would come back. The shape comes back. The values do not: the kernel is
# symmetric, so C^T blurs a second time.

# %%
digit = md.data.strokes(count=8, seed=3)[0][5] / 255.0                      # (28, 28, 1)
bell = np.exp(-0.5 * (np.arange(-2, 3) / 1.2) ** 2)
blur = np.outer(bell, bell)[:, :, None, None] / bell.sum() ** 2             # (5, 5, 1, 1), sums to 1
blurred = F.conv2d(digit[None], blur, padding=2).data                       # C x
twice = F.conv_transpose2d(blurred, blur, padding=2).data                   # C^T C x


def error(image):
    """Distance to the digit, as a share of the digit's own size."""
    return float(np.linalg.norm(image.ravel() - digit.ravel()) / np.linalg.norm(digit))


assert twice.shape == digit[None].shape and error(twice) > error(blurred) > 0.3

# %% [markdown]
# Here C is square, 784x784, so it might have an inverse. The *pseudo-inverse* is the inverse where
# there is one and the least-squares answer where not. On the exact blurred image it does bring the
# digit back. But a camera adds noise, and C shrinks fine detail to nearly nothing, so the
# pseudo-inverse must blow it up again, noise included: noise of a thousandth of the ink is enough
# to bury the digit.

# %%
blur_matrix = matrix.conv_matrix(blur[:, :, 0, 0], (28, 28), padding=2).dense()
inverse = np.linalg.pinv(blur_matrix)
noisy = np.maximum(blurred + 0.001 * rng.standard_normal(blurred.shape), 0)  # light is never negative
assert error(inverse @ blurred.ravel()) < 1e-6
assert error(inverse @ noisy.ravel()) > 1

# %% [markdown]
# ## A true deconvolution
#
# To undo a blur under noise is an old problem with a name: deconvolution, decades before neural
# networks. The classic method of Richardson (1972) and Lucy (1974) starts from a grey image and
# corrects it again and again: blur the guess, divide the observed image by it, carry the quotient
# back with C^T, multiply. It undoes nothing in one step, and the transposed convolution is one of
# its *parts*. (With more noise one stops earlier: after many rounds the guess begins to explain
# the noise as well.)

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
# With a stride it is plainer still: a stride-2 layer maps 784 pixels to 196 features. Three
# quarters of the image's dimensions are gone; no matrix can bring them back. A generator does not
# *restore* these pixels. It has learnt kernels that *invent* plausible ones.

# %%
down = matrix.conv_matrix(rng.standard_normal((4, 4)), (28, 28), stride=2, padding=1).dense()
assert down.shape == (196, 784)
best = np.linalg.pinv(down) @ (down @ digit.ravel())                        # the smallest image with these features
assert np.allclose(down @ best, down @ digit.ravel()) and error(best) > 0.5
# C^T C x is no better: it is not even scaled right.
assert error(down.T @ (down @ digit.ravel())) > error(best)

# %% [markdown]
# ## Three things called "deconvolutional network"
#
# - Zeiler et al. 2010: sparse coding. It looks for the few features whose stamps add up to a given
#   image. Its kernels are learnt without labels; "deconvolution" means solving for the features.
# - Zeiler and Fergus 2013: a visualiser that carries one feature of a classifier back to pixels.
#   Its kernels are the classifier's own; "deconvolution" means C^T, and switches for pooling.
# - Long et al. 2015, Radford et al. 2015: decoders and generators, from features to an image.
#   Their kernels are trained by backpropagation; "deconvolution" means C^T, a layer like any
#   other.
#
# Articles write "DNN" for all three. This project is about the third, and has the second further
# on. Two more sentences to read with care:
#
# - "The decoder goes from low-level to high-level features." The reverse: decoding goes from
#   abstract to concrete, from "a seven" to pixels.
# - "Use the layer `Deconv2D`." It does not exist in tf.keras; the layer is `Conv2DTranspose` there
#   and `ConvTranspose2d` in PyTorch and here.
#
# ## What to take with you
#
# - A transposed convolution stamps the kernel, adds overlaps, crops. It is multiplication with
#   C^T, and the gradient of the convolution.
# - Test it by <C x, y> == <x, C^T y>. Shapes prove nothing.
# - `padding` crops; `output_padding` chooses among the sizes that convolve to the same one.
# - "same" with an odd total has two versions, one pixel apart.
# - It is not the inverse. True deconvolution is a problem to be solved, with C^T as a tool.
#
# Sources: V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016,
# arXiv:1603.07285; M. Zeiler, D. Krishnan, G. Taylor and R. Fergus, "Deconvolutional networks",
# CVPR 2010; M. Zeiler and R. Fergus, "Visualizing and understanding convolutional networks", 2013,
# arXiv:1311.2901; J. Long, E. Shelhamer and T. Darrell, "Fully convolutional networks for semantic
# segmentation", CVPR 2015; A. Radford, L. Metz and S. Chintala, "Unsupervised representation
# learning with deep convolutional GANs", 2015, arXiv:1511.06434; W. Richardson, "Bayesian-based
# iterative method of image restoration", 1972; L. Lucy, "An iterative technique for the
# rectification of observed distributions", 1974.
