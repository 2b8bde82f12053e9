"""Lab C: where a training step's time goes, and how the engine keeps every core busy."""
# %% [markdown]
# # Lab C. How the engine is fast
#
# Takes about 20 seconds on 2 cores (with the environment variable `MINIDECONV_SHORT=1` smaller
# layers are timed, in under 10), and half an hour to read. A lab is optional: no lesson needs it.
# You need lab B: columns, a matrix product, compiled loops.
#
# Lab B ended with compiled loops that copy windows and BLAS that multiplies them. From there:
# measure where the time goes, then threads, caches, fewer products. Each way is compared with the
# others by `==`, since sums of small integers are exact. Seconds depend on your processor and on
# what else it does, so they are printed and not asserted. How to time: several times, and take the
# *shortest*, as other programs, interrupts and cold caches only ever add.

# %%
import os
import time
from collections import Counter
from unittest.mock import patch

import numba
import numpy as np
from threadpoolctl import threadpool_info

# %%
import minideconv as md
import minideconv.functional as F
from minideconv import gan, machine, optim, parallel, switches
from minideconv.draw import figure
from minideconv.kernels.fast import columns, tiles
from minideconv.kernels.fast.filterings import FILTERINGS
from minideconv.kernels.fast.products import ROWS

# %%
# False where Python runs with NUMBA_DISABLE_JIT=1: then everything here is tiny.
JIT = not numba.config.DISABLE_JIT
SHORT = os.environ.get("MINIDECONV_SHORT") == "1" or not JIT
rng = np.random.default_rng(0)


def milliseconds(function, repeats=1 if not JIT else 3 if SHORT else 10):
    def once():
        start = time.perf_counter()
        function()
        return 1e3 * (time.perf_counter() - start)
    return min(once() for _ in range(repeats))


def integers(*shape):
    return rng.integers(-9, 10, shape).astype(np.float32)


print(machine.processor(), "|", machine.available_threads(), "processors |", *machine.blas_report())

# %% [markdown]
# ## Where a training step's time goes
#
# Do not guess what to make fast: measure. `switches.observe` hands every operation and every
# gradient to an *observer*, which runs it and may look at the clock. A gradient runs operations of
# its own; only the outermost call is counted here, so that no time counts twice. `minideconv train
# --profile` does the same with more columns.
#
# What is watched is half a round of a GAN: its generator learns through the discriminator.
# Convolutions and their gradients are where the time goes.


# %%
class Stopwatch:
    def __init__(self):
        self.milliseconds, self.calls, self.inside = Counter(), Counter(), False

    def __call__(self, name, direction, call):
        if self.inside:
            return call()
        self.inside, start = True, time.perf_counter()
        try:
            return call()
        finally:
            self.inside = False
            self.milliseconds[name.lstrip("_"), direction] += 1e3 * (time.perf_counter() - start)
            self.calls[name.lstrip("_"), direction] += 1


# %%
BATCH = 16 if JIT and SHORT else 128 if JIT else 1
G, D = gan.Generator((28, 28, 1), rng=rng), gan.Discriminator((28, 28, 1), rng=rng)
adam = optim.Adam(G.parameters(), 2e-4, betas=(0.5, 0.999))
z, says_real = rng.standard_normal((BATCH, 100)).astype(np.float32), np.ones((BATCH, 1), np.float32)


# %%
def generator_loss():
    return F.binary_cross_entropy_with_logits(D(G(z)), says_real)


def watched(steps=5):
    """A Stopwatch of some steps of the generator, all their milliseconds, and Adam's among them."""
    watch, all_ms, adam_ms = Stopwatch(), 0, 0
    for _ in range(steps):
        with switches.observe(watch):
            all_ms += milliseconds(lambda: generator_loss().backward(inputs=G.parameters()), 1)
        adam_ms += milliseconds(adam.step, 1)
        adam.zero_grad()
    return watch, all_ms + adam_ms, adam_ms


# %%
watched()                                                                   # compiles kernels, or loads them
watch, all_ms, adam_ms = min((watched() for _ in range(5)), key=lambda measured: measured[1])
assert sum(watch.milliseconds.values()) + adam_ms <= all_ms                 # no time was counted twice
assert watch.calls["conv", "forward"] == watch.calls["conv_transpose", "forward"] == 5 * 2
# Of D's two layers the gradients for their images, which lead back to G; none of the kernels.
assert watch.calls["conv", "backward"] == 5 * 2

# %%
@figure.style()
def draw_profile():
    picture = figure.new_figure(6.4, 2.4, f"Where the time of half a round goes, {BATCH} images")
    axes = picture.subplots()
    parts = [*watch.milliseconds.most_common(6), (("Adam", "update"), adam_ms)]
    bars = axes.barh([", ".join(name) for name, _ in parts], [100 * value / all_ms for _, value in parts],
                     color=figure.PALETTE["middle"], edgecolor=figure.PALETTE["dark"])
    axes.bar_label(bars, [f"{100 * value / all_ms:.1f}" for _, value in parts], padding=3)
    axes.set(xlabel="percent of the whole", xlim=(0, 40))
    axes.invert_yaxis()
    return picture


figure.keep(draw_profile(), "lab_c_profile.png")

# %% [markdown]
# ## Threads
#
# The engine cuts the batch into chunks of a few images, and plain Python threads take the next
# chunk when they are done with one. (NumPy and `nogil=True` functions release Python's lock while
# they compute.) The chunks depend on shapes alone, never on the number of threads, and each writes
# a part of the result that is its own. A kernel gradient is a sum over the batch: there each few
# chunks write a share of their own, and the shares are added in the chunks' order. So the number of
# threads changes no bit, even for numbers that do round.

# %%
batch = 128 if JIT and not SHORT else 32 if JIT else 2
x = rng.standard_normal((batch, 14, 14, 64)).astype(np.float32)
w = rng.standard_normal((4, 4, 64, 128)).astype(np.float32)
g = rng.standard_normal((batch, 7, 7, 128)).astype(np.float32)
everyone = max(2, machine.available_threads())


def layer():
    return F.conv2d(x, w, stride=2, padding=1).data


# %%
trio = {"conv2d": layer,
        "conv_transpose2d": lambda: F.conv_transpose2d(g, w, stride=2, padding=1).data,
        "conv_kernel_grad": lambda: F.conv_kernel_grad(x, g, 4, stride=2, padding=1).data}
for name, operation in trio.items():
    md.set_num_threads(1)
    alone, alone_ms = operation(), milliseconds(operation)
    md.set_num_threads(everyone)
    together, together_ms = operation(), milliseconds(operation)
    assert alone.tobytes() == together.tobytes()                            # the claim: the same bits
    print(f"{name:<18} 1 thread {alone_ms:7.2f} ms, {everyone} threads {together_ms:7.2f} ms: "
          f"{alone_ms / together_ms:.2f} times as fast")

# %% [markdown]
# Why not Numba's own threads (`njit(parallel=True)`, `prange`)? `col2im` *adds* to pixels that
# several windows share. `image[i] += value` is a read, an addition and a write; two threads may
# both read before either writes, one addition is lost, and for single entries of arrays Numba does
# not prevent it (numba issue 3681). And a process should have *one* pool at work. BLAS has its own;
# where each of our threads calls a BLAS that starts more, they compete. So `with
# parallel.one_blas_thread:` gives BLAS one thread meanwhile, and its setting back afterwards.

# %%
def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


before, during = blas_threads(), []
with parallel.one_blas_thread:
    parallel.run(lambda index: during.extend(blas_threads()), 4)
assert set(during) <= {1} and blas_threads() == before                      # inside: one thread; afterwards: as it was

# %% [markdown]
# ## The product itself
#
# A core can multiply and add two vectors of numbers in every cycle, if nothing else holds it up. A
# compiled loop over arrays is held up: for every multiplication it loads a sum and stores it again.
# BLAS keeps a block of sums in the processor's registers from the first term to the last. So does
# the engine (`kernels/fast/products.py`: 8 rows of 32 sums where the processor has AVX-512), since
# its own product can do what BLAS's cannot: read windows or tiles that exist only a few rows at a
# time, and are still in the core's cache. How many images a chunk has hardly matters: since columns
# exist for a few pixels only, chunks of 8 KB to 64 MB of columns take the same time within a fifth
# (measured on one thread of the machine of README).
#
# ## Fewer products
#
# The fastest multiplication is the one that is not done. Two neighbouring outputs of a filter with
# two taps take four products:
#
#     y0 = d0 g0 + d1 g1        y1 = d1 g0 + d2 g1
#
# or three (Winograd 1980; Lavin and Gray 2016 for convolutions): `y0 = a + b` and `y1 = b - c`
# with
#
#     a = (d0 - d1) g0          b = d1 (g0 + g1)          c = (d1 - d2) g1
#
# g0 + g1 is computed once for all images. As matrices, so that rows and columns of an image can
# each be treated in this way:

# %%
data, taps, outputs = FILTERINGS[2]                                         # (3, 3), (3, 2), (3, 2)
d, g = integers(3), integers(2)
three = (data @ d) * (taps @ g)                                             # three products
assert np.array_equal(outputs.T @ three, [d[0] * g[0] + d[1] * g[1], d[1] * g[0] + d[2] * g[1]])

d, g = integers(3, 3), integers(2, 2)                                       # in two dimensions: a 2x2 tile of outputs
nine = (data @ d @ data.T) * (taps @ g @ taps.T)
slow = np.array([[(d[i:i + 2, j:j + 2] * g).sum() for j in range(2)] for i in range(2)])
assert np.array_equal(outputs.T @ nine @ outputs, slow)
assert nine.size == 9 and slow.size * g.size == 16                          # the claim: 9 products do the work of 16

# %% [markdown]
# In a layer every d and g is a matrix over channels, so each of the products is a matrix product,
# and the additions are little beside it. A 4x4 kernel with stride 2 has two taps for even rows and
# two for odd ones: it is four 2x2 filters, one for each *phase* of the image, and all four save 9
# to 16. `kernels/fast/tiles.py` does this. We count the multiplications that the engine's kernels
# are given, with and without it:


# %%
def multiplications_of(function):
    """For each number that they write there are as many products as the panels have rows."""
    gather, transform, counts = columns.gather_by_columns, tiles.transform, []

    def counting_gather(x, panels, window, rest, room, y):
        counts.append(y.size * panels.shape[-2])
        gather(x, panels, window, rest, room, y)

    def counting_tiles(work, before, weights, *others):
        for n in range(len(work.pieces)):                                       # one piece after the other
            others[-2].products[:], work.counters[:] = np.nan, (0, 0, n)        # room for a piece's products
            transform(work._replace(pieces=work.pieces[:n + 1]), before, weights, *others)
            # What was not written is room for odd sizes, and the last rows for zeros.
            counts.append(np.count_nonzero(~np.isnan(others[-2].products[:-ROWS])) * weights.factors.shape[-2])
    with patch.object(columns, "gather_by_columns", counting_gather), \
            patch.object(tiles, "transform", counting_tiles), patch.object(parallel, "num_threads", lambda: 1):
        function()
    return sum(counts)


# %%
tiles.POSITIONS = 1                                                         # however few pixels there are
x, w = integers(batch, 16, 16, 64), integers(4, 4, 64, 128)
with patch.object(tiles, "LAYERS", {}):
    direct, direct_count, direct_ms = layer(), multiplications_of(layer), milliseconds(layer)
# Exact on integers: -1, 0 and 1 are all it adds with.
assert np.array_equal(layer(), direct)
assert direct_count == batch * 8 * 8 * 4 * 4 * 64 * 128
assert multiplications_of(layer) * 16 == direct_count * 9
nine_ms = milliseconds(layer)
print(f"16 products {direct_ms:.2f} ms, 9 products {nine_ms:.2f} ms: {direct_ms / nine_ms:.2f} times as fast")

# %% [markdown]
# It is less than 16/9, since making and undoing the tiles is work as well, and work of the slow
# kind: moving memory. With few channels or pixels nothing would be left of the gain; `tiles.LAYERS`
# and `tiles.POSITIONS` say from how many on it is used. There is a price: infinity minus infinity
# is NaN, so outputs that are not finite are computed once more the direct way.

# %%
x[0, 5, 6, 7] = np.inf
with patch.object(tiles, "LAYERS", {}):
    direct = layer()
assert np.isinf(direct).any() and np.array_equal(layer(), direct, equal_nan=True)

# %% [markdown]
# ## A question
#
# **Question.** Back to 14x14 images: 7 outputs along an axis, and 7 is odd. Tiles of two cover 8,
# so one output of the last tile is not wanted. Of a tile's three products, a serves y0 only, b
# both, c y1 only. How many products does an axis of 7 need, and is the gain in two dimensions
# still 16/9?
#
# <details><summary>Answer</summary>
#
# The last tile can leave out c: 3 + 3 + 3 + 2 = 11 instead of 7 * 2 = 14. In two dimensions 121
# instead of 196: a gain of 1.62, not of 1.78.
#
# </details>

# %%
x, w = integers(1, 14, 14, 64), integers(4, 4, 64, 128)
with patch.object(tiles, "LAYERS", {}):
    direct_count = multiplications_of(layer)
assert multiplications_of(layer) * 196 == direct_count * 121

# %% [markdown]
# Take with you: measure before you change anything. One pool of threads, chunks that depend on
# shapes alone, and every chunk writes what is its own: no race, and the same bits for any number of
# threads.
#
# Sources: S. Winograd, "Arithmetic complexity of computations",
# 1980; A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", 2016,
# arXiv:1509.09308; numba issue 3681, "parallel prange race condition", 2019,
# github.com/numba/numba.
