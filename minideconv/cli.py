"""The command line: train a GAN, draw samples from it, and say what this machine computes with.

What a person can get wrong ends in one line on stderr and exit code 2; Ctrl-C ends in 130, after a checkpoint.
"""
import argparse
import contextlib
import json
import os
import platform
import sys
import zlib
from pathlib import Path

import numpy as np

from . import __version__, data, machine, parallel

DEFAULT_EPOCHS = 3


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        """One line instead of a usage block."""
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _whole(least):
    def parse(text):
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {value}")
        return value
    return parse


def _build() -> argparse.ArgumentParser:
    parser = _Parser(prog="minideconv", description="A deconvolution engine to read, and a GAN trainer made of nothing else.",
                     epilog="Start with: minideconv train    (a few minutes on a laptop, nothing is downloaded; then look into the run folder it names)",
                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"minideconv {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    from .gan import LOSSES

    train = commands.add_parser(
        "train", help="train a GAN and write a run folder", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""Train a generator of transposed convolutions against a discriminator of strided convolutions.

The run folder holds sample grids (samples/, training.gif), the losses of every step (losses.csv, losses.png), the generator and a checkpoint.
A healthy discriminator loss wanders a little below 2 ln 2 = 1.386, the value of a discriminator that cannot tell real from fake;
it is not supposed to fall to zero, and the generator's loss says nothing about quality. Look at the samples.""",
        epilog="""examples:
  minideconv train                                    the default: 60,000 digits drawn by a program, 3 epochs
  minideconv train --data mnist --epochs 5            real MNIST, downloaded once
  minideconv train --data mine.npz                    your pictures: images (N,H,W[,C]), H and W multiples of 4, at least 8
  minideconv train --resume runs/strokes-1 --epochs 8   train a run longer; after Ctrl-C or a crash it goes on exactly where it was""")
    train.add_argument("--data", help="strokes (default), mnist, fashion-mnist, FILE.npz, FILE.npy, or a folder of PNG or JPEG files")
    train.add_argument("--loss", choices=list(LOSSES), help="ns (default): non-saturating, Goodfellow et al. 2014")
    train.add_argument("--conditional", action="store_true", default=None, help="tell both networks the label of each image; sample --label D then draws a D")
    length = train.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=_whole(1), help=f"times through the data, in all, a resumed run's past included (default {DEFAULT_EPOCHS})")
    length.add_argument("--steps", type=_whole(1), help="the same in steps (batches)")
    train.add_argument("--batch-size", type=_whole(2), help="images per step (default 128)")
    train.add_argument("--seed", type=_whole(0), help="two runs with one seed are equal to the last bit (default 0)")
    train.add_argument("--out", metavar="RUN", help="the run folder (default runs/DATA-1, -2, ...)")
    train.add_argument("--resume", metavar="RUN", help="go on with a run; only --epochs/--steps may change")
    train.add_argument("--profile", action="store_true", help="after some steps print where a step's time goes, operation by operation, and train on")
    train.add_argument("--checkpoint-every", type=_whole(1), metavar="STEPS", help="checkpoint this often besides at each epoch's end")
    _common(train)
    train.set_defaults(run=_train)

    sample = commands.add_parser("sample", help="draw new images with a trained generator",
                                 description="Draw new images with the generator of a run, as a picture (PNG) or as arrays (NPZ: images (N,H,W,C) float32 in [0, 1], labels).")
    sample.add_argument("folder", metavar="RUN")
    sample.add_argument("--count", type=_whole(1), default=64, help="how many (default 64)")
    sample.add_argument("--seed", type=_whole(0), default=0, help="of the latents (default 0)")
    sample.add_argument("--label", type=_whole(0), metavar="D", help="the class to draw (conditional runs); without it all classes in turn")
    sample.add_argument("--out", required=True, metavar="FILE", help="FILE.png or FILE.npz")
    sample.add_argument("--threads", type=_whole(1), help="threads to compute with (default: all processors)")
    sample.set_defaults(run=_sample)

    from .bench import DEFAULT_GROUPS, GROUPS
    bench = commands.add_parser(
        "bench", help="measure this engine on your machine, beside PyTorch if it is installed", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measure layers and whole training steps, in turns with the readable kernels and, where it is installed, with PyTorch.\n"
                    "The default takes up to 2 minutes.\n\n"
                    "what there is to measure, by name:\n" + "\n".join(f"  {name:<12}{heading}" for name, heading in GROUPS.items()))
    bench.add_argument("--only", action="append", choices=list(GROUPS), metavar="NAME",
                       help=f"measure this; may be given again (default: {', '.join(DEFAULT_GROUPS)})")
    bench.add_argument("--repeats", type=_whole(1), help="turns of each side, 3 measured calls in each (default: 4, fewer where 2 minutes are not enough)")
    bench.add_argument("--no-torch", action="store_true", help="leave PyTorch out")
    bench.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    bench.add_argument("--out", metavar="FILE.png", help="draw a bar chart too")
    bench.add_argument("--threads", type=_whole(1), help="threads for every side (default: MINIDECONV_NUM_THREADS, else all processors)")
    bench.set_defaults(run=_bench)

    draw = commands.add_parser("draw", help="pictures of convolutions, sizes, checkerboards and tapes",
                               description="Draw what the engine does. Each picture has its own --help.")
    from .draw import command
    command.register(draw.add_subparsers(dest="picture", metavar="PICTURE", required=True, parser_class=_Parser))

    info = commands.add_parser("info", help="versions, threads, and whether the processor could do better",
                               description="Versions, threads, the BLAS kernel in use, and whether this processor could do better.")
    info.set_defaults(run=_info)
    return parser


def _common(command):
    command.add_argument("--threads", type=_whole(1), help="threads to compute with (default: MINIDECONV_NUM_THREADS, else all processors); results do not depend on it")
    command.add_argument("--data-dir", metavar="DIR", help="folder of the MNIST files (default: MINIDECONV_DATA, else the user's cache, downloaded once)")


def main(arguments=None) -> int:
    """Run a command line; gives the exit code."""
    args = _build().parse_args(arguments)
    try:
        if getattr(args, "threads", None):
            parallel.set_num_threads(args.threads)
        return args.run(args) or 0
    except KeyboardInterrupt:
        print("minideconv: interrupted", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError) as error:
        print(f"minideconv: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _load(source, folder):
    """Training images and labels, and a checksum that tells them from others."""
    images, labels = data.load(source, "train", folder)
    return images, labels, zlib.crc32(images) ^ (0 if labels is None else zlib.crc32(np.ascontiguousarray(labels)))


def _free_folder(name: str) -> Path:
    number = 1
    while (folder := Path("runs") / f"{name}-{number}").exists():
        number += 1
    return folder


def _train(args) -> int:
    from tqdm import tqdm

    from .gan import Config
    from .gan.models import stages
    from .gan.run import Interrupted, Run
    from .profile import profiled
    if args.resume:
        fixed = [name for name in ("data", "loss", "conditional", "batch_size", "seed", "out") if getattr(args, name) is not None]
        if fixed:
            raise ValueError(f"--{fixed[0].replace('_', '-')} cannot be given with --resume: a run keeps its configuration; only --epochs or --steps may grow")
        config = Run.read_config(args.resume)
        images, labels, checksum = _load(config.data, args.data_dir)
        if (images.shape, checksum) != ((config.count, *config.image_shape), config.checksum):
            raise ValueError(f"the data of {args.resume} have changed: {config.data} is no longer what the run was trained on")
        steps = args.steps or (args.epochs * config.steps_per_epoch if args.epochs else config.steps)
        run = Run.resume(args.resume, max(steps, config.steps), images, labels)
    else:
        source = args.data or "strokes"
        images, labels, checksum = _load(source, args.data_dir)
        stages(*images.shape[1:3])          # says which sizes the networks can be built for
        batch_size = args.batch_size or 128
        if batch_size > len(images):
            raise ValueError(f"--batch-size {batch_size} is more than the {len(images)} training images")
        if args.conditional and labels is None:
            raise ValueError(f"--conditional needs labels, and {source} has none")
        classes = int(labels.max()) + 1 if args.conditional else 0
        steps = args.steps or (args.epochs or DEFAULT_EPOCHS) * (len(images) // batch_size)
        named = source if source in ("strokes", "mnist", "fashion-mnist") else os.path.abspath(source)
        config = Config(named, images.shape[1:], len(images), checksum, steps, args.loss or "ns", classes, batch_size, args.seed or 0)
        run = Run.create(args.out or _free_folder(Path(named).stem), config, images, labels)
    trainer = run.trainer
    config = trainer.config
    print(f"{config.count} images of {'x'.join(map(str, config.image_shape))} from {config.data}; {config.steps_per_epoch} steps an epoch; writing to {run.folder}", flush=True)
    if trainer.steps_done >= config.steps:
        print(f"the run has its {config.steps} steps already: give --epochs or --steps a larger total to train longer")
        return 0
    print(trainer.loss.meaning, flush=True)
    recent = []
    with tqdm(total=config.steps, initial=trainer.steps_done, unit="step", disable=None, dynamic_ncols=True) as bar:
        def report(step, losses):
            recent.append(losses)
            bar.set_postfix_str(f"D {losses[0]:.3f} G {losses[1]:.3f}", refresh=False)
            bar.update()
            if step % config.steps_per_epoch == 0 or step == config.steps:
                mean_d, mean_g = np.mean(recent, axis=0)
                bar.clear()
                print(f"epoch {-(-step // config.steps_per_epoch)}, step {step}: discriminator {mean_d:.3f}, generator {mean_g:.3f}", flush=True)
                recent.clear()
        def show(text):
            bar.clear()
            print(text, flush=True)
        try:
            with profiled(trainer, show) if args.profile else contextlib.nullcontext():
                run.train(args.checkpoint_every, report)
        except Interrupted as stop:
            bar.close()
            print(f"minideconv: {stop}", file=sys.stderr)
            return 130
    newest = sorted((run.folder / "samples").glob("*.png"))[-1]
    print(f"done: look at {newest}, {run.folder / 'training.gif'} and {run.folder / 'losses.png'}; more images: minideconv sample {run.folder} --out new.png")
    return 0


def _sample(args) -> int:
    from . import storage
    from .gan import Generator, pictures
    from .gan.run import Run
    from .tensor import Tensor, no_grad
    out = Path(args.out)
    if out.suffix not in (".png", ".npz"):
        raise ValueError(f"--out must end in .png or .npz; got {args.out}")
    config = Run.read_config(args.folder)
    if args.label is not None and args.label >= config.classes:
        raise ValueError(f"--label must be below {config.classes} for this run" if config.classes else "--label needs a run trained with --conditional")
    weights = Path(args.folder) / "generator.npz"
    if not weights.exists():
        raise ValueError(f"{args.folder} has no generator.npz yet: train until its first checkpoint")
    rng = np.random.default_rng(args.seed)
    generator = Generator(config.image_shape, config.latent, config.width, config.classes, rng=rng)
    try:
        generator.load(weights)
    except KeyError as error:
        raise ValueError(f"{weights} is not this run's generator: {error.args[0]}") from error
    generator.eval()
    latents = np.random.default_rng(args.seed).standard_normal((args.count, config.latent), np.float32)
    labels = None
    if config.classes:
        labels = np.full(args.count, args.label) if args.label is not None else np.arange(args.count) % config.classes
    with no_grad():
        parts = [generator(Tensor(latents[part]), labels if labels is None else labels[part]).data for part in parallel.spans(args.count, 256)]
    images = np.concatenate(parts)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".png":
        pictures.save_grid(out, images)
    else:
        storage.save_arrays(out, {"images": images} if labels is None else {"images": images, "labels": labels})
    print(f"{args.count} images written to {out}")
    return 0


def _bench(args) -> int:
    from tqdm import tqdm

    from .bench import DEFAULT_GROUPS, bench, chart, table
    out = Path(args.out) if args.out else None
    if out and out.suffix != ".png":
        raise ValueError(f"--out must end in .png; got {args.out}")
    with tqdm(unit="row", disable=None, dynamic_ncols=True, leave=False) as bar:
        def report(done, total):
            bar.total = total
            bar.update(done - bar.n)
        results = bench(args.only or DEFAULT_GROUPS, args.repeats, not args.no_torch, report)
    print(json.dumps(results) if args.json else table(results))
    if out:
        from .draw.figure import save
        save(chart(results), out)
    return 0


def _info(args) -> int:
    from importlib.metadata import version
    print(f"minideconv {__version__}, Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "matplotlib")))
    print(f"processor: {machine.processor()}; threads: {parallel.num_threads()} of {machine.available_threads()}")
    for line in machine.blas_report():
        print(line)
    return 0
