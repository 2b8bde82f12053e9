"""`minideconv export`: a trained generator for those who have not this program."""
from .arguments import place, threads


def register(commands) -> None:
    """Add the command to what add_subparsers() gave."""
    parser = commands.add_parser(
        "export", help="write a trained generator as an ONNX file or as plain PyTorch",
        description="Write the generator of a run for programs that have not minideconv. onnx: one FILE.onnx with the "
                    "inputs latents (N, latent) float32 and, where the run has classes, labels (N,) int64, and the "
                    "output images (N, H, W, C). torch: a FOLDER with generator.py, a page of plain PyTorch, and "
                    "weights.npz.")
    parser.add_argument("folder", metavar="RUN", type=place)
    parser.add_argument("--to", required=True, choices=["onnx", "torch"], help="what to write")
    parser.add_argument("out", metavar="FILE.onnx|FOLDER", type=place, help="where to write it")
    threads(parser)
    parser.set_defaults(run=run)


def run(args) -> None:
    """Load the generator and write it."""
    from pathlib import Path

    from ..gan.sample import load_generator
    from ..interchange import generator_to_onnx, generator_to_torch
    from ..interchange.onnx_file import import_onnx
    out = Path(args.out)
    if args.to == "torch":
        if out.suffix in (".py", ".npz", ".pt", ".pth", ".onnx"):
            raise ValueError(f"--to torch writes a FOLDER with generator.py and weights.npz; got {args.out}")
        program, weights = generator_to_torch(load_generator(args.folder), out)
        print(f"the generator is written to {program}, its weights to {weights}")
        return
    if out.suffix != ".onnx":
        raise ValueError(f"--to onnx writes a file that ends in .onnx; got {args.out}")
    try:
        import_onnx()
    except ImportError as error:
        raise ValueError(str(error)) from error
    generator = load_generator(args.folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    generator_to_onnx(generator, out)
    print(f"the generator is written to {out}")
