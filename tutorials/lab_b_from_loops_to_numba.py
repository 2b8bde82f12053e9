"""Lab B: from seven nested loops to compiled ones and to the engine;
each step asserted equal to the last, and timed on your machine.
"""
# %% [markdown]
# # Lab B. From loops to Numba
#
# Takes about 20 seconds on 2 cores (with the environment variable `MINIDECONV_SHORT=1` smaller
# layers are timed, in under 10), and twenty minutes to read. A lab is optional: no lesson needs it.
# You need lesson 4: a convolution, and `im2col`.
#
# A convolution is seven loops and a multiplication. Written that way in Python, *one step* of the
# GAN of lesson 11 would take about an hour. This lesson rewrites the loops again and again. After
# each rewrite the result is compared with the first one by `==`: all numbers are small integers,
# stored as floating-point numbers, so every sum is exact and no order of adding changes it.
#
# Seconds are different. They depend on your processor and on what else it does, so they are
# printed, and a claim about them is asserted only where it holds by a wide margin anywhere.
# Equalities, counts and types are asserted without a margin.

# %%
import os
import subprocess
import sys
import time
from functools import partial

import numba
import numpy as np

# %%
import minideconv as md
import minideconv.functional as F
from minideconv import kernels, machine
from minideconv.draw import figure
from minideconv.kernels import fast, reference
from minideconv.kernels.fast import columns
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
# ## Seven loops
#
# Notation: image x (N, H, W, C), kernel w (KH, KW, C, O), features y (N, OH, OW, O), stride s,
# padding p. Every y is a sum over u, v and c, and there are N*OH*OW*O of them: seven loops.


# %%
def conv_loops(x, w, s, p, y):
    for n in range(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for o in range(y.shape[3]):
                    total = x[0, 0, 0, 0] * 0                               # a zero of x's own type
                    for u in range(w.shape[0]):
                        for v in range(w.shape[1]):
                            h, k = i * s + u - p, j * s + v - p
                            if 0 <= h < x.shape[1] and 0 <= k < x.shape[2]:
                                for c in range(w.shape[2]):
                                    total += x[n, h, k, c] * w[u, v, c, o]
                    y[n, i, j, o] = total


# %%
N, C, O = (1, 8, 8) if SHORT else (4, 16, 16)
# A 4x4 kernel with stride 2 and padding 1: 14x14 -> 7x7.
x, w = integers(N, 14, 14, C), integers(4, 4, C, O)
y = np.empty((N, 7, 7, O), np.float32)
loops_ms = milliseconds(lambda: conv_loops(x, w, 2, 1, y), 1)
correct = y.copy()
count = N * 7 * 7 * O * 4 * 4 * C
print(f"{count:,} multiplications, {1e6 * loops_ms / count:.0f} nanoseconds each: "
      f"{10e9 / 60e3 * loops_ms / count:.0f} minutes for the 10 billion of a GAN step")

# %% [markdown]
# A processor multiplies two numbers in less than one nanosecond. The rest of the time Python looks
# up names, makes an object for every index, every entry and every product, checks their types, and
# throws them away.
#
# ## First way out: few, large operations
#
# NumPy pays Python's price once for each *array* operation. `reference.im2col` copies all windows
# into rows with one copy for each of the 16 taps, and the rest is one matrix product, done by
# BLAS, a library of matrix operations that are tuned for each processor (Chellapilla et al. 2006
# describe this for convolutions). A `Window` holds the integers of a convolution.


# %%
window = Window(kernel=(4, 4), stride=(2, 2), padding=(1, 1), dilation=(1, 1), image=(14, 14), features=(7, 7))


def conv_columns(x, w, y, im2col):
    cols = im2col(x, window)                                                # (N, OH, OW, KH, KW, C)
    np.matmul(cols.reshape(-1, w[..., 0].size), w.reshape(-1, w.shape[3]), out=y.reshape(-1, w.shape[3]))


y[...] = 0
numpy_ms = milliseconds(lambda: conv_columns(x, w, y, reference.im2col))
# The claim, here and below: faster, and the same.
assert np.array_equal(y, correct) and numpy_ms * 5 < loops_ms
# The engine's readable kernel is these two lines.
assert np.array_equal(reference.gather(x, w, window), correct)

# %% [markdown]
# ## Second way out: compile the loops
#
# Numba reads a Python function, sees at the first call which types its arguments have, and
# compiles it to machine code for them. The first call is therefore slow, and so is the first call
# with *another* type.

# %%
compiled = numba.njit(nogil=True)(conv_loops)
first_call = milliseconds(lambda: compiled(x, w, 2, 1, y), 1)
y[...] = 0
later_call = milliseconds(lambda: compiled(x, w, 2, 1, y))
assert np.array_equal(y, correct)
print(f"first call {first_call:.0f} ms, later calls {later_call:.3f} ms; Python {loops_ms:.0f} ms, NumPy "
      f"{numpy_ms:.3f} ms")
if JIT:
    assert compiled.py_func is conv_loops                                   # the Python function is still there
    assert later_call * 5 < loops_ms
    assert len(compiled.signatures) == 1
    compiled(x.astype(float), w.astype(float), 2, 1, y.astype(float))       # float64: compiled anew
    assert len(compiled.signatures) == 2

# %% [markdown]
# The engine's kernels keep their machine code in files, and the next *process* need not compile
# again. (`kernels/fast/compiled.py`: Numba's cache. Where it finds no folder to write to, or no
# room, the kernels are compiled at each start.)
#
# ## Neither alone: the engine
#
# On a small layer the compiled loops do well. On a large one they do not: the compiler may not
# reorder the additions of a float sum (rounding would differ), so it uses one lane of a vector
# unit that has 4 (on ARM), 8 or 16, and it fetches numbers from memory again and again that BLAS
# would keep close. BLAS is best at sums of products, loops are best at moving numbers about. So
# one would take compiled loops for `im2col` and `col2im` (and pooling, batch norm, Adam), and BLAS
# for the product between them. The engine did that at first; what it does now is in lab C.

# %%
ways = {"seven loops, compiled": lambda x, w, y: compiled(x, w, 2, 1, y),
        "NumPy im2col, BLAS": lambda x, w, y: conv_columns(x, w, y, reference.im2col),
        "compiled im2col, BLAS": lambda x, w, y: conv_columns(x, w, y, fast.im2col),
        "the engine": lambda x, w, y: np.copyto(y, F.conv2d(x, w, stride=2, padding=1).data)}
layers = {"small": (x, w), "large": (x, w)}
if JIT:
    layers["large"] = integers(2 if SHORT else 32, 14, 14, 64), integers(4, 4, 64, 128)


# %%
took, work = {}, {}
for size, (x, w) in layers.items():
    work[size] = len(x) * 7 * 7 * w.size
    took[size] = {"seven loops, Python": loops_ms * work[size] / count}     # for the large layer: what it would take
    results = [np.empty((len(x), 7, 7, w.shape[3]), np.float32) for _ in ways]
    for (name, way), y in zip(ways.items(), results, strict=True):
        way(x, w, y)
        took[size][name] = milliseconds(partial(way, x, w, y))
    assert all(np.array_equal(y, results[0]) for y in results)
assert not JIT or took["large"]["the engine"] < took["large"]["seven loops, compiled"]


# %%
def duration(milliseconds):
    return f"{milliseconds:.2g} ms" if milliseconds < 99 else f"{milliseconds / 1000:.3g} s"


# %%
@figure.style()
def draw_times():
    picture = figure.new_figure(7.2, 2.6, "Time of one convolution: from line to line a hundred times")
    for axes, (size, times) in zip(picture.subplots(1, 2, sharey=True), took.items(), strict=True):
        hollow = size == "large"                                            # estimated from the small layer
        for row, time_taken in enumerate(times.values()):
            inside = figure.PALETTE["paper" if hollow and row == 0 else "accent" if row == 4 else "dark"]
            axes.plot(time_taken, row, "o", color=inside, markeredgecolor=figure.PALETTE["dark"], markersize=8)
            axes.annotate(duration(time_taken), (time_taken, row), (8, 0), textcoords="offset points", va="center")
        axes.set(xscale="log", xlim=(1e-3, 1e8), ylim=(4.5, -0.5), title=f"{size} layer: {work[size]:,} products")
        axes.set(xticks=[1e-2, 1, 1e2, 1e4, 1e6], xticklabels=["0.01", "1", "100", "10 000", "1 000 000"])
        axes.set(yticks=range(5), yticklabels=list(times), xlabel="milliseconds (hollow: estimated)")
        axes.grid(color=figure.PALETTE["faint"])
    return picture


# %%
figure.keep(draw_times(), "lab_b_loops.png")

# %% [markdown]
# On the small layer the engine is slower than its own two pieces: checking arguments, writing the
# tape and waking threads cost it about a tenth of a millisecond per operation, whatever the size.
# On the large layer that is nothing.

# %% [markdown]
# ## Stepping through it
#
# Machine code has no Python lines to step through. Two ways back:
#
# - `md.kernels.use("reference")`: plain NumPy runs, arrays in, array out, a dozen lines for each
#   operation. A convolution is `im2col(x, window)` and one `@`, as above. These functions are the
#   definition of what those of the same names in `kernels/fast/` must do.
# - `NUMBA_DISABLE_JIT=1 python -m pdb your_script.py`: nothing is compiled, your debugger steps
#   into every loop. Use tiny arrays, as this lesson does under that setting. Breakpoints inside a
#   pool's thread need a debugger that follows threads: set `MINIDECONV_NUM_THREADS=1`.

# %%
small, three = integers(1, 5, 5, 2), Window((3, 3), (2, 2), (1, 1), (1, 1), (5, 5), (3, 3))
cols = np.empty((1, 3, 3, 3, 3, 2), np.float32)
columns.im2col(small, three, cols)
assert np.array_equal(cols, reference.im2col(small, three))

kernels.use("reference")
x, w = layers["small"]
readable = F.conv_transpose2d(correct, w, stride=2, padding=1)
kernels.use("fast")
assert np.array_equal(readable.data, F.conv_transpose2d(correct, w, stride=2, padding=1).data)

# %%
source = os.pathsep.join(filter(None, [os.path.dirname(os.path.dirname(md.__file__)), os.environ.get("PYTHONPATH")]))
program = "from minideconv.kernels.fast import columns; print(type(columns.im2col).__name__)"
answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": source})
# With the JIT off: an ordinary Python function.
assert answer.stdout.strip() == "function"

# %% [markdown]
# ## A question
#
# **Question.** The compiled loops were compiled once for float32 and once for float64. Now they are
# called with an image in float32 and a kernel in float64. Does one of the two machine codes serve,
# or is there a third?
#
# <details><summary>Answer</summary>
#
# A third. Machine code is for one combination of types, and nothing is converted on the way in.
# This is why the engine brings all its arrays to one type before it calls a kernel.
#
# </details>

# %%
x, w = layers["small"]
if JIT:
    known = len(compiled.signatures)
    compiled(x, w.astype(float), 2, 1, np.empty((len(x), 7, 7, w.shape[3]), np.float32))
    assert len(compiled.signatures) == known + 1

# %% [markdown]
# ## What to take with you
#
# - Write the slow version first and keep it: it is what the fast one is compared with, by `==`, on
#   integers.
# - NumPy pays Python's price once for each array; a compiler removes it. Loops are good at moving
#   numbers, a matrix product at sums of products.
#
# Sources: K. Chellapilla, S. Puri and P. Simard, "High performance convolutional neural networks
# for document processing", 2006 (im2col).
