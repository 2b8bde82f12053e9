"""`minideconv evaluate`: how good are the samples of a run, or of anybody's file?"""
import argparse
import math

from .arguments import place, text, threads, whole

DESCRIPTION = """\
Measure 50,000 new samples of a run (2,500 points of ring or grid), or the samples in a file, by
everything that fits them, and print it beside the published figures:

  Parzen-window log-likelihood, nearest-neighbour test error (with labels), the digit-feature
  distance with its floor, precision and recall, shares of the classes, the nearest training
  images; for points the modes they cover.

A run's results go into its folder as evaluation.json and evaluation.png (evaluation-scale-S.* with
--scale S); a file's are only printed unless --out names a folder."""


def register(commands) -> None:
    """Add the command to what add_subparsers() gave."""
    parser = commands.add_parser("evaluate", help="measure samples beside the published figures",
                                 description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", metavar="RUN|FILE.npz", type=place, help=(
        "a run folder, or images (N,H,W[,C]) uint8 or in [0, 1], or points (N,2), and labels (N,) if it has them"))
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--data", type=text, metavar="DATA", help=(
        "the real data to measure against, as for minideconv train (default: the run's own; mnist for a file)"))
    parser.add_argument("--count", type=whole(4), metavar="N", help=(
        "samples to measure (default: what the protocols ask for; all of a file)"))
    parser.add_argument("--seed", type=whole(0), metavar="N", help="of a run's latents (default 0)")
    parser.add_argument("--scale", type=_scale, metavar="S", help=(
        "multiply a run's latents by S (default 1). Below 1 is truncation: less variety and often a better score, "
        "which no published figure may stand beside"))
    parser.add_argument("--out", type=place, metavar="FOLDER", help=(
        "write evaluation.json and evaluation.png there; no file of that name is overwritten"))
    threads(parser)
    parser.add_argument("--data-dir", type=place, metavar="DIR",
                        help="folder of the MNIST files, as for minideconv train")
    parser.set_defaults(run=run)


def _scale(value):
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {value!r}")
    return number


def run(args) -> None:
    """Measure, write, and print."""
    import json
    from functools import partial
    from pathlib import Path

    from tqdm import tqdm

    from ..gan.evaluation import evaluate_file, evaluate_run, save
    from ..metrics.report import table
    source, scale = Path(args.samples), args.scale or 1.0
    name = "evaluation" if scale == 1 else f"evaluation-scale-{scale:g}"
    _refuse_to_overwrite(args.out, name)
    given = {"count": args.count, "data_dir": args.data_dir,
             "progress": partial(tqdm, unit="block", disable=None, dynamic_ncols=True, leave=False)}
    if source.is_dir():
        found = evaluate_run(source, source=args.data, seed=args.seed or 0, scale=scale, **given)
    else:
        if source.suffix != ".npz":
            raise ValueError(f"{source} is neither the folder of a run nor a FILE.npz")
        for option in ("seed", "scale"):
            if getattr(args, option) is not None:
                raise ValueError(f"--{option} belongs to the latents of a run, and {source} holds samples already")
        found = evaluate_file(source, source=args.data or "mnist", **given)
    folder = args.out or (source if source.is_dir() else None)
    written = save(found, folder, name) if folder else []
    print(json.dumps(found.report) if args.json else table(found.report))
    if written and not args.json:
        print("\nwritten to " + " and ".join(map(str, written)))


def _refuse_to_overwrite(folder, name):
    """Before any work: what lies in a folder that a person named may be that person's."""
    from pathlib import Path
    for path in [Path(folder) / f"{name}{ending}" for ending in (".json", ".png")] if folder else []:
        if path.exists():
            raise ValueError(f"--out: {path} exists already: move it away, or name another folder")
