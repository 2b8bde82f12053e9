"""Presents what was measured: a table to read, a few figures that sum it up, a bar chart."""
import math
import statistics
from itertools import pairwise

from .cases import GROUPS

STEADY = 0.75           # slowest matrix product / fastest: below this, something else used the processors


def summary(rows) -> dict:
    """The few figures that one wants to know: geometric means, the whole step, threads,
    the cost of an image.
    """
    figures = {}
    for group in ("layers", "layers4x4"):
        ratios = [row["times_torch"] for row in rows if row["group"] == group and row["times_torch"]]
        if ratios:
            figures[f"{group}_times_torch"] = math.exp(statistics.fmean(map(math.log, ratios)))
    for row in rows:
        if row["group"] in ("step", "avx2", "pair", "pair4"):
            figures[f"{row['group']}_times_torch"] = row["times_torch"]
        if row["group"] == "step":
            figures["step_share"] = row["share"]
        if row["group"] == "threads":
            figures["thread_speedup"] = row["thread_speedup"]
    costs = [row["ms"] / row["batch"] for row in rows if row["group"] == "batches"]
    if costs:
        figures["image_cost_spread"] = max(costs) / min(costs) - 1
    return figures


def table(results) -> str:
    """What `bench` gave, as text."""
    machine, rate = results["machine"], results["matrix_gflops"]
    versions = ", ".join(f"{name} {machine[name] or 'not measured'}"
                         for name in ("minideconv", "python", "numpy", "numba", "torch"))
    lines = [f"{machine['processor']}, {machine['threads']} of {machine['available_threads']} threads; {versions}"]
    lines += machine["blas"]
    lines += [f"a large float32 matrix product in NumPy: {rate:.0f} GFLOP/s (100 % below); the fastest here: "
              f"{results['product_gflops']:.0f}; a large copy: {results['copy_gbytes']:.0f} GB/s"]
    low, high = results["matrix_gflops_range"]
    if low < STEADY * high:
        lines += [f"NOT TO BE TRUSTED: that product ran at anything from {low:.0f} to {high:.0f} GFLOP/s, "
                  "so the machine was busy with other things,",
                  "which slow the two sides by different amounts: the ratios are off too. "
                  "Measure again when nothing else runs."]
    former = None
    for row in results["rows"]:
        if row["group"] != former:
            former = row["group"]
            lines += ["", GROUPS[former],
                      f"{'':<46}{'GFLOP':>7}{'ms':>9}{'bound':>8}{'GFLOP/s':>9}{'share':>7}{'readable':>10}{'PyTorch':>9}"
                      "  speed"]
        lines.append(_line(row))
    lines += ["", *_sentences(results)]
    return "\n".join(lines) + "\n\n" + EXPLANATION


EXPLANATION = """\
ms: median. bound: what the operations take at least, their (fewest) products at the fastest rate of a large one,
their arrays at that of a large copy. readable: the same with the reference kernels (plain NumPy), ms.
PyTorch: ms, in the memory layout named. speed: PyTorch's time / ours. GFLOP: arithmetic of the matrix products,
2 * N*OH*OW * KH*KW*C*O for each of a layer's three (OH x OW: its smaller side); a method that needs fewer
multiplications shows as more GFLOP/s. share: of the large matrix product's rate in NumPy."""


def _line(row) -> str:
    """One row of the table."""
    return (f"{row['name']:<46}{row['gflop']:7.2f}{row['ms']:9.2f}{_number(row['bound_ms']):>8}"
            f"{row['gflops']:9.0f}{row['share']:7.0%}{_number(row['reference_ms']):>10}{_number(row['torch_ms']):>9}"
            + (f"  {row['times_torch']:.2f}x {row['torch_layout']}" if row["torch_ms"] else ""))


def _number(value) -> str:
    return "-" if value is None else f"{value:.2f}"


def _sentences(results) -> list[str]:
    """The summary in words."""
    figures = results["summary"]
    names = {"layers_times_torch": "layers, geometric mean",
             "layers4x4_times_torch": "4x4 stride-2 layers, geometric mean",
             "step_times_torch": "the GAN step", "avx2_times_torch": "the GAN step, AVX2 on both sides",
             "pair_times_torch": "the 256x256x3 pair, batch 1",
             "pair4_times_torch": "the 256x256x3 pair, batch 4"}
    lines = [f"{name}: {figures[key]:.2f} times PyTorch's speed" for key, name in names.items() if figures.get(key)]
    if "step_share" in figures:
        lines.append(f"the GAN step runs at {figures['step_share']:.0%} of the machine's matrix-product rate")
    for row in results["rows"]:
        if row["group"] == "threads":
            theirs = f" (PyTorch {row['torch_thread_speedup']:.2f})" if row["torch_thread_speedup"] else ""
            lines.append(f"from 1 thread to {results['machine']['threads']} the GAN step gets "
                         f"{row['thread_speedup']:.2f} times as fast{theirs}")
    if "image_cost_spread" in figures:
        lines.append(f"the cost of an image varies by {figures['image_cost_spread']:.0%} over the batch sizes")
    return lines


def chart(results):
    """The rows as bars of GFLOP/s on one scale, the matrix product's rate as a line: a Figure."""
    from ..draw.figure import style
    with style():
        return _chart(results)


def _chart(results):
    from ..draw.figure import PALETTE, new_figure
    rows, rate, torch = results["rows"], results["matrix_gflops"], results["machine"]["torch"]
    figure = new_figure(9, 1.5 + 0.36 * len(rows))
    axes = figure.subplots()
    places = [0.0]          # one below the other, a gap between groups
    for above, row in pairwise(rows):
        places.append(places[-1] + (1 if above["group"] == row["group"] else 1.6))
    speeds = [rate, *_bars(axes, places, rows, torch)]
    axes.axvline(rate, color=PALETTE["ink"], linewidth=1, linestyle="--",
                 label=f"large matrix product in NumPy: {rate:.0f}")
    axes.set_yticks(places, [row["name"] for row in rows])
    axes.set_ylim(places[-1] + 0.7, -0.7)
    axes.set_xlim(0, 1.03 * max(speeds))
    axes.set_xlabel("GFLOP/s (longer is faster" + ("; on the right: PyTorch's time / ours)" if torch else ")"))
    axes.spines[["top", "right"]].set_visible(False)
    handles = {text: handle for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    bars_first = sorted(handles, key=lambda text: not hasattr(handles[text], "patches"))
    figure.legend([handles[text] for text in bars_first], bars_first, loc="outside lower center", ncols=2)
    machine = results["machine"]
    figure.suptitle(f"{machine['processor']}, {machine['threads']} thread{'s' if machine['threads'] > 1 else ''}")
    return figure


def _bars(axes, places, rows, torch) -> list:
    """Our bars, PyTorch's below them, the readable kernels as marks;
    gives all speeds in GFLOP/s.
    """
    from ..draw.figure import PALETTE
    ours, theirs = [row["gflops"] for row in rows], []
    axes.barh([place - 0.19 for place in places], ours, 0.38, color=PALETTE["dark"], label="minideconv")
    if torch:
        theirs = [row["gflop"] / row["torch_ms"] * 1e3 for row in rows]
        axes.barh([place + 0.19 for place in places], theirs, 0.38, color=PALETTE["light"], edgecolor=PALETTE["ink"],
                  linewidth=0.5, hatch="////", label=f"PyTorch {torch}, its faster layout")
        for place, row in zip(places, rows, strict=True):
            axes.text(1.01, place, f"{row['times_torch']:.2f}x", va="center", transform=axes.get_yaxis_transform())
    readable = [(place - 0.19, row["gflop"] / row["reference_ms"] * 1e3)
                for place, row in zip(places, rows, strict=True) if row["reference_ms"]]
    if readable:
        axes.plot([speed for _, speed in readable], [place for place, _ in readable], "D", color=PALETTE["accent"],
                  markeredgecolor=PALETTE["paper"], markersize=5, label="minideconv, readable kernels")
    return [*ours, *theirs, *(speed for _, speed in readable)]
