"""`minideconv sample`: new images from a trained generator."""
from .arguments import place, text, threads, whole


def register(commands) -> None:
    """Add the command to what add_subparsers() gave."""
    parser = commands.add_parser(
        "sample", help="draw new images with a trained generator",
        description="Draw new images with the generator of a run, as a picture (PNG) or as arrays "
                    "(NPZ: images (N,H,W,C) float32 in [0, 1], labels).")
    parser.add_argument("folder", metavar="RUN", type=place)
    parser.add_argument("--count", type=whole(1), default=64, metavar="N", help="how many (default 64)")
    parser.add_argument("--seed", type=whole(0), default=0, help="of the latents (default 0)")
    parser.add_argument("--label", type=text, metavar="D", help=(
        "the class to draw, by its name in the data (conditional runs); without it all classes in turn"))
    parser.add_argument("--out", type=place, required=True, metavar="FILE", help="FILE.png or FILE.npz")
    threads(parser)
    parser.set_defaults(run=run)


def run(args) -> None:
    """Load the generator, draw, and write the file."""
    from pathlib import Path

    from ..gan.sample import class_number, generate, load_generator, save_images
    from ..train.run import read_config
    out = Path(args.out)
    if out.suffix not in (".png", ".npz"):
        raise ValueError(f"--out must end in .png or .npz; got {args.out}")
    config = read_config(args.folder)
    label = None if args.label is None else class_number(config, args.label)
    images, labels = generate(load_generator(args.folder), args.count, args.seed, label)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_images(out, images, labels)
    print(f"{args.count} images written to {out}")
