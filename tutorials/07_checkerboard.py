"""Lesson 7: the grid in pictures of transposed convolutions, there before training, predicted by counting."""
# %% [markdown]
# # 7. Checkerboards
#
# Pictures made by transposed convolutions often carry a fine grid, like a cloth held against the
# light. It is not a lack of training: it is there before training starts, and it can be predicted
# by counting. This lesson counts, looks at networks that were never trained, compares two
# alternatives, and shows that one of them (sub-pixel convolution) *is* a transposed convolution.
#
# Full run: about 10 seconds on 2 cores; with `MINIDECONV_SHORT=1` fewer networks are averaged and
# it takes about 3. You need lesson 5.
#
# Source: Odena, Dumoulin and Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill.

# %%
import os

import numpy as np

import minideconv.functional as F
from minideconv.draw import overlap, stacks
from minideconv.draw.figure import keep

NETWORKS = 32 if os.environ.get("MINIDECONV_SHORT") == "1" else 256

# %% [markdown]
# ## Counting stamps
#
# A transposed convolution stamps its kernel every `stride` pixels. Where stamps overlap, a pixel
# is written more than once. In one dimension, with a kernel of 3 and a stride of 2, every other
# pixel is written twice and the rest once:

# %%
def writers(inputs, kernel, stride):
    """How many (input, tap) pairs write each output pixel, by the loop that defines the layer."""
    counts = np.zeros(stride * (inputs - 1) + kernel, int)
    for i in range(inputs):
        for tap in range(kernel):
            counts[stride * i + tap] += 1
    return counts


print(writers(5, 3, 2))
assert writers(5, 3, 2).tolist() == [1, 1, 2, 1, 2, 1, 2, 1, 2, 1, 1]        # the claim: 2, 1, 2, 1, ...
assert set(writers(5, 4, 2)[2:-2]) == {2}                                    # kernel 4: always 2, away from the border

# %% [markdown]
# The rewrite: counting is what the layer itself does, when every input and every weight is 1. No
# second piece of code is needed.

# %%
def counted(inputs, kernel, stride):
    ones = F.conv_transpose2d(np.ones((1, 1, inputs, 1)), np.ones((1, kernel, 1, 1)), stride=(1, stride))
    return ones.data.ravel()


assert all(np.array_equal(counted(9, k, s), writers(9, k, s)) for k in range(1, 9) for s in range(1, 5))

# %% [markdown]
# ## The rule: is the kernel a multiple of the stride?
#
# Odena's rule for one layer: the overlap is even exactly if kernel mod stride is 0. In two
# dimensions counts multiply (rows times columns), so a factor 2 becomes a factor 4; and stacked
# layers stamp stamps.

# %%
for k in range(1, 9):
    for s in range(1, k + 1):
        inside = writers(20, k, s)[k: -k]
        assert (inside.min() == inside.max()) == (k % s == 0)                # the claim, for every kernel up to 8

one_layer, two_layers = stacks.overlap_maps("t3s2 t3s2", (12, 12))          # two layers of kernel 3, stride 2
# Most / fewest writers, away from the border.
assert stacks.unevenness(one_layer, period=2) == 4
assert stacks.unevenness(two_layers, period=4) == 9
assert all(stacks.unevenness(counts, 4) == 1 for counts in stacks.overlap_maps("t4s2p1 t4s2p1", (12, 12)))
keep(overlap.draw_overlap("t3s2p1o1 t3s2p1o1", (8, 8)), "07_overlap.png")

# %% [markdown]
# ## From counts to pictures
#
# Why should counts show in pictures? A pixel is a sum of (input * weight), one term per path.
# Before training the weights are random with mean 0, so no two paths' terms are correlated, and
# the variances of uncorrelated terms add: the mean square of a pixel is proportional to its number
# of paths. That is a prediction with no free parameter except the scale. Here it is against many
# networks, none of them trained:

# %%
def strength(stack):
    """Mean square of each pixel over many untrained networks, and the prediction;
    both scaled to mean 1.
    """
    planes = stacks.untrained_images(stack, (8, 8), NETWORKS)
    counts = stacks.overlap_maps(stack, (8, 8))[-1]
    return (planes ** 2).mean(axis=0), counts / counts.mean()


measured, predicted = strength("t3s2p1o1 t3s2p1o1")
print(f"correlation {np.corrcoef(measured.ravel(), predicted.ravel())[0, 1]:.3f}; "
      f"most / fewest: predicted {stacks.unevenness(predicted, 4):.1f}, measured "
      f"{stacks.unevenness(measured, 4):.1f}")
# The claim: visible before any training, where predicted.
assert np.corrcoef(measured.ravel(), predicted.ravel())[0, 1] > 0.95
even, _ = strength("t4s2p1 t4s2p1")
# Kernel 4: the same networks without the grid.
assert stacks.unevenness(even, 4) < 2 < 5 < stacks.unevenness(measured, 4)

# %% [markdown]
# ## Four designs side by side
#
# Each doubles the picture twice:
#
# - transposed convolution, kernel 3, stride 2 (uneven), or kernel 4, stride 2 (even);
# - *resize, then convolve*: repeat each pixel 2x2, then an ordinary 3x3 convolution;
# - *sub-pixel*: a 3x3 convolution to four times the channels, which are then laid out as 2x2
#   pixels ("pixel shuffle", Shi et al. 2016).
#
# The first row of the picture is what one network makes of an input without any detail: all that
# you see comes from its layers. The second is the mean square over many networks, which the counts
# predict. The third is the *power spectrum* of pictures like those in the first: how strong each
# spatial frequency is, zero in the middle. What repeats every 4 pixels shows as bright points at
# multiples of 1/4; faint lines between them come from the border.

# %%
keep(overlap.draw_spectra(networks=NETWORKS), "07_designs.png")


def grid_strength(measure, stack, size):
    """How much stronger the multiples of 1/4 are than the frequencies beside them, for flat inputs."""
    return stacks.peak(stacks.power_spectrum(measure(stack, size, NETWORKS // 4, flat=True)), 4)


peaks = {name: grid_strength(stacks.untrained_images, stack, (8, 8)) for name, stack in stacks.DOUBLINGS.items()}
print({name: round(value, 1) for name, value in peaks.items()})

# %% [markdown]
# "Make the kernel a multiple of the stride" is often quoted as the cure. It is half of one. It
# removes the grid that *all* networks share (second row). But a single network still has its own
# (first row): the four pixels of a 2x2 block come from different weights, and nothing makes them
# agree. Sub-pixel layers have the same trouble. Resize-convolution has none: repeating pixels
# treats all alike, and so does a stride-1 convolution.

# %%
assert min(peaks["transposed, kernel 4"], peaks["sub-pixel"]) > 20            # the claim: even overlap, and still peaks
assert peaks["resize, then convolve"] < 8                                     # what is left here comes from the border

wide = F.upsample(np.random.default_rng(0).standard_normal((5, 16, 16, 1)), 2).data[:, :, :, 0]
spectrum = np.abs(np.fft.fft2(wide)) ** 2
# The claim: repeated pixels have *no* power at frequency 1/2.
assert spectrum[:, 16, :].max() < 1e-20 * spectrum.max()
assert spectrum[:, :, 16].max() < 1e-20 * spectrum.max()

# %% [markdown]
# ## Sub-pixel convolution is a transposed convolution
#
# Why do sub-pixel and kernel 4 look so alike? Because they are the same family of functions. First
# in one dimension, with kernel w0 w1 w2 w3 and stride 2. Two stamps meet in every pixel: an even
# one gets w2 times the input before it and w0 times its own, an odd one w3 and w1. So the even
# pixels are a convolution with (w2, w0), the odd ones a convolution with (w3, w1), and the two take
# turns.

# %%
y, w = np.array([2.0, 1, 3]), np.array([1.0, 5, 2, 4])
taking_turns = [np.convolve(y, w[place::2]) for place in (0, 1)]           # np.convolve runs backwards: w0 with y[m]
stamped = F.conv_transpose2d(y.reshape(1, 1, 3, 1), w.reshape(1, 4, 1, 1), stride=(1, 2)).data.ravel()
assert np.array_equal(stamped, np.stack(taking_turns, axis=1).ravel())

# %% [markdown]
# In two dimensions, with stride r and kernel k*r, every place of an r x r block has its own small k
# x k kernel, and so its own channel; then shuffle:
#
#     conv_transpose2d(y, w, stride=r)  ==  pixel_shuffle(conv2d(y, v, padding=k - 1), r)
#     v[i, j, o, c*r*r + a*r + b]  =  w[a + r*(k-1-i), b + r*(k-1-j), c, o]
#
# (Shi et al. 2016, "Is the deconvolution layer the same as a convolutional layer?") The taps run
# backwards, since one side gathers and the other scatters. Slowly, entry by entry:

# %%
def subpixel_kernel_slow(w, r):
    size, _, channels, features = w.shape                  # (k*r, k*r, C, O) -> (k, k, O, C*r*r)
    k = size // r
    v = np.zeros((k, k, features, channels * r * r))
    for i, j, o, c, a, b in np.ndindex(k, k, features, channels, r, r):
        v[i, j, o, c * r * r + a * r + b] = w[a + r * (k - 1 - i), b + r * (k - 1 - j), c, o]
    return v


rng = np.random.default_rng(1)
k, r = 2, 3
y = rng.integers(-9, 10, (2, 4, 5, 3)).astype(float)
w = rng.integers(-9, 10, (k * r, k * r, 2, 3)).astype(float)
transposed = F.conv_transpose2d(y, w, stride=r)
shuffled = F.pixel_shuffle(F.conv2d(y, subpixel_kernel_slow(w, r), padding=k - 1), r)
assert np.array_equal(transposed.data, shuffled.data)      # the claim: exactly equal, on integers

# %% [markdown]
# The rewrite: six loops are one reshape, one flip and one change of axes.

# %%
def subpixel_kernel(w, r):
    k, channels, features = len(w) // r, *w.shape[2:]
    taps = w.reshape(k, r, k, r, channels, features)[::-1, :, ::-1]          # axes (i, a, j, b, c, o)
    return taps.transpose(0, 2, 5, 4, 1, 3).reshape(k, k, features, channels * r * r)


assert np.array_equal(subpixel_kernel(w, r), subpixel_kernel_slow(w, r))
for k, r in ((1, 2), (2, 2), (3, 2), (1, 4), (2, 3)):
    w = rng.integers(-9, 10, (k * r, k * r, 2, 3)).astype(float)
    assert np.array_equal(F.conv_transpose2d(y, w, stride=r).data,
                          F.pixel_shuffle(F.conv2d(y, subpixel_kernel(w, r), padding=k - 1), r).data)

# %% [markdown]
# So a cure for one is a cure for the other. Start with *equal* small kernels at all places of the
# block ("ICNR", Aitken et al. 2017): the layer then begins as a convolution followed by repeated
# pixels, without a grid, and training may break the tie only where the data ask for it.

# %%
flat = np.ones((1, 6, 6, 3))
small = rng.standard_normal((3, 3, 3, 2))                                    # one kernel per output channel ...
# The same for all four places: channels c*4 + 0, 1, 2, 3.
together = np.repeat(small, 4, axis=3)
apart = rng.standard_normal(together.shape)
tied, untied = (F.pixel_shuffle(F.conv2d(flat, v), 2).data for v in (together, apart))
# The claim: flat in, flat out; untied, a grid.
assert tied.std(axis=(1, 2)).max() < 1e-12 < 0.1 < untied.std(axis=(1, 2)).min()
# The claim: this is to convolve, then to repeat pixels.
assert np.allclose(F.pixel_shuffle(F.conv2d(y, together), 2).data, F.upsample(F.conv2d(y, small), 2).data)

# %% [markdown]
# ## The other network has it too
#
# A GAN's generator learns only from the gradient that the discriminator sends back through its
# *strided convolutions*, and the gradient of a convolution is a transposed convolution with the
# same kernel. So a discriminator with kernel 3 and stride 2 prints the same grid into every
# correction: some pixels get nine times as much advice (in mean square) as others. With kernel 4
# all get as much, and yet, by the same measure as above, every single discriminator has a grid of
# its own: here too the rule is half a cure.

# %%
for stack, expected in (("c3s2p1 c3s2p1", 9), ("c4s2p1 c4s2p1", 1)):
    paths = stacks.gradient_maps(stack, (32, 32))[-1]
    planes = stacks.untrained_gradients(stack, (32, 32), NETWORKS // 4)
    assert stacks.unevenness(paths, 4) == expected                          # the claim, counted
    assert np.corrcoef((planes ** 2).mean(axis=0).ravel(), paths.ravel())[0, 1] > 0.9        # and measured
    own = grid_strength(stacks.untrained_gradients, stack, (32, 32))
    print(f"{stack}: a single discriminator's grid is {own:.0f} times as strong as what is beside it")
    assert own > 20                                                         # for kernel 4 as well
keep(overlap.draw_spectra(gradient=True, networks=NETWORKS // 4), "07_gradients.png")

# %% [markdown]
# ## What to do
#
# 1. Make the kernel a multiple of the stride, in the generator *and* in the discriminator: 4 with
#    2, not 3 or 5.
# 2. Where a grid still shows, resize and then convolve in the last layers; it costs more
#    arithmetic (all of it at the high resolution).
# 3. Kernel size is then a choice like others: compare by a measure of the samples, over several
#    seeds.
#
# ## A question
#
# The first DCGAN code used kernel 5 with stride 2. Is that even? What is the ratio of most to
# fewest writers, for one layer in two dimensions? Count on paper: which pixels do taps 0, 2, 4
# write, which do taps 1, 3?
#
# Answer: three taps write the even pixels, two the odd ones: 3/2 in one dimension, 9/4 = 2.25 in
# two. Uneven, though less than kernel 3 with its factor 4: the larger an odd kernel, the weaker
# the grid.

# %%
assert stacks.unevenness(stacks.overlap_maps("t5s2", (12, 12))[0], period=2) == 9 / 4
print("all claims hold")
