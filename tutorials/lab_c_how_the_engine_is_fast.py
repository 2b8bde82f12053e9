"""Lab C: where a training step's time goes, and how the engine keeps every core busy;
each way asserted equal to the others, and timed on your machine.
"""
# %% [markdown]
# # Lab C. How the engine is fast
#
# Takes about 20 seconds on 2 cores (with the environment variable `MINIDECONV_SHORT=1` smaller
# layers are timed, in under 10), and half an hour to read. A lab is optional: no lesson needs it.
# You need lab B: columns, a matrix product, compiled loops.
#
# Lab B ended with compiled loops that copy windows and BLAS that multiplies them. This lab goes on
# from there: measure where the time goes, then threads, caches, fewer products. Each way is compared
# with the others by `==`: numbers are small integers, stored as floating-point numbers, so every sum
# is exact and no order of adding changes it.
#
# Seconds are different. They depend on your processor and on what else it does, so they are
# printed, and a claim about them is asserted only where it holds by a wide margin anywhere.
# Equalities, counts and types are asserted without a margin.

# %%
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from unittest.mock import patch

import numba
import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

# %%
import minideconv as md
import minideconv.functional as F
from minideconv import gan, machine, optim, parallel, switches
from minideconv.draw import figure
from minideconv.kernels.fast import columns, lowering, products, tiles
from minideconv.shapes import Window

# %% [markdown]
# How to time: run it several times and take the *shortest*. Other programs, interrupts and cold
# caches only ever add.

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


def watched(inputs, steps=5):
    """A Stopwatch of some steps of the generator, all their milliseconds,
    and Adam's among them.
    """
    watch, all_ms, adam_ms = Stopwatch(), 0, 0
    for _ in range(steps):
        with switches.observe(watch):
            all_ms += milliseconds(lambda: generator_loss().backward(inputs=inputs), 1)
        adam_ms += milliseconds(adam.step, 1)
        adam.zero_grad()
    return watch, all_ms + adam_ms, adam_ms


# %%
# The first steps compile kernels, or load them from their file.
watched(None)
watch, all_ms, adam_ms = watched(None)
print(f"a step of the generator, {BATCH} images: {all_ms / 5:.1f} ms")
for (name, direction), value in [*watch.milliseconds.most_common(8), (("Adam", "update"), adam_ms)]:
    print(f"  {name:<20}{direction:<10}{value / 5:8.2f} ms {value / all_ms:7.1%}")
assert sum(watch.milliseconds.values()) + adam_ms <= all_ms                 # no time was counted twice
assert watch.calls["conv", "forward"] == watch.calls["conv_transpose", "forward"] == 5 * 2
# D's two layers: image and kernel each, and one bias.
assert watch.calls["conv", "backward"] == 5 * (3 + 2)

# %% [markdown]
# Convolutions and their gradients are where the time goes. And something here is not needed at
# all: this step moves the generator alone, yet gradients of D's kernels are computed as well. Say
# what is wanted, and the walk back leaves out the rest:

# %%
frugal, frugal_ms, _ = watched(G.parameters())
# Only those of the images, which lead back to G.
assert frugal.calls["conv", "backward"] == 5 * 2
print(f"all gradients {all_ms / 5:.1f} ms, only the generator's {frugal_ms / 5:.1f} ms")

# %% [markdown]
# ## Threads
#
# The engine cuts the batch into chunks of a few images, and plain Python threads take the next
# chunk when they are done with one. (NumPy and `nogil=True` functions release Python's lock while
# they compute.) The chunks depend on shapes alone, never on the number of threads, and each writes
# a part of the result that is its own. A kernel gradient is a sum over the batch: there each few
# chunks write a share of their own, and the shares are added in the chunks' order. So the number of
# threads changes no bit, even for ordinary numbers that do round. (If other programs keep your
# processors busy, threads gain nothing: then time this again when it is quiet.)

# %%
batch = 128 if JIT and not SHORT else 32 if JIT else 2
x = rng.standard_normal((batch, 14, 14, 64)).astype(np.float32)             # the layer that everything below measures:
# 64 -> 128 channels, 4x4, stride 2, padding 1
w = rng.standard_normal((4, 4, 64, 128)).astype(np.float32)
g = rng.standard_normal((batch, 7, 7, 128)).astype(np.float32)
everyone = max(2, machine.available_threads())


def layer():
    """The layer on whatever x and w are when it is called; so in all that follows."""
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
# Why the order matters at all: floating-point addition is not associative. Had each thread its own
# sum, the result would depend on who took which chunk.

# %%
large, one = np.float32(1e8), np.float32(1)
assert (large + one) - large == 0 and (large - large) + one == 1

# %% [markdown]
# ## Why not `prange`
#
# Numba can also spread a loop over threads: `njit(parallel=True)` and `prange`. We use neither,
# for two reasons.
#
# First, `col2im` *adds* to pixels that several windows share, and `image[i] += value` is a read,
# an addition and a write. Two threads may both read before either writes, and then one addition is
# lost. For single entries of arrays Numba does not prevent it (numba issue 3681). By hand:

# %%
pixel = np.zeros(1)
read_by_a, read_by_b = pixel[0], pixel[0]                                   # both threads read 0
pixel[0] = read_by_a + 1
pixel[0] = read_by_b + 1
assert pixel[0] == 1                                                        # 1 + 1 = 1: the race

# %% [markdown]
# Second, a process should have one pool of threads at work. BLAS has its own. If each of our
# threads calls a BLAS that starts threads too, they compete for the same processors, and waiting
# threads spin instead of sleeping. So `parallel.run(..., blas=True)` gives BLAS one thread meanwhile,
# and its setting back afterwards. See what it costs not to:

# %%
def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


before, during = blas_threads(), []
parallel.run(lambda index: during.extend(blas_threads()), 4, blas=True)
assert set(during) <= {1} and blas_threads() == before                      # inside: one thread; afterwards: as it was

jobs = range(8 if SHORT else 32)
rows = [integers(392, 1024) for _ in jobs]                                  # the columns of eight images each
taps, found = integers(1024, 128), np.empty((len(jobs), 392, 128), np.float32)
# Our threads, and BLAS's own in each of them.
with ThreadPoolExecutor(everyone) as pool:
    two_pools = milliseconds(lambda: list(pool.map(lambda i: np.matmul(rows[i], taps, out=found[i]), jobs)))
fought_for = found.copy()
one_pool = milliseconds(lambda: parallel.run(lambda i: np.matmul(rows[i], taps, out=found[i]), len(jobs), blas=True))
assert np.array_equal(fought_for, found)
print(f"{len(jobs)} products: two pools {two_pools:.2f} ms, one pool {one_pool:.2f} ms")

# %% [markdown]
# ## Memory order
#
# Memory hands out numbers by the *cache line*, 64 bytes of neighbours. Our images are (N, H, W,
# C), channels last: in memory the C numbers of a pixel lie side by side, and so do the pixels of a
# row. One row of a window is then a single run of KW*C numbers, and `im2col` copies runs. With
# channels first, (N, C, H, W), a run is only KW numbers long, and a row of columns is put together
# from C times as many of them.

# %%
last = integers(batch, 16, 16, 64)                                          # already padded: 14 + 2
first = np.ascontiguousarray(last.transpose(0, 3, 1, 2))                    # (N, C, H, W): the same numbers
assert last[0, 3, 2:6].flags.c_contiguous and last[0, 3, 2:6].size == 4 * 64
assert first[0, 7, 3, 2:6].flags.c_contiguous and first[0, 7, 3, 2:6].size == 4
assert not first[0, :, 3, 2:6].flags.c_contiguous


@numba.njit(nogil=True)
def im2col_first(x, cols):
    """x (N, C, H, W), cols (N, OH, OW, C, 4, 4), stride 2."""
    for n, i, j, c in np.ndindex(cols.shape[0], cols.shape[1], cols.shape[2], cols.shape[3]):
        for u in range(4):
            for v in range(4):
                cols[n, i, j, c, u, v] = x[n, c, 2 * i + u, 2 * j + v]


# %%
cols_last, cols_first = np.empty((batch, 7, 7, 4, 4, 64), np.float32), np.empty((batch, 7, 7, 64, 4, 4), np.float32)
im2col_first(first, cols_first)
without_padding = Window((4, 4), (2, 2), (0, 0), (1, 1), image=(16, 16), features=(7, 7))
last_ms = milliseconds(lambda: columns.im2col(last, without_padding, cols_last))
first_ms = milliseconds(lambda: im2col_first(first, cols_first))
assert np.array_equal(cols_last, cols_first.transpose(0, 1, 2, 4, 5, 3))
print(f"im2col on one thread: channels last {last_ms:.2f} ms, channels first {first_ms:.2f} ms")

# %% [markdown]
# ## The product itself
#
# A core can multiply and add two vectors of numbers in every cycle, if nothing else holds it up. A
# compiled loop over arrays is held up: for every multiplication it loads a sum and stores it
# again. BLAS keeps a block of sums in the processor's registers from the first term to the last,
# and loads little in between. So does the engine (`kernels/fast/products.py`: 8 rows of 32 sums
# where the processor has AVX-512), since its own product can do what BLAS's cannot: read windows or
# tiles that exist only a few rows at a time.


# %%
@numba.njit(nogil=True)
def product_loops(a, b, out):
    out[:] = 0
    for r in range(len(a)):
        for k in range(len(b)):
            for column in range(b.shape[1]):
                out[r, column] += a[r, k] * b[k, column]


# %%
tall, terms, wide = (768, 256, 128) if JIT else (9, 5, 3)
a, b = integers(tall, terms), integers(terms, wide)
# The right factor, cut so that 32 columns lie together.
panels = products.panels(1, terms, wide, np.float32)[0]
products.pack(b, False, 0, panels)
outs = {name: np.empty((tall, wide), np.float32) for name in ("compiled loops", "BLAS", "a register block")}
# A 1x1 kernel is a product: every pixel is a row.
pixels, features = a.reshape(1, 1, tall, terms), outs["a register block"].reshape(1, 1, tall, wide)
one_tap = Window((1, 1), (1, 1), (0, 0), (1, 1), (1, tall), (1, tall))
by_hand = {"compiled loops": lambda: product_loops(a, b, outs["compiled loops"]),
           "BLAS": lambda: np.matmul(a, b, out=outs["BLAS"]),
           "a register block": lambda: columns.gather_by_columns(pixels, panels, one_tap, features)}

# %%
with threadpool_limits(1):
    for name, way in by_hand.items():
        way()
        print(f"{name:<18} on one thread {2 * tall * terms * wide / milliseconds(way, 20) / 1e6:7.1f} GFLOP/s")
assert all(np.array_equal(out, outs["BLAS"]) for out in outs.values())

# %% [markdown]
# ## Chunks that fit into a cache
#
# Columns of the whole batch of 128 are 26 MB: 16 numbers for every 4 that the image has. Written
# to main memory and read back, they cost memory and time. The engine never writes them all:
# `columns.gather_by_columns` fills the windows of some dozen pixels, multiplies them while they are in the
# core's cache, and overwrites them with the next. What a thread takes from the batch at a time, a
# chunk, is a few images, counted in the bytes that their columns would take
# (`lowering.COLUMN_BYTES`, or as much as the kernel takes, which every chunk reads). Too small is
# worse: every chunk costs some Python. Too large leaves threads idle at the end.

# %%
assert 128 * 7 * 7 * 4 * 4 * 64 * 4 == 25_690_112
x, w = integers(batch, 14, 14, 64), integers(4, 4, 64, 128)
expected = layer()
budgets = [2 ** power for power in range(15, 26, 5 if SHORT else 1)]
by_budget = {"columns and one product (lowering)": [], "fewer products (tiles, below)": []}
for budget in budgets:
    # An empty list of layers: no tiles.
    with patch.object(tiles, "LAYERS", {}), patch.object(lowering, "COLUMN_BYTES", budget):
        assert np.array_equal(layer(), expected)
        by_budget["columns and one product (lowering)"].append(milliseconds(layer))
    with patch.object(tiles, "PART_BYTES", budget):
        assert np.array_equal(layer(), expected)
        by_budget["fewer products (tiles, below)"].append(milliseconds(layer))


# %%
@figure.style()
def draw_budgets():
    picture = figure.new_figure(6.5, 2.9, f"conv2d, {batch} images of 14x14x64 to 7x7x128, on {everyone} threads")
    axes = picture.subplots()
    looks = (("dark", "o-", lowering.COLUMN_BYTES), ("accent", "s--", tiles.PART_BYTES))
    for (name, times), (colour, line, chosen) in zip(by_budget.items(), looks, strict=True):
        axes.plot(budgets, times, line, color=figure.PALETTE[colour], markersize=4, label=name)
        axes.axvline(chosen, color=figure.PALETTE[colour], linestyle=line[1:], linewidth=0.8)
    axes.set_xscale("log", base=2)
    names = [f"{size >> 10} KB" if size < 2 ** 20 else f"{size >> 20} MB" for size in budgets[::2]]
    axes.set_xticks(budgets[::2], names)
    axes.set_xlabel("bytes that a chunk may take; upright lines: what the engine chose")
    axes.set(ylim=(0, None), ylabel="milliseconds")
    axes.legend()
    return picture


# %%
figure.keep(draw_budgets(), "lab_c_chunks.png")

# %% [markdown]
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
data, taps, outputs = tiles.FILTERINGS[2]                                   # (3, 3), (3, 2), (3, 2)
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
    gather, multiply_tiles, counts = columns.gather_by_columns, tiles.multiply_tiles, []

    def counting_gather(x, panels, window, y):
        counts.append(y.size * panels.shape[-2])
        gather(x, panels, window, y)

    def counting_tiles(parts, tiling, images, panels, out):
        out[:], inner = np.nan, panels.shape[-2]
        multiply_tiles(parts, tiling, images, panels, out)
        counts.append(np.count_nonzero(~np.isnan(out)) * inner)                 # the rest is room for odd sizes
    with patch.object(columns, "gather_by_columns", counting_gather), \
            patch.object(tiles, "multiply_tiles", counting_tiles):
        function()
    return sum(counts)


# %%
# However few pixels there are: the engine asks for a thousand.
tiles.POSITIONS = 1
# 16 -> 8 outputs along an axis: four tiles of two
x, w = integers(batch, 16, 16, 64), integers(4, 4, 64, 128)
with patch.object(tiles, "LAYERS", {}):
    direct, direct_count, direct_ms = layer(), multiplications_of(layer), milliseconds(layer)
# Exact on integers: -1, 0 and 1 are all it adds with.
assert np.array_equal(layer(), direct)
assert direct_count == batch * 8 * 8 * 4 * 4 * 64 * 128
assert multiplications_of(layer) * 16 == direct_count * 9
nine_ms = milliseconds(layer)
print(f"16 products {direct_ms:.2f} ms, 9 products {nine_ms:.2f} ms: {direct_ms / nine_ms:.2f} times as fast "
      "(16/9 = 1.78)")

# %% [markdown]
# It is less than 16/9, since making and undoing the tiles is work as well, and work of the slow
# kind: moving memory. With few channels nothing would be left of the gain, nor with few pixels,
# since the kernel is combined anew in every call; `tiles.LAYERS` and `tiles.POSITIONS` say from
# how many on it is used.
#
# A 5x5 kernel with stride 2 has three taps on the even rows and two on the odd ones. Three taps
# give two outputs with four products instead of six (`tiles.FILTERINGS[3]`, from the same papers).
# So its four phases take 4 * 4, 4 * 3, 3 * 4 and 3 * 3 products for a 2x2 tile: 49, where the
# textbook has 100.

# %%
def five():
    return F.conv2d(x, w, stride=2, padding=2).data


w = 2 * integers(5, 5, 64, 128)                                             # even: halves of them are whole
with patch.object(tiles, "LAYERS", {}):
    direct, direct_count = five(), multiplications_of(five)
assert np.array_equal(five(), direct)
assert direct_count == batch * 8 * 8 * 5 * 5 * 64 * 128
assert multiplications_of(five) * 100 == direct_count * 49

# %% [markdown]
# Differences have a price. The first: infinity minus infinity is NaN, where the plain sum may be
# infinite. A tile's outputs are made of entries of their own windows alone, so no other output can
# suffer; and a chunk of outputs that are not all finite is computed once more the direct way, whose
# numbers take the place of those that are not finite.

# %%
x[0, 5, 6, 7] = np.inf
with patch.object(tiles, "LAYERS", {}):
    direct = five()
assert np.isposinf(direct).any() and np.isneginf(direct).any()
assert np.array_equal(five(), direct, equal_nan=True)                       # NaN is infinity times 0: a weight was 0

# %% [markdown]
# The second: numbers that do round, round a little more, since differences are formed before the
# products.

# %%
w = integers(4, 4, 64, 128)
x, w = (rng.standard_normal(shape).astype(np.float32) for shape in (x.shape, w.shape))
exact = F.conv2d(x[:2].astype(float), w.astype(float), stride=2, padding=1).data                # float64
errors = {}
for name, layers in (("16 products", {}), ("9 products", tiles.LAYERS)):
    with patch.object(tiles, "LAYERS", layers):
        errors[name] = np.abs(layer()[:2] - exact).max() / np.abs(exact).max()
print({name: f"{value:.1e}" for name, value in errors.items()}, "of the largest output")
assert max(errors.values()) < 1e-5

# %% [markdown]
# ## One float64 is enough
#
# All of the above is in float32: half the bytes, twice the lanes of a vector unit. One stray
# float64 undoes it. A Python number is harmless; a NumPy scalar (`np.sqrt(0.5)` gives one) makes
# the whole array float64 in NumPy 2. In compiled loops every number from outside is a float64. The
# result still *lies* in a float32 array, so no type gives it away, but the loop computes in
# float64 and converts to and fro. A first version of the engine's Adam had this bug:


# %%
ones = np.ones(3, np.float32)
assert (ones * 0.5).dtype == np.float32
assert (ones * np.float64(0.5)).dtype == (np.float64 if int(np.__version__.split(".")[0]) >= 2 else np.float32)


# X / 0 is inf, as in NumPy: a check at every division would keep the vector unit out.
@numba.njit(error_model="numpy")
def adam_loop(p, g, m, v, rate, keep1, rest1, keep2, rest2, eps):
    for k in range(p.size):
        m[k] = keep1 * m[k] + rest1 * g[k]
        v[k] = keep2 * v[k] + rest2 * g[k] * g[k]
        p[k] -= rate * m[k] / (np.sqrt(v[k]) + eps)


# %%
scalars = (1e-3, 0.5, 0.5, 0.999, 0.001, 1e-8)
# One fits into a cache; the other is all of the generator above.
for size in (20_000, 627_000) if JIT else (100,):
    start = [rng.standard_normal(size).astype(np.float32) for _ in range(3)] + [np.ones(size, np.float32)]
    moved = {}
    # The same function, the same arrays: only six scalars differ.
    for kind in (np.float64, np.float32):
        copies, numbers = [array.copy() for array in start], [kind(value) for value in scalars]
        adam_loop(*copies, *numbers)
        moved[kind] = copies[0].copy()
        passed = milliseconds(partial(adam_loop, *copies, *numbers), 20)
        print(f"Adam on {size:,} parameters, {kind.__name__} scalars: {1e6 * passed / size:.2f} nanoseconds per "
              "parameter")
    assert moved[np.float64].dtype == moved[np.float32].dtype == np.float32                    # nothing shows
    assert np.allclose(moved[np.float64], moved[np.float32], atol=1e-6)
assert not JIT or len(adam_loop.signatures) == 2                            # yet they are two different machine codes

# %% [markdown]
# So the engine's (`kernels/fast/loops.py`) first turns its scalars into the arrays' own type. (In
# the cache that counts.
# Seven numbers that come from and go to main memory for each parameter may take longer than either
# arithmetic; the two types then come out alike.)
#
# ## Fresh memory is not free
#
# A large new array is a promise of the operating system. Each page (mostly 4 KB) is found and
# filled with zeros when it is first written, and given back when the array is freed. Training
# makes the same arrays in every step, so the engine asks the C library, before it first computes,
# to keep freed memory (`machine.keep_memory`, on Linux), and chunks use buffers that their thread
# keeps (`parallel.scratch`). Where the system deals in huge pages (2 MB) the difference is small.

# %%
kept = np.empty(1 << 23, np.float32)                                        # 32 MB
kept_ms = milliseconds(lambda: kept.fill(1))
fresh_ms = milliseconds(lambda: np.empty(1 << 23, np.float32).fill(1))
print(f"filling 32 MB: memory that is there {kept_ms:.2f} ms, fresh memory {fresh_ms:.2f} ms")
buffers = []
for shape in ((4, 1000), (10, 100)):
    buffers.append(parallel.scratch("lab C", shape, np.float32).ctypes.data)
assert buffers[0] == buffers[1]                                             # the same memory, seen in another shape

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
# instead of 196: a gain of 1.62, not of 1.78 (and had the last tile been computed in full, 144:
# 1.36).
#
# </details>

# %%
x, w = integers(1, 14, 14, 64), integers(4, 4, 64, 128)
with patch.object(tiles, "LAYERS", {}):
    direct_count = multiplications_of(layer)
assert multiplications_of(layer) * 196 == direct_count * 121

# %% [markdown]
# ## What to take with you
#
# - Write the slow version first and keep it: it is what the fast one is compared with, by `==`, on
#   integers.
# - Compile the loops that move numbers, and keep the sums of products in registers. Measure before
#   you change anything, and take the shortest of several times.
# - One pool of threads, chunks that depend on shapes alone, and every chunk writes what is its
#   own: no race, and the same bits for any number of threads.
#
# Sources: S. Winograd, "Arithmetic complexity of computations",
# 1980; A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", 2016,
# arXiv:1509.09308; numba issue 3681, "parallel prange race condition", 2019,
# github.com/numba/numba.
