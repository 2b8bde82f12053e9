"""`minideconv bench`: this engine's speed on the machine at hand."""
import argparse

from .arguments import place, threads, whole


def register(commands) -> None:
    """Add the command to what add_subparsers() gave."""
    from ..bench import DEFAULT_GROUPS, GROUPS
    parser = commands.add_parser(
        "bench", help="measure this engine on your machine, beside PyTorch if it is installed",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measure layers and whole training steps, in turns with the readable kernels and, where it is\n"
                    "installed, with PyTorch. The default takes up to 2 minutes.\n\n"
                    "what there is to measure, by name:\n"
                    + "\n".join(f"  {name:<12}{heading}" for name, heading in GROUPS.items()))
    parser.add_argument("--only", action="append", choices=list(GROUPS), metavar="NAME",
                        help=f"measure this; may be given again (default: {', '.join(DEFAULT_GROUPS)})")
    parser.add_argument("--repeats", type=whole(1), metavar="N", help=(
        "turns of each side, 3 measured calls in each (default: 4, fewer where 2 minutes are not enough)"))
    parser.add_argument("--no-torch", action="store_true", help="leave PyTorch out")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--out", type=place, metavar="FILE.png", help="draw a bar chart too")
    threads(parser)
    parser.set_defaults(run=run)


def run(args) -> None:
    """Measure, print, and draw a chart where one is wanted."""
    import json

    from tqdm import tqdm

    from ..bench import DEFAULT_GROUPS, bench, chart, table
    if args.out and not args.out.endswith(".png"):
        raise ValueError(f"--out must end in .png; got {args.out}")
    with tqdm(unit="row", disable=None, dynamic_ncols=True, leave=False) as bar:
        def report(done, total):
            bar.total = total
            bar.update(done - bar.n)
        results = bench(args.only or DEFAULT_GROUPS, args.repeats, not args.no_torch, report)
    if args.out:
        from ..draw.figure import save
        save(chart(results), args.out)
    print(json.dumps(results) if args.json else table(results))
